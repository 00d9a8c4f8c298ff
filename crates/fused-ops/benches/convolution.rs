//! Convolution against Burn's own, forward and backward, in the sizes of APM's layers:
//!
//! ```sh
//! cargo bench --profile dev -p fused-ops -p xtask --bench convolution
//! ```

use burn::tensor::{Device, Tensor, TensorData, module, ops::ConvOptions};
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

/// Input channels, output channels, side of the input, side of the kernel, stride; batch 8.
const LAYERS: [[usize; 5]; 6] = [
    [384, 64, 32, 3, 1],
    [64, 64, 32, 3, 1],
    [16, 16, 16, 3, 1],
    [64, 128, 8, 3, 2],
    [256, 256, 64, 3, 1],
    [3072, 256, 64, 3, 1],
];
const BATCH: usize = 8;

fn random<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn operands(layer: [usize; 5], device: &Device) -> (Tensor<4>, Tensor<4>) {
    let [input, output, side, kernel, _] = layer;
    (
        random(1, [BATCH, input, side, side], device),
        random(2, [output, input, kernel, kernel], device),
    )
}

fn ours(layer: [usize; 5], x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    fused_ops::conv2d(x, weight, None, [layer[4]; 2], [layer[3] / 2; 2])
}

fn burns(layer: [usize; 5], x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let options = ConvOptions::new([layer[4]; 2], [layer[3] / 2; 2], [1, 1], 1);
    module::conv2d(x, weight, None, options)
}

type Convolution = fn([usize; 5], Tensor<4>, Tensor<4>) -> Tensor<4>;

fn train(bencher: Bencher<'_, '_>, layer: [usize; 5], convolution: Convolution) {
    let device = Device::flex().autodiff();
    let (x, weight) = operands(layer, &device);
    let (x, weight) = (x.require_grad(), weight.require_grad());
    bencher.bench_local(|| {
        let gradients = convolution(layer, x.clone(), weight.clone()).sum().backward();
        black_box((x.grad(&gradients), weight.grad(&gradients)));
    });
}

#[divan::bench(args = LAYERS)]
fn forward_and_backward_ours(bencher: Bencher<'_, '_>, layer: [usize; 5]) {
    train(bencher, layer, ours);
}

#[divan::bench(args = LAYERS)]
fn forward_and_backward_burn(bencher: Bencher<'_, '_>, layer: [usize; 5]) {
    train(bencher, layer, burns);
}

#[divan::bench(args = LAYERS)]
fn forward_ours(bencher: Bencher<'_, '_>, layer: [usize; 5]) {
    // On the device that keeps a graph, but nothing is tracked: the kernel alone.
    let (x, weight) = operands(layer, &Device::flex().autodiff());
    bencher.bench_local(|| black_box(ours(layer, x.clone(), weight.clone())));
}

#[divan::bench(args = LAYERS)]
fn forward_burn(bencher: Bencher<'_, '_>, layer: [usize; 5]) {
    let (x, weight) = operands(layer, &Device::flex());
    bencher.bench_local(|| black_box(burns(layer, x.clone(), weight.clone())));
}
