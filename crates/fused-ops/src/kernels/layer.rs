//! Products whose rows are computed a part at a time, each part on one thread, with the same right factor.
//!
//! What comes before and after the product of a part then finds it in that core's own cache.

use super::{
    gelu::{self, Activation},
    matrix::{View, multiply},
    tiles::{self, PackedLhs, PackedRhs, Parts, Write},
    vectorized::vectorized,
};

/// Rows of a part where a kernel has no reason for others: with a thousand columns, half a megabyte.
pub(super) const PART: usize = 128;

/// Multiplications from which tiles are worth their packing. Fewer than where a whole factor is packed, see
/// [`tiles::worthwhile`]: the other one is packed where it lies in the cache.
const WORTHWHILE: usize = 1 << 24;
/// Smallest inner axis that is: a shorter one is packed for few multiplications.
const INNER: usize = 2 * tiles::BLOCK;

/// The right factor: on tiles where the products of all parts together are worth their packing.
pub(super) enum Factor<'a> {
    Tiles(PackedRhs),
    Plain(View<'a>),
}

impl<'a> Factor<'a> {
    /// `weight` is `[inner, columns]`, and `rows` those of all parts together.
    pub fn new(weight: View<'a>, rows: usize) -> Self {
        let multiplications = rows.saturating_mul(weight.rows).saturating_mul(weight.columns);
        let worthwhile = weight.rows >= INNER && weight.columns >= tiles::BLOCK;
        if worthwhile && multiplications >= WORTHWHILE && tiles::wanted() {
            Self::Tiles(PackedRhs::new(weight, Parts::Three, true))
        } else {
            Self::Plain(weight)
        }
    }

    /// `out = lhs * self`, or `out += lhs * self` with `add`, on the calling thread. How many rows are multiplied
    /// together may change last digits.
    pub fn multiply(&self, out: &mut [f32], lhs: View<'_>, add: bool) {
        match self {
            Self::Tiles(packed) => {
                let columns = 0..out.len() / lhs.rows;
                let lhs = PackedLhs::whole(lhs, Parts::Three, 1.0);
                tiles::multiply_packed(out, &lhs, packed, columns, Write::new(add));
            }
            Self::Plain(weight) => multiply(out, lhs, *weight, 1.0, add, false),
        }
    }
}

/// Weight and bias of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// `[in, out]` where nothing else is said
    pub weight: &'a [f32],
    /// `[out]`
    pub bias: &'a [f32],
}

vectorized! {
    /// `rows = activation(rows + bias)`, `rows` being `[n, bias.len()]`.
    fn finish<'a>(rows: &'a mut [f32], bias: &'a [f32], activation: Activation) {
        for row in rows.chunks_exact_mut(bias.len()) {
            match activation {
                Activation::Identity => {
                    for (value, bias) in row.iter_mut().zip(bias) {
                        *value += bias;
                    }
                }
                Activation::Gelu => {
                    for (value, bias) in row.iter_mut().zip(bias) {
                        *value = gelu::of(*value + bias);
                    }
                }
            }
        }
    }
}

vectorized! {
    /// `rows = activation(residual + (rows + bias))`, see [`finish`].
    fn finish_onto<'a>(
        rows: &'a mut [f32],
        bias: &'a [f32],
        residual: &'a [f32],
        activation: Activation,
    ) {
        let width = bias.len();
        for (row, residual) in rows.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
            for ((value, bias), residual) in row.iter_mut().zip(bias).zip(residual) {
                *value = residual + (*value + bias);
            }
            if activation == Activation::Gelu {
                for value in row.iter_mut() {
                    *value = gelu::of(*value);
                }
            }
        }
    }
}
