//! The command line as people and scripts use it: exit codes, one JSON document, files.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use data_loaders::synthetic::phantom;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROMISE_DATA")
        .output()
        .expect("the program starts")
}

fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("exactly one JSON document")
}

fn failure(output: &Output) -> String {
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "results only on stdout");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn list_names_what_experiments_can_name() {
    let list = json(&xtask(&root(), &["list", "--json"]));
    let names = |key: &str| -> Vec<String> {
        list[key]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["name"].as_str().or(entry.as_str()).unwrap_or_default().to_owned())
            .collect()
    };
    let modules = ["none", "apm", "box_prompting", "dense_prompting", "self_prompting"];
    assert_eq!(names("prompt_modules"), modules);
    for module in list["prompt_modules"].as_array().expect("a list") {
        for option in module["options"].as_array().expect("a list") {
            for key in ["name", "kind", "doc"] {
                let text = option[key].as_str().expect("a text");
                assert!(!text.is_empty(), "{key} of {option} of {module}");
            }
        }
    }
    let text = xtask(&root(), &["list"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("fusion_channels = 256"), "{text}");
    assert!(text.contains("hidden_ratio = 4"), "{text}");
    assert_eq!(names("backbones"), ["micro", "vit_t", "vit_b", "vit_l", "vit_h"]);
    assert!(names("data").contains(&"phantom".to_owned()));
}

/// Claims about the only method of the smoke experiment.
const CLAIMS: &str = r#"
[[claim]]
name = "oracle points beat automatic ones"
better = { method = "smoke_apm", prompts = "ground_truth" }
than = { method = "smoke_apm", prompts = "auto" }

[[claim]]
name = "automatic points beat a grid"
better = { method = "smoke_apm", prompts = "auto" }
than = { method = "smoke_apm", prompts = "grid" }
"#;

