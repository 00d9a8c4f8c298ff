//! Tables, figures and pages from run folders.
//!
//! Reads what training and evaluation wrote, and nothing else: no model, no images but the panels
//! of a run, no framework. A table or figure can be made again years later on another machine, and
//! the same runs give the same bytes. What cannot be compared is refused, and everything names the runs
//! that it comes from and the command that makes it again ([`Provenance`]).
//!
//! - [`load`]: run folders, checked
//! - [`ResultTable`]: results as a data frame, as Markdown and as CSV
//! - [`PaperTable`]: methods by data sets, as LaTeX and as Markdown, with significance
//! - [`ClaimReport`]: whether the cases bear out what an experiment claims
//! - [`ClickCurve`]: what a simulated user's clicks bring
//! - [`FigureKind`]: what can be drawn, each as SVG, PNG and PDF
//! - [`Screen`]: one image as a person prompted it, with several methods
//! - [`Results`]: table, claims and figures as files beside the runs
//! - [`Report`]: all of it as one HTML page
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use reporting::{FigureKind, PaperTable, ResultTable, TableOptions, load};
//!
//! let runs = load(&["runs/polyps"])?;
//! println!("{}", ResultTable::from_runs(&runs)?.markdown());
//! println!("{}", PaperTable::new(&runs, &TableOptions::default())?.latex());
//! FigureKind::TrainingCurves.draw(&runs)?.write("curves".as_ref())?;
//! # Ok(())
//! # }
//! ```

mod claims;
mod clicks;
mod columns;
mod entries;
mod figure;
mod load;
mod method;
mod paper;
mod provenance;
pub mod reference;
mod report;
mod results;
mod scores;
mod settings;
mod table;
#[cfg(test)]
mod testing;

pub use claims::{ClaimNumbers, ClaimReport, ClaimResult, SeedDifference, Verdict};
pub use clicks::{ClickCurve, NoClicksError, click_table};
pub use columns::{ColumnName, UnknownColumn};
pub use entries::Scope;
pub use figure::{
    Figure, FigureError, FigureKind, FigureOptions, ONE_COLUMN_MM, Screen, ScreenCell,
    ScreenFigure, TWO_COLUMNS_MM, UnknownFigure, WIDTHS_MM,
};
pub use load::{LoadError, Run, load};
pub use method::MethodName;
pub use paper::PaperTable;
pub use provenance::{Provenance, Source};
pub use report::{Report, ReportError};
pub use results::{Results, ResultsError};
pub use settings::Settings;
pub use table::{ResultTable, TableError, TableOptions};
