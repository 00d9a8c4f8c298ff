//! `ablate` as people use it: the plan, runs in several processes, failures, and the same bytes after a kill.
#![cfg(unix)]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use common::{assert_same, files, folder_with, success, xtask};
use serde_json::{Value, json};

const EXPERIMENT: &str = r#"
name = "ablation"

[backbone]
variant = "micro"

[data]
train = ["phantom"]
test = ["phantom"]
train_limit = 12
test_limit = 2
validation_fraction = 0.2

[prompt]
module = "apm"
options = { points = 4, taps = "12", head = "resnet18", fusion_channels = 8, base_width = 4 }

[shift]
module = "none"

[train]
epochs = 3
batch_size = 4
learning_rate = 1e-3

[evaluate]
prompts = ["auto"]
panels = 0

[grid]
"prompt.options.points" = [2, 4]
"#;
const RUNS: [&str; 2] = ["points-2-seed1", "points-4-seed1"];

fn ablate(folder: &Path, arguments: &[&str]) -> Command {
    xtask(folder, &[&["ablate", "ablation.toml"], arguments].concat())
}

fn written(text: &str) -> tempfile::TempDir {
    folder_with("ablation.toml", text)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn states(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let plan = json(&success(ablate(folder, &[&["--dry-run", "--json"], arguments].concat())));
    let runs = plan["runs"].as_array().expect("runs");
    runs.iter().map(|run| run["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn killed_interrupted_or_several_at_a_time_the_bytes_are_the_same() {
    let claim = r#"
[[claim]]
name = "two points are as good as four"
better = { method = "points-2", prompts = "auto" }
than = { method = "points-4", prompts = "auto" }
margin = 0.5
"#;
    let folder = written(&format!("{EXPERIMENT}{claim}").replace("panels = 0", "panels = 1"));
    let here = folder.path();
    assert_eq!(states(here, &[]), ["to_do", "to_do"]);
    assert!(!here.join("runs").exists(), "a dry run writes nothing");

    let one = ["--threads-per-run", "1"];
    success(ablate(here, &[&one[..], &["--runs", "whole"]].concat()));
    let whole = files(&here.join("whole"));
    for file in ["table.md", "table.tex", "claims.md", "training-curves.svg", "qualitative.pdf"] {
        assert!(whole.contains_key(&Path::new("ablation").join(file)), "{file} is missing");
    }
    for run in RUNS {
        for file in ["adapters.safetensors", "cases.csv", "epochs.csv", "record.json"] {
            assert!(whole.contains_key(&Path::new("ablation").join(run).join(file)), "{file}");
        }
        assert!(here.join("whole/ablation").join(run).join("timing.json").is_file());
        // Each process has logged its own run, and only that.
        let log = fs::read_to_string(here.join("whole/ablation").join(run).join("run.log"));
        let log = log.expect("a log");
        assert_eq!(log.matches(" begins; version").count(), 1, "{log}");
        assert_eq!(log.matches("epoch 3 of 3").count(), 1, "{log}");
        assert!(
            log.contains(&format!("ablation/{run} begins")) && log.contains("INFO done"),
            "{log}"
        );
    }
    assert_eq!(states(here, &["--runs", "whole"]), ["done", "done"]);
    let changed = ["--runs", "whole", "--set", "train.epochs=2"];
    assert_eq!(states(here, &changed), ["stale", "stale"]);
    let plan = json(&success(ablate(here, &[&["--dry-run", "--json"], &changed[..]].concat())));
    let first = &plan["runs"][0];
    assert_eq!(first["changed"], json!([{ "what": "train.epochs", "former": 3, "now": 2 }]));
    assert_eq!(first["remark"], "changed: train.epochs from 3 to 2");

    // Killed without warning once the first epoch of the first run is done.
    let arguments = [&one[..], &["--runs", "killed"]].concat();
    let mut killed = ablate(here, &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let epochs = here.join("killed/ablation/points-2-seed1/epochs.csv");
    while !epochs.exists() && killed.try_wait().expect("a child").is_none() {
        thread::sleep(Duration::from_millis(5));
    }
    killed.kill().expect("SIGKILL");
    assert!(!killed.wait().expect("it ends").success(), "it was done before it could be killed");
    assert!(!here.join("killed/ablation/points-4-seed1/record.json").exists());
    // The run's own process notices and stops; the next command waits for that.
    success(ablate(here, &arguments));
    assert_same(&whole, &files(&here.join("killed")), "a kill");

    success(ablate(here, &[&one[..], &["--runs", "two", "--jobs", "2"]].concat()));
    assert_same(&whole, &files(&here.join("two")), "two at a time");
}

#[test]
fn one_experiment_without_results_does_not_hide_the_others() {
    let (head, rest) = EXPERIMENT.split_once("[prompt]").expect("it has prompts");
    let (_, train) = rest.split_once("[train]").expect("it trains");
    let (train, _) = train.split_once("[grid]").expect("it has a grid");
    let modules = "[prompt]\nmodule = \"none\"\n\n[shift]\nmodule = \"none\"\n\n[train]";
    let frozen = format!("{head}{modules}{train}").replace("\"auto\"", "\"grid\"");
    let folder = written(&frozen.replace("\"ablation\"", "\"first\""));
    let here = folder.path();
    fs::write(here.join("second.toml"), frozen.replace("\"ablation\"", "\"second\""))
        .expect("written");
    success(ablate(here, &["second.toml"]));
    let table = here.join("runs/first/table.md");
    fs::remove_file(&table).expect("removed");
    fs::create_dir(&table).expect("in its way");

    let output = ablate(here, &["second.toml", "--json"]).output().expect("the program starts");
    assert!(!output.status.success());
    let document = json(&output);
    let reason = document["experiments"][0]["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("cannot write"), "{reason}");
    assert_eq!(document["experiments"][1]["rows"].as_array().expect("rows").len(), 1);

    let output = ablate(here, &["second.toml"]).output().expect("the program starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("## first\n\nno results: cannot write"), "{text}");
    assert!(text.contains("## second\n\nProtocol"), "{text}");
}

#[test]
fn a_failed_variant_is_recorded_the_rest_goes_on_and_the_exit_code_tells() {
    let variants = "\n[[variant]]\nname = \"broken\"\ngrid = false\nset = { \"data.train_images\" = 11 }\n\
        \n[[variant]]\nname = \"apm\"\n";
    let folder = written(&format!("{EXPERIMENT}{variants}").replace("epochs = 3", "epochs = 1"));
    let here = folder.path();
    for jobs in ["1", "2"] {
        let first = ablate(here, &["--jobs", jobs]).output().expect("the program starts");
        assert!(!first.status.success());
        assert!(!here.join("runs/ablation/apm+points-2-seed1").exists(), "nothing is begun");
        let errors = String::from_utf8_lossy(&first.stderr).into_owned();
        assert!(errors.contains("cannot draw 11 of the 10"), "{errors}");
    }
    let output = ablate(here, &["--keep-going", "--jobs", "2", "--json"])
        .output()
        .expect("the program starts");
    assert!(!output.status.success());
    let document = json(&output);
    let states: Vec<_> = document["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| {
            (run["method"].as_str().expect("a name"), run["state"].as_str().expect("a state"))
        })
        .collect();
    assert_eq!(states, [("broken", "failed"), ("apm+points-2", "done"), ("apm+points-4", "done")]);
    let reason = document["runs"][0]["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("cannot draw 11 of the 10"), "{reason}");
    assert_eq!(document["experiments"][0]["rows"].as_array().expect("rows").len(), 2);
    let failure = fs::read_to_string(here.join("runs/ablation/broken-seed1/failure.json"));
    assert!(failure.expect("recorded").contains("cannot draw 11 of the 10"));
}

#[test]
fn a_child_that_dies_is_a_failure_of_its_run() {
    let folder = written(&EXPERIMENT.replace("epochs = 3", "epochs = 2000"));
    let here = folder.path();
    let mut parent = ablate(here, &["--threads-per-run", "1", "--keep-going", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut killed = 0;
    for run in RUNS {
        let epochs = here.join(format!("runs/ablation/{run}/epochs.csv"));
        while !epochs.exists() && parent.try_wait().expect("a child").is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        for child in children(parent.id()) {
            let status = Command::new("kill").args(["-9", &child]).status().expect("kill");
            killed += usize::from(status.success());
        }
    }
    let output = parent.wait_with_output().expect("it ends");
    assert_eq!(killed, 2);
    assert!(!output.status.success());
    let document = json(&output);
    for run in 0..2 {
        assert_eq!(document["runs"][run]["state"], "failed");
        let reason = document["runs"][run]["reasons"][0].as_str().expect("a reason");
        assert!(reason.contains("without a word") && reason.contains('9'), "{reason}");
    }
    assert_eq!(states(here, &[]), ["failed", "failed"]);
}

/// Process ids of the children of a process, from the system's list.
fn children(parent: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-e", "-o", "pid=,ppid="]).output().expect("ps");
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let child = |line: &str| {
        let mut words = line.split_whitespace();
        let (pid, ppid) = (words.next()?, words.next()?);
        (ppid == parent.to_string()).then(|| pid.to_owned())
    };
    list.lines().filter_map(child).collect()
}
