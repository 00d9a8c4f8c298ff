//! SAM's training loss.

use burn::tensor::{Tensor, activation};
use sam_backbone::MaskDecoderOutput;

/// Weight of the focal loss beside Dice, as SAM was trained.
const FOCAL_WEIGHT: f64 = 20.0;
/// Weight of the foreground in the focal loss.
const FOCAL_ALPHA: f64 = 0.25;

/// What all three masks learn from a prompt, as a share of the loss; the rest is the best mask's.
///
/// SAM trains the best mask alone. A mask that is never the best then learns nothing, and in a short
/// training that mask may be the first one, which ProMISe uses. Giving every hypothesis a little of
/// the loss is the remedy of Rupprecht et al., "Learning in an Uncertain World: Representing
/// Ambiguity Through Multiple Hypotheses", ICCV 2017. A single click has several right answers; the
/// more a prompt says, the less there is for three masks to disagree about.
///
/// The share grows from nothing over the first cosine of the learning rate: while nothing is learned yet, it
/// rewards three masks that are empty.
const SHARE_OF_ALL: Shares = Shares { ambiguous: 0.1, unambiguous: 0.5 };

struct Shares {
    ambiguous: f64,
    unambiguous: f64,
}

/// The loss of one prompt round and the IoU that its best masks reach.
#[derive(Debug)]
pub(crate) struct RoundLoss {
    /// `[1]`
    pub loss: Tensor<1>,
    /// IoU with the target of each of the three multimask outputs, `[B, 3]`, no gradient.
    pub true_iou: Tensor<2>,
}

/// Focal and Dice loss of the three masks, mostly of the best one (see [`SHARE_OF_ALL`]), the same
/// of the single mask, and the squared error of the predicted IoU.
///
/// The single mask (token 0) answers an unambiguous prompt, so it learns only from those.
///
/// # Shapes
///
/// - `output`: all `T = 4` masks `[B, 4, h, w]` and IoU `[B, 4]`
/// - `target`: `[B, 1, h, w]`, share of foreground in `[0, 1]`
///
/// `ambiguous` says whether the prompts are single clicks, `progress` how
/// far the masks have found their roles, from 0 to 1.
pub(crate) fn round_loss(
    output: MaskDecoderOutput,
    target: Tensor<4>,
    ambiguous: bool,
    progress: f64,
) -> RoundLoss {
    let [batch, masks, height, width] = output.low_res_logits.dims();
    let logits = output.low_res_logits.reshape([batch, masks, height * width]);
    let target = target.reshape([batch, 1, height * width]);

    let true_iou = intersection_over_union(logits.clone().without_autodiff(), target.clone());
    let mask_loss =
        focal(logits.clone(), target.clone()).mul_scalar(FOCAL_WEIGHT) + dice(logits, target); // [B, 4]
    let three = mask_loss.clone().slice_dim(1, 1..masks);
    let (best, all) = (three.clone().min_dim(1), three.mean_dim(1)); // [B, 1]
    let share = if ambiguous { SHARE_OF_ALL.ambiguous } else { SHARE_OF_ALL.unambiguous };
    let three = best.clone() + (all - best).mul_scalar(share * progress);
    let iou_error = (output.iou_predictions - true_iou.clone()).powi_scalar(2).mean();
    let mut loss = three.mean() + iou_error;
    if !ambiguous {
        loss = loss + mask_loss.slice_dim(1, 0..1).mean();
    }
    RoundLoss { loss, true_iou: true_iou.slice_dim(1, 1..masks) }
}

/// Focal loss with gamma 2 (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017), mean
/// over pixels.
///
/// # Shapes
///
/// - `logits`: `[B, T, N]`; `target`: `[B, 1, N]`; returns `[B, T]`
fn focal(logits: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    let probability = activation::sigmoid(logits.clone());
    let cross_entropy = binary_cross_entropy(logits, target.clone());
    // 1 - p_t, p for background and 1 - p for foreground.
    let miss = probability.clone() + target.clone() - probability * target.clone().mul_scalar(2.0);
    let alpha = target.mul_scalar(2.0 * FOCAL_ALPHA - 1.0) + (1.0 - FOCAL_ALPHA);
    (cross_entropy * miss.powi_scalar(2) * alpha).mean_dim(2).squeeze_dim(2)
}

/// Cross-entropy on logits, stable for any size: `max(x, 0) - x z + log(1 + exp(-|x|))`.
fn binary_cross_entropy(logits: Tensor<3>, target: Tensor<3>) -> Tensor<3> {
    let tail = logits.clone().abs().neg().exp().log1p();
    activation::relu(logits.clone()) - logits * target + tail
}

/// Soft Dice loss, `1 - (2 I + 1) / (P + G + 1)`; shapes as in [`focal`].
fn dice(logits: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    let probability = activation::sigmoid(logits);
    let intersection = (probability.clone() * target.clone()).sum_dim(2).squeeze_dim::<2>(2);
    let total = (probability.sum_dim(2) + target.sum_dim(2)).squeeze_dim::<2>(2);
    (intersection.mul_scalar(2.0) + 1.0).div(total + 1.0).neg() + 1.0
}

