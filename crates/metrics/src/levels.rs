//! A soft map counted by level, and the curves over 256 thresholds that follow from the counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Mask, MaskCounts, MetricsError, SoftMap, dice, e_measure, f_beta, iou, precision, recall,
    specificity,
};

/// Levels of a map, and thresholds of a curve.
pub const LEVELS: usize = 256;

/// One number for each threshold `i / 255`, `i` from 0 to 255.
pub type ThresholdCurve = [f64; LEVELS];

/// How many pixels of a case have each level `floor(255 * p)`, by ground truth.
///
/// All that curves over thresholds need: at the threshold `i / 255` a pixel is foreground if its level is at
/// least `i`. Whether `p` was normalized before is the protocol's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelCounts {
    /// Pixels of the true foreground by level.
    pub foreground: [u32; LEVELS],
    /// Pixels of the true background by level.
    pub background: [u32; LEVELS],
}

/// A measure that has a value at each of 256 thresholds.
///
/// The mean of a curve over its thresholds is a number of one case. Its maximum is not: the field
/// averages the curves over the cases first, and the largest value of that mean curve is a number of
/// the whole set ([`mean_curve`], [`largest`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CurveMeasure {
    /// Dice similarity coefficient.
    Dice,
    /// Intersection over union.
    Iou,
    /// F-measure with `beta^2 = 0.3`.
    FBeta,
    /// Enhanced-alignment measure.
    EMeasure,
    /// Precision.
    Precision,
    /// Recall.
    Recall,
    /// Specificity.
    Specificity,
}

impl CurveMeasure {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[
        Self::Dice,
        Self::Iou,
        Self::FBeta,
        Self::EMeasure,
        Self::Precision,
        Self::Recall,
        Self::Specificity,
    ];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Iou => "iou",
            Self::FBeta => "f_beta",
            Self::EMeasure => "e_measure",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Specificity => "specificity",
        }
    }

    /// The name of the curve for people, e.g. at an axis.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dice => "Dice",
            Self::Iou => "IoU",
            Self::FBeta => "Fm",
            Self::EMeasure => "Em",
            Self::Precision => "Precision",
            Self::Recall => "Recall",
            Self::Specificity => "Specificity",
        }
    }

    /// The name of the maximum of the mean curve.
    pub const fn max_label(self) -> &'static str {
        match self {
            Self::Dice => "maxDice",
            Self::Iou => "maxIoU",
            Self::FBeta => "maxFm",
            Self::EMeasure => "maxEm",
            Self::Precision => "maxPrecision",
            Self::Recall => "maxRecall",
            Self::Specificity => "maxSpecificity",
        }
    }

    /// The measure at one threshold; 0 where it is undefined, as in the reference implementation.
    pub fn at(self, counts: MaskCounts) -> f64 {
        let value = match self {
            Self::Dice => dice(counts),
            Self::Iou => iou(counts),
            Self::FBeta => f_beta(counts),
            Self::EMeasure => Some(e_measure(counts)),
            Self::Precision => precision(counts),
            Self::Recall => recall(counts),
            Self::Specificity => specificity(counts),
        };
        value.unwrap_or(0.0)
    }
}

impl fmt::Display for CurveMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl LevelCounts {
    /// Counts the pixels of a map by level and ground truth.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Size`] if the two differ in size.
    pub fn of(prediction: &SoftMap, truth: &Mask) -> Result<Self, MetricsError> {
        prediction.check_same_size(truth)?;
        let levels = prediction.probabilities().iter().map(|&p| level(p));
        Ok(Self::count(levels, truth.pixels()))
    }

    /// Counts levels; both come row by row.
    pub(crate) fn count(levels: impl Iterator<Item = u8>, truth: &[bool]) -> Self {
        // One table, indexed by truth and level: a branch on the truth would be mispredicted along every outline.
        let mut tables = [[0_u32; LEVELS]; 2];
        for (level, &actual) in levels.zip(truth) {
            tables[usize::from(actual)][usize::from(level)] += 1;
        }
        let [background, foreground] = tables;
        Self { foreground, background }
    }

    /// Pixels of the case.
    pub fn pixels(&self) -> u64 {
        self.foreground.iter().chain(&self.background).map(|&n| u64::from(n)).sum()
    }

    /// What a cut at each threshold counts: `out[i]` for levels of at least `i`.
    pub fn at_thresholds(&self) -> [MaskCounts; LEVELS] {
        let total = |side: &[u32; LEVELS]| -> u64 { side.iter().map(|&n| u64::from(n)).sum() };
        let (positive, negative) = (total(&self.foreground), total(&self.background));
        let mut counts =
            MaskCounts { true_pos: 0, false_pos: 0, false_neg: positive, true_neg: negative };
        let mut all = [counts; LEVELS];
        for level in (0..LEVELS).rev() {
            let (hit, false_alarm) =
                (u64::from(self.foreground[level]), u64::from(self.background[level]));
            counts.true_pos += hit;
            counts.false_neg -= hit;
            counts.false_pos += false_alarm;
            counts.true_neg -= false_alarm;
            all[level] = counts;
        }
        all
    }

