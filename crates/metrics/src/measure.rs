//! The measures by name: what files call them, what tables call them, which direction is better.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of one case. A table prints its mean over cases.
///
/// What it is computed on (size, cut, one mask or 256) is the [`Protocol`](crate::Protocol)'s word: the
/// Dice of `pranet` is a mean over thresholds, the Dice of `default` that of one mask.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Dice similarity coefficient: [`dice`](fn@crate::dice).
    #[default]
    Dice,
    /// Intersection over union, the Jaccard index: [`iou`](fn@crate::iou).
    Iou,
    /// Mean absolute error: [`mae`](fn@crate::mae).
    Mae,
    /// Share of the predicted pixels that are right: [`precision`](fn@crate::precision).
    Precision,
    /// Share of the true pixels that are found, the sensitivity: [`recall`](fn@crate::recall).
    Recall,
    /// Share of the background that is left alone: [`specificity`](fn@crate::specificity).
    Specificity,
    /// Share of all pixels that are right: [`accuracy`](fn@crate::accuracy).
    Accuracy,
    /// F-measure with `beta^2 = 0.3`: [`f_beta`](fn@crate::f_beta).
    FBeta,
    /// The same at a cut of twice the map's mean.
    FBetaAdaptive,
    /// Weighted F-measure: [`weighted_f`](fn@crate::weighted_f).
    WeightedF,
    /// Structure measure: [`s_measure`](fn@crate::s_measure).
    SMeasure,
    /// Enhanced-alignment measure: [`e_measure`](fn@crate::e_measure).
    EMeasure,
    /// The same at a cut of twice the map's mean.
    EMeasureAdaptive,
    /// 95th percentile of the distances between the outlines, in pixels:
    /// [`SurfaceDistances::hd95`](crate::SurfaceDistances::hd95).
    Hd95,
    /// Mean of the distances between the outlines, in pixels:
    /// [`SurfaceDistances::average`](crate::SurfaceDistances::average).
    Assd,
    /// Share of the outlines that lies within a tolerance of the other:
    /// [`normalized_surface_distance`](fn@crate::normalized_surface_distance).
    Nsd,
    /// IoU where it is at least 0.65, else 0: [`threshold_jaccard`](fn@crate::threshold_jaccard).
    ThresholdJaccard,
}

/// Which of two numbers is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The larger one.
    Higher,
    /// The smaller one.
    Lower,
}

impl Measure {
    /// Every measure, in the order of the columns of a case row.
    pub const ALL: &'static [Self] = &[
        Self::Dice,
        Self::Iou,
        Self::Mae,
        Self::Precision,
        Self::Recall,
        Self::Specificity,
        Self::Accuracy,
        Self::FBeta,
        Self::FBetaAdaptive,
        Self::WeightedF,
        Self::SMeasure,
        Self::EMeasure,
        Self::EMeasureAdaptive,
        Self::Hd95,
        Self::Assd,
        Self::Nsd,
        Self::ThresholdJaccard,
    ];

    /// The name in files: a column of a case row, a key of a record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Iou => "iou",
            Self::Mae => "mae",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Specificity => "specificity",
            Self::Accuracy => "accuracy",
            Self::FBeta => "f_beta",
            Self::FBetaAdaptive => "f_beta_adaptive",
            Self::WeightedF => "weighted_f",
            Self::SMeasure => "s_measure",
            Self::EMeasure => "e_measure",
            Self::EMeasureAdaptive => "e_measure_adaptive",
            Self::Hd95 => "hd95",
            Self::Assd => "assd",
            Self::Nsd => "nsd",
            Self::ThresholdJaccard => "threshold_jaccard",
        }
    }

    /// The name for people where no protocol says otherwise; see
    /// [`Protocol::label`](crate::Protocol::label).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dice => "Dice",
            Self::Iou => "IoU",
            Self::Mae => "MAE",
            Self::Precision => "Precision",
            Self::Recall => "Recall",
            Self::Specificity => "Specificity",
            Self::Accuracy => "Accuracy",
            Self::FBeta => "Fm",
            Self::FBetaAdaptive => "adpFm",
            Self::WeightedF => "wFm",
            Self::SMeasure => "Sm",
            Self::EMeasure => "Em",
            Self::EMeasureAdaptive => "adpEm",
            Self::Hd95 => "HD95",
            Self::Assd => "ASSD",
            Self::Nsd => "NSD",
            Self::ThresholdJaccard => "Threshold Jaccard",
        }
    }

    /// Which direction is better.
    pub const fn better(self) -> Better {
        match self {
            Self::Mae | Self::Hd95 | Self::Assd => Better::Lower,
            _ => Better::Higher,
        }
    }

    /// The unit, nothing for a number between 0 and 1.
    pub const fn unit(self) -> Option<&'static str> {
        match self {
            Self::Hd95 | Self::Assd => Some("px"),
            _ => None,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl FromStr for Measure {
    type Err = UnknownMeasure;

    /// Reads the [name](Self::name).
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|measure| measure.name() == name)
            .ok_or_else(|| UnknownMeasure { name: name.to_owned() })
    }
}

/// There is no measure of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown measure `{name}`, known: {}", known())]
pub struct UnknownMeasure {
    /// The name looked for.
    pub name: String,
}

fn known() -> String {
    let names: Vec<_> =
        Measure::ALL.iter().map(|measure| format!("`{}`", measure.name())).collect();
    names.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_its_own_measure_in_text_and_in_files() {
        for &measure in Measure::ALL {
            assert_eq!(measure.name().parse(), Ok(measure));
            assert_eq!(serde_json::to_string(&measure).unwrap(), format!("\"{}\"", measure.name()));
        }
        let error = "Dice".parse::<Measure>().unwrap_err().to_string();
        assert!(error.starts_with("unknown measure `Dice`, known: `dice`, `iou`"), "{error}");
    }

    #[test]
    fn distances_and_errors_are_better_when_lower_and_all_else_when_higher() {
        let lower: Vec<_> =
            Measure::ALL.iter().filter(|measure| measure.better() == Better::Lower).collect();
        assert_eq!(lower, [&Measure::Mae, &Measure::Hd95, &Measure::Assd]);
    }
}
