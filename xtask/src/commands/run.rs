//! `cargo xtask run`

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use promise::{campaign::kept, plan::Experiment, run::run_experiment, run_folder::Existing};
use serde_json::json;

use super::{CacheOptions, Common, MemoryOptions, not_drawn_json, write_results};
use crate::{outln, output::print_json, stop};

/// Train and evaluate an experiment, all its variants and seeds.
///
/// The same command goes on with what an interrupted one left, and skips what is done.
#[derive(Args)]
pub struct Run {
    /// Experiment file, e.g. `experiments/quickstart.toml`.
    experiment: PathBuf,
    /// Override a key: `--set train.epochs=3`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Folder of the run folders.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Refuse to start from nothing: there must be a run to go on with.
    #[arg(long, conflicts_with = "fresh")]
    resume: bool,
    /// Delete the folders of these runs first.
    #[arg(long)]
    fresh: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

impl Run {
    /// Runs, then writes and prints table, claims and figures.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let experiment = Experiment::load(&self.experiment, &self.settings)
            .with_context(|| format!("cannot run {}", self.experiment.display()))?;
        let existing = match (self.resume, self.fresh) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::StartOver,
            _ => Existing::GoOn,
        };
        let context =
            self.common.context(&self.cache, &self.memory, self.runs.clone(), existing)?;
        let kept = || kept(std::slice::from_ref(&experiment), &self.runs);
        let finished = run_experiment(&experiment, &context)
            .map_err(|error| stop::with_kept(error, kept))
            .with_context(|| format!("cannot run {}", self.experiment.display()))?;

        let folders: Vec<_> = finished.iter().map(|run| run.folder.root()).collect();
        let results = write_results(&folders, &self.runs.join(&experiment.name))?;

        let skipped: Vec<_> = finished.iter().flat_map(|run| &run.record.skipped).collect();
        if self.json {
            let rows = finished.iter().flat_map(|run| {
                run.record.rows.iter().map(|row| {
                    let mut row = serde_json::to_value(row).unwrap_or_default();
                    row["frozen_hash_before"] = json!(run.record.frozen_hash_before);
                    row["frozen_hash_after"] = json!(run.record.frozen_hash_after);
                    row
                })
            });
            print_json(&json!({
                "experiment": experiment.name,
                "rows": rows.collect::<Vec<_>>(),
                "claims": results.claims,
                "frozen_hash_before": finished.first().map(|run| &run.record.frozen_hash_before),
                "frozen_hash_after": finished.last().map(|run| &run.record.frozen_hash_after),
                "runs": folders,
                "skipped_cases": skipped,
                "written": results.written,
                "not_drawn": not_drawn_json(&results),
            }))?;
        } else {
            outln!("{}", results.table.markdown());
            for report in &results.claims {
                outln!("{}", report.markdown());
            }
            for case in skipped {
                outln!("skipped {} {} {}: {}", case.data, case.split, case.file, case.reason);
            }
            for path in results.written {
                outln!("wrote {}", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
