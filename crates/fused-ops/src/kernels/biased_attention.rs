//! Self-attention within the windows of a grid, with a learned bias for every distance between two tokens. For
//! inference: nothing is kept.
//!
//! Windows that reach beyond the grid see padding there. Its keys and values are the same for every such place, and its
//! queries are nobody's.

use rayon::prelude::*;

use super::{
    gelu::Activation,
    layer::{Factor, Layer, PART, finish, finish_onto},
    layer_norm,
    matrix::{View, multiply},
    vector_math::exp,
    vectorized::vectorized,
    zeros,
};

/// Keys that a vector register holds the scores of. Rows of scores are filled up to a multiple of it.
const LANES: usize = 16;

/// Sizes of a self-attention over the windows of a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowsShape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub heads: usize,
    /// Side of a window in tokens.
    pub window: usize,
}

impl WindowsShape {
    fn head(&self) -> usize {
        self.channels / self.heads
    }

    fn per_row(&self) -> usize {
        self.width.div_ceil(self.window)
    }

    fn windows(&self) -> usize {
        self.height.div_ceil(self.window) * self.per_row()
    }

    /// Scores of a query in memory.
    fn keys(&self) -> usize {
        (self.window * self.window).next_multiple_of(LANES)
    }

    /// First row and column of a window, and how many of both are in the grid.
    fn content(&self, window: usize) -> ([usize; 2], [usize; 2]) {
        let top = window / self.per_row() * self.window;
        let left = window % self.per_row() * self.window;
        let rows = self.window.min(self.height - top);
        ([top, left], [rows, self.window.min(self.width - left)])
    }
}

/// Parameters of a block's attention.
#[derive(Clone, Copy)]
pub(crate) struct Attention<'a> {
    /// Weight `[channels]`
    pub norm: Layer<'a>,
    pub epsilon: f32,
    /// Weight `[channels, heads * 3 * d]`
    pub qkv: Layer<'a>,
    /// Weight `[channels, channels]`
    pub proj: Layer<'a>,
    /// `[heads, window, window]`
    pub biases: &'a [f32],
}

/// `tokens + proj(attend(qkv(norm(tokens))))`, with zeros as tokens beyond the grid.
///
/// - `tokens`: `[B, H, W, channels]`, as what is returned
pub(crate) fn forward_add(tokens: &[f32], of: Attention<'_>, shape: WindowsShape) -> Vec<f32> {
    let channels = shape.channels;
    let qkv = normed_linear(tokens, of.norm, of.epsilon, of.qkv);
    let padding = normed_linear(&vec![0.0; channels], of.norm, of.epsilon, of.qkv);
    let seen = attend(&qkv, &padding, of.biases, shape);
    drop(qkv);
    let proj = View::new(of.proj.weight, channels, channels);
    let proj = Factor::new(proj, tokens.len() / channels);
    let part = PART * channels;
    let mut out = zeros(tokens.len());
    out.par_chunks_mut(part).zip(seen.par_chunks(part).zip(tokens.par_chunks(part))).for_each(
        |(out, (seen, tokens))| {
            proj.multiply(out, View::new(seen, seen.len() / channels, channels), false);
            finish_onto(out, of.proj.bias, tokens, Activation::Identity);
        },
    );
    out
}

/// `layer(norm(tokens))`
fn normed_linear(tokens: &[f32], norm: Layer<'_>, epsilon: f32, layer: Layer<'_>) -> Vec<f32> {
    let (channels, outputs) = (norm.bias.len(), layer.bias.len());
    let rows = tokens.len() / channels;
    let factor = Factor::new(View::new(layer.weight, channels, outputs), rows);
    let mut out = zeros(rows * outputs);
    out.par_chunks_mut(PART * outputs).zip(tokens.par_chunks(PART * channels)).for_each_init(
        || vec![0.0; PART * channels],
        |normed, (out, tokens)| {
            let normed = &mut normed[..tokens.len()];
            layer_norm::forward_rows(normed, tokens, norm.weight, norm.bias, epsilon);
            factor.multiply(out, View::new(normed, tokens.len() / channels, channels), false);
            finish(out, layer.bias, Activation::Identity);
        },
    );
    out
}

