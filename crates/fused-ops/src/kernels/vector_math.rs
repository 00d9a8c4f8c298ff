//! Elementary functions that compilers can vectorize: no branch, no table, no call.

use std::f32::consts::LOG2_E;

/// Where `e^x` is a normal number.
const EXP_RANGE: (f32, f32) = (-87.3, 88.3);
/// ln 2 in two parts: the first has few enough bits for its product with an exponent to be exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Taylor's series of `e^x`.
const EXP: [f32; 8] =
    [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
/// Adding it to a small number rounds that to an integer, which stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// `e^x` with a relative error below 2e-7, clamped to the range of normal numbers.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(EXP_RANGE.0, EXP_RANGE.1);
    let shifted = x * LOG2_E + ROUND;
    let exponent = shifted - ROUND;
    let rest = (-exponent).mul_add(LN_2.1, (-exponent).mul_add(LN_2.0, x)); // |rest| <= ln 2 / 2
    // The next term of the series is below 1e-8 there.
    let sum = polynomial(&EXP, rest);
    let power = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    sum * f32::from_bits(power)
}

/// Coefficients of `erf(x) = x P(x^2) / Q(x^2)` on `[-4, 4]`, lowest power first: fitted by
/// `fit_erf.py` in this crate, largest error 5.4e-8 before rounding.
const ERF_P: [f32; 7] = [
    1.128_378_7,
    0.213_945_31,
    0.052_433_56,
    0.004_293_082,
    1.555_376_5e-4,
    -1.990_327_4e-6,
    1.921_723_7e-8,
];
const ERF_Q: [f32; 5] = [1.0, 0.522_931_75, 0.120_799_88, 0.015_551_149, 0.001_098_045_4];

/// The error function with an absolute error below 5e-7. Beyond 4 it is 1 to that precision.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    x * polynomial(&ERF_P, square) / polynomial(&ERF_Q, square)
}

/// Horner's scheme. A loop, like all in this crate's hot paths: iterator adapters are functions that
/// may end up outside of the code that is compiled for the processor's vector instructions.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    let mut at = N - 1;
    while at > 0 {
        at -= 1;
        sum = sum.mul_add(x, coefficients[at]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_error_of_the_exact_one() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7, "exp({x})");
        }
    }

    #[test]
    fn exp_far_below_zero_is_nothing_and_far_above_is_finite() {
        assert!(exp(-1e30) < 1.3e-38);
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38);
        assert!(exp(1e30) > 1e38 && exp(1e30).is_finite());
    }

    #[test]
    fn erf_is_within_its_error_of_the_exact_one() {
        for step in -5000..=5000 {
            let x = step as f32 * 1e-3;
            let exact = libm::erf(f64::from(x));
            assert!((f64::from(erf(x)) - exact).abs() < 5e-7, "erf({x})");
        }
        assert_eq!((erf(1e30), erf(-1e30)), (erf(4.0), erf(-4.0)));
    }
}
