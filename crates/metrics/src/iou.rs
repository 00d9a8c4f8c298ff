//! Intersection over union.

use crate::MaskCounts;

/// Intersection over union of one case, also called the Jaccard index, in `[0, 1]`.
///
/// `IoU = TP / (TP + FP + FN)`, without smoothing (Jaccard, New Phytologist 11(2), 1912).
///
/// # Edge cases
///
/// - both masks empty (`TP + FP + FN = 0`): undefined, `None`; what it counts as is the protocol's word
/// - exactly one mask empty: 0
pub fn iou(counts: MaskCounts) -> Option<f64> {
    let MaskCounts { true_pos, false_pos, false_neg, .. } = counts;
    let union = true_pos + false_pos + false_neg;
    (union > 0).then(|| true_pos as f64 / union as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(true_pos: u64, false_pos: u64, false_neg: u64) -> MaskCounts {
        MaskCounts { true_pos, false_pos, false_neg, true_neg: 100 }
    }

    #[test]
    fn iou_of_counts_computed_by_hand() {
        assert_eq!(iou(counts(3, 1, 1)), Some(0.6));
        assert_eq!(iou(counts(1, 3, 2)), Some(1.0 / 6.0));
        assert_eq!(iou(counts(5, 0, 0)), Some(1.0));
    }

    #[test]
    fn one_empty_mask_scores_zero_and_two_score_nothing() {
        assert_eq!(iou(counts(0, 4, 0)), Some(0.0));
        assert_eq!(iou(counts(0, 0, 4)), Some(0.0));
        assert_eq!(iou(counts(0, 0, 0)), None);
    }

    proptest! {
        #[test]
        fn one_more_wrong_pixel_never_helps(
            true_pos in 1..9999u64, false_pos in 0..9999u64, false_neg in 0..9999u64,
        ) {
            let score = iou(counts(true_pos, false_pos, false_neg));
            prop_assert!(iou(counts(true_pos, false_pos + 1, false_neg)) < score);
            prop_assert!(iou(counts(true_pos, false_pos, false_neg + 1)) < score);
        }
    }
}
