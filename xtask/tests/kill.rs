//! Commands that are killed without warning at random moments, once or several times, then started again: what they leave
//! is byte for byte what an uninterrupted one leaves.
//!
//! `PROMISE_KILLS=20` tries so many moments for each command instead of [`KILLS`]; with `PROMISE_KILLS_TABLES=FOLDER` each
//! command leaves a table there, a row for each moment after which its results were found identical.
#![cfg(unix)]

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{EXPERIMENT, RECIPE, RUN, assert_same, errors, files, folder_with, success, xtask};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Moments for each command unless `PROMISE_KILLS` says otherwise.
const KILLS: usize = 1;
const SEED: u64 = 7;

/// A command and the file that it needs.
struct Task {
    name: &'static str,
    file: &'static str,
    text: String,
    arguments: &'static [&'static str],
}

fn tasks() -> [Task; 4] {
    let encode = EXPERIMENT.replace("train_limit = 12", "train_limit = 60");
    assert_ne!(encode, EXPERIMENT);
    [
        Task {
            name: "run",
            file: "short.toml",
            text: EXPERIMENT.to_owned(),
            arguments: &["run", "short.toml"],
        },
        Task {
            name: "ablate",
            file: "short.toml",
            text: format!("{EXPERIMENT}\n[grid]\n\"prompt.options.points\" = [2, 4]\n"),
            arguments: &["ablate", "short.toml", "--threads-per-run", "1", "--jobs", "2"],
        },
        Task {
            name: "encode",
            file: "short.toml",
            text: encode,
            arguments: &["encode", "short.toml"],
        },
        Task {
            name: "pretrain",
            file: "recipe.toml",
            text: RECIPE.to_owned(),
            arguments: &["pretrain", "recipe.toml"],
        },
    ]
}

impl Task {
    fn folder(&self) -> tempfile::TempDir {
        folder_with(self.file, &self.text)
    }

