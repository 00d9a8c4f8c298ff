//! The page of `cargo xtask serve` in a browser. Skipped, with a line that says so, where Chromium, Node.js or `playwright-core`
//! is missing; `tools/browser/install.sh` installs them. With `PROMISE_BROWSER=1` it fails instead.

mod common;

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{EXPERIMENT, RUN, errors, folder_with, success, xtask};

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

/// Starts the page and says where it is.
fn serve(folder: &Path, arguments: &[&str]) -> (Served, String) {
    let mut command = xtask(folder, &["serve", "--port", "0", "--json"]);
    let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
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

    let (_server, url) = serve(folder.path(), &["--run", RUN, "--export", "exports"]);
    let pictures = match std::env::var_os("PROMISE_SCREENSHOTS") {
        Some(kept) => PathBuf::from(kept),
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
