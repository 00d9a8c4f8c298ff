//! Contrast-limited adaptive histogram equalization (CLAHE) of the lightness.

use image::{Rgb, RgbImage};

use super::pixels::reflected;

/// Tiles along each axis.
const TILES: usize = 8;
/// Gray levels.
const LEVELS: usize = 256;

/// White of CIE XYZ for D65, by green.
const WHITE: [f32; 3] = [0.950_456, 1.0, 1.088_754];

/// Equalizes the lightness L* of CIE Lab; a* and b* stay.
///
/// `clip` is the largest count of a bin as a multiple of the mean count; 1 changes least.
///
/// Source: `CLAHE` of albumentations (8 x 8 tiles, lightness of Lab).
pub(super) fn equalized(image: &RgbImage, clip: f64) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let colors: Vec<Lab> = image.pixels().map(|pixel| Lab::of(*pixel)).collect();
    let lightness: Vec<u8> =
        colors.iter().map(|color| (color.l * 255.0 / 100.0).round_ties_even() as u8).collect();
    let equalized = equalized_levels(&lightness, width, height, clip);
    let gamma = Gamma::new();
    let pixels = colors.iter().zip(&equalized).flat_map(|(color, &level)| {
        let l = f32::from(level) * 100.0 / 255.0;
        Lab { l, ..*color }.to_rgb(&gamma)
    });
    RgbImage::from_raw(image.width(), image.height(), pixels.collect())
        .expect("three bytes for each pixel")
}

/// CLAHE of one channel, row by row: equal to OpenCV's `createCLAHE(clip, (8, 8)).apply`.
///
/// Each tile gets a table from its clipped histogram; a pixel's level is interpolated between the
/// tables of the four nearest tiles.
fn equalized_levels(levels: &[u8], width: usize, height: usize, clip: f64) -> Vec<u8> {
    // If either side is no multiple, OpenCV enlarges both, the other one by a whole tile count.
    let divisible = width.is_multiple_of(TILES) && height.is_multiple_of(TILES);
    let tile = |length: usize| {
        if divisible { length / TILES } else { (length + TILES - length % TILES) / TILES }
    };
    let (tile_width, tile_height) = (tile(width), tile(height));
    let tables: Vec<Vec<[f32; LEVELS]>> = (0..TILES)
        .map(|row| {
            let table = |column: usize| {
                let mut histogram = [0_u32; LEVELS];
                for y in row * tile_height..(row + 1) * tile_height {
                    let y = reflected(y as i64, height as u32) as usize;
                    for x in column * tile_width..(column + 1) * tile_width {
                        let x = reflected(x as i64, width as u32) as usize;
                        histogram[usize::from(levels[y * width + x])] += 1;
                    }
                }
                table(&mut histogram, tile_width * tile_height, clip)
            };
            (0..TILES).map(table).collect()
        })
        .collect();
    let near = |at: usize, tile: usize| {
        // By the reciprocal, as OpenCV has it: a quotient rounds otherwise.
        let place = at as f32 * (1.0 / tile as f32) - 0.5;
        let first = place.floor();
        let share = place - first;
        let first = first as isize;
        let within = |tile: isize| tile.clamp(0, TILES as isize - 1) as usize;
        (within(first), within(first + 1), share)
    };
    let columns: Vec<_> = (0..width).map(|x| near(x, tile_width)).collect();
    let mut result = Vec::with_capacity(levels.len());
    for (y, row) in levels.chunks_exact(width).enumerate() {
        let (upper, lower, y_share) = near(y, tile_height);
        for (&level, &(left, right, x_share)) in row.iter().zip(&columns) {
            let level = usize::from(level);
            let along = |row: &[[f32; LEVELS]]| {
                row[left][level] * (1.0 - x_share) + row[right][level] * x_share
            };
            let value = along(&tables[upper]) * (1.0 - y_share) + along(&tables[lower]) * y_share;
            result.push(value.round_ties_even() as u8);
        }
    }
    result
}

/// The level that replaces each level in a tile of `area` pixels.
fn table(histogram: &mut [u32; LEVELS], area: usize, clip: f64) -> [f32; LEVELS] {
    let limit = ((clip * area as f64 / LEVELS as f64) as u32).max(1);
    let mut excess = 0;
    for count in histogram.iter_mut() {
        excess += count.saturating_sub(limit);
        *count = (*count).min(limit);
    }
    // The excess goes to all bins alike, what remains to bins at equal distances.
    let each = excess / LEVELS as u32;
    let rest = excess as usize % LEVELS;
    histogram.iter_mut().for_each(|count| *count += each);
    if let Some(step) = LEVELS.checked_div(rest) {
        for count in histogram.iter_mut().step_by(step.max(1)).take(rest) {
            *count += 1;
        }
    }
    let scale = (LEVELS - 1) as f32 / area as f32;
    let mut sum = 0;
    histogram.map(|count| {
        sum += count;
        (sum as f32 * scale).round_ties_even().min(255.0)
    })
}

/// A color in CIE Lab; instead of a* and b* the differences that they are multiples of.
#[derive(Clone, Copy)]
struct Lab {
    /// From 0 to 100.
    l: f32,
    /// `f(X) - f(Y)`, a* by 500.
    a: f32,
    /// `f(Y) - f(Z)`, b* by 200.
    b: f32,
}

