//! Holm's correction for several tests.

/// p values after Holm's step-down correction, in the order given.
///
/// The smallest of `m` p values is multiplied by `m`, the next by `m - 1`, and so on; none becomes
/// smaller than one before it, nor larger than 1. Rejecting what is below a level then errs in any of
/// the `m` tests with at most that probability, whatever their dependence.
///
/// Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
/// Statistics 6(2), 1979.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (done, &index) in order.iter().enumerate() {
        let left = (p_values.len() - done) as f64;
        largest = largest.max((left * p_values[index]).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        p_values: Vec<f64>,
        holm: Vec<f64>,
    }

    #[test]
    fn the_correction_is_that_of_statsmodels() {
        let reference: Vec<Reference> =
            serde_json::from_str(include_str!("../fixtures/holm.json")).unwrap();
        assert!(reference.len() >= 5);
        for Reference { p_values, holm: expected } in reference {
            let corrected = holm(&p_values);
            assert_eq!(corrected.len(), expected.len());
            for (found, expected) in corrected.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-14, "{p_values:?}: {corrected:?}");
            }
        }
    }

    #[test]
    fn four_p_values_by_hand() {
        // Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.2 * 1. The last keeps its value; the third would
        // be 0.06 like the second.
        let corrected = holm(&[0.03, 0.01, 0.2, 0.02]);
        for (found, expected) in corrected.iter().zip([0.06, 0.04, 0.2, 0.06]) {
            assert!((found - expected).abs() < 1e-15, "{corrected:?}");
        }
    }

    #[test]
    fn none_falls_below_one_before_it_and_none_exceeds_one() {
        // 0.04 * 3 = 0.12, then 0.045 * 2 = 0.09 is lifted to 0.12, and 0.9 stays.
        let corrected = holm(&[0.04, 0.045, 0.9]);
        assert_eq!(corrected, [0.12, 0.12, 0.9]);
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert_eq!(holm(&[0.03]), [0.03]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }

    proptest! {
        #[test]
        fn correction_keeps_order_and_lies_between_no_correction_and_bonferroni(
            p_values in proptest::collection::vec(0.0..=1.0f64, 1..12)
        ) {
            let corrected = holm(&p_values);
            for (i, &p) in p_values.iter().enumerate() {
                let bonferroni = (p * p_values.len() as f64).min(1.0);
                prop_assert!((p..=bonferroni).contains(&corrected[i]), "{p_values:?}: {corrected:?}");
                for (j, &other) in p_values.iter().enumerate() {
                    prop_assert!(p > other || corrected[i] <= corrected[j]);
                }
            }
            let smallest = p_values.iter().copied().fold(1.0, f64::min);
            let least = corrected.iter().copied().fold(1.0, f64::min);
            prop_assert_eq!(least, (smallest * p_values.len() as f64).min(1.0));
        }
    }
}
