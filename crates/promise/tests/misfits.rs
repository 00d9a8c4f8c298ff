//! What only the data or the machine can tell: images on both sides, numbers that do not fit, and a memory budget that
//! changes no byte.

mod common;

use std::{fs, path::Path};

use common::context;
use promise::{
    plan::Experiment,
    run::{Context, RunError, run_experiment},
};
use run_record::RunFolder;

const SMOKE: &str = include_str!("../../../experiments/smoke/apm.toml");

fn load(text: &str) -> Experiment {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).expect("written");
    Experiment::load(&path, &[]).expect("valid")
}

fn run(text: &str, context: &Context) -> Result<RunFolder, RunError> {
    Ok(run_experiment(&load(text), context)?.remove(0).folder)
}

fn error_text(error: &dyn std::error::Error) -> String {
    data_loaders::error_chain(error)
}

/// Images named `a`, `b`, ... with masks, all different.
fn made_up_images(folder: &Path, n: u8) {
    for sub in ["images", "masks"] {
        fs::create_dir_all(folder.join(sub)).expect("made");
    }
    for index in 0..n {
        let name = format!("{}.png", char::from(b'a' + index));
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 8) as u8, index * 20])
        });
        image.save(folder.join("images").join(&name)).expect("saved");
        let mask = image::GrayImage::from_fn(40, 30, |x, y| {
            image::Luma([if (10..25).contains(&x) && y > 12 { 255 } else { 0 }])
        });
        mask.save(folder.join("masks").join(&name)).expect("saved");
    }
}

#[test]
fn test_images_that_are_trained_on_are_refused_unless_they_are_allowed_by_name() {
    let data = tempfile::tempdir().expect("a folder");
    made_up_images(data.path(), 8);
    let splits = "name,split\na,train\nb,train\nc,train\nd,train\ne,train\nf,train\n";
    fs::write(data.path().join("train.csv"), splits).expect("written");
    fs::write(data.path().join("test.csv"), "name,split\ng,test\nh,test\n").expect("written");
    // Under another name, and in a set of another name, it is the same picture.
    fs::copy(data.path().join("images/b.png"), data.path().join("images/h.png")).expect("copied");
    let text = SMOKE
        .replace("train = [\"phantom\"]", "train = [\"mine\"]")
        .replace("test = [\"phantom\"]", "test = [\"yours\"]");
    let source = |name: &str, splits: &str| {
        let folder = data.path().display();
        format!(
            "[data.sources.{name}]\nimages = \"{folder}/images\"\nmasks = \"{folder}/masks\"\nsplits = \"{folder}/{splits}\"\n"
        )
    };
    let text = format!("{text}\n{}{}", source("mine", "train.csv"), source("yours", "test.csv"));
    let runs = tempfile::tempdir().expect("a folder");
    let error = run(&text, &context(runs.path())).expect_err("refused");
    let message = error_text(&error);
    assert!(
        message.contains("1 of the 2 test images of `yours` are training images too"),
        "{message}"
    );
    assert!(message.contains("h is mine train b"), "{message}");
    assert!(message.contains("data.allow_overlap = [\"yours\"]"), "{message}");
    assert!(!runs.path().join("smoke_apm").exists(), "nothing was begun");

    let allowed = text.replace("train_limit", "allow_overlap = [\"yours\"]\ntrain_limit");
    let folder = run(&allowed, &context(runs.path())).expect("allowed");
    assert_eq!(folder.read_record().expect("a record").rows[0].n, 2);
    // A method that is not trained has seen nothing.
    let frozen = text
        .replace("module = \"ips\"", "module = \"none\"")
        .replace("module = \"apm\"", "module = \"none\"");
    let start = frozen.find("options = {").expect("options");
    let end = start + frozen[start..].find('\n').expect("a line");
    let frozen = format!("{}{}", &frozen[..start], &frozen[end..])
        .replace("name = \"smoke_apm\"", "name = \"frozen\"")
        .replace("\"auto\", ", "");
    run(&frozen, &context(runs.path())).expect("nothing is trained");
}

#[test]
fn numbers_that_do_not_fit_the_images_are_refused_all_at_once_where_they_are_written() {
    let runs = tempfile::tempdir().expect("a folder");
    let text =
        SMOKE.replace("batch_size = 4", "batch_size = 9").replace("panels = 1", "panels = 3");
    let line = |part: &str| text.lines().position(|line| line.contains(part)).expect("there") + 1;
    let error = run(&text, &context(runs.path())).expect_err("refused");
    let message = error_text(&error);
    for expected in [
        format!(
            "line {}, column 1, `train.batch_size`: is 9, but there are 8 training images (2 are held out)",
            line("batch_size")
        ),
        format!(
            "line {}, column 1, `evaluate.panels`: is 3, but `phantom` has 2 test images",
            line("panels")
        ),
    ] {
        assert!(message.contains(&expected), "{expected}\nis not in: {message}");
    }
    // What is left to its default is made to fit.
    let defaults = text.replace("batch_size = 9\n", "").replace("panels = 3\n", "");
    let small =
        defaults.replace("train_limit = 10", "train_limit = 5").replace("epochs = 2", "epochs = 1");
    run(&small, &context(runs.path())).expect("it runs");
}

#[test]
fn runs_that_cannot_begin_say_why_each_reason_once() {
    let runs = tempfile::tempdir().expect("a folder");
    let text = SMOKE.replace("name = \"smoke_apm\"", "name = \"smoke_apm\"\nseeds = [1, 2]");
    let text = format!(
        "{text}\n[[variant]]\nname = \"a\"\nset = {{ \"backbone.weights\" = \"a.pth\" }}\n\
         [[variant]]\nname = \"b\"\nset = {{ \"data.train\" = [\"kvasir-seg\"] }}\n\
         [[variant]]\nname = \"c\"\nset = {{ \"train.batch_size\" = 50 }}\n"
    );
    let message = error_text(&run(&text, &context(runs.path())).expect_err("refused"));
    assert!(message.starts_with("6 of 6 runs cannot begin"), "{message}");
    for part in ["a.pth", "data set `kvasir-seg` is read from files", "`train.batch_size`: is 50"] {
        assert_eq!(message.matches(part).count(), 1, "{part} in {message}");
    }
    assert!(message.contains("(set by variant `c`)"), "{message}");
    assert!(!runs.path().join("smoke_apm").exists(), "nothing was begun");
}

#[test]
fn a_memory_budget_changes_no_byte_and_one_that_is_too_small_is_refused() {
    let results = |memory: Option<u64>, cache: &str| {
        let runs = tempfile::tempdir().expect("a folder");
        let text =
            SMOKE.replace("train_limit", &format!("feature_cache = \"{cache}\"\ntrain_limit"));
        let folder = run(&text, &Context { memory, ..context(runs.path()) })?;
        let read = |path| fs::read(path).expect("written");
        Ok::<_, RunError>([folder.adapters(), folder.cases(), folder.epochs()].map(read))
    };
    // Three batches of four images at 32 x 32 cells of 128 and 192 channels in single precision take 15 MiB, and a case
    // in hand 4 MiB: of eight training images only some are kept.
    let small = Some(24 << 20);
    for cache in ["f16", "off"] {
        let whole = results(None, cache).expect("it runs");
        assert!(whole == results(small, cache).expect("it runs"), "other bytes with {cache}");
    }
    let error = results(Some(1 << 20), "f16").expect_err("too little");
    let message = error_text(&error);
    assert!(message.contains("`train.batch_size`: is 4, which needs 0.0"), "{message}");
    assert!(message.contains("the budget is 0.00 GiB (`--memory-gib`)"), "{message}");
}
