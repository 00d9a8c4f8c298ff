//! Evaluation protocols: how one case is scored, by name.
//!
//! Numbers of two protocols must never meet in one table, so the name travels with every number.
//! A protocol is one file in `protocol/` with a `score` function, one variant of [`Protocol`] and
//! one entry of [`Protocol::ALL`].

mod default;
mod isic;
mod pranet;
mod promise_reference;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CurveMeasure, LevelCounts, Mask, Measure, MetricsError, SoftMap};

/// How one case is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// At the ground truth's size, one cut at 0.5, cases with two empty masks skipped and counted.
    Default,
    /// The polyp field's: at the ground truth's size, map stretched to `[0, 1]`, 256 thresholds, two empty masks
    /// score 0. Defined by PraNet's toolbox and `pysodmetrics`.
    Pranet,
    /// The ISIC challenge's: at the ground truth's size, one cut at 0.5, two empty masks score 1.
    Isic,
    /// The published code of ProMISe with its faults: at 256 x 256, truth above 0 after bilinear resizing,
    /// cut and opened prediction.
    PromiseReference,
}

/// One column of a protocol's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// The mean of a measure over cases.
    Mean(Measure),
    /// The largest value of the mean of a curve over cases.
    Max(CurveMeasure),
}

impl Protocol {
    /// Every protocol, in the order in which help texts list them.
    pub const ALL: &'static [Self] =
        &[Self::Default, Self::Pranet, Self::Isic, Self::PromiseReference];

    /// The name used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Pranet => "pranet",
            Self::Isic => "isic",
            Self::PromiseReference => "promise_reference",
        }
    }

    /// One line for help texts: what is compared, and what two empty masks score.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Default => {
                "ground truth's size, cut at 0.5, two empty masks are skipped and counted"
            }
            Self::Pranet => "polyps: stretched map at 256 thresholds, two empty masks score 0",
            Self::Isic => "skin lesions: cut at 0.5, two empty masks score 1",
            Self::PromiseReference => "the published code, faults included: 256 x 256, opened mask",
        }
    }

    /// What its table shows, from left to right: the numbers that the field prints.
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Default => default::COLUMNS,
            Self::Pranet => pranet::COLUMNS,
            Self::Isic => isic::COLUMNS,
            Self::PromiseReference => promise_reference::COLUMNS,
        }
    }

    /// Every measure that it computes for a case, printed or not. One that is not among them is missing in all
    /// cases.
    pub const fn measures(self) -> &'static [Measure] {
        match self {
            Self::Default => default::MEASURES,
            Self::Pranet => pranet::MEASURES,
            Self::Isic => isic::MEASURES,
            Self::PromiseReference => promise_reference::MEASURES,
        }
    }

    /// The curves whose maximum it reports.
    pub const fn maxima(self) -> &'static [CurveMeasure] {
        match self {
            Self::Pranet => pranet::MAXIMA,
            Self::Default | Self::Isic | Self::PromiseReference => &[],
        }
    }

    /// What its tables call a column, e.g. `mDice` in `pranet` and `Jaccard` in `isic`.
    pub const fn label(self, column: Column) -> &'static str {
        match (self, column) {
            (_, Column::Max(curve)) => curve.max_label(),
            (Self::Pranet, Column::Mean(Measure::Dice)) => "mDice",
            (Self::Pranet, Column::Mean(Measure::Iou)) => "mIoU",
            (Self::Pranet, Column::Mean(Measure::FBeta)) => "meanFm",
            (Self::Pranet, Column::Mean(Measure::EMeasure)) => "meanEm",
            (Self::Isic, Column::Mean(Measure::Iou)) => "Jaccard",
            (Self::Isic, Column::Mean(Measure::Recall)) => "Sensitivity",
            (_, Column::Mean(measure)) => measure.label(),
        }
    }

    /// The size at which prediction and truth are compared, for a truth of `width` x `height` pixels: what the
    /// caller resizes the prediction to.
    pub const fn size(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::PromiseReference => (promise_reference::SIDE, promise_reference::SIDE),
            Self::Default | Self::Pranet | Self::Isic => (width, height),
        }
    }

    /// The 8-bit level above which a pixel of a truth file is foreground.
    ///
    /// The evaluation programs of both fields cut at 128. Files of 0 and 255, which nearly all are, are cut alike by
    /// all protocols.
    pub const fn truth_threshold(self) -> u8 {
        match self {
            Self::Pranet | Self::Isic => 128,
            Self::Default | Self::PromiseReference => 127,
        }
    }

    /// Scores one case. The soft map has the protocol's [`size`](Self::size), the truth its own.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Size`] if the map has another size than the protocol compares at.
    pub fn score(self, prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
        match self {
            Self::Default => default::score(prediction, truth),
            Self::Pranet => pranet::score(prediction, truth),
            Self::Isic => isic::score(prediction, truth),
            Self::PromiseReference => promise_reference::score(prediction, truth),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| UnknownProtocol { name: name.to_owned() })
    }
}

