//! Inverted bottleneck: many channels between two convolutions of 1x1, with a depthwise one of 3x3 between them. For
//! inference: nothing is kept.
//!
//! The wide map is never in memory: a row of the output is computed from three rows of it, which lie in a core's own
//! cache, and the next one computes as many as it moves down.

use rayon::prelude::*;

use super::{
    depthwise::{DepthwiseShape, Filter, around},
    gelu::Activation,
    layer::{Factor, Layer, finish, finish_onto},
    matrix::View,
    zeros,
};

/// Fewest rows of the output in a part of the work. Every part computes two rows of the wide map that its neighbors
/// compute, too.
const ROWS: usize = 8;
/// Parts for every thread, so that none waits long for the last.
const PARTS_PER_THREAD: usize = 4;

/// The three layers.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    /// Weight `[in, hidden]`
    pub expand: Layer<'a>,
    /// Weight `[hidden, 3 * 3]`
    pub depthwise: Layer<'a>,
    /// Weight `[hidden, out]`
    pub project: Layer<'a>,
}

/// What happens to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing.
    Without,
    /// The input is added, and GELU follows. For a stride of 1 and as many channels as before.
    AddThenGelu,
}

/// `project(gelu(depthwise(gelu(expand(input)))))`, with a stride of the depthwise convolution.
///
/// - `input`: `[B, H, W, in]`
/// - `size`: `[H, W]`
/// - returns: `[B, H / stride, W / stride, out]`, sizes rounded up
pub(crate) fn forward(
    input: &[f32],
    size: [usize; 2],
    layers: Layers<'_>,
    stride: usize,
    shortcut: Shortcut,
) -> Vec<f32> {
    let [height, width] = size;
    let (hidden, outputs) = (layers.expand.bias.len(), layers.project.bias.len());
    let inputs = layers.expand.weight.len() / hidden;
    let images = input.len() / (height * width * inputs).max(1);
    let [out_height, out_width] = DepthwiseShape { input: size, channels: hidden, stride }.output();
    let expand = View::new(layers.expand.weight, inputs, hidden);
    let project = View::new(layers.project.weight, hidden, outputs);
    let block = Block {
        input,
        size,
        expand: Factor::new(expand, images * height * width),
        filter: Filter::new(layers.depthwise),
        project: Factor::new(project, images * out_height * out_width),
        layers,
        stride,
        shortcut,
    };
    let mut out = zeros(images * out_height * out_width * outputs);
    if out.is_empty() {
        return out;
    }
    // Every row is by itself: how many are together changes no bit.
    let enough = PARTS_PER_THREAD * rayon::current_num_threads();
    let rows = (images * out_height / enough.max(1)).clamp(ROWS, out_height.max(ROWS));
    out.par_chunks_mut(out_height * out_width * outputs)
        .enumerate()
        .flat_map(|(image, out)| {
            let parts = out.par_chunks_mut(rows * out_width * outputs).enumerate();
            parts.map(move |(part, out)| (image, part * rows, out))
        })
        .for_each_init(Buffers::default, |buffers, (image, first, out)| {
            block.rows(buffers, image, first, out);
        });
    out
}

struct Block<'a> {
    input: &'a [f32],
    size: [usize; 2],
    expand: Factor<'a>,
    filter: Filter<'a>,
    project: Factor<'a>,
    layers: Layers<'a>,
    stride: usize,
    shortcut: Shortcut,
}

/// Memory that a thread uses again for its next part.
#[derive(Default)]
struct Buffers {
    /// Three rows of the expanded map, the row `y` at `y % 3`, each `[W, hidden]`
    expanded: Vec<f32>,
    /// A row of the depthwise convolution's output, `[W / stride, hidden]`
    mixed: Vec<f32>,
}

