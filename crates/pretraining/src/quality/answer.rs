//! What SAM answers: its masks for the prompts of one question, scored.

use burn::tensor::{Int, Tensor, TensorData};
use data_loaders::TruthMask;
use metrics::{Mask, MaskCounts, iou};
use sam_backbone::{
    Frame, FrozenSam, ImageSize, Prompts, ResizeMode, input_tensor, masks_in_image,
};

use super::{
    ceiling::grid_ceiling,
    question::{ByPrompt, Question},
};
use crate::prompt_sampling::ObjectPrompt;

/// One of the multimask outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ScoredMask {
    /// IoU that SAM's head predicts.
    pub predicted: f64,
    /// IoU with the exact mask at the image's own size.
    pub actual: f64,
}

/// The scores of one question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// Square root of the object's area as a share of the image's side.
    pub size: f64,
    /// See [`grid_ceiling`].
    pub ceiling: f64,
    /// All multimask outputs of each prompt, in the decoder's order.
    pub masks: ByPrompt<Vec<ScoredMask>>,
}

impl Answer {
    /// The largest IoU of each prompt's masks.
    pub fn best(&self) -> [f64; 5] {
        self.masks
            .clone()
            .into_array()
            .map(|masks| masks.iter().map(|mask| mask.actual).fold(0.0, f64::max))
    }

    /// The IoU of each prompt's mask whose predicted IoU is largest, the first of equal ones.
    pub fn selected(&self) -> [f64; 5] {
        self.masks.clone().into_array().map(|masks| {
            masks
                .into_iter()
                .reduce(|first, next| if next.predicted > first.predicted { next } else { first })
                .map_or(0.0, |mask| mask.actual)
        })
    }
}

/// Asks `sam`: the image is encoded once, every prompt decoded by itself, since a prompt that is
/// padded to the length of another one gets other masks.
pub(super) fn answer(sam: &FrozenSam, question: &Question) -> Answer {
    let truth = &question.truth;
    let size = ImageSize { height: truth.height as usize, width: truth.width as usize };
    let frame = Frame::new(size, ResizeMode::Plain, sam.config().image_encoder.image_size);
    let input = input_tensor(&question.image, &frame, sam.device());
    let embedding = sam.encode(input, &[]).image_embedding;
    let masks = question.prompts.clone().into_array().map(|prompt| {
        let prompts = tensors(&prompt, &frame, sam);
        let output = sam.decode(embedding.clone(), prompts, None, true);
        let predicted = floats(output.iou_predictions); // [1, M]
        let logits = floats(masks_in_image(output.low_res_logits, &frame)); // [1, M, H, W]
        predicted
            .into_iter()
            .zip(logits.chunks_exact(truth.values.len()))
            .map(|(predicted, logits)| ScoredMask {
                predicted: f64::from(predicted),
                actual: iou_with(truth, logits),
            })
            .collect()
    });
    let pixels = truth.values.len() as f64;
    Answer {
        size: (truth.foreground() as f64 / pixels).sqrt(),
        ceiling: grid_ceiling(truth, sam.config().low_res_size(), &frame, sam.device()),
        masks: ByPrompt::from_array(masks),
    }
}

/// IoU of `truth`, which is not empty, with the mask of all logits above 0. Both row-major and of
/// the same size.
pub(super) fn iou_with(truth: &TruthMask, logits: &[f32]) -> f64 {
    let mask = |pixels| Mask::new(truth.width as usize, truth.height as usize, pixels);
    let predicted = mask(logits.iter().map(|&logit| logit > 0.0).collect());
    let counts = predicted
        .and_then(|predicted| MaskCounts::between(&predicted, &mask(truth.values.clone())?))
        .expect("logits were brought to the size of the mask");
    iou(counts).expect("the object has a pixel")
}

/// A prompt in image pixels as tensors of a batch of one, in pixels of the network's input.
fn tensors(prompt: &ObjectPrompt, frame: &Frame, sam: &FrozenSam) -> Prompts {
    let device = sam.device();
    match prompt {
        ObjectPrompt::Points(clicks) => {
            let coords: Vec<f32> =
                clicks.iter().flat_map(|click| frame.input_from_image(click.at)).collect();
            let labels: Vec<i32> = clicks.iter().map(|click| click.label.value()).collect();
            let n = clicks.len();
            let coords = Tensor::from_data(TensorData::new(coords, [1, n, 2]), device);
            let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [1, n]), device);
            Prompts { points: Some((coords, labels)), ..Prompts::default() }
        }
        ObjectPrompt::Box(corners) => {
            let corners = frame.input_box_from_image(*corners).to_vec();
            let boxes = Tensor::from_data(TensorData::new(corners, [1, 4]), device);
            Prompts { boxes: Some(boxes), ..Prompts::default() }
        }
    }
}

pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(predicted: f64, actual: f64) -> ScoredMask {
        ScoredMask { predicted, actual }
    }

    #[test]
    fn the_best_mask_is_chosen_by_truth_and_the_selected_one_by_prediction() {
        let masks = vec![mask(0.3, 0.9), mask(0.8, 0.5), mask(0.8, 0.7)];
        let none = vec![mask(0.1, 0.0), mask(-0.2, 0.0), mask(0.0, 0.0)];
        let all = [masks.clone(), none.clone(), masks.clone(), none, masks];
        let answer = Answer { size: 0.5, ceiling: 1.0, masks: ByPrompt::from_array(all) };
        assert_eq!(answer.best(), [0.9, 0.0, 0.9, 0.0, 0.9]);
        assert_eq!(answer.selected(), [0.5, 0.0, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn an_undecided_pixel_is_background() {
        let truth = TruthMask::new(2, 2, vec![true, true, false, false]);
        assert_eq!(iou_with(&truth, &[0.0, 0.1, -1.0, 2.0]), 1.0 / 3.0);
    }
}
