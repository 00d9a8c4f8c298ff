//! The MLP of a transformer's block with the norm before and the addition after it. For inference: nothing is kept.
//!
//! Some tokens at a time go through all of it, so that what is hidden never is in memory.

use rayon::prelude::*;

use super::{
    gelu::Activation,
    layer::{Factor, Layer, PART, finish, finish_onto},
    layer_norm,
    matrix::View,
    zeros,
};

/// Parameters of the norm and of both layers.
#[derive(Clone, Copy)]
pub(crate) struct Mlp<'a> {
    /// Weight `[channels]`
    pub norm: Layer<'a>,
    pub epsilon: f32,
    /// Weight `[channels, hidden]`
    pub widen: Layer<'a>,
    /// Weight `[hidden, channels]`
    pub narrow: Layer<'a>,
}

/// `x + narrow(gelu(widen(norm(x))))`
///
/// - `x`: `[.., channels]`, as what is returned
pub(crate) fn forward_add(x: &[f32], mlp: Mlp<'_>) -> Vec<f32> {
    let (channels, hidden) = (mlp.narrow.bias.len(), mlp.widen.bias.len());
    let rows = x.len() / channels;
    let widen = Factor::new(View::new(mlp.widen.weight, channels, hidden), rows);
    let narrow = Factor::new(View::new(mlp.narrow.weight, hidden, channels), rows);
    let mut out = zeros(x.len());
    out.par_chunks_mut(PART * channels).zip(x.par_chunks(PART * channels)).for_each_init(
        || (vec![0.0; PART * channels], vec![0.0; PART * hidden]),
        |(normed, wide), (out, x)| {
            let rows = x.len() / channels;
            let (normed, wide) = (&mut normed[..x.len()], &mut wide[..rows * hidden]);
            let Layer { weight, bias } = mlp.norm;
            layer_norm::forward_rows(normed, x, weight, bias, mlp.epsilon);
            widen.multiply(wide, View::new(normed, rows, channels), false);
            finish(wide, mlp.widen.bias, Activation::Gelu);
            narrow.multiply(out, View::new(wide, rows, hidden), false);
            finish_onto(out, mlp.narrow.bias, x, Activation::Identity);
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{
        Numbers, assert_close, assert_same_on_threads, double, gelu, layer_norm, linear, random,
    };

    fn parameters(channels: usize, hidden: usize) -> [Numbers; 3] {
        [
            Numbers::random(channels, channels, 1),
            Numbers::random(channels * hidden, hidden, 3),
            Numbers::random(hidden * channels, channels, 5),
        ]
    }

    fn mlp([norm, widen, narrow]: &[Numbers; 3]) -> Mlp<'_> {
        Mlp { norm: norm.layer(), epsilon: 1e-5, widen: widen.layer(), narrow: narrow.layer() }
    }

    /// One layer after the other, in double precision.
    fn plain(x: &[f32], mlp: Mlp<'_>) -> Vec<f64> {
        let x = double(x);
        let normed = layer_norm(&x, mlp.norm, mlp.epsilon.into());
        let hidden: Vec<f64> = linear(&normed, mlp.widen).into_iter().map(gelu).collect();
        linear(&hidden, mlp.narrow).iter().zip(&x).map(|(out, x)| out + x).collect()
    }

    /// Fewer rows than a part, and more; the last sizes are large enough for tiles, on a processor that has them.
    #[test]
    fn it_is_its_layers_one_by_one() {
        for [rows, channels, hidden] in
            [[1, 3, 5], [PART, 16, 40], [2 * PART + 3, 7, 33], [700, 70, 350]]
        {
            let (x, numbers) = (random(rows * channels, 7), parameters(channels, hidden));
            let expected = plain(&x, mlp(&numbers));
            let found = forward_add(&x, mlp(&numbers));
            assert_close(&found, &expected, &format!("{rows} rows of {channels} and {hidden}"));
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        for [rows, channels, hidden] in [[3 * PART + 5, 9, 40], [700, 70, 350]] {
            let (x, numbers) = (random(rows * channels, 8), parameters(channels, hidden));
            assert_same_on_threads(|| forward_add(&x, mlp(&numbers)));
        }
    }
}
