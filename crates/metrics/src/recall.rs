//! Recall, which medicine calls sensitivity.

use crate::MaskCounts;

/// Recall of one case, the sensitivity, in `[0, 1]`: how much of what is there is found.
///
/// `R = TP / (TP + FN)` (van Rijsbergen, Information Retrieval, 1979, chapter 7).
///
/// # Edge cases
///
/// - empty ground truth (`TP + FN = 0`): undefined, `None`; what it counts as is the protocol's word
/// - nothing found: 0
pub fn recall(counts: MaskCounts) -> Option<f64> {
    let actual = counts.true_pos + counts.false_neg;
    (actual > 0).then(|| counts.true_pos as f64 / actual as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision;

    #[test]
    fn recall_of_counts_computed_by_hand() {
        let counts = MaskCounts { true_pos: 3, false_pos: 9, false_neg: 1, true_neg: 7 };
        assert_eq!(recall(counts), Some(0.75));
    }

    #[test]
    fn exchanging_prediction_and_truth_makes_it_precision() {
        let counts = MaskCounts { true_pos: 2, false_pos: 5, false_neg: 3, true_neg: 11 };
        let exchanged = MaskCounts { false_pos: 3, false_neg: 5, ..counts };
        assert_eq!(recall(counts), precision(exchanged));
        assert_eq!(recall(counts), Some(0.4));
    }

    #[test]
    fn an_empty_truth_has_none_and_a_missed_one_has_zero() {
        let empty = MaskCounts { true_pos: 0, false_pos: 4, false_neg: 0, true_neg: 4 };
        assert_eq!(recall(empty), None);
        assert_eq!(recall(MaskCounts { false_neg: 2, ..empty }), Some(0.0));
    }
}
