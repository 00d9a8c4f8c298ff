//! Kernels on slices of `f32`, row-major, with weights that may be in halves. No tensors, no graph.
//!
//! The number of threads changes no bit: kernels cut their work into parts of a fixed size, compute
//! them on rayon's current pool and add what must be added in the order of the parts. Linear layers
//! leave this to `gemm`, which cuts rows and columns by threads but adds up every element alone, or to [`tiles`].

pub(crate) mod attention;
pub(crate) mod biased_attention;
pub(crate) mod conv2d;
pub(crate) mod depthwise;
pub(crate) mod factors;
pub(crate) mod gelu;
pub(crate) mod grid_attention;
pub(crate) mod inverted_bottleneck;
pub(crate) mod layer;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod matrix;
pub(crate) mod mlp;
pub(crate) mod patches;
#[cfg(test)]
mod testing;
pub(crate) mod tiles;
pub(crate) mod vector_math;
mod vectorized;
mod winograd;

use rayon::iter::{ParallelExtend as _, repeat_n};

/// So many zeros, written by all threads: large memory is new to the process more often than not, and the system clears every page
/// of it when it is first written to.
fn zeros(n: usize) -> Vec<f32> {
    let mut values = Vec::new();
    values.par_extend(repeat_n(0.0, n));
    values
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::{
        factors::{Factors, Weights},
        grid_attention::{self, GridShape},
        layer_norm, linear,
        vectorized::levels::{self, Level},
    };

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| 4.0 * (rng.random::<f32>() - 0.5)).collect()
    }

    /// No sum is added up in another order, so that what other processors run is tested here, to the last bit. Widths are no
    /// multiples of a vector's.
    #[test]
    fn every_set_of_vector_instructions_gives_the_same_bits() {
        let (x, gradient) = (random(37 * 45, 1), random(37 * 45, 2));
        let (weight, bias) = (random(45, 3), random(45, 4));
        let shape = GridShape { height: 23, width: 19, channels: 12, heads: 2, window: 9 };
        let (qkv, padding) = (random(23 * 19 * 36, 5), random(36, 6));
        let table = random(17 * 6, 7);
        let matrix = random(45 * 33, 8);
        let computed = levels::at_each(|| {
            let norm = layer_norm::backward(&x, &weight, &gradient, 1e-5);
            let tables = [Weights::F32(&table); 2];
            [
                super::gelu::forward(&x),
                super::gelu::backward(&x, &gradient),
                layer_norm::forward(&x, &weight, &bias, 1e-5),
                norm.input,
                norm.weight,
                norm.bias,
                Factors::Bf16.rounded(&x),
                grid_attention::forward(&qkv, &padding, tables, shape),
                linear::forward_gelu(&x, Weights::F32(&matrix), &bias[..33]),
            ]
        });
        assert!(computed.len() >= 2 && computed[0].0 == Level::Best);
        for (level, found) in &computed {
            for (kernel, (found, expected)) in found.iter().zip(&computed[0].1).enumerate() {
                assert!(!found.is_empty());
                assert_eq!(found, expected, "kernel {kernel} with {level:?}");
            }
        }
    }
}
