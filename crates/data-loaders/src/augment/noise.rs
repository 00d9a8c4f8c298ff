//! Gaussian noise.

use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Noise of mean 0, drawn for each pixel and channel by itself.
///
/// Source: `GaussNoise` of albumentations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussNoise {
    /// In squared gray levels.
    pub variance: f64,
    /// Of the noise.
    pub seed: u64,
}

impl GaussNoise {
    pub(super) fn draw(variance: [f64; 2], rng: &mut ChaCha8Rng) -> Self {
        Self { variance: rng.random_range(variance[0]..=variance[1]), seed: rng.random() }
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let deviation = self.variance.sqrt() as f32;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut spare = None;
        let mut next = || {
            spare.take().unwrap_or_else(|| {
                let (one, other) = two_normal(&mut rng);
                spare = Some(other);
                one
            })
        };
        let mut noisy = image.clone();
        for pixel in noisy.pixels_mut() {
            *pixel = Rgb(pixel
                .0
                .map(|value| (f32::from(value) + deviation * next()).round_ties_even() as u8));
        }
        noisy
    }
}

/// Two independent standard normal numbers, by Marsaglia's polar method.
fn two_normal(rng: &mut ChaCha8Rng) -> (f32, f32) {
    loop {
        let (x, y): (f32, f32) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            let factor = (-2.0 * libm::logf(square) / square).sqrt();
            return (x * factor, y * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_mean_variance_and_tails_of_a_normal_distribution() {
        let image = RgbImage::from_pixel(200, 200, Rgb([128; 3]));
        let noisy = GaussNoise { variance: 30.0, seed: 7 }.image(&image);
        let values: Vec<f64> = noisy.as_raw().iter().map(|&v| f64::from(v) - 128.0).collect();
        let n = values.len() as f64; // 120,000
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        // Four standard errors: sqrt(30 / n) and 30 sqrt(2 / n). Rounding adds 1/12.
        assert!(mean.abs() < 4.0 * (30.0 / n).sqrt(), "{mean}");
        assert!((variance - 30.0 - 1.0 / 12.0).abs() < 4.0 * 30.0 * (2.0 / n).sqrt(), "{variance}");
        let beyond = values.iter().filter(|value| value.abs() > 10.5).count() as f64 / n;
        // P(|z| > 10.5 / sqrt(30)) = 0.0552 for a normal distribution.
        assert!((beyond - 0.0552).abs() < 0.004, "{beyond}");
    }

    #[test]
    fn channels_and_neighbors_are_independent() {
        let image = RgbImage::from_pixel(200, 200, Rgb([128; 3]));
        let noisy = GaussNoise { variance: 50.0, seed: 8 }.image(&image);
        let values: Vec<f64> = noisy.as_raw().iter().map(|&v| f64::from(v) - 128.0).collect();
        for lag in [1, 2, 3, 600] {
            let products: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| a * b).sum();
            let correlation = products / (values.len() - lag) as f64 / 50.0;
            assert!(correlation.abs() < 4.0 / (values.len() as f64).sqrt(), "{lag}: {correlation}");
        }
    }
}
