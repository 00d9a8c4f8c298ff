//! `cargo xtask pretrain`

use std::{path::PathBuf, process::ExitCode, sync::atomic::Ordering};

use anyhow::Context;
use clap::Args;
use pretraining::{Outcome, PretrainSpec, pretrain};
use promise::{device::DeviceKind, progress::Progress};
use serde_json::json;

use crate::{bar::Bar, outln, output::print_json, stop};

/// Steps between two lines of the log.
const LOG_EVERY: usize = 50;

/// Pre-train a small backbone from procedural images. An interrupted run goes on where it was.
#[derive(Args)]
pub struct Pretrain {
    /// Recipe, e.g. `experiments/pretrain/micro.toml`.
    recipe: PathBuf,
    /// Folder of the checkpoints; `runs/pretrain/<recipe>` by default.
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    /// Stop after so many steps in all, as Ctrl-C would, and print a hash of the weights: two runs
    /// of a recipe can be compared by it. The same command without it goes on.
    #[arg(long, value_name = "STEPS")]
    stop_after: Option<usize>,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Pretrain {
    /// Trains and writes the weights.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let spec = PretrainSpec::from_path(&self.recipe)
            .with_context(|| format!("cannot pre-train {}", self.recipe.display()))?;
        let folder = self.checkpoints.unwrap_or_else(|| {
            let name = self.recipe.file_stem().unwrap_or_default();
            PathBuf::from("runs/pretrain").join(name)
        });
        let interrupted = stop::on_interrupt()?;
        let stop = |steps| {
            interrupted.load(Ordering::Relaxed) || self.stop_after.is_some_and(|most| steps >= most)
        };
        let bar = Bar::new();
        bar.start("pretrain", spec.steps() as u64);
        let outcome = pretrain(&spec, &folder, &self.device.device()?, &stop, &mut |report| {
            bar.set(report.step as u64);
            let note = format!(
                "loss {:.3}, IoU {:.3} after the first round, {:.3} after the last",
                report.loss, report.first_round_iou, report.last_round_iou
            );
            if report.step.is_multiple_of(LOG_EVERY) {
                tracing::info!("step {}/{}: {note}", report.step, report.steps);
            }
            bar.note(&note);
        })?;
        bar.finish();
        match outcome {
            Outcome::Finished { tensors_sha256 } => {
                if self.json {
                    let steps = spec.steps();
                    print_json(&json!({
                        "written": [spec.output], "steps": steps, "tensors_sha256": tensors_sha256
                    }))?;
                } else {
                    outln!("wrote {}", spec.output.display());
                    outln!("tensors {tensors_sha256}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Interrupted { step, tensors_sha256 }
                if !interrupted.load(Ordering::Relaxed) =>
            {
                if self.json {
                    print_json(&json!({
                        "written": [], "steps": step, "tensors_sha256": tensors_sha256
                    }))?;
                } else {
                    outln!("stopped after step {step}");
                    outln!("tensors {tensors_sha256}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Interrupted { step, .. } => {
                crate::bars::line(&format!(
                    "interrupted after step {step}; the same command goes on from there"
                ));
                Ok(ExitCode::from(stop::interrupted()))
            }
        }
    }
}
