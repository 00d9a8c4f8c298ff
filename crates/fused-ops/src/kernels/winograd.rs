//! Convolutions of 3x3 and stride 1 with less than half of the multiplications: Winograd's minimal filtering,
//! F(2x2, 3x3).
//!
//! A square of 4x4 inputs gives 2x2 outputs. Inputs and weights are transformed to 16 numbers each, in which the convolution
//! is a product of numbers at the same place: 16 multiplications instead of 36. Summed over channels it is 16 matrix
//! products, one for each place; their results are transformed back. All transforms are sums and differences (and halves, of weights), so a result is
//! as exact as the direct one to some roundings. Gradients go the same way backward: every step is linear, and its
//! gradient is the transposed step.
//!
//! Transforming costs passes over memory, so [`worthwhile`] asks for large layers: the fusion of APM with ViT-B's channels
//! is, nothing of quickstart on `micro` is.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    conv2d::{ConvShape, Strip},
    matrix::{View, multiply},
    vectorized::vectorized,
};

/// Outputs of a square along an axis.
const OUTPUTS: usize = 2;
/// Inputs of a square along an axis.
const INPUTS: usize = 4;
/// Places in a transformed square.
const PLACES: usize = INPUTS * INPUTS;
/// Weights of a filter.
const TAPS: usize = 9;
/// Squares that are computed together, about.
const STRIP: usize = 256;
/// Transformed inputs that a thread holds together on the way forward, 4 MiB: some of them lie in its own cache.
const FORWARD_NUMBERS: usize = 1 << 20;
/// And for the gradient of weights, 16 MiB: every block of channels packs the gradient of the output again, so there
/// are few blocks.
const GRADIENT_NUMBERS: usize = 1 << 22;
/// Input channels from which the gradient of weights gains: it transforms the gradient of the output for all of them.
const MANY_CHANNELS: usize = 1024;
/// Multiplications of the direct way, per image, from which transforming is worth its while.
const WORTHWHILE: usize = 1 << 31;

/// Whether a convolution is of the right kind and large enough.
pub(crate) fn worthwhile(shape: ConvShape) -> bool {
    let [height, width] = shape.output();
    let multiplications = [shape.in_channels, shape.out_channels, TAPS, height, width]
        .into_iter()
        .fold(1, usize::saturating_mul);
    fits(shape) && multiplications >= WORTHWHILE
}

/// Whether the gradient of weights gains as well.
pub(crate) fn worthwhile_for_weights(shape: ConvShape) -> bool {
    worthwhile(shape) && shape.in_channels >= MANY_CHANNELS
}

/// Whether a convolution is of the right kind.
fn fits(shape: ConvShape) -> bool {
    shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.padding.iter().all(|&zeros| zeros <= 2)
}

/// Squares along both axes of an image.
fn squares(shape: ConvShape) -> [usize; 2] {
    shape.output().map(|size| size.div_ceil(OUTPUTS))
}

/// Cuts the rows of squares into ranges.
fn strips(shape: ConvShape) -> Vec<Range<usize>> {
    let [height, width] = squares(shape);
    let rows = (STRIP / width.max(1)).max(1);
    (0..height).step_by(rows).map(|row| row..(row + rows).min(height)).collect()
}

/// Rows of the output in rows of squares.
fn output_rows(shape: ConvShape, rows: &Range<usize>) -> Range<usize> {
    rows.start * OUTPUTS..(rows.end * OUTPUTS).min(shape.output()[0])
}

/// Cuts channels into ranges that have at most so many transformed numbers.
fn channel_blocks(channels: usize, squares: usize, numbers: usize) -> Vec<Range<usize>> {
    let block = (numbers / (PLACES * squares).max(1)).max(1);
    (0..channels).step_by(block).map(|first| first..(first + block).min(channels)).collect()
}

/// The numbers of one place, of `rows` rows of `columns` without gaps between them.
fn place(values: &[f32], place: usize, rows: usize, columns: usize) -> View<'_> {
    View::new(&values[place * rows * columns..], rows, columns)
}

