//! Multi-head attention, forward and backward, with the probabilities kept in between.
//!
//! Heads are slices of the channels: no transposed copy of a whole tensor is ever made.

use rayon::prelude::*;

use super::{
    matrix::{View, multiply},
    vector_math::exp,
    vectorized::vectorized,
};

/// Sizes of an attention between two sequences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossShape {
    pub queries: usize,
    pub keys: usize,
    pub channels: usize,
    pub heads: usize,
}

impl CrossShape {
    fn head(&self) -> usize {
        self.channels / self.heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }
}

/// Gradients with respect to query, key and value.
pub(crate) struct CrossGradients {
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub value: Vec<f32>,
}

/// `softmax(q k^T / sqrt(d)) v` for every image and head.
///
/// `query` is `[B, queries, channels]`, `key` and `value` `[B, keys, channels]`. Returns the mixed
/// values `[B, queries, channels]` and the probabilities `[B, heads, queries, keys]`.
pub(crate) fn cross_forward(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    shape: CrossShape,
) -> (Vec<f32>, Vec<f32>) {
    let CrossShape { queries, keys, channels, heads } = shape;
    let batch = query.len() / (queries * channels);
    let mut out = vec![0.0; query.len()];
    let mut probabilities = vec![0.0; batch * heads * queries * keys];
    out.par_chunks_mut(queries * channels)
        .zip(probabilities.par_chunks_mut(heads * queries * keys))
        .enumerate()
        .for_each(|(image, (out, probabilities))| {
            let query = part(query, image, queries * channels);
            let key = part(key, image, keys * channels);
            let value = part(value, image, keys * channels);
            let mut mixed = vec![0.0; queries * shape.head()];
            for (head, weights) in probabilities.chunks_exact_mut(queries * keys).enumerate() {
                let view = |values, rows| head_view(values, rows, head, &shape);
                let scores = view(key, keys).transposed();
                multiply(weights, view(query, queries), scores, shape.scale(), false, false);
                softmax(weights, keys);
                let weights = View::new(weights, queries, keys);
                multiply(&mut mixed, weights, view(value, keys), 1.0, false, false);
                store_head(out, &mixed, head, &shape);
            }
        });
    (out, probabilities)
}

/// Gradients of [`cross_forward`], given the gradient of its first result.
pub(crate) fn cross_backward(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    probabilities: &[f32],
    gradient: &[f32],
    shape: CrossShape,
) -> CrossGradients {
    let CrossShape { queries, keys, channels, heads } = shape;
    let mut by_query = vec![0.0; query.len()];
    let mut by_key = vec![0.0; key.len()];
    let mut by_value = vec![0.0; value.len()];
    by_query
        .par_chunks_mut(queries * channels)
        .zip(by_key.par_chunks_mut(keys * channels))
        .zip(by_value.par_chunks_mut(keys * channels))
        .enumerate()
        .for_each(|(image, ((by_query, by_key), by_value))| {
            let query = part(query, image, queries * channels);
            let key = part(key, image, keys * channels);
            let value = part(value, image, keys * channels);
            let gradient = part(gradient, image, queries * channels);
            let probabilities = part(probabilities, image, heads * queries * keys);
            let mut scores = vec![0.0; queries * keys];
            let mut long = vec![0.0; keys * shape.head()];
            let mut short = vec![0.0; queries * shape.head()];
            for (head, weights) in probabilities.chunks_exact(queries * keys).enumerate() {
                let view = |values, rows| head_view(values, rows, head, &shape);
                let gradient = view(gradient, queries);
                let by_weights = View::new(weights, queries, keys);
                multiply(&mut long, by_weights.transposed(), gradient, 1.0, false, false);
                store_head(by_value, &long, head, &shape);

                let value = view(value, keys).transposed();
                multiply(&mut scores, gradient, value, 1.0, false, false);
                softmax_backward(&mut scores, weights, keys);
                let by_scores = View::new(&scores, queries, keys);
                multiply(&mut short, by_scores, view(key, keys), shape.scale(), false, false);
                store_head(by_query, &short, head, &shape);
                let by_scores = by_scores.transposed();
                multiply(&mut long, by_scores, view(query, queries), shape.scale(), false, false);
                store_head(by_key, &long, head, &shape);
            }
        });
    CrossGradients { query: by_query, key: by_key, value: by_value }
}