/// `score(q, k) = q.k / sqrt(d) + bias[|qy - ky|, |qx - kx|]`
///
/// - `qkv`: `[B, H, W, heads, 3, d]`
/// - `padding`: `[heads, 3, d]`, what stands in `qkv` beyond the grid
/// - `biases`: `[heads, window, window]`
/// - returns: `[B, H, W, heads, d]`
fn attend(qkv: &[f32], padding: &[f32], biases: &[f32], shape: WindowsShape) -> Vec<f32> {
    let WindowsShape { height, width, channels, heads, window } = shape;
    let head_dim = shape.head();
    let row = width * 3 * channels;
    let images = qkv.len() / (height * row).max(1);
    let pairs: Vec<Vec<f32>> = biases
        .par_chunks_exact(window * window)
        .map(|biases| bias_of_pairs(biases, window))
        .collect();
    let mixed: Vec<Vec<f32>> = (0..images * shape.windows() * heads)
        .into_par_iter()
        .map_init(Buffers::default, |buffers, part| {
            let (image, window, head) =
                (part / heads / shape.windows(), part / heads % shape.windows(), part % heads);
            let of_image = &qkv[image * height * row..(image + 1) * height * row];
            mix(buffers, of_image, padding, &pairs[head], (window, head), shape)
        })
        .collect();
    // A token's heads lie beside each other in the result: gathered row by row of the grid, by all threads.
    let mut out = zeros(images * height * width * channels);
    out.par_chunks_exact_mut((width * channels).max(1)).enumerate().for_each(|(index, out)| {
        let (image, y) = (index / height, index % height);
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            let at = y / window * shape.per_row() + x / window;
            let ([top, left], [_, columns]) = shape.content(at);
            let query = (y - top) * columns + x - left;
            let first = (image * shape.windows() + at) * heads;
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                out.copy_from_slice(&mixed[first + head][query * head_dim..][..head_dim]);
            }
        }
    });
    out
}

/// Biases of a head for all pairs in a window, `[queries, keys]`. Nobody sees what rows are filled up with.
fn bias_of_pairs(biases: &[f32], side: usize) -> Vec<f32> {
    let tokens = side * side;
    let keys = tokens.next_multiple_of(LANES);
    let mut pairs = vec![f32::NEG_INFINITY; tokens * keys];
    for (query, pairs) in pairs.chunks_exact_mut(keys).enumerate() {
        for (key, pair) in pairs[..tokens].iter_mut().enumerate() {
            let rows = (query / side).abs_diff(key / side);
            let columns = (query % side).abs_diff(key % side);
            *pair = biases[rows * side + columns];
        }
    }
    pairs
}

/// Memory that a thread uses again for its next window.
#[derive(Default)]
struct Buffers {
    /// `[queries, d]`
    query: Vec<f32>,
    /// `[keys, d]`, with zeros where rows of scores are filled up
    key: Vec<f32>,
    value: Vec<f32>,
    /// `[queries, keys]`
    scores: Vec<f32>,
    /// `[queries]`
    sums: Vec<f32>,
    /// Of each query the place in its window.
    places: Vec<usize>,
}