/// The whole path: run, eval, table, figure, predict.
#[test]
fn a_smoke_run_is_recorded_evaluated_drawn_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let smoke = root().join("experiments/smoke/apm.toml");
    let smoke = std::fs::read_to_string(smoke).expect("the file");
    let prompts = "prompts = [\"auto\", \"ground_truth\"";
    let smoke = smoke.replace(prompts, &format!("{prompts}, \"grid\""));
    std::fs::write(here.join("smoke.toml"), smoke + CLAIMS).expect("written");

    let without_grid = "evaluate.prompts=[\"auto\", \"ground_truth\"]";
    let run = xtask(here, &["run", "smoke.toml", "--set", without_grid, "--json"]);
    let warnings = String::from_utf8_lossy(&run.stderr).into_owned();
    let warning =
        format!("with --set {without_grid} the claim `automatic points beat a grid` is not run");
    assert!(warnings.contains(&warning), "{warnings}");
    let run = json(&run);
    let rows = run["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for row in rows {
        for key in ["method", "data", "prompts", "protocol"] {
            assert!(row[key].is_string(), "{key}");
        }
        for key in ["n", "dice", "iou"] {
            assert!(row[key].is_number(), "{key}");
        }
        assert_eq!(row["frozen_hash_before"], row["frozen_hash_after"]);
    }
    assert_eq!(run["frozen_hash_before"], run["frozen_hash_after"]);
    for file in run["written"].as_array().expect("files") {
        assert!(here.join(file.as_str().expect("a path")).is_file(), "{file}");
    }

    let claims = &run["claims"][0];
    assert_eq!(claims["tests"], 1);
    // Two cases cannot be significant: p is at least 2 / 4.
    assert_eq!(claims["results"][0]["verdict"], "open");
    assert_eq!(claims["results"][0]["numbers"]["n"], 2);
    assert_eq!(claims["results"][0]["claim"]["name"], "oracle points beat automatic ones");
    assert_eq!(claims["results"][1]["verdict"], "not_run");
    assert_eq!(claims["results"][1]["missing"][0], "smoke_apm on grid with seed 1");
    let again = json(&xtask(here, &["table", "runs/smoke_apm", "--json"]));
    assert_eq!(again["claims"], run["claims"], "a table needs no experiment file");
    for file in ["claims.md", "claims.csv", "table.md", "table.csv"] {
        assert!(here.join("runs/smoke_apm").join(file).is_file(), "{file}");
    }

    let name = "runs/smoke_apm/smoke_apm-seed1";
    let within = json(&xtask(&here.join(name), &["table", ".", "--json"]));
    assert_eq!(within["claims"], run["claims"], "from within a run folder");
    let grid = json(&xtask(here, &["eval", name, "--prompts", "grid", "--json"]));
    assert_eq!(grid["rows"][0]["prompts"], "grid");
    assert_eq!(grid["rows"][0]["n"], 2);

    let table = xtask(here, &["table", "runs/smoke_apm"]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && text.contains("ground_truth (oracle)"), "{text}");
    assert!(text.contains("| oracle points beat automatic ones | phantom | open |"), "{text}");

    for kind in ["training-curves", "qualitative"] {
        let figure = xtask(here, &["figure", kind, "runs/smoke_apm", "-o", "picture"]);
        assert!(figure.status.success(), "{}", String::from_utf8_lossy(&figure.stderr));
        for ending in ["svg", "png", "pdf"] {
            assert!(here.join("picture").with_extension(ending).is_file(), "{kind}.{ending}");
        }
    }

    // A simulated user, twice the same.
    let clicks = || {
        let clicked =
            xtask(here, &["eval", name, "--prompts", "simulated", "--rounds", "2", "--json"]);
        (json(&clicked), std::fs::read(here.join(name).join("clicks.csv")).expect("click rows"))
    };
    let (clicked, rows) = clicks();
    let scores = clicked["curves"][0]["scores"].as_object().expect("a curve");
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(scores["2"]["n"], 2);
    assert!(clicks() == (clicked, rows), "the same clicks are the same bytes");
    let alone = xtask(here, &["eval", name, "--prompts", "simulated", "--prompts", "grid"]);
    assert!(failure(&alone).contains("stands alone"));
    let unknown = xtask(here, &["eval", name, "--prompts", "mouse"]);
    let unknown = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.contains("`box_full`; or `simulated`, or a file `*.json`"), "{unknown}");
    let figure = xtask(here, &["figure", "clicks-vs-dice", name, "-o", "clicks"]);
    assert!(figure.status.success(), "{}", String::from_utf8_lossy(&figure.stderr));
    assert!(here.join("clicks.pdf").is_file());

    let image = write_image(here, 97, 64);
    let latex = xtask(here, &["table", "runs/smoke_apm", "--format", "latex", "--out", "t.tex"]);
    assert!(latex.status.success(), "{}", String::from_utf8_lossy(&latex.stderr));
    let latex = std::fs::read_to_string(here.join("t.tex")).expect("the table is written");
    // What the run wrote beside its folders is what the command makes again, byte for byte.
    let written = std::fs::read_to_string(here.join("runs/smoke_apm/table.tex"));
    assert_eq!(latex, written.expect("the run writes its table"));
    let page = xtask(here, &["report", "runs/smoke_apm", "--out", "page.html"]);
    assert!(page.status.success(), "{}", String::from_utf8_lossy(&page.stderr));
    let page = std::fs::read_to_string(here.join("page.html")).expect("the page is written");
    assert!(page.contains("cargo xtask report runs/smoke_apm"), "{}", &page[..500]);

    let auto = xtask(here, &["predict", "--run", name, "--image", &image, "-o", "auto.png"]);
    assert!(auto.status.success(), "{}", String::from_utf8_lossy(&auto.stderr));
    assert_mask(&here.join("auto.png"), 97, 64);

    // With a person's prompts beside its own, four points: all at once, or in rounds, or without them.
    let predicted = |more: &[&str]| {
        let image = ["predict", "--run", name, "--image", &image, "-o", "m.png", "--json"];
        let document = json(&xtask(here, &[&image, more].concat()));
        let points = document["points"].as_array().expect("points").len();
        (points, document["box"].is_array())
    };
    let person = ["--point", "40,30,foreground", "--point", "1,1,background"];
    let and = |more: &[&'static str]| [&person[..], more].concat();
    assert_eq!(predicted(&person), (2, false));
    assert_eq!(predicted(&and(&["--combine", "add"])), (6, false));
    let corners = ["--combine", "correct", "--box", "20,10,70,50"];
    assert_eq!(predicted(&and(&corners)), (6, true));
    let file =
        r#"{"version": 1, "images": {"image.png": {"automatic": true, "box": [20, 10, 70, 50]}}}"#;
    std::fs::write(here.join("prompts.json"), file).expect("written");
    assert_eq!(predicted(&["--prompts", "prompts.json"]), (4, true));
    assert_eq!(predicted(&["--prompts", "prompts.json", "--combine", "replace"]), (0, true));
    std::fs::write(here.join("prompts.json"), file.replace("image.png", "other.png"))
        .expect("written");
    let other =
        ["predict", "--run", name, "--image", &image, "-o", "m.png", "--prompts", "prompts.json"];
    let other = failure(&xtask(here, &other));
    assert!(
        other.contains("no prompts for `image.png`; there are some for `other.png`"),
        "{other}"
    );
}

