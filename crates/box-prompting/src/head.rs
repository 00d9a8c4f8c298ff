//! From a feature map to one box.

use burn::{
    module::Module,
    nn::conv::{Conv2d, Conv2dConfig},
    tensor::{Device, Tensor, activation},
};
use prompting::{cell_centers, convolve};

/// Every cell votes for a box; the box is the weighted mean of the votes.
///
/// A 1x1 convolution gives five numbers per cell: a vote weight, made a distribution over all cells by softmax, and
/// for each side `s` a share `sigmoid(s)` of the way from the cell's center to that side of the input:
/// `x0 = x (1 - left)`, `x1 = x + (1 - x) right`. So every vote, and therefore the mean, lies within the input and
/// has its corners the right way round, whatever the features are.
#[derive(Module, Debug)]
pub struct BoxHead {
    conv: Conv2d,
}

impl BoxHead {
    /// A head for maps of `channels`; weights and biases start as in `torch.nn.Conv2d`.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2dConfig::new([channels, 5], [1, 1]).init(device) }
    }

    /// # Shapes
    ///
    /// - `features`: `[B, F, H, W]`
    /// - returns: `[B, 4]` as `(x0, y0, x1, y1)` from 0 to 1
    pub fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let [batch, _, height, width] = features.dims();
        let cells = height * width;
        let votes: Tensor<3> = convolve(&self.conv, features).reshape([batch, 5, cells]);
        let weights = activation::softmax(votes.clone().slice_dim(1, 0..1), 2); // [B, 1, HW]
        let shares = activation::sigmoid(votes.slice_dim(1, 1..5)); // [B, 4, HW]
        // (x, y) of every cell's center, and the corner that each side goes to.
        let centers = cell_centers(height, width, &shares.device().without_autodiff());
        let first = shares.clone().slice_dim(1, 0..2);
        let second = shares.slice_dim(1, 2..4);
        let upper_left = centers.clone() - centers.clone() * first;
        let lower_right = centers.clone() + (centers.neg() + 1.0) * second;
        let boxes = Tensor::cat(vec![upper_left, lower_right], 1); // [B, 4, HW]
        // Rounding may carry a mean of numbers up to 1 beyond it.
        (boxes * weights).sum_dim(2).reshape([batch, 4]).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Distribution, TensorData},
    };

    use super::*;

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    /// With weights that pass on the features, channel 0 being the vote.
    fn passing_on(device: &Device) -> BoxHead {
        let mut head = BoxHead::new(5, device);
        let unit = Tensor::<2>::eye(5, device).reshape([5, 5, 1, 1]);
        head.conv.weight = Param::from_tensor(unit);
        head.conv.bias = Some(Param::from_tensor(Tensor::zeros([5], device)));
        head
    }

    #[test]
    fn a_cell_that_is_sure_decides_alone() {
        let device = Device::flex();
        let mut features = vec![0.0_f32; 5 * 8];
        // Two rows of four cells; the cell in row 1, column 2 has its center at (0.625, 0.75).
        let cell = 4 + 2;
        features[cell] = 100.0;
        // A fifth of the way to the left, a half to the top, a half to the right, all to the bottom.
        features[8 + cell] = (0.25_f32).ln();
        features[4 * 8 + cell] = 100.0;
        let features = Tensor::from_data(TensorData::new(features, [1, 5, 2, 4]), &device);
        let corners = floats(passing_on(&device).forward(features));
        let expected = [0.625 * 0.8, 0.75 * 0.5, 0.625 + 0.375 * 0.5, 1.0];
        for (value, expected) in corners.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{corners:?}");
        }
    }

    #[test]
    fn undecided_cells_give_the_mean_box() {
        let device = Device::flex();
        let corners = floats(passing_on(&device).forward(Tensor::zeros([1, 5, 6, 6], &device)));
        // Centers average to the middle, and sides lie halfway to the border.
        for (value, expected) in corners.iter().zip([0.25, 0.25, 0.75, 0.75]) {
            assert!((value - expected).abs() < 1e-5, "{corners:?}");
        }
    }

    #[test]
    fn any_features_give_a_box_within_the_input() {
        let device = Device::flex();
        device.seed(5);
        for scale in [1.0, 30.0, 1e4] {
            let shape = [16, 5, 3, 7];
            let features = Tensor::random(shape, Distribution::Normal(0.0, scale), &device);
            for corners in floats(passing_on(&device).forward(features)).as_chunks::<4>().0 {
                let [x0, y0, x1, y1] = *corners;
                assert!(0.0 <= x0 && x0 <= x1 && x1 <= 1.0, "{corners:?}");
                assert!(0.0 <= y0 && y0 <= y1 && y1 <= 1.0, "{corners:?}");
            }
        }
    }
}
