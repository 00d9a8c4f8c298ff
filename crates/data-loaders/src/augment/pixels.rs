//! Pixels by their place: beyond the edge, and between two.

use image::{Rgb, RgbImage};

/// The index that stands for `at` in a row of `length`: beyond an edge the row goes on as its mirror
/// image, the edge itself not repeated (`BORDER_REFLECT_101` of OpenCV: `dcb|abcd|cba`).
pub(super) fn reflected(at: i64, length: u32) -> u32 {
    if (0..i64::from(length)).contains(&at) {
        return at as u32; // nearly always, and without a division
    }
    if length == 1 {
        return 0;
    }
    let period = 2 * (i64::from(length) - 1);
    let at = at.rem_euclid(period);
    at.min(period - at) as u32
}

/// The pixel at `(x, y)`, mirrored beyond the edges.
pub(super) fn pixel(image: &RgbImage, x: i64, y: i64) -> [f32; 3] {
    let at = image.get_pixel(reflected(x, image.width()), reflected(y, image.height()));
    at.0.map(f32::from)
}

/// The color at a place between pixel centers; `(0, 0)` is the center of the first pixel.
pub(super) fn bilinear(image: &RgbImage, x: f64, y: f64) -> Rgb<u8> {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = ((x - left) as f32, (y - top) as f32);
    let (left, top) = (left as i64, top as i64);
    let mix = |a: [f32; 3], b: [f32; 3], share: f32| {
        std::array::from_fn::<f32, 3, _>(|channel| a[channel] + (b[channel] - a[channel]) * share)
    };
    let row = |y| mix(pixel(image, left, y), pixel(image, left + 1, y), right_share);
    rounded(mix(row(top), row(top + 1), lower_share))
}

/// Rounded to the nearest of 0..=255.
pub(super) fn rounded(color: [f32; 3]) -> Rgb<u8> {
    // The cast keeps what lies beyond the range at its ends.
    Rgb(color.map(|value| value.round_ties_even() as u8))
}

/// Each pixel is the weighted sum of its neighbors; `weights` are `side * side`, row by row.
pub(super) fn filtered(image: &RgbImage, weights: &[f32], side: u32) -> RgbImage {
    let reach = i64::from(side / 2);
    let taps: Vec<(i64, i64, f32)> = (-reach..=reach)
        .flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)))
        .zip(weights)
        .filter(|(_, weight)| **weight != 0.0)
        .map(|((dx, dy), weight)| (dx, dy, *weight))
        .collect();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let mut sum = [0.0_f32; 3];
        for &(dx, dy, weight) in &taps {
            let color = pixel(image, i64::from(x) + dx, i64::from(y) + dy);
            for (sum, value) in sum.iter_mut().zip(color) {
                *sum += weight * value;
            }
        }
        rounded(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_itself_is_not_repeated() {
        let indices: Vec<u32> = (-4..8).map(|at| reflected(at, 4)).collect();
        assert_eq!(indices, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert_eq!(reflected(-7, 1), 0);
    }

    #[test]
    fn between_pixels_colors_mix_by_distance() {
        let image = RgbImage::from_fn(2, 2, |x, y| Rgb([(100 * x + 40 * y) as u8; 3]));
        assert_eq!(bilinear(&image, 0.25, 0.5), Rgb([45; 3]));
        assert_eq!(bilinear(&image, 1.0, 1.0), Rgb([140; 3]));
    }
}
