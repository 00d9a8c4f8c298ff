//! Protocol `default`: what we recommend.
//!
//! - size: the ground truth's own; the caller resized the soft map to it
//! - cut: foreground is `p > 0.5`. Strictly greater, because SAM calls a pixel foreground where its
//!   logit is greater than 0, and the sigmoid of 0 is 0.5: an undecided pixel is background in
//!   both. A map that is 0.5 everywhere therefore predicts nothing instead of everything.
//! - both masks empty: no score but the error, so the case is skipped and counted
//! - exactly one mask empty: Dice, IoU and NSD are 0; there is no distance between outlines, so HD95 and ASSD
//!   are missing and their means are over fewer cases
//! - NSD within 2 pixels
//! - MAE on the soft map, before the cut
//! - curves: of the soft map as it is

use super::{CaseScores, Column};
use crate::surface_distance::share_within;
use crate::{
    LevelCounts, Mask, MaskCounts, Measure, MetricsError, NSD_TOLERANCE, SoftMap, SurfaceDistances,
    accuracy, dice, iou, mae, precision, recall, specificity,
};

/// Probability above which a pixel is foreground.
pub(super) const THRESHOLD: f64 = 0.5;

pub(super) const COLUMNS: &[Column] = &[
    Column::Mean(Measure::Dice),
    Column::Mean(Measure::Iou),
    Column::Mean(Measure::Hd95),
    Column::Mean(Measure::Nsd),
    Column::Mean(Measure::Mae),
];

pub(super) const MEASURES: &[Measure] = &[
    Measure::Dice,
    Measure::Iou,
    Measure::Mae,
    Measure::Precision,
    Measure::Recall,
    Measure::Specificity,
    Measure::Accuracy,
    Measure::Hd95,
    Measure::Assd,
    Measure::Nsd,
];

