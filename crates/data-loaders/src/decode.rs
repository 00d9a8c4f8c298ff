//! Decoding of images and masks.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Luma,
    RgbImage,
};

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

/// A mask pixel whose largest and smallest channel differ by more than this has a color. The chroma
/// noise of a gray JPEG is far below.
const COLOR_DISTANCE: u8 = 64;

/// A decoded mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The thresholded mask.
    pub truth: TruthMask,
    /// How many pixels were neither 0 nor 255: anti-aliased edges, JPEG masks. Colored pixels are counted
    /// by their brightest channel.
    pub gray_pixels: usize,
    /// How many pixels had a color: more than one class, or a mask drawn in red.
    pub colored_pixels: usize,
}

/// Decodes a png, jpeg, bmp or tiff image to 8-bit RGB.
///
/// The format is told by the content, not by the name. Gray, palette and CMYK images become RGB, 16 bits
/// become 8, an alpha channel is dropped. An orientation in the EXIF data is honored: the image is
/// turned to how a viewer shows it, and so is a mask.
///
/// # Errors
///
/// [`DataError::Open`], [`DataError::EmptyFile`], [`DataError::LongFile`], [`DataError::Truncated`],
/// [`DataError::SeveralPictures`], [`DataError::TooLarge`], [`DataError::FloatPixels`] or
/// [`DataError::Decode`].
pub fn decode_image(path: &Path) -> Result<RgbImage, DataError> {
    Ok(decode(path)?.0.into_rgb8())
}

/// Decodes a mask: gray above 127 is foreground.
///
/// Any format of [`decode_image`]; a slight tint becomes luma (Rec. 709), a color counts by its brightest
/// channel, so that a mask drawn in red or blue is not dark. All classes of a mask with several colors are
/// foreground. An all-black mask is legal and gives an empty mask.
///
/// # Errors
///
/// Those of [`decode_image`], and [`DataError::DimMask`] for a mask that is not all black but has
/// no value above the threshold.
pub fn decode_mask(path: &Path) -> Result<Decoded, DataError> {
    mask_of(decode(path)?.0, path)
}

/// How many pixels of a mask have each level, before thresholding; also of a mask that
/// [`decode_mask`] calls too dim.
///
/// # Errors
///
/// Those of [`decode_image`].
pub fn mask_histogram(path: &Path) -> Result<[u64; 256], DataError> {
    let (levels, _) = mask_levels(&decode(path)?.0);
    let mut histogram = [0; 256];
    for &level in levels.as_raw() {
        histogram[usize::from(level)] += 1;
    }
    Ok(histogram)
}

/// Decodes an image and its mask, which must have the same size.
///
/// # Errors
///
/// Those of [`decode_image`] and [`decode_mask`] for either file, [`DataError::SizeMismatch`], and
/// [`DataError::Orientation`] if they would fit but for an orientation in the EXIF data of one of them.
pub(crate) fn decode_pair(
    image_path: &Path,
    mask_path: &Path,
) -> Result<(RgbImage, Decoded), DataError> {
    let (image, image_turn) = decode(image_path)?;
    let (mask, mask_turn) = decode(mask_path)?;
    let (image_size, mask_size) = ((image.width(), image.height()), (mask.width(), mask.height()));
    if image_size != mask_size {
        let (image, mask) = (image_path.into(), mask_path.into());
        let turned = exchanges_sides(image_turn) != exchanges_sides(mask_turn);
        return Err(if turned && image_size == (mask_size.1, mask_size.0) {
            DataError::Orientation { image_size, mask_size, image, mask }
        } else {
            DataError::SizeMismatch { image_size, mask_size, image, mask }
        });
    }
    Ok((image.into_rgb8(), mask_of(mask, mask_path)?))
}

/// Whether width and height are exchanged.
fn exchanges_sides(turn: Orientation) -> bool {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270,
        Rotate270FlipH,
    };
    match turn {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => true,
        NoTransforms | Rotate180 | FlipHorizontal | FlipVertical => false,
    }
}

fn mask_of(mask: DynamicImage, path: &Path) -> Result<Decoded, DataError> {
    let (gray, colored_pixels) = mask_levels(&mask);
    let max = gray.as_raw().iter().copied().max().unwrap_or(0);
    if (1..=TruthMask::THRESHOLD).contains(&max) {
        return Err(DataError::DimMask { max, path: path.into() });
    }
    let gray_pixels = gray.as_raw().iter().filter(|&&value| value != 0 && value != 255).count();
    Ok(Decoded { truth: TruthMask::from_gray(&gray), gray_pixels, colored_pixels })
}

/// The level of each pixel, and how many had a color.
pub(crate) fn mask_levels(mask: &DynamicImage) -> (GrayImage, usize) {
    let mut gray = mask.to_luma8();
    let mut colored = 0;
    if mask.color().has_color() {
        for (level, pixel) in gray.pixels_mut().zip(mask.to_rgb8().pixels()) {
            let [r, g, b] = pixel.0;
            let (low, high) = (r.min(g).min(b), r.max(g).max(b));
            if high - low > COLOR_DISTANCE {
                *level = Luma([high]);
                colored += 1;
            }
        }
    }
    (gray, colored)
}

/// The image as a viewer shows it, and how it was turned for that.
pub(crate) fn decode(path: &Path) -> Result<(DynamicImage, Orientation), DataError> {
    let open_error = |source| DataError::Open { path: path.into(), source };
    let decode_error = |source| DataError::Decode { path: path.into(), source };

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
    let mut reader =
        ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(open_error)?;
    let format = reader.format();
    if format == Some(ImageFormat::Jpeg) && !jpeg::is_whole(&bytes) {
        return Err(DataError::Truncated { path: path.into() });
    }
    let count = pictures::count(&bytes, format);
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
