//! Weighted F-measure.

use crate::distance::nearest_foreground;
use crate::{Mask, MetricsError, SoftMap};

/// Side of the window in which an error may be made up for by its neighbors, in pixels.
const WINDOW: usize = 7;
/// Standard deviation of the Gaussian in that window, in pixels.
const SIGMA: f64 = 5.0;
/// Pixels over which the extra weight of a false alarm halves on its way from 0, at the outline, to 1.
const HALF_DISTANCE: f64 = 5.0;

/// Weighted F-measure of one case with `beta^2 = 1`, in `[0, 1]`.
///
/// With the error `E = |p - g|`:
///
/// 1. Errors outside the object take the value at the nearest object pixel, the result is smoothed by a Gaussian
///    (7 x 7, sigma 5, zero outside the picture), and on the object the smaller of `E` and the smoothed error counts:
///    an error whose surroundings are right weighs less.
/// 2. Outside, an error weighs `2 - exp(ln(0.5) / 5 * d)` at distance `d` from the object: 1 at its outline, 2 far away.
/// 3. `TP = |g| - sum E_w` on the object and `FP = sum E_w` outside give the precision `P = TP / (TP + FP + eps)`,
///    the mean weighted error of the object the recall `R = 1 - mean E_w`, and `F = 2 R P / (R + P + eps)`.
///
/// Source: Margolin, Zelnik-Manor and Tal, How to Evaluate Foreground Maps?, CVPR 2014.
///
/// # Edge cases
///
/// - empty ground truth: 0
/// - full ground truth: step 2 has nothing to weigh, so `P` is 1 unless `R` is 0
/// - rounding could leave `TP` and `R` a hair below 0; they are then 0
///
/// # Errors
///
/// [`MetricsError::Size`] if the two differ in size.
pub fn weighted_f(prediction: &SoftMap, truth: &Mask) -> Result<f64, MetricsError> {
    prediction.check_same_size(truth)?;
    if truth.is_empty() {
        return Ok(0.0);
    }
    // Copied to the pixels outside, and the weighted sum over them.
    let mut error: Vec<f64> = prediction
        .probabilities()
        .iter()
        .zip(truth.pixels())
        .map(|(&probability, &actual)| if actual { 1.0 - probability } else { probability })
        .collect();
    let decay = Decay::new((truth.width() as f64).hypot(truth.height() as f64));
    let mut false_pos = 0.0;
    nearest_foreground(truth, |row| {
        for (x, (&place, &squared)) in row.places.iter().zip(row.squared).enumerate() {
            if squared > 0.0 {
                let at = row.y * truth.width() + x;
                if error[at] > 0.0 {
                    false_pos += error[at] * (2.0 - decay.at(squared.sqrt()));
                }
                // That of a pixel of the object, which is never overwritten.
                error[at] = error[place];
            }
        }
    });
    let smoothed = Smoothed::new(&error, truth);
    let weighted = smoothed.smaller_sum(&error, truth);
    let area = truth.area() as f64;
    let true_pos = (area - weighted).max(0.0);
    let recall = (1.0 - weighted / area).max(0.0);
    let precision = true_pos / (true_pos + false_pos + f64::EPSILON);
    Ok(2.0 * recall * precision / (recall + precision + f64::EPSILON))
}

/// `exp(ln(0.5) / 5 * d)`, which almost every pixel of a picture asks for: from a table of steps of 1/16 pixel, and a
/// polynomial between them.
struct Decay {
    /// The value at each step.
    steps: Vec<f64>,
}

impl Decay {
    /// Steps in a pixel.
    const STEPS: f64 = 16.0;
    /// `ln(0.5)` over the half distance.
    const RATE: f64 = -std::f64::consts::LN_2 / HALF_DISTANCE;

    /// For distances up to `longest`.
    fn new(longest: f64) -> Self {
        let n = (longest * Self::STEPS) as usize + 1;
        Self { steps: (0..n).map(|i| libm::exp(Self::RATE / Self::STEPS * i as f64)).collect() }
    }

    /// The value at a distance.
    fn at(&self, distance: f64) -> f64 {
        let step = (distance * Self::STEPS) as usize;
        // Between -0.0087 and 0, where six terms of the exponential series leave out less than 1e-15.
        let x = Self::RATE * (distance - step as f64 / Self::STEPS);
        let [second, third, fourth, fifth] = [1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0];
        let series = 1.0 + x * (1.0 + x * (second + x * (third + x * (fourth + x * fifth))));
        self.steps[step] * series
    }
}

