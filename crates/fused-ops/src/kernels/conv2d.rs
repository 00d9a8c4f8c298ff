//! 2D convolution without groups and dilation, as matrix products of unfolded patches; large ones of 3x3 go
//! another way, see [`winograd`].
//!
//! Patches are never unfolded as a whole: a part of the channels and of the output's rows at a time,
//! small enough for a core's own cache.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    matrix::{View, multiply},
    winograd, zeros,
};

/// Output positions that are computed together.
const STRIP: usize = 256;
/// Numbers of unfolded patches that are held together, 1 MiB.
const PATCH_NUMBERS: usize = 1 << 18;
/// Weights up to which every image has a gradient of its own before they are added up.
const FEW_WEIGHTS: usize = 1 << 18;

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub in_channels: usize,
    pub out_channels: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros on both sides of each axis.
    pub padding: [usize; 2],
}

impl ConvShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.input[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    pub fn in_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub fn out_pixels(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// Positions in a kernel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Length of an unfolded patch.
    fn patch(&self) -> usize {
        self.in_channels * self.taps()
    }

    /// Whether an image is its own unfolded patches.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Cuts the output into ranges of rows.
    fn strips(&self) -> Vec<Range<usize>> {
        let [height, width] = self.output();
        let rows = (STRIP / width.max(1)).max(1);
        (0..height).step_by(rows).map(|row| row..(row + rows).min(height)).collect()
    }

    /// Cuts the input channels into ranges whose unfolded patches of a strip are held together.
    fn channel_blocks(&self, most: usize) -> Vec<Range<usize>> {
        let strip = STRIP.max(self.output()[1]);
        let block = (PATCH_NUMBERS / (strip * self.taps()).max(1)).clamp(1, most);
        (0..self.in_channels)
            .step_by(block)
            .map(|channel| channel..(channel + block).min(self.in_channels))
            .collect()
    }
}

/// Which inputs an output reads along one axis, at one position of the kernel.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    stride: usize,
    padding: usize,
}

impl Axis {
    fn of(shape: ConvShape, axis: usize) -> Self {
        Self { size: shape.input[axis], stride: shape.stride[axis], padding: shape.padding[axis] }
    }

    /// Place in the input, `None` in the padding.
    fn input(self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap).checked_sub(self.padding).filter(|&at| at < self.size)
    }

    /// Outputs below `outputs` that read the input and not the padding.
    fn inside(self, tap: usize, outputs: usize) -> Range<usize> {
        let first = self.padding.saturating_sub(tap).div_ceil(self.stride);
        let past = (self.size + self.padding).saturating_sub(tap).div_ceil(self.stride);
        let past = past.min(outputs);
        first.min(past)..past
    }
}

/// Visits every row of the matrix of unfolded patches, cut at the rows of the output:
/// `(channel, place of the run, input row and first column if it reads any, outputs inside)`.
fn for_each_run(
    shape: ConvShape,
    channels: Range<usize>,
    rows: Range<usize>,
    mut visit: impl FnMut(Run),
) {
    let width = shape.output()[1];
    let [vertical, horizontal] = [0, 1].map(|axis| Axis::of(shape, axis));
    let mut start = 0;
    for channel in channels {
        for tap_y in 0..shape.kernel[0] {
            for tap_x in 0..shape.kernel[1] {
                let inside = horizontal.inside(tap_x, width);
                for row in rows.clone() {
                    let input =
                        vertical.input(row, tap_y).filter(|_| !inside.is_empty()).map(|y| {
                            let x = inside.start * horizontal.stride + tap_x - horizontal.padding;
                            (channel * shape.input[0] + y) * shape.input[1] + x
                        });
                    visit(Run { start, input, inside: inside.clone() });
                    start += width;
                }
            }
        }
    }
}

/// One row of the output as one tap of the kernel sees it.
struct Run {
    /// Where it begins in the unfolded patches.
    start: usize,
    /// Where the first of `inside` reads in the image, `None` if all lies in the padding.
    input: Option<usize>,
    /// Columns of the output that read the image.
    inside: Range<usize>,
}

/// Writes the unfolded patches of `channels` at the output's `rows`: `[channels * taps, positions]`.
fn unfold(
    patches: &mut Vec<f32>,
    image: &[f32],
    shape: ConvShape,
    channels: Range<usize>,
    rows: Range<usize>,
) {
    let width = shape.output()[1];
    let stride = shape.stride[1];
    patches.resize(channels.len() * shape.taps() * rows.len() * width, 0.0);
    for_each_run(shape, channels, rows, |run| {
        let out = &mut patches[run.start..run.start + width];
        let Some(input) = run.input else {
            out.fill(0.0);
            return;
        };
        out[..run.inside.start].fill(0.0);
        out[run.inside.end..].fill(0.0);
        let out = &mut out[run.inside];
        if stride == 1 {
            out.copy_from_slice(&image[input..input + out.len()]);
        } else {
            for (out, value) in out.iter_mut().zip(image[input..].iter().step_by(stride)) {
                *out = *value;
            }
        }
    });
}

