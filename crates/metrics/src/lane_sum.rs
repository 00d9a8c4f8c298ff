//! Sums of many pixels.

/// Running sums side by side.
const LANES: usize = 8;

/// The sum of `term(p, g)` over pixels, with `g` 1 on the mask and 0 elsewhere.
///
/// Eight running sums, added at the end: one sum would wait for each addition before the next. The order is fixed, so
/// the bits are the same on every machine.
pub(crate) fn lane_sum(
    probabilities: &[f64],
    mask: &[bool],
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    let of = |(&p, &on): (&f64, &bool)| term(p, f64::from(u8::from(on)));
    let (eights, rest) = probabilities.as_chunks::<LANES>();
    let (mask_eights, mask_rest) = mask.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (probabilities, mask) in eights.iter().zip(mask_eights) {
        for (sum, pixel) in sums.iter_mut().zip(probabilities.iter().zip(mask)) {
            *sum += of(pixel);
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let rest: f64 = rest.iter().zip(mask_rest).map(of).sum();
    ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_pixel_is_added_once(pixels in proptest::collection::vec((0..100u32, any::<bool>()), 0..70)) {
            let (numbers, mask): (Vec<u32>, Vec<bool>) = pixels.into_iter().unzip();
            let values: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
            let on: u32 = numbers.iter().zip(&mask).filter(|(_, on)| **on).map(|(number, _)| number).sum();
            prop_assert_eq!(lane_sum(&values, &mask, |p, g| p * g), f64::from(on));
            prop_assert_eq!(lane_sum(&values, &mask, |p, _| p), f64::from(numbers.iter().sum::<u32>()));
        }
    }
}
