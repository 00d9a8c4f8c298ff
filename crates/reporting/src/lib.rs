//! Tables and figures from run folders.
//!
//! Reads what training and evaluation wrote, and nothing else: no model, no images but the panels
//! of a run, no framework. A table or figure can be made again years later on another machine, and
//! the same runs give the same bytes.
//!
//! - [`load`]: run folders, checked
//! - [`ResultTable`]: results as a data frame, as Markdown and as CSV
//! - [`ClaimReport`]: whether the cases bear out what an experiment claims
//! - [`FigureKind`]: what can be drawn, each as SVG and as PNG
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use reporting::{FigureKind, ResultTable, load};
//!
//! let runs = load(&["runs/polyps"])?;
//! println!("{}", ResultTable::from_runs(&runs)?.markdown());
//! FigureKind::TrainingCurves.draw(&runs)?.write("curves.svg".as_ref(), "curves.png".as_ref())?;
//! # Ok(())
//! # }
//! ```

mod claims;
mod figure;
mod load;
mod scores;
mod table;
#[cfg(test)]
mod testing;

pub use claims::{ClaimNumbers, ClaimReport, ClaimResult, SeedDifference, Verdict};
pub use figure::{Figure, FigureError, FigureKind, UnknownFigure};
pub use load::{LoadError, Run, load};
pub use table::{ResultTable, TableError};
