//! Where a mask is, differentiably.

use burn::tensor::{Tensor, activation};
use prompting::cell_centers;

/// The mean place of a mask's pixels, weighted by the probability that they belong to it, in shares of its side.
///
/// Unlike an argmax it has a gradient. It may lie outside of an object that is not convex.
///
/// # Shapes
///
/// - `logits`: `[B, 1, h, w]`
/// - returns: `[B, 2]`, `(x, y)` from 0 to 1
pub fn center_of_mass(logits: Tensor<4>) -> Tensor<2> {
    let [batch, _, height, width] = logits.dims();
    let device = logits.device().without_autodiff();
    let logits = logits.reshape([batch, 1, height * width]);
    // sigmoid / sum of sigmoids, without a division by zero where every logit is very low.
    let log_probability = activation::log_sigmoid(logits);
    let weights = activation::softmax(log_probability, 2);
    let centers = cell_centers(height, width, &device);
    // Rounding may carry a mean of numbers up to 1 beyond it.
    (weights * centers).sum_dim(2).reshape([batch, 2]).clamp(0.0, 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn center(logits: Vec<f32>, height: usize) -> Vec<f32> {
        let shape = [1, 1, height, logits.len() / height];
        let logits = Tensor::from_data(TensorData::new(logits, shape), &Device::flex());
        center_of_mass(logits).into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn a_mask_has_its_center_in_its_middle() {
        let mut logits = vec![-60.0; 4 * 8];
        for at in [8 + 1, 8 + 2, 16 + 1, 16 + 2] {
            logits[at] = 5.0;
        }
        // Columns 1 and 2 of 8, rows 1 and 2 of 4.
        let found = center(logits, 4);
        assert!((found[0] - 0.25).abs() < 1e-5 && (found[1] - 0.5).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn pixels_count_by_their_probability_and_an_empty_mask_has_a_center_too() {
        // Probabilities of 3/4 and 1/4.
        let found = center(vec![3.0_f32.ln(), -(3.0_f32.ln())], 1);
        assert!((found[0] - (0.75 * 0.25 + 0.25 * 0.75)).abs() < 1e-6, "{found:?}");
        let found = center(vec![-1e4; 16], 4);
        assert!((found[0] - 0.5).abs() < 1e-5 && (found[1] - 0.5).abs() < 1e-5, "{found:?}");
    }
}
