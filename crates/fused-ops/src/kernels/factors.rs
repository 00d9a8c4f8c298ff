//! In which numbers the factors of matrix products are. Products are exact then, and sums stay in `f32`.

use half::{bf16, f16, slice::HalfFloatSliceExt as _};
use rayon::prelude::*;

use super::vectorized::vectorized;

/// Numbers that a thread rounds together.
const PART: usize = 1 << 16;

/// What the factors of products are rounded to: to the nearest, of two as near to the even one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// As they are.
    F32,
    /// 11 bits of mantissa.
    F16,
    /// 8 bits of mantissa.
    Bf16,
}

impl Factors {
    /// Rounds on the calling thread.
    pub fn round(self, values: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::F16 => {
                let mut halves = [f16::ZERO; 256];
                for values in values.chunks_mut(halves.len()) {
                    let halves = &mut halves[..values.len()];
                    halves.convert_from_f32_slice(values);
                    halves.convert_to_f32_slice(values);
                }
            }
            Self::Bf16 => round_to_bf16(values),
        }
    }

    /// The values rounded, on the threads of rayon's current pool.
    pub fn rounded(self, values: &[f32]) -> Vec<f32> {
        let mut values = values.to_vec();
        values.par_chunks_mut(PART).for_each(|values| self.round(values));
        values
    }
}

/// The weights of a layer, in the numbers that they are kept in: the factors of its products are rounded to them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Weights<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl Weights<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
            Self::Bf16(weights) => weights.len(),
        }
    }

    /// What the other factor is rounded to.
    pub fn factors(&self) -> Factors {
        match self {
            Self::F32(_) => Factors::F32,
            Self::F16(_) => Factors::F16,
            Self::Bf16(_) => Factors::Bf16,
        }
    }

    /// The same numbers in `f32`.
    pub fn widened(&self) -> Vec<f32> {
        let mut widened = vec![0.0; self.len()];
        match self {
            Self::F32(weights) => widened.copy_from_slice(weights),
            Self::F16(weights) => weights.convert_to_f32_slice(&mut widened),
            Self::Bf16(weights) => weights.convert_to_f32_slice(&mut widened),
        }
        widened
    }
}

/// The nearest `bfloat16`, in the upper half; a number beyond all of them is infinite. For NaN it is NaN, too.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    /// The highest bit of the mantissa: what has it is no infinity.
    const QUIET: u32 = 1 << 22;
    let bits = x.to_bits();
    let to_even = (bits >> 16) & 1;
    let nearest = bits.wrapping_add(0x7FFF + to_even);
    (if x.is_nan() { bits | QUIET } else { nearest }) & 0xFFFF_0000
}

vectorized! {
    fn round_to_bf16<'a>(values: &'a mut [f32]) {
        for value in values {
            *value = f32::from_bits(bf16_bits(*value));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// All signs and exponents, numbers half way between two, infinities and NaN among them.
    fn numbers() -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut bits: Vec<u32> = (0..100_000).map(|_| rng.random()).collect();
        bits.extend((0..=u16::MAX).flat_map(|high| {
            [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF].map(|low| u32::from(high) << 16 | low)
        }));
        bits.into_iter().map(f32::from_bits).collect()
    }

    fn same(found: f32, expected: f32) -> bool {
        found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
    }

    #[test]
    fn rounding_is_that_of_the_crate_half_one_number_at_a_time() {
        let numbers = numbers();
        let (to_bf16, to_f16) = (Factors::Bf16.rounded(&numbers), Factors::F16.rounded(&numbers));
        for ((&x, bfloat), half) in numbers.iter().zip(to_bf16).zip(to_f16) {
            assert!(same(bfloat, bf16::from_f32(x).to_f32()), "{x:e}: {bfloat:e}");
            assert!(same(half, f16::from_f32(x).to_f32()), "{x:e}: {half:e}");
        }
        assert!(numbers.iter().zip(Factors::F32.rounded(&numbers)).all(|(&x, y)| same(y, x)));
    }

    #[test]
    fn weights_are_widened_to_the_same_numbers() {
        let values = [0.0, 1.0, -2.5, 1.0 / 3.0, 3e4];
        let halves = values.map(f16::from_f32);
        assert_eq!(Weights::F16(&halves).widened(), halves.map(f16::to_f32));
        let bfloats = values.map(bf16::from_f32);
        assert_eq!(Weights::Bf16(&bfloats).widened(), bfloats.map(bf16::to_f32));
        assert_eq!(Weights::F32(&values).widened(), values);
    }
}
