//! Connected regions of a mask.

/// A connected part of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its pixels, as a mask of the same size.
    pub mask: Vec<bool>,
    /// Number of its pixels.
    pub area: usize,
    /// `(x0, y0, x1, y1)`: outer edges, so that `x1 - x0` is its width in pixels.
    pub edges: [usize; 4],
}

/// The largest region of pixels that touch each other side by side, the first in reading order of equals; `None` for
/// an empty mask.
///
/// # Panics
///
/// Panics if `mask` is not a whole number of rows of `width` pixels: a bug in the caller.
pub fn largest_region(mask: &[bool], width: usize) -> Option<Region> {
    assert!(width > 0 && mask.len().is_multiple_of(width), "whole rows");
    let mut left = mask.to_vec();
    let mut largest: Option<(Vec<usize>, usize)> = None;
    let mut next = 0;
    while let Some(first) = (next..left.len()).find(|at| left[*at]) {
        next = first + 1;
        let pixels = take(&mut left, width, first);
        if largest.as_ref().is_none_or(|(_, area)| pixels.len() > *area) {
            let area = pixels.len();
            largest = Some((pixels, area));
        }
    }
    let (pixels, area) = largest?;
    let mut region =
        Region { mask: vec![false; mask.len()], area, edges: [usize::MAX, usize::MAX, 0, 0] };
    for at in pixels {
        let (x, y) = (at % width, at / width);
        let [x0, y0, x1, y1] = region.edges;
        region.edges = [x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)];
        region.mask[at] = true;
    }
    Some(region)
}

/// Takes the region of a pixel out of a mask.
fn take(mask: &mut [bool], width: usize, first: usize) -> Vec<usize> {
    mask[first] = false;
    let mut pixels = vec![first];
    let mut seen = 0;
    while let Some(&at) = pixels.get(seen) {
        seen += 1;
        let x = at % width;
        let neighbors = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then(|| at + 1),
            at.checked_sub(width),
            Some(at + width).filter(|below| *below < mask.len()),
        ];
        for neighbor in neighbors.into_iter().flatten() {
            if mask[neighbor] {
                mask[neighbor] = false;
                pixels.push(neighbor);
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Vec<bool> {
        rows.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect()
    }

    #[test]
    fn the_largest_region_wins_and_corners_do_not_connect() {
        let drawn = mask(&["##..#", "##.#.", "...##", "#..##"]);
        let region = largest_region(&drawn, 5).expect("a region");
        assert_eq!((region.area, region.edges), (5, [3, 1, 5, 4]));
        assert_eq!(region.mask, mask(&[".....", "...#.", "...##", "...##"]));
        // Rows do not run on into each other.
        let drawn = mask(&["..##", "##.."]);
        assert_eq!(largest_region(&drawn, 4).map(|region| region.edges), Some([2, 0, 4, 1]));
        assert_eq!(largest_region(&[false; 4], 2), None);
    }
}