/// Sizes of a self-attention over the windows of a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowShape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub heads: usize,
    /// Side of a window in tokens; divides height and width.
    pub window: usize,
}

impl WindowShape {
    fn head(&self) -> usize {
        self.channels / self.heads
    }

    fn tokens(&self) -> usize {
        self.window * self.window
    }

    fn windows(&self) -> usize {
        (self.height / self.window) * (self.width / self.window)
    }

    /// Rows of a relative-position table.
    fn offsets(&self) -> usize {
        2 * self.window - 1
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head() as f32).sqrt()
    }

    /// Windows of all images and heads.
    fn count(&self, qkv: &[f32]) -> usize {
        let images = qkv.len() / (self.height * self.width * 3 * self.channels);
        images * self.windows() * self.heads
    }

    /// Image, window and head of one of these.
    fn place(&self, index: usize) -> (usize, usize, usize) {
        let (window, head) = (index / self.heads, index % self.heads);
        (window / self.windows(), window % self.windows(), head)
    }

    /// First token (in the grid) of each row of a window.
    fn rows(&self, window: usize) -> impl Iterator<Item = usize> + use<> {
        let per_row = self.width / self.window;
        let (top, left) = (window / per_row * self.window, window % per_row * self.window);
        let width = self.width;
        (0..self.window).map(move |row| (top + row) * width + left)
    }
}

/// Which third of the channels of a token.
#[derive(Clone, Copy)]
enum Third {
    Query,
    Key,
    Value,
}

/// Gradients of [`window_forward`].
pub(crate) struct WindowGradients {
    pub qkv: Vec<f32>,
    pub rel_pos_h: Vec<f32>,
    pub rel_pos_w: Vec<f32>,
}

/// Self-attention within windows, with decomposed relative positions:
/// `score(q, k) = q.k / sqrt(d) + q.Rh[qy - ky + s - 1] + q.Rw[qx - kx + s - 1]`, `s` the side of a window.
///
/// `qkv` is `[B, H, W, 3 * channels]`, the tables are `[2 s - 1, d]`. Returns the mixed values
/// `[B, H, W, channels]` and the probabilities `[B, windows, heads, s * s, s * s]`.
pub(crate) fn window_forward(
    qkv: &[f32],
    rel_pos_h: &[f32],
    rel_pos_w: &[f32],
    shape: WindowShape,
) -> (Vec<f32>, Vec<f32>) {
    let n = shape.tokens();
    let mut probabilities = vec![0.0; shape.count(qkv) * n * n];
    let mixed = probabilities
        .par_chunks_mut(n * n)
        .enumerate()
        .map(|(index, weights)| mix(index, weights, qkv, [rel_pos_h, rel_pos_w], &shape))
        .collect();
    (join(mixed, qkv, &shape), probabilities)
}

/// Probabilities and mixed values `[s * s, d]` of one image, window and head, counted in this order.
fn mix(
    index: usize,
    weights: &mut [f32],
    qkv: &[f32],
    tables: [&[f32]; 2],
    shape: &WindowShape,
) -> Vec<f32> {
    let (n, head_dim) = (shape.tokens(), shape.head());
    let (image, window, head) = shape.place(index);
    let qkv = part(qkv, image, shape.height * shape.width * 3 * shape.channels);
    let mut buffers = [(); 3].map(|()| vec![0.0; n * head_dim]);
    gather_qkv(&mut buffers, qkv, window, head, shape);
    let [query, key, value] = buffers.each_ref().map(|values| View::new(values, n, head_dim));
    multiply(weights, query, key.transposed(), shape.scale(), false, false);
    let mut position = PositionTerms::new(shape);
    position.project(query, tables[0], tables[1]);
    position.add_to(weights, shape.window);
    softmax(weights, n);
    let mut mixed = vec![0.0; n * head_dim];
    multiply(&mut mixed, View::new(weights, n, n), value, 1.0, false, false);
    mixed
}

