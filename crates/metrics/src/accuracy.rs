//! Pixel accuracy.

use crate::MaskCounts;

/// Share of all pixels that are right, in `[0, 1]`.
///
/// `A = (TP + TN) / (TP + FP + FN + TN)`. It says little where the object is small: predicting nothing is then
/// almost always right.
///
/// # Edge cases
///
/// Defined for every pair of masks, since a mask has pixels. `None` for counts of no pixel.
pub fn accuracy(counts: MaskCounts) -> Option<f64> {
    let right = counts.true_pos + counts.true_neg;
    let all = right + counts.false_pos + counts.false_neg;
    (all > 0).then(|| right as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_of_counts_computed_by_hand() {
        let counts = MaskCounts { true_pos: 3, false_pos: 1, false_neg: 2, true_neg: 10 };
        assert_eq!(accuracy(counts), Some(13.0 / 16.0));
    }

    #[test]
    fn two_empty_masks_are_right_everywhere() {
        let empty = MaskCounts { true_pos: 0, false_pos: 0, false_neg: 0, true_neg: 8 };
        assert_eq!(accuracy(empty), Some(1.0));
        assert_eq!(accuracy(MaskCounts { true_neg: 0, ..empty }), None);
    }
}
