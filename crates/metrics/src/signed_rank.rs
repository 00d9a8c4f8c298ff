//! Wilcoxon's signed-rank test of paired differences.

use std::cmp::Ordering;

/// Most differences, zeros included, whose p value comes from the exact distribution if no two of
/// them tie and none is zero. Beyond, the normal approximation is good to about three digits.
pub const EXACT_WITHOUT_TIES: usize = 50;
/// Most differences, zeros included, whose p value comes from the exact distribution in any case.
pub const EXACT_WITH_TIES: usize = 13;

/// The result of a two-sided Wilcoxon signed-rank test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// Differences that are not zero: what the ranks are over.
    pub n: usize,
    /// Sum of the ranks of the positive differences.
    pub positive: f64,
    /// Sum of the ranks of the negative differences.
    pub negative: f64,
    /// Probability of rank sums at least this far apart if the differences were symmetric about
    /// zero; 1 if no difference is left.
    pub p_value: f64,
    /// Whether `p_value` comes from the exact distribution, not from the normal approximation.
    pub exact: bool,
}

impl SignedRank {
    /// Tests whether paired differences are symmetric about zero, two-sided.
    ///
    /// Source: Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1(6), 1945.
    /// The conventions are those of `scipy.stats.wilcoxon` (1.17) with its defaults:
    ///
    /// - Zeros are dropped before ranking (`zero_method="wilcox"`).
    /// - Equal absolute values share the mean of their ranks.
    /// - Without zeros and ties and up to [`EXACT_WITHOUT_TIES`] differences, and with them up to
    ///   [`EXACT_WITH_TIES`], the p value counts all `2^n` choices of signs (`method="auto"`).
    /// - Otherwise it comes from the normal approximation of the rank sum with the tie correction
    ///   of the variance and without a correction for continuity (`correction=False`).
    ///
    /// # Edge cases
    ///
    /// Without any difference but zero `p_value` is 1: there is no evidence either way. (SciPy gives NaN
    /// where its approximation divides by zero.) A difference that is NaN is dropped.
    pub fn of(differences: &[f64]) -> Self {
        let mut ranked: Vec<f64> =
            differences.iter().copied().filter(|value| value.abs() > 0.0).collect();
        ranked.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
        let n = ranked.len();
        let (doubled, ties) = doubled_ranks(&ranked);
        let sum = |sign: Ordering| -> u64 {
            let side = ranked.iter().zip(&doubled);
            side.filter(|(value, _)| value.total_cmp(&0.0) == sign).map(|(_, rank)| rank).sum()
        };
        let (positive, negative) = (sum(Ordering::Greater), sum(Ordering::Less));
        let most = match ties.is_empty() && n == differences.len() {
            true => EXACT_WITHOUT_TIES,
            false => EXACT_WITH_TIES,
        };
        let exact = differences.len() <= most;
        let p_value = match n {
            0 => 1.0,
            _ if exact => exact_p(&doubled, positive.min(negative)),
            _ => normal_p(n, positive.min(negative), &ties),
        };
        let halved = |rank_sum: u64| rank_sum as f64 / 2.0;
        Self { n, positive: halved(positive), negative: halved(negative), p_value, exact }
    }

    /// Matched-pairs rank-biserial correlation: the rank sum of the positive differences minus that of
    /// the negative ones, as a share of both; from -1 (all negative) to 1 (all positive), nothing if
    /// no difference is left.
    ///
    /// Source: Kerby, The Simple Difference Formula, Comprehensive Psychology 3, 2014.
    pub fn rank_biserial(&self) -> Option<f64> {
        let total = self.positive + self.negative;
        (self.n > 0).then(|| (self.positive - self.negative) / total)
    }
}

/// Twice the rank of each of the values, which are sorted by absolute value, and the sizes of the
/// groups that tie. Mean ranks are halves of whole numbers, so twice a rank is exact.
fn doubled_ranks(sorted: &[f64]) -> (Vec<u64>, Vec<usize>) {
    let mut ranks = Vec::with_capacity(sorted.len());
    let mut ties = Vec::new();
    for group in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let (first, last) = (ranks.len() as u64 + 1, (ranks.len() + group.len()) as u64);
        ranks.extend(group.iter().map(|_| first + last));
        if group.len() > 1 {
            ties.push(group.len());
        }
    }
    (ranks, ties)
}

/// The share of all choices of signs whose smaller rank sum is at most `smaller`. All are doubled.
fn exact_p(ranks: &[u64], smaller: u64) -> f64 {
    // ways[s]: choices of positive differences whose ranks sum to s. At most 2^50 in total, so
    // neither the counts nor their ratio lose a bit.
    let mut ways = vec![0_u64; smaller as usize + 1];
    ways[0] = 1;
    for &rank in ranks {
        for sum in (rank as usize..ways.len()).rev() {
            ways[sum] += ways[sum - rank as usize];
        }
    }
    let tail = ways.iter().sum::<u64>() as f64 / (1_u64 << ranks.len()) as f64;
    (2.0 * tail).min(1.0)
}

