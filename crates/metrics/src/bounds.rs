//! The bounding box of a mask.

use crate::Mask;

/// A bounding box; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// First column with foreground.
    pub(crate) left: usize,
    /// Last column with foreground.
    pub(crate) right: usize,
    /// First row with foreground.
    pub(crate) top: usize,
    /// Last row with foreground.
    pub(crate) bottom: usize,
}

impl Bounds {
    /// The box of the foreground, if there is some.
    pub(crate) fn of(mask: &Mask) -> Option<Self> {
        // Whole rows at a time: looking for the first pixel would take one after the other.
        let mut columns = vec![false; mask.width()];
        let mut rows = Vec::with_capacity(mask.height());
        for y in 0..mask.height() {
            let mut any = false;
            for (column, &on) in columns.iter_mut().zip(mask.row(y)) {
                *column |= on;
                any |= on;
            }
            rows.push(any);
        }
        let ends =
            |any: &[bool]| Some((any.iter().position(|&on| on)?, any.iter().rposition(|&on| on)?));
        let ((left, right), (top, bottom)) = (ends(&columns)?, ends(&rows)?);
        Some(Self { left, right, top, bottom })
    }

    /// Columns.
    pub(crate) fn width(&self) -> usize {
        self.right + 1 - self.left
    }

    /// Rows.
    pub(crate) fn height(&self) -> usize {
        self.bottom + 1 - self.top
    }

    /// The box with `reach` more on each side, as far as a picture of `width` and `height` goes.
    pub(crate) fn grown(self, reach: usize, width: usize, height: usize) -> Self {
        Self {
            left: self.left.saturating_sub(reach),
            right: (self.right + reach).min(width - 1),
            top: self.top.saturating_sub(reach),
            bottom: (self.bottom + reach).min(height - 1),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bounds(width: usize, pixels: &[u8]) -> Option<Bounds> {
        let height = pixels.len() / width;
        Bounds::of(&Mask::new(width, height, pixels.iter().map(|&on| on == 1).collect()).unwrap())
    }

    #[test]
    fn the_box_reaches_to_the_outermost_pixels() {
        #[rustfmt::skip]
        let found = bounds(5, &[
            0, 0, 0, 0, 0,
            0, 0, 1, 0, 0,
            0, 0, 0, 0, 0,
            0, 1, 0, 1, 0,
        ]);
        let expected = Bounds { left: 1, right: 3, top: 1, bottom: 3 };
        assert_eq!(found, Some(expected));
        assert_eq!((expected.width(), expected.height()), (3, 3));
    }

    #[test]
    fn nothing_has_no_box() {
        assert_eq!(bounds(2, &[0, 0, 0, 0]), None);
    }

    #[test]
    fn a_box_grows_as_far_as_the_picture() {
        let grown = Bounds { left: 1, right: 3, top: 2, bottom: 3 }.grown(2, 5, 9);
        assert_eq!(grown, Bounds { left: 0, right: 4, top: 0, bottom: 5 });
    }
}
