//! Self-attention over a grid of tokens, whole or in windows, for inference: nothing is kept.
//!
//! Scores are computed for a block of queries and a block of keys at a time, with the softmax carried
//! along, so that they stay in the processor's cache: the scores of ViT-B's 64 x 64 grid would be 0.8 GB
//! for each block of the encoder. Positions are added on the way: to one query, all keys of one row of
//! the grid are equally far in height, and the keys of every row are equally far in width.
//!
//! Windows that reach beyond the grid see padding there. Its keys and values are the same for every such
//! place, the bias of the projection, and its queries are nobody's: neither goes through the projection.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    factors::{Factors, Weights},
    matrix::{View, multiply},
    tiles::{self, PackedLhs, PackedRhs, Parts, Write},
    vector_math::exp,
    vectorized::vectorized,
    zeros,
};

/// Queries whose scores are computed at a time.
const QUERIES: usize = 256;
/// Keys that they are computed for at a time, at least a row of the window. With [`QUERIES`], half a
/// megabyte of scores.
const KEYS: usize = 512;
/// Fewest queries of a part of the work. A part copies, or packs, the keys and values of its window.
const PART: usize = 4 * QUERIES;
/// Multiplications of a whole self-attention from which tiles of `bf16` are used. SAM's ViT-B has twice and more of them in
/// each block, `micro` far less.
const WORTHWHILE_IN_BF16: usize = 1 << 28;
/// Parts for every thread, so that none waits long for the last.
const PARTS_PER_THREAD: usize = 4;

/// Sizes of a self-attention over the windows of a grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GridShape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub heads: usize,
    /// Side of a window in tokens.
    pub window: usize,
}

impl GridShape {
    fn head(&self) -> usize {
        self.channels / self.heads
    }

    fn windows_per_row(&self) -> usize {
        self.width.div_ceil(self.window)
    }

    fn windows(&self) -> usize {
        self.height.div_ceil(self.window) * self.windows_per_row()
    }

    /// The tokens of a window that are in the grid, in rows of this many.
    fn content(&self, window: usize) -> Content {
        let top = window / self.windows_per_row() * self.window;
        let left = window % self.windows_per_row() * self.window;
        Content {
            top,
            left,
            rows: self.window.min(self.height - top),
            columns: self.window.min(self.width - left),
        }
    }
}

/// Where the grid lies in a window.
#[derive(Clone, Copy)]
struct Content {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl Content {
    /// Row and column, within the window, of a token counted within the content.
    fn place(&self, token: usize) -> (usize, usize) {
        (token / self.columns, token % self.columns)
    }

