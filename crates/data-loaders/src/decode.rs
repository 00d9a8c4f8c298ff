//! Decoding of images and masks.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::{DataError, TruthMask, jpeg};

/// The most pixels an image may have: 64 Mi, e.g. 8192 x 8192.
///
/// More than twice the largest image of ISIC 2018 (4499 x 6748). It keeps a broken or hostile
/// header from asking for the memory of the machine.
pub const MAX_PIXELS: u64 = 64 << 20;

/// Bytes per pixel of the largest supported pixel format, RGBA of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;

/// A decoded mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The thresholded mask.
    pub truth: TruthMask,
    /// How many pixels were neither 0 nor 255.
    pub gray_pixels: usize,
}

/// Decodes a png, jpeg, bmp or tiff image to 8-bit RGB.
///
/// The format is told by the content, not by the name. Gray and palette images become RGB, 16 bits
/// become 8, an alpha channel is dropped. An orientation in the EXIF data is ignored, since the
/// masks of a data set are drawn on the stored pixels.
///
/// # Errors
///
/// [`DataError::Open`], [`DataError::EmptyFile`], [`DataError::Truncated`],
/// [`DataError::TooLarge`], [`DataError::FloatPixels`] or [`DataError::Decode`].
pub fn decode_image(path: &Path) -> Result<RgbImage, DataError> {
    Ok(decode(path)?.into_rgb8())
}

/// Decodes a mask: gray above 127 is foreground.
///
/// Any format of [`decode_image`]; colors become luma (Rec. 709). An all-black mask is legal and
/// gives an empty mask.
///
/// # Errors
///
/// Those of [`decode_image`], and [`DataError::DimMask`] for a mask that is not all black but has
/// no value above the threshold.
pub fn decode_mask(path: &Path) -> Result<Decoded, DataError> {
    let gray = decode(path)?.into_luma8();
    let max = gray.as_raw().iter().copied().max().unwrap_or(0);
    if (1..=TruthMask::THRESHOLD).contains(&max) {
        return Err(DataError::DimMask { max, path: path.into() });
    }
    let gray_pixels = gray.as_raw().iter().filter(|&&value| value != 0 && value != 255).count();
    Ok(Decoded { truth: TruthMask::from_gray(&gray), gray_pixels })
}

fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let open_error = |source| DataError::Open { path: path.into(), source };
    let decode_error = |source| DataError::Decode { path: path.into(), source };

    let file = File::open(path).map_err(open_error)?;
    if file.metadata().map_err(open_error)?.len() == 0 {
        return Err(DataError::EmptyFile { path: path.into() });
    }
    let mut reader =
        ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(open_error)?;
    if reader.format() == Some(ImageFormat::Jpeg)
        && !jpeg::is_whole(&std::fs::read(path).map_err(open_error)?)
    {
        return Err(DataError::Truncated { path: path.into() });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_PIXELS * MAX_PIXEL_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(decode_error)?;

    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DataError::TooLarge { width, height, path: path.into() });
    }
    let color = decoder.color_type();
    if matches!(color, ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(DataError::FloatPixels { color: format!("{color:?}"), path: path.into() });
    }
    DynamicImage::from_decoder(decoder).map_err(decode_error)
}