#[test]
fn a_backbone_is_judged_in_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let judged = json(&xtask(folder.path(), &["eval-backbone", "--images", "2", "--json"]));
    for domain in ["natural", "phantom"] {
        assert_eq!(judged[domain]["n"], 2);
        for number in
            ["points_1", "points_3", "points_8", "points_8_8", "box", "iou_rank_correlation"]
        {
            assert!(judged[domain][number].is_number(), "{domain}.{number} of {judged}");
        }
    }
    let trained_on = failure(&xtask(folder.path(), &["eval-backbone", "--seed", "20261123"]));
    assert!(trained_on.contains("20261123"), "{trained_on}");
}

/// A recipe as in experiments/pretrain, of three small steps.
const RECIPE: &str = r#"
backbone = "micro"
seed = 5
output = "out.safetensors"
rounds = 2
shards = 2
warmup_steps = 1
weight_decay = 0.1
max_gradient_norm = 1.0
checkpoint_every = 2

[[stage]]
image_size = 64
steps = 3
batch_size = 2
masks_per_image = 2
area_exponent = 0.5
box_share = 0.3
box_jitter = 0.1
learning_rate = 1e-3

[[stage]]
image_size = 256
steps = 1
batch_size = 2
masks_per_image = 1
area_exponent = 0.0
box_share = 0.5
box_jitter = 0.03
"#;

#[test]
fn pre_training_stops_where_it_is_told_with_the_same_weights_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("recipe.toml"), RECIPE).expect("written");
    let pretrain = |checkpoints: &str, more: &[&str]| {
        let common = ["pretrain", "recipe.toml", "--json", "--checkpoints", checkpoints];
        json(&xtask(folder.path(), &[&common, more].concat()))
    };
    let first = pretrain("a", &["--stop-after", "2"]);
    assert_eq!(first["steps"], 2);
    assert!(!folder.path().join("out.safetensors").exists());
    assert_eq!(first, pretrain("b", &["--stop-after", "2"]));
    // Nothing is left to do for that, and nothing is done.
    assert_eq!(first, pretrain("a", &["--stop-after", "1"]));
    let finished = pretrain("a", &[]);
    assert_eq!(
        (&finished["steps"], &finished["written"][0]),
        (&4.into(), &"out.safetensors".into())
    );
    assert_ne!(first["tensors_sha256"], finished["tensors_sha256"]);
}

/// A phantom, cropped to a size of its own.
fn write_image(folder: &Path, width: u32, height: u32) -> String {
    let (image, _) = phantom(1, 0, 128);
    let image = image::imageops::crop_imm(&image, 10, 20, width, height).to_image();
    let path = folder.join("image.png");
    image.save(&path).expect("saved");
    path.to_str().expect("UTF-8").to_owned()
}

fn assert_mask(path: &Path, width: u32, height: u32) {
    let mask = image::open(path).expect("a picture").into_luma8();
    assert_eq!(mask.dimensions(), (width, height));
    assert!(mask.pixels().all(|pixel| pixel.0[0] == 0 || pixel.0[0] == 255));
}

#[test]
fn a_point_a_box_and_both_give_masks_of_the_images_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let image = write_image(here, 97, 64);
    let point = ["--point", "40,30,1"];
    let corners = ["--box", "20,10,70,50"];
    let both = [point, corners].concat();
    for prompt in [&point[..], &corners[..], &both[..]] {
        let mut arguments = vec!["predict", "--backbone", "micro", "--image", &image, "--json"];
        arguments.extend(["-o", "mask.png", "--overlay", "overlay.png"]);
        arguments.extend(["--save-tensors", "tensors.safetensors"]);
        arguments.extend(prompt);
        let result = json(&xtask(here, &arguments));
        assert_eq!((&result["width"], &result["height"]), (&97.into(), &64.into()));
        assert_mask(&here.join("mask.png"), 97, 64);
        assert_eq!(image::open(here.join("overlay.png")).expect("a picture").width(), 97);

        let bytes = std::fs::read(here.join("tensors.safetensors")).expect("written");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
        for (name, shape) in [
            ("image_embedding", vec![1, 128, 32, 32]),
            ("low_res_logits", vec![1, 3, 128, 128]),
            ("iou_predictions", vec![1, 3]),
        ] {
            assert_eq!(header[name]["dtype"], "F32", "{name}");
            assert_eq!(header[name]["shape"], Value::from(shape), "{name}");
        }
    }
}

