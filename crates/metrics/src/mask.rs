//! What is compared: binary masks and soft maps.

use crate::MetricsError;

/// A binary mask; true is foreground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    pixels: Vec<bool>,
}

impl Mask {
    /// A mask from its pixels, row by row from the top-left corner.
    ///
    /// # Errors
    ///
    /// [`MetricsError::NoPixels`] if a side is 0, [`MetricsError::Length`] if there is not one
    /// value per pixel.
    pub fn new(width: usize, height: usize, pixels: Vec<bool>) -> Result<Self, MetricsError> {
        check_size(width, height, pixels.len())?;
        Ok(Self { width, height, pixels })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row by row from the top-left corner.
    pub fn pixels(&self) -> &[bool] {
        &self.pixels
    }

    /// The pixels of a row, from left to right.
    pub(crate) fn row(&self, y: usize) -> &[bool] {
        &self.pixels[y * self.width..][..self.width]
    }

    /// Pixels of the foreground.
    pub fn area(&self) -> usize {
        count_true(&self.pixels)
    }

    /// Whether there is no foreground.
    pub fn is_empty(&self) -> bool {
        !self.pixels.contains(&true)
    }
}

/// A prediction before any cut: the probability of foreground at each pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftMap {
    width: usize,
    height: usize,
    probabilities: Vec<f64>,
}

impl SoftMap {
    /// A soft map from its probabilities, row by row from the top-left corner.
    ///
    /// # Errors
    ///
    /// [`MetricsError::NoPixels`] if a side is 0, [`MetricsError::Length`] if there is not one
    /// value per pixel, [`MetricsError::NoProbability`] with the first value outside `[0, 1]` or NaN.
    pub fn new(width: usize, height: usize, probabilities: Vec<f64>) -> Result<Self, MetricsError> {
        check_size(width, height, probabilities.len())?;
        // NaN is in no range, so this finds it too.
        match probabilities.iter().position(|value| !(0.0..=1.0).contains(value)) {
            Some(index) => Err(MetricsError::NoProbability {
                x: index % width,
                y: index / width,
                value: probabilities[index],
            }),
            None => Ok(Self { width, height, probabilities }),
        }
    }

    /// The same from the numbers of a network.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn from_f32(
        width: usize,
        height: usize,
        probabilities: &[f32],
    ) -> Result<Self, MetricsError> {
        Self::new(width, height, probabilities.iter().map(|&value| f64::from(value)).collect())
    }

    /// The map that is 1 on a mask and 0 elsewhere.
    pub fn of_mask(mask: &Mask) -> Self {
        let probabilities = mask.pixels.iter().map(|&on| f64::from(u8::from(on))).collect();
        Self { width: mask.width, height: mask.height, probabilities }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The probabilities, row by row from the top-left corner.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The mask of all pixels whose probability is greater than `threshold`.
    pub fn above(&self, threshold: f64) -> Mask {
        let pixels = self.probabilities.iter().map(|&value| value > threshold).collect();
        Mask { width: self.width, height: self.height, pixels }
    }

    /// The mask of all pixels whose probability is at least `threshold`.
    pub fn at_least(&self, threshold: f64) -> Mask {
        let pixels = self.probabilities.iter().map(|&value| value >= threshold).collect();
        Mask { width: self.width, height: self.height, pixels }
    }

    /// The same map stretched so that its least value is 0 and its largest 1. A constant map stays as it is.
    pub fn stretched(&self) -> Self {
        let (least, most) = range(&self.probabilities);
        if least == most {
            return self.clone();
        }
        let probabilities =
            self.probabilities.iter().map(|p| (p - least) / (most - least)).collect();
        Self { width: self.width, height: self.height, probabilities }
    }

    /// That this map can be compared with `truth` pixel by pixel.
    pub(crate) fn check_same_size(&self, truth: &Mask) -> Result<(), MetricsError> {
        check_same_size((self.width, self.height), truth)
    }
}

/// How many pixels are true.
fn count_true(pixels: &[bool]) -> usize {
    pixels.chunks(BYTE).map(|chunk| sum_of_bytes(chunk.iter().copied())).sum()
}

/// How many pixels are true in both of two masks of one size.
pub(crate) fn count_both(a: &Mask, b: &Mask) -> usize {
    let chunks = a.pixels.chunks(BYTE).zip(b.pixels.chunks(BYTE));
    chunks.map(|(a, b)| sum_of_bytes(a.iter().zip(b).map(|(&a, &b)| a & b))).sum()
}

/// Pixels that can be counted in a byte, which is done for many at a time.
const BYTE: usize = 255;