/// Puts the mixed values of all images, windows and heads in their places.
fn join(mixed: Vec<Vec<f32>>, qkv: &[f32], shape: &WindowShape) -> Vec<f32> {
    let mut out = vec![0.0; qkv.len() / 3];
    let size = shape.height * shape.width * shape.channels;
    for (index, mixed) in mixed.into_iter().enumerate() {
        let (image, window, head) = shape.place(index);
        let out = &mut out[image * size..(image + 1) * size];
        scatter(out, &mixed, window, head * shape.head(), shape.channels, shape);
    }
    out
}

/// Gradients of [`window_forward`], given the gradient of its first result.
pub(crate) fn window_backward(
    qkv: &[f32],
    rel_pos_h: &[f32],
    rel_pos_w: &[f32],
    probabilities: &[f32],
    gradient: &[f32],
    shape: WindowShape,
) -> WindowGradients {
    let (n, head_dim) = (shape.tokens(), shape.head());
    let grid = shape.height * shape.width;
    let table = shape.offsets() * head_dim;
    let mut by_qkv = vec![0.0; qkv.len()];
    let tables: Vec<[Vec<f32>; 2]> = by_qkv
        .par_chunks_mut(grid * 3 * shape.channels)
        .enumerate()
        .map(|(image, by_qkv)| {
            let qkv = part(qkv, image, grid * 3 * shape.channels);
            let gradient = part(gradient, image, grid * shape.channels);
            let probabilities = part(probabilities, image, shape.windows() * shape.heads * n * n);
            let mut buffers = [(); 3].map(|()| vec![0.0; n * head_dim]);
            let mut by_mixed = vec![0.0; n * head_dim];
            let mut scores = vec![0.0; n * n];
            let mut result = vec![0.0; n * head_dim];
            let mut position = PositionTerms::new(&shape);
            let mut tables = [vec![0.0; table], vec![0.0; table]];
            for (index, weights) in probabilities.chunks_exact(n * n).enumerate() {
                let (window, head) = (index / shape.heads, index % shape.heads);
                let mut store = |values: &[f32], third| {
                    let channel = shape.channels * third as usize + head * head_dim;
                    scatter(by_qkv, values, window, channel, 3 * shape.channels, &shape);
                };
                gather_qkv(&mut buffers, qkv, window, head, &shape);
                let channel = head * head_dim;
                gather(&mut by_mixed, gradient, window, channel, shape.channels, &shape);
                let [query, key, value] = buffers.each_ref().map(|it| View::new(it, n, head_dim));
                let by_mixed = View::new(&by_mixed, n, head_dim);

                let by_value = View::new(weights, n, n).transposed();
                multiply(&mut result, by_value, by_mixed, 1.0, false, false);
                store(&result, Third::Value);

                multiply(&mut scores, by_mixed, value.transposed(), 1.0, false, false);
                softmax_backward(&mut scores, weights, n);
                position.sum_from(&scores, shape.window);
                let by_scores = View::new(&scores, n, n);
                multiply(&mut result, by_scores, key, shape.scale(), false, false);
                position.project_back(&mut result, query, rel_pos_h, rel_pos_w, &mut tables);
                store(&result, Third::Query);
                multiply(&mut result, by_scores.transposed(), query, shape.scale(), false, false);
                store(&result, Third::Key);
            }
            tables
        })
        .collect();
    let mut sums = [vec![0.0; table], vec![0.0; table]];
    for tables in tables {
        for (sum, values) in sums.iter_mut().zip(tables) {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
    let [rel_pos_h, rel_pos_w] = sums;
    WindowGradients { qkv: by_qkv, rel_pos_h, rel_pos_w }
}

/// The position part of the scores of one window and head: what each query adds for each offset
/// between rows, and for each between columns.
struct PositionTerms {
    /// `[tokens, 2 s - 1]`
    by_row: Vec<f32>,
    /// `[tokens, 2 s - 1]`
    by_column: Vec<f32>,
    tokens: usize,
    offsets: usize,
}

impl PositionTerms {
    fn new(shape: &WindowShape) -> Self {
        let (tokens, offsets) = (shape.tokens(), shape.offsets());
        let terms = || vec![0.0; tokens * offsets];
        Self { by_row: terms(), by_column: terms(), tokens, offsets }
    }

    fn project(&mut self, query: View<'_>, rel_pos_h: &[f32], rel_pos_w: &[f32]) {
        let (offsets, head_dim) = (self.offsets, query.columns);
        let table = |values| View::new(values, offsets, head_dim).transposed();
        multiply(&mut self.by_row, query, table(rel_pos_h), 1.0, false, false);
        multiply(&mut self.by_column, query, table(rel_pos_w), 1.0, false, false);
    }

    fn add_to(&self, scores: &mut [f32], side: usize) {
        add_positions(scores, &self.by_row, &self.by_column, side);
    }

    fn sum_from(&mut self, scores: &[f32], side: usize) {
        sum_positions(&mut self.by_row, &mut self.by_column, scores, side);
    }

    /// Adds to the gradient of the query and to those of the tables.
    fn project_back(
        &self,
        by_query: &mut [f32],
        query: View<'_>,
        rel_pos_h: &[f32],
        rel_pos_w: &[f32],
        tables: &mut [Vec<f32>; 2],
    ) {
        let (tokens, offsets, head_dim) = (self.tokens, self.offsets, query.columns);
        let [by_table_h, by_table_w] = tables;
        for (terms, table, by_table) in
            [(&self.by_row, rel_pos_h, by_table_h), (&self.by_column, rel_pos_w, by_table_w)]
        {
            let terms = View::new(terms, tokens, offsets);
            multiply(by_query, terms, View::new(table, offsets, head_dim), 1.0, true, false);
            multiply(by_table, terms.transposed(), query, 1.0, true, false);
        }
    }
}

vectorized! {
    /// Adds to each score what its query adds for the rows and columns between it and the key.
    fn add_positions<'a>(
        scores: &'a mut [f32],
        by_row: &'a [f32],
        by_column: &'a [f32],
        side: usize,
    ) {
        let offsets = 2 * side - 1;
        for (token, scores) in scores.chunks_exact_mut(side * side).enumerate() {
            let (row, column) = (token / side, token % side);
            // Keys run forward while offsets run backward.
            let by_row = &by_row[token * offsets + row..][..side];
            let by_column = &by_column[token * offsets + column..][..side];
            for (key_row, scores) in scores.chunks_exact_mut(side).enumerate() {
                let by_row = by_row[side - 1 - key_row];
                for (key_column, score) in scores.iter_mut().enumerate() {
                    *score += by_row + by_column[side - 1 - key_column];
                }
            }
        }
    }
}

vectorized! {
    /// The gradient of [`add_positions`].
    fn sum_positions<'a>(
        by_row: &'a mut [f32],
        by_column: &'a mut [f32],
        scores: &'a [f32],
        side: usize,
    ) {
        let offsets = 2 * side - 1;
        by_row.fill(0.0);
        by_column.fill(0.0);
        for (token, scores) in scores.chunks_exact(side * side).enumerate() {
            let (row, column) = (token / side, token % side);
            let by_row = &mut by_row[token * offsets + row..][..side];
            let by_column = &mut by_column[token * offsets + column..][..side];
            for (key_row, scores) in scores.chunks_exact(side).enumerate() {
                let mut sum = 0.0;
                for (key_column, &score) in scores.iter().enumerate() {
                    sum += score;
                    by_column[side - 1 - key_column] += score;
                }
                by_row[side - 1 - key_row] = sum;
            }
        }
    }
}

