//! Two methods on the same cases.

use crate::{SignedRank, Summary};

/// How two lists of scores of the same cases differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedComparison {
    /// Pairs.
    pub n: usize,
    /// Mean of first minus second score; nothing without a pair.
    pub mean_difference: Option<f64>,
    /// Median of first minus second score; nothing without a pair.
    pub median_difference: Option<f64>,
    /// Standard deviation of the differences, with `n - 1`; nothing below two pairs.
    pub sd_difference: Option<f64>,
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
            median_difference: summary.median,
            sd_difference: summary.sd,
            low: summary.low,
            high: summary.high,
            wins: count(|difference| *difference > 0.0),
            ties: count(|difference| *difference == 0.0),
            losses: count(|difference| *difference < 0.0),
            test: SignedRank::of(&differences),
        }
    }

    /// Effect size: the mean difference in standard deviations of the differences, Cohen's `d_z`. Nothing below two
    /// pairs, and where all differences are the same.
    ///
    /// It says how far apart the methods are beside how much they vary from case to case; a large one may be a tiny
    /// difference that is nearly always there. [`SignedRank::rank_biserial`] is the effect size of the test itself.
    ///
    /// Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition, 1988, section 2.3.5.
    pub fn standardized_difference(&self) -> Option<f64> {
        let (mean, sd) = self.mean_difference.zip(self.sd_difference)?;
        (sd > 0.0).then(|| mean / sd)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Reference {
        name: String,
        first: Vec<f64>,
        second: Vec<f64>,
        standardized: f64,
        median: f64,
    }

    #[test]
    fn the_effect_size_is_that_of_scipys_t_statistic() {
        let reference: Vec<Reference> =
            serde_json::from_str(include_str!("../fixtures/paired.json")).unwrap();
        assert!(reference.len() >= 3);
        for case in reference {
            let pairs: Vec<_> = case.first.iter().copied().zip(case.second).collect();
            let compared = PairedComparison::of(&pairs, 0);
            let effect = compared.standardized_difference().unwrap();
            assert!((effect - case.standardized).abs() < 1e-10, "{}: {effect}", case.name);
            assert!(
                (compared.median_difference.unwrap() - case.median).abs() < 1e-12,
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn four_pairs_by_hand() {
        // Differences 0.5, 0.25, 0, -0.125: mean 0.15625; ranks 3, 2 and, negative, 1.
        let pairs = [(0.75, 0.25), (0.5, 0.25), (0.5, 0.5), (0.125, 0.25)];
        let compared = PairedComparison::of(&pairs, 0);
        assert_eq!((compared.n, compared.mean_difference), (4, Some(0.15625)));
        assert_eq!((compared.wins, compared.ties, compared.losses), (2, 1, 1));
        assert_eq!((compared.test.positive, compared.test.negative), (5.0, 1.0));
        assert_eq!(compared.test.rank_biserial(), Some(4.0 / 6.0));
        assert_eq!(compared.median_difference, Some(0.125));
        // Squares of 0.34375, 0.09375, -0.15625 and -0.28125: 0.23046875 over 3.
        let effect = compared.standardized_difference().unwrap();
        assert!((effect - 0.15625 / (0.230_468_75_f64 / 3.0).sqrt()).abs() < 1e-12, "{effect}");
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
        assert_eq!((one.median_difference, one.standardized_difference()), (Some(0.25), None));
        let same = PairedComparison::of(&[(0.5, 0.25); 3], 0);
        assert_eq!(same.standardized_difference(), None, "without deviation there is no unit");
    }
}
