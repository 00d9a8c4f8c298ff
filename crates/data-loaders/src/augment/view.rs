//! A fixed list of geometric views, for what is computed once per image and view and then kept.

use image::RgbImage;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::geometry::{Symmetry, Warp};
use super::spec::AugmentSpec;
use crate::TruthMask;

/// Seed of the warps. Part of what a view's number means: another one is other views.
const SEED: u64 = 0x7669_6577;

/// The eight symmetries of the square with their names: first those that keep width and height, as the
/// paper's flips do, then the others.
const SYMMETRIES: [(&str, Symmetry); 8] = [
    ("identity", symmetry(false, false, false)),
    ("flip_x", symmetry(false, true, false)),
    ("flip_y", symmetry(false, false, true)),
    ("rotate_180", symmetry(false, true, true)),
    ("rotate_90", symmetry(true, true, false)),
    ("rotate_270", symmetry(true, false, true)),
    ("transpose", symmetry(true, false, false)),
    ("transverse", symmetry(true, true, true)),
];

const fn symmetry(transpose: bool, flip_x: bool, flip_y: bool) -> Symmetry {
    Symmetry { transpose, flip_x, flip_y }
}

/// A geometric change of an image and its mask that depends on nothing but its number.
///
/// Views 0 to 7 are the symmetries of the square: nothing, two flips, and the half turn (which
/// keep the size), then the quarter turns and the two transpositions (which exchange width and height;
/// clockwise turns). From 8 on every view is a shift, scale and rotation within the paper's ranges.
/// View `k` is the same however many there are, so a cache can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    number: usize,
}

impl View {
    /// View 0: the image as it is.
    pub const IDENTITY: Self = Self { number: 0 };

    /// View number `number`.
    pub const fn new(number: usize) -> Self {
        Self { number }
    }

    /// Views 0 to `n - 1`.
    pub fn first(n: usize) -> Vec<Self> {
        (0..n).map(Self::new).collect()
    }

    /// Its number.
    pub const fn number(&self) -> usize {
        self.number
    }

    /// A name that stands for exactly this change of the pixels, e.g. `flip_x`, `warp_8`. It never means
    /// anything else, so it may be part of a key on the disk.
    pub fn id(&self) -> String {
        match SYMMETRIES.get(self.number) {
            Some((name, _)) => (*name).to_owned(),
            None => format!("warp_{}", self.number),
        }
    }

    /// The image and its mask in this view.
    ///
    /// # Panics
    ///
    /// Panics if image and mask differ in size: a bug in the caller.
    pub fn apply(&self, image: &RgbImage, mask: &TruthMask) -> (RgbImage, TruthMask) {
        assert_eq!(image.dimensions(), (mask.width, mask.height), "a mask of the image's size");
        match SYMMETRIES.get(self.number) {
            Some((_, symmetry)) => (symmetry.image(image), symmetry.mask(mask)),
            None => {
                let warp = self.warp();
                (warp.image(image), warp.mask(mask))
            }
        }
    }

    fn warp(self) -> Warp {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        rng.set_stream(self.number as u64);
        let AugmentSpec { shift, scale, rotate_degrees, .. } = AugmentSpec::default();
        Warp::draw(shift, scale, rotate_degrees, &mut rng)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use image::{Rgb, imageops};

    use super::*;

    fn picture() -> (RgbImage, TruthMask) {
        let image = RgbImage::from_fn(12, 8, |x, y| Rgb([(20 * x) as u8, (30 * y) as u8, 5]));
        (image, TruthMask::new(12, 8, (0..96).map(|at| at % 12 < 5 && at / 12 < 3).collect()))
    }

    #[test]
    fn symmetries_are_what_their_names_say() {
        let (image, mask) = picture();
        let known = [
            image.clone(),
            imageops::flip_horizontal(&image),
            imageops::flip_vertical(&image),
            imageops::rotate180(&image),
            imageops::rotate90(&image),
            imageops::rotate270(&image),
            imageops::flip_horizontal(&imageops::rotate90(&image)),
            imageops::flip_vertical(&imageops::rotate90(&image)),
        ];
        let gray = mask.to_gray();
        for (view, known) in View::first(8).into_iter().zip(known) {
            let (image, mask) = view.apply(&image, &mask);
            assert_eq!(image, known, "{}", view.id());
            assert_eq!((mask.width, mask.height), image.dimensions());
        }
        let (_, turned) = View::new(4).apply(&image, &mask);
        assert_eq!(turned.to_gray(), imageops::rotate90(&gray));
    }

    #[test]
    fn a_view_is_the_same_however_many_there_are_and_no_two_are_alike() {
        assert_eq!(View::first(9)[..4], View::first(4));
        let (image, mask) = picture();
        let views = View::first(16);
        let ids: BTreeSet<String> = views.iter().map(View::id).collect();
        let pictures: BTreeSet<Vec<u8>> =
            views.iter().map(|view| view.apply(&image, &mask).0.into_raw()).collect();
        assert_eq!((ids.len(), pictures.len()), (16, 16));
        let warp = View::new(8).warp();
        assert_eq!(View::new(8).id(), "warp_8");
        // Pinned: keys on the disk mean these numbers.
        assert_eq!(format!("{warp:.4?}"), WARP_8);
    }

    const WARP_8: &str =
        "Warp { shift_x: -0.0359, shift_y: -0.0557, scale: 1.0168, degrees: 21.7295 }";
}
