//! Precision.

use crate::MaskCounts;

/// Precision of one case, the positive predictive value, in `[0, 1]`: how much of what is predicted is right.
///
/// `P = TP / (TP + FP)` (van Rijsbergen, Information Retrieval, 1979, chapter 7).
///
/// # Edge cases
///
/// - nothing predicted (`TP + FP = 0`): undefined, `None`; what it counts as is the protocol's word
/// - something predicted, nothing of it right: 0
pub fn precision(counts: MaskCounts) -> Option<f64> {
    let predicted = counts.true_pos + counts.false_pos;
    (predicted > 0).then(|| counts.true_pos as f64 / predicted as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_of_counts_computed_by_hand() {
        let counts = MaskCounts { true_pos: 3, false_pos: 1, false_neg: 9, true_neg: 7 };
        assert_eq!(precision(counts), Some(0.75));
    }

    #[test]
    fn what_was_missed_and_the_background_change_nothing() {
        let counts = MaskCounts { true_pos: 1, false_pos: 3, false_neg: 0, true_neg: 0 };
        let more = MaskCounts { false_neg: 50, true_neg: 50, ..counts };
        assert_eq!(precision(counts), Some(0.25));
        assert_eq!(precision(more), precision(counts));
    }

    #[test]
    fn an_empty_prediction_has_none_and_a_wrong_one_has_zero() {
        let empty = MaskCounts { true_pos: 0, false_pos: 0, false_neg: 4, true_neg: 4 };
        assert_eq!(precision(empty), None);
        assert_eq!(precision(MaskCounts { false_pos: 2, ..empty }), Some(0.0));
    }
}
