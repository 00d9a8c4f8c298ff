//! From low-resolution logits to masks at the image's own size.

use burn::tensor::{
    Tensor,
    module::interpolate,
    ops::{InterpolateMode, InterpolateOptions},
};

use crate::preprocess::{Frame, ImageSize};

/// Logits at the image's own size: up to the input size, crop the padding away, then to the image.
///
/// Source: `segment_anything/modeling/sam.py`, `Sam.postprocess_masks`.
///
/// # Shapes
///
/// - `low_res_logits`: `[B, M, h, w]`, all images in the same `frame`
/// - returns: `[B, M, H, W]` with `H W` the image's size
pub fn masks_in_image(low_res_logits: Tensor<4>, frame: &Frame) -> Tensor<4> {
    let input = ImageSize { height: frame.input_size, width: frame.input_size };
    let in_input = resize_bilinear(low_res_logits, input)
        .slice_dim(2, 0..frame.resized.height)
        .slice_dim(3, 0..frame.resized.width);
    resize_bilinear(in_input, frame.image)
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
