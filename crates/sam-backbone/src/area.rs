//! Area interpolation: a target pixel is the mean of what it covers.

use image::{Rgb, RgbImage};

use crate::preprocess::{Crop, ImageSize};

/// What one target pixel covers along one axis.
struct Span {
    /// The first source pixel.
    first: usize,
    /// Shares of the target pixel that it and those after it fill. They sum to 1, or to less where
    /// the target pixel lies partly on the padding.
    shares: Vec<f32>,
}

/// Pads `crop` of an image with black at the right and the bottom to a square of side
/// `max(width, height)`, and scales the square to side `input_size`; returns its first `size` pixels,
/// the ones that show something of the crop.
///
/// The same definition for shrinking and for growing: the mean over the covered area, with fractional
/// coverage at its edges. It is OpenCV's `INTER_AREA` in both directions (when growing, OpenCV's
/// weights of two neighbors are just these shares), up to the rounding of its fixed-point weights.
pub(crate) fn area_resize(
    image: &RgbImage,
    crop: Crop,
    input_size: usize,
    size: ImageSize,
) -> RgbImage {
    let side = crop.width.max(crop.height);
    let columns = spans(crop.width, side, input_size, size.width);
    let rows = spans(crop.height, side, input_size, size.height);
    let mut resized = RgbImage::new(size.width as u32, size.height as u32);
    // One target row at a time. Neighbors share at most one source row (more when growing), so that
    // keeping the last one is enough.
    let mut kept: Option<(usize, Vec<[f32; 3]>)> = None;
    let mut sums = vec![[0.0_f32; 3]; size.width];
    for (y, row) in rows.iter().enumerate() {
        sums.fill([0.0; 3]);
        for (offset, &share) in row.shares.iter().enumerate() {
            let source = row.first + offset;
            let (_, values) = match kept.take() {
                Some(last) if last.0 == source => kept.insert(last),
                _ => kept.insert((source, scaled_row(image, crop, source, &columns))),
            };
            for (sum, value) in sums.iter_mut().zip(values) {
                for (sum, value) in sum.iter_mut().zip(value) {
                    *sum += share * *value;
                }
            }
        }
        for (x, sum) in sums.iter().enumerate() {
            // Half to even, as OpenCV rounds; the cast keeps what rounding put beyond 255.
            let bytes = sum.map(|value| value.round_ties_even() as u8);
            resized.put_pixel(x as u32, y as u32, Rgb(bytes));
        }
    }
    resized
}

/// Row `y` of the crop, scaled along x.
fn scaled_row(image: &RgbImage, crop: Crop, y: usize, columns: &[Span]) -> Vec<[f32; 3]> {
    let start = 3 * ((crop.top + y) * image.width() as usize + crop.left);
    let source = &image.as_raw()[start..start + 3 * crop.width];
    let mean = |span: &Span| {
        let mut sum = [0.0_f32; 3];
        let covered = source[3 * span.first..].chunks_exact(3);
        for (pixel, &share) in covered.zip(&span.shares) {
            for (sum, &value) in sum.iter_mut().zip(pixel) {
                *sum += share * f32::from(value);
            }
        }
        sum
    };
    columns.iter().map(mean).collect()
}

