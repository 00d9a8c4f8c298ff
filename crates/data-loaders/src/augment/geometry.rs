//! What moves pixels: image and mask together.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::pixels::{bilinear, reflected};
use crate::TruthMask;

/// A part of an image that is scaled to the size of the image: bilinear, the mask by its nearest pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl CropBox {
    /// How often a part is drawn again that does not fit.
    const TRIES: usize = 10;

    /// Draws area and aspect (the latter evenly on a logarithmic scale), and a place. After ten parts
    /// that do not fit it takes the largest in the middle whose aspect is allowed, which is the whole
    /// image unless it is very elongated.
    ///
    /// Source: `RandomResizedCrop` of albumentations and torchvision.
    pub(super) fn draw(
        area: [f64; 2],
        aspect: [f64; 2],
        (width, height): (u32, u32),
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let whole = f64::from(width) * f64::from(height);
        let [low, high] = aspect.map(libm::log);
        for _ in 0..Self::TRIES {
            let area = whole * rng.random_range(area[0]..=area[1]);
            let aspect = libm::exp(rng.random_range(low..=high));
            let part_width = (area * aspect).sqrt().round_ties_even();
            let part_height = (area / aspect).sqrt().round_ties_even();
            let fits = (1.0..=f64::from(width)).contains(&part_width)
                && (1.0..=f64::from(height)).contains(&part_height);
            if fits {
                let (part_width, part_height) = (part_width as u32, part_height as u32);
                let left = rng.random_range(0..=width - part_width);
                let top = rng.random_range(0..=height - part_height);
                return Self { left, top, width: part_width, height: part_height };
            }
        }
        let [low, high] = aspect;
        let of_image = f64::from(width) / f64::from(height);
        let shortened = |length: f64, limit: u32| (length.round_ties_even() as u32).clamp(1, limit);
        let (part_width, part_height) = if of_image < low {
            (width, shortened(f64::from(width) / low, height))
        } else if of_image > high {
            (shortened(f64::from(height) * high, width), height)
        } else {
            (width, height)
        };
        Self {
            left: (width - part_width) / 2,
            top: (height - part_height) / 2,
            width: part_width,
            height: part_height,
        }
    }

    /// Where the center of pixel `(x, y)` of the result lies in the image, in pixels from the center
    /// of its first.
    fn source(&self, x: u32, y: u32, (width, height): (u32, u32)) -> (f64, f64) {
        let along = |at: u32, first: u32, part: u32, length: u32| {
            let at = (f64::from(at) + 0.5) * f64::from(part) / f64::from(length) - 0.5;
            // Nothing from beyond the part.
            f64::from(first) + at.clamp(0.0, f64::from(part - 1))
        };
        (along(x, self.left, self.width, width), along(y, self.top, self.height, height))
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let size = image.dimensions();
        if (self.width, self.height) == size {
            return image.clone();
        }
        RgbImage::from_fn(size.0, size.1, |x, y| {
            let (x, y) = self.source(x, y, size);
            bilinear(image, x, y)
        })
    }

    pub(super) fn mask(&self, mask: &TruthMask) -> TruthMask {
        let size = (mask.width, mask.height);
        mask.moved(size, |x, y| {
            let (x, y) = self.source(x, y, size);
            (x.round() as u32, y.round() as u32)
        })
    }
}

/// Rotation and scale about the center of the image, then a shift: bilinear, the mask by its nearest pixel.
/// Beyond its edge the image goes on as its mirror image, and so does the mask, so that what the mirror
/// shows is labeled too.
///
/// Source: `ShiftScaleRotate` of albumentations with its border, `BORDER_REFLECT_101`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp {
    /// To the right, as a share of the width.
    pub shift_x: f64,
    /// Down, as a share of the height.
    pub shift_y: f64,
    /// Factor; above 1 the image grows.
    pub scale: f64,
    /// Counterclockwise as one sees it, in degrees.
    pub degrees: f64,
}

impl Warp {
    pub(super) fn draw(shift: f64, scale: f64, degrees: f64, rng: &mut ChaCha8Rng) -> Self {
        Self {
            degrees: rng.random_range(-degrees..=degrees),
            scale: rng.random_range(1.0 - scale..=1.0 + scale),
            shift_x: rng.random_range(-shift..=shift),
            shift_y: rng.random_range(-shift..=shift),
        }
    }

    /// From the center of a pixel of the result to the place in the image that it shows, both in pixels
    /// from the center of the first.
    fn inverse(&self, (width, height): (u32, u32)) -> impl Fn(u32, u32) -> (f64, f64) {
        let angle = self.degrees * std::f64::consts::PI / 180.0;
        let (sin, cos) = (libm::sin(angle) / self.scale, libm::cos(angle) / self.scale);
        let center = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
        let shift = (self.shift_x * f64::from(width), self.shift_y * f64::from(height));
        move |x, y| {
            let (x, y) = (f64::from(x) - center.0 - shift.0, f64::from(y) - center.1 - shift.1);
            // The axis y points down: this is the rotation back, clockwise.
            (cos * x - sin * y + center.0, sin * x + cos * y + center.1)
        }
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        let source = self.inverse((width, height));
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = source(x, y);
            bilinear(image, x, y)
        })
    }

    pub(super) fn mask(&self, mask: &TruthMask) -> TruthMask {
        let size = (mask.width, mask.height);
        let source = self.inverse(size);
        mask.moved(size, |x, y| {
            let (x, y) = source(x, y);
            (reflected(x.round() as i64, size.0), reflected(y.round() as i64, size.1))
        })
    }
}

