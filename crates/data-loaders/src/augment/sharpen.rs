//! Sharpening.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::pixels::filtered;

/// A mixture of the image and a 3 x 3 high pass: `1 - alpha` of the image and `alpha` of the sum of
/// differences to the eight neighbors plus `lightness` times the pixel.
///
/// Source: `Sharpen` of albumentations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sharpen {
    /// Share of the sharpened image.
    pub alpha: f64,
    /// Weight of the pixel itself in the sharpened image; below 1 the result is darker.
    pub lightness: f64,
}

impl Sharpen {
    pub(super) fn draw(alpha: [f64; 2], lightness: [f64; 2], rng: &mut ChaCha8Rng) -> Self {
        Self {
            alpha: rng.random_range(alpha[0]..=alpha[1]),
            lightness: rng.random_range(lightness[0]..=lightness[1]),
        }
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let mut weights = [-self.alpha as f32; 9];
        weights[4] = (1.0 - self.alpha + self.alpha * (8.0 + self.lightness)) as f32;
        filtered(image, &weights, 3)
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn flat_areas_change_by_the_lightness_and_edges_overshoot() {
        let edge = RgbImage::from_fn(6, 3, |x, _| Rgb([if x < 3 { 100 } else { 120 }; 3]));
        let sharpened = Sharpen { alpha: 0.5, lightness: 1.0 }.image(&edge);
        let row: Vec<u8> = (0..6).map(|x| sharpened.get_pixel(x, 1).0[0]).collect();
        // Beside the edge three neighbors are 20 levels away: 0.5 * 3 * 20 = 30.
        assert_eq!(row, [100, 100, 70, 150, 120, 120]);
        let darker = Sharpen { alpha: 0.5, lightness: 0.5 }.image(&edge);
        assert_eq!(darker.get_pixel(0, 0).0, [75; 3]);
    }
}