/// How many are true of at most [`BYTE`].
fn sum_of_bytes(pixels: impl Iterator<Item = bool>) -> usize {
    usize::from(pixels.map(u8::from).fold(0_u8, u8::wrapping_add))
}

/// The least and the largest value, of which there is at least one and none is NaN.
fn range(values: &[f64]) -> (f64, f64) {
    let mut least = [f64::INFINITY; 8];
    let mut most = [f64::NEG_INFINITY; 8];
    // Side by side: one comparison does not wait for the one before.
    let (eights, rest) = values.as_chunks::<8>();
    for values in eights {
        for ((least, most), &value) in least.iter_mut().zip(&mut most).zip(values) {
            *least = if value < *least { value } else { *least };
            *most = if value > *most { value } else { *most };
        }
    }
    (
        least.iter().chain(rest).copied().fold(f64::INFINITY, f64::min),
        most.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

fn check_size(width: usize, height: usize, actual: usize) -> Result<(), MetricsError> {
    if width == 0 || height == 0 {
        return Err(MetricsError::NoPixels { width, height });
    }
    if width.checked_mul(height) != Some(actual) {
        return Err(MetricsError::Length { width, height, actual });
    }
    Ok(())
}

pub(crate) fn check_same_size(
    prediction: (usize, usize),
    truth: &Mask,
) -> Result<(), MetricsError> {
    let truth = (truth.width, truth.height);
    if prediction == truth { Ok(()) } else { Err(MetricsError::Size { prediction, truth }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_another_length_is_refused() {
        assert_eq!(
            Mask::new(3, 2, vec![true; 5]),
            Err(MetricsError::Length { width: 3, height: 2, actual: 5 })
        );
        assert_eq!(
            SoftMap::new(3, 2, vec![0.0; 7]),
            Err(MetricsError::Length { width: 3, height: 2, actual: 7 })
        );
        assert!(Mask::new(usize::MAX, 2, vec![]).is_err());
    }

    #[test]
    fn a_picture_without_pixels_is_refused() {
        let no_pixels = MetricsError::NoPixels { width: 0, height: 4 };
        assert_eq!(Mask::new(0, 4, vec![]), Err(no_pixels.clone()));
        assert_eq!(SoftMap::new(0, 4, vec![]), Err(no_pixels));
    }

    #[test]
    fn the_first_value_that_is_no_probability_is_named_with_its_pixel() {
        for bad in [1.5, -0.1, f64::INFINITY] {
            assert_eq!(
                SoftMap::new(3, 2, vec![0.0, 0.5, 1.0, 0.0, bad, 7.0]),
                Err(MetricsError::NoProbability { x: 1, y: 1, value: bad })
            );
        }
        let error = SoftMap::new(2, 1, vec![0.0, f64::NAN]).unwrap_err();
        assert_eq!(error.to_string(), "NaN at (1, 0) is no probability");
    }

    #[test]
    fn a_cut_takes_only_what_is_greater() {
        let map = SoftMap::new(3, 1, vec![0.4, 0.5, 0.6]).unwrap();
        assert_eq!(map.above(0.5).pixels(), [false, false, true]);
        assert_eq!(map.at_least(0.5).pixels(), [false, true, true]);
    }

    #[test]
    fn stretching_reaches_both_ends_and_leaves_a_constant_map_alone() {
        let map = SoftMap::new(3, 1, vec![0.25, 0.5, 0.75]).unwrap();
        assert_eq!(map.stretched().probabilities(), [0.0, 0.5, 1.0]);
        let constant = SoftMap::new(2, 1, vec![0.25; 2]).unwrap();
        assert_eq!(constant.stretched(), constant);
    }

    #[test]
    fn a_mask_is_a_map_of_zeros_and_ones() {
        let mask = Mask::new(3, 1, vec![true, false, true]).unwrap();
        assert_eq!(SoftMap::of_mask(&mask).probabilities(), [1.0, 0.0, 1.0]);
        assert_eq!(SoftMap::of_mask(&mask).above(0.5), mask);
        assert_eq!(
            (mask.area(), SoftMap::from_f32(3, 1, &[1.0, 0.0, 1.0])),
            (2, Ok(SoftMap::of_mask(&mask)))
        );
    }

    #[test]
    fn one_foreground_pixel_makes_a_mask_not_empty() {
        assert!(Mask::new(2, 1, vec![false, false]).unwrap().is_empty());
        assert!(!Mask::new(2, 1, vec![false, true]).unwrap().is_empty());
    }
}
