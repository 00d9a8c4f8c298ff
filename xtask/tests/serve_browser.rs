//! The page of `cargo xtask serve` in a browser. Skipped, with a line that says so, where Chromium, Node.js or `playwright-core`
//! is missing; `tools/browser/install.sh` installs them. With `PROMISE_BROWSER=1` it fails instead.

mod common;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{EXPERIMENT, RUN, errors, folder_with, success, xtask};
use run_record::RunFolder;

/// Ends a program however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/browser")
}

/// What is missing for a browser test.
fn missing() -> Option<&'static str> {
    let there = |name: &str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Some("Chromium");
    }
    if !there("node") {
        return Some("Node.js");
    }
    (!tools().join("node_modules/playwright-core").is_dir()).then_some("playwright-core")
}

/// A page that is served until this is dropped. Its output stays open: a program that can no longer write ends.
struct Served {
    _child: Ended,
    _output: Lines<BufReader<ChildStdout>>,
}

/// Starts the page and says where it is. What it complains about goes into `complaints.txt`.
fn serve(folder: &Path, arguments: &[&str]) -> (Served, String) {
    let mut command = xtask(folder, &["serve", "--port", "0", "--json"]);
    let complaints = File::create(folder.join("complaints.txt")).expect("a file");
    command.args(arguments).stdout(Stdio::piped()).stderr(complaints);
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let child = Ended(child);
    let mut url = None;
    for line in lines.by_ref() {
        let line = line.expect("text");
        if let Some((_, rest)) = line.split_once("http://") {
            url = Some(format!("http://{}", rest.split('"').next().unwrap_or_default()));
            break;
        }
    }
    (Served { _child: child, _output: lines }, url.expect("an address"))
}

#[test]
fn a_person_prompts_compares_exports_and_watches_a_run() {
    if let Some(what) = missing() {
        let skipped = format!(
            "\nSKIPPED: the page of `serve` is not tested in a browser, there is no {what}; \
             tools/browser/install.sh installs what it needs\n"
        );
        // Past the capture of output, which hides whatever a test prints that does not fail.
        std::io::stderr().write_all(skipped.as_bytes()).expect("written");
        assert!(std::env::var_os("PROMISE_BROWSER").is_none(), "PROMISE_BROWSER asks for it");
        return;
    }
    let folder = folder_with("short.toml", EXPERIMENT);
    success(xtask(folder.path(), &["run", "short.toml"]));
    // Longer than anybody watches; ended with the test.
    let long = EXPERIMENT
        .replace("\"short\"", "\"watched\"")
        .replace("epochs = 4", "epochs = 400")
        .replace("save_predictions = true", "");
    std::fs::write(folder.path().join("long.toml"), long).expect("written");

    // Another run that prompts itself, so that methods can be compared.
    let other = EXPERIMENT.replace("\"short\"", "\"other\"").replace("epochs = 4", "epochs = 1");
    std::fs::write(folder.path().join("other.toml"), other).expect("written");
    success(xtask(folder.path(), &["run", "other.toml"]));
    let runs = ["--run", "runs/other/other-seed1", "--run", RUN, "--export", "exports"];
    let (_server, url) = serve(folder.path(), &runs);
    let pictures = match std::env::var_os("PROMISE_SCREENSHOTS") {
        // The browser is started in another folder.
        Some(kept) => std::path::absolute(kept).expect("a path"),
        None => folder.path().join("pictures"),
    };
    let browse = |steps: &[&str]| {
        let mut command = Command::new("node");
        command.current_dir(tools()).arg("serve.mjs").arg(&url).arg(&pictures).args(steps);
        let output = command.output().expect("Node.js starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", errors(&output));
        said
    };
    let steps = [
        "load",
        "automatic",
        "click",
        "undo",
        "honest",
        "zoom",
        "cancel",
        "masks",
        "box",
        "keyboard",
        "drag",
        "own",
        "several",
        "restart",
        "methods",
        "gallery",
        "exports",
        "upload",
        "drop",
        "help",
        "sizes",
    ];
    let said = browse(&steps);
    for step in steps {
        assert!(said.contains(&format!("ok {step}\n")), "{step} is missing: {said}");
    }
    let mut exported: Vec<_> = std::fs::read_dir(folder.path().join("exports"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    exported.sort();
    assert_eq!(exported.len(), 2, "{exported:?}");
    assert!(exported[0].ends_with("-mask-2.png") && exported[1].ends_with("-mask.png"));
    let phantom = exported[1].trim_end_matches("-mask.png");
    for stem in [phantom, "own"] {
        predicts_the_same(folder.path(), &pictures, stem);
    }
    let run = xtask(folder.path(), &["run", "long.toml", "-q"]).spawn().expect("it starts");
    let _run = Ended(run);
    let said = browse(&["live", "results"]);
    assert!(said.contains("ok live\n") && said.contains("ok results\n"), "{said}");
}

/// Gives prompts that were taken away from the page to `predict`, which makes the mask that was taken away with them.
fn predicts_the_same(folder: &Path, taken: &Path, stem: &str) {
    let file = |ending: &str| taken.join(format!("{stem}{ending}")).display().to_string();
    let (image, prompts) = (file(".png"), file("-prompts.json"));
    let output = folder.join("predicted.png").display().to_string();
    let arguments =
        ["predict", "--run", RUN, "--image", &image, "--prompts", &prompts, "-o", &output];
    success(xtask(folder, &arguments));
    let open = |path: &str| image::open(path).expect("a picture").to_luma8();
    let (predicted, exported) = (open(&output), open(&file("-mask.png")));
    assert_eq!(predicted.dimensions(), exported.dimensions());
    assert!(exported.pixels().any(|pixel| pixel.0[0] == 255), "{stem}: an empty mask shows little");
    let differ = predicted.pixels().zip(exported.pixels()).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 0, "pixels of {stem} differ");
}

/// Asks for something: the status, and what came with it.
fn get(url: &str, path: &str) -> (u16, String) {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), text)
}