/// Adds patches to the places of an image that they were read from; the transpose of [`unfold`].
/// `image` holds `channels` alone.
fn fold(image: &mut [f32], patches: &[f32], shape: ConvShape, channels: usize, rows: Range<usize>) {
    let stride = shape.stride[1];
    for_each_run(shape, 0..channels, rows, |run| {
        let Some(input) = run.input else { return };
        let patches = &patches[run.start + run.inside.start..run.start + run.inside.end];
        for (out, value) in image[input..].iter_mut().step_by(stride).zip(patches) {
            *out += value;
        }
    });
}

/// The unfolded patches of a part of an image, `[channels * taps, positions]`.
fn patches<'a>(
    buffer: &'a mut Vec<f32>,
    image: &'a [f32],
    shape: ConvShape,
    channels: Range<usize>,
    rows: Range<usize>,
) -> View<'a> {
    let width = shape.output()[1];
    let (n_rows, positions) = (channels.len() * shape.taps(), rows.len() * width);
    if shape.is_pointwise() {
        let pixels = shape.in_pixels();
        let values = &image[channels.start * pixels + rows.start * width..];
        return View {
            values,
            rows: n_rows,
            columns: positions,
            row_stride: pixels,
            column_stride: 1,
        };
    }
    unfold(buffer, image, shape, channels, rows);
    View::new(buffer, n_rows, positions)
}

/// A part of the output: all channels of some rows of one image.
pub(super) struct Strip {
    /// Rows of the output.
    pub rows: Range<usize>,
    /// `[out, rows, width]`
    pub values: Vec<f32>,
}

/// `[B, in, h, w]` and `[out, in, kh, kw]` to `[B, out, h', w']`.
pub(crate) fn forward(input: &[f32], weight: &[f32], bias: &[f32], shape: ConvShape) -> Vec<f32> {
    if winograd::worthwhile(shape) {
        let strips = winograd::forward(input, weight, bias, shape);
        return assemble(strips, shape.out_channels, shape.output());
    }
    direct_forward(input, weight, bias, shape)
}

pub(super) fn direct_forward(
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    shape: ConvShape,
) -> Vec<f32> {
    let image = shape.in_channels * shape.in_pixels();
    let batch = input.len() / image.max(1);
    let width = shape.output()[1];
    let strips = shape.strips();
    let blocks = shape.channel_blocks(shape.in_channels);
    // One part of the work is a strip of one image.
    let parts = (0..batch * strips.len())
        .into_par_iter()
        .map_init(Vec::new, |buffer, part| {
            let rows = &strips[part % strips.len()];
            let image = &input[part / strips.len() * image..][..image];
            let positions = rows.len() * width;
            let mut out = vec![0.0; shape.out_channels * positions];
            for (out, bias) in out.chunks_exact_mut(positions).zip(bias) {
                out.fill(*bias);
            }
            for channels in &blocks {
                let weight = columns(weight, shape, channels);
                let patches = patches(buffer, image, shape, channels.clone(), rows.clone());
                multiply(&mut out, weight, patches, 1.0, true, false);
            }
            Strip { rows: rows.clone(), values: out }
        })
        .collect();
    assemble(parts, shape.out_channels, shape.output())
}

/// Strips of images, one image after the other, to `[B, channels, height, width]`.
pub(super) fn assemble(
    mut strips: Vec<Strip>,
    channels: usize,
    [height, width]: [usize; 2],
) -> Vec<f32> {
    if let [_] = strips.as_slice()
        && let Some(strip) = strips.pop()
    {
        return strip.values;
    }
    let rows: usize = strips.iter().map(|strip| strip.rows.len()).sum();
    let batch = rows / height.max(1);
    let per_image = strips.len() / batch.max(1);
    let pixels = height * width;
    let mut out = zeros(batch * channels * pixels);
    out.par_chunks_mut(pixels.max(1)).enumerate().for_each(|(plane, out)| {
        let (image, channel) = (plane / channels, plane % channels);
        for strip in &strips[image * per_image..][..per_image] {
            let positions = strip.rows.len() * width;
            out[strip.rows.start * width..][..positions]
                .copy_from_slice(&strip.values[channel * positions..][..positions]);
        }
    });
    out
}

/// The weights of some input channels, `[out, channels * taps]`.
fn columns<'a>(weight: &'a [f32], shape: ConvShape, channels: &Range<usize>) -> View<'a> {
    let taps = shape.taps();
    View {
        values: &weight[channels.start * taps..],
        rows: shape.out_channels,
        columns: channels.len() * taps,
        row_stride: shape.patch(),
        column_stride: 1,
    }
}

