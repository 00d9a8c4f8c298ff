//! What several modules begin with: the image embedding and some taps become one feature map.

use burn::{
    config::Config,
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

use crate::{BackboneInfo, PromptInput};

/// Added to the variance of a cell, as in SAM's layer norms.
const EPSILON: f64 = 1e-6;

/// Applies a convolution that has a square kernel of odd side, padded by half of it, by the kernel whose backward
/// pass is a matrix product.
pub fn convolve(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    let padding = layer.kernel_size.map(|side| side / 2);
    fused_ops::conv2d(input, layer.weight.val(), bias, layer.stride, padding)
}

/// A convolution as [`convolve`] wants it; weights and biases start as in `torch.nn.Conv2d`.
pub(crate) fn convolution(channels: [usize; 2], side: usize, device: &Device) -> Conv2d {
    let half = side / 2;
    Conv2dConfig::new(channels, [side, side])
        .with_padding(PaddingConfig2d::Explicit(half, half, half, half))
        .init(device)
}

/// Configuration to create a [`CellFusion`] module using the [init function](CellFusionConfig::init).
#[derive(Config, Debug)]
pub struct CellFusionConfig {
    /// Channels of the image embedding and of each tap, in the order in which they are read.
    pub in_channels: Vec<usize>,
    /// Channels of the result, `F`.
    pub channels: usize,
    /// 3x3 convolutions after the sum.
    #[config(default = 2)]
    pub depth: usize,
}

impl CellFusionConfig {
    /// For the embedding of a backbone and the outputs of the blocks `taps`.
    pub fn of(backbone: &BackboneInfo, taps: &[usize], channels: usize) -> Self {
        let mut in_channels = vec![backbone.embed_dim];
        in_channels.extend(backbone.widths(taps));
        Self::new(in_channels, channels)
    }

    /// Creates the module on `device`; weights and biases start as in `torch.nn.Conv2d`.
    pub fn init(&self, device: &Device) -> CellFusion {
        let projection = |&input: &usize| convolution([input, self.channels], 1, device);
        let mix = |_| convolution([self.channels, self.channels], 3, device);
        CellFusion {
            projections: self.in_channels.iter().map(projection).collect(),
            mix: (0..self.depth).map(mix).collect(),
        }
    }
}

/// Joins the image embedding and tapped block outputs into one map.
///
/// `sum_i conv1x1_i(standardize(x_i))`, then `depth` times ReLU and a 3x3 convolution, and a ReLU at the end.
/// `standardize` takes from every cell its mean over the channels and divides by the deviation: the residual
/// stream of a vision transformer grows from block to block, and no map shall drown another one. A sum of
/// projections is the 1x1 convolution of the maps concatenated.
///
/// Should be created with [`CellFusionConfig`].
#[derive(Module, Debug)]
pub struct CellFusion {
    projections: Vec<Conv2d>,
    mix: Vec<Conv2d>,
}

impl CellFusion {
    /// Joins what a module got.
    ///
    /// # Shapes
    ///
    /// - `input`: embedding `[B, C, H, W]` and taps, each `[B, width, H, W]`
    /// - returns: `[B, F, H, W]`, nothing below zero
    ///
    /// # Panics
    ///
    /// Panics if there are more or fewer taps than the module was made for: a bug in the caller.
    pub fn forward(&self, input: PromptInput) -> Tensor<4> {
        let PromptInput { image_embedding, block_features, .. } = input;
        let maps = 1 + block_features.len();
        assert_eq!(maps, self.projections.len(), "as many maps as projections");
        let maps = std::iter::once(image_embedding).chain(block_features);
        let projected = maps.zip(&self.projections);
        let projected = projected.map(|(map, layer)| convolve(layer, standardize(map)));
        let mut features = projected.reduce(|a, b| a + b).expect("an embedding at least");
        for layer in &self.mix {
            features = convolve(layer, relu(features));
        }
        relu(features)
    }
}

/// Zero mean and unit deviation over the channels of every cell.
fn standardize(map: Tensor<4>) -> Tensor<4> {
    let centered = map.clone() - map.mean_dim(1);
    let variance = centered.clone().powi_scalar(2).mean_dim(1);
    centered / (variance + EPSILON).sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;
    use crate::{contract::small_backbone, num_trainable_params};

    #[test]
    fn cells_are_standardized_over_their_channels() {
        let map = Tensor::<1>::from_data([1.0, 0.0, 3.0, 0.0, 5.0, 6.0], &Device::flex());
        // Two cells of three channels: (1, 3, 5) and (0, 0, 6), deviations sqrt(8 / 3) and sqrt(8).
        let result = standardize(map.reshape([1, 3, 1, 2])).into_data();
        let (a, b) = (2.0 / (8.0_f32 / 3.0).sqrt(), 8.0_f32.sqrt());
        let expected =
            Tensor::<1>::from_data([-a, -2.0 / b, 0.0, -2.0 / b, a, 4.0 / b], &Device::flex());
        let expected = expected.reshape([1, 3, 1, 2]).into_data();
        result.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
    }

    #[test]
    fn scale_and_offset_of_a_map_do_not_matter() {
        let device = Device::flex();
        let backbone = small_backbone();
        let fusion = CellFusionConfig::of(&backbone, &[7], 4).init(&device);
        let random = |channels: usize| {
            Tensor::<4>::random([2, channels, 5, 5], Distribution::Normal(0.0, 1.0), &device)
        };
        let (embedding, tap) = (random(backbone.embed_dim), random(backbone.block_widths[7]));
        let input = |tap: Tensor<4>| PromptInput {
            image_embedding: embedding.clone(),
            block_features: vec![tap],
            image: None,
            seeds: vec![0, 1],
        };
        let plain = fusion.forward(input(tap.clone()));
        let scaled = fusion.forward(input(tap * 100.0 + 7.0));
        // The variance is 1e4 times as large beside the same epsilon, and so is rounding beside an offset of 7.
        scaled.into_data().assert_approx_eq::<f32>(&plain.into_data(), Tolerance::absolute(1e-4));
        // 1x1 convolutions of 8 and 12 channels, two 3x3 ones, all with bias.
        let expected = (8 * 4 + 4) + (12 * 4 + 4) + 2 * (4 * 4 * 9 + 4);
        assert_eq!(num_trainable_params(&fusion), expected);
    }
}