vectorized! {
    /// Turns every row of scores into probabilities.
    fn softmax<'a>(scores: &'a mut [f32], width: usize) {
        for row in scores.chunks_exact_mut(width) {
            let mut largest = [f32::NEG_INFINITY; 16];
            let chunks = row.chunks_exact(16);
            let mut peak = f32::NEG_INFINITY;
            for &score in chunks.remainder() {
                peak = if score > peak { score } else { peak };
            }
            for chunk in chunks {
                for (largest, &score) in largest.iter_mut().zip(chunk) {
                    *largest = if score > *largest { score } else { *largest };
                }
            }
            for score in largest {
                peak = if score > peak { score } else { peak };
            }
            let mut sums = [0.0_f32; 16];
            let mut rest = 0.0;
            let mut chunks = row.chunks_exact_mut(16);
            for chunk in &mut chunks {
                for (sum, score) in sums.iter_mut().zip(chunk) {
                    *score = exp(*score - peak);
                    *sum += *score;
                }
            }
            for score in chunks.into_remainder() {
                *score = exp(*score - peak);
                rest += *score;
            }
            let scale = 1.0 / (sums.iter().sum::<f32>() + rest);
            for value in row {
                *value *= scale;
            }
        }
    }
}

vectorized! {
    /// Turns gradients of probabilities into gradients of scores: `p * (g - sum(g * p))`.
    fn softmax_backward<'a>(gradients: &'a mut [f32], probabilities: &'a [f32], width: usize) {
        for (gradients, probabilities) in
            gradients.chunks_exact_mut(width).zip(probabilities.chunks_exact(width))
        {
            let mut sums = [0.0_f32; 16];
            let (chunks, weights) = (gradients.chunks_exact(16), probabilities.chunks_exact(16));
            let mut rest = 0.0;
            for (g, p) in chunks.remainder().iter().zip(weights.remainder()) {
                rest += g * p;
            }
            for (chunk, weights) in chunks.zip(weights) {
                for ((sum, g), p) in sums.iter_mut().zip(chunk).zip(weights) {
                    *sum += g * p;
                }
            }
            let sum = sums.iter().sum::<f32>() + rest;
            for (gradient, probability) in gradients.iter_mut().zip(probabilities) {
                *gradient = probability * (*gradient - sum);
            }
        }
    }
}

