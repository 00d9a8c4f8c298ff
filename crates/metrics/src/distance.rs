//! Exact Euclidean distance transform with the nearest pixel.

use std::ops::Range;

use crate::Mask;
use crate::bounds::Bounds;

/// What is known of a row of a picture: which foreground pixel is nearest to each of its pixels, and how far it is.
pub(crate) struct NearestInRow<'a> {
    /// The row.
    pub(crate) y: usize,
    /// Squared distance of each pixel to its nearest foreground pixel, in pixels, a whole number.
    pub(crate) squared: &'a [f64],
    envelope: &'a [Parabola],
    width: usize,
}

impl NearestInRow<'_> {
    /// The row from left to right in runs of pixels that have one nearest foreground pixel, and its place,
    /// `y * width + x`.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let ends = self.envelope.iter().skip(1).map(|next| next.from).chain([self.width]);
        self.envelope
            .iter()
            .zip(ends)
            .map(|(nearest, to)| (nearest.from..to, nearest.row * self.width + nearest.vertex))
    }
}

/// The row of a column that has no foreground, and its negative: beyond every picture.
const NONE: i32 = 1 << 29;

/// A parabola of the lower envelope of a row: squared distances to one foreground pixel.
struct Parabola {
    /// Column of the pixel.
    vertex: usize,
    /// Its row.
    row: usize,
    /// Squared distance of the rows plus squared column: what comparisons need of both.
    constant: f64,
    /// First pixel where it is the lowest.
    from: usize,
}

