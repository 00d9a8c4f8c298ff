//! What is minimized: the distance of boxes from the true ones.

use burn::tensor::Tensor;

use crate::giou::generalized_iou;

/// Weights of the two parts of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxLoss {
    /// Of the sum of the four absolute differences.
    pub l1: f64,
    /// Of `1 - GIoU`.
    pub giou: f64,
}

/// `l1 * |a - b|_1 + giou * (1 - GIoU(a, b))`, a mean over the images that have a true box; zero if none has.
///
/// # Shapes
///
/// - `boxes`, `truth`: `[B, 4]`, from 0 to 1
/// - `present`: `[B, 1]`, 1 for images with a true box, else 0
/// - returns: `[1]`
pub fn box_loss(
    weights: BoxLoss,
    boxes: Tensor<2>,
    truth: Tensor<2>,
    present: Tensor<2>,
) -> Tensor<1> {
    let distance = (boxes.clone() - truth.clone()).abs().sum_dim(1).mul_scalar(weights.l1);
    let overlap = (generalized_iou(boxes, truth).neg() + 1.0).mul_scalar(weights.giou);
    let count = present.clone().sum().clamp_min(1.0);
    ((distance + overlap) * present).sum() / count
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn rows<const N: usize>(values: [[f32; N]; 2]) -> Tensor<2> {
        let values = TensorData::new(values.concat(), [2, N]);
        Tensor::from_data(values, &Device::flex())
    }

    #[test]
    fn images_without_a_box_are_left_out_of_the_mean() {
        let weights = BoxLoss { l1: 5.0, giou: 2.0 };
        let boxes = rows([[0.0, 0.0, 0.5, 1.0], [0.1, 0.2, 0.3, 0.4]]);
        let truth = rows([[0.0, 0.0, 1.0, 1.0], [0.0; 4]]);
        let loss = |present| {
            let loss = box_loss(weights, boxes.clone(), truth.clone(), rows(present));
            loss.into_data().try_into_vec::<f32>().unwrap()[0]
        };
        // L1 is 0.5; half of the true box is covered, and the hull is the true box.
        let first = 5.0 * 0.5 + 2.0 * (1.0 - 0.5);
        assert!((loss([[1.0], [0.0]]) - first).abs() < 1e-5);
        assert_eq!(loss([[0.0], [0.0]]), 0.0);
        assert!(loss([[1.0], [1.0]]) > 0.5 * first);
    }
}