/// Values smoothed by the Gaussian, on the bounding box of an object.
struct Smoothed {
    /// Row by row.
    values: Vec<f64>,
    bounds: Bounds,
    /// Pixels in a row of the picture.
    width: usize,
}

/// A bounding box; both ends belong to it.
struct Bounds {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

impl Bounds {
    /// The box of the foreground, of which there is some.
    fn of(mask: &Mask) -> Self {
        let (width, height) = (mask.width(), mask.height());
        let mut bounds = Self { left: width - 1, right: 0, top: height - 1, bottom: 0 };
        for (y, row) in mask.pixels().chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|&on| on) else { continue };
            let last = row.iter().rposition(|&on| on).unwrap_or(first);
            bounds.left = bounds.left.min(first);
            bounds.right = bounds.right.max(last);
            bounds.top = bounds.top.min(y);
            bounds.bottom = y;
        }
        bounds
    }

    fn width(&self) -> usize {
        self.right + 1 - self.left
    }
}

impl Smoothed {
    /// Smooths on the box of `object`: first the rows, then the columns, since the Gaussian is a product of two.
    fn new(values: &[f64], object: &Mask) -> Self {
        let (width, height) = (object.width(), object.height());
        let bounds = Bounds::of(object);
        let kernel = gaussian();
        let reach = WINDOW / 2;

        // Rows of the box and those within reach of it.
        let (first, last) =
            (bounds.top.saturating_sub(reach), (bounds.bottom + reach).min(height - 1));
        let columns = bounds.width();
        let mut rows = vec![0.0; (last + 1 - first) * columns];
        // One row with zeros on either side, so that the window never leaves it.
        let mut padded = vec![0.0; width + 2 * reach];
        for (y, out) in (first..=last).zip(rows.chunks_exact_mut(columns)) {
            padded[reach..reach + width].copy_from_slice(&values[y * width..][..width]);
            for (window, out) in padded[bounds.left..].windows(WINDOW).zip(out) {
                *out = kernel.iter().zip(window).map(|(weight, value)| weight * value).sum();
            }
        }

        let mut smoothed = vec![0.0; (bounds.bottom + 1 - bounds.top) * columns];
        for (y, out) in (bounds.top..=bounds.bottom).zip(smoothed.chunks_exact_mut(columns)) {
            for (weight, from) in kernel.iter().zip(y as isize - reach as isize..) {
                // Rows outside the picture are zero.
                if from < 0 || from >= height as isize {
                    continue;
                }
                let row = &rows[(from as usize - first) * columns..][..columns];
                for (out, value) in out.iter_mut().zip(row) {
                    *out += weight * value;
                }
            }
        }
        Self { values: smoothed, bounds, width }
    }

    /// The sum over the object of what is smaller, `values` or smoothed ones.
    fn smaller_sum(&self, values: &[f64], object: &Mask) -> f64 {
        let Bounds { left, top, .. } = self.bounds;
        let columns = self.bounds.width();
        self.values
            .chunks_exact(columns)
            .zip(top..)
            .map(|(smoothed, y)| {
                let at = y * self.width + left;
                let row = values[at..][..columns].iter().zip(&object.pixels()[at..]);
                let smaller = |((&value, &on), &smoothed): ((&f64, &bool), &f64)| {
                    if on { value.min(smoothed) } else { 0.0 }
                };
                row.zip(smoothed).map(smaller).sum::<f64>()
            })
            .sum()
    }
}

