//! `score` as people and scripts use it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Predictions and truths of the crate `scoring`.
fn fixture(part: &str) -> String {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/scoring/fixtures/folder");
    path.join(part).display().to_string()
}

fn score(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["score", "--pred", &fixture("predictions"), "--truth", &fixture("truths")])
        .args(options)
        .output()
        .expect("the program starts")
}

#[test]
fn json_has_the_means_of_the_field_and_every_case() {
    let output = score(&["--protocol", "pranet", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value =
        serde_json::from_slice(&output.stdout).expect("exactly one JSON document");
    assert_eq!((&document["protocol"], &document["n"]), (&"pranet".into(), &6.into()));
    let expected = std::fs::read_to_string(fixture("expected.json")).expect("the fixture");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    for label in ["mDice", "mIoU", "wFm", "Sm", "meanEm", "maxEm", "MAE"] {
        let found = document["mean"][label].as_f64().expect("a number");
        let expected = expected[label].as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-9, "{label}: {found} instead of {expected}");
    }
    let cases = document["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 6);
    assert!(cases.iter().all(|case| case["file"].is_string() && case["Sm"].is_number()));
}

#[test]
fn the_table_names_the_protocol_and_a_file_has_the_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cases.csv");
    let output = score(&["--protocol", "isic", "--out", &file.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("Protocol `isic`: 6 predictions"), "{text}");
    assert!(text.contains("| Threshold Jaccard |"), "{text}");
    let cases: Vec<run_record::CaseRow> = run_record::read_rows(&file).expect("case rows");
    assert_eq!(cases.len(), 6);
    assert!(cases.iter().all(|case| case.protocol == "isic" && case.threshold_jaccard.is_some()));
}

#[test]
fn what_does_not_fit_together_is_an_error_with_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = folder.path().join("good.png");
    std::fs::copy(Path::new(&fixture("predictions")).join("good.png"), &one).expect("copied");
    let run = |pred: &str, truth: &str, options: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["score", "--pred", pred, "--truth", truth])
            .args(options)
            .output()
            .expect("the program starts")
    };
    let here = folder.path().display().to_string();
    assert!(
        run(&here, &fixture("truths"), &[]).status.success(),
        "truths without a prediction are counted"
    );
    let output = run(&here, &fixture("truths"), &["--complete"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(errors.contains("5 truths have no prediction"), "{errors}");
    let output = run(&fixture("predictions"), &here, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("5 of 6 predictions have no truth") && errors.contains("missed.png"),
        "{errors}"
    );
    let output = run(&here, &here, &["--protocol", "dice"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("known: `default`, `pranet`"));
}
