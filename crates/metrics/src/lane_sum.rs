//! Sums of many pixels.

/// Running sums side by side.
const LANES: usize = 8;

/// The sums of `term(p, g)` over pixels, with `g` 1 on the mask and 0 elsewhere: as many as the term has parts.
///
/// Eight running sums of each, added at the end: one sum would wait for each addition before the next. The order is
/// fixed, so the bits are the same on every machine, and those of a part do not depend on the others.
pub(crate) fn lane_sums<const N: usize>(
    probabilities: &[f64],
    mask: &[bool],
    term: impl Fn(f64, f64) -> [f64; N],
) -> [f64; N] {
    let of = |(&p, &on): (&f64, &bool)| term(p, f64::from(u8::from(on)));
    let (eights, rest) = probabilities.as_chunks::<LANES>();
    let (mask_eights, mask_rest) = mask.as_chunks::<LANES>();
    let mut sums = [[0.0; LANES]; N];
    for (probabilities, mask) in eights.iter().zip(mask_eights) {
        let on: [f64; LANES] = mask.map(|on| f64::from(u8::from(on)));
        let terms: [[f64; N]; LANES] =
            std::array::from_fn(|lane| term(probabilities[lane], on[lane]));
        for part in 0..N {
            for lane in 0..LANES {
                sums[part][lane] += terms[lane][part];
            }
        }
    }
    let mut rests = [0.0; N];
    for pixel in rest.iter().zip(mask_rest) {
        for (sum, term) in rests.iter_mut().zip(of(pixel)) {
            *sum += term;
        }
    }
    std::array::from_fn(|part| {
        let [a, b, c, d, e, f, g, h] = sums[part];
        ((a + b) + (c + d)) + ((e + f) + (g + h)) + rests[part]
    })
}

/// The sum of a term that has one part.
pub(crate) fn lane_sum(
    probabilities: &[f64],
    mask: &[bool],
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    let [sum] = lane_sums(probabilities, mask, |p, g| [term(p, g)]);
    sum
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
            prop_assert_eq!(lane_sums(&values, &mask, |p, g| [p * g, p]), [f64::from(on), f64::from(numbers.iter().sum::<u32>())]);
        }
    }
}
