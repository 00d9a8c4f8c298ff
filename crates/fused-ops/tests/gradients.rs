//! Every operation against the same thing composed of Burn's own differentiable operations: values
//! and all gradients.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Int, Tensor, TensorData, activation, module, ops::ConvOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Relative to the largest value of the tensor: both sides add up to 1,000 products in `f32` in
/// different orders, so they differ by some tens of roundings of 6e-8.
const TOLERANCE: f32 = 1e-5;

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.5..1.5)).collect();
    Tensor::<D>::from_data(TensorData::new(values, shape), &device()).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.without_autodiff().into_data().try_into_vec_as::<f32>().unwrap()
}

fn assert_close(what: &str, ours: &[f32], expected: &[f32]) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare with");
    for (at, (a, b)) in ours.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * largest, "{what}[{at}]: {a} and {b}");
    }
}

/// A scalar that depends on every output differently, so that no two errors cancel.
fn weighted_sum<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let weights = random(99, tensor.dims()).detach().without_autodiff();
    (tensor * weights).sum()
}

/// The output of a function and the gradients of its weighted sum with respect to its inputs.
macro_rules! outcome {
    ($function:expr; $($input:ident),+) => {{
        let out = $function($($input.clone()),+);
        let gradients = weighted_sum(out.clone()).backward();
        let gradients = vec![$(values($input.grad(&gradients).unwrap())),+];
        (values(out), gradients)
    }};
}

macro_rules! assert_same {
    ($ours:expr, $theirs:expr; $($input:ident),+) => {{
        let (ours, our_gradients) = outcome!($ours; $($input),+);
        let (theirs, their_gradients) = outcome!($theirs; $($input),+);
        assert_close("output", &ours, &theirs);
        let names = [$(stringify!($input)),+];
        for ((name, a), b) in names.iter().zip(&our_gradients).zip(&their_gradients) {
            assert_close(name, a, b);
        }
    }};
}

#[test]
fn windows_that_do_not_tile_the_grid_or_are_large_have_no_kernel_where_a_graph_is_kept() {
    let cases = [(8, 4, true), (32, 32, true), (8, 5, false), (64, 64, false)];
    for (side, window, with_graph) in cases {
        let plain = Tensor::<4>::zeros([1, side, side, 6], &Device::flex());
        let tracked = Tensor::<4>::zeros([1, side, side, 6], &Device::flex().autodiff());
        assert!(fused_ops::has_window_attention(&plain, window));
        assert_eq!(fused_ops::has_window_attention(&tracked, window), with_graph);
    }
}

/// Where windows tile the grid nothing is padded, and this is not read.
fn no_padding(channels: usize) -> Tensor<1> {
    Tensor::zeros([3 * channels], &Device::flex())
}

#[test]
fn window_attention_without_a_graph_is_the_same() {
    let (qkv, height, width) = (random(1, [2, 6, 4, 18]), random(2, [3, 3]), random(3, [3, 3]));
    let tracked = fused_ops::window_attention(
        qkv.clone(),
        no_padding(6),
        height.clone(),
        width.clone(),
        2,
        2,
    );
    let plain = fused_ops::window_attention(
        qkv.without_autodiff(),
        no_padding(6),
        height.without_autodiff(),
        width.without_autodiff(),
        2,
        2,
    );
    assert!(tracked.is_tracked() && !plain.is_autodiff());
    // Two kernels: one keeps what its backward pass needs, one works in blocks.
    assert_close("mixed values", &values(tracked), &values(plain));
}

#[test]
fn layer_norm() {
    // Widths on both sides of a vector register, and more rows than one part of the work.
    for width in [5, 16, 40] {
        let x = random(1, [3, 67, width]);
        let (weight, bias) = (random(2, [width]), random(3, [width]));
        assert_same!(
            |x, w, b| fused_ops::layer_norm::<3>(x, w, b, 1e-6),
            |x: Tensor<3>, w, b| module::layer_norm(x, w, Some(b), 1e-6);
            x, weight, bias
        );
    }
}

#[test]
fn gelu() {
    let x = random(4, [3, 7, 11]) * 3.0;
    let x = x.detach().require_grad();
    assert_same!(fused_ops::gelu::<3>, activation::gelu::<3>; x);
}

#[test]
fn linear() {
    let (x, weight, bias) = (random(5, [2, 9, 13]), random(6, [13, 6]), random(7, [6]));
    assert_same!(
        |x, w, b| fused_ops::linear::<3>(x, w, Some(b)),
        |x: Tensor<3>, w: Tensor<2>, b: Tensor<1>| x.matmul(w.unsqueeze()) + b.unsqueeze();
        x, weight, bias
    );
}

