//! The confusion matrix of one case.

use crate::mask::{check_same_size, count_both};
use crate::{Mask, MetricsError};

/// Numbers of pixels by prediction and ground truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskCounts {
    /// Foreground in both.
    pub true_pos: u64,
    /// Foreground in the prediction only.
    pub false_pos: u64,
    /// Foreground in the ground truth only.
    pub false_neg: u64,
    /// Background in both.
    pub true_neg: u64,
}

impl MaskCounts {
    /// Counts the pixels of one case.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Size`] if the masks differ in size.
    pub fn between(prediction: &Mask, truth: &Mask) -> Result<Self, MetricsError> {
        check_same_size((prediction.width(), prediction.height()), truth)?;
        let true_pos = count_both(prediction, truth) as u64;
        let (predicted, actual) = (prediction.area() as u64, truth.area() as u64);
        let false_pos = predicted - true_pos;
        Ok(Self {
            true_pos,
            false_pos,
            false_neg: actual - true_pos,
            true_neg: truth.pixels().len() as u64 - actual - false_pos,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_is_counted_once_and_under_its_own_name() {
        let (t, f) = (true, false);
        let prediction = Mask::new(5, 2, vec![t, t, t, t, f, f, f, f, f, f]).unwrap();
        let truth = Mask::new(5, 2, vec![t, f, f, f, t, t, f, f, f, f]).unwrap();
        assert_eq!(
            MaskCounts::between(&prediction, &truth),
            Ok(MaskCounts { true_pos: 1, false_pos: 3, false_neg: 2, true_neg: 4 })
        );
    }

    #[test]
    fn masks_of_other_sizes_are_refused_even_with_as_many_pixels() {
        let wide = Mask::new(4, 1, vec![true; 4]).unwrap();
        let high = Mask::new(1, 4, vec![true; 4]).unwrap();
        let error = MaskCounts::between(&wide, &high).unwrap_err();
        assert_eq!(error.to_string(), "prediction has 4 x 1 pixels, ground truth 1 x 4");
    }
}
