//! Two methods on the same cases.

use crate::{SignedRank, Summary};

/// How two lists of scores of the same cases differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedComparison {
    /// Pairs.
    pub n: usize,
    /// Mean of first minus second score; nothing without a pair.
    pub mean_difference: Option<f64>,
    /// Lower end of the interval of the mean difference; nothing below two pairs.
    pub low: Option<f64>,
    /// Upper end of the interval of the mean difference; nothing below two pairs.
    pub high: Option<f64>,
    /// Pairs whose first score is larger.
    pub wins: usize,
    /// Pairs of equal scores.
    pub ties: usize,
    /// Pairs whose second score is larger.
    pub losses: usize,
    /// Wilcoxon's signed-rank test of the differences.
    pub test: SignedRank,
}

impl PairedComparison {
    /// Compares pairs of scores, one pair a case.
    ///
    /// Cases are compared with themselves, so what makes a case hard for both methods cancels. The
    /// interval is the bootstrap of [`Summary::of`] over the differences, i.e. over cases; see
    /// [`SignedRank::of`] for the test. `seed` decides the resamples and nothing else.
    pub fn of(pairs: &[(f64, f64)], seed: u64) -> Self {
        let differences: Vec<f64> = pairs.iter().map(|(first, second)| first - second).collect();
        let scores: Vec<Option<f64>> = differences.iter().copied().map(Some).collect();
        let summary = Summary::of(&scores, seed);
        let count =
            |is: fn(&f64) -> bool| differences.iter().filter(|&difference| is(difference)).count();
        Self {
            n: summary.n,
            mean_difference: summary.mean,
            low: summary.low,
            high: summary.high,
            wins: count(|difference| *difference > 0.0),
            ties: count(|difference| *difference == 0.0),
            losses: count(|difference| *difference < 0.0),
            test: SignedRank::of(&differences),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn four_pairs_by_hand() {
        // Differences 0.5, 0.25, 0, -0.125: mean 0.15625; ranks 3, 2 and, negative, 1.
        let pairs = [(0.75, 0.25), (0.5, 0.25), (0.5, 0.5), (0.125, 0.25)];
        let compared = PairedComparison::of(&pairs, 0);
        assert_eq!((compared.n, compared.mean_difference), (4, Some(0.15625)));
        assert_eq!((compared.wins, compared.ties, compared.losses), (2, 1, 1));
        assert_eq!((compared.test.positive, compared.test.negative), (5.0, 1.0));
        assert_eq!(compared.test.rank_biserial(), Some(4.0 / 6.0));
    }

    #[test]
    fn what_two_methods_have_in_common_cancels() {
        // Scores all over the place, the first always 0.01 better.
        let pairs: Vec<_> =
            (0..40).map(|i| f64::from(i * 7 % 40) / 40.0).map(|x| (x + 0.01, x)).collect();
        let compared = PairedComparison::of(&pairs, 0);
        let (low, high) = (compared.low.unwrap(), compared.high.unwrap());
        assert!((low - 0.01).abs() < 1e-12 && (high - 0.01).abs() < 1e-12, "{compared:?}");
        assert_eq!((compared.wins, compared.losses), (40, 0));
    }

    #[test]
    fn without_pairs_nothing_is_claimed() {
        let nothing = PairedComparison::of(&[], 0);
        assert_eq!((nothing.n, nothing.mean_difference, nothing.test.p_value), (0, None, 1.0));
        let one = PairedComparison::of(&[(0.5, 0.25)], 0);
        assert_eq!((one.mean_difference, one.low, one.high), (Some(0.25), None, None));
    }
}
