//! Rank correlation: whether one number puts things into the order of another one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::summary::{BOOTSTRAP_RESAMPLES, index, tails};

/// Spearman's rank correlation of pairs that come in clusters, e.g. all masks of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankCorrelation {
    /// Pairs.
    pub n: usize,
    /// The correlation over all pairs, in `[-1, 1]`; see [`spearman`].
    pub coefficient: Option<f64>,
    /// Lower end of its interval; nothing below two clusters.
    pub low: Option<f64>,
    /// Upper end of its interval; nothing below two clusters.
    pub high: Option<f64>,
}

impl RankCorrelation {
    /// The correlation over the pairs of all clusters, and the percentile bootstrap of it.
    ///
    /// A resample draws whole *clusters* with replacement, as many as there are: pairs of one image
    /// are not independent, and drawing them one by one would make the interval too narrow (Davison
    /// and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
    /// [`BOOTSTRAP_RESAMPLES`] resamples, quantiles as in [`Summary`](crate::Summary). The same
    /// clusters in the same order and the same seed give the same bits.
    ///
    /// # Edge cases
    ///
    /// A resample whose correlation is undefined is left out of the interval.
    pub fn of(clusters: &[Vec<(f64, f64)>], seed: u64) -> Self {
        let cluster_of: Vec<usize> = clusters
            .iter()
            .enumerate()
            .flat_map(|(cluster, pairs)| std::iter::repeat_n(cluster, pairs.len()))
            .collect();
        let (first, second): (Vec<f64>, Vec<f64>) = clusters.iter().flatten().copied().unzip();
        let (first, second) = (Ordered::new(&first), Ordered::new(&second));
        let coefficient = weighted(&first, &second, &vec![1.0; cluster_of.len()]);
        let (low, high) = (clusters.len() > 1)
            .then(|| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut times = vec![0.0; clusters.len()];
                let mut weights = vec![0.0; cluster_of.len()];
                let resampled = (0..BOOTSTRAP_RESAMPLES).filter_map(|_| {
                    times.fill(0.0);
                    for _ in 0..clusters.len() {
                        times[index(rng.next_u32(), clusters.len())] += 1.0;
                    }
                    for (weight, &cluster) in weights.iter_mut().zip(&cluster_of) {
                        *weight = times[cluster];
                    }
                    weighted(&first, &second, &weights)
                });
                tails(resampled.collect())
            })
            .flatten()
            .unzip();
        Self { n: cluster_of.len(), coefficient, low, high }
    }
}

/// Spearman's rank correlation: Pearson's correlation of the ranks, where equal values share the
/// mean of the ranks that they take (Spearman, American Journal of Psychology 15(1), 1904; ties as
/// in Kendall, Rank Correlation Methods, 1948, chapter 3).
///
/// # Edge cases
///
/// - fewer than two pairs, or all values on one side equal: undefined, `None`
/// - NaN ranks above all numbers, and every NaN by itself
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    weighted(&Ordered::new(&first), &Ordered::new(&second), &vec![1.0; pairs.len()])
}

/// Places of values in ascending order, equal ones in one class.
struct Ordered {
    classes: Vec<Vec<usize>>,
}

impl Ordered {
    fn new(values: &[f64]) -> Self {
        let mut places: Vec<usize> = (0..values.len()).collect();
        places.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let classes = places.chunk_by(|&a, &b| values[a] == values[b]).map(<[usize]>::to_vec);
        Self { classes: classes.collect() }
    }

    /// Mean ranks from 1, if each value were there `weights` times.
    fn ranks(&self, weights: &[f64]) -> Vec<f64> {
        let mut ranks = vec![0.0; weights.len()];
        let mut below = 0.0;
        for class in &self.classes {
            let times: f64 = class.iter().map(|&place| weights[place]).sum();
            for &place in class {
                ranks[place] = below + (times + 1.0) / 2.0;
            }
            below += times;
        }
        ranks
    }
}

