//! Several hypotheses for one image: SAM answers each, and the answer that it thinks best of counts.

use burn::tensor::Tensor;
use prompting::{Prompts, Proposal};
use sam_backbone::{FrozenSam, MaskDecoderOutput};

use crate::{dialogue::MaskChoice, model::USED_MASK};

/// What SAM answers to a hypothesis: of its three masks the one that is used.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `[B, 1, h, w]`
    pub logits: Tensor<4>,
    /// IoU that SAM predicts for it, `[B]`.
    pub iou: Tensor<1>,
}

impl Answer {
    pub fn of(output: MaskDecoderOutput) -> Self {
        let used = USED_MASK..USED_MASK + 1;
        Self {
            logits: output.low_res_logits.slice_dim(1, used.clone()),
            iou: output.iou_predictions.slice_dim(1, used).squeeze_dim(1),
        }
    }
}

/// The place of the highest value, of equals the first one; 0 of none.
pub(crate) fn highest(values: &[f32]) -> usize {
    let better =
        |best: usize, other: usize| if values[other] > values[best] { other } else { best };
    (0..values.len()).reduce(better).unwrap_or(0)
}

/// Which hypothesis counts for each image: the one with the highest predicted IoU, the first of equals.
pub(crate) fn choose(answers: &[Answer]) -> Vec<usize> {
    let iou: Vec<Vec<f32>> = answers.iter().map(|answer| floats(answer.iou.clone())).collect();
    let images = iou.first().map_or(0, Vec::len);
    let of_image =
        |image: usize| -> Vec<f32> { iou.iter().map(|of_images| of_images[image]).collect() };
    (0..images).map(|image| highest(&of_image(image))).collect()
}

/// The logits of each image's best hypothesis, `[B, 1, h, w]`, part of no graph.
///
/// # Panics
///
/// Panics without an answer: a bug in the caller.
pub(crate) fn best_logits(answers: &[Answer]) -> Tensor<4> {
    let plain = |answer: &Answer| answer.logits.clone().without_autodiff();
    if let [only] = answers {
        return plain(only);
    }
    let rows = choose(answers).into_iter().enumerate();
    let rows = rows.map(|(image, best)| plain(&answers[best]).slice_dim(0, image..image + 1));
    Tensor::cat(rows.collect(), 0)
}

/// The hypothesis whose answer has the highest predicted IoU, where `choice` says which of SAM's masks is the answer.
///
/// - `iou`: of the masks, for each hypothesis
fn best_hypothesis(iou: &[Vec<f32>], choice: MaskChoice) -> usize {
    let answers: Vec<f32> = iou.iter().map(|iou| iou[choice.among(iou)]).collect();
    highest(&answers)
}

/// Decodes every hypothesis for one image, and gives the best with what SAM said to it.
pub(crate) fn decode_best(
    sam: &FrozenSam,
    image_embedding: &Tensor<4>,
    proposal: Proposal,
    token_shift: Option<&Tensor<3>>,
    choice: MaskChoice,
) -> (Prompts, MaskDecoderOutput) {
    let hypotheses = match proposal.hypotheses {
        none if none.is_empty() => vec![Prompts::default()],
        some => some,
    };
    let decode = |prompts: &Prompts| {
        sam.decode(image_embedding.clone(), prompts.clone(), token_shift.cloned(), true)
    };
    let mut outputs: Vec<MaskDecoderOutput> = hypotheses.iter().map(decode).collect();
    let best = match outputs.len() {
        1 => 0,
        _ => {
            let iou: Vec<Vec<f32>> =
                outputs.iter().map(|output| floats(output.iou_predictions.clone())).collect();
            best_hypothesis(&iou, choice)
        }
    };
    (hypotheses[best].clone(), outputs.swap_remove(best))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn answer(logit: f32, iou: [f32; 3]) -> Answer {
        let device = Device::flex();
        Answer {
            logits: Tensor::full([3, 1, 2, 2], logit, &device),
            iou: Tensor::from_floats(iou, &device),
        }
    }

    #[test]
    fn every_image_has_its_own_best_hypothesis_and_the_first_of_equals() {
        let answers = [
            answer(1.0, [0.5, 0.9, 0.3]),
            answer(2.0, [0.6, 0.1, 0.3]),
            answer(3.0, [0.6, 0.2, 0.2]),
        ];
        assert_eq!(choose(&answers), [1, 0, 0]);
        let logits = best_logits(&answers).into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(logits[0], 2.0);
        assert_eq!(logits[4], 1.0);
        assert_eq!(logits[8], 1.0);
        assert!(choose(&[]).is_empty());
    }

    #[test]
    fn hypotheses_are_ranked_by_the_masks_that_answer() {
        let iou = [vec![0.5, 0.9, 0.1], vec![0.6, 0.7, 0.1], vec![0.6, 0.1, 0.9]];
        assert_eq!(best_hypothesis(&iou, MaskChoice::Used), 1);
        assert_eq!(best_hypothesis(&iou, MaskChoice::Best), 0);
        assert_eq!(MaskChoice::Best.among(&[0.4, 0.8, 0.8]), 1, "the first of equals");
        assert_eq!(MaskChoice::Used.among(&[0.4, 0.8, 0.8]), USED_MASK);
    }
}
