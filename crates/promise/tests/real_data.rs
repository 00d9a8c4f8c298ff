//! A short run on real images, when there are any.

mod common;

use std::path::{Path, PathBuf};

use common::context;
use promise::{
    plan::Experiment,
    run::{Context, run_experiment},
};

#[test]
fn kvasir_and_clinicdb_train_and_are_scored() {
    let Some(root) = std::env::var_os("PROMISE_DATA") else {
        println!("skipped: PROMISE_DATA is not set");
        return;
    };
    let runs = tempfile::tempdir().expect("a folder");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke/apm.toml");
    let settings = [
        "data.train=[\"kvasir-seg\", \"cvc-clinicdb\"]",
        "data.test=[\"kvasir-seg\", \"cvc-clinicdb\"]",
        // ClinicDB's first frames are of one video, and validation needs another one.
        "data.train_limit=40",
    ];
    let experiment = Experiment::load(&file, &settings.map(str::to_owned)).expect("valid");
    let context = Context { data_root: Some(PathBuf::from(root)), ..context(runs.path()) };
    let finished = run_experiment(&experiment, &context).expect("it runs");
    let rows: Vec<_> = finished[0]
        .record
        .rows
        .iter()
        .map(|row| (row.data.as_str(), row.prompts.as_str(), row.n))
        .collect();
    assert_eq!(
        rows,
        [
            ("kvasir-seg", "auto", 2),
            ("kvasir-seg", "ground_truth", 2),
            ("cvc-clinicdb", "auto", 2),
            ("cvc-clinicdb", "ground_truth", 2),
        ]
    );
    assert!(finished[0].record.skipped.is_empty());
}