/// What each of the first `count` of `to` target pixels covers, if `side` source pixels, of which
/// the first `length` exist, are scaled to `to`.
///
/// In units of `1 / to` source pixels all edges are whole numbers, so no rounding decides which
/// pixels are covered.
fn spans(length: usize, side: usize, to: usize, count: usize) -> Vec<Span> {
    let span = |target: usize| {
        let (from, until) = (target * side, (target + 1) * side);
        let first = from / to;
        let last = until.div_ceil(to).min(length);
        let shares = (first..last).map(|source| {
            let covered = until.min((source + 1) * to) - from.max(source * to);
            (covered as f64 / side as f64) as f32
        });
        Span { first, shares: shares.collect() }
    };
    (0..count).map(span).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::preprocess::{Frame, ResizeMode, input_image};

    fn gray(rows: &[&[u8]]) -> RgbImage {
        RgbImage::from_fn(rows[0].len() as u32, rows.len() as u32, |x, y| {
            Rgb([rows[y as usize][x as usize]; 3])
        })
    }

    fn resized(image: &RgbImage, input_size: usize) -> Vec<u8> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let crop = Crop { left: 0, top: 0, width, height };
        let side = width.max(height);
        let size = ImageSize {
            height: (height * input_size).div_ceil(side),
            width: (width * input_size).div_ceil(side),
        };
        area_resize(image, crop, input_size, size).pixels().map(|pixel| pixel.0[1]).collect()
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        let image = gray(&[&[0, 90, 30], &[30, 0, 60], &[0, 0, 90]]);
        // Two pixels of 1.5 each: the first has all of column 0 and half of column 1.
        // (0 + 45 + (30 + 0) / 2) / 2.25 = 26.7, (45 + 30 + (0 + 60) / 2) / 2.25 = 46.7,
        // ((30 + 0) / 2 + 0 + 0) / 2.25 = 6.7, ((0 + 60) / 2 + 0 + 90) / 2.25 = 53.3
        assert_eq!(resized(&image, 2), [27, 47, 7, 53]);
    }

    #[test]
    fn growing_mixes_two_neighbors_by_their_shares() {
        let image = gray(&[&[0, 90], &[0, 90]]);
        assert_eq!(resized(&image, 3), [0, 45, 90, 0, 45, 90, 0, 45, 90]);
    }

    #[test]
    fn a_pixel_on_the_edge_of_the_padding_is_darker_by_the_share_of_black() {
        // 4 x 3 into 2 x 2: the lower row has one source row and one row of padding.
        let image = gray(&[&[200; 4], &[200; 4], &[200; 4]]);
        assert_eq!(resized(&image, 2), [200, 200, 100, 100]);
    }

    #[test]
    fn padded_squares_agree_with_opencv() {
        let bytes = include_bytes!("../fixtures/area.safetensors");
        let fixture = safetensors::SafeTensors::deserialize(bytes).expect("a safetensors file");
        let image = |key: &str| {
            let tensor = fixture.tensor(key).expect("a key of the fixture");
            let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
            RgbImage::from_raw(width, height, tensor.data().to_vec()).expect("H x W x 3 bytes")
        };
        let names = fixture.names();
        let names: Vec<_> = names.iter().filter_map(|key| key.strip_suffix(".input")).collect();
        assert_eq!(names.len(), 6);
        for name in names {
            let (input, output) =
                (image(&format!("{name}.input")), image(&format!("{name}.output")));
            let size = ImageSize { height: input.height() as usize, width: input.width() as usize };
            let frame = Frame::new(size, ResizeMode::BorderCrop, output.width() as usize);
            let ours = input_image(&input, &frame);
            assert_eq!(ours.dimensions(), output.dimensions());
            for (ours, theirs) in ours.as_raw().iter().zip(output.as_raw()) {
                // OpenCV has whole-number weights of 11 bits when growing, and rounds ties up by 2.
                assert!(ours.abs_diff(*theirs) <= 1, "{name}: {ours}, OpenCV has {theirs}");
            }
        }
    }

    proptest! {
        #[test]
        fn flat_images_stay_flat_and_means_are_kept(
            side in 1..40usize, input_size in 1..60usize, value in any::<u8>(), seed in any::<u8>(),
        ) {
            let flat = RgbImage::from_pixel(side as u32, side as u32, Rgb([value; 3]));
            prop_assert!(resized(&flat, input_size).iter().all(|&one| one == value));

            let mixed = RgbImage::from_fn(side as u32, side as u32, |x, y| {
                Rgb([(x as u8).wrapping_mul(37) ^ (y as u8).wrapping_mul(91) ^ seed; 3])
            });
            let mean = |values: &[u8]| {
                values.iter().map(|&one| f64::from(one)).sum::<f64>() / values.len() as f64
            };
            let source: Vec<u8> = mixed.pixels().map(|pixel| pixel.0[0]).collect();
            // Rounding moves each pixel by at most half a level.
            prop_assert!((mean(&source) - mean(&resized(&mixed, input_size))).abs() <= 0.5001);
        }
    }
}
