//! Exit codes, and what is said and logged when a command ends: each code in the README's list has a test here.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROMISE_DATA")
        .env_remove("PROMISE_CACHE")
        .env_remove("PROMISE_LOG")
        .env_remove("PROMISE_MEMORY_GIB")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    xtask(folder, arguments).output().expect("the program starts")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The smoke experiment with so many epochs that somebody has to stop it.
fn endless(folder: &Path) {
    let smoke = fs::read_to_string(root().join("experiments/smoke/apm.toml")).expect("the file");
    let text = smoke.replace("epochs = 2", "epochs = 100000");
    fs::write(folder.join("endless.toml"), text).expect("written");
}

const RUN: &str = "runs/smoke_apm/smoke_apm-seed1";

/// Waits until a run has done more epochs than `former`, and says how many; then sends a signal and waits for the end.
fn signaled(folder: &Path, child: Child, signal: &str, former: usize) -> (Output, usize) {
    let done = || {
        let text = fs::read_to_string(folder.join(RUN).join("epochs.csv")).unwrap_or_default();
        // A head, and two lines for each epoch.
        text.lines().count().saturating_sub(1) / 2
    };
    while done() <= former {
        thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill is there").success());
    (child.wait_with_output().expect("it ends"), done())
}

#[test]
fn success_is_0_a_bad_experiment_is_1_and_a_bad_command_line_is_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    assert_eq!(output(here, &["list"]).status.code(), Some(0));

    endless(here);
    let bad = fs::read_to_string(here.join("endless.toml")).expect("written");
    fs::write(here.join("bad.toml"), bad.replace("epochs = 100000", "epochs = 0"))
        .expect("written");
    let refused = output(here, &["run", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        errors(&refused).contains("line 22, column 1, `train.epochs`: is 0"),
        "{}",
        errors(&refused)
    );
    assert!(!here.join("runs").exists(), "nothing was begun");

    assert_eq!(output(here, &["run"]).status.code(), Some(2));
    assert_eq!(output(here, &["run", "bad.toml", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(output(here, &["-q", "-v", "list"]).status.code(), Some(2));
    let wrong = xtask(here, &["list"]).env("PROMISE_LOG", "promise=loud").output().expect("starts");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(errors(&wrong).contains("PROMISE_LOG is `promise=loud`"), "{}", errors(&wrong));
}

#[test]
fn ctrl_c_is_130_and_sigterm_is_143_and_what_is_kept_is_said_and_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    endless(here);
    let start = || xtask(here, &["run", "endless.toml"]).spawn().expect("the program starts");
    let (first, done) = signaled(here, start(), "-INT", 0);
    assert_eq!(first.status.code(), Some(130), "{}", errors(&first));
    let kept = format!(
        "interrupted; kept: 0 of 1 runs, {done} of 100000 epochs of smoke_apm/smoke_apm-seed1; the same command goes on from there"
    );
    assert!(
        errors(&first).lines().any(|line| line == kept),
        "{kept}\nis not in: {}",
        errors(&first)
    );
    assert!(first.stdout.is_empty());

    let (second, done_later) = signaled(here, start(), "-TERM", done);
    assert_eq!(second.status.code(), Some(143), "{}", errors(&second));
    assert!(done_later > done);

    let log = fs::read_to_string(here.join(RUN).join("run.log")).expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    let place = |part: &str| {
        lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {log}"))
    };
    // In this order, each with time and level; the second process has appended.
    let places = [
        place("INFO smoke_apm/smoke_apm-seed1 begins; version"),
        place("INFO encode phantom train (8)"),
        place("INFO epoch 1 of 100000: training loss"),
        place("INFO interrupted; the same command goes on from there"),
        place(&format!("INFO smoke_apm/smoke_apm-seed1 goes on after epoch {done}; version")),
        place(&format!("INFO epoch {} of 100000", done + 1)),
    ];
    assert!(places.is_sorted(), "{places:?}: {log}");
    for line in &lines {
        let time = line.split(' ').next().expect("a word");
        assert!(time.len() > 20 && time.ends_with('Z') && &time[10..11] == "T", "{line}");
    }
    assert_eq!(log.matches("INFO epoch 1 of 100000").count(), 1, "said once");
}

#[test]
fn a_failed_run_is_1_and_its_log_says_why_and_what_was_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    for part in ["images", "masks"] {
        fs::create_dir(here.join(part)).expect("made");
    }
    for index in 0..8_u8 {
        let name = format!("{}.png", char::from(b'a' + index));
        let picture = image::RgbImage::from_pixel(40, 30, image::Rgb([index * 20, 90, 60]));
        picture.save(here.join("images").join(&name)).expect("saved");
        let mask = image::GrayImage::from_fn(40, 30, |x, _| image::Luma([u8::from(x > 20) * 255]));
        mask.save(here.join("masks").join(&name)).expect("saved");
    }
    fs::write(here.join("images/b.png"), "no image").expect("written");
    let splits =
        "name,split\na,train\nb,train\nc,train\nd,train\ne,train\nf,train\ng,test\nh,test\n";
    fs::write(here.join("splits.csv"), splits).expect("written");
    let smoke = fs::read_to_string(root().join("experiments/smoke/apm.toml")).expect("the file");
    let text = smoke.replace("[\"phantom\"]", "[\"mine\"]").replace("train_limit = 10\n", "");
    let source =
        "[data.sources.mine]\nimages = \"images\"\nmasks = \"masks\"\nsplits = \"splits.csv\"\n";
    fs::write(here.join("mine.toml"), format!("{text}\n{source}")).expect("written");

    // Warnings are shown once, also beside the log's.
    let whole = output(here, &["run", "mine.toml", "--runs", "whole"]);
    assert_eq!(whole.status.code(), Some(0), "{}", errors(&whole));
    assert_eq!(errors(&whole).matches("skipped b").count(), 1, "{}", errors(&whole));
    let log =
        fs::read_to_string(here.join("whole/smoke_apm/smoke_apm-seed1/run.log")).expect("a log");
    assert_eq!(log.matches("WARN skipped b").count(), 1, "{log}");
    assert!(log.contains("WARN left out mine train b") && log.contains("INFO done"), "{log}");
    // The log has what the terminal is spared.
    let quiet = output(here, &["-qq", "run", "mine.toml", "--runs", "quiet"]);
    assert!(!errors(&quiet).contains("skipped"), "{}", errors(&quiet));
    let log =
        fs::read_to_string(here.join("quiet/smoke_apm/smoke_apm-seed1/run.log")).expect("a log");
    assert!(log.contains("WARN skipped b"), "{log}");

    let strict = output(here, &["run", "mine.toml", "--set", "data.strict=true"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(errors(&strict).contains("b.png"), "{}", errors(&strict));
    let log = fs::read_to_string(here.join(RUN).join("run.log")).expect("a log");
    assert!(log.contains("ERROR failed: ") && log.contains("b.png"), "{log}");
}

#[test]
fn allowed_overlap_marks_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let smoke = fs::read_to_string(root().join("experiments/smoke/apm.toml")).expect("the file");
    let text = smoke
        .replace(
            "train_limit",
            "test_split = \"train\"\nallow_overlap = [\"phantom\"]\ntrain_limit",
        )
        .replace("epochs = 2", "epochs = 1");
    fs::write(here.join("overlap.toml"), text).expect("written");
    let run = output(here, &["-v", "run", "overlap.toml"]);
    assert_eq!(run.status.code(), Some(0), "{}", errors(&run));
    assert!(errors(&run).contains("2 of the 2 test images of `phantom` are trained on"));
    // `-v` shows what is for those who look closer.
    assert!(errors(&run).contains("DEBUG"), "{}", errors(&run));
    let table = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(table.contains("smoke_apm (chosen on test data)"), "{table}");
}

#[test]
fn the_doctor_is_1_if_there_is_a_problem_and_0_if_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let smoke = root().join("experiments/smoke/apm.toml");
    let smoke = smoke.to_str().expect("UTF-8");
    let report = output(here, &["doctor", smoke, "--json"]);
    let document: serde_json::Value =
        serde_json::from_slice(&report.stdout).expect("exactly one JSON document");
    let findings = document["findings"].as_array().expect("findings");
    // What the machine is like is no business of a test; that its worst finding decides is.
    let problem = findings.iter().any(|finding| finding["verdict"] == "problem");
    assert_eq!(document["verdict"] == "problem", problem);
    assert_eq!(report.status.code(), Some(i32::from(problem)));
    for area in
        ["build", "device", "threads", "memory", "disk", "data", "weights", "cache", "experiment"]
    {
        assert!(findings.iter().any(|finding| finding["area"] == area), "{area}: {document}");
    }
    assert_eq!(fs::read_dir(here).expect("the folder").count(), 0, "nothing is left behind");

    let bad = output(here, &["doctor", "nowhere.toml", "--data-root", "nowhere"]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8_lossy(&bad.stdout).into_owned();
    assert!(text.contains("PROBLEM  data       the data root is not a folder: nowhere"), "{text}");
    assert!(text.contains("PROBLEM  experiment nowhere.toml"), "{text}");
}

/// Like a share that hangs: whoever writes a file waits for the lock on its temporary name, which nobody gives back here.
#[test]
fn a_command_whose_files_do_not_come_ends_and_names_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let partial = folder.path().join(".sheet.png.partial");
    let held = fs::File::create(&partial).expect("a file");
    held.lock().expect("a lock");
    let preview = ["data", "preview", "phantom", "--n=1", "--columns=1", "--size=64", "--tile=16"];
    let arguments = [&preview[..], &["--out", "sheet.png", "--read-timeout", "1"]].concat();
    let ended = output(folder.path(), &arguments);
    assert_eq!(ended.status.code(), Some(1), "{}", errors(&ended));
    let text = errors(&ended);
    assert!(text.contains("error: no answer for 1 s") && text.contains("sheet.png"), "{text}");
    assert!(text.contains("--read-timeout"), "what can be done? {text}");
    drop(held);
    let ended = output(folder.path(), &arguments);
    assert!(ended.status.success(), "{}", errors(&ended));
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(left.len(), 1, "the sheet and nothing else: {left:?}");
}

#[test]
fn more_threads_than_any_machine_has_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let asked = |threads: &str| {
        let mut command = xtask(folder.path(), &["list"]);
        command.env("RAYON_NUM_THREADS", threads).output().expect("the program starts")
    };
    for good in ["1", "3", "0", "many", ""] {
        assert_eq!(asked(good).status.code(), Some(0), "{good}");
    }
    let refused = asked("100000");
    assert_eq!(refused.status.code(), Some(1));
    let said = errors(&refused);
    assert!(said.contains("RAYON_NUM_THREADS is 100000: at most 1024 threads"), "{said}");

    let option = output(folder.path(), &["ablate", "x.toml", "--threads-per-run", "1025"]);
    assert_eq!(option.status.code(), Some(2));
    assert!(errors(&option).contains("expected a number from 1 to 1024"), "{}", errors(&option));
}

/// A device whose every write fails as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn output_that_is_lost_is_1_and_said_and_a_reader_that_went_away_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["list"][..], &["list", "--json"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
        let lost = xtask(folder.path(), arguments).stdout(full).output().expect("it starts");
        assert_eq!(lost.status.code(), Some(1), "{arguments:?}");
        let said = errors(&lost);
        assert!(said.starts_with("error: cannot write the output\n  because: No space"), "{said}");
        assert_eq!(said.lines().count(), 2, "once: {said}");
    }
    let mut left = xtask(folder.path(), &["list"]).spawn().expect("it starts");
    drop(left.stdout.take());
    assert_eq!(left.wait().expect("it ends").code(), Some(0));
}
