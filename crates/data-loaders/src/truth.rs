//! Binary ground truth.

use image::{GrayImage, Luma};

/// A binary mask, one `bool` per pixel, row by row from the top-left corner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthMask {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` values; pixel `(x, y)` is at `y * width + x`.
    pub values: Vec<bool>,
}

impl TruthMask {
    /// The gray value above which a pixel of a mask file is foreground.
    pub const THRESHOLD: u8 = 127;

    /// A mask from its pixels.
    ///
    /// # Panics
    ///
    /// Panics if there are not `width * height` values: a bug in the caller.
    pub fn new(width: u32, height: u32, values: Vec<bool>) -> Self {
        assert_eq!(values.len(), width as usize * height as usize, "one value per pixel");
        Self { width, height, values }
    }

    /// Thresholds a gray image: above [`THRESHOLD`](Self::THRESHOLD) is foreground.
    pub fn from_gray(gray: &GrayImage) -> Self {
        let values = gray.as_raw().iter().map(|&value| value > Self::THRESHOLD).collect();
        Self { width: gray.width(), height: gray.height(), values }
    }

    /// The mask as a gray image of 0 and 255, e.g. to save it as PNG.
    pub fn to_gray(&self) -> GrayImage {
        GrayImage::from_fn(self.width, self.height, |x, y| {
            Luma([if self.at(x, y) { u8::MAX } else { 0 }])
        })
    }

    /// Whether pixel `(x, y)` is foreground.
    ///
    /// # Panics
    ///
    /// Panics if the pixel is outside of the mask: a bug in the caller.
    pub fn at(&self, x: u32, y: u32) -> bool {
        assert!(x < self.width && y < self.height, "pixel ({x}, {y}) is outside of the mask");
        self.values[y as usize * self.width as usize + x as usize]
    }

    /// Number of foreground pixels.
    pub fn foreground(&self) -> usize {
        self.values.iter().filter(|&&value| value).count()
    }

    /// Foreground pixels as a share of all, in `[0, 1]`; 0 for a mask without pixels.
    pub fn foreground_share(&self) -> f64 {
        if self.values.is_empty() {
            return 0.0;
        }
        self.foreground() as f64 / self.values.len() as f64
    }

    /// Whether there is no foreground. Legal (an image without a lesion), but point samplers and
    /// overlap measures need a rule for it.
    pub fn is_empty(&self) -> bool {
        !self.values.contains(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreground_starts_at_128() {
        let gray = GrayImage::from_fn(4, 1, |x, _| Luma([[0, 127, 128, 255][x as usize]]));
        let mask = TruthMask::from_gray(&gray);
        assert_eq!(mask.values, [false, false, true, true]);
        assert_eq!(mask.foreground(), 2);
        assert_eq!(mask.foreground_share(), 0.5);
        assert_eq!(mask.to_gray().as_raw(), &[0, 0, 255, 255]);
    }

    #[test]
    fn pixels_are_addressed_by_column_and_row() {
        let mask = TruthMask::new(2, 3, vec![false, true, false, false, false, false]);
        assert!(mask.at(1, 0));
        assert!(!mask.at(0, 1));
        assert!(!mask.is_empty());
        assert!(TruthMask::new(1, 1, vec![false]).is_empty());
    }

    #[test]
    fn a_mask_without_pixels_has_no_foreground() {
        let mask = TruthMask::new(0, 0, Vec::new());
        assert!(mask.is_empty());
        assert_eq!(mask.foreground_share(), 0.0);
    }
}
