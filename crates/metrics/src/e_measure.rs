//! Enhanced-alignment measure.

use crate::MaskCounts;

/// Enhanced-alignment measure (E-measure) of one binary mask, 0 to `w h / (w h - 1)`: a perfect mask scores a
/// little more than 1, since the published formula divides by one pixel less than there are.
///
/// Both masks are centered (`a = mask - mean`); the alignment of a pixel is
/// `A = 2 a_p a_t / (a_p^2 + a_t^2 + eps)`, and `E = sum (A + 1)^2 / 4 / (w h - 1 + eps)` (Fan et al.,
/// Enhanced-alignment Measure for Binary Foreground Map Evaluation, IJCAI 2018). A pixel's alignment depends
/// on nothing but which of the four kinds of pixel it is, so the counts suffice.
///
/// # Edge cases
///
/// - empty ground truth: the predicted background over `w h - 1 + eps`
/// - full ground truth: the predicted foreground over `w h - 1 + eps`
/// - a picture of one pixel divides by `eps`: 0 or 4.5e15, as in the reference implementation
pub fn e_measure(counts: MaskCounts) -> f64 {
    let MaskCounts { true_pos, false_pos, false_neg, true_neg } = counts;
    let n = (true_pos + false_pos + false_neg + true_neg) as f64;
    let predicted = true_pos + false_pos;
    let actual = true_pos + false_neg;
    let sum = if actual == 0 {
        (false_neg + true_neg) as f64
    } else if false_pos + true_neg == 0 {
        predicted as f64
    } else {
        let (mean_predicted, mean_actual) = (predicted as f64 / n, actual as f64 / n);
        let part = |pixels: u64, is_predicted: f64, is_actual: f64| {
            let (a, b) = (is_predicted - mean_predicted, is_actual - mean_actual);
            let alignment = 2.0 * (a * b) / (a * a + b * b + f64::EPSILON);
            let enhanced = alignment + 1.0;
            enhanced * enhanced / 4.0 * pixels as f64
        };
        part(true_pos, 1.0, 1.0)
            + part(false_pos, 1.0, 0.0)
            + part(false_neg, 0.0, 1.0)
            + part(true_neg, 0.0, 0.0)
    };
    sum / (n - 1.0 + f64::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(true_pos: u64, false_pos: u64, false_neg: u64, true_neg: u64) -> MaskCounts {
        MaskCounts { true_pos, false_pos, false_neg, true_neg }
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    #[test]
    fn four_pixels_by_hand() {
        // Two of four pixels predicted, one of them right, one true: means 1/2 and 1/4.
        // TP: a = 1/2, b = 3/4: A = 0.75 / 0.8125 = 12/13, (25/13)^2 / 4 = 625/676
        // FP: a = 1/2, b = -1/4: A = -0.25 / 0.3125 = -4/5, (1/5)^2 / 4 = 1/100
        // TN: a = -1/2, b = -1/4: A = 4/5, (9/5)^2 / 4 = 81/100, twice
        assert_near(e_measure(counts(1, 1, 0, 2)), (625.0 / 676.0 + 0.01 + 1.62) / 3.0);
    }

    #[test]
    fn a_perfect_mask_scores_all_pixels_over_one_less() {
        assert_near(e_measure(counts(3, 0, 0, 7)), 10.0 / 9.0);
    }

    #[test]
    fn the_complement_of_the_truth_scores_zero() {
        // a = -b everywhere.
        assert_near(e_measure(counts(0, 7, 3, 0)), 0.0);
    }

    #[test]
    fn an_empty_truth_counts_the_predicted_background() {
        assert_near(e_measure(counts(0, 2, 0, 8)), 8.0 / 9.0);
        assert_near(e_measure(counts(0, 0, 0, 10)), 10.0 / 9.0);
    }

    #[test]
    fn a_full_truth_counts_the_predicted_foreground() {
        assert_near(e_measure(counts(4, 0, 6, 0)), 4.0 / 9.0);
    }

    #[test]
    fn a_constant_prediction_of_a_mixed_truth_scores_a_quarter() {
        // Either a = 0 everywhere, so A = 0: n / 4 / (n - 1).
        assert_near(e_measure(counts(3, 7, 0, 0)), 2.5 / 9.0);
        assert_near(e_measure(counts(0, 0, 3, 7)), 2.5 / 9.0);
    }
}
