//! Kernels on slices of `f32`, row-major. No tensors, no graph.
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
mod tiles;
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