/// Spearman's rank correlation, if each pair were there `weights` times.
fn weighted(first: &Ordered, second: &Ordered, weights: &[f64]) -> Option<f64> {
    let middle = (weights.iter().sum::<f64>() + 1.0) / 2.0;
    let (mut product, mut first_square, mut second_square) = (0.0, 0.0, 0.0);
    for ((a, b), weight) in first.ranks(weights).iter().zip(second.ranks(weights)).zip(weights) {
        let (a, b) = (a - middle, b - middle);
        product += weight * a * b;
        first_square += weight * a * a;
        second_square += weight * b * b;
    }
    // Ranks are halves of integers, so equal values leave exactly nothing here.
    (first_square > 0.0 && second_square > 0.0)
        .then(|| product / (first_square * second_square).sqrt())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    fn pairs(first: &[f64], second: &[f64]) -> Vec<(f64, f64)> {
        first.iter().copied().zip(second.iter().copied()).collect()
    }

    #[test]
    fn a_correlation_with_a_tie_computed_by_hand() {
        // Ranks 1 2 3 4 5 and 1 2 3.5 5 3.5: products of the distances from 3 sum to 8, squares to
        // 10 and 9.5.
        let rho = spearman(&pairs(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]));
        assert_eq!(rho, Some(8.0 / 95.0f64.sqrt()));
    }

    #[derive(Deserialize)]
    struct Reference {
        name: String,
        first: Vec<f64>,
        second: Vec<f64>,
        coefficient: f64,
    }

    #[test]
    fn the_coefficient_is_that_of_scipy() {
        let reference: Vec<Reference> =
            serde_json::from_str(include_str!("../fixtures/rank_correlation.json")).unwrap();
        assert!(reference.len() > 5);
        for case in reference {
            let rho = spearman(&pairs(&case.first, &case.second)).unwrap();
            let (name, expected) = (&case.name, case.coefficient);
            assert!((rho - expected).abs() < 1e-12, "{name}: {rho} instead of {expected}");
        }
    }

    #[test]
    fn without_an_order_there_is_no_correlation() {
        assert_eq!(spearman(&[]), None);
        assert_eq!(spearman(&[(1.0, 2.0)]), None);
        assert_eq!(spearman(&pairs(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0])), None);
        let one = RankCorrelation::of(&[vec![(1.0, 1.0), (2.0, 3.0)]], 0);
        assert_eq!((one.n, one.coefficient, one.low, one.high), (2, Some(1.0), None, None));
    }

    #[test]
    fn a_resample_holds_whole_clusters() {
        // Every cluster is in perfect order and so is their union. Pairs drawn one by one could not
        // do otherwise, but the second set can: its clusters are in order, their union is not.
        let ordered = [vec![(1.0, 1.0), (2.0, 2.0)], vec![(3.0, 3.0), (4.0, 4.0)]];
        let perfect = RankCorrelation::of(&ordered, 1);
        assert_eq!((perfect.low, perfect.high), (Some(1.0), Some(1.0)));
        // Ranks (1 3, 2 4, 3 1, 4 2): products -0.75 - 0.75 - 0.75 - 0.75 over 5. Half of the
        // resamples hold one cluster twice, where the correlation is 1.
        let crossed = [vec![(1.0, 3.0), (2.0, 4.0)], vec![(3.0, 1.0), (4.0, 2.0)]];
        let crossed = RankCorrelation::of(&crossed, 1);
        assert_eq!(crossed.coefficient, Some(-0.6));
        assert_eq!((crossed.low, crossed.high), (Some(-0.6), Some(1.0)));
    }

    #[test]
    fn independent_numbers_have_an_interval_around_zero_of_the_known_width() {
        // The deviation of Spearman's correlation of n independent pairs is 1 / sqrt(n - 1).
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut number = || f64::from(rng.next_u32());
        let clusters: Vec<_> = (0..400).map(|_| vec![(number(), number())]).collect();
        let rho = RankCorrelation::of(&clusters, 9);
        let (low, high) = (rho.low.unwrap(), rho.high.unwrap());
        let expected = 2.0 * 1.96 / 399.0f64.sqrt();
        assert!(low < 0.0 && high > 0.0, "{rho:?}");
        assert!(((high - low) / expected - 1.0).abs() < 0.15, "{rho:?}, width {expected}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_pair_that_is_there_twice_weighs_two(
            case in proptest::collection::vec((0..9i32, 0..9i32, 0..4usize), 2..30)
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) =
                case.iter().map(|&(x, y, _)| (f64::from(x), f64::from(y))).unzip();
            let weights: Vec<f64> = case.iter().map(|&(.., times)| times as f64).collect();
            let repeated: Vec<(f64, f64)> = case
                .iter()
                .flat_map(|&(x, y, times)| vec![(f64::from(x), f64::from(y)); times])
                .collect();
            let weighted = weighted(&Ordered::new(&x), &Ordered::new(&y), &weights);
            match (weighted, spearman(&repeated)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-12, "{} {}", a, b),
                (a, b) => prop_assert_eq!(a, b),
            }
        }

        #[test]
        fn only_the_order_matters(
            case in proptest::collection::vec((-50..50i32, -50..50i32), 3..40)
        ) {
            let pairs: Vec<(f64, f64)> =
                case.iter().map(|&(x, y)| (f64::from(x), f64::from(y))).collect();
            let bent: Vec<(f64, f64)> = pairs.iter().map(|&(x, y)| (x.powi(3), y.exp())).collect();
            let turned: Vec<(f64, f64)> = pairs.iter().map(|&(x, y)| (-x, y)).collect();
            let rho = spearman(&pairs);
            prop_assert_eq!(rho, spearman(&bent));
            prop_assert_eq!(rho.map(|rho| -rho), spearman(&turned));
            prop_assert!(rho.is_none_or(|rho| rho.abs() <= 1.0 + 1e-12));
        }
    }
}
