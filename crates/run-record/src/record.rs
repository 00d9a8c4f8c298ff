//! The result of one run.

use std::collections::BTreeMap;
use std::path::Path;

use metrics::{CurveMeasure, Measure};
use serde::{Deserialize, Serialize};

use crate::error::RunRecordError;
use crate::file::{read_versioned, write_json};

/// Version of the run folder's format that this crate writes and reads.
///
/// Raised when a field changes its meaning or goes away. A new field raises nothing: readers
/// ignore fields that they do not know.
pub const FORMAT_VERSION: u32 = 1;

/// What `record.json` holds: written last, so its presence means that the run finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of the run folder's format, [`FORMAT_VERSION`] when written by this crate.
    pub format_version: u32,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the method, e.g. a variant of an ablation.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// SHA-256 of the run's settings (the experiment's TOML with variant and overrides applied, as in
    /// `resolved.json`) in lower-case hexadecimal.
    pub experiment_sha256: String,
    /// The frozen model.
    pub backbone: BackboneRecord,
    /// Sizes of the model's parts.
    pub parameters: ParameterCounts,
    /// Hash over every frozen tensor before the run.
    pub frozen_hash_before: String,
    /// Hash over every frozen tensor after the run. A run where the two differ is void.
    pub frozen_hash_after: String,
    /// How training went, or nothing for a method that is not trained.
    pub training: Option<TrainingSummary>,
    /// What the prompt module was fitted to at once, or nothing for a method whose module is not. Absent in records
    /// that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitSummary>,
    /// Cases that could not be used.
    pub skipped: Vec<SkippedCase>,
    /// Results, in the order of evaluation.
    pub rows: Vec<ResultRow>,
    /// SHA-256 of the run's CSV files and of its adapters in lower-case hexadecimal, by file name: tables and
    /// figures are made of these files, so that the record alone vouches for nothing. Empty in records that are
    /// older than this field.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl RunRecord {
    /// Whether the frozen tensors are the same after the run as before it.
    pub fn backbone_stayed_frozen(&self) -> bool {
        self.frozen_hash_before == self.frozen_hash_after
    }

    /// Reads `record.json`.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::Read`] if the file cannot be read, [`RunRecordError::FormatVersion`] if
    /// another version of the format wrote it, [`RunRecordError::Json`] if it is truncated or
    /// lacks a field.
    pub fn read(path: &Path) -> Result<Self, RunRecordError> {
        read_versioned(path)
    }

    /// Writes `record.json`.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::Write`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RunRecordError> {
        write_json(path, self)
    }
}

/// Which frozen model a run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneRecord {
    /// Variant, e.g. `vit_b`.
    pub variant: String,
    /// Where the weights came from: a file name or how they were made.
    pub weights_source: String,
    /// SHA-256 of the weights file, or of the tensors where there is no file.
    pub weights_sha256: String,
}

/// Numbers of scalar parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterCounts {
    /// All that is trained.
    pub trainable: usize,
    /// The part of `trainable` that proposes prompts.
    pub prompt: usize,
    /// The part of `trainable` that shifts mask tokens.
    pub shift: usize,
    /// The frozen model.
    pub frozen: usize,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Epochs that were run.
    pub epochs_run: usize,
    /// Epochs that the experiment asked for.
    pub epochs_planned: usize,
    /// Epoch whose adapters were kept, counted from 1.
    pub best_epoch: usize,
    /// What picked `best_epoch`.
    pub selection: EpochChoice,
    /// Whether training ended before `epochs_planned` because it no longer improved.
    pub stopped_early: bool,
    /// Cases trained on.
    pub train_cases: usize,
    /// Cases validated on.
    pub valid_cases: usize,
}

/// How a prompt module was fitted that learns at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitSummary {
    /// The training images it was fitted to, as `<data set>/<file>`.
    pub cases: Vec<String>,
    /// What the module reports of it, by name, e.g. `iterations`.
    pub numbers: BTreeMap<String, f64>,
}

