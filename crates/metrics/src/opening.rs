//! Morphological opening.

use crate::Mask;

/// Opens a mask by a square of `side` pixels, an odd number: what the square fits into stays, everything thinner
/// goes.
///
/// The square may stick out of the picture, as if the mask went on there (as in OpenCV, whose default border never
/// changes a minimum or a maximum).
///
/// Source: Serra, Image Analysis and Mathematical Morphology, 1982.
pub(crate) fn opened(mask: &Mask, side: usize) -> Mask {
    let eroded = along_rows_and_columns(mask, side, |window| window.iter().all(|&on| on));
    along_rows_and_columns(&eroded, side, |window| window.iter().any(|&on| on))
}

/// Applies `decide` to the window of each pixel, first along rows, then along columns: the square is a product of
/// the two. Windows end where the picture does.
fn along_rows_and_columns(mask: &Mask, side: usize, decide: impl Fn(&[bool]) -> bool) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let reach = side / 2;
    let line = |line: &[bool]| -> Vec<bool> {
        (0..line.len())
            .map(|at| decide(&line[at.saturating_sub(reach)..(at + reach + 1).min(line.len())]))
            .collect()
    };
    let rows: Vec<Vec<bool>> = mask.pixels().chunks_exact(width).map(&line).collect();
    let columns: Vec<Vec<bool>> =
        (0..width).map(|x| line(&rows.iter().map(|row| row[x]).collect::<Vec<_>>())).collect();
    let pixels = (0..width * height).map(|at| columns[at % width][at / width]).collect();
    Mask::new(width, height, pixels).expect("as large as the mask")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(width: usize, pixels: &[u8]) -> Mask {
        Mask::new(width, pixels.len() / width, pixels.iter().map(|&on| on == 1).collect()).unwrap()
    }

    #[test]
    fn a_square_stays_and_a_hair_on_it_goes() {
        #[rustfmt::skip]
        let with_hair = mask(7, &[
            0, 0, 0, 0, 0, 0, 0,
            0, 0, 1, 1, 1, 0, 0,
            0, 0, 1, 1, 1, 1, 0,
            0, 0, 1, 1, 1, 0, 0,
            0, 0, 0, 0, 0, 0, 0,
        ]);
        let mut bare = with_hair.pixels().to_vec();
        bare[2 * 7 + 5] = false;
        assert_eq!(opened(&with_hair, 3).pixels(), bare);
        assert!(opened(&with_hair, 5).is_empty());
    }

    #[test]
    fn at_the_end_of_the_picture_the_mask_goes_on() {
        // Two columns at the left end are as good as four.
        let strip = mask(4, &[1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
        assert_eq!(opened(&strip, 3), strip);
        let full = mask(3, &[1; 6]);
        assert_eq!(opened(&full, 5), full);
    }

    proptest! {
        #[test]
        fn opening_adds_nothing_and_opening_again_changes_nothing(
            pixels in proptest::collection::vec(proptest::bool::weighted(0.8), 1..150), width in 1..14usize,
        ) {
            prop_assume!(pixels.len() >= width);
            let height = pixels.len() / width;
            let mask = Mask::new(width, height, pixels[..width * height].to_vec()).unwrap();
            let once = opened(&mask, 3);
            prop_assert!(once.pixels().iter().zip(mask.pixels()).all(|(&after, &before)| before || !after));
            prop_assert_eq!(opened(&once, 3), once);
        }
    }
}