    /// Starts the command in a process group of its own.
    fn start(&self, folder: &Path) -> Child {
        let mut command = xtask(folder, self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().expect("the program starts")
    }

    /// What an uninterrupted command leaves, and how long it takes.
    fn whole(&self) -> (BTreeMap<PathBuf, Vec<u8>>, Duration) {
        let folder = self.folder();
        let begin = Instant::now();
        success(xtask(folder.path(), self.arguments));
        let takes = begin.elapsed();
        let files = files(folder.path());
        // More than the file that it was given.
        assert!(files.len() > 1, "{}: {:?}", self.name, files.keys());
        (files, takes)
    }

    /// Lets the command end and compares what it left.
    fn end(&self, folder: &Path, whole: &BTreeMap<PathBuf, Vec<u8>>, after: &str) {
        let output = xtask(folder, self.arguments).output().expect("the program starts");
        assert!(output.status.success(), "after {after}: {}", errors(&output));
        assert_same(whole, &files(folder), &format!("{} killed {after}", self.name));
    }

    /// Kills the command at `moments` random moments, once to three times each.
    fn killed_at_random(&self, moments: usize) {
        let (whole, takes) = self.whole();
        let mut table = "moment,kills,killed,after_seconds\n".to_owned();
        let mut kills = 0;
        for moment in 0..moments {
            // A function of (command, moment): the same moments of the same run, as far as a clock can say.
            let stream = self.name.bytes().map(u64::from).sum::<u64>() << 32 | moment as u64;
            let mut rng = ChaCha8Rng::seed_from_u64(SEED);
            rng.set_stream(stream);
            let folder = self.folder();
            let (mut after, mut whom) = (Vec::new(), Vec::new());
            loop {
                let wait = takes.mul_f64(rng.random_range(0.0..1.0));
                let mut child = self.start(folder.path());
                thread::sleep(wait);
                // Its children notice that they are alone and stop, or they are killed with it.
                let with_children = rng.random_bool(0.5);
                if kill(&mut child, with_children) {
                    kills += 1;
                    after.push(format!("{:.3}", wait.as_secs_f64()));
                    whom.push(if with_children { "group" } else { "process" });
                } else if after.is_empty() {
                    // It was done before: another moment.
                    drop(fs::remove_dir_all(folder.path()));
                    fs::create_dir(folder.path()).expect("a folder");
                    fs::write(folder.path().join(self.file), &self.text).expect("written");
                    continue;
                }
                if after.len() >= 3 || rng.random_bool(0.5) {
                    break;
                }
            }
            self.end(folder.path(), &whole, &format!("after {} s", after.join(", ")));
            let (n, whom, after) = (after.len(), whom.join(" "), after.join(" "));
            table += &format!("{moment},{n},{whom},{after}\n");
            if let Some(tables) = env::var_os("PROMISE_KILLS_TABLES") {
                let path = Path::new(&tables).join(format!("{}.csv", self.name));
                fs::write(path, &table).expect("a table");
            }
        }
        println!(
            "{}: {moments} of {moments} identical, killed {kills} times within {:.1} s",
            self.name,
            takes.as_secs_f64()
        );
    }
}

/// Waits until a file is there, or the process that should write it has ended; whether it is there.
fn appears(file: &Path, child: &mut Child) -> bool {
    while !file.exists() && child.try_wait().expect("a child").is_none() {
        thread::sleep(Duration::from_micros(200));
    }
    file.exists()
}

/// Kills a process, or all of its group. Whether it was still at work.
fn kill(child: &mut Child, with_children: bool) -> bool {
    let at_work = child.try_wait().expect("a child").is_none();
    if with_children {
        let group = format!("-{}", child.id());
        // A group that is gone already is no failure.
        let _ = Command::new("kill").args(["-9", "--", &group]).stderr(Stdio::null()).status();
    } else {
        child.kill().expect("SIGKILL");
    }
    let status = child.wait().expect("it ends");
    at_work && !status.success()
}

fn moments() -> usize {
    match env::var("PROMISE_KILLS") {
        Ok(number) => number.parse().expect("PROMISE_KILLS is a number"),
        Err(_) => KILLS,
    }
}

#[test]
fn a_run_that_is_killed_at_random_moments_goes_on_and_leaves_the_same_bytes() {
    let [run, ..] = tasks();
    run.killed_at_random(moments());
}

#[test]
fn an_ablation_that_is_killed_at_random_moments_goes_on_and_leaves_the_same_bytes() {
    let [_, ablate, ..] = tasks();
    ablate.killed_at_random(moments());
}

#[test]
fn encoding_that_is_killed_at_random_moments_goes_on_and_leaves_the_same_bytes() {
    let [_, _, encode, _] = tasks();
    encode.killed_at_random(moments());
}

#[test]
fn pretraining_that_is_killed_at_random_moments_goes_on_and_leaves_the_same_bytes() {
    let [.., pretrain] = tasks();
    pretrain.killed_at_random(moments());
}

/// Random moments seldom hit the gap between two writes. Here a run is killed as soon as a file appears: of any two
/// files that are written one after the other, the first is there and the second is not, or not yet whole.
#[test]
fn a_run_that_is_killed_as_a_file_appears_goes_on_and_leaves_the_same_bytes() {
    let [task, ..] = tasks();
    let (whole, _) = task.whole();
    let in_run = [
        "experiment.toml",
        "resolved.json",
        "checkpoint/model-1.bpk",
        "checkpoint/epochs-2.csv",
        "checkpoint/epoch-2.json",
        "checkpoint/optim-3.bpk",
        "epochs.csv",
        "adapters.safetensors",
        "panels/panels.json",
        "cases.csv",
        "curves.csv",
        "timing.json",
        "record.json",
    ];
    let beside = ["outline.json", "table.md", "training-curves.svg", "qualitative.pdf"];
    let places: Vec<PathBuf> = in_run
        .iter()
        .map(|name| Path::new(RUN).join(name))
        .chain(beside.iter().map(|name| Path::new("runs/short").join(name)))
        .collect();
    let all = moments() > KILLS;
    let mut killed = 0;
    // A part of them in the shorter test, another one for every kind of file.
    for place in places.iter().skip(if all { 0 } else { 3 }).step_by(if all { 1 } else { 5 }) {
        let folder = task.folder();
        let file = folder.path().join(place);
        let mut child = task.start(folder.path());
        assert!(appears(&file, &mut child), "{} was never there", place.display());
        killed += usize::from(kill(&mut child, true));
        task.end(folder.path(), &whole, &format!("as {} appeared", place.display()));
    }
    println!("run: killed as {killed} files appeared, all identical");
    assert!(killed > 0);
}

/// SIGTERM, which batch systems send first, is Ctrl-C: the run stops at a safe place and says so.
#[test]
fn a_run_that_is_terminated_or_interrupted_stops_says_so_and_goes_on() {
    let [task, ..] = tasks();
    let long = EXPERIMENT.replace("epochs = 4", "epochs = 400");
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let folder = folder_with(task.file, &long);
        let epochs = folder.path().join(RUN).join("epochs.csv");
        let mut command = xtask(folder.path(), task.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        assert!(appears(&epochs, &mut child), "the run ended early");
        let id = child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().expect("kill");
        assert!(sent.success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{}", errors(&output));
        let text = errors(&output);
        assert!(text.contains("stopping at the next safe place"), "{text}");
        assert!(text.contains("the same command goes on"), "{text}");
        assert!(epochs.exists() && !folder.path().join(RUN).join("record.json").exists());
        // Nothing is wrong with the run.
        assert!(!folder.path().join(RUN).join("failure.json").exists());
    }
}

/// Sends a signal once something is at `place`; the exit code, and what was said.
fn signalled(task: &Task, folder: &Path, place: &Path, signal: &str) -> (Option<i32>, String) {
    let mut command = xtask(folder, task.arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().expect("the program starts");
    assert!(appears(&folder.join(place), &mut child), "{} ended early", task.name);
    // Ctrl-C goes to all processes of a terminal; a batch system asks the one that it started.
    let (id, group) = (child.id().to_string(), format!("-{}", child.id()));
    let whom = if signal == "INT" { &group } else { &id };
    let sent = Command::new("kill").args([&format!("-{signal}"), "--", whom]).status();
    assert!(sent.expect("kill").success());
    let output = child.wait_with_output().expect("it ends");
    let left = Command::new("kill").args(["-0", "--", &group]).stderr(Stdio::null()).status();
    assert!(!left.expect("kill").success(), "{}: a child is left at work", task.name);
    (output.status.code(), errors(&output))
}

#[test]
fn ablating_encoding_and_pretraining_stop_at_a_signal_say_so_and_go_on() {
    let [_, ablate, encode, pretrain] = tasks();
    let long = |text: &str, short: &str, long: &str| {
        assert!(text.contains(short));
        text.replace(short, long)
    };
    let cases = [
        (
            long(&ablate.text, "epochs = 4", "epochs = 400"),
            &ablate,
            "runs/short/points-2-seed1/epochs.csv",
            &["TERM", "INT"][..],
        ),
        (
            long(&encode.text, "train_limit = 60", "train_limit = 300"),
            &encode,
            ".feature-cache/v1",
            &["INT"],
        ),
        (
            long(&pretrain.text, "steps = 5", "steps = 4000"),
            &pretrain,
            "runs/pretrain/recipe/position.json",
            &["TERM"],
        ),
    ];
    for (text, task, place, signals) in cases {
        for signal in signals {
            let folder = folder_with(task.file, &text);
            let (code, said) = signalled(task, folder.path(), Path::new(place), signal);
            let expected = if *signal == "INT" { 130 } else { 143 };
            assert_eq!(code, Some(expected), "{} {signal}: {said}", task.name);
            assert!(
                said.contains("stopping at the next safe place"),
                "{} {signal}: {said}",
                task.name
            );
            assert!(said.contains("the same command goes on"), "{} {signal}: {said}", task.name);
            assert!(folder.path().join(place).exists(), "{}: what was done is kept", task.name);
            // Nothing is done, and nothing is wrong.
            for name in files(folder.path()).keys() {
                assert!(!name.ends_with("record.json") && !name.ends_with("failure.json"));
            }
        }
    }
}