pub(super) fn score(prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
    let cut = prediction.above(THRESHOLD);
    let counts = MaskCounts::between(&cut, truth)?;
    let both_empty = cut.is_empty() && truth.is_empty();
    let distances = SurfaceDistances::between(&cut, truth)?;
    let distances = distances.as_ref();
    let unless_skipped = |score: Option<f64>| score.filter(|_| !both_empty);
    let scores = vec![
        (Measure::Dice, dice(counts)),
        (Measure::Iou, iou(counts)),
        (Measure::Mae, Some(mae(prediction, truth)?)),
        (Measure::Precision, precision(counts)),
        (Measure::Recall, recall(counts)),
        (Measure::Specificity, unless_skipped(specificity(counts))),
        (Measure::Accuracy, unless_skipped(accuracy(counts))),
        (Measure::Hd95, distances.map(SurfaceDistances::hd95)),
        (Measure::Assd, distances.map(SurfaceDistances::average)),
        (Measure::Nsd, share_within(distances, both_empty, NSD_TOLERANCE)),
    ];
    Ok(CaseScores::new(scores).with_levels(LevelCounts::of(prediction, truth)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Protocol;

    fn map(probabilities: &[f64]) -> SoftMap {
        SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap()
    }

    fn truth(pixels: &[u8]) -> Mask {
        Mask::new(pixels.len(), 1, pixels.iter().map(|&pixel| pixel == 1).collect()).unwrap()
    }

    #[test]
    fn a_case_scored_by_hand() {
        // Cut: [1, 1, 0, 0]. TP 1, FP 1, FN 1. |errors| 0 + 0.75 + 0.5 + 0.25 = 1.5 over four.
        let scores = score(&map(&[1.0, 0.75, 0.5, 0.25]), &truth(&[1, 0, 1, 0])).unwrap();
        let found = |measure| scores.get(measure);
        assert_eq!((found(Measure::Dice), found(Measure::Iou)), (Some(0.5), Some(1.0 / 3.0)));
        assert_eq!(found(Measure::Mae), Some(0.375));
        assert_eq!((found(Measure::Precision), found(Measure::Recall)), (Some(0.5), Some(0.5)));
        assert_eq!((found(Measure::Specificity), found(Measure::Accuracy)), (Some(0.5), Some(0.5)));
        // Outlines 0, 1 and 0, 2: distances 0, 1 and 0, 1; position 0.95 * 3 = 2.85 lies between two ones.
        assert_eq!((found(Measure::Hd95), found(Measure::Assd)), (Some(1.0), Some(0.5)));
        assert_eq!((found(Measure::Nsd), found(Measure::SMeasure)), (Some(1.0), None));
    }

    #[test]
    fn an_undecided_pixel_is_background() {
        let just_above = 0.5 + f64::EPSILON;
        let scores = score(&map(&[0.5, just_above]), &truth(&[1, 1])).unwrap();
        assert_eq!(scores.get(Measure::Iou), Some(0.5));
    }

    #[test]
    fn two_empty_masks_have_an_error_and_no_overlap() {
        let scores = score(&map(&[0.25, 0.25]), &truth(&[0, 0])).unwrap();
        let defined: Vec<_> = scores.iter().filter(|(_, score)| score.is_some()).collect();
        assert_eq!(defined, [(Measure::Mae, Some(0.25))]);
    }

    #[test]
    fn one_empty_mask_scores_zero_and_has_no_distance() {
        for (map, truth) in [(map(&[0.0, 0.0]), truth(&[0, 1])), (map(&[0.0, 1.0]), truth(&[0, 0]))]
        {
            let scores = score(&map, &truth).unwrap();
            let [dice, iou, nsd] =
                [Measure::Dice, Measure::Iou, Measure::Nsd].map(|m| scores.get(m));
            assert_eq!((dice, iou, nsd), (Some(0.0), Some(0.0), Some(0.0)));
            assert_eq!((scores.get(Measure::Hd95), scores.get(Measure::Assd)), (None, None));
        }
    }

    #[test]
    fn a_map_of_another_size_is_refused() {
        let error = Protocol::Default.score(&map(&[0.0; 3]), &truth(&[0, 1])).unwrap_err();
        assert_eq!(error, MetricsError::Size { prediction: (3, 1), truth: (2, 1) });
    }

    proptest! {
        #[test]
        fn a_map_equal_to_its_truth_is_perfect(pixels in proptest::collection::vec(any::<bool>(), 1..200)) {
            let mask = Mask::new(pixels.len(), 1, pixels.clone()).unwrap();
            let scores = score(&SoftMap::of_mask(&mask), &mask).unwrap();
            let overlap = (!mask.is_empty()).then_some(1.0);
            let distance = overlap.map(|_| 0.0);
            for measure in [Measure::Dice, Measure::Iou, Measure::Precision, Measure::Nsd, Measure::Accuracy] {
                prop_assert_eq!(scores.get(measure), overlap);
            }
            prop_assert_eq!((scores.get(Measure::Hd95), scores.get(Measure::Assd)), (distance, distance));
            prop_assert_eq!(scores.get(Measure::Mae), Some(0.0));
        }

        #[test]
        fn turning_the_picture_changes_no_score(
            case in proptest::collection::vec((0.0..=1.0f64, any::<bool>()), 1..200)
        ) {
            let (probabilities, pixels): (Vec<_>, Vec<_>) = case.iter().copied().unzip();
            let (turned_map, turned): (Vec<_>, Vec<_>) = case.into_iter().rev().unzip();
            let mask = |pixels: Vec<bool>| Mask::new(pixels.len(), 1, pixels).unwrap();
            let upright = score(&map(&probabilities), &mask(pixels)).unwrap();
            let turned = score(&map(&turned_map), &mask(turned)).unwrap();
            for ((measure, upright), (_, turned)) in upright.iter().zip(turned.iter()) {
                // Sums run the other way round, so their last bits may differ.
                let same = match (upright, turned) {
                    (Some(upright), Some(turned)) => (upright - turned).abs() < 1e-12,
                    (upright, turned) => upright == turned,
                };
                prop_assert!(same, "{measure}: {upright:?} and {turned:?}");
            }
        }
    }
}
