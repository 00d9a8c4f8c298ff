//! GELU, exact: `x * cdf(x)` of the standard normal distribution.

use std::f32::consts::FRAC_1_SQRT_2;

use rayon::prelude::*;

use super::{
    vector_math::{erf, exp},
    vectorized::vectorized,
};

/// Elements of a part of the work.
const PART: usize = 16 * 1024;
/// `1 / sqrt(2 pi)`
const DENSITY_AT_ZERO: f32 = 0.398_942_3;

/// What follows the sum of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// See [`gelu`](crate::gelu).
    Gelu,
}

/// `x * cdf(x)`
#[inline(always)]
pub(super) fn of(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// `out[i] = gelu(input[i])`
pub(crate) fn forward(input: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; input.len()];
    out.par_chunks_mut(PART)
        .zip(input.par_chunks(PART))
        .for_each(|(out, input)| forward_part(out, input));
    out
}

/// `values[i] = gelu(values[i])`
pub(crate) fn in_place(values: &mut [f32]) {
    values.par_chunks_mut(PART).for_each(in_place_here);
}

/// `out[i] = gradient[i] * gelu'(input[i])`, with `gelu'(x) = cdf(x) + x * pdf(x)`.
pub(crate) fn backward(input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; input.len()];
    out.par_chunks_mut(PART)
        .zip(input.par_chunks(PART).zip(gradient.par_chunks(PART)))
        .for_each(|(out, (input, gradient))| backward_part(out, input, gradient));
    out
}

vectorized! {
    fn forward_part<'a>(out: &'a mut [f32], input: &'a [f32]) {
        for (out, &x) in out.iter_mut().zip(input) {
            *out = of(x);
        }
    }
}

vectorized! {
    /// [`in_place`] on the calling thread.
    fn in_place_here<'a>(values: &'a mut [f32]) {
        for value in values.iter_mut() {
            *value = of(*value);
        }
    }
}

vectorized! {
    fn backward_part<'a>(out: &'a mut [f32], input: &'a [f32], gradient: &'a [f32]) {
        for (out, (&x, &gradient)) in out.iter_mut().zip(input.iter().zip(gradient)) {
            let cumulative = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
            let density = DENSITY_AT_ZERO * exp(-0.5 * x * x);
            *out = gradient * (cumulative + x * density);
        }
    }
}
