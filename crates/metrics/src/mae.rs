//! Mean absolute error of a soft map.

use crate::lane_sum::lane_sum;
use crate::{Mask, MetricsError, SoftMap};

/// Mean absolute error of one case, in `[0, 1]`: 0 is best.
///
/// `MAE = sum |p - g| / (w * h)` with the soft map `p` and the ground truth `g` in `{0, 1}`
/// (Perazzi et al., Saliency Filters, CVPR 2012). No cut is made, so an unsure map is worse than a
/// sure one with the same mask.
///
/// # Edge cases
///
/// Defined for every pair of pictures of one size, empty masks included.
///
/// # Errors
///
/// [`MetricsError::Size`] if the two differ in size.
pub fn mae(prediction: &SoftMap, truth: &Mask) -> Result<f64, MetricsError> {
    prediction.check_same_size(truth)?;
    let sum = lane_sum(prediction.probabilities(), truth.pixels(), |p, g| (p - g).abs());
    Ok(sum / truth.pixels().len() as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mae_of_pixels_computed_by_hand() {
        // |0.25 - 0| + |0.5 - 1| + |1 - 1| + |1 - 0| = 1.75 over four pixels; all are exact in binary.
        let map = SoftMap::new(2, 2, vec![0.25, 0.5, 1.0, 1.0]).unwrap();
        let truth = Mask::new(2, 2, vec![false, true, true, false]).unwrap();
        assert_eq!(mae(&map, &truth), Ok(0.4375));
    }

    #[test]
    fn the_best_map_has_no_error_and_its_complement_the_largest() {
        let truth = Mask::new(3, 1, vec![false, true, true]).unwrap();
        assert_eq!(mae(&SoftMap::new(3, 1, vec![0.0, 1.0, 1.0]).unwrap(), &truth), Ok(0.0));
        assert_eq!(mae(&SoftMap::new(3, 1, vec![1.0, 0.0, 0.0]).unwrap(), &truth), Ok(1.0));
    }

    #[test]
    fn a_map_of_another_size_is_refused() {
        let map = SoftMap::new(2, 1, vec![0.0; 2]).unwrap();
        let truth = Mask::new(1, 2, vec![false; 2]).unwrap();
        assert_eq!(
            mae(&map, &truth),
            Err(MetricsError::Size { prediction: (2, 1), truth: (1, 2) })
        );
    }
}