/// Finds the nearest foreground pixel of each pixel and hands it on row by row, from the top: what is made of it is
/// mostly less than it. Hands on nothing if there is no foreground.
///
/// Two passes, each linear in the pixels: the nearest in each column, then the lower envelope of the parabolas of
/// each row (Meijster, Roerdink and Hesselink, A General Algorithm for Computing Distance Transforms in Linear Time,
/// ISMM 2000). All numbers are whole and below 2^53, so distances are exact.
///
/// Of several pixels that are equally near, the leftmost counts, and of those in one column the topmost: the order of
/// `scipy.ndimage.distance_transform_edt`, which decides whose error the weighted F-measure copies.
pub(crate) fn nearest_foreground(mask: &Mask, mut consume: impl FnMut(NearestInRow<'_>)) {
    let Some(bounds) = Bounds::of(mask) else { return };
    let (width, height) = (mask.width(), mask.height());
    let columns: Vec<f64> = (0..width).map(|x| x as f64).collect();
    // Other columns have no foreground.
    let rows = nearest_rows(mask, bounds.left..bounds.right + 1);
    let mut squared = vec![0.0; width];
    let mut envelope: Vec<Parabola> = Vec::with_capacity(width);
    for (y, row) in rows.chunks_exact(bounds.width()).enumerate().take(height) {
        lower_envelope(row, bounds.left, width, y, &mut envelope);
        for (at, &Parabola { vertex, row, from, .. }) in envelope.iter().enumerate() {
            let to = envelope.get(at + 1).map_or(width, |next| next.from);
            let (vertex, dy) = (vertex as f64, row as f64 - y as f64);
            let lift = dy * dy;
            for (square, x) in squared[from..to].iter_mut().zip(&columns[from..to]) {
                let dx = x - vertex;
                *square = dx * dx + lift;
            }
        }
        consume(NearestInRow { y, squared: &squared, envelope: &envelope, width });
    }
}

/// The parabolas that are lowest somewhere in row `y` of a picture of `width` columns, from left to right. `nearest`
/// has the row of the nearest foreground pixel of each column from `left` on.
fn lower_envelope(
    nearest: &[i32],
    left: usize,
    width: usize,
    y: usize,
    envelope: &mut Vec<Parabola>,
) {
    envelope.clear();
    for (x, &row) in (left..).zip(nearest) {
        if row.abs() == NONE {
            continue;
        }
        let row = row as usize;
        let (column, dy) = (x as f64, row as f64 - y as f64);
        let constant = column * column + dy * dy;
        let mut from = 0;
        while let Some(last) = envelope.last() {
            if row == y && last.row == y && last.vertex + 1 == x {
                // Inside the foreground every pixel is its own nearest.
                from = x;
                break;
            }
            // They meet at `rise / run`; up to there the older one is not higher.
            let (rise, run) = (constant - last.constant, (2 * (x - last.vertex)) as f64);
            if last.from as f64 * run > rise {
                // Higher than the new one wherever it was the lowest.
                envelope.pop();
                continue;
            }
            // A quotient that is no whole number is farther from one than rounding reaches, so the whole part is exact.
            from = (rise / run) as usize + 1;
            break;
        }
        if from < width {
            envelope.push(Parabola { vertex: x, row, constant, from });
        }
    }
}

/// For each pixel of `columns`, row by row, the row of the nearest foreground pixel in its column, the upper one of two;
/// [`NONE`] or its negative if there is none.
fn nearest_rows(mask: &Mask, columns: Range<usize>) -> Vec<i32> {
    let (width, height) = (columns.len(), mask.height());
    let mut rows = vec![0; width * height];
    // So far away that whatever there is on the other side is nearer.
    let mut last = vec![-NONE; width];
    for y in 0..height {
        let pixels = &mask.row(y)[columns.clone()];
        for ((last, &on), row) in last.iter_mut().zip(pixels).zip(&mut rows[y * width..]) {
            *last = if on { y as i32 } else { *last };
            *row = *last;
        }
    }
    last.fill(NONE);
    for y in (0..height).rev() {
        let pixels = &mask.row(y)[columns.clone()];
        for ((last, &on), row) in last.iter_mut().zip(pixels).zip(&mut rows[y * width..]) {
            *last = if on { y as i32 } else { *last };
            // The lower one only if `last - y < y - row`. With neither, one of the two far ones
            // stays.
            *row = if *last + *row < 2 * y as i32 { *last } else { *row };
        }
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The nearest foreground pixel by looking at all of them, and its squared distance.
    fn by_search(mask: &Mask, x: usize, y: usize) -> (usize, f64) {
        let mut best: Option<(usize, usize, usize)> = None;
        for column in 0..mask.width() {
            for row in 0..mask.height() {
                let squared = x.abs_diff(column).pow(2) + y.abs_diff(row).pow(2);
                let on = mask.pixels()[row * mask.width() + column];
                // Columns from the left, rows from the top: the first of several stays.
                if on && best.is_none_or(|(least, _, _)| squared < least) {
                    best = Some((squared, column, row));
                }
            }
        }
        let (squared, column, row) = best.unwrap();
        (row * mask.width() + column, squared as f64)
    }

    /// Place and squared distance of the nearest, of all pixels.
    fn nearest(mask: &Mask) -> Vec<(usize, f64)> {
        let mut all = Vec::new();
        nearest_foreground(mask, |row| {
            assert_eq!(row.y, all.len() / mask.width(), "rows come in order");
            for (run, place) in row.runs() {
                assert_eq!(all.len(), row.y * mask.width() + run.start, "runs leave nothing out");
                all.extend(row.squared[run].iter().map(|&squared| (place, squared)));
            }
        });
        all
    }

    #[test]
    fn a_pixel_between_two_takes_the_left_one() {
        let mask = Mask::new(3, 1, vec![true, false, true]).unwrap();
        assert_eq!(nearest(&mask), [(0, 0.0), (0, 1.0), (2, 0.0)]);
        let mask = Mask::new(1, 3, vec![true, false, true]).unwrap();
        assert_eq!(nearest(&mask), [(0, 0.0), (0, 1.0), (2, 0.0)]);
    }

    #[test]
    fn without_foreground_nothing_is_near() {
        assert_eq!(nearest(&Mask::new(4, 2, vec![false; 8]).unwrap()), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn every_pixel_finds_what_a_search_finds(
            width in 1..14usize, height in 1..14usize, density in 1..60u32,
            numbers in proptest::collection::vec(0..100u32, 196),
        ) {
            let pixels: Vec<bool> = numbers[..width * height].iter().map(|&n| n < density).collect();
            let mask = Mask::new(width, height, pixels).unwrap();
            prop_assume!(!mask.is_empty());
            let nearest = nearest(&mask);
            for y in 0..height {
                for x in 0..width {
                    let at = y * width + x;
                    prop_assert_eq!(nearest[at], by_search(&mask, x, y));
                }
            }
        }
    }
}
