//! Layer normalization over the last axis.

use rayon::prelude::*;

use super::{vectorized::vectorized, zeros};

/// Rows of a part of the work.
const ROWS: usize = 128;

/// Gradients of a layer normalization.
pub(crate) struct Gradients {
    pub input: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Mean and `1 / sqrt(variance + epsilon)` of a row; the variance is biased.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// A sum in 16 running parts: one vector register, and the same order on every machine.
#[inline(always)]
fn sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut parts = [0.0_f32; 16];
    let chunks = row.chunks_exact(16);
    let mut rest = 0.0;
    for &x in chunks.remainder() {
        rest += term(x);
    }
    for chunk in chunks {
        for (part, &x) in parts.iter_mut().zip(chunk) {
            *part += term(x);
        }
    }
    parts.iter().sum::<f32>() + rest
}

/// `out = (x - mean) * inverse_deviation * weight + bias`, row by row.
pub(crate) fn forward(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    let width = weight.len();
    let mut out = zeros(input.len());
    out.par_chunks_mut(ROWS * width)
        .zip(input.par_chunks(ROWS * width))
        .for_each(|(out, input)| forward_rows(out, input, weight, bias, epsilon));
    out
}

/// Gradients with respect to input, weight and bias. Mean and deviation are computed again: that
/// is cheaper than keeping the normalized rows.
pub(crate) fn backward(input: &[f32], weight: &[f32], gradient: &[f32], epsilon: f32) -> Gradients {
    let width = weight.len();
    let mut out = vec![0.0; input.len()];
    let parts: Vec<(Vec<f32>, Vec<f32>)> = out
        .par_chunks_mut(ROWS * width)
        .zip(input.par_chunks(ROWS * width).zip(gradient.par_chunks(ROWS * width)))
        .map(|(out, (input, gradient))| {
            let (mut by_weight, mut by_bias) = (vec![0.0; width], vec![0.0; width]);
            backward_rows(out, &mut by_weight, &mut by_bias, input, weight, gradient, epsilon);
            (by_weight, by_bias)
        })
        .collect();
    let mut gradients = Gradients { input: out, weight: vec![0.0; width], bias: vec![0.0; width] };
    for (by_weight, by_bias) in parts {
        add(&mut gradients.weight, &by_weight);
        add(&mut gradients.bias, &by_bias);
    }
    gradients
}

vectorized! {
    fn forward_rows<'a>(
        out: &'a mut [f32],
        input: &'a [f32],
        weight: &'a [f32],
        bias: &'a [f32],
        epsilon: f32,
    ) {
        let width = weight.len();
        for (out, row) in out.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
            let (mean, scale) = moments(row, epsilon);
            for ((out, &x), (&w, &b)) in out.iter_mut().zip(row).zip(weight.iter().zip(bias)) {
                *out = ((x - mean) * scale).mul_add(w, b);
            }
        }
    }
}

vectorized! {
    fn backward_rows<'a>(
        out: &'a mut [f32],
        by_weight: &'a mut [f32],
        by_bias: &'a mut [f32],
        input: &'a [f32],
        weight: &'a [f32],
        gradient: &'a [f32],
        epsilon: f32,
    ) {
        let width = weight.len();
        let n = width as f32;
        for ((out, row), gradient) in out
            .chunks_exact_mut(width)
            .zip(input.chunks_exact(width))
            .zip(gradient.chunks_exact(width))
        {
            let (mean, scale) = moments(row, epsilon);
            // `out` first holds g * w, the gradient of the normalized row.
            for (((out, &x), (&g, &w)), (by_weight, by_bias)) in out
                .iter_mut()
                .zip(row)
                .zip(gradient.iter().zip(weight))
                .zip(by_weight.iter_mut().zip(by_bias.iter_mut()))
            {
                *by_weight += g * (x - mean) * scale;
                *by_bias += g;
                *out = g * w;
            }
            let mean_gradient = sum(out, |value| value) / n;
            let along = sum_of_pairs(out, row, |value, x| value * (x - mean)) * scale / n;
            for (out, &x) in out.iter_mut().zip(row) {
                *out = scale * (*out - mean_gradient - (x - mean) * scale * along);
            }
        }
    }
}

/// Like [`sum`], over two rows.
#[inline(always)]
fn sum_of_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut parts = [0.0_f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let mut rest = 0.0;
    for (&a, &b) in a.remainder().iter().zip(b.remainder()) {
        rest += term(a, b);
    }
    for (a, b) in a.zip(b) {
        for ((part, &a), &b) in parts.iter_mut().zip(a).zip(b) {
            *part += term(a, b);
        }
    }
    parts.iter().sum::<f32>() + rest
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}
