//! Structure measure.

use crate::lane_sum::{lane_sum, lane_sums};
use crate::pairwise_sum::{Rectangle, rectangle_sum};
use crate::{Mask, MetricsError, SoftMap};

/// Share of the object part in the measure; the rest is the region part.
const ALPHA: f64 = 0.5;

/// Structure measure (S-measure) of one case, in `[0, 1]`: half likeness of object and background, half likeness of
/// the four parts around the object's center.
///
/// - Object part: `u s(p on the object) + (1 - u) s(1 - p outside)` with the object's share `u` of the picture and
///   `s(x) = 2 m / (m^2 + 1 + sigma + eps)`, `m` the mean and `sigma` the deviation (with `n - 1`) of `x`.
/// - Region part: the picture is cut in four at the object's centroid, rounded (half to even) and one further, as
///   MATLAB's ranges include their end. Each part weighs as much as its area; its likeness is
///   `4 x y s_xy / ((x^2 + y^2) (s_x + s_y) + eps)` of means, variances and covariance, 1 if numerator and
///   denominator are both 0, and 0 if only the numerator is.
/// - A negative sum becomes 0.
///
/// Source: Fan, Cheng, Liu, Li and Borji, Structure-measure: A New Way to Evaluate Foreground Maps, ICCV 2017.
///
/// # Edge cases
///
/// - empty ground truth: `1 - mean(p)`
/// - full ground truth: `mean(p)`
/// - one pixel of object or background: its deviation is 0
/// - a part without pixels, because the centroid lies in the last row or column, weighs nothing. (The reference
///   implementation takes the mean of no number there and gives NaN.)
///
/// # Errors
///
/// [`MetricsError::Size`] if the two differ in size.
pub fn s_measure(prediction: &SoftMap, truth: &Mask) -> Result<f64, MetricsError> {
    prediction.check_same_size(truth)?;
    let (probabilities, pixels) = (prediction.probabilities(), truth.pixels());
    let (n, area) = (pixels.len(), truth.area());
    let sum = || lane_sum(probabilities, pixels, |p, _| p);
    if area == 0 {
        return Ok(1.0 - sum() / n as f64);
    }
    if area == n {
        return Ok(sum() / n as f64);
    }
    let share = area as f64 / n as f64;
    let [object, background] = likenesses(probabilities, pixels, [area, n - area]);
    let objects = share * object + (1.0 - share) * background;
    let score = ALPHA * objects + (1.0 - ALPHA) * regions(probabilities, truth);
    Ok(score.max(0.0))
}

/// `s(p)` on the object and `s(1 - p)` outside; both have pixels, in numbers `n`.
fn likenesses(probabilities: &[f64], pixels: &[bool], n: [usize; 2]) -> [f64; 2] {
    let sums = lane_sums(probabilities, pixels, |p, g| [g * p, (1.0 - g) * (1.0 - p)]);
    let means = [sums[0] / n[0] as f64, sums[1] / n[1] as f64];
    // Two passes: the deviation of a nearly constant region would drown in the rounding of one.
    let squares = lane_sums(probabilities, pixels, |p, g| {
        let (inside, outside) = (p - means[0], 1.0 - p - means[1]);
        [g * (inside * inside), (1.0 - g) * (outside * outside)]
    });
    std::array::from_fn(|part| {
        let deviation = match n[part] {
            1 => 0.0,
            n => (squares[part] / (n - 1) as f64).sqrt(),
        };
        2.0 * means[part] / (means[part] * means[part] + 1.0 + deviation + f64::EPSILON)
    })
}

/// The region part.
fn regions(probabilities: &[f64], truth: &Mask) -> f64 {
    let (width, height) = (truth.width(), truth.height());
    let (x, y) = centroid(truth);
    let (left, top) = (x + 1, y + 1);
    let area = (width * height) as f64;
    let parts = [
        Rectangle { left: 0, top: 0, width: left, height: top },
        Rectangle { left, top: 0, width: width - left, height: top },
        Rectangle { left: 0, top, width: left, height: height - top },
        Rectangle { left, top, width: width - left, height: height - top },
    ];
    parts
        .iter()
        .filter(|part| part.width * part.height > 0)
        .map(|part| {
            let weight = (part.width * part.height) as f64 / area;
            weight * structural_similarity(probabilities, truth, part)
        })
        .sum()
}

/// Column and row of the object's centroid, each rounded half to even.
fn centroid(truth: &Mask) -> (usize, usize) {
    let width = truth.width();
    let (mut n, mut columns, mut rows) = (0_u64, 0_u64, 0_u64);
    for (y, row) in truth.pixels().chunks_exact(width).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, on)| **on) {
            n += 1;
            columns += x as u64;
            rows += y as u64;
        }
    }
    let mean = |sum: u64| (sum as f64 / n as f64).round_ties_even() as usize;
    (mean(columns), mean(rows))
}

