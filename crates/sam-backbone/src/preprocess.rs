//! From an image file's pixels to the network's input, and the way back for coordinates.

use burn::tensor::{Device, Tensor, TensorData};
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::area::area_resize;

/// Mean of red, green and blue over ImageNet, in grey levels 0..=255.
///
/// Source: `segment_anything/build_sam.py`.
pub const PIXEL_MEAN: [f32; 3] = [123.675, 116.28, 103.53];
/// Standard deviation of red, green and blue over ImageNet, in grey levels.
pub const PIXEL_STD: [f32; 3] = [58.395, 57.12, 57.375];

/// Height and width in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A rectangle of an image, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crop {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// How an image is brought to the square input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// SAM's own way: the longest side becomes the input size, the rest is zeros at the bottom or
    /// right. Keeps the aspect ratio.
    LongestSide,
    /// The way of the ProMISe paper's training: both sides become the input size.
    #[default]
    Plain,
    /// The way in which the ProMISe paper prepares endoscopic images: the dark border is cropped away,
    /// the rest is padded with black at the bottom or right to a square, and the square is scaled with
    /// area interpolation. Keeps the aspect ratio. Which part is kept is the caller's to say
    /// ([`Frame::of_crop`]).
    BorderCrop,
    /// MedSAM's own way: both sides become the input size, and the grey levels of the resized image from the lowest to
    /// the highest, all channels together, become 0 to 1; ImageNet's mean and deviation play no part.
    #[serde(rename = "medsam")]
    MedSam,
}

/// A name that no [`ResizeMode`] has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown way to resize `{name}`, expected `plain`, `longest_side`, `border_crop` or `medsam`"
)]
pub struct UnknownResizeModeError {
    /// What was asked for.
    pub name: String,
}

impl ResizeMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Plain, Self::LongestSide, Self::BorderCrop, Self::MedSam];

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::LongestSide => "longest_side",
            Self::BorderCrop => "border_crop",
            Self::MedSam => "medsam",
        }
    }
}

impl std::fmt::Display for ResizeMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for ResizeMode {
    type Err = UnknownResizeModeError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| UnknownResizeModeError { name: name.to_owned() })
    }
}

/// Where an image lies in the network's input: maps coordinates there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Size of the image as it was read.
    pub image: ImageSize,
    /// How it is brought to the input.
    pub mode: ResizeMode,
    /// The part of the image that the input shows; all of it but with [`ResizeMode::BorderCrop`].
    pub crop: Crop,
    /// The pixels of the input that show something of the image; the rest is padding. With
    /// [`ResizeMode::BorderCrop`] the last row or column may lie partly on the padding: see
    /// [`content_size`](Self::content_size).
    pub resized: ImageSize,
    /// Side of the square input.
    pub input_size: usize,
}

impl Frame {
    /// The frame of a whole image of size `image` in an input of side `input_size`.
    ///
    /// With [`ResizeMode::BorderCrop`] nothing is cropped, as for an image without a border: the border
    /// is a matter of pixels, which this function does not see.
    ///
    /// Source of the rounding: `segment_anything/utils/transforms.py`, `get_preprocess_shape`.
    pub fn new(image: ImageSize, mode: ResizeMode, input_size: usize) -> Self {
        let crop = Crop { left: 0, top: 0, width: image.width, height: image.height };
        let resized = match mode {
            ResizeMode::Plain | ResizeMode::MedSam => {
                ImageSize { height: input_size, width: input_size }
            }
            ResizeMode::LongestSide => {
                let scale = input_size as f64 / image.height.max(image.width) as f64;
                // A very elongated image must keep at least one pixel of its short side.
                let side = |length: usize| ((length as f64 * scale + 0.5) as usize).max(1);
                ImageSize { height: side(image.height), width: side(image.width) }
            }
            ResizeMode::BorderCrop => return Self::of_crop(image, crop, input_size),
        };
        Self { image, mode, crop, resized, input_size }
    }

