//! What the low-resolution grid of the masks leaves of a true mask.

use burn::tensor::{Device, Tensor, TensorData};
use data_loaders::TruthMask;
use sam_backbone::{Frame, masks_in_image};

use super::answer::{floats, iou_with};
use crate::batch::area_target;

/// The share of a cell that must be foreground for the cell to be foreground.
const HALF: f32 = 0.5;

/// IoU with `truth` of `truth` itself on the decoder's grid: averaged over each cell, the share less
/// one half taken as logits, brought to the image's size as SAM's masks are.
///
/// It is what a decoder reaches that learns the share of every cell, so a mean far below it is the
/// decoder's fault and one near it the grid's. It is a yardstick and no bound: a decoder that draws
/// objects of a few cells fatter, or their edges steeper, can get more of them.
///
/// `frame` is of `truth`'s size; `side` is that of the grid and divides it, as it does for every
/// variant.
pub(super) fn grid_ceiling(truth: &TruthMask, side: usize, frame: &Frame, device: &Device) -> f64 {
    let logits: Vec<f32> = area_target(truth, side).into_iter().map(|share| share - HALF).collect();
    let logits = Tensor::<4>::from_data(TensorData::new(logits, [1, 1, side, side]), device);
    iou_with(truth, &floats(masks_in_image(logits, frame)))
}

#[cfg(test)]
mod tests {
    use sam_backbone::{ImageSize, ResizeMode};

    use super::*;

    /// The ceiling of a mask of `size` pixels in an input of 128, whose grid has 32 cells.
    fn ceiling(size: usize, on: impl Fn(usize, usize) -> bool) -> f64 {
        let values = (0..size * size).map(|at| on(at % size, at / size)).collect();
        let truth = TruthMask::new(size as u32, size as u32, values);
        let frame = Frame::new(ImageSize { height: size, width: size }, ResizeMode::Plain, 128);
        grid_ceiling(&truth, 32, &frame, &Device::flex())
    }

    fn within(from: usize, to: usize) -> impl Fn(usize, usize) -> bool {
        move |x, y| (from..to).contains(&x) && (from..to).contains(&y)
    }

    #[test]
    fn a_square_of_one_cell_loses_its_corners() {
        // Bilinear weights of the cell at its own four pixels are 5/8, 7/8, 7/8, 5/8 along each
        // axis. Foreground is where the product exceeds one half: not at the four corners.
        assert_eq!(ceiling(128, within(8, 12)), 12.0 / 16.0);
    }

    #[test]
    fn a_straight_edge_survives_wherever_it_is() {
        for edge in 40..44 {
            assert_eq!(ceiling(128, |x, _| x < edge), 1.0, "{edge}");
        }
    }

    #[test]
    fn an_object_of_a_quarter_of_a_cell_is_lost() {
        assert_eq!(ceiling(128, within(8, 10)), 0.0);
    }

    #[test]
    fn a_grid_as_fine_as_the_image_costs_nothing() {
        assert_eq!(ceiling(32, |x, y| (x * 7 + y * 13) % 5 == 0), 1.0);
    }
}
