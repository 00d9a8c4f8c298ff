//! `cargo xtask score`

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use metrics::Protocol;
use promise::progress::Progress as _;
use scoring::score_folder;

use crate::{bar::Bar, outln, output::print_json};

/// Score a folder of predictions of any program against a folder of truths.
///
/// Predictions are gray pictures of 8 or 16 bits, matched to the truths by name without extension. One of another
/// size than its truth is resized bilinearly.
#[derive(Args)]
pub struct Score {
    /// Folder of predictions.
    #[arg(long, value_name = "DIR")]
    pred: PathBuf,
    /// Folder of true masks.
    #[arg(long, value_name = "DIR")]
    truth: PathBuf,
    /// How they are compared; `cargo xtask list` says what each does.
    #[arg(long, default_value_t = Protocol::Default)]
    protocol: Protocol,
    /// Refuse truths that have no prediction instead of counting them.
    #[arg(long)]
    complete: bool,
    /// Write the scores of every case to a CSV file too.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

impl Score {
    /// Scores and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let bar = Bar::new();
        let scores =
            score_folder(&self.pred, &self.truth, self.protocol, &|done, all| match done {
                0 => bar.start(&format!("score by {}", self.protocol), all as u64),
                _ => bar.set(done as u64),
            })
            .with_context(|| format!("cannot score {}", self.pred.display()))?;
        bar.finish();
        ensure!(
            !self.complete || scores.unpredicted.is_empty(),
            "{} truths have no prediction, first: {}",
            scores.unpredicted.len(),
            scores.unpredicted[0].display()
        );
        if let [first, ..] = scores.nearly_black.as_slice() {
            tracing::warn!(
                predictions = scores.nearly_black.len(),
                first = %first.display(),
                "no level above 1, scored as black: stored as 0/1 instead of 0/255?"
            );
        }
        if let Some(file) = &self.out {
            run_record::write_rows(file, &scores.cases)?;
        }
        if self.json {
            print_json(&scores)?;
        } else {
            outln!("{}", scores.markdown().trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }
}
