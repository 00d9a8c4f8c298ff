//! Where a prediction is wrong most: the place that a user would click next.

use crate::distance::nearest_foreground;
use crate::mask::check_same_size;
use crate::{Mask, MetricsError};

/// The middle of the thickest wrong part of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCenter {
    /// Column, in pixels of the masks.
    pub x: usize,
    /// Row.
    pub y: usize,
    /// Whether the pixel is foreground that the prediction lacks. Else it is background that the prediction has.
    pub missed: bool,
    /// Squared distance to the nearest pixel that is not wrong in this way, in pixels; beyond the border nothing is
    /// wrong.
    pub squared_depth: usize,
}

/// The wrong pixel that lies deepest inside of what is wrong in the same way: missed foreground or false foreground.
/// `None` if every wrong pixel was clicked already, and so if none is wrong.
///
/// Both kinds of error get an exact Euclidean distance transform, in which pixels beyond the border of the image count
/// as right, and the deeper of the two deepest pixels wins. Pixels of `clicked`, `(x, y)`, are never chosen again. Of
/// equals, false foreground comes before missed foreground, then the topmost, then the leftmost.
///
/// This is the user of the interactive evaluation of RITM (Sofiiuk, Petrov and Konushin, Reviving Iterative Training
/// with Mask Guidance for Interactive Segmentation, ICIP 2022, section 4; ties as in its published code), which SAM's
/// own evaluation takes over (Kirillov et al., Segment Anything, ICCV 2023, appendix D.1).
///
/// # Errors
///
/// [`MetricsError::Size`] if the masks differ in size.
pub fn error_center(
    prediction: &Mask,
    truth: &Mask,
    clicked: &[(usize, usize)],
) -> Result<Option<ErrorCenter>, MetricsError> {
    check_same_size((prediction.width(), prediction.height()), truth)?;
    let deepest_false = deepest(prediction, truth, clicked)
        .map(|(x, y, squared_depth)| ErrorCenter { x, y, missed: false, squared_depth });
    let deepest_missed = deepest(truth, prediction, clicked)
        .map(|(x, y, squared_depth)| ErrorCenter { x, y, missed: true, squared_depth });
    Ok(match (deepest_false, deepest_missed) {
        (Some(false_), Some(missed)) if missed.squared_depth > false_.squared_depth => Some(missed),
        (false_, missed) => false_.or(missed),
    })
}

