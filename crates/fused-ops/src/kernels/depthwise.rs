//! Depthwise convolution of 3x3 on maps whose channels come last, padded by one zero on every side.

use rayon::prelude::*;

use super::{
    gelu::{self, Activation},
    layer::Layer,
    vectorized::vectorized,
    zeros,
};

/// Channels whose sums are held in registers.
const LANES: usize = 16;
/// Places of the kernel.
const TAPS: usize = 9;

/// Sizes of a depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DepthwiseShape {
    /// Height and width of the input.
    pub input: [usize; 2],
    pub channels: usize,
    pub stride: usize,
}

impl DepthwiseShape {
    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.input.map(|size| size.div_ceil(self.stride))
    }
}

/// Weights and biases of a depthwise convolution as its kernel reads them.
pub(super) struct Filter<'a> {
    /// `[3 * 3, channels]`
    taps: Vec<f32>,
    /// `[channels]`
    bias: &'a [f32],
    /// `[channels]`, what stands in the padding
    zeros: Vec<f32>,
}

impl<'a> Filter<'a> {
    /// - `layer`: weight `[channels, 3 * 3]`
    pub fn new(layer: Layer<'a>) -> Self {
        let Layer { weight, bias } = layer;
        let channels = bias.len();
        assert_eq!(weight.len(), channels * TAPS, "weights of {channels} channels");
        let taps = (0..TAPS * channels).map(|at| weight[at % channels * TAPS + at / channels]);
        Self { taps: taps.collect(), bias, zeros: vec![0.0; channels] }
    }

    /// A row of the output, `[width of the output, channels]`.
    ///
    /// - `rows`: the row of the input in the middle, and those above and below it; `None` in the padding; each
    ///   `[width, channels]`
    pub fn row(
        &self,
        out: &mut [f32],
        rows: [Option<&[f32]>; 3],
        stride: usize,
        activation: Activation,
    ) {
        let rows = rows.map(Option::unwrap_or_default);
        row(out, rows, (&self.taps, self.bias, &self.zeros), stride, activation);
    }
}

/// `out[y, x, c] = activation(bias[c] + sum of weight[c, i, j] * input[stride y + i - 1, stride x + j - 1, c])`
///
/// - `input`: `[B, H, W, channels]`
/// - `layer`: weight `[channels, 3 * 3]`
/// - returns: `[B, H / stride, W / stride, channels]`, sizes rounded up
pub(crate) fn forward(
    input: &[f32],
    layer: Layer<'_>,
    shape: DepthwiseShape,
    activation: Activation,
) -> Vec<f32> {
    let filter = Filter::new(layer);
    let [height, width] = shape.input;
    let [out_height, out_width] = shape.output();
    let images = input.len() / (height * width * shape.channels).max(1);
    let row = width * shape.channels;
    let mut out = zeros(images * out_height * out_width * shape.channels);
    out.par_chunks_exact_mut((out_width * shape.channels).max(1)).enumerate().for_each(
        |(index, out)| {
            let (image, middle) = (index / out_height, index % out_height * shape.stride);
            let image = &input[image * height * row..(image + 1) * height * row];
            let rows = around(middle, height).map(|at| at.map(|at| &image[at * row..][..row]));
            filter.row(out, rows, shape.stride, activation);
        },
    );
    out
}

/// The rows that a row of the output sees, `None` in the padding.
pub(super) fn around(middle: usize, height: usize) -> [Option<usize>; 3] {
    [middle.checked_sub(1), Some(middle), Some(middle + 1).filter(|&row| row < height)]
}