/// The mixed values of those queries of a window that are in the grid, `[queries, d]`.
fn mix(
    buffers: &mut Buffers,
    qkv: &[f32],
    padding: &[f32],
    pairs: &[f32],
    (window, head): (usize, usize),
    shape: WindowsShape,
) -> Vec<f32> {
    let (head_dim, side, keys) = (shape.head(), shape.window, shape.keys());
    let ([top, left], [rows, columns]) = shape.content(window);
    let Buffers { query, key, value, scores, sums, places } = buffers;
    for buffer in [&mut *query, key, value] {
        buffer.clear();
    }
    places.clear();
    for place in 0..side * side {
        let (row, column) = (place / side, place % side);
        let inside = row < rows && column < columns;
        let token = match inside {
            true => {
                let token = (top + row) * shape.width + left + column;
                &qkv[(token * shape.heads + head) * 3 * head_dim..][..3 * head_dim]
            }
            false => &padding[head * 3 * head_dim..][..3 * head_dim],
        };
        if inside {
            query.extend_from_slice(&token[..head_dim]);
            places.push(place);
        }
        key.extend_from_slice(&token[head_dim..2 * head_dim]);
        value.extend_from_slice(&token[2 * head_dim..]);
    }
    key.resize(keys * head_dim, 0.0);
    value.resize(keys * head_dim, 0.0);

    let queries = places.len();
    scores.resize(queries * keys, 0.0);
    sums.resize(queries, 0.0);
    let key = View::new(key, keys, head_dim).transposed();
    let scale = 1.0 / (head_dim as f32).sqrt();
    multiply(scores, View::new(query, queries, head_dim), key, scale, false, false);
    weigh(scores, sums, pairs, places);
    let mut mixed = vec![0.0; queries * head_dim];
    let value = View::new(value, keys, head_dim);
    multiply(&mut mixed, View::new(scores, queries, keys), value, 1.0, false, false);
    for (mixed, sum) in mixed.chunks_exact_mut(head_dim).zip(sums) {
        let scale = 1.0 / *sum;
        mixed.iter_mut().for_each(|value| *value *= scale);
    }
    mixed
}

