//! Lines of the CSV files.

use metrics::{LEVELS, LevelCounts, Measure};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type whose values are lines of a CSV file.
pub trait CsvRow: Serialize + DeserializeOwned {
    /// The column names, in the order in which they are written.
    ///
    /// A reader demands all of them but [`ADDED`](Self::ADDED), in any order, and ignores others. Without the list a missing
    /// column of an optional number would read as a column of missing numbers.
    const COLUMNS: &'static [&'static str];

    /// The columns that files of earlier versions of this program lack: their numbers read as missing.
    const ADDED: &'static [&'static str] = &[];
}

/// One line of `epochs.csv`: means over one split in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
///
/// A score is empty where it is undefined, and where the protocol does not report it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Whether the prompts were made from the ground truth, so that the scores are bounds.
    pub oracle: bool,
    /// Name of the evaluation protocol.
    pub protocol: String,
    /// File as the split names it.
    pub file: String,
    /// Width of the ground truth.
    #[schemars(extend("unit" = "pixels"))]
    pub width: usize,
    /// Height of the ground truth.
    #[schemars(extend("unit" = "pixels"))]
    pub height: usize,
    /// Dice; empty where it is undefined.
    pub dice: Option<f64>,
    /// Intersection over union; empty where it is undefined.
    pub iou: Option<f64>,
    /// Mean absolute error of the soft map. Every protocol computes it, so it is never empty.
    pub mae: f64,
    /// Share of the predicted pixels that are right.
    pub precision: Option<f64>,
    /// Share of the true pixels that are found, the sensitivity.
    pub recall: Option<f64>,
    /// Share of the background that is left alone.
    pub specificity: Option<f64>,
    /// Share of all pixels that are right.
    pub accuracy: Option<f64>,
    /// F-measure with `beta^2 = 0.3`.
    pub f_beta: Option<f64>,
    /// F-measure with `beta^2 = 0.3` at a cut of twice the map's mean.
    pub f_beta_adaptive: Option<f64>,
    /// Weighted F-measure.
    pub weighted_f: Option<f64>,
    /// Structure measure.
    pub s_measure: Option<f64>,
    /// Enhanced-alignment measure.
    pub e_measure: Option<f64>,
    /// Enhanced-alignment measure at a cut of twice the map's mean.
    pub e_measure_adaptive: Option<f64>,
    /// 95th percentile of the distances between the outlines.
    pub hd95: Option<f64>,
    /// Mean of the distances between the outlines.
    pub assd: Option<f64>,
    /// Share of the outlines that lies within a tolerance of the other.
    pub nsd: Option<f64>,
    /// IoU where it is at least 0.65, else 0.
    pub threshold_jaccard: Option<f64>,
}

impl CaseRow {
    /// The score that a mean is made of; nothing where it is undefined or not reported.
    ///
    /// The error is one of the `n` cases that Dice is one of: a case without any foreground in
    /// prediction and ground truth is in no mean.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Mae => self.dice.map(|_| self.mae),
            Measure::Dice => self.dice,
            Measure::Iou => self.iou,
            Measure::Precision => self.precision,
            Measure::Recall => self.recall,
            Measure::Specificity => self.specificity,
            Measure::Accuracy => self.accuracy,
            Measure::FBeta => self.f_beta,
            Measure::FBetaAdaptive => self.f_beta_adaptive,
            Measure::WeightedF => self.weighted_f,
            Measure::SMeasure => self.s_measure,
            Measure::EMeasure => self.e_measure,
            Measure::EMeasureAdaptive => self.e_measure_adaptive,
            Measure::Hd95 => self.hd95,
            Measure::Assd => self.assd,
            Measure::Nsd => self.nsd,
            Measure::ThresholdJaccard => self.threshold_jaccard,
        }
    }

    /// Sets a score. The error has no missing value: without one it stays as it is.
    pub fn set(&mut self, measure: Measure, score: Option<f64>) {
        let place = match measure {
            Measure::Mae => {
                self.mae = score.unwrap_or(self.mae);
                return;
            }
            Measure::Dice => &mut self.dice,
            Measure::Iou => &mut self.iou,
            Measure::Precision => &mut self.precision,
            Measure::Recall => &mut self.recall,
            Measure::Specificity => &mut self.specificity,
            Measure::Accuracy => &mut self.accuracy,
            Measure::FBeta => &mut self.f_beta,
            Measure::FBetaAdaptive => &mut self.f_beta_adaptive,
            Measure::WeightedF => &mut self.weighted_f,
            Measure::SMeasure => &mut self.s_measure,
            Measure::EMeasure => &mut self.e_measure,
            Measure::EMeasureAdaptive => &mut self.e_measure_adaptive,
            Measure::Hd95 => &mut self.hd95,
            Measure::Assd => &mut self.assd,
            Measure::Nsd => &mut self.nsd,
            Measure::ThresholdJaccard => &mut self.threshold_jaccard,
        };
        *place = score;
    }
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
        "precision",
        "recall",
        "specificity",
        "accuracy",
        "f_beta",
        "f_beta_adaptive",
        "weighted_f",
        "s_measure",
        "e_measure",
        "e_measure_adaptive",
        "hd95",
        "assd",
        "nsd",
        "threshold_jaccard",
    ];
    // Since protocols report more than Dice, IoU and MAE.
    const ADDED: &'static [&'static str] = &[
        "precision",
        "recall",
        "specificity",
        "accuracy",
        "f_beta",
        "f_beta_adaptive",
        "weighted_f",
        "s_measure",
        "e_measure",
        "e_measure_adaptive",
        "hd95",
        "assd",
        "nsd",
        "threshold_jaccard",
    ];
}

