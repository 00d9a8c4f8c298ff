//! Decoding of images and masks.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use file_watchdog::watched;
use image::error::{UnsupportedError, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};

use crate::fit::{Fit, Shown, fit};
use crate::levels::Levels;
use crate::{DataError, TruthMask, jpeg, pictures};

/// The most pixels an image may have: 64 Mi, e.g. 8192 x 8192.
///
/// More than twice the largest image of ISIC 2018 (4499 x 6748). It keeps a broken or hostile
/// header from asking for the memory of the machine.
pub const MAX_PIXELS: u64 = 64 << 20;

/// Bytes per pixel of the largest supported pixel format, RGBA of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;

/// The longest file that is read: the largest image without compression, and room for what else a file
/// holds.
const MAX_FILE_BYTES: u64 = MAX_PIXELS * MAX_PIXEL_BYTES + (16 << 20);

/// The formats that are read. Named here, since a decoder is there if any crate of a program asks for
/// it: which files are images must not depend on what draws the figures.
const FORMATS: [ImageFormat; 4] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Tiff];

/// A decoded image file, and what of it the pixels do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedImage {
    /// The image as [`decode_image`] gives it.
    pub pixels: RgbImage,
    /// The EXIF orientation that it was turned by, 1 to 8; 1 if there was none.
    pub exif_orientation: u8,
    /// The largest value of a color channel in a file of 16 bits, where white is 65,535; nothing for other files.
    pub largest_of_16_bits: Option<u16>,
}

/// A decoded mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The thresholded mask.
    pub truth: TruthMask,
    /// How many pixels were neither black nor white (0 and 255, or 0 and 65,535): anti-aliased edges, JPEG masks.
    /// Colored pixels are counted by their brightest channel.
    pub gray_pixels: usize,
    /// How many pixels had a color: more than one class, or a mask drawn in red.
    pub colored_pixels: usize,
    /// The EXIF orientation that it was turned by, 1 to 8; 1 if there was none.
    pub exif_orientation: u8,
}

/// Decodes a png, jpeg, bmp or tiff image to 8-bit RGB.
///
/// The format is told by the content, not by the name. Gray, palette and CMYK images become RGB, 16 bits
/// become 8, an alpha channel is dropped. An orientation in the EXIF data is honored: the image is
/// turned to how a viewer shows it, and so is a mask.
///
/// # Errors
///
/// [`DataError::Open`], [`DataError::NotAFile`], [`DataError::EmptyFile`], [`DataError::LongFile`],
/// [`DataError::Truncated`], [`DataError::SeveralPictures`], [`DataError::TooLarge`], [`DataError::FloatPixels`] or
/// [`DataError::Decode`].
pub fn decode_image(path: &Path) -> Result<RgbImage, DataError> {
    Ok(decode(path)?.0.into_rgb8())
}

/// Decodes the bytes of an image file like [`decode_image`], for whoever got them over another way than a file. `name` stands in
/// errors in place of the path.
///
/// # Errors
///
/// Those of [`decode_image`] but for reading.
pub fn decode_image_bytes(bytes: &[u8], name: &Path) -> Result<RgbImage, DataError> {
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: name.into() });
    }
    Ok(decode_bytes(bytes, name)?.0.into_rgb8())
}

/// Decodes an image like [`decode_image`], and says what somebody who checks a data set wants to know besides.
///
/// # Errors
///
/// Those of [`decode_image`].
pub fn decode_image_with_facts(path: &Path) -> Result<DecodedImage, DataError> {
    let (image, turn) = decode(path)?;
    let largest_of_16_bits = match &image {
        DynamicImage::ImageLuma16(image) => image.as_raw().iter().max().copied(),
        DynamicImage::ImageLumaA16(image) => image.pixels().map(|pixel| pixel.0[0]).max(),
        DynamicImage::ImageRgb16(image) => image.as_raw().iter().max().copied(),
        DynamicImage::ImageRgba16(image) => {
            image.pixels().flat_map(|pixel| pixel.0.into_iter().take(3)).max()
        }
        _ => None,
    };
    let exif_orientation = turn.to_exif();
    Ok(DecodedImage { pixels: image.into_rgb8(), exif_orientation, largest_of_16_bits })
}

/// Decodes a mask: gray above 127 (above 32,767 in a file of 16 bits) is foreground.
///
/// Any format of [`decode_image`]; a slight tint becomes luma (Rec. 709), a color counts by its brightest
/// channel, so that a mask drawn in red or blue is not dark. All classes of a mask with several colors are
/// foreground. An all-black mask is legal and gives an empty mask.
///
/// # Errors
///
/// Those of [`decode_image`], and [`DataError::DimMask`] for a mask that is not all black but has
/// no value above the threshold, at the depth of the file.
pub fn decode_mask(path: &Path) -> Result<Decoded, DataError> {
    let (mask, turn) = decode(path)?;
    mask_of(&mask, turn, path)
}

