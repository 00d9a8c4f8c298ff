//! Losses on low-resolution logits.

use burn::tensor::{Tensor, activation};

use crate::spec::Loss;

/// The loss of a batch, a mean over its images.
///
/// # Shapes
///
/// - `logits`: `[B, 1, h, w]`
/// - `target`: `[B, 1, h, w]`, zeros and ones
/// - returns: `[1]`
pub(crate) fn loss(kind: Loss, logits: Tensor<4>, target: Tensor<4>) -> Tensor<1> {
    let [batch, _, height, width] = logits.dims();
    let logits = logits.reshape([batch, height * width]);
    let target = target.reshape([batch, height * width]);
    match kind {
        Loss::BceDice => {
            let probability = activation::sigmoid(logits.clone());
            binary_cross_entropy(logits, target.clone()) + (dice(probability, target).neg() + 1.0)
        }
        Loss::PromiseReference => reference(logits, target),
    }
}

/// Cross-entropy on logits, mean over pixels, stable for any size:
/// `max(x, 0) - x z + log(1 + exp(-|x|))`.
fn binary_cross_entropy(logits: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let tail = logits.clone().abs().neg().exp().log1p();
    (activation::relu(logits.clone()) - logits * target + tail).mean()
}

/// Soft Dice `(2 I + 1) / (P + G + 1)`, mean over images.
fn dice(probability: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let intersection = (probability.clone() * target.clone()).sum_dim(1);
    let total = probability.sum_dim(1) + target.sum_dim(1);
    ((intersection.mul_scalar(2.0) + 1.0) / (total + 1.0)).mean()
}

/// What the published code computes: the model's output is a probability already, and both losses
/// apply a sigmoid to it once more; the Dice `2 (I + 1) / (P + G + 1)` exceeds 1 and is clamped.
fn reference(logits: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let output = activation::sigmoid(logits);
    let probability = activation::sigmoid(output.clone());
    let intersection = (probability.clone() * target.clone()).sum_dim(1);
    let total = probability.sum_dim(1) + target.clone().sum_dim(1);
    let dice = ((intersection + 1.0).mul_scalar(2.0) / (total + 1.0)).clamp_max(1.0).mean();
    binary_cross_entropy(output, target) + (dice.neg() + 1.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn value(kind: Loss, logits: [f32; 4], target: [f32; 4]) -> f32 {
        let device = Device::flex();
        let map =
            |values: [f32; 4]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 2, 2]);
        loss(kind, map(logits), map(target)).into_data().try_to_vec::<f32>().expect("f32")[0]
    }

    /// p = 1/2: cross-entropy ln 2; I = 1, P = 2, G = 2, Dice 3/5.
    #[test]
    fn an_undecided_mask_has_the_loss_computed_by_hand() {
        let loss = value(Loss::BceDice, [0.0; 4], [1.0, 1.0, 0.0, 0.0]);
        assert!((loss - (std::f32::consts::LN_2 + 0.4)).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn a_perfect_mask_has_no_loss() {
        let loss = value(Loss::BceDice, [40.0, 40.0, -40.0, -40.0], [1.0, 1.0, 0.0, 0.0]);
        assert!(loss.abs() < 1e-6, "{loss}");
    }

    /// The second sigmoid keeps probabilities within [1/2, 0.731]: even a perfect mask costs
    /// ((ln(1 + e) - 1) + ln 2) / 2 and its Dice, 2 (2 * 0.731 + 1) / (2 * 0.731 + 1 + 2 + 1), stays
    /// below 1.
    #[test]
    fn the_published_loss_sees_probabilities_twice() {
        let loss = value(Loss::PromiseReference, [40.0, 40.0, -40.0, -40.0], [1.0, 1.0, 0.0, 0.0]);
        let p = 1.0_f32 / (1.0 + (-1.0_f32).exp());
        let cross_entropy = ((1.0 + 1.0_f32.exp()).ln() - 1.0 + std::f32::consts::LN_2) / 2.0;
        let dice = (2.0 * (2.0 * p + 1.0) / (2.0 * p + 1.0 + 2.0 + 1.0)).min(1.0);
        assert!((loss - (cross_entropy + 1.0 - dice)).abs() < 1e-5, "{loss}");
    }
}
