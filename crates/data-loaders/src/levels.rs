//! The gray levels of a mask at the depth of its file.

use std::path::Path;

use image::DynamicImage;

use crate::DataError;

/// A mask pixel whose largest and smallest channel differ by more than this, of 255, has a color. The chroma
/// noise of a gray JPEG is far below.
const COLOR_DISTANCE: u16 = 64;

/// The level of each pixel of a mask.
pub(crate) struct Levels {
    /// Row by row from the top-left corner.
    pub(crate) values: Vec<u16>,
    /// The level of white: 255, or 65,535 for a file of 16 bits.
    pub(crate) white: u16,
    /// How many pixels had a color.
    pub(crate) colored_pixels: usize,
    /// The largest value of any channel but alpha.
    brightest: u16,
}

impl Levels {
    /// Gray as it is, a slight tint as luma (Rec. 709), a color by its brightest channel.
    pub(crate) fn of_mask(mask: &DynamicImage) -> Self {
        let is_deep = matches!(
            mask,
            DynamicImage::ImageLuma16(_)
                | DynamicImage::ImageLumaA16(_)
                | DynamicImage::ImageRgb16(_)
                | DynamicImage::ImageRgba16(_)
        );
        let (values, white): (Vec<u16>, u16) = if is_deep {
            (mask.to_luma16().into_raw(), u16::MAX)
        } else {
            let values = mask.to_luma8().into_raw();
            (values.into_iter().map(u16::from).collect(), u16::from(u8::MAX))
        };
        let mut levels = Self { values, white, colored_pixels: 0, brightest: 0 };
        match (mask.color().has_color(), is_deep) {
            (false, _) => levels.brightest = levels.max(),
            (true, true) => levels.see_colors(mask.to_rgb16().pixels().map(|pixel| pixel.0)),
            (true, false) => {
                levels.see_colors(mask.to_rgb8().pixels().map(|pixel| pixel.0.map(u16::from)));
            }
        }
        levels
    }

    fn see_colors(&mut self, pixels: impl Iterator<Item = [u16; 3]>) {
        let distance = COLOR_DISTANCE * (self.white / u16::from(u8::MAX));
        for (level, [r, g, b]) in self.values.iter_mut().zip(pixels) {
            let (low, high) = (r.min(g).min(b), r.max(g).max(b));
            self.brightest = self.brightest.max(high);
            if high - low > distance {
                *level = high;
                self.colored_pixels += 1;
            }
        }
    }

    fn max(&self) -> u16 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    /// Refuses a mask that is not all black, but all background.
    ///
    /// # Errors
    ///
    /// [`DataError::DimMask`]
    pub(crate) fn refuse_dim(&self, path: &Path) -> Result<(), DataError> {
        let max = match self.max() {
            // The luma of a dark color is rounded to black.
            0 => self.brightest,
            max => max,
        };
        if max == 0 || max > self.white / 2 {
            return Ok(());
        }
        Err(DataError::DimMask { max, white: self.white, path: path.into() })
    }

    /// The levels rounded to 8 bits, but nothing becomes black or white that was not.
    pub(crate) fn of_8_bits(&self) -> impl Iterator<Item = u8> + '_ {
        let (unit, white) = (self.white / u16::from(u8::MAX), self.white);
        self.values.iter().map(move |&level| match level {
            0 => 0,
            level if level == white => u8::MAX,
            level if unit == 1 => level as u8,
            level => ((u32::from(level) + 128) / u32::from(unit)).clamp(1, 254) as u8,
        })
    }
}