impl Lab {
    /// Source: CIE 15, and IEC 61966-2-1 (sRGB).
    fn of(pixel: Rgb<u8>) -> Self {
        let [r, g, b] = pixel.0.map(|value| LINEAR[usize::from(value)]);
        let xyz = [
            0.412_453 * r + 0.357_580 * g + 0.180_423 * b,
            0.212_671 * r + 0.715_160 * g + 0.072_169 * b,
            0.019_334 * r + 0.119_193 * g + 0.950_227 * b,
        ];
        let f = |axis: usize| {
            let t = xyz[axis] / WHITE[axis];
            if t > 0.008_856 { libm::cbrtf(t) } else { 7.787 * t + 16.0 / 116.0 }
        };
        let (x, y, z) = (f(0), f(1), f(2));
        Self { l: (116.0 * y - 16.0).max(0.0), a: x - y, b: y - z }
    }

    fn to_rgb(self, gamma: &Gamma) -> [u8; 3] {
        let y = (self.l + 16.0) / 116.0;
        let inverse = |f: f32, axis: usize| {
            let t = if f > 6.0 / 29.0 { f * f * f } else { (f - 16.0 / 116.0) / 7.787 };
            t * WHITE[axis]
        };
        let (x, y, z) = (inverse(y + self.a, 0), inverse(y, 1), inverse(y - self.b, 2));
        [
            3.240_479 * x - 1.537_15 * y - 0.498_535 * z,
            -0.969_256 * x + 1.875_991 * y + 0.041_556 * z,
            0.055_648 * x - 0.204_043 * y + 1.057_311 * z,
        ]
        .map(|linear| gamma.level(linear))
    }
}

/// Linear light of each gray level of sRGB.
static LINEAR: std::sync::LazyLock<[f32; LEVELS]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|level| {
        let value = level as f64 / 255.0;
        let linear =
            if value <= 0.04045 { value / 12.92 } else { libm::pow((value + 0.055) / 1.055, 2.4) };
        linear as f32
    })
});

/// Gray levels of sRGB for linear light, tabulated: a step of the table is a twentieth of a level at
/// most.
struct Gamma(Vec<u8>);

impl Gamma {
    const STEPS: usize = u16::MAX as usize;

    fn new() -> Self {
        let level = |step: usize| {
            let linear = step as f64 / Self::STEPS as f64;
            let value = if linear <= 0.003_130_8 {
                12.92 * linear
            } else {
                1.055 * libm::pow(linear, 1.0 / 2.4) - 0.055
            };
            (255.0 * value).round_ties_even() as u8
        };
        Self((0..=Self::STEPS).map(level).collect())
    }

    fn level(&self, linear: f32) -> u8 {
        self.0[(linear.clamp(0.0, 1.0) * Self::STEPS as f32).round_ties_even() as usize]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> image::GrayImage {
        image::load_from_memory(bytes).unwrap().into_luma8()
    }

    #[test]
    fn one_channel_agrees_with_opencv() {
        let cases: [(&[u8], &[u8], f64); 3] = [
            (
                include_bytes!("../../tests/fixtures/clahe_150x100.png"),
                include_bytes!("../../tests/fixtures/clahe_150x100_clip_2.png"),
                2.0,
            ),
            (
                include_bytes!("../../tests/fixtures/clahe_192x144.png"),
                include_bytes!("../../tests/fixtures/clahe_192x144_clip_1.png"),
                1.0,
            ),
            (
                include_bytes!("../../tests/fixtures/clahe_192x144.png"),
                include_bytes!("../../tests/fixtures/clahe_192x144_clip_4.png"),
                4.0,
            ),
        ];
        for (input, output, clip) in cases {
            let (input, output) = (read(input), read(output));
            let (width, height) = (input.width() as usize, input.height() as usize);
            let ours = equalized_levels(input.as_raw(), width, height, clip);
            assert_ne!(input, output);
            let different = ours.iter().zip(output.as_raw()).filter(|(a, b)| a != b).count();
            assert_eq!(different, 0, "pixels of {width} x {height}, clip {clip}");
        }
    }

    #[test]
    fn colors_go_to_lab_and_back() {
        let gamma = Gamma::new();
        for color in
            [[0, 0, 0], [255, 255, 255], [255, 0, 0], [12, 200, 77], [3, 2, 9], [80, 1, 254]]
        {
            let back = Lab::of(Rgb(color)).to_rgb(&gamma);
            for (back, value) in back.iter().zip(color) {
                assert!(back.abs_diff(value) <= 1, "{color:?} became {back:?}");
            }
        }
        // CIE Lab of pure red in sRGB: 53.24, 80.09, 67.20.
        let red = Lab::of(Rgb([255, 0, 0]));
        for (ours, known) in [(red.l, 53.24), (500.0 * red.a, 80.09), (200.0 * red.b, 67.20)] {
            assert!((ours - known).abs() < 0.05, "{ours} {known}");
        }
    }

    #[test]
    fn a_dull_image_gets_contrast_and_keeps_its_hue() {
        let dull = RgbImage::from_fn(64, 64, |x, y| {
            let value = 100 + ((x / 4 + y / 4) % 4) as u8 * 4;
            Rgb([value + 40, value, value - 20])
        });
        let result = equalized(&dull, 4.0);
        let deviation = |image: &RgbImage| {
            let n = image.as_raw().len() as f64 / 3.0;
            let greens = || image.pixels().map(|pixel| f64::from(pixel.0[1]));
            let mean = greens().sum::<f64>() / n;
            (greens().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
        };
        assert!(deviation(&result) > 1.5 * deviation(&dull));
        assert!(result.pixels().all(|Rgb([r, g, b])| r > g && g > b));
    }

    #[test]
    fn images_smaller_than_the_tiles_are_no_trouble() {
        for (width, height) in [(1, 1), (3, 7), (9, 8)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 20 + y) as u8; 3]));
            assert_eq!(equalized(&image, 2.0).dimensions(), (width, height));
        }
    }
}
