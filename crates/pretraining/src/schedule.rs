//! The learning rate over time.

use std::f64::consts::PI;

/// Half a cosine from `peak` to zero, damped by a linear warm-up.
///
/// `step` counts from 0, `progress` is the share of the cosine that is done, from 0 to 1.
pub(crate) fn learning_rate(step: usize, warmup: usize, progress: f64, peak: f64) -> f64 {
    let warm = if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 };
    peak * warm * 0.5 * (1.0 + (PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_peak_and_falls_to_zero() {
        assert_eq!(learning_rate(0, 10, 0.0, 1.0), 0.1);
        assert_eq!(learning_rate(9, 10, 0.0, 1.0), 1.0);
        assert_eq!(learning_rate(0, 0, 0.0, 3.0), 3.0);
        assert!((learning_rate(55, 10, 0.5, 1.0) - 0.5).abs() < 1e-12);
        assert!(learning_rate(99, 10, 0.99, 1.0) < 1e-3);
    }
}
