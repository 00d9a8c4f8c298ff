//! `cargo xtask table`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use reporting::{ClaimReport, ResultTable};
use serde_json::json;

use crate::{outln, output::print_json};

/// Print the table of finished runs, and whether they bear out the claims of their experiments.
#[derive(Args)]
pub struct Table {
    /// Run folders, or experiment folders with all their runs.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Comma-separated values instead of Markdown, a line for each seed; without the claims.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Table {
    /// Prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runs = reporting::load(&self.runs)?;
        let table = ResultTable::from_runs(&runs)?;
        let claims = ClaimReport::from_runs(&runs)?;
        if self.json {
            let rows: Vec<_> = runs.iter().flat_map(|run| &run.record.rows).collect();
            print_json(&json!({ "protocol": table.protocol(), "rows": rows, "claims": claims }))?;
        } else if self.csv {
            outln!("{}", table.csv()?.trim_end());
        } else {
            outln!("{}", table.markdown());
            for report in &claims {
                outln!("{}", report.markdown());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