vectorized! {
    /// See [`Filter::row`]. A row in the padding is empty.
    fn row<'a>(
        out: &'a mut [f32],
        rows: [&'a [f32]; 3],
        parameters: (&'a [f32], &'a [f32], &'a [f32]),
        stride: usize,
        activation: Activation,
    ) {
        let (weight, bias, zeros) = parameters;
        let channels = bias.len();
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            let mut taps = [zeros; TAPS];
            for i in 0..3 {
                for j in 0..3 {
                    // One column to the left of the padding's end.
                    let begin = (stride * x + j) * channels;
                    if begin >= channels && begin <= rows[i].len() {
                        taps[3 * i + j] = &rows[i][begin - channels..begin];
                    }
                }
            }
            let mut first = 0;
            while first + LANES <= channels {
                let mut sums = [0.0_f32; LANES];
                sums.copy_from_slice(&bias[first..first + LANES]);
                for tap in 0..TAPS {
                    let values = &taps[tap][first..first + LANES];
                    let weight = &weight[tap * channels + first..][..LANES];
                    for lane in 0..LANES {
                        sums[lane] = values[lane].mul_add(weight[lane], sums[lane]);
                    }
                }
                out[first..first + LANES].copy_from_slice(&sums);
                first += LANES;
            }
            for channel in first..channels {
                let mut sum = bias[channel];
                for tap in 0..TAPS {
                    sum = taps[tap][channel].mul_add(weight[tap * channels + channel], sum);
                }
                out[channel] = sum;
            }
            if activation == Activation::Gelu {
                for value in out.iter_mut() {
                    *value = gelu::of(*value);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::testing::{
        Numbers, assert_close, assert_same_on_threads, double, gelu, random,
    };

    /// The formula, one place at a time, in double precision.
    pub(in crate::kernels) fn plain(
        input: &[f64],
        layer: Layer<'_>,
        shape: DepthwiseShape,
    ) -> Vec<f64> {
        let DepthwiseShape { input: [height, width], channels, stride } = shape;
        let mut out = Vec::new();
        for image in input.chunks_exact(height * width * channels) {
            for (y, x) in (0..height)
                .step_by(stride)
                .flat_map(|y| (0..width).step_by(stride).map(move |x| (y, x)))
            {
                for channel in 0..channels {
                    let mut sum = f64::from(layer.bias[channel]);
                    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                        let inside =
                            (1..=height).contains(&(y + i)) && (1..=width).contains(&(x + j));
                        if inside {
                            let at = ((y + i - 1) * width + x + j - 1) * channels + channel;
                            let weight = layer.weight[channel * TAPS + 3 * i + j];
                            sum += image[at] * f64::from(weight);
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    /// Images, height, width, channels, stride: with and without a rest of a register, maps smaller than the kernel.
    const SHAPES: [[usize; 5]; 7] = [
        [1, 1, 1, 3, 1],
        [2, 5, 7, 16, 1],
        [1, 6, 4, 37, 1],
        [3, 2, 1, 5, 2],
        [2, 7, 6, 33, 2],
        [1, 8, 9, 64, 2],
        [1, 7, 8, 20, 3],
    ];

    #[test]
    fn it_is_the_formula_in_all_sizes() {
        for [images, height, width, channels, stride] in SHAPES {
            let shape = DepthwiseShape { input: [height, width], channels, stride };
            let input = random(images * height * width * channels, 1);
            let numbers = Numbers::random(TAPS * channels, channels, 2);
            let expected = plain(&double(&input), numbers.layer(), shape);
            let found = forward(&input, numbers.layer(), shape, Activation::Identity);
            assert_close(&found, &expected, &format!("{shape:?}"));
            let expected: Vec<f64> = expected.into_iter().map(gelu).collect();
            let found = forward(&input, numbers.layer(), shape, Activation::Gelu);
            assert_close(&found, &expected, &format!("{shape:?} with GELU"));
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = DepthwiseShape { input: [33, 20], channels: 24, stride: 1 };
        let (input, numbers) = (random(33 * 20 * 24, 3), Numbers::random(TAPS * 24, 24, 4));
        assert_same_on_threads(|| forward(&input, numbers.layer(), shape, Activation::Gelu));
    }
}