    /// The frame of a part of an image, with [`ResizeMode::BorderCrop`].
    ///
    /// # Panics
    ///
    /// Panics if the part is empty or reaches out of the image: a bug in the caller.
    pub fn of_crop(image: ImageSize, crop: Crop, input_size: usize) -> Self {
        assert!(crop.width > 0 && crop.height > 0, "an empty part of an image: {crop:?}");
        assert!(
            crop.left + crop.width <= image.width && crop.top + crop.height <= image.height,
            "{crop:?} reaches out of {image:?}"
        );
        let side = crop.width.max(crop.height);
        let resized = ImageSize {
            height: (crop.height * input_size).div_ceil(side),
            width: (crop.width * input_size).div_ceil(side),
        };
        Self { image, mode: ResizeMode::BorderCrop, crop, resized, input_size }
    }

    /// Two lengths along x and two along y, in input and image pixels, that are the same length: their
    /// ratio is the scale.
    fn lengths(&self) -> [(f32, f32); 2] {
        match self.mode {
            ResizeMode::BorderCrop => {
                let side = self.crop.width.max(self.crop.height);
                [(self.input_size as f32, side as f32); 2]
            }
            ResizeMode::Plain | ResizeMode::LongestSide | ResizeMode::MedSam => [
                (self.resized.width as f32, self.image.width as f32),
                (self.resized.height as f32, self.image.height as f32),
            ],
        }
    }

    /// Width and height that the shown part of the image takes in the input, in input pixels. Whole
    /// numbers but with [`ResizeMode::BorderCrop`], whose scale is not rounded.
    pub fn content_size(&self) -> [f32; 2] {
        match self.mode {
            ResizeMode::BorderCrop => {
                let [(input_x, image_x), (input_y, image_y)] = self.lengths();
                [
                    self.crop.width as f32 * input_x / image_x,
                    self.crop.height as f32 * input_y / image_y,
                ]
            }
            ResizeMode::Plain | ResizeMode::LongestSide | ResizeMode::MedSam => {
                [self.resized.width as f32, self.resized.height as f32]
            }
        }
    }

    /// Maps a point `(x, y)` from image pixels to input pixels. A point that was cropped away lies
    /// outside of the input.
    pub fn input_from_image(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [(input_x, image_x), (input_y, image_y)] = self.lengths();
        [
            (x - self.crop.left as f32) * input_x / image_x,
            (y - self.crop.top as f32) * input_y / image_y,
        ]
    }

    /// Maps a point `(x, y)` from input pixels to image pixels.
    pub fn image_from_input(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [(input_x, image_x), (input_y, image_y)] = self.lengths();
        [
            x * image_x / input_x + self.crop.left as f32,
            y * image_y / input_y + self.crop.top as f32,
        ]
    }

