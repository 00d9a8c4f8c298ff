//! Lines of the CSV files.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type whose values are lines of a CSV file.
pub trait CsvRow: Serialize + DeserializeOwned {
    /// The column names, in the order in which they are written.
    ///
    /// A reader demands all of them, in any order, and ignores others. Without the list a missing
    /// column of an optional number would read as a column of missing numbers.
    const COLUMNS: &'static [&'static str];
}

/// One line of `epochs.csv`: means over one split in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// `train` or `valid`.
    pub split: String,
    /// Mean loss. NaN where training diverged.
    pub loss: f64,
    /// Mean Dice.
    pub dice: f64,
    /// Mean intersection over union.
    pub iou: f64,
    /// Learning rate at the end of the epoch; empty for `valid`.
    pub learning_rate: Option<f64>,
}

impl EpochRow {
    /// `split` of a line about the training cases.
    pub const TRAIN: &'static str = "train";
    /// `split` of a line about the validation cases.
    pub const VALID: &'static str = "valid";
}

impl CsvRow for EpochRow {
    const COLUMNS: &'static [&'static str] =
        &["epoch", "split", "loss", "dice", "iou", "learning_rate"];
}

/// One line of `cases.csv`: the scores of one image, so that any table can be computed again
/// without the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseRow {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the method.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// Whether the prompts were made from the ground truth.
    pub oracle: bool,
    /// Name of the evaluation protocol.
    pub protocol: String,
    /// File as the split names it.
    pub file: String,
    /// Width of the ground truth in pixels.
    pub width: usize,
    /// Height of the ground truth in pixels.
    pub height: usize,
    /// Dice; empty where it is undefined.
    pub dice: Option<f64>,
    /// Intersection over union; empty where it is undefined.
    pub iou: Option<f64>,
    /// Mean absolute error of the soft map.
    pub mae: f64,
}

impl CsvRow for CaseRow {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "method",
        "seed",
        "data",
        "split",
        "prompts",
        "oracle",
        "protocol",
        "file",
        "width",
        "height",
        "dice",
        "iou",
        "mae",
    ];
}
