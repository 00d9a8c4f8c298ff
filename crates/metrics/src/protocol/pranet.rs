//! Protocol `pranet`: the convention of polyp segmentation.
//!
//! - size: the ground truth's own; the caller resized the soft map to it
//! - the map is stretched so that its least value is 0 and its largest 1, unless it is constant
//! - 256 cuts: foreground is `p >= i / 255`, as `floor(255 p) >= i`. Dice, IoU, F, E, precision, recall and
//!   specificity are means over the cuts; where one is undefined, and where no pixel is right, it is 0
//! - adaptive F and E: one cut at twice the map's mean, at most 1
//! - weighted F, S and MAE: of the stretched map
//! - maxima of Dice, IoU, F and E: the largest value of the mean curve over all cases, so no number of one case
//! - both masks empty: Dice, IoU, F and weighted F are 0
//!
//! Defined by the evaluation toolbox of PraNet (Fan et al., PraNet: Parallel Reverse Attention Network for Polyp
//! Segmentation, MICCAI 2020) as `pysodmetrics` 1.6.2 computes it; `tests/measures/` compares every measure. The two
//! differ nowhere but where the reference has no number: see [`s_measure`](fn@crate::s_measure).

use super::{CaseScores, Column};
use crate::adaptive::adaptive_cut;
use crate::{
    CurveMeasure, LEVELS, LevelCounts, Mask, MaskCounts, Measure, MetricsError, SoftMap, e_measure,
    f_beta, mae, s_measure, weighted_f,
};

pub(super) const COLUMNS: &[Column] = &[
    Column::Mean(Measure::Dice),
    Column::Mean(Measure::Iou),
    Column::Mean(Measure::WeightedF),
    Column::Mean(Measure::SMeasure),
    Column::Mean(Measure::EMeasure),
    Column::Max(CurveMeasure::EMeasure),
    Column::Mean(Measure::Mae),
];

pub(super) const MEASURES: &[Measure] = &[
    Measure::Dice,
    Measure::Iou,
    Measure::Mae,
    Measure::Precision,
    Measure::Recall,
    Measure::Specificity,
    Measure::FBeta,
    Measure::FBetaAdaptive,
    Measure::WeightedF,
    Measure::SMeasure,
    Measure::EMeasure,
    Measure::EMeasureAdaptive,
];

pub(super) const MAXIMA: &[CurveMeasure] =
    &[CurveMeasure::Dice, CurveMeasure::Iou, CurveMeasure::FBeta, CurveMeasure::EMeasure];

pub(super) fn score(prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
    let map = prediction.stretched();
    let levels = LevelCounts::of(&map, truth)?;
    let cuts = levels.at_thresholds();
    let mean = |curve: CurveMeasure| {
        Some(cuts.iter().map(|&counts| curve.at(counts)).sum::<f64>() / LEVELS as f64)
    };
    let adaptive = MaskCounts::between(&adaptive_cut(&map), truth)?;
    let scores = vec![
        (Measure::Dice, mean(CurveMeasure::Dice)),
        (Measure::Iou, mean(CurveMeasure::Iou)),
        (Measure::Mae, Some(mae(&map, truth)?)),
        (Measure::Precision, mean(CurveMeasure::Precision)),
        (Measure::Recall, mean(CurveMeasure::Recall)),
        (Measure::Specificity, mean(CurveMeasure::Specificity)),
        (Measure::FBeta, mean(CurveMeasure::FBeta)),
        (Measure::FBetaAdaptive, Some(f_beta(adaptive).unwrap_or(0.0))),
        (Measure::WeightedF, Some(weighted_f(&map, truth)?)),
        (Measure::SMeasure, Some(s_measure(&map, truth)?)),
        (Measure::EMeasure, mean(CurveMeasure::EMeasure)),
        (Measure::EMeasureAdaptive, Some(e_measure(adaptive))),
    ];
    Ok(CaseScores::new(scores).with_levels(levels))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn case(probabilities: &[f64], truth: &[u8]) -> CaseScores {
        let map = SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap();
        let truth =
            Mask::new(truth.len(), 1, truth.iter().map(|&pixel| pixel == 1).collect()).unwrap();
        score(&map, &truth).unwrap()
    }

    #[test]
    fn dice_is_the_mean_over_all_cuts() {
        // Stretched: 1, 0.5, 0; levels 255, 127, 0; the truth is the first two. Cut 0: 2 of 3 pixels are right, Dice
        // 4/5; cuts 1 to 127: 1; cuts 128 to 255: Dice 2/3.
        let scores = case(&[0.75, 0.5, 0.25], &[1, 1, 0]);
        let expected = (0.8 + 127.0 + 128.0 * 2.0 / 3.0) / 256.0;
        assert!((scores.get(Measure::Dice).unwrap() - expected).abs() < 1e-12);
        // IoU 2/3, 1 and 1/2.
        let expected = (2.0 / 3.0 + 127.0 + 64.0) / 256.0;
        assert!((scores.get(Measure::Iou).unwrap() - expected).abs() < 1e-12);
        // The error is that of the stretched map: 0 + 0.5 + 0.
        assert_eq!(scores.get(Measure::Mae), Some(0.5 / 3.0));
    }

    #[test]
    fn two_empty_masks_score_zero() {
        let scores = case(&[0.0, 0.0, 0.0], &[0, 0, 0]);
        for measure in [Measure::Dice, Measure::Iou, Measure::FBeta, Measure::WeightedF] {
            assert_eq!(scores.get(measure), Some(0.0), "{measure}");
        }
        // Nothing predicted but at cut 0, where everything is: 255 cuts of 3 / 2.
        let e = scores.get(Measure::EMeasure).unwrap();
        assert!((e - 255.0 / 256.0 * 1.5).abs() < 1e-12, "{e}");
        assert_eq!(
            (scores.get(Measure::SMeasure), scores.get(Measure::Mae)),
            (Some(1.0), Some(0.0))
        );
        // The adaptive cut of an empty map is 0 and takes everything.
        assert_eq!(scores.get(Measure::EMeasureAdaptive), Some(0.0));
    }

    #[test]
    fn a_missed_object_is_found_by_the_lowest_cut_only() {
        let scores = case(&[0.0, 0.0, 0.0, 0.0], &[1, 0, 0, 0]);
        // Cut 0 takes everything: Dice 2/5.
        assert_eq!(scores.get(Measure::Dice), Some(0.4 / 256.0));
        assert_eq!(scores.get(Measure::Recall), Some(1.0 / 256.0));
    }

    #[test]
    fn a_constant_map_is_not_stretched() {
        let scores = case(&[0.5, 0.5], &[1, 0]);
        // Level 127: cuts 0 to 127 take both pixels.
        assert_eq!(scores.get(Measure::Precision), Some(128.0 * 0.5 / 256.0));
        assert_eq!(scores.get(Measure::Mae), Some(0.5));
    }

    #[test]
    fn the_levels_are_those_of_the_stretched_map() {
        let scores = case(&[0.25, 0.75], &[0, 1]);
        let levels = scores.levels().unwrap();
        assert_eq!((levels.background[0], levels.foreground[255]), (1, 1));
    }
}
