//! `y = x W + b`, with `W` of shape `[in, out]`.

use rayon::prelude::*;

use super::{
    gelu,
    matrix::{View, multiply},
    tiles, zeros,
};

/// `x` has `rows` rows of `weight.len() / outputs` values.
pub(crate) fn forward(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
    if tiles::worthwhile(rows, inputs, outputs) {
        return on_tiles(x, weight, |out| add_bias(out, bias));
    }
    let mut out = bias.repeat(rows);
    multiply(&mut out, x, weight, 1.0, true, true);
    out
}

/// GELU of [`forward`], for inference: what it is the GELU of is not kept.
pub(crate) fn forward_gelu(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    if tiles::worthwhile(rows, inputs, outputs) {
        let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
        return on_tiles(x, weight, |out| {
            add_bias(out, bias);
            gelu::in_place_here(out);
        });
    }
    let mut out = forward(x, weight, bias);
    gelu::in_place(&mut out);
    out
}

/// `residual` plus [`forward`], in the place of `residual`, for inference.
pub(crate) fn forward_add(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    mut residual: Vec<f32>,
) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    if tiles::worthwhile(rows, inputs, outputs) {
        let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
        tiles::multiply(&mut residual, x, weight, 1.0, true, |out| add_bias(out, bias));
        return residual;
    }
    let out = forward(x, weight, bias);
    residual.par_iter_mut().zip(&out).for_each(|(sum, value)| *sum += value);
    residual
}

fn on_tiles(x: View<'_>, weight: View<'_>, finish: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
    let mut out = zeros(x.rows * weight.columns);
    tiles::multiply(&mut out, x, weight, 1.0, false, finish);
    out
}

fn add_bias(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
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

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random::<f32>() - 0.5).collect()
    }

    /// Both, one operation after the other.
    fn apart(sizes: [usize; 3], residual: &[f32]) -> [Vec<f32>; 2] {
        let [rows, inputs, outputs] = sizes;
        let (x, weight, bias) = parameters(sizes);
        let mut out = bias.repeat(rows);
        let (x, weight) = (View::new(&x, rows, inputs), View::new(&weight, inputs, outputs));
        // On one thread, so never on tiles.
        multiply(&mut out, x, weight, 1.0, true, false);
        let sum = out.iter().zip(residual).map(|(out, residual)| out + residual).collect();
        [gelu::forward(&out), sum]
    }

    fn parameters([rows, inputs, outputs]: [usize; 3]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        (random(rows * inputs, 1), random(inputs * outputs, 2), random(outputs, 3))
    }

    /// The second sizes are large enough for tiles, on a processor that has them.
    #[test]
    fn with_gelu_or_a_residual_it_is_what_the_operations_are_one_by_one() {
        for sizes in [[7, 5, 3], [1100, 1024, 1000]] {
            let [rows, _, outputs] = sizes;
            let (x, weight, bias) = parameters(sizes);
            let residual: Vec<f32> =
                random(rows * outputs, 4).iter().map(|value| 100.0 * value).collect();
            let [with_gelu, with_residual] = apart(sizes, &residual);
            let close = |found: &[f32], expected: &[f32], bound: f32| {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() <= bound, "{found} {expected} {sizes:?}");
                }
            };
            // Sums of at most 1,024 products below 1/4, of which some twenty are left: rounding of either sum.
            close(&forward_gelu(&x, &weight, &bias), &with_gelu, 2e-5);
            // And of the residual, up to 50.
            close(&forward_add(&x, &weight, &bias, residual), &with_residual, 3e-5);
        }
    }
}
