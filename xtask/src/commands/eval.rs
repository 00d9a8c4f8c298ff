//! `cargo xtask eval`

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use promise::{prompt_source::PromptSource, run::evaluate_run, run_folder::Existing};
use reporting::{ResultTable, Run};
use run_record::RunFolder;
use serde_json::json;

use super::{CacheOptions, Common, MemoryOptions};
use crate::{outln, output::print_json};

/// Evaluate a finished run again, on other data or with other prompts. Writes nothing.
#[derive(Args)]
pub struct Eval {
    /// Run folder, e.g. `runs/quickstart/apm_ips-seed1`.
    run: PathBuf,
    /// Data set, instead of those of the run.
    #[arg(long)]
    data: Option<String>,
    /// Prompt source, instead of those of the run. May be given several times.
    #[arg(long)]
    prompts: Vec<PromptSource>,
    /// Protocol, instead of that of the run.
    #[arg(long)]
    protocol: Option<metrics::Protocol>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Evaluates and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = RunFolder::new(&self.run);
        let context =
            self.common.context(&self.cache, &self.memory, PathBuf::new(), Existing::GoOn)?;
        let record =
            evaluate_run(&folder, self.data.as_deref(), &self.prompts, self.protocol, &context)
                .with_context(|| format!("cannot evaluate {}", self.run.display()))?;
        if self.json {
            print_json(&json!({
                "experiment": record.experiment,
                "rows": record.rows,
                "frozen_hash_before": record.frozen_hash_before,
                "frozen_hash_after": record.frozen_hash_after,
                "skipped_cases": record.skipped,
            }))?;
        } else {
            let mut run = Run::read(folder)?;
            run.record = record;
            // Those of the run may be of other data or another protocol.
            run.cases.clear();
            for case in &run.record.skipped {
                outln!("skipped {} {} {}: {}", case.data, case.split, case.file, case.reason);
            }
            outln!("{}", ResultTable::from_runs(&[run])?.markdown());
        }
        Ok(ExitCode::SUCCESS)
    }
}
