//! How far the pixels of a mask are from its outside.

/// Squared Euclidean distance of every pixel of a mask to the nearest pixel outside of it, 0 outside; beyond the
/// border everything is outside. Exact, in pixels.
///
/// Columns first, then rows: the nearest outside pixel of a row at distance `d` columns is at least `d` away, so a row
/// is searched only as far as that helps (after Saito and Toriwaki, Pattern Recognition 27, 1994).
///
/// # Panics
///
/// Panics if `mask` is not a whole number of rows of `width` pixels: a bug in the caller.
pub fn squared_distances(mask: &[bool], width: usize) -> Vec<usize> {
    assert!(width > 0 && mask.len().is_multiple_of(width), "whole rows");
    let height = mask.len() / width;
    // Along the column: up to the pixel itself from above, then from below.
    let mut vertical = vec![0_usize; mask.len()];
    for x in 0..width {
        let mut run = 0;
        for y in 0..height {
            run = if mask[y * width + x] { run + 1 } else { 0 };
            vertical[y * width + x] = run;
        }
        run = 0;
        for y in (0..height).rev() {
            run = if mask[y * width + x] { run + 1 } else { 0 };
            let value = &mut vertical[y * width + x];
            *value = run.min(*value);
        }
    }
    let mut distances = vec![0; mask.len()];
    for (row, result) in vertical.chunks_exact(width).zip(distances.chunks_exact_mut(width)) {
        for x in 0..width {
            // The border left and right is outside.
            let edge = (x + 1).min(width - x);
            let mut best = (row[x] * row[x]).min(edge * edge);
            let mut d = 1;
            while d * d < best && (d <= x || x + d < width) {
                let others = [x.checked_sub(d), Some(x + d).filter(|at| *at < width)];
                for at in others.into_iter().flatten() {
                    best = best.min(d * d + row[at] * row[at]);
                }
                d += 1;
            }
            result[x] = best;
        }
    }
    distances
}

/// The pixel of a mask that is farthest from everything outside, the first in reading order of equals; `None` for an
/// empty mask.
pub fn deepest(mask: &[bool], width: usize) -> Option<usize> {
    let distances = squared_distances(mask, width);
    let better = |best: usize, other: usize| match distances[other] > distances[best] {
        true => other,
        false => best,
    };
    (0..distances.len()).reduce(better).filter(|at| mask[*at])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By looking at every pair, with a ring of outside pixels around the mask.
    fn by_definition(mask: &[bool], width: usize) -> Vec<usize> {
        let height = mask.len() / width;
        let (wide, high) = (width as isize, height as isize);
        let outside = |x: isize, y: isize| {
            !(0..wide).contains(&x) || !(0..high).contains(&y) || !mask[(y * wide + x) as usize]
        };
        let pixels = (0..high).flat_map(|y| (0..wide).map(move |x| (x, y)));
        let nearest = |(x, y): (isize, isize)| {
            let all = (-1..=high).flat_map(|v| (-1..=wide).map(move |u| (u, v)));
            let distance =
                |(u, v): (isize, isize)| ((u - x) * (u - x) + (v - y) * (v - y)) as usize;
            all.filter(|&(u, v)| outside(u, v)).map(distance).min().unwrap()
        };
        pixels.map(nearest).collect()
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_definition(
            width in 1_usize..9,
            bits in prop::collection::vec(prop::bool::weighted(0.8), 1..80),
        ) {
            let mask = &bits[..bits.len() / width * width];
            prop_assume!(!mask.is_empty());
            prop_assert_eq!(squared_distances(mask, width), by_definition(mask, width));
        }
    }

    #[test]
    fn the_deepest_pixel_of_a_rectangle_is_the_first_of_its_middle() {
        let mask: Vec<bool> =
            (0..80).map(|at| (2..9).contains(&(at % 10)) && (1..6).contains(&(at / 10))).collect();
        // Rows 1 to 5, columns 2 to 8: three deep in row 3, columns 4 to 6.
        assert_eq!(deepest(&mask, 10), Some(3 * 10 + 4));
        assert_eq!(squared_distances(&mask, 10)[34], 9);
        assert_eq!(deepest(&[false; 6], 3), None);
        assert_eq!(deepest(&[true; 9], 3), Some(4), "the border is outside");
    }
}
