//! What tests of several kernels share.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::layer::Layer;

/// Numbers between -1/2 and 1/2.
pub(super) fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random::<f32>() - 0.5).collect()
}

/// The numbers of a [`Layer`].
pub(super) struct Numbers {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Numbers {
    pub fn random(weights: usize, biases: usize, seed: u64) -> Self {
        Self { weight: random(weights, seed), bias: random(biases, seed + 1) }
    }

    pub fn layer(&self) -> Layer<'_> {
        Layer { weight: &self.weight, bias: &self.bias }
    }
}

/// Compares with what was computed in double precision: errors are some roundings of the largest number, since sums of
/// a few hundred products below 1/4 with either sign are not much larger on their way.
pub(super) fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "{what}: nothing to compare with");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= 4e-6 * largest, "{what}[{at}]: {found} {expected}");
    }
}

/// A result must have the same bits on one thread and on three.
pub(super) fn assert_same_on_threads(work: impl Fn() -> Vec<f32> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(&work).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let (one, three) = (run(1), run(3));
    assert!(!one.is_empty());
    assert!(one == three, "the number of threads changes bits");
}

/// GELU in double precision.
pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// `x * weight + bias` in double precision, with a weight of `[in, out]`.
pub(super) fn linear(x: &[f64], layer: Layer<'_>) -> Vec<f64> {
    let outputs = layer.bias.len();
    let mut out = Vec::new();
    for row in x.chunks_exact(layer.weight.len() / outputs) {
        let mut sums: Vec<f64> = layer.bias.iter().map(|&bias| bias.into()).collect();
        for (&value, weights) in row.iter().zip(layer.weight.chunks_exact(outputs)) {
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum += value * f64::from(weight);
            }
        }
        out.extend(sums);
    }
    out
}

/// A layer norm in double precision.
pub(super) fn layer_norm(x: &[f64], layer: Layer<'_>, epsilon: f64) -> Vec<f64> {
    let n = layer.bias.len();
    let mut out = Vec::new();
    for row in x.chunks_exact(n) {
        let mean = row.iter().sum::<f64>() / n as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (variance + epsilon).sqrt();
        out.extend(
            row.iter().zip(layer.weight.iter().zip(layer.bias)).map(|(x, (&weight, &bias))| {
                (x - mean) * scale * f64::from(weight) + f64::from(bias)
            }),
        );
    }
    out
}

/// The same numbers in double precision.
pub(super) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}
