//! Where an image lies in the input: what a data set knows of its border, said in SAM's words.

use data_loaders::{Case, Prepared, PreparedFrame, bright_area};
use image::RgbImage;
use sam_backbone::{Crop, Frame, ImageSize, ResizeMode, input_image, input_mask};

/// The frame of an image in an input of side `input_size`.
///
/// Only [`ResizeMode::BorderCrop`] looks at the pixels, to find the border.
pub fn frame_of(image: &RgbImage, mode: ResizeMode, input_size: usize) -> Frame {
    let (width, height) = image.dimensions();
    let size = ImageSize { height: height as usize, width: width as usize };
    match mode {
        ResizeMode::Plain | ResizeMode::LongestSide => Frame::new(size, mode, input_size),
        ResizeMode::BorderCrop => {
            let area = bright_area(image);
            let crop = Crop {
                left: area.left as usize,
                top: area.top as usize,
                width: area.width as usize,
                height: area.height as usize,
            };
            Frame::of_crop(size, crop, input_size)
        }
    }
}

/// A case as the network sees it, before normalization, in an input of side `input_size`.
pub fn prepared(case: &Case, mode: ResizeMode, input_size: usize) -> Prepared {
    let frame = frame_of(&case.image, mode, input_size);
    let Frame { image, crop, .. } = frame;
    let [width, height] = frame.content_size();
    Prepared {
        image: input_image(&case.image, &frame),
        mask: input_mask(&case.truth.to_gray(), &frame),
        frame: PreparedFrame {
            image_width: image.width as u32,
            image_height: image.height as u32,
            crop_left: crop.left as u32,
            crop_top: crop.top as u32,
            crop_width: crop.width as u32,
            crop_height: crop.height as u32,
            scale_x: f64::from(width) / crop.width as f64,
            scale_y: f64::from(height) / crop.height as f64,
        },
    }
}

#[cfg(test)]
mod tests {
    use data_loaders::TruthMask;
    use image::Rgb;

    use super::*;

    #[test]
    fn a_prepared_case_says_how_to_go_back() {
        let image = RgbImage::from_fn(80, 60, |x, y| {
            Rgb([if (25..70).contains(&x) && (21..50).contains(&y) { 90 } else { 0 }; 3])
        });
        let values = (0..80 * 60).map(|at| at % 80 >= 40 && at / 80 >= 30).collect();
        let truth = TruthMask::new(80, 60, values);
        let (id, data) = ("a".to_owned(), "d".to_owned());
        let case = Case { id, data, image, truth, mask_gray_pixels: 0 };
        let prepared = prepared(&case, ResizeMode::BorderCrop, 90);
        assert_eq!((prepared.image.dimensions(), prepared.mask.dimensions()), ((90, 90), (90, 90)));
        let frame = &prepared.frame;
        assert_eq!((frame.scale_x, frame.scale_y), (2.0, 2.0));
        assert_eq!((frame.crop_left, frame.crop_top), (25, 21));
        // The mask's corner at (40, 30) is at ((40 - 25) * 2, (30 - 21) * 2) of the input.
        let on = |x, y| prepared.mask.get_pixel(x, y).0[0] == 255;
        assert!(on(30, 18) && !on(29, 18) && !on(30, 17));
    }

    #[test]
    fn only_border_crop_looks_at_the_border() {
        let image = RgbImage::from_fn(80, 60, |x, y| {
            Rgb([if (25..70).contains(&x) && (21..50).contains(&y) { 90 } else { 0 }; 3])
        });
        let frame = frame_of(&image, ResizeMode::BorderCrop, 64);
        assert_eq!(frame.crop, Crop { left: 25, top: 21, width: 45, height: 29 });
        assert_eq!(frame.image, ImageSize { height: 60, width: 80 });
        for mode in [ResizeMode::Plain, ResizeMode::LongestSide] {
            let frame = frame_of(&image, mode, 64);
            assert_eq!(frame.crop, Crop { left: 0, top: 0, width: 80, height: 60 });
        }
    }
}