/// How many pixels of a mask have each level, before thresholding; also of a mask that
/// [`decode_mask`] calls too dim.
///
/// Levels of 16 bits are rounded to 8, but only black counts as 0 and only white as 255.
///
/// # Errors
///
/// Those of [`decode_image`].
pub fn mask_histogram(path: &Path) -> Result<[u64; 256], DataError> {
    let levels = Levels::of_mask(&decode(path)?.0);
    let mut histogram = [0; 256];
    for level in levels.of_8_bits() {
        histogram[usize::from(level)] += 1;
    }
    Ok(histogram)
}

/// Decodes an image and its mask, which must have the same size.
///
/// # Errors
///
/// Those of [`decode_image`] and [`decode_mask`] for either file, [`DataError::SizeMismatch`], and
/// [`DataError::Orientation`] as [`fit`] says.
pub(crate) fn decode_pair(
    image_path: &Path,
    mask_path: &Path,
) -> Result<(RgbImage, Decoded), DataError> {
    let (image, image_turn) = decode(image_path)?;
    let (mask, mask_turn) = decode(mask_path)?;
    let (image_size, mask_size) = ((image.width(), image.height()), (mask.width(), mask.height()));
    let named = || (image_path.to_owned(), mask_path.to_owned());
    match fit(Shown::new(image_size, image_turn), Shown::new(mask_size, mask_turn)) {
        Fit::Fits => Ok((image.into_rgb8(), mask_of(&mask, mask_turn, mask_path)?)),
        Fit::Sizes => {
            let (image, mask) = named();
            Err(DataError::SizeMismatch { image_size, mask_size, image, mask })
        }
        Fit::Orientation => {
            let (image, mask) = named();
            Err(DataError::Orientation { image_size, mask_size, image, mask })
        }
    }
}

fn mask_of(mask: &DynamicImage, turn: Orientation, path: &Path) -> Result<Decoded, DataError> {
    let levels = Levels::of_mask(mask);
    levels.refuse_dim(path)?;
    let (black, white) = (0, levels.white);
    let gray = levels.values.iter().filter(|&&value| value != black && value != white);
    Ok(Decoded {
        gray_pixels: gray.count(),
        truth: TruthMask::new(
            mask.width(),
            mask.height(),
            levels.values.iter().map(|&value| value > white / 2).collect(),
        ),
        colored_pixels: levels.colored_pixels,
        exif_orientation: turn.to_exif(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let open_error = |source| DataError::Open { path: path.into(), source };
    // Before it is opened: to open a pipe is to wait for somebody who writes.
    if !std::fs::metadata(path).map_err(open_error)?.is_file() {
        return Err(DataError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(open_error)?;
    let length = file.metadata().map_err(open_error)?.len();
    if length > MAX_FILE_BYTES {
        return Err(DataError::LongFile { limit: MAX_FILE_BYTES, path: path.into() });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // A file may grow while it is read.
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(open_error)?;
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { path: path.into() });
    }
    Ok(bytes)
}

/// The image as a viewer shows it, and how it was turned for that.
pub(crate) fn decode(path: &Path) -> Result<(DynamicImage, Orientation), DataError> {
    let bytes = watched(path, || read(path))?;
    decode_bytes(&bytes, path)
}

fn decode_bytes(bytes: &[u8], path: &Path) -> Result<(DynamicImage, Orientation), DataError> {
    let open_error = |source| DataError::Open { path: path.into(), source };
    let decode_error = |source| DataError::Decode { path: path.into(), source };

    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(open_error)?;
    let format = reader.format();
    if let Some(other) = format.filter(|format| !FORMATS.contains(format)) {
        let kind = UnsupportedErrorKind::Format(other.into());
        let error = UnsupportedError::from_format_and_kind(other.into(), kind);
        return Err(decode_error(ImageError::Unsupported(error)));
    }
    if format == Some(ImageFormat::Jpeg) && !jpeg::is_whole(bytes) {
        return Err(DataError::Truncated { path: path.into() });
    }
    let count = pictures::count(bytes, format);
    if count > 1 {
        return Err(DataError::SeveralPictures { count, path: path.into() });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_PIXELS * MAX_PIXEL_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(decode_error)?;

    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(DataError::TooLarge { width, height, path: path.into() });
    }
    let color = decoder.color_type();
    if matches!(color, ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(DataError::FloatPixels { color: format!("{color:?}"), path: path.into() });
    }
    let orientation = decoder.orientation().map_err(decode_error)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(decode_error)?;
    image.apply_orientation(orientation);
    Ok((image, orientation))
}
