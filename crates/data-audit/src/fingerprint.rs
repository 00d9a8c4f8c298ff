//! Whether two images look the same.
//!
//! Two measures on tiny gray versions of the images, since either alone errs:
//!
//! - a *difference hash* of 256 bits: is a cell of a 17 x 16 grid darker than its right neighbor?
//!   (Krawetz, "Kind of Like That", 2013, with four times as many bits.) Cheap to compare, and it sees
//!   texture, but flat regions give random bits;
//! - the *correlation* of 32 x 32 thumbnails (Pearson). It sees the large forms and is blind to
//!   brightness and contrast, but two dark spots on bright skin correlate well.
//!
//! The cells are means of integer arithmetic over the image stretched to a square, so a copy that was
//! resized without keeping its proportions, compressed or brightened is still found. A flipped,
//! rotated or cropped copy is not.

use image::RgbImage;

/// The most bits of 256 in which the hashes of two images may differ that look the same.
///
/// Both thresholds were chosen by looking at pairs in resized copies of public sets. With 40 bits and
/// 0.97, there are four pairs among the 1,000 images of Kvasir-SEG (the three known ones at 0 to 5
/// bits and 0.9999, one more at 10 bits and 0.993), four among 1,100 of ISIC 2018 (6 to 36 bits, 0.986
/// and more), all eight the same scene to the eye, and 238 among CVC-ClinicDB's 612 frames, all within
/// a video. The next pair of Kvasir-SEG (39 bits, 0.955) shows two scenes, and so do the first pairs of
/// different videos of CVC-ClinicDB that 50 bits would let in (46 bits, 0.973).
pub const MAX_HASH_DISTANCE: u32 = 40;

/// The least correlation of the thumbnails of two images that look the same.
pub const MIN_CORRELATION: f64 = 0.97;

const HASH_SIDE: usize = 16;
const THUMB_SIDE: usize = 32;

/// What is kept of an image to compare it with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: [u64; HASH_SIDE * HASH_SIDE / 64],
    thumbnail: Box<[u8]>,
    /// Sum of the thumbnail's values.
    sum: i64,
    /// Their number times their sum of squares, less the square of their sum: never negative, and 0
    /// for one flat color.
    spread: i64,
}

impl Fingerprint {
    /// The fingerprint of an image; one without pixels is like a black one.
    pub fn of(image: &RgbImage) -> Self {
        let grid = cells(image, HASH_SIDE + 1, HASH_SIDE);
        let mut hash = [0; HASH_SIDE * HASH_SIDE / 64];
        for (index, (row, column)) in (0..HASH_SIDE)
            .flat_map(|row| (0..HASH_SIDE).map(move |column| (row, column)))
            .enumerate()
        {
            let at = row * (HASH_SIDE + 1) + column;
            if grid[at] < grid[at + 1] {
                hash[index / 64] |= 1_u64 << (index % 64);
            }
        }
        let thumbnail: Box<[u8]> = cells(image, THUMB_SIDE, THUMB_SIDE)
            .into_iter()
            // Cells are in 1/256 of a gray value.
            .map(|value| (value / 256) as u8)
            .collect();
        let sum: i64 = thumbnail.iter().map(|&value| i64::from(value)).sum();
        let squares: i64 = thumbnail.iter().map(|&value| i64::from(value).pow(2)).sum();
        let spread = thumbnail.len() as i64 * squares - sum * sum;
        Self { hash, thumbnail, sum, spread }
    }

