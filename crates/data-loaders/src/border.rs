//! The dark border of endoscopic images.

use image::RgbImage;

/// A pixel is bright if its red, green and blue sum to more than this.
const DARK_SUM: u16 = 20;
/// A row or column belongs to the picture if it has more bright pixels than this.
const MIN_BRIGHT: usize = 10;
/// Side of the square at the top left that counts as dark: devices write something there.
const IGNORED_SIDE: u32 = 20;

/// A rectangle of an image, in its pixels. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The area within the dark border: from the first to the last row, and from the first to the last
/// column, with more than 10 bright pixels (red + green + blue > 20). The 20 x 20 pixels at the top left
/// count as dark.
///
/// An image in which no row or no column qualifies keeps its whole area.
///
/// Source: the pre-processing of the ProMISe paper's published code.
pub fn bright_area(image: &RgbImage) -> Area {
    let (width, height) = image.dimensions();
    let mut in_rows = vec![0_usize; height as usize];
    let mut in_columns = vec![0_usize; width as usize];
    for ((y, row), in_row) in (0..).zip(image.rows()).zip(&mut in_rows) {
        for ((x, pixel), in_column) in (0..).zip(row).zip(&mut in_columns) {
            let sum: u16 = pixel.0.iter().map(|&value| u16::from(value)).sum();
            let ignored = x < IGNORED_SIDE && y < IGNORED_SIDE;
            if sum > DARK_SUM && !ignored {
                *in_row += 1;
                *in_column += 1;
            }
        }
    }
    match (extent(&in_columns), extent(&in_rows)) {
        (Some((left, width)), Some((top, height))) => Area { left, top, width, height },
        _ => Area { left: 0, top: 0, width, height },
    }
}

/// First row or column that belongs to the picture, and how many there are to the last.
fn extent(bright: &[usize]) -> Option<(u32, u32)> {
    let first = bright.iter().position(|&count| count > MIN_BRIGHT)?;
    let last = bright.iter().rposition(|&count| count > MIN_BRIGHT)?;
    Some((first as u32, (last - first + 1) as u32))
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;

    /// Black but for pixels in the areas given.
    fn drawn(width: u32, height: u32, bright: &[Area], value: [u8; 3]) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let inside = bright.iter().any(|area| {
                (area.left..area.left + area.width).contains(&x)
                    && (area.top..area.top + area.height).contains(&y)
            });
            Rgb(if inside { value } else { [2, 2, 2] })
        })
    }

    const PICTURE: Area = Area { left: 30, top: 5, width: 50, height: 40 };

    #[test]
    fn the_sum_of_the_channels_must_exceed_20() {
        assert_eq!(bright_area(&drawn(100, 60, &[PICTURE], [7, 7, 7])), PICTURE);
        let whole = Area { left: 0, top: 0, width: 100, height: 60 };
        assert_eq!(bright_area(&drawn(100, 60, &[PICTURE], [20, 0, 0])), whole);
        assert_eq!(bright_area(&drawn(100, 60, &[PICTURE], [21, 0, 0])), PICTURE);
    }

    #[test]
    fn a_row_or_column_needs_more_than_10_bright_pixels() {
        // Text of 10 pixels below the picture, and a line of 11 rows at its right.
        let text = Area { left: 40, top: 50, width: 10, height: 1 };
        let line = Area { left: 90, top: 10, width: 1, height: 11 };
        let image = drawn(100, 60, &[PICTURE, text, line], [200; 3]);
        assert_eq!(bright_area(&image), Area { left: 30, top: 5, width: 61, height: 40 });
    }

    #[test]
    fn the_square_at_the_top_left_is_ignored() {
        let label = Area { left: 0, top: 0, width: 20, height: 20 };
        assert_eq!(bright_area(&drawn(100, 60, &[PICTURE, label], [255; 3])), PICTURE);
        let larger = Area { left: 0, top: 0, width: 20, height: 31 };
        let image = drawn(100, 60, &[PICTURE, larger], [255; 3]);
        assert_eq!(bright_area(&image).left, 0, "11 of its rows lie below the square");
    }

    #[test]
    fn an_image_without_a_bright_area_is_kept_whole() {
        for image in [RgbImage::new(64, 32), RgbImage::from_pixel(8, 8, Rgb([255; 3]))] {
            let (width, height) = image.dimensions();
            assert_eq!(bright_area(&image), Area { left: 0, top: 0, width, height });
        }
    }

    proptest! {
        #[test]
        fn a_bright_rectangle_is_found(
            left in 20..60u32, top in 20..60u32, width in 11..40u32, height in 11..40u32,
        ) {
            let area = Area { left, top, width, height };
            prop_assert_eq!(bright_area(&drawn(100, 100, &[area], [9, 8, 7])), area);
        }
    }
}