/// `[B, in, h, w]` and `[out, in, 3, 3]` to `[B, out, h', w']`, in strips: those of the first image, then the second's, and so on.
pub(crate) fn forward(input: &[f32], weight: &[f32], bias: &[f32], shape: ConvShape) -> Vec<Strip> {
    let image = shape.in_channels * shape.in_pixels();
    let batch = input.len() / image.max(1);
    let strips = strips(shape);
    let filters = transform_filters(weight, shape);
    let (in_channels, out_channels) = (shape.in_channels, shape.out_channels);
    (0..batch * strips.len())
        .into_par_iter()
        .map_init(Vec::new, |inputs, part| {
            let rows = strips[part % strips.len()].clone();
            let image = &input[part / strips.len() * image..][..image];
            let columns = rows.len() * squares(shape)[1];
            let mut products = vec![0.0; PLACES * out_channels * columns];
            for channels in channel_blocks(in_channels, columns, FORWARD_NUMBERS) {
                inputs.resize(PLACES * channels.len() * columns, 0.0);
                transform_inputs(inputs, image, shape, channels.clone(), rows.clone());
                for (at, products) in products.chunks_exact_mut(out_channels * columns).enumerate()
                {
                    let filters = View {
                        values: &filters[at * in_channels + channels.start..],
                        rows: out_channels,
                        columns: channels.len(),
                        row_stride: PLACES * in_channels,
                        column_stride: 1,
                    };
                    let inputs = place(inputs, at, channels.len(), columns);
                    multiply(products, filters, inputs, 1.0, channels.start > 0, false);
                }
            }
            let output = output_rows(shape, &rows);
            let mut values = vec![0.0; out_channels * output.len() * shape.output()[1]];
            transform_outputs(&mut values, &products, bias, shape, rows);
            Strip { rows: output, values }
        })
        .collect()
}

/// The gradient of the input from that of the output, in strips as [`forward`]: the convolution of the gradient with
/// filters that are turned around.
pub(crate) fn input_gradient(gradient: &[f32], weight: &[f32], shape: ConvShape) -> Vec<Strip> {
    let (inputs, outputs) = (shape.in_channels, shape.out_channels);
    let mut turned = vec![0.0; weight.len()];
    turned.par_chunks_mut(outputs * TAPS).enumerate().for_each(|(input, turned)| {
        for (output, turned) in turned.chunks_exact_mut(TAPS).enumerate() {
            let filter = &weight[(output * inputs + input) * TAPS..][..TAPS];
            turned.iter_mut().zip(filter.iter().rev()).for_each(|(turned, &tap)| *turned = tap);
        }
    });
    let backward = ConvShape {
        in_channels: outputs,
        out_channels: inputs,
        input: shape.output(),
        padding: shape.padding.map(|zeros| 2 - zeros),
        ..shape
    };
    forward(gradient, &turned, &vec![0.0; inputs], backward)
}

/// The gradient of the weights from that of the output.
pub(crate) fn weight_gradient(input: &[f32], gradient: &[f32], shape: ConvShape) -> Vec<f32> {
    let (in_channels, out_channels) = (shape.in_channels, shape.out_channels);
    let in_image = in_channels * shape.in_pixels();
    let out_image = out_channels * shape.out_pixels();
    let [all_rows, width] = squares(shape);
    let columns = all_rows * width;
    let blocks = channel_blocks(in_channels, columns, GRADIENT_NUMBERS);
    let mut sums: Vec<Vec<f32>> =
        blocks.iter().map(|channels| vec![0.0; PLACES * channels.len() * out_channels]).collect();
    let mut outputs = vec![0.0; PLACES * out_channels * columns];
    for (input, gradient) in input.chunks_exact(in_image).zip(gradient.chunks_exact(out_image)) {
        // Channels of the gradient in order, all places of one after the other.
        outputs.par_chunks_mut(PLACES * columns).enumerate().for_each(|(channel, outputs)| {
            let gradient = &gradient[channel * shape.out_pixels()..][..shape.out_pixels()];
            transform_gradients(outputs, gradient, shape);
        });
        sums.par_iter_mut().zip(&blocks).for_each_init(Vec::new, |inputs, (sums, channels)| {
            inputs.resize(PLACES * channels.len() * columns, 0.0);
            transform_inputs(inputs, input, shape, channels.clone(), 0..all_rows);
            for (at, sums) in sums.chunks_exact_mut(channels.len() * out_channels).enumerate() {
                let outputs = View {
                    values: &outputs[at * columns..],
                    rows: out_channels,
                    columns,
                    row_stride: PLACES * columns,
                    column_stride: 1,
                };
                let inputs = place(inputs, at, channels.len(), columns);
                multiply(sums, inputs, outputs.transposed(), 1.0, true, false);
            }
        });
    }
    let mut out = vec![0.0; out_channels * in_channels * TAPS];
    out.par_chunks_mut(in_channels * TAPS).enumerate().for_each(|(output, out)| {
        for (channels, sums) in blocks.iter().zip(&sums) {
            for channel in channels.clone() {
                let first = (channel - channels.start) * out_channels + output;
                let step = channels.len() * out_channels;
                let transformed = std::array::from_fn(|at| sums[at * step + first]);
                out[channel * TAPS..][..TAPS].copy_from_slice(&filter_of(transformed));
            }
        }
    });
    out
}