    /// Maps a box `(x0, y0, x1, y1)` from image pixels to input pixels.
    pub fn input_box_from_image(&self, [x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
        let [x0, y0] = self.input_from_image([x0, y0]);
        let [x1, y1] = self.input_from_image([x1, y1]);
        [x0, y0, x1, y1]
    }

    /// Maps a box `(x0, y0, x1, y1)` from input pixels to image pixels.
    pub fn image_box_from_input(&self, [x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
        let [x0, y0] = self.image_from_input([x0, y0]);
        let [x1, y1] = self.image_from_input([x1, y1]);
        [x0, y0, x1, y1]
    }

    /// The point of the shown part of the image that is nearest to `(x, y)`, in image pixels: the
    /// point itself unless it was cropped away.
    pub fn nearest_shown(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let Crop { left, top, width, height } = self.crop;
        [x.clamp(left as f32, (left + width) as f32), y.clamp(top as f32, (top + height) as f32)]
    }

    /// Whether pixel `(x, y)` of the image is shown in the input.
    pub fn shows(&self, x: usize, y: usize) -> bool {
        let Crop { left, top, width, height } = self.crop;
        (left..left + width).contains(&x) && (top..top + height).contains(&y)
    }
}

/// Resizes an image as `frame` says, without padding: with the antialiased bilinear filter that SAM
/// uses (Pillow's), or with area interpolation after [`ResizeMode::BorderCrop`].
///
/// Returns an image of the size [`Frame::resized`].
pub fn resize_image(image: &RgbImage, frame: &Frame) -> RgbImage {
    let ImageSize { height, width } = frame.resized;
    if frame.mode == ResizeMode::BorderCrop {
        return area_resize(image, frame.crop, frame.input_size, frame.resized);
    }
    let (width, height) = (width as u32, height as u32);
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    // The typed interface: the dynamic one would compile a resizer for every pixel format there is.
    let pixels: Vec<U8x3> = image.pixels().map(|pixel| U8x3::new(pixel.0)).collect();
    let source = TypedImageRef::new(image.width(), image.height(), &pixels)
        .expect("an RGB buffer has one pixel per place");
    let mut target = TypedImage::new(width, height);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("bilinear convolution is defined for every size");
    let bytes = target.pixels().iter().flat_map(|pixel| pixel.0).collect();
    RgbImage::from_raw(width, height, bytes).expect("the target has three bytes per pixel")
}

/// The square input as a picture: the resized image, padded with black.
pub fn input_image(image: &RgbImage, frame: &Frame) -> RgbImage {
    let mut square = RgbImage::new(frame.input_size as u32, frame.input_size as u32);
    image::imageops::replace(&mut square, &resize_image(image, frame), 0, 0);
    square
}

/// A mask in the square input, 0 and 255: resized as the image is, then cut above 127. Padding is
/// background.
pub fn input_mask(mask: &GrayImage, frame: &Frame) -> GrayImage {
    /// Above it is foreground.
    const THRESHOLD: u8 = 127;

    let color = RgbImage::from_fn(mask.width(), mask.height(), |x, y| {
        image::Rgb([mask.get_pixel(x, y).0[0]; 3])
    });
    let input = input_image(&color, frame);
    GrayImage::from_fn(input.width(), input.height(), |x, y| {
        let [value, ..] = input.get_pixel(x, y).0;
        image::Luma([if value > THRESHOLD { u8::MAX } else { 0 }])
    })
}

/// Prepares one image: resize, normalize by ImageNet's mean and deviation, pad.
///
/// Padding is zero after normalization, as in SAM; with [`ResizeMode::BorderCrop`] it is black before,
/// as in the paper. With [`ResizeMode::MedSam`] there is no padding, and values lie in 0 to 1 instead: the lowest of the
/// image is 0 and the highest 1, and an image of one grey level is 0 everywhere.
///
/// # Shapes
///
/// - returns: `[1, 3, S, S]` with `S` the frame's input size, on `device`
///
/// Source: `segment_anything/modeling/sam.py`, `Sam.preprocess`; `MedSAM_Inference.py` of
/// <https://github.com/bowang-lab/MedSAM> for the range. MedSAM resizes with another filter (cubic, smoothed where it
/// reduces); we keep SAM's.
pub fn input_tensor(image: &RgbImage, frame: &Frame, device: &Device) -> Tensor<4> {
    let resized = resize_image(image, frame);
    let side = frame.input_size;
    let mut planes = vec![0.0_f32; 3 * side * side];
    let medsam = (frame.mode == ResizeMode::MedSam).then(|| level_range(&resized));
    for (channel, plane) in planes.chunks_exact_mut(side * side).enumerate() {
        let (mean, std) = medsam.unwrap_or((PIXEL_MEAN[channel], PIXEL_STD[channel]));
        if frame.mode == ResizeMode::BorderCrop {
            plane.fill(-mean / std);
        }
        for (row, pixels) in plane.chunks_exact_mut(side).zip(resized.rows()) {
            for (value, pixel) in row.iter_mut().zip(pixels) {
                *value = (f32::from(pixel.0[channel]) - mean) / std;
            }
        }
    }
    Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), device)
}

