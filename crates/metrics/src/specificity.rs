//! Specificity.

use crate::MaskCounts;

/// Specificity of one case, in `[0, 1]`: how much of the background is left alone.
///
/// `S = TN / (TN + FP)` (Altman and Bland, Diagnostic tests 1, BMJ 308, 1994). Where the object is small it is close
/// to 1 for any prediction.
///
/// # Edge cases
///
/// - no background in the ground truth (`TN + FP = 0`): undefined, `None`; what it counts as is the
///   protocol's word
pub fn specificity(counts: MaskCounts) -> Option<f64> {
    let background = counts.true_neg + counts.false_pos;
    (background > 0).then(|| counts.true_neg as f64 / background as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall;

    #[test]
    fn specificity_of_counts_computed_by_hand() {
        let counts = MaskCounts { true_pos: 9, false_pos: 1, false_neg: 5, true_neg: 7 };
        assert_eq!(specificity(counts), Some(0.875));
    }

    #[test]
    fn it_is_the_recall_of_the_background() {
        let counts = MaskCounts { true_pos: 2, false_pos: 5, false_neg: 3, true_neg: 11 };
        let inverted = MaskCounts { true_pos: 11, false_pos: 3, false_neg: 5, true_neg: 2 };
        assert_eq!(specificity(counts), recall(inverted));
    }

    #[test]
    fn without_background_there_is_none() {
        let full = MaskCounts { true_pos: 3, false_pos: 0, false_neg: 1, true_neg: 0 };
        assert_eq!(specificity(full), None);
    }
}
