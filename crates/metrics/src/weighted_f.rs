//! Weighted F-measure.

use std::sync::LazyLock;

use crate::bounds::Bounds;
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
    let Some(bounds) = Bounds::of(truth) else { return Ok(0.0) };
    let (width, height) = (truth.width(), truth.height());
    // What smoothing reads.
    let read = bounds.grown(WINDOW / 2, width, height);
    let mut error: Vec<f64> = prediction
        .probabilities()
        .iter()
        .zip(truth.pixels())
        .map(|(&probability, &actual)| (f64::from(u8::from(actual)) - probability).abs())
        .collect();
    let weights: &[f64] = &OUTSIDE_WEIGHTS;
    let mut false_pos = 0.0;
    nearest_foreground(truth, |row| {
        let start = row.y * width;
        // In a local variable: otherwise every sum would wait for the memory that the one before was written to.
        let mut sum = false_pos;
        for (error, &squared) in error[start..start + width].iter().zip(row.squared) {
            sum += error * weights.get(squared as usize).unwrap_or(&2.0);
        }
        false_pos = sum;
        if !(read.top..=read.bottom).contains(&row.y) {
            return;
        }
        for (run, nearest) in row.runs() {
            let run = run.start.max(read.left)..run.end.min(read.right + 1);
            // A pixel of the object is its own nearest, so it stays what it is.
            let copied = error[nearest];
            if !run.is_empty() {
                error[start + run.start..start + run.end].fill(copied);
            }
        }
    });
    let smoothed = Smoothed::new(&error, truth, bounds);
    let weighted = smoothed.smaller_sum(&error, truth);
    let area = truth.area() as f64;
    let true_pos = (area - weighted).max(0.0);
    let recall = (1.0 - weighted / area).max(0.0);
    let precision = true_pos / (true_pos + false_pos + f64::EPSILON);
    Ok(2.0 * recall * precision / (recall + precision + f64::EPSILON))
}

/// What an error weighs by its squared distance from the object, a whole number: 0 on the object, and as far as it is
/// less than 2. Almost every pixel of every picture asks for one.
static OUTSIDE_WEIGHTS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let decay = Decay::new(FLAT_FROM);
    let n = (FLAT_FROM * FLAT_FROM) as usize;
    (0..n)
        .map(|squared| match squared {
            0 => 0.0,
            _ => 2.0 - decay.at((squared as f64).sqrt()),
        })
        .collect()
});

/// Pixels from the object at which the decay is below 2^-53, so that `2 - decay` is 2 to the last bit.
const FLAT_FROM: f64 = 53.0 * HALF_DISTANCE;

/// `exp(ln(0.5) / 5 * d)`: from a table of steps of 1/16 pixel, and a polynomial between them.
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

impl Smoothed {
    /// Smooths on the box of `object`: first the rows, then the columns, since the Gaussian is a product of two.
    fn new(values: &[f64], object: &Mask, bounds: Bounds) -> Self {
        let (width, height) = (object.width(), object.height());
        let kernel = gaussian();
        let reach = WINDOW / 2;
        let columns = bounds.width();

        // Rows of the box and those within reach of it; those outside the picture stay zero.
        let mut rows = vec![0.0; (bounds.height() + 2 * reach) * columns];
        // One row with zeros on either side, so that the window never leaves it.
        let mut padded = vec![0.0; width + 2 * reach];
        for (at, out) in rows.chunks_exact_mut(columns).enumerate() {
            // Row of the picture, and `reach` more.
            let y = bounds.top + at;
            if (reach..height + reach).contains(&y) {
                padded[reach..reach + width]
                    .copy_from_slice(&values[(y - reach) * width..][..width]);
                weighted_sum(&kernel, |tap| &padded[bounds.left + tap..][..columns], out);
            }
        }

        let mut smoothed = vec![0.0; bounds.height() * columns];
        for (at, out) in smoothed.chunks_exact_mut(columns).enumerate() {
            weighted_sum(&kernel, |tap| &rows[(at + tap) * columns..][..columns], out);
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

/// Writes the sum of seven lines, each times its weight, into `out`: side by side, but added in their order at each
/// place.
fn weighted_sum<'a>(kernel: &[f64; WINDOW], line: impl Fn(usize) -> &'a [f64], out: &mut [f64]) {
    let lines: [&[f64]; WINDOW] = std::array::from_fn(|tap| &line(tap)[..out.len()]);
    for (x, out) in out.iter_mut().enumerate() {
        let mut sum = kernel[0] * lines[0][x];
        for tap in 1..WINDOW {
            sum += kernel[tap] * lines[tap][x];
        }
        *out = sum;
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
    fn beyond_the_tabulated_weights_an_error_weighs_two_to_the_last_bit() {
        let last = OUTSIDE_WEIGHTS.len() - 1;
        assert_eq!(2.0 - 0.5_f64.powf(((last + 1) as f64).sqrt() / 5.0), 2.0);
        assert_eq!(OUTSIDE_WEIGHTS[0], 0.0);
        for squared in (1..=last).step_by(53) {
            let exact = 2.0 - 0.5_f64.powf((squared as f64).sqrt() / 5.0);
            assert!((OUTSIDE_WEIGHTS[squared] - exact).abs() < 1e-14, "{squared}");
        }
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