/// Column, row and squared depth of the deepest pixel of what is in `with` and not in `without`, among those that were
/// not clicked.
fn deepest(
    with: &Mask,
    without: &Mask,
    clicked: &[(usize, usize)],
) -> Option<(usize, usize, usize)> {
    let (width, height) = (with.width(), with.height());
    let inside: Vec<bool> = with
        .pixels()
        .iter()
        .zip(without.pixels())
        .map(|(&with, &without)| with && !without)
        .collect();
    if !inside.contains(&true) {
        return None;
    }
    // One row of right pixels around everything, so that the border is an edge of what is wrong.
    let (padded_width, padded_height) = (width + 2, height + 2);
    let mut outside = vec![true; padded_width * padded_height];
    for (row, padded) in
        inside.chunks_exact(width).zip(outside.chunks_exact_mut(padded_width).skip(1))
    {
        for (&inside, outside) in row.iter().zip(&mut padded[1..]) {
            *outside = !inside;
        }
    }
    let outside = Mask::new(padded_width, padded_height, outside).ok()?;
    let mut best = None::<(usize, usize, usize)>;
    nearest_foreground(&outside, |row| {
        for (at, &squared) in row.squared.iter().enumerate() {
            let squared = squared as usize;
            if squared == 0 || best.is_some_and(|(.., most)| squared <= most) {
                continue;
            }
            let place = (at - 1, row.y - 1);
            if !clicked.contains(&place) {
                best = Some((place.0, place.1, squared));
            }
        }
    });
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A mask from rows of `#` and `.`.
    fn mask(rows: &[&str]) -> Mask {
        let pixels = rows.iter().flat_map(|row| row.chars()).map(|c| c == '#').collect();
        Mask::new(rows[0].len(), rows.len(), pixels).unwrap()
    }

    const TRUTH: [&str; 5] = [
        ".......", //
        ".#####.", ".#####.", ".#####.", ".......",
    ];

    #[test]
    fn the_first_click_goes_to_the_middle_of_the_object() {
        let empty = mask(&["......."; 5]);
        let center = error_center(&empty, &mask(&TRUTH), &[]).unwrap();
        // Three pixels of the middle row are two away from the outside; the leftmost of them.
        assert_eq!(center, Some(ErrorCenter { x: 2, y: 2, missed: true, squared_depth: 4 }));
    }

    #[test]
    fn the_deeper_error_is_clicked_and_its_kind_is_told() {
        let truth = mask(&["#.....", "#.....", "#....."]);
        // One column is missed, and a square of three by three is too much.
        let prediction = mask(&["...###", "...###", "...###"]);
        let center = error_center(&prediction, &truth, &[]).unwrap();
        assert_eq!(center, Some(ErrorCenter { x: 4, y: 1, missed: false, squared_depth: 4 }));
    }

    #[test]
    fn what_was_clicked_is_not_clicked_again_and_equals_go_by_kind_and_place() {
        let (truth, prediction) = (mask(&["#..."]), mask(&["..##"]));
        let mut clicked = Vec::new();
        let mut order = Vec::new();
        while let Some(center) = error_center(&prediction, &truth, &clicked).unwrap() {
            clicked.push((center.x, center.y));
            order.push((center.x, center.missed));
        }
        assert_eq!(order, [(2, false), (3, false), (0, true)]);
    }

    #[test]
    fn a_right_prediction_has_no_error_and_another_size_is_refused() {
        let truth = mask(&TRUTH);
        assert_eq!(error_center(&truth, &truth, &[]), Ok(None));
        let error = error_center(&mask(&["#"]), &truth, &[]).unwrap_err();
        assert!(matches!(error, MetricsError::Size { .. }), "{error}");
    }

    #[test]
    fn where_everything_is_wrong_the_border_is_the_edge() {
        let (all, none) = (mask(&["#####"; 5]), mask(&["....."; 5]));
        let center = error_center(&none, &all, &[]).unwrap();
        assert_eq!(center, Some(ErrorCenter { x: 2, y: 2, missed: true, squared_depth: 9 }));
    }

    /// The definition, by looking at all pairs of pixels.
    fn by_search(
        prediction: &Mask,
        truth: &Mask,
        clicked: &[(usize, usize)],
    ) -> Option<ErrorCenter> {
        let (width, height) = (truth.width() as i64, truth.height() as i64);
        let mut best = None::<ErrorCenter>;
        for missed in [false, true] {
            let wrong = |x: i64, y: i64| {
                let within = (0..width).contains(&x) && (0..height).contains(&y);
                let at = (y * width + x) as usize;
                within && truth.pixels()[at] == missed && prediction.pixels()[at] != missed
            };
            for y in 0..height {
                for x in 0..width {
                    if !wrong(x, y) || clicked.contains(&(x as usize, y as usize)) {
                        continue;
                    }
                    let everywhere = (-1..=height).flat_map(|v| (-1..=width).map(move |u| (u, v)));
                    let right = everywhere.filter(|&(u, v)| !wrong(u, v));
                    let depth = right.map(|(u, v)| (u - x).pow(2) + (v - y).pow(2)).min();
                    let squared_depth = depth.unwrap() as usize;
                    if best.is_none_or(|best| squared_depth > best.squared_depth) {
                        best = Some(ErrorCenter {
                            x: x as usize,
                            y: y as usize,
                            missed,
                            squared_depth,
                        });
                    }
                }
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_center_is_that_of_the_definition_and_lies_on_an_error(
            (width, prediction, truth) in (1..9usize, 1..9usize).prop_flat_map(|(width, height)| {
                let pixels = || prop::collection::vec(prop::bool::weighted(0.7), width * height);
                (Just(width), pixels(), pixels())
            }),
            clicks in 0..4usize,
        ) {
            let height = truth.len() / width;
            let prediction = Mask::new(width, height, prediction).unwrap();
            let truth = Mask::new(width, height, truth).unwrap();
            let mut clicked = Vec::new();
            for _ in 0..=clicks {
                let center = error_center(&prediction, &truth, &clicked).unwrap();
                prop_assert_eq!(center, by_search(&prediction, &truth, &clicked));
                let Some(ErrorCenter { x, y, missed, .. }) = center else { break };
                prop_assert_eq!(truth.row(y)[x], missed);
                prop_assert_eq!(prediction.row(y)[x], !missed);
                prop_assert!(!clicked.contains(&(x, y)));
                clicked.push((x, y));
            }
        }
    }
}