/// The gradient at the output's `rows` of one image, `[out, positions]`.
fn strip_of<'a>(gradient: &'a [f32], shape: ConvShape, rows: &Range<usize>) -> View<'a> {
    let width = shape.output()[1];
    View {
        values: &gradient[rows.start * width..],
        rows: shape.out_channels,
        columns: rows.len() * width,
        row_stride: shape.out_pixels(),
        column_stride: 1,
    }
}

/// The gradient of the input from that of the output.
pub(crate) fn input_gradient(gradient: &[f32], weight: &[f32], shape: ConvShape) -> Vec<f32> {
    if winograd::worthwhile(shape) {
        let strips = winograd::input_gradient(gradient, weight, shape);
        return assemble(strips, shape.in_channels, shape.input);
    }
    direct_input_gradient(gradient, weight, shape)
}

pub(super) fn direct_input_gradient(
    gradient: &[f32],
    weight: &[f32],
    shape: ConvShape,
) -> Vec<f32> {
    let image = shape.out_channels * shape.out_pixels();
    let batch = gradient.len() / image.max(1);
    let strips = shape.strips();
    // Every image and every block of its channels is a part of the work.
    let blocks = shape.channel_blocks(shape.in_channels.div_ceil(4));
    let parts: Vec<Vec<f32>> = (0..batch * blocks.len())
        .into_par_iter()
        .map_init(Vec::new, |patches, part| {
            let channels = &blocks[part % blocks.len()];
            let gradient = &gradient[part / blocks.len() * image..][..image];
            let mut out = vec![0.0; channels.len() * shape.in_pixels()];
            for rows in &strips {
                let weight = columns(weight, shape, channels).transposed();
                let gradient = strip_of(gradient, shape, rows);
                patches.resize(weight.rows * gradient.columns, 0.0);
                multiply(patches, weight, gradient, 1.0, false, false);
                fold(&mut out, patches, shape, channels.len(), rows.clone());
            }
            out
        })
        .collect();
    parts.concat()
}

/// The gradient of the weights from that of the output.
pub(crate) fn weight_gradient(input: &[f32], gradient: &[f32], shape: ConvShape) -> Vec<f32> {
    if winograd::worthwhile_for_weights(shape) {
        return winograd::weight_gradient(input, gradient, shape);
    }
    direct_weight_gradient(input, gradient, shape)
}

pub(super) fn direct_weight_gradient(
    input: &[f32],
    gradient: &[f32],
    shape: ConvShape,
) -> Vec<f32> {
    let in_image = shape.in_channels * shape.in_pixels();
    let out_image = shape.out_channels * shape.out_pixels();
    let batch = input.len() / in_image.max(1);
    let n_weights = shape.out_channels * shape.patch();
    // Small layers have few channels to share out, large ones too many weights to hold once per image.
    let together = if n_weights <= FEW_WEIGHTS { 1 } else { batch.max(1) };
    let groups = batch.div_ceil(together);
    let strips = shape.strips();
    let blocks = shape.channel_blocks(shape.in_channels);
    let parts: Vec<Vec<f32>> = (0..blocks.len() * groups)
        .into_par_iter()
        .map_init(Vec::new, |buffer, part| {
            let channels = &blocks[part / groups];
            let first = part % groups * together;
            // Transposed, so that the product reads patches along their rows as they lie there.
            let mut out = vec![0.0; channels.len() * shape.taps() * shape.out_channels];
            for image in first..(first + together).min(batch) {
                let input = &input[image * in_image..][..in_image];
                let gradient = &gradient[image * out_image..][..out_image];
                for rows in &strips {
                    let gradient = strip_of(gradient, shape, rows).transposed();
                    let patches = patches(buffer, input, shape, channels.clone(), rows.clone());
                    multiply(&mut out, patches, gradient, 1.0, true, false);
                }
            }
            out
        })
        .collect();
    let mut out = vec![0.0; n_weights];
    for (block, parts) in blocks.iter().zip(parts.chunks_exact(groups.max(1))) {
        let offset = block.start * shape.taps();
        for part in parts {
            for (at, part) in part.chunks_exact(shape.out_channels).enumerate() {
                let column = out[offset + at..].iter_mut().step_by(shape.patch());
                for (out, value) in column.zip(part) {
                    *out += value;
                }
            }
        }
    }
    out
}

/// The gradient of the bias: the sum over images and positions.
pub(crate) fn bias_gradient(gradient: &[f32], shape: ConvShape) -> Vec<f32> {
    let pixels = shape.out_pixels();
    let mut out = vec![0.0; shape.out_channels];
    for (plane, values) in gradient.chunks_exact(pixels.max(1)).enumerate() {
        out[plane % shape.out_channels] += values.iter().sum::<f32>();
    }
    out
}