impl TruthMask {
    /// The mask of size `(width, height)` whose pixel `(x, y)` is the pixel `source(x, y)` of this one.
    pub(super) fn moved(
        &self,
        (width, height): (u32, u32),
        source: impl Fn(u32, u32) -> (u32, u32),
    ) -> Self {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let values = places.map(|(x, y)| {
            let (x, y) = source(x, y);
            self.at(x, y)
        });
        Self::new(width, height, values.collect())
    }
}

/// One of the eight symmetries of the square: what can happen to a pixel grid without interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Symmetry {
    /// Rows and columns change places, before the flips.
    pub(super) transpose: bool,
    /// Left and right change places.
    pub(super) flip_x: bool,
    /// Top and bottom change places.
    pub(super) flip_y: bool,
}

impl Symmetry {
    fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Where pixel `(x, y)` of the result, which has the size `result`, comes from.
    fn source(self, x: u32, y: u32, result: (u32, u32)) -> (u32, u32) {
        let x = if self.flip_x { result.0 - 1 - x } else { x };
        let y = if self.flip_y { result.1 - 1 - y } else { y };
        if self.transpose { (y, x) } else { (x, y) }
    }

    pub(super) fn image(self, image: &RgbImage) -> RgbImage {
        let size = self.size(image.dimensions());
        RgbImage::from_fn(size.0, size.1, |x, y| -> Rgb<u8> {
            let (x, y) = self.source(x, y, size);
            *image.get_pixel(x, y)
        })
    }

    pub(super) fn mask(self, mask: &TruthMask) -> TruthMask {
        let size = self.size((mask.width, mask.height));
        mask.moved(size, |x, y| self.source(x, y, size))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn numbered(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(10 * y + x) as u8; 3]))
    }

    fn reds(image: &RgbImage) -> Vec<u8> {
        image.pixels().map(|pixel| pixel.0[0]).collect()
    }

    #[test]
    fn a_quarter_turn_counterclockwise_lifts_the_right_side_to_the_top() {
        let image = numbered(3, 3);
        let turn = Warp { shift_x: 0.0, shift_y: 0.0, scale: 1.0, degrees: 90.0 };
        assert_eq!(reds(&turn.image(&image)), [2, 12, 22, 1, 11, 21, 0, 10, 20]);
    }

    #[test]
    fn a_shift_goes_right_and_down_and_is_filled_by_the_mirror() {
        let image = numbered(4, 2);
        let shift = Warp { shift_x: 0.5, shift_y: 0.0, scale: 1.0, degrees: 0.0 };
        assert_eq!(reds(&shift.image(&image)), [2, 1, 0, 1, 12, 11, 10, 11]);
        let shift = Warp { shift_x: 0.0, shift_y: 0.5, scale: 1.0, degrees: 0.0 };
        assert_eq!(reds(&shift.image(&image)), [10, 11, 12, 13, 0, 1, 2, 3]);
    }

    #[test]
    fn a_scale_above_one_enlarges() {
        let mask = TruthMask::new(9, 9, (0..81).map(|at| at == 40).collect());
        let warp = |scale| Warp { shift_x: 0.0, shift_y: 0.0, scale, degrees: 0.0 };
        assert_eq!(warp(1.0).mask(&mask), mask);
        assert_eq!(warp(3.0).mask(&mask).foreground(), 9);
    }

    #[test]
    fn a_crop_fills_the_image() {
        let image = numbered(4, 4);
        let part = CropBox { left: 2, top: 1, width: 2, height: 2 };
        // Two pixels become four: the outer ones as they are, the inner ones mixed 3 to 1.
        assert_eq!(reds(&part.image(&image))[..4], [12, 12, 13, 13]);
        let mask = TruthMask::new(4, 4, (0..16).map(|at| at == 6).collect());
        let on: Vec<usize> = (0..16).filter(|&at| part.mask(&mask).values[at]).collect();
        assert_eq!(on, [0, 1, 4, 5]);
    }

    #[test]
    fn crops_have_the_area_and_aspect_asked_for_and_fit() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut smallest, mut largest) = (f64::INFINITY, 0.0_f64);
        for _ in 0..2000 {
            let part = CropBox::draw([0.2, 0.6], [0.8, 1.25], (400, 300), &mut rng);
            assert!(part.left + part.width <= 400 && part.top + part.height <= 300);
            let share = f64::from(part.width * part.height) / 120_000.0;
            (smallest, largest) = (smallest.min(share), largest.max(share));
            let aspect = f64::from(part.width) / f64::from(part.height);
            assert!((0.79..1.27).contains(&aspect), "{aspect}");
        }
        assert!((0.195..0.22).contains(&smallest), "{smallest}");
        assert!((0.58..0.605).contains(&largest), "{largest}");
    }

    #[test]
    fn what_never_fits_is_the_whole_image_or_its_middle() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let part = CropBox::draw([1.2, 1.3], [0.75, 1.33], (100, 100), &mut rng);
        assert_eq!(part, CropBox { left: 0, top: 0, width: 100, height: 100 });
        let part = CropBox::draw([1.2, 1.3], [0.5, 2.0], (300, 100), &mut rng);
        assert_eq!(part, CropBox { left: 50, top: 0, width: 200, height: 100 });
        let part = CropBox::draw([1.2, 1.3], [0.5, 2.0], (100, 300), &mut rng);
        assert_eq!(part, CropBox { left: 0, top: 50, width: 100, height: 200 });
    }

    #[test]
    fn a_transposed_image_has_its_sides_exchanged() {
        let image = numbered(3, 2);
        let transpose = Symmetry { transpose: true, flip_x: false, flip_y: false };
        let result = transpose.image(&image);
        assert_eq!(result.dimensions(), (2, 3));
        assert_eq!(reds(&result), [0, 10, 1, 11, 2, 12]);
        let turn = Symmetry { transpose: true, flip_x: true, flip_y: false };
        assert_eq!(turn.image(&image), image::imageops::rotate90(&image));
    }
}
