//! A pre-training run that is interrupted ends with the bytes of one that is not.

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use burn::tensor::Device;
use pretraining::{Outcome, PretrainError, PretrainSpec, pretrain};

/// Fresh weights are drawn from the one generator that a process has for a device: one test at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spec(folder: &Path, last_steps: usize) -> PretrainSpec {
    let path = folder.join("recipe.toml");
    let output = folder.join("out/micro.safetensors");
    let text = format!(
        "backbone = \"micro\"\nseed = 7\noutput = {output:?}\nrounds = 2\nshards = 2\n\
         warmup_steps = 1\nweight_decay = 0.1\nmax_gradient_norm = 1.0\n\
         checkpoint_every = 100\n\
         [[stage]]\nimage_size = 64\nsteps = 2\nbatch_size = 2\nmasks_per_image = 1\narea_exponent = 0.5\nbox_share = 0.3\nbox_jitter = 0.1\nlearning_rate = 1e-3\n\
         [[stage]]\nimage_size = 256\nsteps = {last_steps}\nbatch_size = 2\nmasks_per_image = 1\n\
         area_exponent = 0.0\nbox_share = 0.5\nbox_jitter = 0.03\nlearning_rate = 5e-4\n"
    );
    fs::write(&path, text).expect("written");
    PretrainSpec::from_path(&path).expect("valid")
}

fn tensors(spec: &PretrainSpec) -> Vec<u8> {
    let bytes = fs::read(&spec.output).expect("written");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    // The header names the recipe, which names the folder.
    bytes[8 + header..].to_vec()
}

#[test]
fn an_interrupted_run_ends_with_the_same_weights() {
    let _turn = turn();
    let device = Device::flex();
    let whole = tempfile::tempdir().expect("a folder");
    let expected = spec(whole.path(), 2);
    let mut losses = Vec::new();
    let outcome = pretrain(&expected, whole.path(), &device, &|_| false, &mut |report| {
        losses.push(report.loss);
    })
    .expect("it trains");
    let Outcome::Finished { tensors_sha256: expected_hash } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");

    // Stopped within a stage, at the border of two, and within the second.
    let parts = tempfile::tempdir().expect("a folder");
    let interrupted = spec(parts.path(), 2);
    let mut resumed = Vec::new();
    for stop_after in 1..=3 {
        let stop = |steps| steps == stop_after;
        let outcome = pretrain(&interrupted, parts.path(), &device, &stop, &mut |report| {
            resumed.push(report.loss);
        })
        .expect("it stops");
        assert!(matches!(outcome, Outcome::Interrupted { step, .. } if step == stop_after));
        assert!(!interrupted.output.exists());
    }
    let outcome = pretrain(&interrupted, parts.path(), &device, &|_| false, &mut |report| {
        resumed.push(report.loss);
    })
    .expect("it goes on");
    assert_eq!(outcome, Outcome::Finished { tensors_sha256: expected_hash });
    assert_eq!(resumed, losses);
    assert!(tensors(&expected) == tensors(&interrupted), "other weights");

    let other = spec(parts.path(), 3);
    let error = pretrain(&other, parts.path(), &device, &|_| false, &mut |_| {})
        .expect_err("the checkpoint is of another recipe");
    assert!(matches!(error, PretrainError::OtherSpec { .. }), "{error}");
}

#[test]
fn a_checkpoint_that_changed_on_the_disk_costs_its_steps_and_no_more() {
    let _turn = turn();
    let device = Device::flex();
    let whole = tempfile::tempdir().expect("a folder");
    let expected = spec(whole.path(), 2);
    let never = |_| false;
    let finished = pretrain(&expected, whole.path(), &device, &never, &mut |_| {});
    let Outcome::Finished { tensors_sha256: expected_hash } = finished.expect("it trains") else {
        panic!("nobody stopped it")
    };

    for file in ["sam-3.bpk", "optimizer-3.bpk"] {
        let parts = tempfile::tempdir().expect("a folder");
        let interrupted = spec(parts.path(), 2);
        for stop_after in [1, 3] {
            let stop = |steps| steps == stop_after;
            pretrain(&interrupted, parts.path(), &device, &stop, &mut |_| {}).expect("it stops");
        }
        // One bit, which any store would read without complaint.
        let path = parts.path().join(file);
        let mut bytes = fs::read(&path).expect("a checkpoint");
        *bytes.last_mut().expect("bytes") ^= 1;
        fs::write(&path, bytes).expect("written");

        let mut steps = Vec::new();
        let outcome = pretrain(&interrupted, parts.path(), &device, &never, &mut |report| {
            steps.push(report.step);
        });
        let expected_hash = expected_hash.clone();
        assert_eq!(
            outcome.expect("it goes on"),
            Outcome::Finished { tensors_sha256: expected_hash },
            "{file}"
        );
        assert_eq!(steps, [2, 3, 4], "{file}");
    }
}

#[test]
fn a_second_process_in_the_same_folder_is_refused() {
    let _turn = turn();
    let device = Device::flex();
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(folder.path(), 2);
    // Asked in the middle of the work of the first.
    let second = |_| {
        let error = pretrain(&spec, folder.path(), &device, &|_| true, &mut |_| {})
            .expect_err("the first is at work");
        assert!(matches!(error, PretrainError::Busy { .. }), "{error}");
        true
    };
    pretrain(&spec, folder.path(), &device, &second, &mut |_| {}).expect("it stops");
}