    /// The curve of one case.
    pub fn curve(&self, measure: CurveMeasure) -> ThresholdCurve {
        self.at_thresholds().map(|counts| measure.at(counts))
    }
}

/// The level of a probability, from 0 to 255.
pub(crate) fn level(probability: f64) -> u8 {
    // Truncated, as a cast in NumPy does; both are saturated already.
    (probability * 255.0) as u8
}

/// The mean of the curves of several cases, threshold by threshold; nothing without a case.
pub fn mean_curve<'a>(
    cases: impl IntoIterator<Item = &'a LevelCounts>,
    measure: CurveMeasure,
) -> Option<ThresholdCurve> {
    let mut sum = [0.0; LEVELS];
    let mut n = 0_u32;
    for case in cases {
        for (sum, value) in sum.iter_mut().zip(case.curve(measure)) {
            *sum += value;
        }
        n += 1;
    }
    (n > 0).then(|| sum.map(|sum| sum / f64::from(n)))
}

/// The largest value of a curve.
pub fn largest(curve: &ThresholdCurve) -> f64 {
    curve.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The mean of a curve over its thresholds.
pub fn curve_mean(curve: &ThresholdCurve) -> f64 {
    curve.iter().sum::<f64>() / LEVELS as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(probabilities: &[f64]) -> SoftMap {
        SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap()
    }

    fn truth(pixels: &[u8]) -> Mask {
        Mask::new(pixels.len(), 1, pixels.iter().map(|&pixel| pixel == 1).collect()).unwrap()
    }

    #[test]
    fn a_threshold_is_met_by_the_level_that_equals_it() {
        // Levels 255, 51 and 0.
        let counts = LevelCounts::of(&map(&[1.0, 0.2, 0.0]), &truth(&[1, 0, 0])).unwrap();
        assert_eq!(
            (counts.foreground[255], counts.background[51], counts.background[0]),
            (1, 1, 1)
        );
        let at = counts.at_thresholds();
        let positives = |i: usize| (at[i].true_pos, at[i].false_pos);
        assert_eq!([0, 1, 51, 52, 255].map(positives), [(1, 2), (1, 1), (1, 1), (1, 0), (1, 0)]);
        assert_eq!(at[52], MaskCounts { true_pos: 1, false_pos: 0, false_neg: 0, true_neg: 2 });
    }

    #[test]
    fn the_mean_curve_is_taken_before_its_maximum() {
        // The first case is best at high thresholds, the second at low ones: both reach 1, the mean
        // nowhere does.
        let strict = LevelCounts::of(&map(&[1.0, 0.5]), &truth(&[1, 0])).unwrap();
        let lenient = LevelCounts::of(&map(&[0.25, 0.0]), &truth(&[1, 0])).unwrap();
        let curve = mean_curve([&strict, &lenient], CurveMeasure::Precision).unwrap();
        // Thresholds 0; 1 to 63 (strict 1/2, lenient 1); 64 to 127 (1/2, none); 128 to 255 (1, none).
        assert_eq!(
            [0, 1, 63, 64, 127, 128, 255].map(|i| curve[i]),
            [0.5, 0.75, 0.75, 0.25, 0.25, 0.5, 0.5]
        );
        assert_eq!(largest(&curve), 0.75);
        assert_eq!(curve_mean(&curve), (0.5 + 63.0 * 0.75 + 64.0 * 0.25 + 128.0 * 0.5) / 256.0);
        assert_eq!(mean_curve([], CurveMeasure::Dice), None);
    }

    proptest! {
        #[test]
        fn counting_by_level_equals_cutting_at_every_threshold(
            case in proptest::collection::vec((0..=255_u8, any::<bool>()), 1..60)
        ) {
            let (levels, actual): (Vec<u8>, Vec<bool>) = case.into_iter().unzip();
            let counts = LevelCounts::count(levels.iter().copied(), &actual);
            prop_assert_eq!(counts.pixels(), levels.len() as u64);
            let truth = Mask::new(actual.len(), 1, actual).unwrap();
            for (threshold, counts) in counts.at_thresholds().into_iter().enumerate() {
                let cut = levels.iter().map(|&level| usize::from(level) >= threshold).collect();
                let cut = Mask::new(levels.len(), 1, cut).unwrap();
                prop_assert_eq!(counts, MaskCounts::between(&cut, &truth).unwrap());
            }
        }
    }
}
