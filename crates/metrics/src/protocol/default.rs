//! Protocol `default`: what we recommend.
//!
//! - size: the ground truth's own; the caller resized the soft map to it
//! - cut: foreground is `p > 0.5`. Strictly greater, because SAM calls a pixel foreground where its
//!   logit is greater than 0, and the sigmoid of 0 is 0.5: an undecided pixel is background in
//!   both. A map that is 0.5 everywhere therefore predicts nothing instead of everything.
//! - both masks empty: no Dice and no IoU, so the case is skipped and counted
//! - exactly one mask empty: Dice and IoU are 0
//! - MAE on the soft map, before the cut

use super::CaseScores;
use crate::{Mask, MaskCounts, MetricsError, SoftMap, dice, iou, mae};

/// Probability above which a pixel is foreground.
const THRESHOLD: f32 = 0.5;

pub(super) fn score(prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
    let counts = MaskCounts::between(&prediction.above(THRESHOLD), truth)?;
    Ok(CaseScores { dice: dice(counts), iou: iou(counts), mae: mae(prediction, truth)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Protocol;

    fn map(probabilities: &[f32]) -> SoftMap {
        SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap()
    }

    fn truth(pixels: &[u8]) -> Mask {
        Mask::new(pixels.len(), 1, pixels.iter().map(|&pixel| pixel == 1).collect()).unwrap()
    }

    #[test]
    fn a_case_scored_by_hand() {
        // Cut: [1, 1, 0, 0]. TP 1, FP 1, FN 1. |errors| 0 + 0.75 + 0.5 + 0.25 = 1.5 over four.
        let scores = score(&map(&[1.0, 0.75, 0.5, 0.25]), &truth(&[1, 0, 1, 0])).unwrap();
        assert_eq!(scores, CaseScores { dice: Some(0.5), iou: Some(1.0 / 3.0), mae: 0.375 });
    }

    #[test]
    fn an_undecided_pixel_is_background() {
        let just_above = 0.5 + f32::EPSILON;
        let scores = score(&map(&[0.5, just_above]), &truth(&[1, 1])).unwrap();
        assert_eq!(scores.iou, Some(0.5));
    }

    #[test]
    fn two_empty_masks_have_an_error_and_no_overlap() {
        let scores = score(&map(&[0.25, 0.25]), &truth(&[0, 0])).unwrap();
        assert_eq!(scores, CaseScores { dice: None, iou: None, mae: 0.25 });
    }

    #[test]
    fn one_empty_mask_scores_zero() {
        let missed = score(&map(&[0.0, 0.0]), &truth(&[0, 1])).unwrap();
        assert_eq!((missed.dice, missed.iou), (Some(0.0), Some(0.0)));
        let invented = score(&map(&[0.0, 1.0]), &truth(&[0, 0])).unwrap();
        assert_eq!((invented.dice, invented.iou), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_map_of_another_size_is_refused() {
        let error = Protocol::Default.score(&map(&[0.0; 3]), &truth(&[0, 1])).unwrap_err();
        assert_eq!(error, MetricsError::Size { prediction: (3, 1), truth: (2, 1) });
    }

    proptest! {
        #[test]
        fn a_map_equal_to_its_truth_is_perfect(pixels in proptest::collection::vec(any::<bool>(), 1..200)) {
            let mask = Mask::new(pixels.len(), 1, pixels.clone()).unwrap();
            let map = map(&pixels.iter().map(|&on| f32::from(u8::from(on))).collect::<Vec<_>>());
            let scores = score(&map, &mask).unwrap();
            let overlap = (!mask.is_empty()).then_some(1.0);
            prop_assert_eq!(scores, CaseScores { dice: overlap, iou: overlap, mae: 0.0 });
        }

        #[test]
        fn turning_the_picture_changes_no_score(
            case in proptest::collection::vec((0.0..=1.0f32, any::<bool>()), 1..200)
        ) {
            let (probabilities, pixels): (Vec<_>, Vec<_>) = case.iter().copied().unzip();
            let (turned_map, turned): (Vec<_>, Vec<_>) = case.into_iter().rev().unzip();
            let mask = |pixels: Vec<bool>| Mask::new(pixels.len(), 1, pixels).unwrap();
            let upright = score(&map(&probabilities), &mask(pixels)).unwrap();
            let turned = score(&map(&turned_map), &mask(turned)).unwrap();
            prop_assert_eq!((upright.dice, upright.iou), (turned.dice, turned.iou));
            // The sum runs the other way round, so its last bits may differ.
            prop_assert!((upright.mae - turned.mae).abs() < 1e-12);
        }
    }
}
