//! `cargo xtask data prepare`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use data_loaders::error_chain;
use promise::{frame::prepared, progress::Progress};
use sam_backbone::ResizeMode;
use serde_json::json;

use super::source::Source;
use crate::{bar::Bar, outln, output::print_json, stop};

/// Options of `data prepare`.
#[derive(Args)]
pub struct Prepare {
    #[command(flatten)]
    source: Source,
    /// How images are brought to the square: `plain`, `longest_side`, `border_crop` or `medsam`.
    #[arg(long, default_value_t = ResizeMode::BorderCrop)]
    mode: ResizeMode,
    /// Side of the square in pixels.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: u32,
    /// Where `images`, `masks` and `frames.csv` go. What is there already is kept.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Prepare {
    /// Prepares and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let set = self.source.open()?;
        let stop = stop::on_interrupt()?;
        let bar = Bar::new();
        bar.start(&format!("prepare {} {}", set.name(), set.split()), set.len() as u64);
        let done = data_loaders::prepare(
            &set,
            &self.out,
            self.mode.name(),
            self.size,
            |case| prepared(case, self.mode, self.size as usize),
            |done| bar.set(done as u64),
            &stop,
        );
        bar.finish();
        let done = done?;
        if self.json {
            let skipped: Vec<_> = done
                .skipped
                .iter()
                .map(|case| json!({ "id": case.id, "reason": error_chain(&case.reason) }))
                .collect();
            print_json(&json!({
                "out": self.out,
                "written": done.written,
                "kept": done.kept,
                "skipped": skipped,
                "interrupted": done.interrupted,
            }))?;
        } else {
            for case in &done.skipped {
                outln!("skipped {}: {}", case.id, error_chain(&case.reason));
            }
            outln!(
                "{}: {} pairs written, {} kept, {} skipped",
                self.out.display(),
                done.written,
                done.kept,
                done.skipped.len()
            );
        }
        if done.interrupted {
            return Ok(ExitCode::from(stop::interrupted()));
        }
        let whole = done.skipped.is_empty();
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