/// One line of `curves.csv`: the pixels of one case by level and ground truth, of which curves over
/// thresholds, their mean over cases and its maximum are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CurveRow {
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// File as the split names it.
    pub file: String,
    /// Pixels of the true foreground by level of the soft map, 0 to 255: `level:count` for each level that occurs,
    /// separated by spaces.
    #[schemars(extend("unit" = "pixels"))]
    pub foreground: String,
    /// Pixels of the true background, written alike.
    #[schemars(extend("unit" = "pixels"))]
    pub background: String,
}

impl CsvRow for CurveRow {
    const COLUMNS: &'static [&'static str] =
        &["data", "split", "prompts", "file", "foreground", "background"];
}

/// One line of `clicks.csv`: the score of one image after so many clicks of a simulated user.
///
/// Every image has a line for each number of clicks up to the number of rounds. Where nothing is wrong any more, or
/// nothing that was not clicked already, no click is made: its place is empty and the score stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClickRow {
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
    /// Name of the evaluation protocol.
    pub protocol: String,
    /// What there is before the first click: `auto`, the run's own prompts and a line for 0 clicks, or `click`,
    /// nothing.
    pub start: String,
    /// Mask input from the second answer on: `previous`, the logits of the answer before, or `none`.
    pub mask_input: String,
    /// Which of SAM's three masks counts: `used`, the one that runs are trained for, or `best`, the one with the
    /// highest predicted IoU.
    pub mask_choice: String,
    /// File as the split names it.
    pub file: String,
    /// Clicks so far.
    pub clicks: usize,
    /// Column of the last click, in pixels of the image; empty where none was made.
    #[schemars(extend("unit" = "pixels"))]
    pub x: Option<u32>,
    /// Its row.
    #[schemars(extend("unit" = "pixels"))]
    pub y: Option<u32>,
    /// 1 if it says foreground, 0 if background.
    pub label: Option<i32>,
    /// Dice; empty where it is undefined.
    pub dice: Option<f64>,
    /// Intersection over union; empty where it is undefined.
    pub iou: Option<f64>,
    /// The IoU that SAM predicts for the mask; empty where nobody had to ask it.
    #[schemars(extend("unit" = "0 to 1"))]
    pub iou_prediction: Option<f64>,
}

impl ClickRow {
    /// A score; nothing where it is undefined, or not among those that are kept.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Dice => self.dice,
            Measure::Iou => self.iou,
            _ => None,
        }
    }

    /// Measures that are kept.
    pub const MEASURES: [Measure; 2] = [Measure::Dice, Measure::Iou];

    /// What lines of one evaluation have in common: data set, split, protocol, start, mask input, choice of the mask.
    pub fn evaluation(&self) -> [&str; 6] {
        let Self { data, split, protocol, start, mask_input, mask_choice, .. } = self;
        [data, split, protocol, start, mask_input, mask_choice]
    }
}

impl CsvRow for ClickRow {
    const COLUMNS: &'static [&'static str] = &[
        "experiment",
        "method",
        "seed",
        "data",
        "split",
        "protocol",
        "start",
        "mask_input",
        "mask_choice",
        "file",
        "clicks",
        "x",
        "y",
        "label",
        "dice",
        "iou",
        "iou_prediction",
    ];
}

/// Counts by level that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is no `level:count` with a level up to {}, in the curve of `{file}`", LEVELS - 1)]
pub struct BadLevels {
    /// What was found.
    pub entry: String,
    /// File of the row.
    pub file: String,
}

impl CurveRow {
    /// The line of a case. `case` gives the names.
    pub fn new(case: &CaseRow, levels: &LevelCounts) -> Self {
        Self {
            data: case.data.clone(),
            split: case.split.clone(),
            prompts: case.prompts.clone(),
            file: case.file.clone(),
            foreground: write_levels(&levels.foreground),
            background: write_levels(&levels.background),
        }
    }

    /// The counts.
    ///
    /// # Errors
    ///
    /// [`BadLevels`] with the first entry that is none.
    pub fn levels(&self) -> Result<LevelCounts, BadLevels> {
        let read = |text: &str| {
            read_levels(text)
                .map_err(|entry| BadLevels { entry: entry.to_owned(), file: self.file.clone() })
        };
        Ok(LevelCounts { foreground: read(&self.foreground)?, background: read(&self.background)? })
    }
}

fn write_levels(counts: &[u32; LEVELS]) -> String {
    let entries: Vec<String> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(level, count)| format!("{level}:{count}"))
        .collect();
    entries.join(" ")
}

/// The counts, or the first entry that cannot be read.
fn read_levels(text: &str) -> Result<[u32; LEVELS], &str> {
    let mut counts = [0; LEVELS];
    for entry in text.split_whitespace() {
        let parsed = entry
            .split_once(':')
            .and_then(|(level, count)| Some((level.parse::<u8>().ok()?, count.parse().ok()?)));
        let (level, count) = parsed.ok_or(entry)?;
        counts[usize::from(level)] = count;
    }
    Ok(counts)
}