/// There is no protocol of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol `{name}`, known: {}", known())]
pub struct UnknownProtocol {
    /// The name looked for.
    pub name: String,
}

fn known() -> String {
    let names: Vec<_> =
        Protocol::ALL.iter().map(|protocol| format!("`{}`", protocol.name())).collect();
    names.join(", ")
}

/// The scores of one case by one protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseScores {
    scores: Vec<(Measure, Option<f64>)>,
    levels: Option<LevelCounts>,
}

impl CaseScores {
    /// Scores without levels. Each measure is there once, in the order of [`Protocol::measures`].
    fn new(scores: Vec<(Measure, Option<f64>)>) -> Self {
        Self { scores, levels: None }
    }

    /// The same with what curves are made of.
    fn with_levels(self, levels: LevelCounts) -> Self {
        Self { levels: Some(levels), ..self }
    }

    /// A score; missing where it is undefined, or where the protocol does not report it.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        self.scores.iter().find(|(name, _)| *name == measure).and_then(|(_, score)| *score)
    }

    /// Every measure that the protocol reports, with its score where it is defined.
    pub fn iter(&self) -> impl Iterator<Item = (Measure, Option<f64>)> {
        self.scores.iter().copied()
    }

    /// The pixels by level and truth, of which curves over thresholds are made; missing where the protocol has
    /// no soft map.
    pub fn levels(&self) -> Option<&LevelCounts> {
        self.levels.as_ref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_its_own_protocol_in_text_and_in_files() {
        for &protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            let json = serde_json::to_string(&protocol).unwrap();
            assert_eq!(json, format!("\"{protocol}\""));
            assert_eq!(serde_json::from_str::<Protocol>(&json).unwrap(), protocol);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "Default".parse::<Protocol>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown protocol `Default`, known: `default`, `pranet`, `isic`, `promise_reference`"
        );
    }

    /// The left half predicted, more surely toward the top, and a truth in one corner.
    fn case(protocol: Protocol) -> CaseScores {
        let truth = Mask::new(4, 3, (0..12).map(|i| i < 3).collect()).unwrap();
        let (width, height) = protocol.size(truth.width(), truth.height());
        let map = (0..width * height)
            .map(|i| {
                if i % width < width / 2 {
                    1.0 - (i / width) as f64 / (4 * height) as f64
                } else {
                    0.0
                }
            })
            .collect();
        protocol.score(&SoftMap::new(width, height, map).unwrap(), &truth).unwrap()
    }

    #[test]
    fn a_protocol_computes_what_it_says_and_prints_some_of_it() {
        for &protocol in Protocol::ALL {
            let scores = case(protocol);
            let computed: Vec<Measure> = scores.iter().map(|(measure, _)| measure).collect();
            assert_eq!(computed, protocol.measures(), "{protocol}");
            for (measure, score) in scores.iter() {
                assert!(score.is_some_and(f64::is_finite), "{protocol}: {measure} is {score:?}");
            }
            assert_eq!(scores.levels().is_some(), protocol != Protocol::PromiseReference);
            for &column in protocol.columns() {
                match column {
                    Column::Mean(measure) => assert!(protocol.measures().contains(&measure)),
                    Column::Max(curve) => assert!(protocol.maxima().contains(&curve)),
                }
            }
        }
    }

    #[test]
    fn no_protocol_has_two_columns_of_one_label() {
        for &protocol in Protocol::ALL {
            let mut labels: Vec<_> = protocol
                .measures()
                .iter()
                .map(|&measure| Column::Mean(measure))
                .chain(protocol.maxima().iter().map(|&curve| Column::Max(curve)))
                .map(|column| protocol.label(column))
                .collect();
            let n = labels.len();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), n, "{protocol}");
        }
    }

    #[test]
    fn the_labels_of_pranet_are_those_of_the_field() {
        let labels: Vec<_> = Protocol::Pranet
            .columns()
            .iter()
            .map(|&column| Protocol::Pranet.label(column))
            .collect();
        assert_eq!(labels, ["mDice", "mIoU", "wFm", "Sm", "meanEm", "maxEm", "MAE"]);
    }
}