vectorized! {
    /// Adds the biases to scores and turns these into weights relative to a query's largest, whose sums it gives.
    ///
    /// - `scores`: `[queries, keys]`, `keys` a multiple of [`LANES`]
    /// - `pairs`: `[places, keys]`
    /// - `places`: of each query the row in `pairs`
    fn weigh<'a>(
        scores: &'a mut [f32],
        sums: &'a mut [f32],
        pairs: &'a [f32],
        places: &'a [usize],
    ) {
        let keys = scores.len() / places.len();
        for (query, &place) in places.iter().enumerate() {
            let scores = &mut scores[query * keys..(query + 1) * keys];
            let pairs = &pairs[place * keys..(place + 1) * keys];
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for (scores, pairs) in scores.chunks_exact_mut(LANES).zip(pairs.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    let score = scores[lane] + pairs[lane];
                    scores[lane] = score;
                    lanes[lane] = if score > lanes[lane] { score } else { lanes[lane] };
                }
            }
            let mut peak = f32::NEG_INFINITY;
            for lane in lanes {
                peak = if lane > peak { lane } else { peak };
            }
            let mut lanes = [0.0_f32; LANES];
            for scores in scores.chunks_exact_mut(LANES) {
                for lane in 0..LANES {
                    let weight = exp(scores[lane] - peak);
                    scores[lane] = weight;
                    lanes[lane] += weight;
                }
            }
            let mut sum = 0.0;
            for lane in lanes {
                sum += lane;
            }
            sums[query] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{
        Numbers, assert_close, assert_same_on_threads, double, layer_norm, linear, random,
    };

    struct Parameters {
        norm: Numbers,
        qkv: Numbers,
        proj: Numbers,
        biases: Vec<f32>,
    }

    impl Parameters {
        fn random(shape: WindowsShape) -> Self {
            let WindowsShape { channels, heads, window, .. } = shape;
            let biases = random(heads * window * window, 7);
            Self {
                norm: Numbers::random(channels, channels, 1),
                qkv: Numbers::random(channels * 3 * channels, 3 * channels, 3),
                proj: Numbers::random(channels * channels, channels, 5),
                // Large enough that a bias of another pair shows.
                biases: biases.into_iter().map(|bias| 4.0 * bias).collect(),
            }
        }

        fn attention(&self) -> Attention<'_> {
            Attention {
                norm: self.norm.layer(),
                epsilon: 1e-5,
                qkv: self.qkv.layer(),
                proj: self.proj.layer(),
                biases: &self.biases,
            }
        }
    }

    /// The formula, one token at a time, in double precision: windows are padded before the norm.
    fn plain(tokens: &[f32], of: Attention<'_>, shape: WindowsShape) -> Vec<f64> {
        let WindowsShape { height, width, channels, heads, window } = shape;
        let d = channels / heads;
        let mut out = double(tokens);
        for (at, out) in out.chunks_exact_mut(channels).enumerate() {
            let (image, y, x) = (at / width / height, at / width % height, at % width);
            let (top, left) = (y / window * window, x / window * window);
            let places = (0..window * window).map(|place| (place / window, place % window));
            let padded: Vec<f64> = places
                .flat_map(|(row, column)| match (top + row, left + column) {
                    (row, column) if row < height && column < width => {
                        let token = (image * height + row) * width + column;
                        double(&tokens[token * channels..][..channels])
                    }
                    _ => vec![0.0; channels],
                })
                .collect();
            let qkv = linear(&layer_norm(&padded, of.norm, of.epsilon.into()), of.qkv);
            let part = |place: usize, head: usize, third: usize| {
                &qkv[place * 3 * channels + (3 * head + third) * d..][..d]
            };
            let query = (y - top) * window + x - left;
            let mut seen = Vec::new();
            for head in 0..heads {
                let scores: Vec<f64> = (0..window * window)
                    .map(|key| {
                        let products = part(query, head, 0).iter().zip(part(key, head, 1));
                        let dot: f64 = products.map(|(query, key)| query * key).sum();
                        let dy = (y - top).abs_diff(key / window);
                        let dx = (x - left).abs_diff(key % window);
                        let bias = of.biases[(head * window + dy) * window + dx];
                        dot / (d as f64).sqrt() + f64::from(bias)
                    })
                    .collect();
                let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                seen.extend((0..d).map(|channel| {
                    let weighed = scores.iter().enumerate();
                    weighed
                        .map(|(key, score)| score.exp() / sum * part(key, head, 2)[channel])
                        .sum::<f64>()
                }));
            }
            for (out, value) in out.iter_mut().zip(linear(&seen, of.proj)) {
                *out += value;
            }
        }
        out
    }

    /// Images and sizes: windows that tile the grid, reach beyond it at one edge or at both, or are larger than it; rows
    /// of scores with and without a rest of a register.
    fn cases() -> Vec<(usize, WindowsShape)> {
        let case = |images, [height, width]: [usize; 2], [channels, heads, window]: [usize; 3]| {
            (images, WindowsShape { height, width, channels, heads, window })
        };
        vec![
            case(1, [8, 4], [12, 3, 4]),
            case(2, [7, 10], [10, 2, 5]),
            case(2, [9, 7], [8, 1, 3]),
            case(1, [2, 3], [6, 2, 5]),
            case(3, [1, 1], [4, 2, 1]),
        ]
    }

    #[test]
    fn it_is_the_formula_at_all_edges() {
        for (images, shape) in cases() {
            let tokens = random(images * shape.height * shape.width * shape.channels, 8);
            let parameters = Parameters::random(shape);
            let expected = plain(&tokens, parameters.attention(), shape);
            let found = forward_add(&tokens, parameters.attention(), shape);
            assert_close(&found, &expected, &format!("{shape:?}"));
        }
    }

    /// Layers large enough for tiles, on a processor that has them.
    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = WindowsShape { height: 29, width: 28, channels: 96, heads: 3, window: 7 };
        let tokens = random(shape.height * shape.width * shape.channels, 9);
        let parameters = Parameters::random(shape);
        assert_same_on_threads(|| forward_add(&tokens, parameters.attention(), shape));
    }
}
