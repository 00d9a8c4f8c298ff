//! `cargo xtask run-one`: what `ablate` starts for each of its runs.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use promise::{plan::Experiment, run::RunError, run_folder::Existing, workers::serve};

use super::{CacheOptions, Common, MemoryOptions};
use crate::stop;

/// Execute one run of an experiment for a parent that listens.
///
/// Says how far it is on stdout, a line of JSON each. Stops at the next safe place when its stdin ends.
#[derive(Args)]
pub struct RunOne {
    /// Experiment file.
    experiment: PathBuf,
    /// Name of the run's folder, `<method>-seed<seed>`.
    #[arg(long)]
    run: String,
    /// Override a key.
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
}

impl RunOne {
    /// Runs and tells the parent.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let experiment = Experiment::load(&self.experiment, &self.settings)
            .with_context(|| format!("cannot run {}", self.experiment.display()))?;
        let context = self.common.context_with(
            &self.cache,
            &self.memory,
            self.runs.clone(),
            Existing::GoOn,
            stop::in_silence()?,
        );
        match serve(&experiment, &self.run, &context, std::io::stdin(), std::io::stdout()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            // The parent knows, and says it.
            Err(RunError::Interrupted) => Ok(ExitCode::from(stop::interrupted())),
            Err(_) => Ok(ExitCode::FAILURE),
        }
    }
}