/// One row of the Gaussian; its weights add up to 1.
fn gaussian() -> [f64; WINDOW] {
    let center = (WINDOW / 2) as f64;
    let mut offset = -center;
    let weights = [(); WINDOW].map(|()| {
        let weight = libm::exp(-offset * offset / (2.0 * SIGMA * SIGMA));
        offset += 1.0;
        weight
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn case(width: usize, truth: &[u8], map: &[f64]) -> f64 {
        let height = truth.len() / width;
        let truth = Mask::new(width, height, truth.iter().map(|&on| on == 1).collect()).unwrap();
        weighted_f(&SoftMap::new(width, height, map.to_vec()).unwrap(), &truth).unwrap()
    }

    #[test]
    fn a_false_alarm_weighs_more_the_farther_away_it_is() {
        // The object is right. A false alarm of 1 at distance d = 1 weighs 2 - 0.5^(1/5), and with TP = 1, R = 1:
        // P = 1 / (1 + weight), F = 2 P / (1 + P) = 2 / (2 + weight).
        let weight = |d: f64| 2.0 - 0.5_f64.powf(d / 5.0);
        let near = case(4, &[1, 0, 0, 0], &[1.0, 1.0, 0.0, 0.0]);
        let far = case(4, &[1, 0, 0, 0], &[1.0, 0.0, 0.0, 1.0]);
        assert!((near - 2.0 / (2.0 + weight(1.0))).abs() < 1e-12, "{near}");
        assert!((far - 2.0 / (2.0 + weight(3.0))).abs() < 1e-12, "{far}");
    }

    #[test]
    fn a_missed_pixel_weighs_less_where_its_neighbors_are_right() {
        // One object pixel in a picture of one row, half found: E = 0.5 there, and everywhere outside after copying.
        // Smoothing takes the center row of the kernel: the sum over the three columns that the picture has.
        let k = |x: f64| (-x * x / 50.0).exp();
        let all: f64 = (-3..=3).map(|x| k(f64::from(x))).sum();
        let smoothed = 0.5 * (k(-1.0) + k(0.0) + k(1.0)) / all / all;
        let (tp, recall) = (1.0 - smoothed, 1.0 - smoothed);
        let precision = tp / tp;
        let expected = 2.0 * recall * precision / (recall + precision);
        let found = case(3, &[0, 1, 0], &[0.0, 0.5, 0.0]);
        assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
    }

    #[test]
    fn an_empty_truth_scores_zero_whatever_is_predicted() {
        assert_eq!(case(2, &[0, 0], &[0.0, 0.0]), 0.0);
        assert_eq!(case(2, &[0, 0], &[1.0, 0.5]), 0.0);
    }

    #[test]
    fn a_perfect_map_scores_one_and_its_complement_zero() {
        assert!((case(2, &[1, 0, 0, 1], &[1.0, 0.0, 0.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((case(2, &[1; 4], &[1.0; 4]) - 1.0).abs() < 1e-12);
        // Errors are smoothed toward the zero border of the picture, so in a small one even the worst map keeps
        // some recall; its precision does not matter then.
        let worst = case(1, &[1], &[0.0]);
        let k = |x: f64| (-x * x / 50.0).exp();
        let center = 1.0 / (-3..=3).map(|x| k(f64::from(x))).sum::<f64>().powi(2);
        let recall = 1.0 - center;
        assert!((worst - 2.0 * recall / (recall + 1.0)).abs() < 1e-12, "{worst}");
    }

    #[test]
    fn the_tabulated_decay_is_the_exponential() {
        let decay = Decay::new(1000.0);
        for squared in (0..1_000_000).step_by(37) {
            let distance = f64::from(squared).sqrt();
            let exact = 0.5_f64.powf(distance / 5.0);
            assert!((decay.at(distance) - exact).abs() < 1e-14, "{distance}");
        }
        assert_eq!((decay.at(0.0), decay.at(5.0)), (1.0, 0.5));
    }

    #[test]
    fn the_gaussian_is_symmetric_and_has_weight_one() {
        let kernel = gaussian();
        assert!((kernel.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        for x in 0..3 {
            assert_eq!(kernel[x], kernel[6 - x]);
            assert!(kernel[x] < kernel[x + 1]);
        }
    }

    proptest! {
        #[test]
        fn it_lies_between_zero_and_one_and_mirroring_hardly_moves_it(
            pixels in proptest::collection::vec((0..=8_u8, any::<bool>()), 1..120), width in 1..12usize,
        ) {
            prop_assume!(pixels.len() >= width);
            let height = pixels.len() / width;
            let pixels = &pixels[..width * height];
            let map: Vec<f64> = pixels.iter().map(|(level, _)| f64::from(*level) / 8.0).collect();
            let truth: Vec<u8> = pixels.iter().map(|(_, on)| u8::from(*on)).collect();
            let score = case(width, &truth, &map);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&score), "{score}");
            // Turned by 180 degrees only ties of the nearest pixel change; with an error that is the same on all of
            // the object there is nothing to tie about.
            let flat: Vec<f64> = map.iter().zip(&truth).map(|(p, on)| if *on == 1 { 0.5 } else { *p }).collect();
            let turned_map: Vec<f64> = flat.iter().rev().copied().collect();
            let turned_truth: Vec<u8> = truth.iter().rev().copied().collect();
            let (upright, turned) = (case(width, &truth, &flat), case(width, &turned_truth, &turned_map));
            prop_assert!((upright - turned).abs() < 1e-12, "{upright} and {turned}");
        }
    }
}
