//! Augmentation: what may happen to a scene without changing what its objects are.

use data_loaders::{TruthMask, synthetic::Scene};
use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How often the color channels change places.
const SHUFFLED_SHARE: f64 = 0.3;
/// How often the color is taken out.
const GRAY_SHARE: f64 = 0.1;
/// Contrast is multiplied by up to this and divided by up to this.
const CONTRAST: f32 = 1.4;
/// Brightness moves by up to this, of 255.
const BRIGHTNESS: f32 = 30.0;

/// One of the eight symmetries of the square, and another look: channels in another order, no color,
/// another contrast and brightness.
///
/// The world's own light and noise are random already, but its shapes and textures have preferred
/// directions and its palettes preferred colors.
pub(crate) fn augmented(scene: Scene, rng: &mut ChaCha8Rng) -> Scene {
    let symmetry = Symmetry {
        transpose: rng.random_bool(0.5),
        mirror_x: rng.random_bool(0.5),
        mirror_y: rng.random_bool(0.5),
    };
    let look = Look::random(rng);
    let (width, height) = scene.image.dimensions();
    let image = RgbImage::from_fn(width, height, |x, y| {
        let [x, y] = symmetry.source(x, y, width);
        look.of(*scene.image.get_pixel(x, y))
    });
    let objects = scene.objects.iter().map(|mask| symmetry.mask(mask)).collect();
    Scene { image, objects }
}

#[derive(Clone, Copy)]
struct Symmetry {
    transpose: bool,
    mirror_x: bool,
    mirror_y: bool,
}

impl Symmetry {
    /// Where the pixel `(x, y)` of the result comes from, in a square of side `side`.
    fn source(self, x: u32, y: u32, side: u32) -> [u32; 2] {
        let x = if self.mirror_x { side - 1 - x } else { x };
        let y = if self.mirror_y { side - 1 - y } else { y };
        if self.transpose { [y, x] } else { [x, y] }
    }

    fn mask(self, mask: &TruthMask) -> TruthMask {
        let side = mask.width;
        let values = (0..side * side)
            .map(|at| {
                let [x, y] = self.source(at % side, at / side, side);
                mask.at(x, y)
            })
            .collect();
        TruthMask::new(side, side, values)
    }
}

struct Look {
    channels: [usize; 3],
    gray: bool,
    contrast: f32,
    brightness: f32,
}

impl Look {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let mut channels = [0, 1, 2];
        if rng.random_bool(SHUFFLED_SHARE) {
            for at in [2, 1] {
                channels.swap(at, rng.random_range(0..=at));
            }
        }
        let contrast = rng.random_range(1.0..CONTRAST);
        Self {
            channels,
            gray: rng.random_bool(GRAY_SHARE),
            contrast: if rng.random_bool(0.5) { contrast } else { 1.0 / contrast },
            brightness: rng.random_range(-BRIGHTNESS..BRIGHTNESS),
        }
    }

    fn of(&self, Rgb(pixel): Rgb<u8>) -> Rgb<u8> {
        let mut values = self.channels.map(|channel| f32::from(pixel[channel]));
        if self.gray {
            values = [values.iter().sum::<f32>() / 3.0; 3];
        }
        // Around the middle of the range; the cast keeps what lies beyond at its ends.
        Rgb(values
            .map(|value| ((value - 127.5) * self.contrast + 127.5 + self.brightness).round() as u8))
    }
}

#[cfg(test)]
mod tests {
    use data_loaders::synthetic::natural;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn masks_go_where_their_pixels_go() {
        // An object painted white where its mask is: after any symmetry it still is.
        let mask = TruthMask::new(4, 4, (0..16).map(|at| matches!(at, 1 | 2 | 7)).collect());
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([if mask.at(x, y) { 255 } else { 0 }; 3]));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let scene = Scene { image: image.clone(), objects: vec![mask.clone()] };
            let scene = augmented(scene, &mut ChaCha8Rng::seed_from_u64(seed));
            let moved = &scene.objects[0];
            assert_eq!(moved.foreground(), 3);
            let bright = scene.image.pixels().map(|pixel| pixel.0[0]).max().unwrap_or(0);
            for (x, y, pixel) in scene.image.enumerate_pixels() {
                assert_eq!(moved.at(x, y), pixel.0[0] == bright, "seed {seed} at {x}, {y}");
            }
            seen.insert(moved.values.clone());
        }
        assert_eq!(seen.len(), 8, "all symmetries of the square");
    }

    #[test]
    fn the_same_draws_give_the_same_scene() {
        let scene = || augmented(natural(1, 2, 64), &mut ChaCha8Rng::seed_from_u64(3));
        assert_eq!(scene(), scene());
        assert_ne!(scene().image, natural(1, 2, 64).image);
    }
}