/// What picked the epoch whose adapters were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpochChoice {
    /// The highest mean Dice on images that were held out of the split that is trained on.
    #[serde(rename = "Dice on held-out training images")]
    HeldOut,
    /// The highest mean Dice on the images that are tested, as some published code does. Nothing here trains
    /// so; a record that says it marks every table and figure that shows the run.
    #[serde(rename = "Dice on test images")]
    Test,
    /// Anything else that a record says; whether it has seen the tested images is unknown.
    #[serde(untagged)]
    Other(String),
}

/// A case that is in a split and in no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedCase {
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// File as the split names it.
    pub file: String,
    /// Why it was left out, in words.
    pub reason: String,
}

/// One mean over the cases of one split: what becomes a line of a table.
///
/// Numbers are missing (`None`) where they are undefined: means where `n` is 0, deviations and
/// intervals where `n` is below 2. JSON has no NaN, so all numbers must be finite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Name of the method.
    pub method: String,
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// Whether the prompts were made from the ground truth, so that the number is a bound and no
    /// result.
    pub oracle: bool,
    /// Name of the evaluation protocol.
    pub protocol: String,
    /// Seed of the run.
    pub seed: u64,
    /// Cases that the means are over.
    pub n: usize,
    /// Cases left out of the means because prediction and ground truth were both empty.
    pub skipped_empty: usize,
    /// Mean Dice.
    pub dice: Option<f64>,
    /// Standard deviation of Dice over cases, with `n - 1`.
    pub dice_sd: Option<f64>,
    /// Lower end of the 95 % bootstrap interval of the mean Dice.
    pub dice_low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval of the mean Dice.
    pub dice_high: Option<f64>,
    /// Mean intersection over union.
    pub iou: Option<f64>,
    /// Standard deviation of IoU over cases, with `n - 1`.
    pub iou_sd: Option<f64>,
    /// Lower end of the 95 % bootstrap interval of the mean IoU.
    pub iou_low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval of the mean IoU.
    pub iou_high: Option<f64>,
    /// Mean absolute error of the soft map, over the same `n` cases as Dice and IoU.
    pub mae: Option<f64>,
    /// Every measure that the protocol reports, Dice, IoU and MAE included. Empty in records that are older
    /// than this field.
    #[serde(default)]
    pub measures: BTreeMap<Measure, MeasureSummary>,
    /// The maxima of the mean curves over thresholds, where the protocol reports them.
    #[serde(default)]
    pub maxima: BTreeMap<CurveMeasure, f64>,
}

impl ResultRow {
    /// The mean of a measure; nothing where it is undefined or not reported.
    pub fn mean(&self, measure: Measure) -> Option<f64> {
        self.summary(measure).and_then(|summary| summary.mean)
    }

    /// All that is known of a measure.
    ///
    /// Of an old record without `measures` this is Dice, IoU and MAE, as far as their fields go.
    pub fn summary(&self, measure: Measure) -> Option<MeasureSummary> {
        if let Some(summary) = self.measures.get(&measure) {
            return Some(*summary);
        }
        let n = self.n;
        let old = |mean, sd, low, high| MeasureSummary { n, mean, sd, median: None, low, high };
        match measure {
            _ if !self.measures.is_empty() => None,
            Measure::Dice => Some(old(self.dice, self.dice_sd, self.dice_low, self.dice_high)),
            Measure::Iou => Some(old(self.iou, self.iou_sd, self.iou_low, self.iou_high)),
            Measure::Mae => Some(old(self.mae, None, None, None)),
            _ => None,
        }
    }
}

/// One measure over the cases of a [`ResultRow`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeasureSummary {
    /// Cases with a score: fewer than the row's `n` where the measure is undefined for some, e.g. a distance
    /// between outlines where one mask is empty.
    pub n: usize,
    /// Mean.
    pub mean: Option<f64>,
    /// Standard deviation over cases, with `n - 1`.
    pub sd: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// Lower end of the 95 % bootstrap interval of the mean.
    pub low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval of the mean.
    pub high: Option<f64>,
}
