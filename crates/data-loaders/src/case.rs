//! One decoded case: an image and the mask that goes with it.

use image::RgbImage;

use crate::TruthMask;

/// One decoded case. Image and mask always have the same size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Stem of the image file, e.g. `cju0qkwl35piu0993l0dewei2`; unique within a data set.
    pub id: String,
    /// Name of the data set that the case belongs to. It differs within a set made by
    /// [`DataSet::join`](crate::DataSet::join).
    pub data: String,
    /// The image as stored, 8 bits per channel, no crop and no resize.
    pub image: RgbImage,
    /// The true mask, in the same pixel frame as `image`. It may be empty.
    pub truth: TruthMask,
    /// How many pixels of the mask file were neither 0 nor 255 (JPEG masks, anti-aliased edges).
    pub mask_gray_pixels: usize,
}
