//! Pictures whose levels mean something between background and foreground.

use std::path::Path;

use image::DynamicImage;

use crate::DataError;
use crate::decode::{decode, mask_levels};

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
/// Any format of [`decode_image`](crate::decode_image). A gray file of 16 bits keeps them; everything else has 8, and a
/// color counts as in [`decode_mask`](crate::decode_mask).
///
/// # Errors
///
/// Those of [`decode_image`](crate::decode_image).
pub fn decode_gray_map(path: &Path) -> Result<GrayMap, DataError> {
    let picture = decode(path)?.0;
    let (width, height) = (picture.width(), picture.height());
    let (levels, white) = match picture {
        DynamicImage::ImageLuma16(gray) => (gray.into_raw(), u16::MAX),
        other => {
            let levels = mask_levels(&other).0.into_raw().into_iter().map(u16::from).collect();
            (levels, u16::from(u8::MAX))
        }
    };
    Ok(GrayMap { width, height, levels, white })
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