impl Block<'_> {
    /// Rows of the output from `first` on, as many as there is room for in `out`.
    fn rows(&self, buffers: &mut Buffers, image: usize, first: usize, out: &mut [f32]) {
        let [height, width] = self.size;
        let (hidden, outputs) = (self.layers.expand.bias.len(), self.layers.project.bias.len());
        let inputs = self.layers.expand.weight.len() / hidden;
        let out_width = width.div_ceil(self.stride);
        let (row, wide) = (width * inputs, width * hidden);
        let image = &self.input[image * height * row..(image + 1) * height * row];
        let Buffers { expanded, mixed } = buffers;
        expanded.resize(3 * wide, 0.0);
        mixed.resize(out_width * hidden, 0.0);
        let mut next = (first * self.stride).saturating_sub(1);
        for (at, out) in out.chunks_exact_mut(out_width * outputs).enumerate() {
            let middle = (first + at) * self.stride;
            let rows = around(middle, height);
            for y in rows.into_iter().flatten().filter(|&y| y >= next) {
                let expanded = &mut expanded[y % 3 * wide..][..wide];
                self.expand.multiply(
                    expanded,
                    View::new(&image[y * row..][..row], width, inputs),
                    false,
                );
                finish(expanded, self.layers.expand.bias, Activation::Gelu);
            }
            next = middle + 2;
            let rows = rows.map(|y| y.map(|y| &expanded[y % 3 * wide..][..wide]));
            self.filter.row(mixed, rows, self.stride, Activation::Gelu);
            self.project.multiply(out, View::new(mixed, out_width, hidden), false);
            let bias = self.layers.project.bias;
            match self.shortcut {
                Shortcut::Without => finish(out, bias, Activation::Identity),
                Shortcut::AddThenGelu => {
                    finish_onto(out, bias, &image[middle * row..][..row], Activation::Gelu);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        depthwise::tests::plain as plain_depthwise,
        testing::{Numbers, assert_close, assert_same_on_threads, double, gelu, linear, random},
    };

    /// Images, height, width, channels before, between and after, stride.
    type Sizes = ([usize; 3], [usize; 3], usize);

    fn parameters([inputs, hidden, outputs]: [usize; 3]) -> [Numbers; 3] {
        [
            Numbers::random(inputs * hidden, hidden, 1),
            Numbers::random(9 * hidden, hidden, 3),
            Numbers::random(hidden * outputs, outputs, 5),
        ]
    }

    fn layers([expand, depthwise, project]: &[Numbers; 3]) -> Layers<'_> {
        Layers { expand: expand.layer(), depthwise: depthwise.layer(), project: project.layer() }
    }

    /// One layer after the other, in double precision.
    fn plain(
        input: &[f32],
        layers: Layers<'_>,
        size: [usize; 2],
        stride: usize,
        shortcut: Shortcut,
    ) -> Vec<f64> {
        let with_gelu = |values: Vec<f64>| values.into_iter().map(gelu).collect::<Vec<_>>();
        let input = double(input);
        let expanded = with_gelu(linear(&input, layers.expand));
        let shape = DepthwiseShape { input: size, channels: layers.expand.bias.len(), stride };
        let mixed = with_gelu(plain_depthwise(&expanded, layers.depthwise, shape));
        let out = linear(&mixed, layers.project);
        match shortcut {
            Shortcut::Without => out,
            Shortcut::AddThenGelu => {
                with_gelu(out.iter().zip(&input).map(|(out, input)| out + input).collect())
            }
        }
    }

    /// The last sizes are large enough for tiles, on a processor that has them.
    #[test]
    fn it_is_its_layers_one_by_one() {
        let cases: [(Sizes, Shortcut); 6] = [
            (([1, 1, 1], [3, 5, 3], 1), Shortcut::AddThenGelu),
            (([2, 19, 7], [6, 20, 6], 1), Shortcut::AddThenGelu),
            (([2, 9, 12], [4, 17, 7], 1), Shortcut::Without),
            (([1, 21, 10], [5, 16, 9], 2), Shortcut::Without),
            (([3, 8, 5], [5, 33, 4], 2), Shortcut::Without),
            (([2, 40, 35], [64, 144, 64], 1), Shortcut::AddThenGelu),
        ];
        for (sizes, shortcut) in cases {
            let ([images, height, width], channels, stride) = sizes;
            let input = random(images * height * width * channels[0], 7);
            let numbers = parameters(channels);
            let size = [height, width];
            let expected = plain(&input, layers(&numbers), size, stride, shortcut);
            let found = forward(&input, size, layers(&numbers), stride, shortcut);
            assert_close(&found, &expected, &format!("{sizes:?} {shortcut:?}"));
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for ([images, height, width], channels, stride) in
            [([1, 70, 9], [8, 24, 8], 1), ([2, 45, 32], [64, 144, 64], 2)]
        {
            let input = random(images * height * width * channels[0], 8);
            let numbers = parameters(channels);
            assert_same_on_threads(|| {
                let layers = layers(&numbers);
                forward(&input, [height, width], layers, stride, Shortcut::Without)
            });
        }
    }
}
