//! `cargo xtask figure`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use metrics::Measure;
use reporting::{FigureKind, FigureOptions, MethodName};
use serde_json::json;

use super::ScopeOptions;
use crate::{outln, output::print_json};

/// Draw a figure of finished runs as SVG, PNG and PDF.
#[derive(Args)]
pub struct Figure {
    /// A kind that `cargo xtask list` names, e.g. `ablation-bars`.
    kind: FigureKind,
    /// Run folders, or experiment folders with all their runs.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Width in millimeters: 84 is a column of a two-column paper, 174 is both. Each kind has its own
    /// default, one of the two.
    #[arg(long)]
    width_mm: Option<f64>,
    /// The score that is drawn.
    #[arg(long, default_value = Measure::default().name())]
    measure: Measure,
    /// The method that `paired-scatter` compares the others with, e.g. `frozen:grid`; else the first that is
    /// no oracle.
    #[arg(long, value_name = "METHOD[:PROMPTS]")]
    baseline: Option<MethodName>,
    /// Seed of the random case of `qualitative-grid`, and of what `qualitative` and `paired-scatter` show where they
    /// have no room for all.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    scope: ScopeOptions,
    /// File name without ending; the kind's name by default.
    #[arg(short, long, visible_alias = "out")]
    output: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Figure {
    /// Draws and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let options = FigureOptions {
            width_mm: self.width_mm,
            scope: self.scope.into(),
            measure: self.measure,
            baseline: self.baseline,
            seed: self.seed,
        };
        let figure = self.kind.draw_with(&reporting::load(&self.runs)?, &options)?;
        let base = self.output.unwrap_or_else(|| PathBuf::from(self.kind.name()));
        let written = figure.write(&base)?;
        if self.json {
            print_json(&json!({ "kind": self.kind.name(), "written": written }))?;
        } else {
            for path in written {
                outln!("wrote {}", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
