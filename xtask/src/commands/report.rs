//! `cargo xtask report`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::ScopeOptions;
use crate::outln;

/// Write one self-contained HTML page about finished runs: tables, claims, figures, pictures, settings.
#[derive(Args)]
pub struct Report {
    /// Run folders, or experiment folders with all their runs.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    scope: ScopeOptions,
    /// The page.
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
}

impl Report {
    /// Writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runs = reporting::load(&self.runs)?;
        let report = reporting::Report::new(&runs, &self.scope.into())?;
        run_record::write_bytes(&self.out, report.html().as_bytes())?;
        outln!("wrote {}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