#[test]
fn a_linear_layer_takes_an_input_that_is_a_view() {
    let (x, weight, bias) = (random(5, [13, 9, 2]), random(6, [13, 6]), random(7, [6]));
    assert_same!(
        |x: Tensor<3>, w, b| fused_ops::linear(x.permute([2, 1, 0]), w, Some(b)),
        |x: Tensor<3>, w: Tensor<2>, b: Tensor<1>| x.permute([2, 1, 0]).matmul(w.unsqueeze())
            + b.unsqueeze();
        x, weight, bias
    );
}

/// Attention from its definition, of `[B, heads, N, d]`.
fn mix(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, bias: Option<Tensor<4>>) -> Tensor<4> {
    let head_dim = query.dims()[3] as f64;
    let scores = query.matmul(key.swap_dims(2, 3)) / head_dim.sqrt();
    let scores = match bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    activation::softmax(scores, 3).matmul(value)
}

fn split(tokens: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, n_tokens, channels] = tokens.dims();
    tokens.reshape([batch, n_tokens, heads, channels / heads]).swap_dims(1, 2)
}

fn join(mixed: Tensor<4>) -> Tensor<3> {
    let [batch, heads, n_tokens, head_dim] = mixed.dims();
    mixed.swap_dims(1, 2).reshape([batch, n_tokens, heads * head_dim])
}

#[test]
fn attention() {
    let query = random(8, [3, 7, 12]);
    let (key, value) = (random(9, [3, 21, 12]), random(10, [3, 21, 12]));
    assert_same!(
        |q, k, v| fused_ops::attention(q, k, v, 2),
        |q, k, v| join(mix(split(q, 2), split(k, 2), split(v, 2), None));
        query, key, value
    );
}

#[test]
fn attention_of_a_plain_query_still_has_gradients_of_key_and_value() {
    let query = random(8, [2, 5, 8]).detach().without_autodiff();
    let (key, value) = (random(9, [2, 6, 8]), random(10, [2, 6, 8]));
    let ours = |k, v| fused_ops::attention(query.clone(), k, v, 2);
    let theirs = |k, v| join(mix(split(query.clone(), 2), split(k, 2), split(v, 2), None));
    assert_same!(ours, theirs; key, value);
}

/// Rows `q - k + side - 1` of a table for all pairs of coordinates, `[side, side, d]`.
fn relative(table: Tensor<2>, side: usize) -> Tensor<3> {
    let head_dim = table.dims()[1];
    let rows: Vec<i32> = (0..side)
        .flat_map(|query| (0..side).map(move |key| (query + side - 1 - key) as i32))
        .collect();
    let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &Device::flex());
    table.select(0, rows).reshape([side, side, head_dim])
}

/// Window attention from its definition, one window at a time.
fn window_attention(
    qkv: Tensor<4>,
    rel_pos_h: Tensor<2>,
    rel_pos_w: Tensor<2>,
    heads: usize,
    side: usize,
) -> Tensor<4> {
    let [batch, height, width, channels] = qkv.dims();
    let (channels, n) = (channels / 3, side * side);
    let head_dim = channels / heads;
    let rows = (0..height / side).map(|row| {
        let columns = (0..width / side).map(|column| {
            let window = qkv
                .clone()
                .slice_dim(1, row * side..(row + 1) * side)
                .slice_dim(2, column * side..(column + 1) * side)
                .reshape([batch, n, 3 * channels]);
            let [query, key, value] = [0, 1, 2].map(|third| {
                split(window.clone().slice_dim(2, third * channels..(third + 1) * channels), heads)
            });
            // [B * heads, qy, qx, d]
            let by_row = query.clone().reshape([batch * heads, side, side, head_dim]);
            let table: Tensor<4> = relative(rel_pos_h.clone(), side).unsqueeze(); // [1, qy, ky, d]
            let height_terms = by_row.clone().matmul(table.swap_dims(2, 3)); // [.., qy, qx, ky]
            let table: Tensor<4> = relative(rel_pos_w.clone(), side).unsqueeze(); // [1, qx, kx, d]
            let width_terms = by_row.swap_dims(1, 2).matmul(table.swap_dims(2, 3)).swap_dims(1, 2);
            let bias = height_terms.reshape([batch, heads, n, side, 1])
                + width_terms.reshape([batch, heads, n, 1, side]);
            let bias = bias.reshape([batch, heads, n, n]);
            join(mix(query, key, value, Some(bias))).reshape([batch, side, side, channels])
        });
        Tensor::cat(columns.collect(), 2)
    });
    Tensor::cat(rows.collect(), 1)
}

