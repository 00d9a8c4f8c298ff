//! Coarse dropout.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A rectangle that is blackened, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// `count` squares of `side` pixels anywhere inside the image; they may overlap. An image that is smaller
/// than the square is covered.
///
/// Source: `CoarseDropout` of albumentations, which leaves the mask alone too.
pub(super) fn draw(
    count: u32,
    side: u32,
    (width, height): (u32, u32),
    rng: &mut ChaCha8Rng,
) -> Vec<Hole> {
    let (hole_width, hole_height) = (side.min(width), side.min(height));
    let hole = |_| Hole {
        left: rng.random_range(0..=width - hole_width),
        top: rng.random_range(0..=height - hole_height),
        width: hole_width,
        height: hole_height,
    };
    (0..count).map(hole).collect()
}

/// The image with black holes.
pub(super) fn with_holes(image: &RgbImage, holes: &[Hole]) -> RgbImage {
    let mut result = image.clone();
    for hole in holes {
        for y in hole.top..hole.top + hole.height {
            for x in hole.left..hole.left + hole.width {
                result.put_pixel(x, y, Rgb([0; 3]));
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn holes_lie_inside_and_are_black() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let image = RgbImage::from_pixel(50, 30, Rgb([9; 3]));
        let mut reached = [false; 4];
        for _ in 0..200 {
            let holes = draw(8, 8, (50, 30), &mut rng);
            assert_eq!(holes.len(), 8);
            let black = with_holes(&image, &holes).pixels().filter(|p| p.0 == [0; 3]).count();
            assert!((64..=8 * 64).contains(&black), "{black}");
            for hole in holes {
                assert_eq!((hole.width, hole.height), (8, 8));
                assert!(hole.left <= 42 && hole.top <= 22);
                reached[0] |= hole.left == 0;
                reached[1] |= hole.left == 42;
                reached[2] |= hole.top == 0;
                reached[3] |= hole.top == 22;
            }
        }
        assert_eq!(reached, [true; 4], "every edge is reached");
        let holes = draw(1, 8, (5, 30), &mut rng);
        assert_eq!((holes[0].left, holes[0].width, holes[0].height), (0, 5, 8));
    }
}
