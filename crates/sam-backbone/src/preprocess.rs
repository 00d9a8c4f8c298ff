//! From an image file's pixels to the network's input, and the way back for coordinates.

use burn::tensor::{Device, Tensor, TensorData};
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::RgbImage;
use serde::{Deserialize, Serialize};

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

/// How an image is brought to the square input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// SAM's own way: the longest side becomes the input size, the rest is zeros at the bottom or
    /// right. Keeps the aspect ratio.
    LongestSide,
    /// The way of the ProMISe paper: both sides become the input size.
    #[default]
    Plain,
}

/// Where an image lies in the network's input: maps coordinates there and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Size of the image as it was read.
    pub image: ImageSize,
    /// Size of the image inside the input, before padding.
    pub resized: ImageSize,
    /// Side of the square input.
    pub input_size: usize,
}

impl Frame {
    /// The frame of an image of size `image` in an input of side `input_size`.
    ///
    /// Source of the rounding: `segment_anything/utils/transforms.py`, `get_preprocess_shape`.
    pub fn new(image: ImageSize, mode: ResizeMode, input_size: usize) -> Self {
        let resized = match mode {
            ResizeMode::Plain => ImageSize { height: input_size, width: input_size },
            ResizeMode::LongestSide => {
                let scale = input_size as f64 / image.height.max(image.width) as f64;
                // A very elongated image must keep at least one pixel of its short side.
                let side = |length: usize| ((length as f64 * scale + 0.5) as usize).max(1);
                ImageSize { height: side(image.height), width: side(image.width) }
            }
        };
        Self { image, resized, input_size }
    }

    /// Maps a point `(x, y)` from image pixels to input pixels.
    pub fn input_from_image(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            x * self.resized.width as f32 / self.image.width as f32,
            y * self.resized.height as f32 / self.image.height as f32,
        ]
    }

    /// Maps a point `(x, y)` from input pixels to image pixels.
    pub fn image_from_input(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            x * self.image.width as f32 / self.resized.width as f32,
            y * self.image.height as f32 / self.resized.height as f32,
        ]
    }

    /// Maps a box `(x0, y0, x1, y1)` from image pixels to input pixels.
    pub fn input_box_from_image(&self, [x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
        let [x0, y0] = self.input_from_image([x0, y0]);
        let [x1, y1] = self.input_from_image([x1, y1]);
        [x0, y0, x1, y1]
    }
}

/// Resizes an image as `frame` says, with the antialiased bilinear filter that SAM uses (Pillow's).
pub fn resize_image(image: &RgbImage, frame: &Frame) -> RgbImage {
    let ImageSize { height, width } = frame.resized;
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

/// Prepares one image: resize, normalize by ImageNet's mean and deviation, pad with zeros.
///
/// # Shapes
///
/// - returns: `[1, 3, S, S]` with `S` the frame's input size, on `device`
///
/// Source: `segment_anything/modeling/sam.py`, `Sam.preprocess`.
pub fn input_tensor(image: &RgbImage, frame: &Frame, device: &Device) -> Tensor<4> {
    let resized = resize_image(image, frame);
    let side = frame.input_size;
    let mut planes = vec![0.0_f32; 3 * side * side];
    for (channel, plane) in planes.chunks_exact_mut(side * side).enumerate() {
        let (mean, std) = (PIXEL_MEAN[channel], PIXEL_STD[channel]);
        for (row, pixels) in plane.chunks_exact_mut(side).zip(resized.rows()) {
            for (value, pixel) in row.iter_mut().zip(pixels) {
                *value = (f32::from(pixel.0[channel]) - mean) / std;
            }
        }
    }
    Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), device)
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

    proptest! {
        #[test]
        fn points_go_there_and_back(
            height in 1..2000usize, width in 1..2000usize, x in 0.0..1.0f32, y in 0.0..1.0f32,
            longest in any::<bool>(),
        ) {
            let mode = if longest { ResizeMode::LongestSide } else { ResizeMode::Plain };
            let frame = Frame::new(ImageSize { height, width }, mode, 1024);
            let point = [x * width as f32, y * height as f32];
            let back = frame.image_from_input(frame.input_from_image(point));
            prop_assert!((back[0] - point[0]).abs() <= 1e-3 * width as f32);
            prop_assert!((back[1] - point[1]).abs() <= 1e-3 * height as f32);
            prop_assert!(frame.resized.height <= 1024 && frame.resized.width <= 1024);
        }
    }
}
