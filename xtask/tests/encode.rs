//! `encode` under the worst: killed without warning again and again, writes that end in the middle.
#![cfg(unix)]

mod common;

use std::{
    collections::BTreeMap,
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use common::{success, xtask};
use serde_json::Value;

const EXPERIMENT: &str = r#"
name = "kill"

[backbone]
variant = "micro"

[data]
train = ["phantom"]
test = ["phantom"]
train_limit = 180
test_limit = 20

[prompt]
module = "apm"
options = { points = 4, taps = "12", head = "resnet18", fusion_channels = 8, base_width = 4 }

[shift]
module = "none"

[train]
epochs = 1
batch_size = 4
learning_rate = 1e-3

[evaluate]
prompts = ["auto"]
points = 4
"#;
const IMAGES: u64 = 200;
const KILLS: usize = 10;

fn json(command: Command) -> Value {
    let output = success(command);
    serde_json::from_slice(&output.stdout).expect("exactly one JSON document")
}

/// Whether a line is a name, a SHA-256: the last line before a kill may be cut off, and a table
/// follows the names.
fn is_name(line: &str) -> bool {
    line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn killed_ten_times_it_loses_nothing_and_computes_nothing_three_times() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("kill.toml"), EXPERIMENT).expect("written");
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    let mut killed_at_work = 0;
    for kill in 0..KILLS {
        let mut child = xtask(folder.path(), &["encode", "kill.toml", "--names"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // It dies after so many names, in the middle of computing: a time would depend on the machine. Not
        // before the fourth: who is killed ten times at the same image computes it ten times.
        let mut names = String::new();
        let mut pipe = child.stdout.take().expect("a pipe");
        let mut byte = [0];
        while names.matches('\n').count() < 4 + kill % 3 {
            match pipe.read(&mut byte) {
                Ok(1) => names.push(char::from(byte[0])),
                _ => break,
            }
        }
        thread::sleep(Duration::from_millis(2 * kill as u64));
        child.kill().expect("SIGKILL");
        let status = child.wait().expect("it ends");
        killed_at_work += usize::from(!status.success());
        pipe.read_to_string(&mut names).expect("UTF-8");
        for name in names.lines().filter(|line| is_name(line)) {
            *begun.entry(name.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(killed_at_work, KILLS, "it was done before it could be killed");

    let output = xtask(folder.path(), &["encode", "kill.toml", "--names"]).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for name in text.lines().filter(|line| is_name(line)) {
        *begun.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(begun.len() as u64, IMAGES);
    let most = begun.values().max().copied().unwrap_or_default();
    assert!(most <= 2, "computed {most} times");

    let verification = json(xtask(folder.path(), &["cache", "verify", "--json"]));
    assert_eq!(verification["damaged"], Value::Array(Vec::new()));
    assert_eq!(verification["whole"], 2 * IMAGES);
    let report = json(xtask(folder.path(), &["encode", "kill.toml", "--json"]));
    for set in report.as_array().expect("a list") {
        assert_eq!(set["computed"], 0, "{set}");
    }
    let survey = json(xtask(folder.path(), &["cache", "stat", "--json"]));
    assert_eq!(survey["entries"], 2 * IMAGES);
    assert_eq!(survey["backbones"][0]["images"], IMAGES);
    let temporary = folder.path().join(".feature-cache").join("claims");
    let left = std::fs::read_dir(temporary).expect("a folder").count();
    // A killed process leaves the lock file of the image it was at; it means nothing any more.
    assert!(left <= KILLS, "{left} lock files");
    json(xtask(folder.path(), &["cache", "clear", "--json"]));
    let survey =
        json(xtask(folder.path(), &["cache", "stat", "--cache", ".feature-cache", "--json"]));
    assert_eq!(survey["entries"], 0);
    let output =
        xtask(folder.path(), &["cache", "stat", "--cache", "typo"]).output().expect("runs");
    assert!(!output.status.success() && !folder.path().join("typo").exists());
}

#[test]
fn a_write_that_ends_in_the_middle_leaves_no_entry_and_costs_nothing_that_was_done() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("full.toml"), EXPERIMENT).expect("written");
    let few = ["encode", "full.toml", "--set", "data.train_limit=4", "--set", "data.test_limit=1"];
    let done = json(xtask(folder.path(), &[&few[..], &["--json"]].concat()));
    let images: u64 =
        done.as_array().expect("a list").iter().filter_map(|set| set["computed"].as_u64()).sum();
    assert_eq!(images, 5);

    // No file may become longer than some kilobytes: every further entry ends in the middle of a
    // write, as on a full disk, with another number of the same kind of error.
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$0\" encode full.toml"])
        .arg(env!("CARGO_BIN_EXE_xtask"))
        .current_dir(folder.path())
        .env_remove("PROMISE_DATA")
        .env_remove("PROMISE_CACHE")
        .output()
        .expect("a shell");
    assert_eq!(limited.status.code(), Some(1));
    let message = String::from_utf8_lossy(&limited.stderr);
    assert!(message.contains("cannot write") && message.contains(".feature-cache"), "{message}");

    let verification = json(xtask(folder.path(), &["cache", "verify", "--json"]));
    assert_eq!(verification["damaged"], Value::Array(Vec::new()));
    assert_eq!(verification["whole"], 2 * images);
    let after = json(xtask(folder.path(), &["encode", "full.toml", "--json"]));
    let computed: u64 =
        after.as_array().expect("a list").iter().filter_map(|set| set["computed"].as_u64()).sum();
    assert_eq!(computed, IMAGES - images, "what was stored before was computed again");
}

#[test]
fn an_image_that_is_left_out_is_named_and_ends_the_command_with_1_as_in_prepare() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["a", "b", "c", "d", "e"];
    for sub in ["images", "masks"] {
        std::fs::create_dir(folder.path().join(sub)).expect("a new folder");
    }
    for (index, name) in (0..).zip(names) {
        let (image, truth) = data_loaders::synthetic::phantom(1, index, 64);
        image.save(folder.path().join(format!("images/{name}.png"))).expect("a free disk");
        truth.to_gray().save(folder.path().join(format!("masks/{name}.png"))).expect("a free disk");
    }
    let splits = "name,split\na,train\nb,train\nc,train\nd,train\ne,test\n";
    std::fs::write(folder.path().join("splits.csv"), splits).expect("a free disk");
    let source = "train = [\"own\"]\ntest = [\"own\"]\n\
                  sources.own = { images = \"images\", masks = \"masks\", splits = \"splits.csv\" }\n";
    let phantom =
        "train = [\"phantom\"]\ntest = [\"phantom\"]\ntrain_limit = 180\ntest_limit = 20\n";
    assert!(EXPERIMENT.contains(phantom));
    let experiment = EXPERIMENT.replace(phantom, source);
    std::fs::write(folder.path().join("own.toml"), experiment).expect("a free disk");

    let encode = |form: &[&str]| {
        let arguments = [&["encode", "own.toml"], form].concat();
        xtask(folder.path(), &arguments).output().expect("the program starts")
    };
    let sum = |output: &std::process::Output, key: &str| -> u64 {
        let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
        report.as_array().expect("a list").iter().filter_map(|set| set[key].as_u64()).sum()
    };
    let whole = encode(&["--json"]);
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stderr));
    assert_eq!((sum(&whole, "images"), sum(&whole, "computed")), (5, 5));

    std::fs::write(folder.path().join("images/e.png"), "").expect("a free disk");
    std::fs::copy(folder.path().join("images/a.png"), folder.path().join("images/f.png"))
        .expect("a free disk");
    std::fs::copy(folder.path().join("masks/a.png"), folder.path().join("masks/f.png"))
        .expect("a free disk");
    std::fs::write(folder.path().join("splits.csv"), format!("{splits}f,test\n"))
        .expect("a free disk");
    let part = encode(&["--json"]);
    assert_eq!(part.status.code(), Some(1), "an image was left out");
    assert_eq!((sum(&part, "images"), sum(&part, "found")), (5, 5), "the others are there");
    let report: Value = serde_json::from_slice(&part.stdout).expect("a JSON document");
    let skipped: Vec<&Value> = report
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|set| set["skipped"].as_array())
        .flatten()
        .collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0]["file"], "e");
    let table = encode(&[]);
    assert_eq!(table.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&table.stderr).contains("skipped e"));
}
