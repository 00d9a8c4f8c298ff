//! `cargo xtask figure`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use reporting::FigureKind;
use serde_json::json;

use crate::{outln, output::print_json};

/// Draw a figure of finished runs as SVG and PNG.
#[derive(Args)]
pub struct Figure {
    /// `training-curves` or `qualitative`.
    kind: FigureKind,
    /// Run folders, or experiment folders with all their runs.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// File name without ending; the kind's name by default.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Figure {
    /// Draws and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let figure = self.kind.draw(&reporting::load(&self.runs)?)?;
        let base = self.output.unwrap_or_else(|| PathBuf::from(self.kind.name()));
        let (svg, png) = (base.with_extension("svg"), base.with_extension("png"));
        figure.write(&svg, &png)?;
        if self.json {
            print_json(&json!({ "kind": self.kind.name(), "written": [svg, png] }))?;
        } else {
            outln!("wrote {}\nwrote {}", svg.display(), png.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
