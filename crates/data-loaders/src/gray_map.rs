//! Pictures whose levels mean something between background and foreground.

use std::path::Path;

use crate::DataError;
use crate::decode::decode;
use crate::levels::Levels;

/// The gray levels of a picture at the depth of its file: a prediction of another program, or a mask before it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrayMap {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` levels, row by row from the top-left corner.
    pub levels: Vec<u16>,
    /// The level of white: 255, or 65,535 for a file of 16 bits.
    pub white: u16,
}

/// Decodes the levels of a gray picture.
///
/// Any format of [`decode_image`](crate::decode_image), at the depth of the file. A color counts as in
/// [`decode_mask`](crate::decode_mask).
///
/// # Errors
///
/// Those of [`decode_image`](crate::decode_image).
pub fn decode_gray_map(path: &Path) -> Result<GrayMap, DataError> {
    let picture = decode(path)?.0;
    Ok(gray_map((picture.width(), picture.height()), Levels::of_mask(&picture)))
}

/// Decodes the levels of a mask, for somebody who cuts it at another level than
/// [`decode_mask`](crate::decode_mask) does.
///
/// # Errors
///
/// Those of [`decode_mask`](crate::decode_mask): a mask that is neither all black nor above half of white anywhere is
/// [`DataError::DimMask`].
pub fn decode_truth_map(path: &Path) -> Result<GrayMap, DataError> {
    let picture = decode(path)?.0;
    let levels = Levels::of_mask(&picture);
    levels.refuse_dim(path)?;
    Ok(gray_map((picture.width(), picture.height()), levels))
}

fn gray_map((width, height): (u32, u32), levels: Levels) -> GrayMap {
    GrayMap { width, height, levels: levels.values, white: levels.white }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};

    use super::*;

    #[test]
    fn a_file_keeps_its_depth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        GrayImage::from_fn(3, 1, |x, _| Luma([[0, 7, 255][x as usize]])).save(&path).unwrap();
        let map = decode_gray_map(&path).unwrap();
        assert_eq!((map.width, map.height, map.white), (3, 1, 255));
        assert_eq!(map.levels, [0, 7, 255]);

        let deep: ImageBuffer<Luma<u16>, Vec<u16>> =
            ImageBuffer::from_fn(1, 3, |_, y| Luma([[0, 7, 65_535][y as usize]]));
        deep.save(&path).unwrap();
        let map = decode_gray_map(&path).unwrap();
        assert_eq!((map.width, map.height, map.white), (1, 3, 65_535));
        assert_eq!(map.levels, [0, 7, 65_535]);
    }

    #[test]
    fn a_gray_picture_with_three_channels_is_gray() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        RgbImage::from_fn(2, 1, |x, _| Rgb([100 * x as u8; 3])).save(&path).unwrap();
        assert_eq!(decode_gray_map(&path).unwrap().levels, [0, 100]);
        let error = decode_gray_map(&folder.path().join("none.png")).unwrap_err();
        assert!(matches!(error, DataError::Open { .. }));
    }
}
