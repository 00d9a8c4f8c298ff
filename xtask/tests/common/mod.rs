//! What tests of crashes and of scarce resources share: a run of a few seconds, and all that it writes.
#![allow(dead_code, reason = "every test uses a part")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A run of a few seconds that writes every kind of file that there is, but for claims.
pub const EXPERIMENT: &str = r#"
name = "short"

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
module = "ips"

[train]
epochs = 4
batch_size = 4
learning_rate = 1e-3

[evaluate]
prompts = ["auto"]
points = 4
panels = 1
save_predictions = true
"#;

/// A pre-training of a few seconds, with several checkpoints.
pub const RECIPE: &str = r#"
backbone = "micro"
seed = 7
output = "out/micro.safetensors"
rounds = 2
shards = 2
warmup_steps = 1
weight_decay = 0.1
max_gradient_norm = 1.0
checkpoint_every = 2

[[stage]]
image_size = 64
steps = 5
batch_size = 2
masks_per_image = 1
area_exponent = 0.5
box_share = 0.3
box_jitter = 0.1
learning_rate = 1e-3

[[stage]]
image_size = 256
steps = 2
batch_size = 2
masks_per_image = 1
area_exponent = 0.5
box_share = 0.3
box_jitter = 0.1
"#;

/// Results of a run of [`EXPERIMENT`], below the folder that it was started in.
pub const RUN: &str = "runs/short/short-seed1";

/// The program, started in a folder and without the user's settings.
pub fn xtask(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    without_settings(command, folder)
}

/// A command in a folder and without the user's settings.
pub fn without_settings(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder);
    for name in ["PROMISE_DATA", "PROMISE_CACHE", "PROMISE_LOG", "PROMISE_MEMORY_GIB"] {
        command.env_remove(name);
    }
    // Tables name the revision of the working tree: somebody may commit while tests run.
    command.env("GIT_DIR", "none");
    command
}

/// A new folder with a file in it.
pub fn folder_with(name: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), text).expect("written");
    folder
}

/// The output of a command that must succeed.
pub fn success(mut command: Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", errors(&output));
    output
}

/// What a command said on standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file below a folder by its path, but those that may differ when a command is interrupted or repeated.
pub fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !may_differ(&name) {
                files.insert(name, fs::read(&path).expect("it can be read"));
            }
        }
    }
    files
}

/// What the page on reliability excepts: files that name a process or durations, logs, locks and unfinished entries of the
/// feature cache that a killed process left and nobody has needed since, and the checkpoints of pre-training: Burn gives the
/// parameters of every process other names.
fn may_differ(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
    let cache = parts.first() == Some(&".feature-cache");
    path.ends_with("environment.json")
        || path.starts_with("runs/pretrain")
        || path.ends_with("timing.json")
        || path.ends_with("run.log")
        || (cache && ["claims", "tmp"].contains(&parts[1]))
}

/// Fails with the names of the files that differ.
pub fn assert_same(
    whole: &BTreeMap<PathBuf, Vec<u8>>,
    other: &BTreeMap<PathBuf, Vec<u8>>,
    after: &str,
) {
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>(),
        "other files after {after}"
    );
    for (name, bytes) in whole {
        let found = &other[name];
        if bytes != found {
            let [expected, found] = [bytes, found].map(|bytes| String::from_utf8_lossy(bytes));
            let differing =
                expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
            panic!("{} differs after {after}: {differing:?}", name.display());
        }
    }
}