/// `[out, in, 3, 3]` to `[out, 16, in]`.
fn transform_filters(weight: &[f32], shape: ConvShape) -> Vec<f32> {
    let inputs = shape.in_channels;
    let mut out = vec![0.0; shape.out_channels * PLACES * inputs];
    out.par_chunks_mut(PLACES * inputs).zip(weight.par_chunks(inputs * TAPS)).for_each(
        |(out, weight)| {
            for (input, filter) in weight.chunks_exact(TAPS).enumerate() {
                // `G g G^T` with `G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1]`
                let along = |[a, b, c]: [f32; 3]| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
                let columns = [0, 1, 2].map(|x| along([filter[x], filter[3 + x], filter[6 + x]]));
                for y in 0..INPUTS {
                    let row = along(columns.map(|column| column[y]));
                    for (x, value) in row.into_iter().enumerate() {
                        out[(y * INPUTS + x) * inputs + input] = value;
                    }
                }
            }
        },
    );
    out
}

/// The transpose of what [`transform_filters`] does to a filter: `G^T u G`.
fn filter_of(transformed: [f32; PLACES]) -> [f32; TAPS] {
    let along = |[a, b, c, d]: [f32; 4]| [a + 0.5 * (b + c), 0.5 * (b - c), d + 0.5 * (b + c)];
    let rows: [[f32; 3]; INPUTS] =
        std::array::from_fn(|y| along(std::array::from_fn(|x| transformed[y * INPUTS + x])));
    let columns: [[f32; 3]; 3] = std::array::from_fn(|x| along(rows.map(|row| row[x])));
    std::array::from_fn(|tap| columns[tap % 3][tap / 3])
}

/// Four parts of the same length.
#[inline(always)]
fn quarters(values: &mut [f32]) -> [&mut [f32]; INPUTS] {
    let half = values.len() / 2;
    let (upper, lower) = values.split_at_mut(half);
    let ((a, b), (c, d)) = (upper.split_at_mut(half / 2), lower.split_at_mut(half / 2));
    [a, b, c, d]
}

vectorized! {
    /// The squares of some `channels` in some `rows` of squares to `[16, channels, squares]`: `B^T d B` with `B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]`.
    fn transform_inputs<'a>(
        out: &'a mut [f32],
        image: &'a [f32],
        shape: ConvShape,
        channels: Range<usize>,
        rows: Range<usize>,
    ) {
        let [height, width] = shape.input;
        let across = squares(shape)[1];
        let plane = channels.len() * rows.len() * across;
        // A row of the image with the zeros on both sides.
        let length = OUTPUTS * across + OUTPUTS;
        let mut lines = vec![0.0_f32; INPUTS * length];
        let mut apart = vec![0.0_f32; 2 * (across + 1)];
        let there = width.min(length.saturating_sub(shape.padding[1]));
        let mut first = 0;
        for channel in channels {
            let image = &image[channel * height * width..][..height * width];
            for row in rows.clone() {
                for (at, line) in lines.chunks_exact_mut(length).enumerate() {
                    let line = &mut line[shape.padding[1]..][..there];
                    match (row * OUTPUTS + at).checked_sub(shape.padding[0]) {
                        Some(y) if y < height => line.copy_from_slice(&image[y * width..][..there]),
                        _ => line.fill(0.0),
                    }
                }
                {
                    let [line0, line1, line2, line3] = quarters(&mut lines);
                    for x in 0..length {
                        let (a, b, c, d) = (line0[x], line1[x], line2[x], line3[x]);
                        line0[x] = a - c;
                        line1[x] = b + c;
                        line2[x] = c - b;
                        line3[x] = b - d;
                    }
                }
                for (y, line) in lines.chunks_exact(length).enumerate() {
                    let (even, odd) = apart.split_at_mut(across + 1);
                    for (x, pair) in line.chunks_exact(2).enumerate() {
                        even[x] = pair[0];
                        odd[x] = pair[1];
                    }
                    let out = &mut out[y * INPUTS * plane..][..INPUTS * plane];
                    let [out0, out1, out2, out3] = quarters(out).map(|out| &mut out[first..first + across]);
                    let (next_even, next_odd) = (&even[1..=across], &odd[1..=across]);
                    let (even, odd) = (&even[..across], &odd[..across]);
                    for x in 0..across {
                        out0[x] = even[x] - next_even[x];
                        out1[x] = odd[x] + next_even[x];
                        out2[x] = next_even[x] - odd[x];
                        out3[x] = odd[x] - next_odd[x];
                    }
                }
                first += across;
            }
        }
    }
}

