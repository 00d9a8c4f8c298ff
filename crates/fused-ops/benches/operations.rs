//! Operations of ViT-B's encoder at 1024 pixels against Burn's own, forward:
//!
//! ```sh
//! cargo bench --profile dev -p fused-ops -p xtask --bench operations
//! ```

use burn::tensor::{
    Device, FloatDType, Tensor, TensorData, activation,
    module::{layer_norm, linear},
};
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The program's allocator. The system's gives large results back at once and has their pages cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Tokens of an image.
const TOKENS: usize = 64 * 64;
/// Channels of a token.
const WIDTH: usize = 768;
/// Inputs and outputs of the linear layers: query, key and value together; projection; the two of the MLP.
const LINEAR: [[usize; 2]; 4] =
    [[WIDTH, 3 * WIDTH], [WIDTH, WIDTH], [WIDTH, 4 * WIDTH], [4 * WIDTH, WIDTH]];

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn time_linear(
    bencher: Bencher<'_, '_>,
    [inputs, outputs]: [usize; 2],
    operation: impl Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>,
) {
    let x = random(1, [TOKENS, inputs]);
    let (weight, bias) = (random(2, [inputs, outputs]), random(3, [outputs]));
    bencher.bench_local(|| black_box(operation(x.clone(), weight.clone(), Some(bias.clone()))));
}

#[divan::bench(args = LINEAR)]
fn linear_ours(bencher: Bencher<'_, '_>, sizes: [usize; 2]) {
    time_linear(bencher, sizes, fused_ops::linear);
}

/// Weights in `bf16`: several times as fast on a processor with tiles, and no faster elsewhere.
#[divan::bench(args = LINEAR)]
fn linear_ours_in_bf16(bencher: Bencher<'_, '_>, [inputs, outputs]: [usize; 2]) {
    let x = random(1, [TOKENS, inputs]);
    let weight = random(2, [inputs, outputs]).cast(FloatDType::BF16);
    let bias = random(3, [outputs]);
    bencher.bench_local(|| {
        black_box(fused_ops::linear(x.clone(), weight.clone(), Some(bias.clone())))
    });
}

#[divan::bench(args = LINEAR)]
fn linear_burn(bencher: Bencher<'_, '_>, sizes: [usize; 2]) {
    time_linear(bencher, sizes, linear);
}

#[divan::bench]
fn gelu_ours(bencher: Bencher<'_, '_>) {
    let x = random(1, [TOKENS, 4 * WIDTH]);
    bencher.bench_local(|| black_box(fused_ops::gelu(x.clone())));
}

#[divan::bench]
fn gelu_burn(bencher: Bencher<'_, '_>) {
    let x = random(1, [TOKENS, 4 * WIDTH]);
    bencher.bench_local(|| black_box(activation::gelu(x.clone())));
}

#[divan::bench]
fn layer_norm_ours(bencher: Bencher<'_, '_>) {
    let (x, weight, bias) = (random(1, [TOKENS, WIDTH]), random(2, [WIDTH]), random(3, [WIDTH]));
    bencher.bench_local(|| {
        black_box(fused_ops::layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-6))
    });
}

#[divan::bench]
fn layer_norm_burn(bencher: Bencher<'_, '_>) {
    let (x, weight, bias) = (random(1, [TOKENS, WIDTH]), random(2, [WIDTH]), random(3, [WIDTH]));
    bencher
        .bench_local(|| black_box(layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-6)));
}

const WINDOWS: [usize; 2] = [14, 64];

/// A window of 64 is attention over the whole grid, which four of the twelve blocks have.
fn time_window_attention(bencher: Bencher<'_, '_>, window: usize, positions_in: FloatDType) {
    const HEADS: usize = 12;
    let qkv = random(1, [1, 64, 64, 3 * WIDTH]);
    let padding = random(2, [3 * WIDTH]);
    let positions =
        [3, 4].map(|seed| random(seed, [2 * window - 1, WIDTH / HEADS]).cast(positions_in));
    bencher.bench_local(|| {
        let [rel_pos_h, rel_pos_w] = positions.clone();
        let (qkv, padding) = (qkv.clone(), padding.clone());
        black_box(fused_ops::window_attention(qkv, padding, rel_pos_h, rel_pos_w, HEADS, window))
    });
}

#[divan::bench(args = WINDOWS)]
fn window_attention_ours(bencher: Bencher<'_, '_>, window: usize) {
    time_window_attention(bencher, window, FloatDType::F32);
}

#[divan::bench(args = WINDOWS)]
fn window_attention_ours_in_bf16(bencher: Bencher<'_, '_>, window: usize) {
    time_window_attention(bencher, window, FloatDType::BF16);
}
