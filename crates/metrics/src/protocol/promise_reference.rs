//! Protocol `promise_reference`: what the published code of ProMISe reports, faults included.
//!
//! - size: 256 x 256, whatever the pictures are; the caller resized the soft map to it, and distances, areas and
//!   thin structures are those of the small picture
//! - ground truth: resized bilinearly to 256 x 256, then every value above 0 is foreground, so a mask grows by up to
//!   a pixel
//! - cut: foreground is `p > 0.5`, then opened by a square of 5 x 5 pixels, so what is thinner than five pixels
//!   is never predicted
//! - every measure, the error too, is that of the opened binary mask
//! - both masks empty: IoU is 0; Dice, precision and the rest that is undefined are missing, never a number
//!
//! For comparison with the published numbers, not for new ones. Source: the reference code of Wang et al., ProMISe:
//! Promptable Medical Image Segmentation using SAM, arXiv 2403.04164.

use super::{CaseScores, Column, default::THRESHOLD};
use crate::opening::opened;
use crate::{
    Mask, MaskCounts, Measure, MetricsError, SoftMap, dice, e_measure, f_beta, iou, mae, precision,
    recall, s_measure,
};

/// Side of the square that is compared on, in pixels.
pub(super) const SIDE: usize = 256;
/// Side of the square that predictions are opened by, in pixels.
const OPENING: usize = 5;

pub(super) const COLUMNS: &[Column] = &[
    Column::Mean(Measure::Mae),
    Column::Mean(Measure::Dice),
    Column::Mean(Measure::Iou),
    Column::Mean(Measure::SMeasure),
    Column::Mean(Measure::EMeasure),
    Column::Mean(Measure::FBeta),
];

pub(super) const MEASURES: &[Measure] = &[
    Measure::Dice,
    Measure::Iou,
    Measure::Mae,
    Measure::Precision,
    Measure::Recall,
    Measure::FBeta,
    Measure::SMeasure,
    Measure::EMeasure,
];

pub(super) fn score(prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
    let truth = grown(truth);
    prediction.check_same_size(&truth)?;
    let mask = opened(&prediction.above(THRESHOLD), OPENING);
    let counts = MaskCounts::between(&mask, &truth)?;
    let binary = SoftMap::of_mask(&mask);
    Ok(CaseScores::new(vec![
        (Measure::Dice, dice(counts)),
        (Measure::Iou, Some(iou(counts).unwrap_or(0.0))),
        (Measure::Mae, Some(mae(&binary, &truth)?)),
        (Measure::Precision, precision(counts)),
        (Measure::Recall, recall(counts)),
        (Measure::FBeta, f_beta(counts)),
        (Measure::SMeasure, Some(s_measure(&binary, &truth)?)),
        (Measure::EMeasure, Some(e_measure(counts))),
    ]))
}

/// The truth resized to the square: foreground wherever bilinear interpolation gives more than 0.
fn grown(truth: &Mask) -> Mask {
    let columns: Vec<_> = (0..SIDE).map(|at| neighbors(at, truth.width())).collect();
    let pixels = (0..SIDE)
        .flat_map(|y| {
            let (top, bottom) = neighbors(y, truth.height());
            let rows = [top, bottom].map(|row| &truth.pixels()[row * truth.width()..]);
            columns
                .iter()
                .map(move |&(left, right)| rows.iter().any(|row| row[left] || row[right]))
                .collect::<Vec<_>>()
        })
        .collect();
    Mask::new(SIDE, SIDE, pixels).expect("as large as the square")
}