    /// The same in the grid, as the number of the token.
    fn in_grid(&self, token: usize, shape: &GridShape) -> usize {
        let (row, column) = self.place(token);
        (self.top + row) * shape.width + self.left + column
    }
}

/// A part of the work: some queries of one head of one window of one image.
struct Part {
    image: usize,
    window: usize,
    head: usize,
    queries: Range<usize>,
}

/// `score(q, k) = q.k / sqrt(d) + q.Rh[qy - ky + s - 1] + q.Rw[qx - kx + s - 1]`, `s` the side of a window.
///
/// - `qkv`: `[B, H, W, 3 * channels]`
/// - `padding`: `[3 * channels]`, what stands in `qkv` beyond the grid
/// - `tables`: for height and width, each `[2 s - 1, d]`, both in the same numbers. To these, all factors are rounded: queries,
///   keys, values, and a value's share before it is divided by the sum of all
/// - returns: `[B, H, W, channels]`
pub(crate) fn forward(
    qkv: &[f32],
    padding: &[f32],
    tables: [Weights<'_>; 2],
    shape: GridShape,
) -> Vec<f32> {
    let images = qkv.len() / (shape.height * shape.width * 3 * shape.channels);
    // Every query is by itself: how many are together changes no bit.
    let whole = images * shape.windows() * shape.heads;
    let enough = PARTS_PER_THREAD * rayon::current_num_threads();
    let keys = shape.window * shape.window;
    let part = (keys * whole / enough.max(1)).next_multiple_of(QUERIES).clamp(PART, keys.max(PART));
    let factors = tables[0].factors();
    let on_tiles = match factors {
        // Packing is cheap: of many small windows, too.
        Factors::Bf16 => {
            whole * keys * keys * shape.head() >= WORTHWHILE_IN_BF16 && tiles::available()
        }
        Factors::F32 | Factors::F16 => tiles::worthwhile(keys, shape.head(), keys),
    };
    let cut = Cut { part, on_tiles, factors };
    match tables {
        [Weights::F32(rows), Weights::F32(columns)] => {
            forward_in_parts(qkv, padding, [rows, columns], shape, cut)
        }
        tables => {
            let [rows, columns] = tables.map(|table| table.widened());
            forward_in_parts(qkv, padding, [&rows, &columns], shape, cut)
        }
    }
}

/// How the work is cut.
#[derive(Clone, Copy)]
struct Cut {
    /// Queries of a part, a multiple of [`QUERIES`].
    part: usize,
    /// Whether products are computed on tiles, where all keys are together or whole rows of them are whole tiles.
    on_tiles: bool,
    /// What factors are rounded to.
    factors: Factors,
}

fn forward_in_parts(
    qkv: &[f32],
    padding: &[f32],
    tables: [&[f32]; 2],
    shape: GridShape,
    cut: Cut,
) -> Vec<f32> {
    let part = cut.part;
    let tokens = shape.height * shape.width;
    let images = qkv.len() / (tokens * 3 * shape.channels);
    let mut parts = Vec::new();
    for image in 0..images {
        for window in 0..shape.windows() {
            let content = shape.content(window);
            let count = content.rows * content.columns;
            for head in 0..shape.heads {
                for first in (0..count).step_by(part) {
                    let queries = first..(first + part).min(count);
                    parts.push(Part { image, window, head, queries });
                }
            }
        }
    }
    let mixed: Vec<Vec<f32>> = parts
        .par_iter()
        .map_init(Buffers::default, |buffers, part| {
            let of_image = &qkv[part.image * tokens * 3 * shape.channels..];
            mix(buffers, of_image, padding, tables, part, (&shape, cut))
        })
        .collect();
    // A token's heads lie beside each other in the result: gathered row by row of the grid, by all threads.
    let head_dim = shape.head();
    let first: Vec<usize> = (0..parts.len()).filter(|&at| parts[at].is_first()).collect();
    let mut out = zeros(images * tokens * shape.channels);
    out.par_chunks_exact_mut(shape.width * shape.channels).enumerate().for_each(|(row, out)| {
        let (image, row) = (row / shape.height, row % shape.height);
        for (column, out) in out.chunks_exact_mut(shape.channels).enumerate() {
            let window = row / shape.window * shape.windows_per_row() + column / shape.window;
            let content = shape.content(window);
            let query = (row - content.top) * content.columns + column - content.left;
            let of_head = (content.rows * content.columns).div_ceil(part);
            let first = first[image * shape.windows() + window] + query / part;
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let values = &mixed[first + head * of_head];
                out.copy_from_slice(&values[query % part * head_dim..][..head_dim]);
            }
        }
    });
    out
}

impl Part {
    /// Whether it is the first of its window.
    fn is_first(&self) -> bool {
        self.head == 0 && self.queries.start == 0
    }
}

/// Memory that a thread uses again for its next part.
#[derive(Default)]
struct Buffers {
    /// `[keys, d]`
    key: Vec<f32>,
    /// `[keys, d]`
    value: Vec<f32>,
    /// `[queries, d]`
    query: Vec<f32>,
    /// `[queries, keys]` of a block
    scores: Vec<f32>,
    /// `[queries, 2 s - 1]`, for height and width
    offsets: [Vec<f32>; 2],
    /// `[queries, s]`: what a query adds for every row, and for every column, of keys
    by_row: Vec<f32>,
    by_column: Vec<f32>,
}

/// The mixed values of a part, `[queries, d]`.
fn mix(
    buffers: &mut Buffers,
    qkv: &[f32],
    padding: &[f32],
    tables: [&[f32]; 2],
    part: &Part,
    (shape, Cut { on_tiles, factors, .. }): (&GridShape, Cut),
) -> Vec<f32> {
    let (head_dim, side) = (shape.head(), shape.window);
    let content = shape.content(part.window);
    let Buffers { key, value, query, scores, offsets, by_row, by_column } = buffers;
    let channel = |third: usize| third * shape.channels + part.head * head_dim;
    let of_token = |token: usize, third: usize| {
        &qkv[token * 3 * shape.channels + channel(third)..][..head_dim]
    };
    for (third, values) in [(1, &mut *key), (2, &mut *value)] {
        values.clear();
        for place in 0..side * side {
            let (row, column) = (place / side, place % side);
            let inside = row < content.rows && column < content.columns;
            values.extend_from_slice(if inside {
                of_token((content.top + row) * shape.width + content.left + column, third)
            } else {
                &padding[channel(third)..][..head_dim]
            });
        }
        factors.round(values);
    }

    let rows_at_once = (KEYS / side).clamp(1, side);
    let scale = 1.0 / (head_dim as f32).sqrt();
    // A query is rounded before it is scaled, so then scores are.
    let (of_query, of_scores) = if factors == Factors::F32 { (scale, 1.0) } else { (1.0, scale) };
    let whole_blocks = rows_at_once == side || (rows_at_once * side).is_multiple_of(tiles::BLOCK);
    let on_tiles = on_tiles && whole_blocks;
    let keys = View::new(key, side * side, head_dim).transposed();
    let values = View::new(value, side * side, head_dim);
    let parts = if factors == Factors::Bf16 { Parts::One } else { Parts::Three };
    let packed_keys = on_tiles.then(|| PackedRhs::new(keys, parts, false));
    // Cutting the weights of a block of keys into three parts would take longer than their product.
    let packed_values =
        (on_tiles && parts == Parts::One).then(|| PackedRhs::new(values, parts, false));
    let mut mixed = vec![0.0; part.queries.len() * head_dim];
    for (first, mixed) in
        part.queries.clone().step_by(QUERIES).zip(mixed.chunks_mut(QUERIES * head_dim))
    {
        let n = mixed.len() / head_dim;
        query.clear();
        for token in first..first + n {
            query.extend_from_slice(of_token(content.in_grid(token, shape), 0));
        }
        factors.round(query);
        let queries = View::new(query, n, head_dim);
        for (offsets, table) in offsets.iter_mut().zip(tables) {
            offsets.resize(n * (2 * side - 1), 0.0);
            let table = View::new(table, 2 * side - 1, head_dim).transposed();
            multiply(offsets, queries, table, 1.0, false, false);
        }
        by_row.clear();
        by_column.clear();
        for at in 0..n {
            let (row, column) = content.place(first + at);
            for (terms, offsets, place) in
                [(&mut *by_row, &offsets[0], row), (&mut *by_column, &offsets[1], column)]
            {
                // Keys run forward while offsets run backward.
                let seen = &offsets[at * (2 * side - 1) + place..][..side];
                terms.extend(seen.iter().rev());
            }
        }

        let packed_queries = on_tiles.then(|| PackedLhs::whole(queries, parts, of_query));
        let mut largest = vec![f32::NEG_INFINITY; n];
        let mut sums = vec![0.0; n];
        for key_row in (0..side).step_by(rows_at_once) {
            let count = rows_at_once.min(side - key_row) * side;
            let first = key_row * side;
            let numbers = first * head_dim..(first + count) * head_dim;
            scores.resize(n * count, 0.0);
            if let (Some(queries), Some(keys)) = (&packed_queries, &packed_keys) {
                let columns = first..first + count;
                tiles::multiply_packed(scores, queries, keys, columns, Write::new(false));
            } else {
                let keys = View::new(&key[numbers.clone()], count, head_dim).transposed();
                multiply(scores, queries, keys, of_query, false, false);
            }
            let positions = [&**by_row, &**by_column];
            weigh(scores, of_scores, positions, [&mut largest, &mut sums], mixed, key_row, side);
            let weights = View::new(scores, n, count);
            if let Some(values) = &packed_values {
                let weights = PackedLhs::beginning_at(first, weights, parts);
                tiles::multiply_packed(mixed, &weights, values, 0..head_dim, Write::new(true));
            } else {
                factors.round(scores);
                let values = View::new(&value[numbers], count, head_dim);
                multiply(mixed, View::new(scores, n, count), values, 1.0, true, false);
            }
        }
        for (mixed, sum) in mixed.chunks_exact_mut(head_dim).zip(sums) {
            let scale = 1.0 / sum;
            mixed.iter_mut().for_each(|value| *value *= scale);
        }
    }
    mixed
}

vectorized! {
    /// Adds the positions to the scores of a block of keys and turns them into weights relative to the
    /// largest score that a query has met; what was mixed and summed before follows to the new
    /// largest.
    ///
    /// - `scores`: `[queries, keys]`, keys from row `key_row` of the window on, whole rows; `scale` times them is what counts
    /// - `positions`: what a query adds for every row, and for every column, of keys, each `[queries, side]`
    /// - `met`: the largest score that each query has met, and the sum of weights, each `[queries]`
    /// - `mixed`: `[queries, d]`
    fn weigh<'a>(
        scores: &'a mut [f32],
        scale: f32,
        positions: [&'a [f32]; 2],
        met: [&'a mut [f32]; 2],
        mixed: &'a mut [f32],
        key_row: usize,
        side: usize,
    ) {
        let [by_row, by_column] = positions;
        let [largest, sums] = met;
        let n = largest.len();
        let keys = scores.len() / n;
        let head_dim = mixed.len() / n;
        for query in 0..n {
            let row = &mut scores[query * keys..(query + 1) * keys];
            let by_row = &by_row[query * side..(query + 1) * side];
            let by_column = &by_column[query * side..(query + 1) * side];
            let mut lanes = [f32::NEG_INFINITY; 16];
            let mut peak = largest[query];
            for (at, row) in row.chunks_exact_mut(side).enumerate() {
                let height = by_row[key_row + at];
                let (scores, last_scores) = row.as_chunks_mut::<16>();
                let (terms, last_terms) = by_column.as_chunks::<16>();
                for (place, terms) in scores.iter_mut().zip(terms) {
                    // Copies, which nothing else can be written through: else the compiler makes no vectors of them.
                    let (mut scores, terms) = (*place, *terms);
                    for lane in 0..16 {
                        scores[lane] = scale * scores[lane] + (height + terms[lane]);
                    }
                    for lane in 0..16 {
                        let largest = lanes[lane];
                        lanes[lane] = if scores[lane] > largest { scores[lane] } else { largest };
                    }
                    *place = scores;
                }
                for (score, term) in last_scores.iter_mut().zip(last_terms) {
                    *score = scale * *score + (height + term);
                    peak = if *score > peak { *score } else { peak };
                }
            }
            for lane in lanes {
                peak = if lane > peak { lane } else { peak };
            }
            let mut lanes = [0.0_f32; 16];
            let mut rest = 0.0;
            let (chunks, last_scores) = row.as_chunks_mut::<16>();
            for chunk in chunks {
                for score in &mut *chunk {
                    *score = exp(*score - peak);
                }
                for lane in 0..16 {
                    lanes[lane] += chunk[lane];
                }
            }
            for score in last_scores {
                *score = exp(*score - peak);
                rest += *score;
            }
            let sum = lanes.iter().sum::<f32>() + rest;
            // Before the first block the largest is minus infinity, and there is nothing to follow.
            let shrink = exp(largest[query] - peak);
            sums[query] = sums[query] * shrink + sum;
            for value in &mut mixed[query * head_dim..(query + 1) * head_dim] {
                *value *= shrink;
            }
            largest[query] = peak;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(n: usize, rng: &mut ChaCha8Rng, scale: f32) -> Vec<f32> {
        (0..n).map(|_| scale * (rng.random::<f32>() - 0.5)).collect()
    }

    /// The formula, one score at a time, in double precision.
    fn plain(qkv: &[f32], padding: &[f32], tables: [&[f32]; 2], shape: GridShape) -> Vec<f32> {
        let GridShape { height, width, channels, heads, window } = shape;
        let d = channels / heads;
        let images = qkv.len() / (height * width * 3 * channels);
        let mut out = vec![0.0; images * height * width * channels];
        let at = |image: usize, y: usize, x: usize, channel: usize| {
            f64::from(if y < height && x < width {
                qkv[((image * height + y) * width + x) * 3 * channels + channel]
            } else {
                padding[channel]
            })
        };
        for image in 0..images {
            for (y, x) in (0..height * width).map(|token| (token / width, token % width)) {
                let (top, left) = (y / window * window, x / window * window);
                for head in 0..heads {
                    let query = |c: usize| at(image, y, x, head * d + c);
                    let keys: Vec<(usize, usize)> = (0..window * window)
                        .map(|k| (top + k / window, left + k % window))
                        .collect();
                    let scores: Vec<f64> = keys
                        .iter()
                        .map(|&(ky, kx)| {
                            let table = |table: &[f32], offset: usize, c: usize| {
                                f64::from(table[offset * d + c])
                            };
                            (0..d)
                                .map(|c| {
                                    let key = at(image, ky, kx, channels + head * d + c);
                                    query(c)
                                        * (key / (d as f64).sqrt()
                                            + table(tables[0], y + window - 1 - ky, c)
                                            + table(tables[1], x + window - 1 - kx, c))
                                })
                                .sum()
                        })
                        .collect();
                    let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> =
                        scores.iter().map(|score| (score - peak).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for c in 0..d {
                        let value: f64 = keys
                            .iter()
                            .zip(&weights)
                            .map(|(&(ky, kx), w)| {
                                w * at(image, ky, kx, 2 * channels + head * d + c)
                            })
                            .sum();
                        out[((image * height + y) * width + x) * channels + head * d + c] =
                            (value / sum) as f32;
                    }
                }
            }
        }
        out
    }

    /// `tolerance` is relative to the largest value; rounding of a score in f32 is a relative error of its
    /// weight.
    fn compare(images: usize, shape: GridShape, scale: f32, tolerance: f32) {
        let GridShape { height, width, channels, heads, window } = shape;
        let mut rng = ChaCha8Rng::seed_from_u64((height * 1000 + width * 10 + window) as u64);
        let qkv = random(images * height * width * 3 * channels, &mut rng, scale);
        let padding = random(3 * channels, &mut rng, scale);
        let table = (2 * window - 1) * channels / heads;
        let [rows, columns] = [0; 2].map(|_: i32| random(table, &mut rng, 1.0));
        let expected = plain(&qkv, &padding, [&rows, &columns], shape);
        let out = forward(&qkv, &padding, [Weights::F32(&rows), Weights::F32(&columns)], shape);
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (at, (out, expected)) in out.iter().zip(&expected).enumerate() {
            assert!(
                (out - expected).abs() <= tolerance * largest,
                "{at}: {out} {expected} {shape:?}"
            );
        }
    }

    #[test]
    fn it_is_the_formula_over_a_whole_grid_of_several_blocks_of_queries_and_keys() {
        // 24 * 24 = 576 queries in three blocks, keys in blocks of 21 rows and of 3.
        let shape = GridShape { height: 24, width: 24, channels: 16, heads: 2, window: 24 };
        compare(2, shape, 2.0, 2e-5);
    }

    #[test]
    fn it_is_the_formula_in_windows_that_reach_beyond_the_grid() {
        for (height, width, window) in [(7, 5, 4), (9, 9, 3), (6, 8, 5), (33, 20, 17)] {
            compare(2, GridShape { height, width, channels: 8, heads: 2, window }, 2.0, 2e-5);
        }
    }

    /// On tiles or not, and with several parts of a head: 40 * 32 queries in parts of 256, of 512, or all at once, keys in
    /// blocks of 16 rows, the last one of 8. Or windows whose keys are together and no whole number of tiles.
    #[test]
    fn however_it_is_cut_it_is_the_formula_of_rounded_factors() {
        for shape in [
            GridShape { height: 40, width: 37, channels: 16, heads: 2, window: 32 },
            GridShape { height: 30, width: 17, channels: 16, heads: 2, window: 14 },
        ] {
            let (tokens, table) = (shape.height * shape.width, (2 * shape.window - 1) * 8);
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            let qkv = random(2 * tokens * 48, &mut rng, 2.0);
            let padding = random(48, &mut rng, 2.0);
            let [rows, columns] = [0; 2].map(|_: i32| random(table, &mut rng, 1.0));
            // Values are at most 1, and the rounding of a weight is at most that half of a number's last place.
            for (factors, bound) in [
                (Factors::F32, 0.0),
                (Factors::F16, 2.0_f32.powi(-12)),
                (Factors::Bf16, 2.0_f32.powi(-9)),
            ] {
                let [rows, columns] = [&rows, &columns].map(|table| factors.rounded(table));
                let [rounded, rounded_padding] =
                    [&qkv, &padding].map(|values| factors.rounded(values));
                let expected = plain(&rounded, &rounded_padding, [&rows, &columns], shape);
                let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for on_tiles in [false, true] {
                    if on_tiles && !tiles::available() {
                        eprintln!("skipped: this processor has no tiles");
                        continue;
                    }
                    let run = |part| {
                        let cut = Cut { part, on_tiles, factors };
                        forward_in_parts(&qkv, &padding, [&rows, &columns], shape, cut)
                    };
                    let whole = run(4 * QUERIES);
                    for (out, expected) in whole.iter().zip(&expected) {
                        let difference = (out - expected).abs();
                        assert!(
                            difference <= bound + 2e-5 * largest,
                            "{out} {expected} {factors:?} on tiles: {on_tiles}"
                        );
                    }
                    assert_eq!(run(QUERIES), whole, "the cut changes no bit");
                    assert_eq!(run(2 * QUERIES), whole, "the cut changes no bit");
                }
            }
        }
    }

    #[test]
    fn tables_in_halves_round_all_factors() {
        let shape = GridShape { height: 7, width: 5, channels: 8, heads: 2, window: 4 };
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let (qkv, padding) = (random(35 * 24, &mut rng, 2.0), random(24, &mut rng, 2.0));
        let table: Vec<bf16> =
            random(7 * 4, &mut rng, 1.0).into_iter().map(bf16::from_f32).collect();
        let table = Weights::Bf16(&table);
        let wide = table.widened();
        let cut = Cut { part: PART, on_tiles: false, factors: Factors::Bf16 };
        let expected = forward_in_parts(&qkv, &padding, [&wide, &wide], shape, cut);
        assert_eq!(forward(&qkv, &padding, [table; 2], shape), expected);
        assert_ne!(forward(&qkv, &padding, [Weights::F32(&wide); 2], shape), expected);
    }

    #[test]
    fn scores_far_apart_do_not_overflow() {
        let shape = GridShape { height: 24, width: 24, channels: 8, heads: 1, window: 24 };
        // Scores of some thousands, of which f32 keeps three digits after the point.
        compare(1, shape, 60.0, 2e-3);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = GridShape { height: 40, width: 40, channels: 8, heads: 2, window: 40 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let qkv = random(40 * 40 * 24, &mut rng, 2.0);
        let (padding, table) = (random(24, &mut rng, 1.0), random(79 * 4, &mut rng, 1.0));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let tables = [Weights::F32(&table); 2];
            pool.expect("threads").install(|| forward(&qkv, &padding, tables, shape))
        };
        assert_eq!(run(1), run(3));
    }
}
