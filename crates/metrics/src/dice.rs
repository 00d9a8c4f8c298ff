//! Dice similarity coefficient.

use crate::MaskCounts;

/// Dice similarity coefficient of one case, in `[0, 1]`.
///
/// `DSC = 2*TP / (2*TP + FP + FN)`, without smoothing (Dice, Ecology 26(3), 1945).
///
/// # Edge cases
///
/// - both masks empty (`TP + FP + FN = 0`): undefined, `None`; what it counts as is the protocol's word
/// - exactly one mask empty: 0
pub fn dice(counts: MaskCounts) -> Option<f64> {
    let MaskCounts { true_pos, false_pos, false_neg, .. } = counts;
    let denominator = 2 * true_pos + false_pos + false_neg;
    (denominator > 0).then(|| 2.0 * true_pos as f64 / denominator as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::iou;

    fn counts(true_pos: u64, false_pos: u64, false_neg: u64) -> MaskCounts {
        MaskCounts { true_pos, false_pos, false_neg, true_neg: 100 }
    }

    #[test]
    fn dice_of_counts_computed_by_hand() {
        assert_eq!(dice(counts(3, 1, 1)), Some(0.75));
        assert_eq!(dice(counts(1, 3, 2)), Some(2.0 / 7.0));
        assert_eq!(dice(counts(5, 0, 0)), Some(1.0));
    }

    #[test]
    fn one_empty_mask_scores_zero_and_two_score_nothing() {
        assert_eq!(dice(counts(0, 4, 0)), Some(0.0));
        assert_eq!(dice(counts(0, 0, 4)), Some(0.0));
        assert_eq!(dice(counts(0, 0, 0)), None);
    }

    proptest! {
        #[test]
        fn dice_is_bounded_and_symmetric(
            true_pos in 0..9999u64, false_pos in 0..9999u64, false_neg in 1..9999u64,
        ) {
            let score = dice(counts(true_pos, false_pos, false_neg)).expect("a mask has pixels");
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert_eq!(dice(counts(true_pos, false_neg, false_pos)), Some(score));
        }

        #[test]
        fn dice_and_iou_determine_each_other(
            true_pos in 0..9999u64, false_pos in 0..9999u64, false_neg in 1..9999u64,
        ) {
            let counts = counts(true_pos, false_pos, false_neg);
            let dice = dice(counts).expect("a mask has pixels");
            let iou = iou(counts).expect("a mask has pixels");
            prop_assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
        }
    }
}
