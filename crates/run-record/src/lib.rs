//! The file format between training and reporting.
//!
//! `promise` writes a run folder, `reporting` reads it, possibly years later on another machine, so
//! the two share this crate and the names of `metrics`. It holds serde types, the file names of a run
//! folder and functions that read or write one file; it computes nothing and knows no Burn.
//!
//! - [`RunFolder`]: what lies where in one run folder
//! - [`RunRecord`]: `record.json`, the result of one run
//! - [`Outline`]: `outline.json`, beside the run folders: order of methods, claims
//! - [`Environment`]: `environment.json`, where and how it ran
//! - [`Failure`]: `failure.json`, why it did not finish
//! - [`Timing`]: `timing.json`, how long it took
//! - [`LOG_FILE`]: `run.log`, what happened, for people
//! - [`EpochRow`], [`CaseRow`], [`CurveRow`], [`ClickRow`]: lines of `epochs.csv`, `cases.csv`, `curves.csv` and `clicks.csv`
//! - [`Panel`]: `panels/panels.json`, images that show the result
//! - [`FILES`], [`column_docs`]: what files and columns mean, for the book
//! - [`read_json`], [`write_json`], [`read_rows`], [`write_rows`], [`read_bytes`], [`write_bytes`]: single files
//!
//! Every file is written under a temporary name, synced and renamed, so a reader sees the old file
//! or the new one and never half of one.

mod columns;
mod environment;
mod error;
mod failure;
mod file;
mod folder;
mod outline;
mod panel;
mod record;
mod rows;
mod timing;

pub use columns::{ColumnDoc, column_docs};
pub use environment::Environment;
pub use error::RunRecordError;
pub use failure::Failure;
pub use file::{
    MAX_JSON_BYTES, MAX_ROWS_BYTES, csv_bytes, read_bytes, read_json, read_rows, write_bytes,
    write_json, write_rows,
};
pub use folder::{
    ADAPTERS_FILE, CASES_FILE, CHECKPOINT_DIR, CLICKS_FILE, CURVES_FILE, ENVIRONMENT_FILE,
    EPOCHS_FILE, EXPERIMENT_FILE, FAILURE_FILE, FILES, FileDoc, LOG_FILE, OUTLINE_FILE, PANELS_DIR,
    PANELS_FILE, PREDICTIONS_DIR, RECORD_FILE, RESOLVED_FILE, RunFolder, TIMING_FILE,
};
pub use outline::{Claim, Outline, Side};
pub use panel::{Panel, PanelPart, PanelPoint};
pub use record::{
    BackboneRecord, EpochChoice, FORMAT_VERSION, FitSummary, MeasureSummary, ParameterCounts,
    ResultRow, RunRecord, SkippedCase, TrainingSummary,
};
pub use rows::{BadLevels, CaseRow, ClickRow, CsvRow, CurveRow, EpochRow};
pub use timing::{EvaluationTiming, Timing};
