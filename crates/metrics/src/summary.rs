//! Mean, deviation and interval over cases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Bootstrap resamples behind every interval.
pub const BOOTSTRAP_RESAMPLES: usize = 10_000;
/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// One measure over the cases of a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Cases with a score: what everything below is over.
    pub n: usize,
    /// Cases without a score, left out of everything below.
    pub skipped: usize,
    /// Arithmetic mean; nothing without a case.
    pub mean: Option<f64>,
    /// Standard deviation over cases, with `n - 1`; nothing below two cases.
    pub sd: Option<f64>,
    /// Median, the mean of the two middle scores if `n` is even; nothing without a case.
    pub median: Option<f64>,
    /// Lower end of the interval of the mean; nothing below two cases.
    pub low: Option<f64>,
    /// Upper end of the interval of the mean; nothing below two cases.
    pub high: Option<f64>,
}

impl Summary {
    /// Summarizes the scores of all cases; `None` is a case that the protocol skips.
    ///
    /// The interval is the percentile bootstrap of the mean (Efron and Tibshirani, An Introduction
    /// to the Bootstrap, 1993, chapter 13): [`BOOTSTRAP_RESAMPLES`] resamples of the cases with
    /// replacement, and the quantiles at `(1 - CONFIDENCE) / 2` from either end of their means,
    /// linear between neighbors. It says how far the mean would move with other cases, and nothing
    /// about other training seeds.
    ///
    /// The same scores and seed give the same bits, in whatever order the scores come.
    ///
    /// # Edge cases
    ///
    /// A score that is NaN makes the mean and the rest NaN; [`crate::Protocol`] yields none.
    pub fn of(scores: &[Option<f64>], seed: u64) -> Self {
        // Sorted, so that neither rounding nor the draws depend on the order of the cases.
        let mut values: Vec<f64> = scores.iter().copied().flatten().collect();
        values.sort_unstable_by(f64::total_cmp);
        let n = values.len();
        let (low, high) = interval(&values, seed).unzip();
        Self {
            n,
            skipped: scores.len() - n,
            mean: mean(&values),
            sd: sd(&values),
            median: (n > 0).then(|| quantile(&values, 0.5)),
            low,
            high,
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    // Two passes: the sum of squares minus the squared sum would cancel for scores close together.
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// The quantile `q` in `[0, 1]` of sorted, non-empty `values`, linear between neighbors.
fn quantile(values: &[f64], q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(values.len() - 1);
    values[below] + (values[above] - values[below]) * (position - below as f64)
}

fn interval(values: &[f64], seed: u64) -> Option<(f64, f64)> {
    // A resample of one case is that case: an interval of no width would claim certainty.
    if values.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    tails((0..BOOTSTRAP_RESAMPLES).map(|_| resampled_mean(values, &mut rng)).collect())
}

/// The ends of the middle [`CONFIDENCE`] of a statistic's values over all resamples; nothing without
/// a value.
pub(crate) fn tails(mut resampled: Vec<f64>) -> Option<(f64, f64)> {
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    (!resampled.is_empty()).then(|| (quantile(&resampled, tail), quantile(&resampled, 1.0 - tail)))
}

/// The mean of as many values as there are, drawn with replacement.
fn resampled_mean(values: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    let n = values.len();
    let mut sum = 0.0;
    // Two draws from each word: the generator is most of the time spent here.
    for _ in 0..n / 2 {
        let word = rng.next_u64();
        sum += values[index(word as u32, n)] + values[index((word >> 32) as u32, n)];
    }
    if n % 2 == 1 {
        sum += values[index(rng.next_u32(), n)];
    }
    sum / n as f64
}

/// An index below `n` from 32 random bits: the upper half of a product of 64 bits (Lemire, Fast
/// Random Integer Generation in an Interval, ACM TOMACS 29(1), 2019).
///
/// Without the rejection step some indices come up more often by a share of at most `n / 2^32`,
/// far below what 10,000 resamples resolve.
pub(crate) fn index(bits: u32, n: usize) -> usize {
    ((u64::from(bits) * n as u64) >> 32) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Summary {
        Summary::of(&values.iter().copied().map(Some).collect::<Vec<_>>(), 0)
    }

    #[derive(serde::Deserialize)]
    struct Reference {
        name: String,
        scores: Vec<f64>,
        mean: f64,
        sd: f64,
        median: f64,
        low: f64,
        high: f64,
    }

    #[test]
    fn summaries_are_those_of_numpy_and_intervals_those_of_scipy() {
        let reference: Vec<Reference> =
            serde_json::from_str(include_str!("../fixtures/summary.json")).unwrap();
        assert!(reference.len() >= 5);
        for case in reference {
            let summary = of(&case.scores);
            let name = &case.name;
            for (found, expected) in
                [(summary.mean, case.mean), (summary.sd, case.sd), (summary.median, case.median)]
            {
                assert!((found.unwrap() - expected).abs() < 1e-12, "{name}: {summary:?}");
            }
            // Other draws: an end is a quantile of 10,000 means here, and of 100,000 there. Around 2.5 % of a normal
            // distribution a quantile of 10,000 deviates by 0.027 deviations of the mean, the mean of 25 such by a
            // fifth of that; five times as much is allowed.
            let error = 0.027 * case.sd / (case.scores.len() as f64).sqrt();
            let scores: Vec<_> = case.scores.iter().copied().map(Some).collect();
            let intervals: Vec<Summary> = (0..25).map(|seed| Summary::of(&scores, seed)).collect();
            let mean_end = |end: fn(&Summary) -> Option<f64>| -> f64 {
                intervals.iter().map(|summary| end(summary).unwrap()).sum::<f64>() / 25.0
            };
            let ends = [(mean_end(|one| one.low), case.low), (mean_end(|one| one.high), case.high)];
            for (found, expected) in ends {
                assert!((found - expected).abs() < error, "{name}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn mean_deviation_and_median_computed_by_hand() {
        // Sum 40 over 8; squared distances 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32 over 7.
        let summary = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(summary.n, 8);
        assert_eq!(summary.mean, Some(5.0));
        assert_eq!(summary.sd, Some((32.0f64 / 7.0).sqrt()));
        assert_eq!(summary.median, Some(4.5));
        assert_eq!(of(&[0.9, 0.1, 0.2]).median, Some(0.2));
    }

    #[test]
    fn skipped_cases_are_counted_and_move_nothing() {
        let with = Summary::of(&[Some(0.5), None, Some(0.75), None], 3);
        let without = Summary::of(&[Some(0.5), Some(0.75)], 3);
        assert_eq!(with, Summary { skipped: 2, ..without });
        assert_eq!(with.mean, Some(0.625));
    }

    #[test]
    fn what_is_undefined_is_missing() {
        let nothing = Summary::of(&[None], 0);
        assert_eq!((nothing.n, nothing.skipped), (0, 1));
        assert_eq!((nothing.mean, nothing.sd, nothing.median), (None, None, None));
        assert_eq!((nothing.low, nothing.high), (None, None));

        let one = of(&[0.7]);
        assert_eq!((one.mean, one.median), (Some(0.7), Some(0.7)));
        assert_eq!((one.sd, one.low, one.high), (None, None, None));
    }

    #[test]
    fn quantiles_lie_between_their_neighbors() {
        let values = [10.0, 20.0, 40.0];
        assert_eq!(quantile(&values, 0.0), 10.0);
        assert_eq!(quantile(&values, 0.25), 15.0);
        assert_eq!(quantile(&values, 0.75), 30.0);
        assert_eq!(quantile(&values, 1.0), 40.0);
    }

    #[test]
    fn the_interval_of_two_cases_is_their_range() {
        // A resample is low-low, mixed or high-high with probability 1/4, 1/2, 1/4: either end
        // lies well within its quarter.
        let summary = of(&[0.2, 0.8]);
        assert_eq!((summary.low, summary.high), (Some(0.2), Some(0.8)));
    }

    #[test]
    fn the_interval_of_half_hits_follows_the_binomial_distribution() {
        // 50 zeros and 50 ones: 100 times a resampled mean is binomial(100, 1/2), whose quantiles
        // at 2.5 % and 97.5 % are 40 and 60.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let summary = of(&values);
        assert!((summary.low.unwrap() - 0.40).abs() <= 0.01, "{summary:?}");
        assert!((summary.high.unwrap() - 0.60).abs() <= 0.01, "{summary:?}");
    }

    #[test]
    fn intervals_cover_the_true_mean_about_as_often_as_they_claim() {
        // 400 samples of 60 uniform numbers with mean 1/2. The number of hits is close to
        // binomial(400, 0.95): 380 with a deviation of 4.4; the bootstrap of 60 cases covers a
        // little less.
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        let hits = (0..400)
            .filter(|&seed| {
                let sample: Vec<_> = (0..60)
                    .map(|_| Some(f64::from(rng.next_u32()) / f64::from(u32::MAX)))
                    .collect();
                let summary = Summary::of(&sample, seed);
                (summary.low.unwrap()..=summary.high.unwrap()).contains(&0.5)
            })
            .count();
        assert!((362..=394).contains(&hits), "{hits} of 400");
    }

    #[test]
    fn indices_share_the_range_of_the_generator_equally() {
        assert_eq!(index(0, 7), 0);
        assert_eq!(index(u32::MAX, 7), 6);
        // Index i of 4 owns the i-th quarter of all 32 bit numbers.
        assert_eq!((index((1 << 30) - 1, 4), index(1 << 30, 4)), (0, 1));
        assert_eq!((index((3 << 30) - 1, 4), index(3 << 30, 4)), (2, 3));
    }

    #[test]
    fn resamples_draw_every_case_about_equally_often() {
        // The mean of many resamples of [1, 0, ..., 0] is the share of draws that hit the one.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for place in 0..5 {
            let mut values = [0.0; 5];
            values[place] = 1.0;
            let share: f64 =
                (0..20_000).map(|_| resampled_mean(&values, &mut rng)).sum::<f64>() / 20_000.0;
            // 100,000 draws: 0.2 with a deviation of 0.0013.
            assert!((share - 0.2).abs() < 0.006, "{place}: {share}");
        }
    }

    #[test]
    fn the_seed_decides_the_interval_and_nothing_else() {
        let values: Vec<_> = (0..30).map(|i| Some(f64::from(i * i) / 900.0)).collect();
        let first = Summary::of(&values, 1);
        assert_eq!(first, Summary::of(&values, 1));
        let second = Summary::of(&values, 2);
        assert_ne!((first.low, first.high), (second.low, second.high));
        assert_eq!(first, Summary { low: first.low, high: first.high, ..second });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_order_of_cases_changes_no_bit(
            mut values in proptest::collection::vec(proptest::option::weighted(0.9, 0.0..=1.0f64), 0..40)
        ) {
            let forward = Summary::of(&values, 5);
            values.reverse();
            prop_assert_eq!(forward, Summary::of(&values, 5));
        }

        #[test]
        fn mean_median_and_interval_lie_within_the_scores(
            values in proptest::collection::vec(0.0..=1.0f64, 2..40)
        ) {
            let summary = of(&values);
            let least = values.iter().copied().fold(f64::INFINITY, f64::min) - 1e-12;
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 1e-12;
            for value in [summary.mean, summary.median, summary.low, summary.high] {
                prop_assert!((least..=most).contains(&value.unwrap()));
            }
            prop_assert!(summary.low.unwrap() <= summary.mean.unwrap() + 1e-12);
            prop_assert!(summary.mean.unwrap() <= summary.high.unwrap() + 1e-12);
        }

        #[test]
        fn equal_scores_have_no_deviation(value in 0.0..=1.0f64, n in 2..40usize) {
            let summary = of(&vec![value; n]);
            prop_assert!(summary.sd.unwrap() < 1e-12);
            prop_assert!((summary.high.unwrap() - summary.low.unwrap()).abs() < 1e-12);
        }
    }
}
