//! The learning rate over time.

use std::f64::consts::PI;

/// Linear warm-up to `peak`, then a cosine to zero.
///
/// `step` counts from 0; the last step of `steps` has a rate just above zero.
pub(crate) fn learning_rate(step: usize, steps: usize, warmup: usize, peak: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let share = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    peak * 0.5 * (1.0 + (PI * share).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_zero() {
        assert_eq!(learning_rate(0, 100, 10, 1.0), 0.1);
        assert_eq!(learning_rate(9, 100, 10, 1.0), 1.0);
        assert_eq!(learning_rate(10, 100, 10, 1.0), 1.0);
        assert!((learning_rate(55, 100, 10, 1.0) - 0.5).abs() < 1e-12);
        assert!(learning_rate(99, 100, 10, 1.0) < 1e-3);
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_is_legal() {
        assert_eq!(learning_rate(4, 5, 5, 2.0), 2.0);
    }
}
