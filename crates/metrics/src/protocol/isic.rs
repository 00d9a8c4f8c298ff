//! Protocol `isic`: the segmentation task of the ISIC challenge, skin lesions.
//!
//! - size: the ground truth's own; the caller resized the soft map to it
//! - cut: foreground is `p > 0.5`, as in [`default`](super::default)
//! - both masks empty: Jaccard, Dice and sensitivity are 1
//! - no background in the truth: specificity is 1
//! - threshold Jaccard: the Jaccard index if it is at least 0.65, else 0; it ranked the challenge
//! - MAE on the soft map, before the cut
//!
//! Source: Codella et al., Skin Lesion Analysis Toward Melanoma Detection 2018, arXiv 1902.03368, and the challenge's
//! scoring program, `isic-challenge-scoring`. That program cuts 8-bit masks at 128; masks of 0 and 255, which
//! the challenge demands, are cut alike.

use super::{CaseScores, Column, default::THRESHOLD};
use crate::{
    LevelCounts, Mask, MaskCounts, Measure, MetricsError, SoftMap, accuracy, dice, iou, mae,
    recall, specificity, threshold_jaccard,
};

pub(super) const COLUMNS: &[Column] = &[
    Column::Mean(Measure::Iou),
    Column::Mean(Measure::ThresholdJaccard),
    Column::Mean(Measure::Dice),
    Column::Mean(Measure::Recall),
    Column::Mean(Measure::Specificity),
    Column::Mean(Measure::Accuracy),
];

pub(super) const MEASURES: &[Measure] = &[
    Measure::Dice,
    Measure::Iou,
    Measure::Mae,
    Measure::Recall,
    Measure::Specificity,
    Measure::Accuracy,
    Measure::ThresholdJaccard,
];

pub(super) fn score(prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
    let counts = MaskCounts::between(&prediction.above(THRESHOLD), truth)?;
    let jaccard = iou(counts).unwrap_or(1.0);
    let scores = vec![
        (Measure::Dice, Some(dice(counts).unwrap_or(1.0))),
        (Measure::Iou, Some(jaccard)),
        (Measure::Mae, Some(mae(prediction, truth)?)),
        (Measure::Recall, Some(recall(counts).unwrap_or(1.0))),
        (Measure::Specificity, Some(specificity(counts).unwrap_or(1.0))),
        (Measure::Accuracy, accuracy(counts)),
        (Measure::ThresholdJaccard, Some(threshold_jaccard(jaccard))),
    ];
    Ok(CaseScores::new(scores).with_levels(LevelCounts::of(prediction, truth)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn case(probabilities: &[f64], truth: &[u8]) -> impl Fn(Measure) -> Option<f64> + use<> {
        let map = SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap();
        let truth =
            Mask::new(truth.len(), 1, truth.iter().map(|&pixel| pixel == 1).collect()).unwrap();
        let scores = score(&map, &truth).unwrap();
        move |measure| scores.get(measure)
    }

    #[test]
    fn a_case_scored_by_hand() {
        // Cut: 1 1 1 0 0. TP 2, FP 1, FN 0, TN 2.
        let found = case(&[1.0, 0.75, 0.625, 0.5, 0.0], &[1, 1, 0, 0, 0]);
        assert_eq!((found(Measure::Iou), found(Measure::Dice)), (Some(2.0 / 3.0), Some(0.8)));
        assert_eq!(found(Measure::ThresholdJaccard), Some(2.0 / 3.0));
        assert_eq!(
            (found(Measure::Recall), found(Measure::Specificity)),
            (Some(1.0), Some(2.0 / 3.0))
        );
        assert_eq!((found(Measure::Accuracy), found(Measure::Precision)), (Some(0.8), None));
    }

    #[test]
    fn a_mask_below_the_threshold_counts_as_failed() {
        let found = case(&[1.0, 1.0, 0.0], &[1, 0, 0]);
        assert_eq!((found(Measure::Iou), found(Measure::ThresholdJaccard)), (Some(0.5), Some(0.0)));
    }

    #[test]
    fn two_empty_masks_are_perfect() {
        let found = case(&[0.25, 0.0], &[0, 0]);
        for measure in [Measure::Dice, Measure::Iou, Measure::ThresholdJaccard, Measure::Recall] {
            assert_eq!(found(measure), Some(1.0), "{measure}");
        }
        assert_eq!((found(Measure::Specificity), found(Measure::Accuracy)), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn one_empty_mask_scores_zero() {
        let invented = case(&[1.0, 0.0], &[0, 0]);
        assert_eq!((invented(Measure::Dice), invented(Measure::Iou)), (Some(0.0), Some(0.0)));
        assert_eq!(invented(Measure::Recall), Some(1.0), "nothing was there to be found");
        let missed = case(&[0.0, 0.0], &[1, 0]);
        assert_eq!((missed(Measure::Dice), missed(Measure::Recall)), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_full_truth_has_no_background_to_spare() {
        let found = case(&[1.0, 0.0], &[1, 1]);
        assert_eq!((found(Measure::Specificity), found(Measure::Recall)), (Some(1.0), Some(0.5)));
    }
}
