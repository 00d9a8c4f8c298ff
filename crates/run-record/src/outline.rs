//! `outline.json`: what an experiment says about its runs as a whole.

use std::path::Path;

use metrics::Measure;
use serde::{Deserialize, Serialize};

use crate::error::RunRecordError;
use crate::file::{read_versioned, write_json};
use crate::record::FORMAT_VERSION;

/// What stands above the single runs of an experiment and changes none of them.
///
/// It lies beside the run folders and is written anew by every command that runs the experiment, so
/// claims can be added, or their wording mended, after the runs are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// The version of the format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Names of the methods in the order of the experiment file.
    pub methods: Vec<String>,
    /// What the experiment is meant to show, in the order of its file.
    pub claims: Vec<Claim>,
}

impl Outline {
    /// An outline of this version of the format.
    pub fn new(methods: Vec<String>, claims: Vec<Claim>) -> Self {
        Self { format_version: FORMAT_VERSION, methods, claims }
    }

    /// Reads `outline.json`.
    ///
    /// # Errors
    ///
    /// Those of [`RunRecord::read`](crate::RunRecord::read).
    pub fn read(path: &Path) -> Result<Self, RunRecordError> {
        read_versioned(path)
    }

    /// Writes `outline.json`.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::Write`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RunRecordError> {
        write_json(path, self)
    }
}

/// A statement about two methods that the case rows of an experiment can confirm or refute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The statement in words.
    pub name: String,
    /// The side that the statement calls better, or no worse.
    pub better: Side,
    /// The side that it is compared with.
    pub than: Side,
    /// The measure that is compared, one of which more is better.
    pub measure: Measure,
    /// With a margin the statement is "not worse by more than this"; without, "better".
    pub margin: Option<f64>,
}

/// One side of a [`Claim`]: a method with a prompt source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Name of the method.
    pub method: String,
    /// Where the prompts come from.
    pub prompts: String,
}