/// The pixels of a line of `length` that a pixel of the square is interpolated from with a weight above 0; twice
/// the same if it is one.
///
/// Pixel `i` of the square has its center at `(i + 0.5) * length / SIDE - 0.5`, not below 0.
fn neighbors(at: usize, length: usize) -> (usize, usize) {
    // In units of 1 / (2 * SIDE), to be exact.
    let unit = 2 * SIDE;
    let center = ((2 * at + 1) * length).saturating_sub(SIDE);
    let (below, rest) = (center / unit, center % unit);
    let above = if rest == 0 { below } else { (below + 1).min(length - 1) };
    (below.min(length - 1), above)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Protocol;

    /// A mask of the square that is on where `on` says.
    fn square(on: impl Fn(usize, usize) -> bool) -> Mask {
        let pixels = (0..SIDE * SIDE).map(|at| on(at % SIDE, at / SIDE)).collect();
        Mask::new(SIDE, SIDE, pixels).unwrap()
    }

    #[test]
    fn an_interpolated_pixel_leans_on_its_two_neighbors() {
        // As many pixels: each is its own center.
        assert_eq!([0, 1, 255].map(|at| neighbors(at, 256)), [(0, 0), (1, 1), (255, 255)]);
        // Twice as many: centers between two pixels.
        assert_eq!([0, 1, 255].map(|at| neighbors(at, 512)), [(0, 1), (2, 3), (510, 511)]);
        // Half as many: -0.25 is 0, then 0.25, 0.75, ..., and 127.25 has nothing above it.
        assert_eq!(
            [0, 1, 2, 255].map(|at| neighbors(at, 128)),
            [(0, 0), (0, 1), (0, 1), (127, 127)]
        );
        // Three times as many: the center pixel of three.
        assert_eq!([0, 1].map(|at| neighbors(at, 768)), [(1, 1), (4, 4)]);
        assert_eq!([0, 255].map(|at| neighbors(at, 1)), [(0, 0), (0, 0)]);
    }

    #[test]
    fn a_truth_of_another_size_grows_by_up_to_a_pixel() {
        // One pixel of 128 becomes four of 256, since two on either side lean on it.
        let mut pixels = vec![false; 128 * 128];
        pixels[64 * 128 + 64] = true;
        let truth = Mask::new(128, 128, pixels).unwrap();
        let expected = square(|x, y| (127..=130).contains(&x) && (127..=130).contains(&y));
        assert_eq!(grown(&truth), expected);
        assert_eq!(grown(&expected), expected);
    }

    #[test]
    fn a_thin_prediction_is_opened_away() {
        let object = square(|x, y| (50..60).contains(&x) && (50..60).contains(&y));
        let with_line = square(|x, y| {
            (50..60).contains(&x) && (50..60).contains(&y) || (100..104).contains(&x)
        });
        let scores = score(&SoftMap::of_mask(&with_line), &object).unwrap();
        assert_eq!((scores.get(Measure::Dice), scores.get(Measure::Mae)), (Some(1.0), Some(0.0)));
        let only_line = square(|x, _| (100..104).contains(&x));
        let scores = score(&SoftMap::of_mask(&only_line), &object).unwrap();
        assert_eq!((scores.get(Measure::Dice), scores.get(Measure::FBeta)), (Some(0.0), Some(0.0)));
        assert_eq!(scores.get(Measure::Mae), Some(100.0 / 65536.0));
    }

    #[test]
    fn two_empty_masks_have_an_iou_of_zero_and_no_dice() {
        let empty = square(|_, _| false);
        let scores = score(&SoftMap::of_mask(&empty), &empty).unwrap();
        assert_eq!((scores.get(Measure::Iou), scores.get(Measure::Dice)), (Some(0.0), None));
        assert_eq!(
            (scores.get(Measure::Mae), scores.get(Measure::SMeasure)),
            (Some(0.0), Some(1.0))
        );
    }

    #[test]
    fn the_map_has_the_size_of_the_square() {
        assert_eq!(Protocol::PromiseReference.size(640, 480), (256, 256));
        let truth = Mask::new(4, 2, vec![true; 8]).unwrap();
        let map = SoftMap::new(4, 2, vec![0.0; 8]).unwrap();
        let error = Protocol::PromiseReference.score(&map, &truth).unwrap_err();
        assert_eq!(error, MetricsError::Size { prediction: (4, 2), truth: (256, 256) });
    }
}
