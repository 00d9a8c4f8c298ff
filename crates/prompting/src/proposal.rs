//! What a module proposes, and what it may say while it learns.

use burn::tensor::{Int, Tensor, TensorData};
use sam_backbone::{PointLabel, Prompts};

/// Prompts for a batch of images: one or more hypotheses, each with a prompt for every image.
///
/// Of several, the one counts for an image whose mask SAM predicts the highest IoU for, the first of equals. In
/// training the loss on the mask is the mean over the hypotheses, so that all of them learn.
#[derive(Debug, Clone, Default)]
pub struct Proposal {
    /// At least one, unless the module proposes nothing. They may be of unlike kinds.
    pub hypotheses: Vec<Prompts>,
}

impl From<Prompts> for Proposal {
    fn from(prompts: Prompts) -> Self {
        Self { hypotheses: vec![prompts] }
    }
}

/// One foreground point for each image, as [`Prompts::points`] takes it.
///
/// # Shapes
///
/// - `at`: `[B, 2]`, `(x, y)` in pixels of the network input; whole numbers are the middles of pixels, see
///   [`PromptModule::propose`](crate::PromptModule::propose)
/// - returns: `[B, 1, 2]`, `[B, 1]`
pub fn foreground_point(at: Tensor<2>) -> (Tensor<3>, Tensor<2, Int>) {
    let batch = at.dims()[0];
    let device = at.device().without_autodiff();
    let labels = Tensor::full([batch, 1], PointLabel::Foreground.value(), &device);
    (at.reshape([batch, 1, 2]), labels)
}

/// A proposal and what the module wants to learn from it.
#[derive(Debug, Clone)]
pub struct TrainingProposal {
    /// The prompts.
    pub proposal: Proposal,
    /// A loss of the module's own, besides the loss on the mask.
    pub own_loss: Option<OwnLoss>,
}

/// A loss of a module's own. What is minimized is the loss on SAM's mask plus this.
#[derive(Debug, Clone)]
pub struct OwnLoss {
    /// `[1]`, a mean over the images.
    pub value: Tensor<1>,
    /// Factor of the gradient that the mask's loss sends to the prompts: 1 leaves it as it is, 0 keeps it away, so
    /// that the module learns by `value` alone and nothing goes back through the decoder for it. A token shift
    /// beside the module learns by the mask's loss in any case.
    pub mask_gradient: f64,
}

/// What is true of a batch of training images.
#[derive(Debug, Clone)]
pub struct TrainingTruth {
    /// The true masks at the decoder's resolution, `[B, 1, 4H, 4W]`, zeros and ones, part of no graph. Padding is
    /// background.
    pub masks: Tensor<4>,
}

impl TrainingTruth {
    /// The smallest box around each true mask, `[B, 4]` as `(x0, y0, x1, y1)` from 0 to 1: shares of the side of
    /// the input, outer edges of the outermost pixels. And which images have one, `[B, 1]`, ones and zeros: an
    /// empty mask has no box, and its row is zeros.
    pub fn boxes(&self) -> (Tensor<2>, Tensor<2>) {
        let [batch, _, height, width] = self.masks.dims();
        let device = self.masks.device();
        let values = self.masks.clone().into_data().try_into_vec_as::<f32>();
        let values = values.expect("a float tensor");
        let mut boxes = Vec::with_capacity(4 * batch);
        let mut present = Vec::with_capacity(batch);
        for mask in values.chunks_exact(height * width) {
            let on = mask.iter().enumerate().filter(|(_, value)| **value > 0.5);
            let mut bounds: Option<[usize; 4]> = None;
            for (at, _) in on {
                let (x, y) = (at % width, at / width);
                let [x0, y0, x1, y1] = bounds.unwrap_or([x, y, x + 1, y + 1]);
                bounds = Some([x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)]);
            }
            present.push(if bounds.is_some() { 1.0_f32 } else { 0.0 });
            let sides = [width, height, width, height];
            let corners = bounds.unwrap_or_default();
            boxes.extend(corners.iter().zip(sides).map(|(&at, side)| at as f32 / side as f32));
        }
        (
            Tensor::from_data(TensorData::new(boxes, [batch, 4]), &device),
            Tensor::from_data(TensorData::new(present, [batch, 1]), &device),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn boxes_are_the_outer_edges_and_an_empty_mask_has_none() {
        let mut masks = vec![0.0_f32; 3 * 64];
        // Rows 2 and 3, columns 1 to 5 of the first mask; the corner of the third.
        masks[2 * 8 + 1] = 1.0;
        masks[3 * 8 + 5] = 1.0;
        masks[2 * 64 + 63] = 1.0;
        let masks = Tensor::<1>::from_data(masks.as_slice(), &Device::flex());
        let (boxes, present) = TrainingTruth { masks: masks.reshape([3, 1, 8, 8]) }.boxes();
        let boxes = boxes.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(boxes[..4], [1.0 / 8.0, 2.0 / 8.0, 6.0 / 8.0, 4.0 / 8.0]);
        assert_eq!(boxes[4..8], [0.0; 4]);
        assert_eq!(boxes[8..], [7.0 / 8.0, 7.0 / 8.0, 1.0, 1.0]);
        assert_eq!(present.into_data().try_into_vec::<f32>().unwrap(), [1.0, 0.0, 1.0]);
    }
}