fn part(values: &[f32], index: usize, length: usize) -> &[f32] {
    &values[index * length..(index + 1) * length]
}

/// The channels of one head, of all tokens.
fn head_view<'a>(values: &'a [f32], rows: usize, head: usize, shape: &CrossShape) -> View<'a> {
    View {
        values: &values[head * shape.head()..],
        rows,
        columns: shape.head(),
        row_stride: shape.channels,
        column_stride: 1,
    }
}

fn store_head(out: &mut [f32], values: &[f32], head: usize, shape: &CrossShape) {
    let head_dim = shape.head();
    for (out, values) in out.chunks_exact_mut(shape.channels).zip(values.chunks_exact(head_dim)) {
        out[head * head_dim..(head + 1) * head_dim].copy_from_slice(values);
    }
}

fn gather_qkv(
    buffers: &mut [Vec<f32>; 3],
    qkv: &[f32],
    window: usize,
    head: usize,
    shape: &WindowShape,
) {
    for (third, buffer) in buffers.iter_mut().enumerate() {
        let channel = shape.channels * third + head * shape.head();
        gather(buffer, qkv, window, channel, 3 * shape.channels, shape);
    }
}

/// Copies a head's channels of the tokens of a window to `buffer`, `[tokens, d]`.
fn gather(
    buffer: &mut [f32],
    tokens: &[f32],
    window: usize,
    channel: usize,
    stride: usize,
    shape: &WindowShape,
) {
    let head_dim = shape.head();
    for (first, rows) in shape.rows(window).zip(buffer.chunks_exact_mut(shape.window * head_dim)) {
        for (token, row) in rows.chunks_exact_mut(head_dim).enumerate() {
            let at = (first + token) * stride + channel;
            row.copy_from_slice(&tokens[at..at + head_dim]);
        }
    }
}

/// The opposite of [`gather`].
fn scatter(
    tokens: &mut [f32],
    buffer: &[f32],
    window: usize,
    channel: usize,
    stride: usize,
    shape: &WindowShape,
) {
    let head_dim = shape.head();
    for (first, rows) in shape.rows(window).zip(buffer.chunks_exact(shape.window * head_dim)) {
        for (token, row) in rows.chunks_exact(head_dim).enumerate() {
            let at = (first + token) * stride + channel;
            tokens[at..at + head_dim].copy_from_slice(row);
        }
    }
}