vectorized! {
    /// `[16, out, squares]` in some `rows` of squares to `[out, rows of the output, width]`: `A^T m A` with
    /// `A^T = [1 1 1 0; 0 1 -1 -1]`.
    fn transform_outputs<'a>(
        out: &'a mut [f32],
        products: &'a [f32],
        bias: &'a [f32],
        shape: ConvShape,
        rows: Range<usize>,
    ) {
        let across = squares(shape)[1];
        let (channel_squares, width) = (rows.len() * across, shape.output()[1]);
        let plane = shape.out_channels * channel_squares;
        let height = output_rows(shape, &rows).len();
        let mut sums = vec![0.0_f32; INPUTS * across];
        let mut line = vec![0.0_f32; OUTPUTS * across];
        for (channel, out) in out.chunks_exact_mut(height * width).enumerate() {
            let bias = bias[channel];
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                let first = channel * channel_squares + y / OUTPUTS * across;
                for (at, sums) in sums.chunks_exact_mut(across).enumerate() {
                    let [m0, m1, m2, m3] =
                        [0, 1, 2, 3].map(|row| &products[(row * INPUTS + at) * plane + first..][..across]);
                    for x in 0..across {
                        sums[x] = if y % OUTPUTS == 0 {
                            m0[x] + m1[x] + m2[x]
                        } else {
                            m1[x] - m2[x] - m3[x]
                        };
                    }
                }
                let [s0, s1, s2, s3] = [0, 1, 2, 3].map(|at| &sums[at * across..][..across]);
                for (x, pair) in line.chunks_exact_mut(2).enumerate() {
                    pair[0] = s0[x] + s1[x] + s2[x] + bias;
                    pair[1] = s1[x] - s2[x] - s3[x] + bias;
                }
                out.copy_from_slice(&line[..width]);
            }
        }
    }
}