/// Likeness of a part in mean, contrast and structure.
fn structural_similarity(probabilities: &[f64], truth: &Mask, part: &Rectangle) -> f64 {
    let stride = truth.width();
    let n = (part.width * part.height) as f64;
    let rows = || (part.top..part.top + part.height).map(|y| y * stride + part.left);
    // In the reference's order of adding: whether a constant part equals its own mean decides between 1 and 0 below.
    let x = rectangle_sum(probabilities, stride, part) / n;
    let actual: usize =
        rows().map(|at| truth.pixels()[at..][..part.width].iter().filter(|&&on| on).count()).sum();
    let y = actual as f64 / n;
    let (mut xx, mut xy) = (0.0, 0.0);
    for at in rows() {
        let (row, on) = (&probabilities[at..][..part.width], &truth.pixels()[at..][..part.width]);
        let [row_xx, row_xy] = lane_sums(row, on, |p, g| [(p - x) * (p - x), (p - x) * (g - y)]);
        xx += row_xx;
        xy += row_xy;
    }
    let yy = actual as f64 * (1.0 - y) * (1.0 - y) + (n - actual as f64) * y * y;
    let degrees = n - 1.0 + f64::EPSILON;
    let (xx, yy, xy) = (xx / degrees, yy / degrees, xy / degrees);
    let alpha = 4.0 * x * y * xy;
    let beta = (x * x + y * y) * (xx + yy);
    if alpha != 0.0 {
        alpha / (beta + f64::EPSILON)
    } else if beta == 0.0 {
        1.0
    } else {
        0.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn case(width: usize, truth: &[u8], map: &[f64]) -> f64 {
        let height = truth.len() / width;
        let truth = Mask::new(width, height, truth.iter().map(|&on| on == 1).collect()).unwrap();
        s_measure(&SoftMap::new(width, height, map.to_vec()).unwrap(), &truth).unwrap()
    }

    #[test]
    fn an_empty_truth_and_a_full_one_ask_for_the_mean_only() {
        assert_eq!(case(2, &[0, 0], &[0.25, 0.5]), 0.625);
        assert_eq!(case(2, &[1, 1], &[0.25, 0.5]), 0.375);
    }

    #[test]
    fn six_pixels_by_hand() {
        // Truth 1 0 0 / 0 0 0, map 1 .5 0 / 0 0 0. Centroid (0, 0), so the parts are of 1 x 1, 2 x 1, 1 x 1 and 2 x 1.
        // Object: one pixel of 1: s = 2 / 2 = 1. Background, 1 - p: .5 1 1 1 1, mean .9, squares .16 + 4 * .01 = .2,
        // deviation sqrt(.05): s = 1.8 / (.81 + 1 + sqrt(.05)).
        let object = 1.0 / 6.0 + 5.0 / 6.0 * 1.8 / (1.81 + 0.05_f64.sqrt());
        // Regions: the first is constant and equal in both: 1. The second has x = .25, y = 0: alpha 0, beta
        // .0625 * .125: 0. The lower two are 0 in both: 1.
        let region = 1.0 / 6.0 + 3.0 / 6.0;
        let found = case(3, &[1, 0, 0, 0, 0, 0], &[1.0, 0.5, 0.0, 0.0, 0.0, 0.0]);
        assert!((found - (object + region) / 2.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn a_part_without_pixels_weighs_nothing() {
        // Centroid (1, 1): one part has all the picture. Object 1, background 1 - p = 1: both likenesses 1.
        // Region: x = y = 1/4, s_x = s_y = s_xy: 4 x^2 s / (2 x^2 * 2 s) = 1.
        let found = case(2, &[0, 0, 0, 1], &[0.0, 0.0, 0.0, 1.0]);
        assert!((found - 1.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn a_map_against_the_grain_is_no_worse_than_zero() {
        // The complement: no likeness of object or background, negative covariance in the one part.
        assert_eq!(case(2, &[0, 0, 0, 1], &[1.0, 1.0, 1.0, 0.0]), 0.0);
    }

    #[test]
    fn the_centroid_is_rounded_half_to_even() {
        let mask = |pixels: &[u8]| {
            Mask::new(pixels.len(), 1, pixels.iter().map(|&on| on == 1).collect()).unwrap()
        };
        assert_eq!(centroid(&mask(&[1, 1, 0, 0])), (0, 0));
        assert_eq!(centroid(&mask(&[0, 1, 1, 0])), (2, 0));
    }

    proptest! {
        #[test]
        fn it_is_a_number_from_zero_to_one(
            pixels in proptest::collection::vec((0..=8_u8, any::<bool>()), 1..120), width in 1..12usize,
        ) {
            prop_assume!(pixels.len() >= width);
            let pixels = &pixels[..pixels.len() / width * width];
            let map: Vec<f64> = pixels.iter().map(|(level, _)| f64::from(*level) / 8.0).collect();
            let truth: Vec<u8> = pixels.iter().map(|(_, on)| u8::from(*on)).collect();
            let score = case(width, &truth, &map);
            prop_assert!((0.0..=1.0 + 1e-9).contains(&score), "{score}");
            let perfect: Vec<f64> = truth.iter().map(|&on| f64::from(on)).collect();
            prop_assert!((case(width, &truth, &perfect) - 1.0).abs() < 1e-6);
        }
    }
}