#[test]
fn window_attention_with_relative_positions() {
    for (height, width, side) in [(4, 4, 4), (4, 6, 2), (10, 5, 5)] {
        let qkv = random(11, [2, height, width, 3 * 6]);
        let (rel_pos_h, rel_pos_w) = (random(12, [2 * side - 1, 3]), random(13, [2 * side - 1, 3]));
        assert_same!(
            |x, h, w| fused_ops::window_attention(x, no_padding(6), h, w, 2, side),
            |x, h, w| window_attention(x, h, w, 2, side);
            qkv, rel_pos_h, rel_pos_w
        );
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let qkv = random(11, [3, 8, 8, 3 * 32]);
            let tables = (random(12, [7, 8]), random(13, [7, 8]));
            let (weight, bias) = (random(14, [32]), random(15, [32]));
            let mixed = fused_ops::window_attention(
                qkv.clone(),
                no_padding(32),
                tables.0.clone(),
                tables.1.clone(),
                4,
                4,
            );
            let normed = fused_ops::layer_norm(mixed, weight.clone(), bias.clone(), 1e-6);
            let out = fused_ops::gelu(normed).reshape([3, 64, 32]);
            // Large enough for the matrix product to be cut between threads.
            let (wide, wide_bias) = (random(16, [32, 1024]), random(17, [1024]));
            let out = fused_ops::linear(out, wide.clone(), Some(wide_bias));
            let kernel = random(18, [6, 3, 3, 3]);
            let out = fused_ops::conv2d(
                out.reshape([1, 3, 64, 1024]),
                kernel.clone(),
                None,
                [2, 1],
                [1, 1],
            );
            let out = out.reshape([6, 32, 1024]);
            let keys = out.clone().slice_dim(1, 0..7);
            let out = fused_ops::attention(out, keys.clone(), keys, 8);
            let gradients = weighted_sum(out.clone()).backward();
            let of = |tensor: &Tensor<1>| values(tensor.grad(&gradients).unwrap());
            let all = [
                values(out),
                values(qkv.grad(&gradients).unwrap()),
                values(tables.0.grad(&gradients).unwrap()),
                values(tables.1.grad(&gradients).unwrap()),
                values(wide.grad(&gradients).unwrap()),
                values(kernel.grad(&gradients).unwrap()),
                of(&weight),
                of(&bias),
            ];
            all.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(5));
}

/// Shape of the input, shape of the kernel, stride, padding.
type Convolution = ([usize; 4], [usize; 4], [usize; 2], [usize; 2]);

/// Sizes, strides and paddings of the layers of a residual network, and some that no network has.
/// Several strips of rows and blocks of channels: 9 rows of 160 columns are more than a strip, 120
/// channels of 3 x 3 more than a block; 330 x 90 of them are too many weights for one gradient per image.
const CONVOLUTIONS: [Convolution; 9] = [
    ([2, 3, 9, 7], [4, 3, 3, 3], [1, 1], [1, 1]),
    ([2, 3, 9, 8], [4, 3, 3, 3], [2, 2], [1, 1]),
    ([3, 5, 6, 6], [2, 5, 1, 1], [1, 1], [0, 0]),
    ([2, 5, 7, 6], [3, 5, 1, 1], [2, 2], [0, 0]),
    ([1, 2, 11, 12], [3, 2, 2, 5], [3, 1], [0, 4]),
    ([2, 2, 5, 1], [2, 2, 5, 3], [1, 2], [2, 1]),
    ([1, 2, 9, 160], [3, 2, 3, 3], [1, 1], [1, 1]),
    ([2, 120, 6, 6], [5, 120, 3, 3], [1, 1], [1, 1]),
    ([2, 330, 4, 4], [90, 330, 3, 3], [1, 1], [1, 1]),
];

#[test]
fn conv2d() {
    for (input, kernel, stride, padding) in CONVOLUTIONS {
        let (x, weight, bias) = (random(18, input), random(19, kernel), random(20, [kernel[0]]));
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        assert_same!(
            |x, w, b| fused_ops::conv2d(x, w, Some(b), stride, padding),
            |x, w, b| module::conv2d(x, w, Some(b), options.clone());
            x, weight, bias
        );
        assert_same!(
            |x, w| fused_ops::conv2d(x, w, None, stride, padding),
            |x, w| module::conv2d(x, w, None, options.clone());
            x, weight
        );
    }
}

#[test]
fn a_convolution_of_a_plain_input_still_has_gradients_of_its_weights() {
    let x = random(18, [2, 3, 8, 8]).detach().without_autodiff();
    let weight = random(19, [4, 3, 3, 3]);
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    assert_same!(
        |w| fused_ops::conv2d(x.clone(), w, None, [1, 1], [1, 1]),
        |w| module::conv2d(x.clone().autodiff(), w, None, options.clone());
        weight
    );
}