/// IoU of the masks `logits > 0` with the targets `> 1/2`; two empty masks agree fully.
fn intersection_over_union(logits: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    let predicted = logits.greater_elem(0.0).float();
    let target = target.greater_elem(0.5).float();
    let intersection = (predicted.clone() * target.clone()).sum_dim(2);
    let union = predicted.sum_dim(2) + target.sum_dim(2) - intersection.clone();
    ((intersection + 1e-6) / (union + 1e-6)).squeeze_dim(2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn rows<const N: usize>(values: [f32; N]) -> Tensor<3> {
        Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 1, N])
    }

    fn value(tensor: Tensor<2>) -> f32 {
        tensor.into_data().try_to_vec::<f32>().expect("f32")[0]
    }

    /// At logit 0 each pixel has p = 1/2, cross-entropy ln 2, (1 - p_t)^2 = 1/4, and alpha 1/4 on
    /// the object and 3/4 off it: (ln 2 / 4) * (1/4 + 3/4) / 2.
    #[test]
    fn focal_loss_of_an_undecided_mask() {
        let loss = value(focal(rows([0.0, 0.0]), rows([1.0, 0.0])));
        assert!((loss - std::f32::consts::LN_2 / 8.0).abs() < 1e-6, "{loss}");
    }

    /// p = 1/2 everywhere: I = 1, P = 2, G = 2: 1 - 3 / 5.
    #[test]
    fn dice_loss_of_an_undecided_mask() {
        let loss = value(dice(rows([0.0; 4]), rows([1.0, 1.0, 0.0, 0.0])));
        assert!((loss - 0.4).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn iou_counts_pixels() {
        let iou = intersection_over_union(rows([1.0, 1.0, -1.0, -1.0]), rows([0.0, 1.0, 1.0, 0.2]));
        assert!((value(iou) - 1.0 / 3.0).abs() < 1e-5);
        let empty = intersection_over_union(rows([-1.0, -1.0]), rows([0.0, 0.0]));
        assert!((value(empty) - 1.0).abs() < 1e-5);
    }

    /// Loss of four masks of two pixels, the object being the first pixel; `true` is the right mask.
    fn four(right: [bool; 4], iou: [f32; 4], ambiguous: bool, progress: f64) -> f32 {
        let device = Device::flex();
        let logits: Vec<f32> = right
            .into_iter()
            .flat_map(|right| if right { [9.0, -9.0] } else { [-9.0, 9.0] })
            .collect();
        let output = MaskDecoderOutput {
            low_res_logits: Tensor::<1>::from_floats(&*logits, &device).reshape([1, 4, 1, 2]),
            iou_predictions: Tensor::<1>::from_floats(iou, &device).reshape([1, 4]),
        };
        let target = Tensor::<1>::from_floats([1.0, 0.0], &device).reshape([1, 1, 1, 2]);
        let loss = round_loss(output, target, ambiguous, progress).loss;
        loss.into_data().try_to_vec::<f32>().expect("f32")[0]
    }

    /// A wrong mask: cross-entropy 9 on both pixels, weighted 1/4 and 3/4; Dice (2*0+1)/(1+1+1).
    const WRONG: f32 = 20.0 * (9.0 * 0.25 + 9.0 * 0.75) / 2.0 + 2.0 / 3.0;

    #[track_caller]
    fn assert_near(loss: f32, expected: f32) {
        assert!((loss - expected).abs() < 1e-3 * WRONG, "{loss}, not {expected}");
    }

    /// The best mask is right, so the loss is the share that all three get, times their mean.
    #[test]
    fn wrong_masks_pay_their_share() {
        let (right, iou) = ([true, true, false, false], [1.0, 1.0, 0.0, 0.0]);
        assert_near(four(right, iou, true, 1.0), 0.1 * 2.0 * WRONG / 3.0);
        assert_near(four(right, iou, false, 1.0), 0.5 * 2.0 * WRONG / 3.0);
        assert_near(four(right, iou, false, 0.5), 0.25 * 2.0 * WRONG / 3.0);
        assert_near(four(right, iou, false, 0.0), 0.0);
    }

    #[test]
    fn the_single_mask_learns_from_unambiguous_prompts_only() {
        let (right, iou) = ([false, true, true, true], [0.0, 1.0, 1.0, 1.0]);
        assert_near(four(right, iou, true, 1.0), 0.0);
        assert_near(four(right, iou, false, 1.0), WRONG);
    }

    #[test]
    fn the_iou_head_pays_for_its_squared_error() {
        let right = [true; 4];
        let off = four(right, [1.0, 1.0, 1.0, 0.0], true, 1.0) - four(right, [1.0; 4], true, 1.0);
        assert!((off - 0.25).abs() < 1e-4, "{off}");
    }

    #[test]
    fn huge_logits_give_finite_losses() {
        let loss = value(focal(rows([1e4, -1e4]), rows([0.0, 1.0])));
        assert!(loss.is_finite() && loss > 100.0, "{loss}");
    }
}
