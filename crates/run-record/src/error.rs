//! Why a file of a run folder could not be read or written.

use std::path::PathBuf;

use crate::folder::{EXPERIMENT_FILE, RECORD_FILE};

/// Why a file of a run folder could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunRecordError {
    /// The folder is none that a run wrote.
    #[error("neither {RECORD_FILE} nor {EXPERIMENT_FILE}, so no run folder: {}", path.display())]
    NotARunFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The run was started and has not written its record: it still runs, or it was stopped.
    #[error("no {RECORD_FILE} yet, the run did not finish: {}", path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Another version of the format wrote the record; read it with the revision named in
    /// `environment.json` beside it.
    #[error("format version {found}, this program reads version {supported}: {}", path.display())]
    FormatVersion {
        /// Version in the file.
        found: u32,
        /// Version that this crate reads.
        supported: u32,
        /// The file.
        path: PathBuf,
    },
    /// The file is not the one that the run wrote, says its checksum in the record.
    #[error("changed since the run wrote it (SHA-256 {found}, the record says {recorded}); bring the file back, or run it again with `run --fresh`: {}", path.display())]
    Changed {
        /// SHA-256 of the file.
        found: String,
        /// SHA-256 in the record.
        recorded: String,
        /// The file.
        path: PathBuf,
    },
    /// A folder, pipe or device; reading a pipe could wait for ever.
    #[error("not a regular file: {}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is not there or cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no JSON, or it ends early, or a field is missing or of another type.
    #[error("not valid JSON of its kind: {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where, with line and column.
        source: serde_json::Error,
    },
    /// The value cannot be written as JSON, e.g. a map whose keys are not strings.
    #[error("cannot be written as JSON: {}", path.display())]
    ToJson {
        /// The file that was to be written.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// A line of the file cannot be read.
    #[error("not a valid CSV file of its kind: {}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What and where, with line and column.
        source: csv::Error,
    },
    /// A duration that nothing takes.
    #[error("a duration of {secs} s: {}", path.display())]
    Duration {
        /// What was found.
        secs: f64,
        /// The file.
        path: PathBuf,
    },
    /// The file has no column of this name.
    #[error("column `{column}` is missing, found `{}`, in {}", found.join("`, `"), path.display())]
    MissingColumn {
        /// The name looked for.
        column: &'static str,
        /// The names in the file.
        found: Vec<String>,
        /// The file.
        path: PathBuf,
    },
    /// The last line has no end, so the file was cut off and its last number may be too short.
    #[error("the last line is cut off: {}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// A row cannot be written as one line.
    #[error("cannot be written as CSV: {}", path.display())]
    ToCsv {
        /// The file that was to be written.
        path: PathBuf,
        /// Why not.
        source: csv::Error,
    },
}