vectorized! {
    /// The gradient of one channel to `[16, squares]`, the transpose of what [`transform_outputs`] does: `A g A^T`.
    fn transform_gradients<'a>(out: &'a mut [f32], gradient: &'a [f32], shape: ConvShape) {
        let [height, width] = shape.output();
        let [down, across] = squares(shape);
        let plane = down * across;
        let mut lines = vec![0.0_f32; INPUTS * OUTPUTS * across];
        for row in 0..down {
            let length = OUTPUTS * across;
            let [line0, line1, line2, line3] = quarters(&mut lines);
            // The two rows of the gradient; zeros where the last square reaches beyond it.
            line0[..width].copy_from_slice(&gradient[row * OUTPUTS * width..][..width]);
            match row * OUTPUTS + 1 {
                y if y < height => line3[..width].copy_from_slice(&gradient[y * width..][..width]),
                _ => line3.fill(0.0),
            }
            for x in 0..length {
                let (upper, lower) = (line0[x], line3[x]);
                line1[x] = upper + lower;
                line2[x] = upper - lower;
                line3[x] = -lower;
            }
            for (y, line) in lines.chunks_exact(length).enumerate() {
                let first = row * across;
                let out = &mut out[y * INPUTS * plane..][..INPUTS * plane];
                let [out0, out1, out2, out3] = quarters(out).map(|out| &mut out[first..first + across]);
                for (x, pair) in line.chunks_exact(2).enumerate() {
                    let (even, odd) = (pair[0], pair[1]);
                    out0[x] = even;
                    out1[x] = even + odd;
                    out2[x] = even - odd;
                    out3[x] = -odd;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::{super::conv2d, *};

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random::<f32>() - 0.5).collect()
    }

    fn shape(channels: [usize; 2], input: [usize; 2], padding: [usize; 2]) -> ConvShape {
        let [in_channels, out_channels] = channels;
        ConvShape { in_channels, out_channels, input, kernel: [3, 3], stride: [1, 1], padding }
    }

    /// Even and odd sizes, every padding, several strips of squares, several blocks of channels.
    fn shapes() -> Vec<ConvShape> {
        vec![
            shape([3, 2], [8, 8], [1, 1]),
            shape([2, 3], [5, 7], [0, 0]),
            shape([1, 1], [3, 3], [0, 0]),
            shape([1, 2], [1, 1], [1, 1]),
            shape([2, 1], [4, 9], [2, 1]),
            shape([2, 2], [6, 5], [0, 2]),
            shape([400, 5], [41, 64], [1, 1]),
        ]
    }

    fn close(found: &[f32], expected: &[f32], terms: usize, shape: ConvShape) {
        assert_eq!(found.len(), expected.len(), "{shape:?}");
        // Terms of at most 1/4, some of them added and taken off again by the transforms: a rounding of the largest sum for
        // every eight terms and some more.
        let bound = (8.0 + terms as f32 / 8.0) * f32::EPSILON * (terms as f32).sqrt();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= bound, "{found} {expected} {bound} {shape:?}");
        }
    }

    fn together(strips: Vec<Strip>, channels: usize, [height, width]: [usize; 2]) -> Vec<f32> {
        conv2d::assemble(strips, channels, [height, width])
    }

    #[test]
    fn it_is_the_direct_convolution() {
        for shape in shapes() {
            let (input, weight) = operands(shape);
            let bias = random(shape.out_channels, 3);
            let expected = conv2d::direct_forward(&input, &weight, &bias, shape);
            let found = forward(&input, &weight, &bias, shape);
            let found = together(found, shape.out_channels, shape.output());
            close(&found, &expected, TAPS * shape.in_channels, shape);
        }
    }

    #[test]
    fn its_gradients_are_those_of_the_direct_convolution() {
        for shape in shapes() {
            let (input, weight) = operands(shape);
            let gradient = random(BATCH * shape.out_channels * shape.out_pixels(), 4);
            let expected = conv2d::direct_input_gradient(&gradient, &weight, shape);
            let found = input_gradient(&gradient, &weight, shape);
            let found = together(found, shape.in_channels, shape.input);
            close(&found, &expected, TAPS * shape.out_channels, shape);

            let expected = conv2d::direct_weight_gradient(&input, &gradient, shape);
            let found = weight_gradient(&input, &gradient, shape);
            close(&found, &expected, BATCH * shape.out_pixels(), shape);
        }
    }

    const BATCH: usize = 2;

    fn operands(shape: ConvShape) -> (Vec<f32>, Vec<f32>) {
        let input = random(BATCH * shape.in_channels * shape.in_pixels(), 1);
        let weight = random(shape.out_channels * shape.in_channels * TAPS, 2);
        (input, weight)
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = shape([400, 5], [41, 64], [1, 1]);
        let (input, weight) = operands(shape);
        let gradient = random(BATCH * shape.out_channels * shape.out_pixels(), 4);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let strips = forward(&input, &weight, &[0.5; 5], shape);
                let out: Vec<_> = strips.into_iter().map(|strip| strip.values).collect();
                (out, weight_gradient(&input, &gradient, shape))
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn only_large_convolutions_of_3x3_and_stride_1_go_this_way() {
        let fusion = shape([3072, 256], [64, 64], [1, 1]);
        assert!(worthwhile(fusion));
        assert!(!worthwhile(ConvShape { stride: [2, 2], ..fusion }));
        assert!(!worthwhile(ConvShape { kernel: [1, 1], ..fusion }));
        // Quickstart's fusion on `micro`.
        assert!(!worthwhile(shape([384, 64], [32, 32], [1, 1])));
    }
}
