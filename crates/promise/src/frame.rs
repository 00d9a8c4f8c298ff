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
        ResizeMode::Plain | ResizeMode::LongestSide | ResizeMode::MedSam => {
            Frame::new(size, mode, input_size)
        }
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
    use std::f64::consts::PI;

    use burn::tensor::{Device, Tensor, TensorData};
    use data_loaders::TruthMask;
    use image::Rgb;
    use proptest::prelude::*;
    use sam_backbone::masks_in_image;

    use super::*;

    /// An image with a black border and an ellipse within it, and how it is brought to the input.
    #[derive(Debug, Clone)]
    struct Scene {
        width: u32,
        height: u32,
        /// What is not border: left, top, right, bottom; the last two are outside.
        bright: [u32; 4],
        mode: ResizeMode,
        input_size: usize,
        /// Radii of the ellipse along x and y, in image pixels.
        radii: [f64; 2],
        center: [f64; 2],
    }

    impl Scene {
        fn case(&self) -> Case {
            let [left, top, right, bottom] = self.bright;
            let image = RgbImage::from_fn(self.width, self.height, |x, y| {
                let inside = (left..right).contains(&x) && (top..bottom).contains(&y);
                Rgb([if inside { 90 } else { 0 }; 3])
            });
            let on = |x: u32, y: u32| {
                let along = |at: u32, axis: usize| {
                    (f64::from(at) + 0.5 - self.center[axis]) / self.radii[axis]
                };
                along(x, 0).powi(2) + along(y, 1).powi(2) <= 1.0
            };
            let values =
                (0..self.width * self.height).map(|at| on(at % self.width, at / self.width));
            let truth = TruthMask::new(self.width, self.height, values.collect());
            let (id, data) = ("a".to_owned(), "d".to_owned());
            Case { id, data, image, truth, mask_gray_pixels: 0 }
        }
    }

    fn scenes() -> impl Strategy<Value = Scene> {
        let unit = || 0.0..=1.0_f64;
        let shape = (100..400_u32, 100..400_u32, 96..320_usize, 0..4_usize);
        let borders = [0..26_u32, 0..26, 0..26, 0..26];
        (shape, borders, [unit(), unit()], [unit(), unit()]).prop_map(
            |(shape, borders, sizes, places)| {
                let (width, height, input_size, mode) = shape;
                let [left, top, right, bottom] = borders;
                let bright = [left, top, width - right, height - bottom];
                let axis = |axis: usize| {
                    let (from, to) = (f64::from(bright[axis]), f64::from(bright[axis + 2]));
                    // At least half of what there is room for: a small ellipse has hardly any pixels left in
                    // a small input.
                    let radius = (to - from) / 2.0 * (0.5 + 0.4 * sizes[axis]);
                    (radius, from + radius + places[axis] * (to - from - 2.0 * radius))
                };
                let ((radius_x, x), (radius_y, y)) = (axis(0), axis(1));
                let mode = ResizeMode::ALL[mode];
                let (radii, center) = ([radius_x, radius_y], [x, y]);
                Scene { width, height, bright, mode, input_size, radii, center }
            },
        )
    }

    /// Mean place of the marked pixels, whose centers lie at halves.
    fn centroid(values: impl Iterator<Item = bool>, width: usize) -> [f64; 2] {
        let (mut sum, mut n) = ([0.0; 2], 0.0);
        for (at, _) in values.enumerate().filter(|(_, on)| *on) {
            sum[0] += (at % width) as f64 + 0.5;
            sum[1] += (at / width) as f64 + 0.5;
            n += 1.0;
        }
        sum.map(|sum| sum / n)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_mask_goes_to_the_input_and_back_whatever_the_size(scene in scenes()) {
            let case = scene.case();
            let frame = frame_of(&case.image, scene.mode, scene.input_size);
            if scene.mode == ResizeMode::BorderCrop {
                let [left, top, right, bottom] = scene.bright.map(|side| side as usize);
                let crop = Crop { left, top, width: right - left, height: bottom - top };
                prop_assert_eq!(frame.crop, crop);
            }
            let Prepared { mask, frame: way, .. } = prepared(&case, scene.mode, scene.input_size);
            let marked = |&value: &u8| if value > 0 { 4.0 } else { -4.0 };
            let logits: Vec<f32> = mask.as_raw().iter().map(marked).collect();
            let side = scene.input_size;
            let logits = Tensor::from_data(TensorData::new(logits, [1, 1, side, side]), &Device::flex());
            let back = masks_in_image(logits, &frame).into_data().try_into_vec_as::<f32>().expect("f32");
            prop_assert_eq!(back.len(), case.truth.values.len());
            let both = |either: bool| {
                let pairs = case.truth.values.iter().zip(&back).map(|(&on, &logit)| (on, logit > 0.0));
                pairs.filter(|&(a, b)| if either { a || b } else { a && b }).count() as f64
            };
            let iou = both(false) / both(true);
            // Half a pixel along the outline, where a pixel is one of the coarser of image and input.
            let steps = [way.scale_x, way.scale_y].map(|scale| (1.0 / scale).max(1.0));
            let [a, b] = [0, 1].map(|axis| scene.radii[axis] / steps[axis]);
            let outline = PI * (2.0 * (a * a + b * b)).sqrt();
            prop_assert!(iou >= 1.0 - 0.5 * outline / (PI * a * b), "{}", iou);

            // Pixels and coordinates go the same way: the middle of the mask does, and comes back.
            let there = centroid(mask.as_raw().iter().map(|&value| value > 0), side);
            let truth = centroid(case.truth.values.iter().copied(), scene.width as usize);
            let expected = frame.input_from_image(truth.map(|at| at as f32));
            let returned = frame.image_from_input(there.map(|at| at as f32));
            for axis in 0..2 {
                let input_pixel = [way.scale_x, way.scale_y][axis].max(1.0);
                prop_assert!((there[axis] - f64::from(expected[axis])).abs() <= 0.5 * input_pixel);
                prop_assert!((f64::from(returned[axis]) - truth[axis]).abs() <= 0.5 * steps[axis]);
            }
        }
    }

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