/// The lowest grey level of all channels, and how far the highest lies above it, at least a trifle as in MedSAM.
fn level_range(image: &RgbImage) -> (f32, f32) {
    let levels = image.as_raw();
    let lowest = f32::from(levels.iter().copied().min().unwrap_or_default());
    let highest = f32::from(levels.iter().copied().max().unwrap_or_default());
    (lowest, (highest - lowest).max(1e-8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_side_becomes_the_input_size() {
        let image = ImageSize { height: 288, width: 384 };
        let frame = Frame::new(image, ResizeMode::LongestSide, 1024);
        assert_eq!(frame.resized, ImageSize { height: 768, width: 1024 });
        assert_eq!(frame.input_from_image([192.0, 144.0]), [512.0, 384.0]);
    }

    #[test]
    fn plain_resize_scales_each_axis_by_itself() {
        let image = ImageSize { height: 100, width: 200 };
        let frame = Frame::new(image, ResizeMode::Plain, 1000);
        assert_eq!(frame.input_from_image([20.0, 10.0]), [100.0, 100.0]);
    }

    #[test]
    fn padding_is_zero_after_normalization() {
        let image = RgbImage::from_pixel(4, 2, image::Rgb([255, 255, 255]));
        let size = ImageSize { height: 2, width: 4 };
        let frame = Frame::new(size, ResizeMode::LongestSide, 8);
        let input = input_tensor(&image, &frame, &Device::flex());
        let values = input.into_data().try_to_vec::<f32>().expect("f32");
        let white_red = (255.0 - PIXEL_MEAN[0]) / PIXEL_STD[0];
        assert!(values[..4 * 8].iter().all(|&value| value == white_red));
        assert!(values[4 * 8..8 * 8].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_border_is_cut_off_and_black_is_padding() {
        // 6 x 4, of which 4 x 2 are bright, into 8 x 8: scale 2.
        let image = RgbImage::from_fn(6, 4, |x, y| {
            image::Rgb([if (1..5).contains(&x) && (1..3).contains(&y) { 255 } else { 0 }; 3])
        });
        let crop = Crop { left: 1, top: 1, width: 4, height: 2 };
        let frame = Frame::of_crop(ImageSize { height: 4, width: 6 }, crop, 8);
        assert_eq!(frame.resized, ImageSize { height: 4, width: 8 });
        assert_eq!(frame.input_from_image([3.0, 2.0]), [4.0, 2.0]);
        assert_eq!(frame.nearest_shown([0.0, 1.5]), [1.0, 1.5]);
        assert!(frame.shows(4, 2) && !frame.shows(5, 2) && !frame.shows(4, 3));

        let input = input_tensor(&image, &frame, &Device::flex());
        let values = input.into_data().try_to_vec::<f32>().expect("f32");
        let red = |value: f32| (value - PIXEL_MEAN[0]) / PIXEL_STD[0];
        assert!(values[..4 * 8].iter().all(|&value| value == red(255.0)));
        assert!(values[4 * 8..8 * 8].iter().all(|&value| value == red(0.0)));
        let picture = input_image(&image, &frame);
        assert_eq!(picture.dimensions(), (8, 8));
        assert_eq!((picture.get_pixel(7, 3).0, picture.get_pixel(0, 4).0), ([255; 3], [0; 3]));
    }

    /// By hand: both channels of a pixel count for the range, which is 40 to 240.
    #[test]
    fn medsams_way_maps_the_range_of_the_image_to_0_to_1() {
        let image = RgbImage::from_fn(2, 2, |x, y| {
            image::Rgb(if (x, y) == (0, 0) { [40, 90, 140] } else { [240, 140, 90] })
        });
        let size = ImageSize { height: 2, width: 2 };
        let frame = Frame::new(size, ResizeMode::MedSam, 2);
        let values = |image: &RgbImage| {
            let input = input_tensor(image, &frame, &Device::flex());
            input.into_data().try_to_vec::<f32>().expect("f32")
        };
        let expected = [0.0, 1.0, 1.0, 1.0, 0.25, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25];
        assert_eq!(values(&image), expected);
        assert_eq!(values(&RgbImage::from_pixel(2, 2, image::Rgb([7; 3]))), [0.0; 12]);
        // Neither side keeps its ratio to the other.
        let wide = Frame::new(ImageSize { height: 10, width: 40 }, ResizeMode::MedSam, 20);
        assert_eq!(wide.resized, ImageSize { height: 20, width: 20 });
        assert_eq!(wide.input_from_image([20.0, 5.0]), [10.0, 10.0]);
    }

    #[test]
    fn modes_are_found_by_the_names_that_files_have() {
        for mode in ResizeMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "crop".parse::<ResizeMode>().expect_err("no such mode");
        assert_eq!(
            error.to_string(),
            "unknown way to resize `crop`, expected `plain`, `longest_side`, `border_crop` or `medsam`"
        );
    }

    /// A frame of every mode; the crop lies anywhere in the image.
    fn frames() -> impl Strategy<Value = Frame> {
        let sizes = (1..900usize, 1..900usize, 16..400usize);
        (sizes, 0..4usize, [0.0..1.0f64, 0.0..1.0, 0.0..1.0, 0.0..1.0]).prop_map(
            |((height, width, input), mode, [left, top, right, bottom])| {
                let image = ImageSize { height, width };
                let mode = ResizeMode::ALL[mode];
                if mode != ResizeMode::BorderCrop {
                    return Frame::new(image, mode, input);
                }
                let range = |a: f64, b: f64, length: usize| {
                    let first = (a.min(b) * length as f64) as usize;
                    (first, ((a.max(b) * length as f64) as usize).max(first + 1) - first)
                };
                let (left, width) = range(left, right, width);
                let (top, height) = range(top, bottom, height);
                Frame::of_crop(image, Crop { left, top, width, height }, input)
            },
        )
    }

    proptest! {
        #[test]
        fn points_and_boxes_go_there_and_back(
            frame in frames(), x in 0.0..1.0f32, y in 0.0..1.0f32,
        ) {
            let ImageSize { height, width } = frame.image;
            let point = [x * width as f32, y * height as f32];
            let back = frame.image_from_input(frame.input_from_image(point));
            // Far below half a pixel: a few roundings of numbers below 900 in f32.
            prop_assert!((back[0] - point[0]).abs() <= 1e-3);
            prop_assert!((back[1] - point[1]).abs() <= 1e-3);
            let corners = [0.0, 0.0, point[0], point[1]];
            let back = frame.image_box_from_input(frame.input_box_from_image(corners));
            for (back, corner) in back.iter().zip(corners) {
                prop_assert!((back - corner).abs() <= 1e-3);
            }
        }

        #[test]
        fn what_is_shown_lies_inside_the_input(
            frame in frames(), x in 0.0..1.0f32, y in 0.0..1.0f32,
        ) {
            let side = frame.input_size;
            prop_assert!(frame.resized.height <= side && frame.resized.width <= side);
            let [width, height] = frame.content_size();
            prop_assert!(width <= frame.resized.width as f32 && height <= frame.resized.height as f32);
            prop_assert!(width > frame.resized.width as f32 - 1.0);
            let size = frame.image;
            let point = frame.nearest_shown([x * size.width as f32, y * size.height as f32]);
            let [x, y] = frame.input_from_image(point);
            let reach = side as f32 * (1.0 + 1e-4);
            prop_assert!((-1e-2..=reach).contains(&x) && (-1e-2..=reach).contains(&y), "{x} {y}");
        }
    }
}
