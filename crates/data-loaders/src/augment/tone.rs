//! Brightness and contrast.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// `value * contrast + 255 * brightness`, kept within 0..=255.
///
/// Source: `RandomBrightnessContrast` of albumentations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tone {
    /// Share of the range that is added.
    pub brightness: f64,
    /// Factor.
    pub contrast: f64,
}

impl Tone {
    pub(super) fn draw(brightness: f64, contrast: f64, rng: &mut ChaCha8Rng) -> Self {
        Self {
            contrast: 1.0 + rng.random_range(-contrast..=contrast),
            brightness: rng.random_range(-brightness..=brightness),
        }
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let table: Vec<u8> = (0..=u8::MAX)
            .map(|value| {
                let value = f64::from(value) * self.contrast + 255.0 * self.brightness;
                value.round_ties_even() as u8
            })
            .collect();
        let mut changed = image.clone();
        for pixel in changed.pixels_mut() {
            *pixel = Rgb(pixel.0.map(|value| table[usize::from(value)]));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_multiplies_brightness_adds_and_the_range_is_kept() {
        let image = RgbImage::from_pixel(1, 1, Rgb([0, 100, 250]));
        let tone = Tone { brightness: 0.1, contrast: 1.1 };
        assert_eq!(tone.image(&image).get_pixel(0, 0).0, [26, 136, 255]);
        let tone = Tone { brightness: -0.1, contrast: 0.9 };
        assert_eq!(tone.image(&image).get_pixel(0, 0).0, [0, 64, 200]);
    }
}
