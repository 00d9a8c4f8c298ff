//! A picture of many augmented images, to look at.

use image::{Rgb, RgbImage, imageops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{AugmentSpec, augment};
use crate::TruthMask;

/// Pixels between two tiles.
const GAP: u32 = 6;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
/// The outline of the mask: a color that no mucosa and no skin has.
const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// An image, its mask, and its number for [`augment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The image.
    pub image: RgbImage,
    /// Its mask, of the same size.
    pub mask: TruthMask,
    /// See [`sample_key`](super::sample_key).
    pub sample: u64,
}

/// One row per pair: as it is, then `columns` times augmented, in epochs 1 to `columns`. The masks are
/// outlined. Every tile is `tile` pixels wide and high; the images are shrunk to fit after they were
/// augmented.
///
/// # Panics
///
/// Panics on what [`augment`] panics on, and if `tile` is 0: bugs in the caller.
pub fn contact_sheet(
    pairs: &[Pair],
    spec: &AugmentSpec,
    seed: u64,
    columns: u32,
    tile: u32,
) -> RgbImage {
    assert!(tile > 0, "tiles have pixels");
    let rows = (pairs.len() as u32).max(1);
    let step = tile + GAP;
    let mut sheet = RgbImage::from_pixel((columns + 1) * step - GAP, rows * step - GAP, BACKGROUND);
    for (row, pair) in (0..).zip(pairs) {
        for epoch in 0..=columns {
            let picture = if epoch == 0 {
                outlined(&pair.image, &pair.mask)
            } else {
                let (image, mask) =
                    augment(&pair.image, &pair.mask, spec, seed, u64::from(epoch), pair.sample);
                outlined(&image, &mask)
            };
            let small = fitted(&picture, tile);
            let left = epoch * step + (tile - small.width()) / 2;
            let top = row * step + (tile - small.height()) / 2;
            imageops::replace(&mut sheet, &small, i64::from(left), i64::from(top));
        }
    }
    sheet
}

/// `n` of `len` cases, or all if there are fewer, without repetition, in rising order.
pub fn drawn_cases(len: usize, n: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cases: Vec<usize> = (0..len).collect();
    let n = n.min(len);
    for place in 0..n {
        let chosen = rng.random_range(place..len);
        cases.swap(place, chosen);
    }
    cases.truncate(n);
    cases.sort_unstable();
    cases
}

/// The image with the inner edge of the mask drawn on it, thick enough to be seen in a tile.
fn outlined(image: &RgbImage, mask: &TruthMask) -> RgbImage {
    let (width, height) = image.dimensions();
    let thickness = i64::from((width.max(height) / 160).max(1));
    let on = |x: i64, y: i64| {
        (0..i64::from(width)).contains(&x)
            && (0..i64::from(height)).contains(&y)
            && mask.at(x as u32, y as u32)
    };
    let mut drawn = image.clone();
    for (x, y, pixel) in drawn.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let near = [(-thickness, 0), (thickness, 0), (0, -thickness), (0, thickness)];
        if on(x, y) && near.iter().any(|(dx, dy)| !on(x + dx, y + dy)) {
            *pixel = OUTLINE;
        }
    }
    drawn
}

/// Shrunk, or enlarged, so that the longer side is `tile`.
fn fitted(image: &RgbImage, tile: u32) -> RgbImage {
    let longest = image.width().max(image.height()).max(1);
    let side =
        |length: u32| ((u64::from(length) * u64::from(tile) / u64::from(longest)) as u32).max(1);
    imageops::resize(
        image,
        side(image.width()),
        side(image.height()),
        imageops::FilterType::Triangle,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_drawn_once_and_by_the_seed() {
        assert_eq!(drawn_cases(3, 5, 1), [0, 1, 2]);
        assert_eq!(drawn_cases(0, 5, 1), [0_usize; 0]);
        let drawn = drawn_cases(1000, 20, 7);
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.len() == 20);
        assert_eq!(drawn, drawn_cases(1000, 20, 7));
        assert_ne!(drawn, drawn_cases(1000, 20, 8));
    }

    #[test]
    fn a_row_has_the_original_first_and_then_the_augmented_ones() {
        let image = RgbImage::from_pixel(40, 20, Rgb([100; 3]));
        let mask = TruthMask::new(40, 20, (0..800).map(|at| at % 40 < 20).collect());
        let pairs = vec![Pair { image, mask, sample: 3 }; 2];
        let spec = AugmentSpec { flip_x_probability: 1.0, ..AugmentSpec::off() };
        let sheet = contact_sheet(&pairs, &spec, 1, 2, 40);
        assert_eq!(sheet.dimensions(), (3 * 46 - 6, 2 * 46 - 6));
        // Tiles are 40 x 20, in the middle of 40 x 40: rows 10 to 29.
        assert_eq!(sheet.get_pixel(5, 5), &BACKGROUND);
        let green = |x: u32| sheet.get_pixel(x, 20) == &OUTLINE;
        assert!(green(0) && green(19) && !green(20) && !green(39), "the left half is outlined");
        assert!(green(46 + 20) && green(46 + 39) && !green(46), "then it is the right half");
    }
}
