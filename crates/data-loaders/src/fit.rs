//! Whether a mask was drawn on the pixels of its image.

use image::metadata::Orientation;

/// The size of a picture as a viewer shows it, and how it was turned for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The EXIF orientation, 1 to 8; 1 if there is none.
    pub exif_orientation: u8,
}

impl Shown {
    pub(crate) fn new((width, height): (u32, u32), turn: Orientation) -> Self {
        Self { width, height, exif_orientation: turn.to_exif() }
    }

    /// Whether width and height were exchanged: orientations 5 to 8.
    fn is_on_its_side(self) -> bool {
        self.exif_orientation >= 5
    }
}

/// Whether an image and its mask belong together pixel by pixel, as far as sizes and EXIF data tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// They do.
    Fits,
    /// Their sizes differ, and no orientation explains it.
    Sizes,
    /// They are turned differently, and the mask was, or may have been, drawn on the image as it is stored.
    Orientation,
}

/// Whether a mask fits its image.
///
/// Both are shown turned as their EXIF data say. A mask without such data fits an image that has them if it was drawn on
/// the image as shown, and does not if it was drawn on the pixels as they are stored. Where width and height are
/// exchanged (orientations 5 to 8), the sizes tell, unless the image is square. A mirrored image, or one that stands
/// on its head (2 to 4), has the same size either way: nothing tells, and that is [`Fit::Orientation`].
pub fn fit(image: Shown, mask: Shown) -> Fit {
    let same_size = (image.width, image.height) == (mask.width, mask.height);
    let exchanged = (image.width, image.height) == (mask.height, mask.width);
    let on_one_side = image.is_on_its_side() == mask.is_on_its_side();
    if image.exif_orientation == mask.exif_orientation {
        if same_size { Fit::Fits } else { Fit::Sizes }
    } else if same_size && !on_one_side && image.width != image.height {
        Fit::Fits
    } else if same_size || (exchanged && !on_one_side) {
        Fit::Orientation
    } else {
        Fit::Sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_tells_only_if_sides_are_exchanged_and_differ() {
        let at = |width, height, exif_orientation| Shown { width, height, exif_orientation };
        for turned in 2..=8 {
            let on_its_side = turned > 4;
            // The mask was drawn on the image as shown, or on a square.
            let shown = if on_its_side { Fit::Fits } else { Fit::Orientation };
            assert_eq!(fit(at(3, 2, turned), at(3, 2, 1)), shown, "{turned}");
            assert_eq!(fit(at(3, 3, turned), at(3, 3, 1)), Fit::Orientation, "{turned}");
            // The mask was drawn on the image as stored.
            let stored = if on_its_side { at(2, 3, 1) } else { at(3, 2, 1) };
            assert_eq!(fit(at(3, 2, turned), stored), Fit::Orientation, "{turned}");
            assert_eq!(fit(at(3, 2, turned), at(3, 2, turned)), Fit::Fits, "{turned}");
            assert_eq!(fit(at(3, 2, turned), at(4, 2, 1)), Fit::Sizes, "{turned}");
        }
        assert_eq!(fit(at(3, 2, 1), at(2, 3, 1)), Fit::Sizes);
    }
}
