//! `y = x W + b`, with `W` of shape `[in, out]`. Where weights are kept in halves, inputs are rounded to the same; sums and
//! results are `f32`.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{
    factors::Weights,
    gelu,
    matrix::{View, multiply},
    tiles::{self, BLOCK, PackedRhs, Parts, Write},
    vectorized::vectorized,
    zeros,
};

/// `x` has `rows` rows of `weight.len() / outputs` values.
pub(crate) fn forward(x: &[f32], weight: Weights<'_>, bias: &[f32]) -> Vec<f32> {
    match Product::new(x, weight, bias.len()) {
        Product::OnTiles { x, weight } => {
            let mut out = zeros(x.rows * bias.len());
            let finish = |out: &mut [f32], left| add_bias(out, &bias[left..]);
            tiles::multiply_by(&mut out, x, &weight, 1.0, Write::finished(false, &finish));
            out
        }
        Product::InF32 { x, weight } => forward_in_f32(&x, &weight, bias),
    }
}

/// GELU of [`forward`], for inference: what it is the GELU of is not kept.
pub(crate) fn forward_gelu(x: &[f32], weight: Weights<'_>, bias: &[f32]) -> Vec<f32> {
    match Product::new(x, weight, bias.len()) {
        Product::OnTiles { x, weight } => {
            let mut out = zeros(x.rows * bias.len());
            let finish = |out: &mut [f32], left| {
                add_bias(out, &bias[left..]);
                gelu::in_place_here(out);
            };
            tiles::multiply_by(&mut out, x, &weight, 1.0, Write::finished(false, &finish));
            out
        }
        Product::InF32 { x, weight } => {
            let mut out = forward_in_f32(&x, &weight, bias);
            gelu::in_place(&mut out);
            out
        }
    }
}

/// `residual` plus [`forward`], in the place of `residual`, for inference.
pub(crate) fn forward_add(
    x: &[f32],
    weight: Weights<'_>,
    bias: &[f32],
    mut residual: Vec<f32>,
) -> Vec<f32> {
    match Product::new(x, weight, bias.len()) {
        Product::OnTiles { x, weight } => {
            let finish = |out: &mut [f32], left| add_bias(out, &bias[left..]);
            tiles::multiply_by(&mut residual, x, &weight, 1.0, Write::finished(true, &finish));
        }
        Product::InF32 { x, weight } => {
            let out = forward_in_f32(&x, &weight, bias);
            residual.par_iter_mut().zip(&out).for_each(|(sum, value)| *sum += value);
        }
    }
    residual
}

/// Factors of a product that this processor has.
enum Product<'a> {
    OnTiles { x: View<'a>, weight: PackedRhs },
    InF32 { x: Cow<'a, [f32]>, weight: Cow<'a, [f32]> },
}

impl<'a> Product<'a> {
    fn new(x: &'a [f32], weight: Weights<'a>, outputs: usize) -> Self {
        let inputs = weight.len() / outputs;
        let rows = x.len() / inputs;
        let worthwhile = tiles::worthwhile(rows, inputs, outputs);
        let on_tiles = |weight| Self::OnTiles { x: View::new(x, rows, inputs), weight };
        match weight {
            Weights::F32(weight) if worthwhile => {
                on_tiles(PackedRhs::new(View::new(weight, inputs, outputs), Parts::Three, true))
            }
            Weights::Bf16(weight) if worthwhile => on_tiles(PackedRhs::of_bf16(weight, inputs)),
            Weights::F32(weight) => {
                Self::InF32 { x: Cow::Borrowed(x), weight: Cow::Borrowed(weight) }
            }
            Weights::F16(_) | Weights::Bf16(_) => {
                let x = weight.factors().rounded(x);
                Self::InF32 { x: Cow::Owned(x), weight: Cow::Owned(weight.widened()) }
            }
        }
    }
}

fn forward_in_f32(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let rows = x.len() / inputs;
    let mut out = bias.repeat(rows);
    let (x, weight) = (View::new(x, rows, inputs), View::new(weight, inputs, outputs));
    multiply(&mut out, x, weight, 1.0, true, true);
    out
}

/// Adds the bias of a block's columns to its rows.
fn add_bias(rows: &mut [f32], bias: &[f32]) {
    let n = BLOCK.min(bias.len());
    let mut whole = [0.0; BLOCK];
    whole[..n].copy_from_slice(&bias[..n]);
    add_to_rows(rows, &whole);
}

vectorized! {
    fn add_to_rows<'a>(rows: &'a mut [f32], bias: &'a [f32; BLOCK]) {
        let bias = *bias;
        for row in rows.as_chunks_mut::<BLOCK>().0 {
            for lane in 0..BLOCK {
                row[lane] += bias[lane];
            }
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
    use half::{bf16, f16};
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

    fn close(found: &[f32], expected: &[f32], bound: f32) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= bound, "{found} {expected}");
        }
    }

    /// Small, and large enough for tiles on a processor that has them.
    const SIZES: [[usize; 3]; 2] = [[7, 5, 3], [1100, 1024, 1000]];

    fn residual_of([rows, _, outputs]: [usize; 3]) -> Vec<f32> {
        random(rows * outputs, 4).iter().map(|value| 100.0 * value).collect()
    }

    #[test]
    fn with_gelu_or_a_residual_it_is_what_the_operations_are_one_by_one() {
        for sizes in SIZES {
            let (x, weight, bias) = parameters(sizes);
            let (weight, residual) = (Weights::F32(&weight), residual_of(sizes));
            let [with_gelu, with_residual] = apart(sizes, &residual);
            // Sums of at most 1,024 products below 1/4, of which some twenty are left: rounding of either sum.
            close(&forward_gelu(&x, weight, &bias), &with_gelu, 2e-5);
            // And of the residual, up to 50.
            close(&forward_add(&x, weight, &bias, residual), &with_residual, 3e-5);
        }
    }

    /// Whether on tiles or not: products of rounded factors are exact, and only their sums are rounded.
    #[test]
    fn weights_in_halves_round_the_inputs_and_nothing_else() {
        for sizes in SIZES {
            let (x, weight, bias) = parameters(sizes);
            let residual = residual_of(sizes);
            let bfloats: Vec<bf16> = weight.iter().map(|&x| bf16::from_f32(x)).collect();
            let halves: Vec<f16> = weight.iter().map(|&x| f16::from_f32(x)).collect();
            for weight in [Weights::Bf16(&bfloats), Weights::F16(&halves)] {
                let (rounded, wide) = (weight.factors().rounded(&x), weight.widened());
                let expected = |forward: &dyn Fn(&[f32], Weights<'_>) -> Vec<f32>| {
                    [forward(&x, weight), forward(&rounded, Weights::F32(&wide))]
                };
                let [found, plain] = expected(&|x, weight| forward(x, weight, &bias));
                close(&found, &plain, 2e-5);
                let [found, plain] = expected(&|x, weight| forward_gelu(x, weight, &bias));
                close(&found, &plain, 2e-5);
                let with_residual = |x: &[f32], weight: Weights<'_>| {
                    forward_add(x, weight, &bias, residual.clone())
                };
                let [found, plain] = expected(&with_residual);
                close(&found, &plain, 3e-5);
                // And it is not the product of what was not rounded.
                let unrounded = forward(&x, Weights::F32(&wide), &bias);
                let rounded = forward(&x, weight, &bias);
                assert!(unrounded.iter().zip(&rounded).any(|(a, b)| (a - b).abs() > 1e-5));
            }
        }
    }
}