/// Two-sided p value of a rank sum (doubled) under the normal approximation.
fn normal_p(n: usize, smaller: u64, ties: &[usize]) -> f64 {
    let n = n as f64;
    let mean = n * (n + 1.0) / 4.0;
    let tied: f64 = ties.iter().map(|&t| (t as f64).powi(3) - t as f64).sum();
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - tied / 2.0) / 24.0;
    let z = (smaller as f64 / 2.0 - mean) / variance.sqrt();
    // 2 Phi(-|z|), without the cancellation of 1 - Phi.
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        name: String,
        differences: Vec<f64>,
        statistic: f64,
        p_value: f64,
        rank_biserial: f64,
    }

    #[test]
    fn statistic_p_value_and_effect_are_those_of_scipy() {
        let reference: Vec<Reference> =
            serde_json::from_str(include_str!("../fixtures/signed_rank.json")).unwrap();
        assert!(reference.len() > 10);
        for case in reference {
            let test = SignedRank::of(&case.differences);
            let name = &case.name;
            assert_eq!(test.positive.min(test.negative), case.statistic, "{name}");
            // Relative, since p values reach down to 1e-30. SciPy computes the normal tail by other
            // means than `erfc`; both claim a few units in the last place.
            let relative = (test.p_value - case.p_value).abs() / case.p_value;
            assert!(relative < 1e-11, "{name}: {} instead of {}", test.p_value, case.p_value);
            let effect = test.rank_biserial().unwrap();
            assert!((effect - case.rank_biserial).abs() < 1e-12, "{name}: {effect}");
        }
    }

    #[test]
    fn four_differences_by_hand() {
        // Ranks 1, 2, 3, 4; the negative one has rank 1. Of 16 choices of signs, those with a rank sum
        // of at most 1 are {} and {1}: two, and as many at the other end.
        let test = SignedRank::of(&[0.3, -0.1, 0.2, 0.4]);
        assert_eq!((test.n, test.positive, test.negative, test.exact), (4, 9.0, 1.0, true));
        assert_eq!(test.p_value, 4.0 / 16.0);
        assert_eq!(test.rank_biserial(), Some(0.8));
    }

    #[test]
    fn ties_share_their_mean_rank() {
        // |1|, |1| share rank 1.5 and |2| has rank 3: sums of signs 0, 1.5, 1.5, 3, 3, 4.5, 4.5, 6.
        let test = SignedRank::of(&[1.0, -1.0, 2.0]);
        assert_eq!((test.positive, test.negative), (4.5, 1.5));
        assert_eq!(test.p_value, 2.0 * 3.0 / 8.0);
    }

    #[test]
    fn zeros_say_nothing() {
        let nothing = SignedRank::of(&[0.0, -0.0, 0.0]);
        assert_eq!((nothing.n, nothing.p_value, nothing.rank_biserial()), (0, 1.0, None));
        assert_eq!(SignedRank::of(&[]).p_value, 1.0);
        let with = SignedRank::of(&[0.3, 0.0, -0.1, 0.2, 0.4]);
        assert_eq!(with, SignedRank::of(&[0.3, -0.1, 0.2, 0.4]));
    }

    #[test]
    fn the_normal_approximation_is_close_to_the_exact_distribution() {
        let ranks: Vec<u64> = (1..=50).map(|rank| 2 * rank).collect();
        // Rank sums from far out to the middle of 0 ..= 637.5.
        for smaller in [300, 400, 500, 600] {
            let (exact, normal) = (exact_p(&ranks, 2 * smaller), normal_p(50, 2 * smaller, &[]));
            // Half a step of the rank sum is worth up to 0.004, its flatter peak another 0.003.
            assert!((exact - normal).abs() < 0.01, "{smaller}: {exact} and {normal}");
        }
    }

    /// Every choice of signs, one by one.
    fn counted_p(differences: &[f64]) -> f64 {
        let n = differences.len();
        let rank = |i: usize| -> f64 {
            let size = differences[i].abs();
            let below = differences.iter().filter(|other| other.abs() < size).count() as f64;
            let equal = differences.iter().filter(|other| other.abs() == size).count() as f64;
            below + (equal + 1.0) / 2.0
        };
        let total: f64 = (0..n).map(rank).sum();
        let smaller = |positive: &dyn Fn(usize) -> bool| -> f64 {
            let sum: f64 = (0..n).filter(|&i| positive(i)).map(rank).sum();
            sum.min(total - sum)
        };
        let found = smaller(&|i| differences[i] > 0.0);
        let as_far = (0..1_u32 << n).filter(|signs| smaller(&|i| signs >> i & 1 == 1) <= found);
        as_far.count() as f64 / f64::from(1_u32 << n)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn small_samples_count_every_choice_of_signs(
            differences in proptest::collection::vec(
                (1..6_i32, any::<bool>()).prop_map(|(size, sign)| f64::from(if sign { size } else { -size })),
                1..9,
            )
        ) {
            let test = SignedRank::of(&differences);
            prop_assert!(test.exact);
            prop_assert!((test.p_value - counted_p(&differences)).abs() < 1e-12);
        }

        #[test]
        fn turning_all_signs_changes_the_direction_only(
            mut differences in proptest::collection::vec(-1.0..1.0f64, 0..80)
        ) {
            let test = SignedRank::of(&differences);
            differences.reverse();
            let turned: Vec<f64> = differences.iter().map(|value| -value).collect();
            let turned = SignedRank::of(&turned);
            prop_assert_eq!((test.positive, test.negative), (turned.negative, turned.positive));
            prop_assert_eq!(test.p_value, turned.p_value);
            prop_assert!((0.0..=1.0).contains(&test.p_value));
            let n = test.n as f64;
            prop_assert_eq!(test.positive + test.negative, n * (n + 1.0) / 2.0);
        }
    }
}
