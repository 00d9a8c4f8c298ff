//! Independent runs are spread over devices, one process each.
#![cfg(unix)]

mod common;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use common::context;
use promise::{
    campaign::{Campaign, OnFailure, PlannedRun},
    device::DeviceKind,
    plan::Experiment,
    progress::{OneAtATime, Silent},
    workers::Workers,
};

/// The devices are names only: what is started here is no run, and computes nothing. What it waits for lets both of those
/// who mind processes have a turn.
#[test]
fn runs_in_processes_get_devices_by_turns_and_each_device_one_at_a_time() {
    let runs = tempfile::tempdir().expect("a folder");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke/ablation.toml");
    let experiments = [Experiment::load(&path, &[]).expect("a good file")];
    let context = context(runs.path());
    let campaign = Campaign::open(&experiments, &context).expect("opened");
    let devices = [DeviceKind::Cuda(0), DeviceKind::Cuda(1)];
    let begun: Mutex<BTreeMap<String, Vec<String>>> = Mutex::default();
    let busy = runs.path().display().to_string();
    let command = |_: usize, run: &PlannedRun, device: DeviceKind| {
        begun.lock().expect("no panic").entry(device.to_string()).or_default().push(run.name());
        // Fails if its device has another process at the moment: a folder can be made once.
        let script =
            r#"mkdir "$1" || { echo "taken" >&2; exit 9; }; sleep 0.1; rmdir "$1"; exit 3"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &format!("{busy}/busy-{device}")]);
        command
    };
    let workers = Workers {
        jobs: NonZeroUsize::new(2).expect("two"),
        threads: NonZeroUsize::MIN,
        devices: &devices,
        command: &command,
    };
    let watch = OneAtATime(Arc::new(Silent));
    let outcomes =
        campaign.run_in_processes(&workers, OnFailure::KeepGoing, &watch).expect("it ends");
    for outcome in &outcomes {
        let failure = outcome.failure().expect("it is no run").to_string();
        assert!(failure.contains("exit status: 3"), "{failure}");
    }
    let begun = begun.into_inner().expect("no panic");
    assert_eq!(begun.keys().collect::<Vec<_>>(), ["cuda", "cuda:1"]);
    assert_eq!(begun.values().map(Vec::len).sum::<usize>(), outcomes.len());
    assert!(outcomes.len() > 2);
}