#[test]
fn what_cannot_be_done_is_said_in_words_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let image = write_image(here, 97, 64);
    let predict = |more: &[&str]| {
        let mut arguments = vec!["predict", "--image", &image, "-o", "mask.png"];
        arguments.extend(more);
        failure(&xtask(here, &arguments))
    };
    assert!(predict(&["--backbone", "micro"]).contains("no prompt"));
    assert!(predict(&["--backbone", "vit_b", "--point", "1,1,1"]).contains("no embedded weights"));
    assert!(
        predict(&["--backbone", "vit_x", "--point", "1,1,1"]).contains("`micro`, `vit_t`, `vit_b`")
    );
    let outside = predict(&["--backbone", "micro", "--point", "98,1,1"]);
    assert!(outside.contains("(98, 1) lies outside") && outside.contains("97 x 64"), "{outside}");
    assert!(predict(&["--backbone", "micro", "--point", "1,1,7"]).contains("label is 1"));
    assert!(predict(&["--backbone", "micro", "--box", "9,9,3,3"]).contains("first corner"));
    let add = predict(&["--backbone", "micro", "--point", "1,1,1", "--combine", "add"]);
    assert!(add.contains("no automatic prompts to add to"), "{add}");
    let word = predict(&["--backbone", "micro", "--point", "1,1,1", "--combine", "mix"]);
    assert!(word.contains("`replace` or `add` or `correct`"), "{word}");
    assert!(!here.join("mask.png").exists());

    std::fs::write(here.join("empty.jpg"), b"").expect("written");
    let empty = ["predict", "--image", "empty.jpg", "-o", "m.png", "--backbone", "micro"];
    assert!(failure(&xtask(here, &empty)).contains("empty.jpg"));
    assert!(failure(&xtask(here, &["run", "nowhere.toml"])).contains("nowhere.toml"));
    assert!(failure(&xtask(here, &["table", "nowhere"])).contains("nowhere"));
    assert!(failure(&xtask(here, &["eval", "nowhere"])).contains("nowhere"));
    let figure = failure(&xtask(here, &["figure", "pie", "nowhere"]));
    assert!(figure.contains("training-curves"), "{figure}");
}

#[test]
fn options_of_eval_that_would_do_nothing_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let eval =
        |more: &[&str]| failure(&xtask(folder.path(), &[&["eval", "nowhere"], more].concat()));
    for option in [
        ["--rounds", "3"],
        ["--start", "auto"],
        ["--mask-input", "none"],
        ["--mask-choice", "best"],
    ] {
        let expected = format!("`{}` is about the simulated user", option[0]);
        for prompts in [&[][..], &["--prompts", "center"], &["--prompts", "a.json"]] {
            let message = eval(&[&option[..], prompts].concat());
            assert!(message.contains(&expected), "{message}");
        }
    }
    for prompts in ["center", "simulated"] {
        let message = eval(&["--prompts", prompts, "--combine", "add"]);
        assert!(message.contains("`--combine` is about a person's prompts"), "{message}");
    }
    let message = eval(&["--prompts", "simulated", "--prompts", "center"]);
    assert!(message.contains("stands alone"), "{message}");
    let message = eval(&["--prompts", "a.json", "--prompts", "a.json"]);
    assert!(message.contains("given twice"), "{message}");
    let message = eval(&["--prompts", "a.json", "--prompts", "b.json"]);
    assert!(message.contains("two files of prompts"), "{message}");
    for rounds in ["0", "1001", "100000000000", "18446744073709551615"] {
        let message = eval(&["--prompts", "simulated", "--rounds", rounds]);
        assert!(message.contains(&format!("invalid value '{rounds}' for '--rounds")), "{message}");
    }
    let predict = ["predict", "--image", "a.png", "-o", "m.png", "--backbone", "micro"];
    let combine = ["--combine", "add"];
    let message = failure(&xtask(folder.path(), &[&predict[..], &combine].concat()));
    assert!(message.contains("`--combine` is about your prompts"), "{message}");
}

#[test]
fn real_data_without_a_root_says_how_to_name_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let kvasir = root().join("experiments/main/kvasir_apm-ips_micro.toml");
    let message = failure(&xtask(folder.path(), &["run", kvasir.to_str().expect("UTF-8")]));
    assert!(message.contains("--data-root") && message.contains("PROMISE_DATA"), "{message}");
}
