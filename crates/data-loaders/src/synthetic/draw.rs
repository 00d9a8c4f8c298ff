//! A picture under construction: three planes of linear values, 0 to 1.

use image::RgbImage;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::math::{Field, lerp};

/// Red, green and blue, each in `[0, 1]`.
pub(super) type Color = [f32; 3];

/// Mixes two colors: `a` at 0, `b` at 1.
pub(super) fn mix(a: Color, b: Color, t: f32) -> Color {
    [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)]
}

/// Multiplies a color.
pub(super) fn scaled(color: Color, factor: f32) -> Color {
    color.map(|value| value * factor)
}

/// A square picture.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    pub(super) size: usize,
    pub(super) planes: [Field; 3],
}

impl Canvas {
    /// A picture whose pixels are given by `(x, y)`.
    pub(super) fn from_fn(size: usize, mut color: impl FnMut(usize, usize) -> Color) -> Self {
        let mut canvas = Self { size, planes: std::array::from_fn(|_| Field::zeros(size)) };
        for y in 0..size {
            for x in 0..size {
                canvas.set(y * size + x, color(x, y));
            }
        }
        canvas
    }

    pub(super) fn get(&self, pixel: usize) -> Color {
        std::array::from_fn(|channel| self.planes[channel].values[pixel])
    }

    pub(super) fn set(&mut self, pixel: usize, color: Color) {
        for (plane, value) in self.planes.iter_mut().zip(color) {
            plane.values[pixel] = value;
        }
    }

    /// Mixes a color into a pixel with weight `alpha`.
    pub(super) fn blend(&mut self, pixel: usize, color: Color, alpha: f32) {
        self.set(pixel, mix(self.get(pixel), color, alpha));
    }

    /// See [`Field::box_blur`].
    pub(super) fn box_blur(&mut self, radius: usize) {
        self.planes.iter_mut().for_each(|plane| plane.box_blur(radius));
    }

    /// See [`Field::soften`].
    pub(super) fn soften(&mut self, weight: f32) {
        self.planes.iter_mut().for_each(|plane| plane.soften(weight));
    }

    /// Adds sensor noise, nearly Gaussian: `gray` is the standard deviation of the noise that
    /// all channels share, `color` that of each channel on its own.
    pub(super) fn add_sensor_noise(&mut self, rng: &mut ChaCha8Rng, gray: f32, color: f32) {
        // The sum of two uniform bytes has this standard deviation.
        const TWO_BYTES: f32 = 104.5;
        let pair = |a: u8, b: u8| (f32::from(a) + f32::from(b) - 255.0) / TWO_BYTES;
        for pixel in 0..self.size * self.size {
            let [a, b, c, d, e, f, g, h] = rng.next_u64().to_le_bytes();
            let common = gray * pair(a, b);
            let own = [pair(c, d), pair(e, f), pair(g, h)];
            for (plane, own) in self.planes.iter_mut().zip(own) {
                plane.values[pixel] += common + color * own;
            }
        }
    }

    /// Rounds to 8 bits.
    pub(super) fn to_image(&self) -> RgbImage {
        let side = self.size as u32;
        RgbImage::from_fn(side, side, |x, y| {
            let pixel = y as usize * self.size + x as usize;
            image::Rgb(self.get(pixel).map(|value| (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8))
        })
    }
}
