//! Middle and ends of some times.

/// The mean of the two in the middle if there are two; no number of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) =
        (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2))
    else {
        return f64::NAN;
    };
    f64::midpoint(low, high)
}

/// The least and the largest; infinities of none.
pub(crate) fn extremes(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [least, largest]
}

/// All of them with so many digits, e.g. `0.25, 0.50`.
pub(crate) fn listed(values: &[f64], digits: usize) -> String {
    values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 8.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_extremes_are_at_the_ends() {
        assert_eq!(extremes(&[3.0, 1.0, 2.0]), [1.0, 3.0]);
        assert_eq!(extremes(&[]), [f64::INFINITY, f64::NEG_INFINITY]);
    }

    #[test]
    fn times_are_listed_in_their_order() {
        assert_eq!(listed(&[0.5, 0.25], 2), "0.50, 0.25");
    }
}
