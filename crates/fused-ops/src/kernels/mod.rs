//! Kernels on slices of `f32`, row-major. No tensors, no graph.
//!
//! The number of threads changes no bit: kernels cut their work into parts of a fixed size, compute
//! them on rayon's current pool and add what must be added in the order of the parts. Linear layers
//! leave this to `gemm`, which cuts rows and columns by threads but adds up every element alone.

pub(crate) mod attention;
pub(crate) mod conv2d;
pub(crate) mod gelu;
pub(crate) mod grid_attention;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod matrix;
pub(crate) mod vector_math;
mod vectorized;
