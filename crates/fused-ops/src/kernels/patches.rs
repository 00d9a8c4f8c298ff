//! 2D convolution whose output has its channels last, for inference: some rows of the output at a time, their patches
//! unfolded in a core's own cache and multiplied.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    conv2d::ConvShape,
    gelu::Activation,
    layer::{Factor, Layer, PART, finish},
    matrix::View,
    zeros,
};

/// Numbers of a patch that are unfolded together, unless a row of the kernel has more: of a part's patches, less than
/// half a megabyte.
const PATCH: usize = 768;

/// Images in memory, whichever way round.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub values: &'a [f32],
    /// How many.
    pub count: usize,
    /// Distance between two images, rows, columns and channels.
    pub strides: [usize; 4],
}

/// A convolution with zeros as padding.
///
/// - `images`: `[B, H, W, in]` by its strides
/// - `layer`: weight `[out, in, kh, kw]`
/// - returns: `[B, (H + 2 padding - kh) / stride + 1, .., out]`
pub(crate) fn forward(
    images: Images<'_>,
    layer: Layer<'_>,
    shape: ConvShape,
    activation: Activation,
) -> Vec<f32> {
    let [height, width] = shape.output();
    let [kernel_height, kernel_width] = shape.kernel;
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let patch = inputs * kernel_height * kernel_width;
    // `[kh, kw, in, out]`, as patches are unfolded.
    let mut weight = vec![0.0; layer.weight.len()];
    for (at, weight) in weight.chunks_exact_mut(outputs).enumerate() {
        let (input, place) = (at % inputs, at / inputs);
        let within = input * kernel_height * kernel_width + place;
        let values = layer.weight.chunks_exact(patch);
        weight.iter_mut().zip(values).for_each(|(weight, values)| *weight = values[within]);
    }
    let run = kernel_width * inputs;
    let at_once = (PATCH / run.max(1)).clamp(1, kernel_height);
    let factors: Vec<(Range<usize>, Factor<'_>)> = (0..kernel_height)
        .step_by(at_once)
        .map(|first| {
            let rows = first..(first + at_once).min(kernel_height);
            let weight = &weight[rows.start * run * outputs..rows.end * run * outputs];
            let weight = View::new(weight, rows.len() * run, outputs);
            (rows, Factor::new(weight, images.count * height * width))
        })
        .collect();
    let mut out = zeros(images.count * height * width * outputs);
    if out.is_empty() {
        return out;
    }
    let rows = PART.div_ceil(width);
    out.par_chunks_mut(height * width * outputs)
        .enumerate()
        .flat_map(|(image, out)| {
            let parts = out.par_chunks_mut(rows * width * outputs).enumerate();
            parts.map(move |(part, out)| (image, part * rows, out))
        })
        .for_each_init(
            || vec![0.0; rows * width * at_once * run],
            |patches, (image, first, out)| {
                let pixels = out.len() / outputs;
                for (kernel_rows, factor) in &factors {
                    let length = kernel_rows.len() * run;
                    let patches = &mut patches[..pixels * length];
                    for (row, patches) in patches.chunks_exact_mut(width * length).enumerate() {
                        unfold(patches, images, shape, (image, first + row), kernel_rows);
                    }
                    let add = kernel_rows.start > 0;
                    factor.multiply(out, View::new(patches, pixels, length), add);
                }
                finish(out, layer.bias, activation);
            },
        );
    out
}

/// The patches of a row of the output, as some rows of the kernel see them, `[width of the output, kernel rows, kw, in]`.
fn unfold(
    patches: &mut [f32],
    images: Images<'_>,
    shape: ConvShape,
    (image, row): (usize, usize),
    kernel_rows: &Range<usize>,
) {
    let [of_image, of_row, of_column, of_channel] = images.strides;
    let ([height, width], [_, kernel_width]) = (shape.input, shape.kernel);
    let inputs = shape.in_channels;
    let run = kernel_width * inputs;
    let patch = kernel_rows.len() * run;
    let runs_are_whole = of_channel == 1 && of_column == inputs;
    for (x, patch) in patches.chunks_exact_mut(patch).enumerate() {
        for (i, places) in kernel_rows.clone().zip(patch.chunks_exact_mut(run)) {
            let y = (row * shape.stride[0] + i).checked_sub(shape.padding[0]);
            let Some(y) = y.filter(|&y| y < height) else {
                places.fill(0.0);
                continue;
            };
            let values = &images.values[image * of_image + y * of_row..];
            let left = (x * shape.stride[1]).checked_sub(shape.padding[1]);
            if let Some(left) = left.filter(|left| runs_are_whole && left + kernel_width <= width) {
                places.copy_from_slice(&values[left * inputs..][..run]);
                continue;
            }
            for (j, place) in places.chunks_exact_mut(inputs).enumerate() {
                let column = (x * shape.stride[1] + j).checked_sub(shape.padding[1]);
                match column.filter(|&column| column < width) {
                    Some(column) => {
                        for (channel, value) in place.iter_mut().enumerate() {
                            *value = values[column * of_column + channel * of_channel];
                        }
                    }
                    None => place.fill(0.0),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Numbers, assert_close, assert_same_on_threads, gelu, random};

    fn channels_last(values: &[f32], count: usize, shape: ConvShape) -> Images<'_> {
        let ([height, width], channels) = (shape.input, shape.in_channels);
        let strides = [height * width * channels, width * channels, channels, 1];
        Images { values, count, strides }
    }

    fn channels_first(values: &[f32], count: usize, shape: ConvShape) -> Images<'_> {
        let ([height, width], channels) = (shape.input, shape.in_channels);
        let strides = [height * width * channels, width, 1, height * width];
        Images { values, count, strides }
    }

    /// The formula, one place at a time, in double precision.
    fn plain(images: Images<'_>, layer: Layer<'_>, shape: ConvShape) -> Vec<f64> {
        let ([height, width], [kernel_height, kernel_width]) = (shape.output(), shape.kernel);
        let mut out = Vec::new();
        for at in 0..images.count * height * width * shape.out_channels {
            let (pixel, output) = (at / shape.out_channels, at % shape.out_channels);
            let (image, y, x) = (pixel / width / height, pixel / width % height, pixel % width);
            let mut sum = f64::from(layer.bias[output]);
            for tap in 0..shape.in_channels * kernel_height * kernel_width {
                let (j, i) = (tap % kernel_width, tap / kernel_width % kernel_height);
                let channel = tap / kernel_width / kernel_height;
                let row = (y * shape.stride[0] + i).checked_sub(shape.padding[0]);
                let column = (x * shape.stride[1] + j).checked_sub(shape.padding[1]);
                let (Some(row), Some(column)) = (row, column) else { continue };
                if row < shape.input[0] && column < shape.input[1] {
                    let place = [image, row, column, channel];
                    let at = place.iter().zip(images.strides).map(|(at, stride)| at * stride);
                    let taps = shape.in_channels * kernel_height * kernel_width;
                    let weight = layer.weight[output * taps + tap];
                    sum += f64::from(images.values[at.sum::<usize>()]) * f64::from(weight);
                }
            }
            out.push(sum);
        }
        out
    }

    /// Images and sizes: of one part and of several, kernels whose rows are unfolded together and one by one, and, last,
    /// enough products for tiles, on a processor that has them.
    fn cases() -> Vec<(usize, ConvShape)> {
        let case =
            |count, [in_channels, out_channels]: [usize; 2], input, kernel, stride, padding| {
                (count, ConvShape { in_channels, out_channels, input, kernel, stride, padding })
            };
        vec![
            case(1, [3, 5], [9, 12], [3, 3], [2, 2], [1, 1]),
            case(2, [6, 4], [7, 5], [1, 1], [1, 1], [0, 0]),
            case(2, [3, 2], [5, 8], [2, 5], [1, 3], [0, 4]),
            case(1, [300, 3], [4, 3], [3, 3], [1, 1], [1, 1]),
            case(2, [4, 6], [40, 19], [3, 3], [1, 1], [1, 1]),
            case(1, [1, 2], [3, 300], [3, 3], [1, 1], [2, 2]),
            case(1, [200, 40], [30, 31], [3, 3], [1, 1], [1, 1]),
        ]
    }

    #[test]
    fn it_is_the_formula_whichever_way_round_images_are() {
        for (count, shape) in cases() {
            let [height, width] = shape.input;
            let input = random(count * height * width * shape.in_channels, 1);
            let taps = shape.kernel[0] * shape.kernel[1] * shape.in_channels;
            let numbers = Numbers::random(taps * shape.out_channels, shape.out_channels, 2);
            for images in [channels_last, channels_first].map(|of| of(&input, count, shape)) {
                let expected = plain(images, numbers.layer(), shape);
                let found = forward(images, numbers.layer(), shape, Activation::Identity);
                assert_close(&found, &expected, &format!("{shape:?} {:?}", images.strides));
                let expected: Vec<f64> = expected.into_iter().map(gelu).collect();
                let found = forward(images, numbers.layer(), shape, Activation::Gelu);
                assert_close(&found, &expected, &format!("{shape:?} with GELU"));
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for (count, shape) in cases() {
            let [height, width] = shape.input;
            let input = random(count * height * width * shape.in_channels, 3);
            let taps = shape.kernel[0] * shape.kernel[1] * shape.in_channels;
            let numbers = Numbers::random(taps * shape.out_channels, shape.out_channels, 4);
            assert_same_on_threads(|| {
                let images = channels_last(&input, count, shape);
                forward(images, numbers.layer(), shape, Activation::Gelu)
            });
        }
    }
}
