//! From low-resolution logits to masks at the image's own size.

use burn::tensor::{
    Tensor,
    module::interpolate,
    ops::{InterpolateMode, InterpolateOptions},
};

use crate::preprocess::{Crop, Frame, ImageSize, ResizeMode};

/// The logit of a pixel that the network did not see because it was cropped away: so low that its
/// probability is 0 in `f32`, and within the range of `f16`.
pub const OUTSIDE_LOGIT: f32 = -1e4;

/// Logits at the image's own size: up to the input size, crop the padding away, then to the image.
///
/// With [`ResizeMode::BorderCrop`] the square is scaled to the side that the padded part of the image
/// has, cut to that part, and put where it was; everything else is [`OUTSIDE_LOGIT`].
///
/// Source: `segment_anything/modeling/sam.py`, `Sam.postprocess_masks`.
///
/// # Shapes
///
/// - `low_res_logits`: `[B, M, h, w]`, all images in the same `frame`
/// - returns: `[B, M, H, W]` with `H W` the image's size
pub fn masks_in_image(low_res_logits: Tensor<4>, frame: &Frame) -> Tensor<4> {
    let input = ImageSize { height: frame.input_size, width: frame.input_size };
    let in_input = resize_bilinear(low_res_logits, input);
    match frame.mode {
        ResizeMode::Plain | ResizeMode::LongestSide | ResizeMode::MedSam => {
            let shown =
                in_input.slice_dim(2, 0..frame.resized.height).slice_dim(3, 0..frame.resized.width);
            resize_bilinear(shown, frame.image)
        }
        ResizeMode::BorderCrop => {
            let Crop { left, top, width, height } = frame.crop;
            let side = width.max(height);
            let shown = resize_bilinear(in_input, ImageSize { height: side, width: side })
                .slice_dim(2, 0..height)
                .slice_dim(3, 0..width);
            let [batch, masks, ..] = shown.dims();
            let ImageSize { height: rows, width: columns } = frame.image;
            if (height, width) == (rows, columns) {
                return shown;
            }
            Tensor::full([batch, masks, rows, columns], OUTSIDE_LOGIT, &shown.device())
                .slice_assign([0..batch, 0..masks, top..top + height, left..left + width], shown)
        }
    }
}

/// Bilinear interpolation without antialias, corners not aligned: PyTorch's
/// `F.interpolate(mode="bilinear", align_corners=False)`.
///
/// # Shapes
///
/// - `maps`: `[B, C, h, w]`
/// - returns: `[B, C, size.height, size.width]`
pub fn resize_bilinear(maps: Tensor<4>, size: ImageSize) -> Tensor<4> {
    let [_, _, height, width] = maps.dims();
    if (height, width) == (size.height, size.width) {
        return maps;
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear)
        .with_align_corners(false)
        .with_output_size([size.height, size.width]);
    interpolate(maps, options)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use image::{GrayImage, Luma};

    use super::*;
    use crate::preprocess::input_mask;

    fn iou(a: &[bool], b: &[bool]) -> f64 {
        let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
        let any = a.iter().zip(b).filter(|(a, b)| **a || **b).count();
        both as f64 / any as f64
    }

    #[test]
    fn a_mask_goes_to_the_input_and_back() {
        let image = ImageSize { height: 200, width: 260 };
        let crop = Crop { left: 30, top: 8, width: 203, height: 181 };
        let frames = [
            Frame::new(image, ResizeMode::Plain, 256),
            Frame::new(image, ResizeMode::LongestSide, 256),
            Frame::new(image, ResizeMode::BorderCrop, 256),
            Frame::of_crop(image, crop, 256),
            Frame::of_crop(image, crop, 128),
        ];
        // An ellipse inside the crop, off its center.
        let inside = |x: u32, y: u32| {
            let (x, y) = (f64::from(x) - 150.5, f64::from(y) - 80.5);
            (x / 60.0).powi(2) + (y / 45.0).powi(2) <= 1.0
        };
        let mask = GrayImage::from_fn(260, 200, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]));
        let truth: Vec<bool> = mask.as_raw().iter().map(|&value| value > 0).collect();
        for frame in frames {
            let side = frame.input_size;
            let logits = input_mask(&mask, &frame)
                .as_raw()
                .iter()
                .map(|&value| if value > 0 { 4.0 } else { -4.0 })
                .collect::<Vec<f32>>();
            let data = TensorData::new(logits, [1, 1, side, side]);
            let back = masks_in_image(Tensor::from_data(data, &Device::flex()), &frame);
            assert_eq!(back.dims(), [1, 1, 200, 260]);
            let back = back.into_data().try_to_vec::<f32>().expect("f32");
            let back: Vec<bool> = back.iter().map(|&logit| logit > 0.0).collect();
            let iou = iou(&truth, &back);
            // Half a pixel of its outline, of about 330, at the coarser of the two scales.
            assert!(iou > 0.97, "{iou} with {frame:?}");
        }
    }

    #[test]
    fn what_was_cropped_away_is_background_for_certain() {
        let image = ImageSize { height: 10, width: 12 };
        let crop = Crop { left: 3, top: 2, width: 6, height: 4 };
        let frame = Frame::of_crop(image, crop, 16);
        let logits = Tensor::<4>::full([1, 2, 4, 4], 3.0, &Device::flex());
        let masks = masks_in_image(logits, &frame);
        let probabilities = burn::tensor::activation::sigmoid(masks.clone());
        let masks = masks.into_data().try_to_vec::<f32>().expect("f32");
        let probabilities = probabilities.into_data().try_to_vec::<f32>().expect("f32");
        for (at, (logit, probability)) in masks.iter().zip(probabilities).enumerate() {
            let (x, y) = (at % 12, at / 12 % 10);
            if frame.shows(x, y) {
                assert_eq!(*logit, 3.0);
            } else {
                assert_eq!((*logit, probability), (OUTSIDE_LOGIT, 0.0), "at {x}, {y}");
            }
        }
    }
}