#[test]
fn the_program_listens_on_the_loopback_address_unless_told_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, url) = serve(folder.path(), &[]);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(get(&url, "/api/session").0, 200);
}

#[test]
fn links_of_a_run_are_not_followed_and_a_damaged_one_is_named_or_left_out() {
    let text =
        EXPERIMENT.replace("\"short\"", "\"quickstart\"").replace("epochs = 4", "epochs = 1");
    let folder = folder_with("quickstart.toml", &text);
    success(xtask(folder.path(), &["run", "quickstart.toml"]));
    let name = "runs/quickstart/quickstart-seed1";
    let run = RunFolder::new(folder.path().join(name));
    {
        let (_server, url) = serve(folder.path(), &[]);
        assert!(get(&url, "/api/session").1.contains("quickstart-seed1"));
        let figure = || get(&url, "/api/figures/quickstart/qualitative.svg");
        let (status, text) = figure();
        assert_eq!(status, 200, "{text}");
        let panels = std::fs::read_to_string(run.panels()).expect("panels");
        let panels: serde_json::Value = serde_json::from_str(&panels).expect("JSON");
        let picture = run.panels_dir().join(panels[0]["image"].as_str().expect("a path"));
        let elsewhere = folder.path().join("elsewhere.png");
        std::fs::rename(&picture, &elsewhere).expect("moved");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&elsewhere, &picture).expect("linked");
            let (status, text) = figure();
            assert_eq!(status, 403, "{text}");
            assert!(text.contains("a link in a run leads elsewhere"), "{text}");
            std::fs::remove_file(&picture).expect("removed");
        }
        std::fs::rename(&elsewhere, &picture).expect("moved back");
    }
    let whole = std::fs::read(run.adapters()).expect("weights");
    std::fs::write(run.adapters(), &whole[..whole.len() / 2]).expect("written");
    let output = xtask(folder.path(), &["serve", "--port", "0", "--run", name]).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    let file = run.adapters().file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said.contains(&format!("cannot load {name}")) && said.contains(&file), "{said}");
    // Nobody named it: the others are shown, or plain SAM.
    let (_server, url) = serve(folder.path(), &[]);
    let (_, session) = get(&url, "/api/session");
    assert!(session.contains("frozen SAM (micro)"), "{session}");
    assert!(!session.contains("quickstart-seed1"), "{session}");
    let said = std::fs::read_to_string(folder.path().join("complaints.txt")).expect("complaints");
    assert!(said.contains("is left out") && said.contains(&file), "{said}");
}

#[test]
fn a_run_that_is_none_and_a_folder_without_images_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let failed = |arguments: &[&str]| {
        let output = xtask(folder.path(), arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1));
        errors(&output)
    };
    let said = failed(&["serve", "--port", "0", "--run", "runs/nothing"]);
    assert!(said.contains("cannot load runs/nothing"), "{said}");
    let said = failed(&["serve", "--port", "0", "--images", "."]);
    assert!(said.contains("no image (png, jpg"), "{said}");
    let said = failed(&["serve", "--port", "0", "--images", "nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
}
