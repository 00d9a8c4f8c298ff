//! `cargo xtask table`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use reporting::{ClaimReport, ColumnName, MethodName, PaperTable, ResultTable, TableOptions};
use serde_json::json;

use super::ScopeOptions;
use crate::{outln, output::print_json};

/// Print the table of finished runs, and whether they bear out the claims of their experiments.
#[derive(Args)]
pub struct Table {
    /// Run folders, or experiment folders with all their runs.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// `markdown`; `latex` for the package booktabs, always in the layout `paper`; `csv`, all numbers at
    /// full precision, a line for each seed.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// How Markdown is laid out: `detailed` has a line for each method and data set, with intervals, and the
    /// claims below; `paper` has methods as rows and data sets as columns, best bold, second underlined,
    /// significant differences to the baseline marked.
    #[arg(long, value_enum, default_value_t = Layout::Detailed)]
    layout: Layout,
    /// Measures from left to right, e.g. `dice,weighted_f,max_e_measure`; else those that the protocol
    /// prints.
    #[arg(long, value_delimiter = ',')]
    measures: Vec<ColumnName>,
    /// The method that the others are tested against in the layout `paper`, with a prompt source if it has
    /// several: `frozen:grid`. Else the first row that is no oracle and has results on every data set.
    #[arg(long, value_name = "METHOD[:PROMPTS]")]
    baseline: Option<MethodName>,
    #[command(flatten)]
    scope: ScopeOptions,
    /// Write to a file instead of printing.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The same as `--format csv`.
    #[arg(long, conflicts_with_all = ["format", "json"])]
    csv: bool,
    /// Print one JSON document.
    #[arg(long, conflicts_with_all = ["format", "layout", "out"])]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Markdown,
    Latex,
    Csv,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    Detailed,
    Paper,
}

impl Table {
    /// Prints or writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runs = reporting::load(&self.runs)?;
        let options = TableOptions {
            scope: self.scope.into(),
            columns: self.measures.iter().map(|name| name.0).collect(),
            baseline: self.baseline,
        };
        if self.json {
            let table = ResultTable::new(&runs, &options)?;
            let claims = ClaimReport::new(&runs, &options.scope)?;
            let rows: Vec<_> = runs.iter().flat_map(|run| &run.record.rows).collect();
            print_json(&json!({ "protocol": table.protocol(), "rows": rows, "claims": claims }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let format = if self.csv { Format::Csv } else { self.format };
        let mut text = match (format, self.layout) {
            (Format::Csv, _) => ResultTable::new(&runs, &options)?.csv()?,
            (Format::Latex, _) => PaperTable::new(&runs, &options)?.latex(),
            (Format::Markdown, Layout::Paper) => PaperTable::new(&runs, &options)?.markdown(),
            (Format::Markdown, Layout::Detailed) => ResultTable::new(&runs, &options)?.markdown(),
        };
        if let (Format::Markdown, Layout::Detailed, None) = (format, self.layout, &self.out) {
            for report in ClaimReport::new(&runs, &options.scope)? {
                text.push('\n');
                text.push_str(&report.markdown());
            }
        }
        match &self.out {
            Some(path) => {
                run_record::write_bytes(path, text.as_bytes())?;
                outln!("wrote {}", path.display());
            }
            None => outln!("{}", text.trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
