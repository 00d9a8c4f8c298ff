//! `y = x W + b`, with `W` of shape `[in, out]`.

use super::matrix::{View, multiply};

/// `x` has `rows` rows of `weight.len() / outputs` values.
pub(crate) fn forward(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let mut out = bias.repeat(rows);
    let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
    multiply(&mut out, x, weight, 1.0, true, true);
    out
}

/// `gradient * W^T`
pub(crate) fn input_gradient(gradient: &[f32], weight: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weight.len() / outputs;
    let rows = gradient.len() / outputs;
    let mut out = vec![0.0; rows * inputs];
    let weight = View::new(weight, inputs, outputs).transposed();
    multiply(&mut out, View::new(gradient, rows, outputs), weight, 1.0, false, true);
    out
}

/// `x^T * gradient`
pub(crate) fn weight_gradient(x: &[f32], gradient: &[f32], outputs: usize) -> Vec<f32> {
    let rows = gradient.len() / outputs;
    let inputs = x.len() / rows;
    let mut out = vec![0.0; inputs * outputs];
    let x = View::new(x, rows, inputs).transposed();
    multiply(&mut out, x, View::new(gradient, rows, outputs), 1.0, false, true);
    out
}

/// Sum over rows.
pub(crate) fn bias_gradient(gradient: &[f32], outputs: usize) -> Vec<f32> {
    let mut out = vec![0.0; outputs];
    for row in gradient.chunks_exact(outputs) {
        for (out, value) in out.iter_mut().zip(row) {
            *out += value;
        }
    }
    out
}