    /// Bits in which two hashes differ, of 256.
    pub fn hash_distance(&self, other: &Self) -> u32 {
        self.hash.iter().zip(&other.hash).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Correlation of two thumbnails, in `[-1, 1]`; 0 if one of them is of one flat color.
    pub fn correlation(&self, other: &Self) -> f64 {
        if self.spread == 0 || other.spread == 0 {
            return 0.0;
        }
        let products: i64 = self
            .thumbnail
            .iter()
            .zip(&other.thumbnail)
            .map(|(&a, &b)| i64::from(u32::from(a) * u32::from(b)))
            .sum();
        let shared = self.thumbnail.len() as i64 * products - self.sum * other.sum;
        shared as f64 / ((self.spread as f64).sqrt() * (other.spread as f64).sqrt())
    }

    /// Hash distance and correlation of two images that look the same, and `None` for others.
    pub fn looks_like(&self, other: &Self) -> Option<(u32, f64)> {
        let distance = self.hash_distance(other);
        if distance > MAX_HASH_DISTANCE {
            return None;
        }
        let correlation = self.correlation(other);
        (correlation >= MIN_CORRELATION).then_some((distance, correlation))
    }
}

/// Mean gray of each cell of a grid, in 1/256 of a gray value, row by row. A cell has at least one
/// pixel, so cells overlap in images that are smaller than the grid.
fn cells(image: &RgbImage, columns: usize, rows: usize) -> Vec<u64> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return vec![0; columns * rows];
    }
    let edges = |index: usize, cells: usize, size: usize| {
        let start = index * size / cells;
        (start, ((index + 1) * size / cells).max(start + 1))
    };
    let raw = image.as_raw();
    let mut sums = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let (top, bottom) = edges(row, rows, height);
        for column in 0..columns {
            let (left, right) = edges(column, columns, width);
            let mut sum = 0;
            for y in top..bottom {
                let line = &raw[3 * (y * width + left)..3 * (y * width + right)];
                // Luma with weights that add up to 256 (Rec. 601).
                sum += line
                    .chunks_exact(3)
                    .map(|rgb| {
                        77 * u64::from(rgb[0]) + 150 * u64::from(rgb[1]) + 29 * u64::from(rgb[2])
                    })
                    .sum::<u64>();
            }
            sums.push(sum / ((bottom - top) * (right - left)) as u64);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Every pixel of a 32 x 32 image is a cell of the thumbnail.
    fn image(gray: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(32, 32, |x, y| Rgb([gray(x, y); 3]))
    }

    #[test]
    fn correlation_is_pearsons() {
        let ramp = Fingerprint::of(&image(|x, _| 4 * x as u8));
        let brighter = Fingerprint::of(&image(|x, _| 100 + 2 * x as u8));
        let reversed = Fingerprint::of(&image(|x, _| 200 - 4 * x as u8));
        let across = Fingerprint::of(&image(|_, y| 4 * y as u8));
        let flat = Fingerprint::of(&image(|_, _| 9));
        assert!((ramp.correlation(&ramp) - 1.0).abs() < 1e-12);
        assert!((ramp.correlation(&brighter) - 1.0).abs() < 1e-12);
        assert!((ramp.correlation(&reversed) + 1.0).abs() < 1e-12);
        assert!(ramp.correlation(&across).abs() < 1e-12);
        assert_eq!(flat.correlation(&flat), 0.0);
        // By hand: a dot in one of 1,024 cells, and two dots of which one is the same.
        let dot = Fingerprint::of(&image(|x, y| if (x, y) == (0, 0) { 200 } else { 0 }));
        let two = Fingerprint::of(&image(|x, y| if y == 0 && x < 2 { 200 } else { 0 }));
        let expected = (1024.0 - 2.0) / (1023.0_f64 * 2.0 * 1022.0).sqrt();
        assert!((dot.correlation(&two) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_hash_says_where_it_gets_brighter_to_the_right() {
        let rising = Fingerprint::of(&image(|x, _| 4 * x as u8));
        let falling = Fingerprint::of(&image(|x, _| 200 - 4 * x as u8));
        assert_eq!(rising.hash, [u64::MAX; 4]);
        assert_eq!(falling.hash, [0; 4]);
        assert_eq!(rising.hash_distance(&falling), 256);
        assert_eq!(rising.looks_like(&rising), Some((0, rising.correlation(&rising))));
        assert_eq!(rising.looks_like(&falling), None);
    }

    #[test]
    fn tiny_images_have_fingerprints_too() {
        for (width, height) in [(0, 0), (0, 3), (1, 1), (3, 2), (33, 1)] {
            let print = Fingerprint::of(&RgbImage::from_pixel(width, height, Rgb([7; 3])));
            assert_eq!(print.hash_distance(&print), 0);
            assert_eq!(print.looks_like(&print), None, "one flat color is like nothing");
        }
    }
}
