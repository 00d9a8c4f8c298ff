//! F-measure.

use crate::{MaskCounts, precision, recall};

/// `beta^2` of the F-measure in saliency detection: precision counts more than recall.
pub const BETA_SQUARED: f64 = 0.3;

/// F-measure of one case with [`BETA_SQUARED`], in `[0, 1]`.
///
/// `F = (1 + b) P R / (b P + R)` with `b = beta^2`, precision `P` and recall `R` (Achanta et al.,
/// Frequency-tuned Salient Region Detection, CVPR 2009). With `b = 1` it would be Dice.
///
/// # Edge cases
///
/// - both masks empty: undefined, `None`; what it counts as is the protocol's word
/// - no pixel right (`TP = 0`), one mask empty included: 0
pub fn f_beta(counts: MaskCounts) -> Option<f64> {
    if counts.true_pos + counts.false_pos + counts.false_neg == 0 {
        return None;
    }
    let (Some(precision), Some(recall)) = (precision(counts), recall(counts)) else {
        return Some(0.0);
    };
    if counts.true_pos == 0 {
        return Some(0.0);
    }
    Some((1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f_beta_of_counts_computed_by_hand() {
        // P = 3/4, R = 1/2: 1.3 * 3/8 / (0.225 + 0.5) = 0.4875 / 0.725.
        let counts = MaskCounts { true_pos: 3, false_pos: 1, false_neg: 3, true_neg: 9 };
        let found = f_beta(counts).expect("a mask has pixels");
        assert!((found - 0.4875 / 0.725).abs() < 1e-15, "{found}");
    }

    #[test]
    fn without_a_right_pixel_it_is_zero_and_without_any_foreground_undefined() {
        let nothing = MaskCounts { true_pos: 0, false_pos: 0, false_neg: 0, true_neg: 9 };
        assert_eq!(f_beta(nothing), None);
        assert_eq!(f_beta(MaskCounts { false_pos: 2, ..nothing }), Some(0.0));
        assert_eq!(f_beta(MaskCounts { false_neg: 2, ..nothing }), Some(0.0));
        assert_eq!(f_beta(MaskCounts { false_pos: 1, false_neg: 2, ..nothing }), Some(0.0));
    }

    proptest! {
        #[test]
        fn it_lies_between_precision_and_recall_and_nearer_to_precision(
            true_pos in 1..999u64, false_pos in 0..999u64, false_neg in 0..999u64,
        ) {
            let counts = MaskCounts { true_pos, false_pos, false_neg, true_neg: 0 };
            let f = f_beta(counts).expect("a mask has pixels");
            let (p, r) = (precision(counts).expect("found"), recall(counts).expect("there"));
            prop_assert!((p.min(r) - 1e-12..=p.max(r) + 1e-12).contains(&f));
            // The harmonic mean weights both alike.
            let harmonic = 2.0 * p * r / (p + r);
            prop_assert!((f - p).abs() <= (harmonic - p).abs() + 1e-12);
        }
    }
}
