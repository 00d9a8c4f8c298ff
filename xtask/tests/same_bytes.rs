//! Determinism and frozenness as a user sees them.

mod common;

use std::{fs, path::Path};

use common::{EXPERIMENT, RUN, errors, folder_with, success, xtask};
use run_record::{CaseRow, EpochRow, RunFolder, read_rows};

/// Runs the experiment with so many threads.
fn run_with(threads: &str, folder: &Path) -> RunFolder {
    let mut command = xtask(folder, &["run", "short.toml"]);
    command.env("RAYON_NUM_THREADS", threads);
    success(command);
    RunFolder::new(folder.join(RUN))
}

/// Matrix products may add in another order with another number of threads, so a loss may differ in its last bits, and
/// training carries that on. Single precision has 24 bits, 6e-8; some thousand sums, a few steps: 1e-4 is a thousand times
/// that. A pixel at the threshold may fall on the other side, so scores get 1e-3: a case has 65,536 pixels.
#[test]
fn another_number_of_threads_gives_the_same_within_a_tolerance() {
    let folders = ["1", "2", "3"].map(|threads| {
        let folder = folder_with("short.toml", EXPERIMENT);
        let run = run_with(threads, folder.path());
        (folder, run)
    });
    let [(_, one), others @ ..] = &folders;
    let epochs = |run: &RunFolder| read_rows::<EpochRow>(&run.epochs()).expect("rows");
    let cases = |run: &RunFolder| read_rows::<CaseRow>(&run.cases()).expect("rows");
    let mut largest: f64 = 0.0;
    for (_, other) in others {
        assert_eq!(epochs(one).len(), epochs(other).len());
        for (a, b) in epochs(one).iter().zip(epochs(other)) {
            largest = largest.max((a.loss - b.loss).abs());
            assert!((a.loss - b.loss).abs() <= 1e-4, "epoch {}: {} {}", a.epoch, a.loss, b.loss);
        }
        assert_eq!(cases(one).len(), cases(other).len());
        for (a, b) in cases(one).iter().zip(cases(other)) {
            assert_eq!(a.file, b.file);
            let [a, b] = [a.dice, b.dice].map(|dice| dice.expect("a true mask is not empty"));
            assert!((a - b).abs() <= 1e-3, "{a} {b}");
        }
        let same = [RunFolder::adapters, RunFolder::cases, RunFolder::epochs].map(|file| {
            fs::read(file(one)).expect("written") == fs::read(file(other)).expect("written")
        });
        println!(
            "adapters, cases, epochs the same to the bit: {same:?}; largest difference of a loss {largest:e}"
        );
    }
}

#[test]
fn a_table_refuses_a_run_whose_backbone_changed() {
    let untrained = EXPERIMENT
        .replace("module = \"ips\"", "module = \"none\"")
        .replace("module = \"apm\"\n", "module = \"none\"\n")
        .replace("prompts = [\"auto\"]", "prompts = [\"grid\"]");
    let text: String = untrained
        .lines()
        .filter(|line| !line.starts_with("options"))
        .map(|line| format!("{line}\n"))
        .collect();
    let folder = folder_with("short.toml", &text);
    success(xtask(folder.path(), &["run", "short.toml"]));
    let table =
        |folder: &Path| xtask(folder, &["table", RUN]).output().expect("the program starts");
    assert!(table(folder.path()).status.success());

    let record = folder.path().join(RUN).join("record.json");
    let text = fs::read_to_string(&record).expect("a record");
    let at = text.find("\"frozen_hash_after\": \"").expect("the hash")
        + "\"frozen_hash_after\": \"".len();
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    fs::write(&record, format!("{}{other}{}", &text[..at], &text[at + 1..])).expect("written");
    let output = table(folder.path());
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("backbone") && said.contains(RUN), "{said}");
    assert!(output.stdout.is_empty());
}
