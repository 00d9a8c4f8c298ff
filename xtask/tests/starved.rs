//! Runs on a full disk, under a limit on the size of files, without enough memory: the error says what to change, what is
//! done stays, and the same command goes on afterwards and ends with the same bytes.
#![cfg(unix)]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{
    EXPERIMENT, RECIPE, RUN, assert_same, errors, files, folder_with, success, without_settings,
    xtask,
};

const FILE: &str = "short.toml";
const RUN_IT: [&str; 2] = ["run", FILE];

/// Runs a script in a folder; `$1` is this program.
fn shell(folder: &Path, program: &str, arguments: &[&str], script: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).args(["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_xtask")]);
    without_settings(command, folder).output().expect("a shell")
}

/// Whether this process may mount a file system of its own, in name spaces of its own.
fn may_mount() -> bool {
    let there = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=64k none .";
    Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .current_dir(there.path())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Fills a small disk of its own, `size` KiB, at `runs`, then gives it room and starts the same command again. What the
/// disk holds in the end is copied to `kept`.
///
/// - `done`: what must not be there when the disk is full
fn on_a_disk_of(folder: &Path, size: u64, command: &str, done: &str) -> Output {
    let script = format!(
        "mkdir runs kept && mount -t tmpfs -o size={size}k none runs || exit 70
         \"$1\" {command} && exit 71
         test -e {done} && exit 72
         mount -o remount,size=256m none runs || exit 73
         \"$1\" -q {command} > again.txt || exit 74
         cp -r runs/. kept/"
    );
    shell(folder, "unshare", &["-rm"], &script)
}

/// That a command said what is wrong with which disk and what to do.
fn assert_said(output: &Output, disk: &str, size: u64) {
    let text = errors(output);
    assert!(output.status.success(), "{size} KiB, exit {:?}: {text}", output.status.code());
    assert!(text.contains("No space left on device"), "{size} KiB: {text}");
    assert!(text.contains("free some space"), "{size} KiB: {text}");
    assert!(text.contains(disk), "which disk? {size} KiB: {text}");
}

#[test]
fn a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let whole = folder_with(FILE, EXPERIMENT);
    success(xtask(whole.path(), &RUN_IT));
    let expected = files(&whole.path().join("runs"));
    if !may_mount() {
        println!("skipped: this process may not mount a small disk");
        return;
    }
    // Full at the first file, at the first checkpoint, and at a later one: checkpoints are the most of a run.
    let model = fs::metadata(whole.path().join(RUN).join("adapters.safetensors"))
        .expect("the adapters")
        .len()
        / 1024;
    for size in [4, 2 * model, 9 * model] {
        let folder = folder_with(FILE, EXPERIMENT);
        let record = format!("{RUN}/record.json");
        let output = on_a_disk_of(folder.path(), size, &RUN_IT.join(" "), &record);
        assert_said(&output, "runs/short", size);
        let kept = files(&folder.path().join("kept"));
        assert_same(&expected, &kept, &format!("a disk of {size} KiB was full"));
    }
}

#[test]
fn an_ablation_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    if !may_mount() {
        println!("skipped: this process may not mount a small disk");
        return;
    }
    // Two runs in processes of their own, both of which write.
    let text = format!("seeds = [1, 2]\n{EXPERIMENT}").replace("epochs = 4", "epochs = 2");
    let arguments = ["ablate", FILE, "--jobs", "2", "--threads-per-run", "1"];
    let whole = folder_with(FILE, &text);
    success(xtask(whole.path(), &arguments));
    let model = fs::metadata(whole.path().join(RUN).join("adapters.safetensors"))
        .expect("the adapters")
        .len()
        / 1024;
    let folder = folder_with(FILE, &text);
    // A checkpoint takes three times the model.
    let size = 5 * model;
    let output = on_a_disk_of(folder.path(), size, &arguments.join(" "), "runs/short/table.md");
    assert_said(&output, "runs/short", size);
    let expected = files(&whole.path().join("runs"));
    assert_same(&expected, &files(&folder.path().join("kept")), "an ablation on a full disk");
}

#[test]
fn pretraining_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    if !may_mount() {
        println!("skipped: this process may not mount a small disk");
        return;
    }
    let (recipe, arguments) = ("recipe.toml", ["pretrain", "recipe.toml"]);
    let whole = folder_with(recipe, RECIPE);
    success(xtask(whole.path(), &arguments));
    let checkpoints = fs::read_dir(whole.path().join("runs/pretrain/recipe")).expect("it is there");
    let bytes: u64 =
        checkpoints.map(|entry| entry.expect("an entry").metadata().expect("a file").len()).sum();
    let folder = folder_with(recipe, RECIPE);
    // Two checkpoints stay in the end: the first fits, the second does not.
    let size = bytes * 3 / 4 / 1024;
    let output = on_a_disk_of(folder.path(), size, &arguments.join(" "), "out/micro.safetensors");
    assert_said(&output, "runs/pretrain/recipe", size);
    assert!(folder.path().join("kept/pretrain/recipe/position.json").exists());
    let weights = |folder: &Path| fs::read(folder.join("out/micro.safetensors")).expect("weights");
    assert!(weights(folder.path()) == weights(whole.path()), "other weights after a full disk");
}

#[test]
fn a_run_under_a_limit_on_the_size_of_files_says_so_and_goes_on_without_it() {
    let whole = folder_with(FILE, EXPERIMENT);
    success(xtask(whole.path(), &RUN_IT));
    let expected = files(&whole.path().join("runs"));
    let folder = folder_with(FILE, EXPERIMENT);
    // Blocks of 512 bytes, in some shells of 1024; a checkpoint is larger. The features are kept elsewhere.
    let script = format!("ulimit -f 8; exec \"$1\" run {FILE}");
    let output = shell(folder.path(), "env", &[], &script);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("ulimit -f") && text.contains("cannot write"), "{text}");
    assert!(text.contains("training stopped after epoch 0"), "{text}");
    success(xtask(folder.path(), &RUN_IT));
    assert_same(&expected, &files(&folder.path().join("runs")), "a limit on the size of files");
}

/// The system gives no memory: no program can promise an error then, but nothing is lost.
#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_memory_runs_out_is_warned_before_and_goes_on_with_more() {
    let whole = folder_with(FILE, EXPERIMENT);
    success(xtask(whole.path(), &RUN_IT));
    let expected = files(&whole.path().join("runs"));
    let folder = folder_with(FILE, EXPERIMENT);
    let (mut warned, mut starved) = (0, 0);
    for mib in [220, 240, 260, 280, 300, 400] {
        let script = format!("ulimit -v {}; exec \"$1\" run {FILE}", mib << 10);
        let output = shell(folder.path(), "env", &[], &script);
        let text = errors(&output);
        if output.status.success() {
            break;
        }
        starved += 1;
        assert!(!text.trim().is_empty(), "{mib} MiB: it died without a word");
        warned += usize::from(text.contains("data.feature_memory_gib"));
        println!("{mib} MiB: {:?}: {}", output.status, text.lines().last().unwrap_or_default());
    }
    assert!(starved > 0 && warned > 0, "{starved} {warned}");
    success(xtask(folder.path(), &RUN_IT));
    assert_same(&expected, &files(&folder.path().join("runs")), "memory ran out");
}
