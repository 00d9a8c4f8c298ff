//! A pre-training run that is interrupted ends with the bytes of one that is not.

use std::{cell::Cell, fs, path::Path};

use burn::tensor::Device;
use pretraining::{Outcome, PretrainError, PretrainSpec, pretrain};

fn spec(folder: &Path, steps: usize) -> PretrainSpec {
    let path = folder.join("recipe.toml");
    let output = folder.join("out/micro.safetensors");
    let text = format!(
        "backbone = \"micro\"\nseed = 7\noutput = {output:?}\nsteps = {steps}\nbatch_size = 2\n\
         masks_per_image = 1\nrounds = 2\nshards = 2\nlearning_rate = 1e-3\nwarmup_steps = 1\n\
         weight_decay = 0.1\nmax_gradient_norm = 1.0\ncheckpoint_every = 100\n"
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
    let device = Device::flex();
    let whole = tempfile::tempdir().expect("a folder");
    let expected = spec(whole.path(), 3);
    let mut losses = Vec::new();
    let outcome = pretrain(&expected, whole.path(), &device, &|| false, &mut |report| {
        losses.push(report.loss);
    })
    .expect("it trains");
    assert_eq!(outcome, Outcome::Finished);
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");

    let parts = tempfile::tempdir().expect("a folder");
    let interrupted = spec(parts.path(), 3);
    let steps = Cell::new(0);
    let outcome = pretrain(&interrupted, parts.path(), &device, &|| steps.get() == 1, &mut |_| {
        steps.set(steps.get() + 1);
    })
    .expect("it stops");
    assert_eq!(outcome, Outcome::Interrupted { step: 1 });
    assert!(!interrupted.output.exists());
    let mut resumed = Vec::new();
    pretrain(&interrupted, parts.path(), &device, &|| false, &mut |report| {
        resumed.push((report.step, report.loss));
    })
    .expect("it goes on");
    assert_eq!(resumed, [(2, losses[1]), (3, losses[2])]);
    assert!(tensors(&expected) == tensors(&interrupted), "other weights");

    let other = spec(parts.path(), 4);
    let error = pretrain(&other, parts.path(), &device, &|| false, &mut |_| {})
        .expect_err("the checkpoint is of another recipe");
    assert!(matches!(error, PretrainError::OtherSpec { .. }), "{error}");
}
