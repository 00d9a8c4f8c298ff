//! Blocks that several parts of SAM share.

use burn::{
    module::{Module, Param},
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, activation, module::layer_norm},
};

/// Epsilon of the layer norms in the encoder, its neck, and of every [`LayerNorm2d`].
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-6;

/// Layer normalization over the channels of an image: `y = (x - E[x]) / sqrt(Var[x] + eps) * w + b`,
/// mean and variance over `C` at each pixel.
///
/// Source: `segment_anything/modeling/common.py`, `LayerNorm2d`. The fields keep its names, so that
/// checkpoints load without renaming.
#[derive(Module, Debug)]
pub struct LayerNorm2d {
    /// `[C]`
    weight: Param<Tensor<1>>,
    /// `[C]`
    bias: Param<Tensor<1>>,
}

impl LayerNorm2d {
    /// Normalization of `channels` channels, initialized to the identity scale.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([channels], device),
            bias: Initializer::Zeros.init([channels], device),
        }
    }

    /// # Shapes
    ///
    /// - `image`: `[B, C, H, W]`
    /// - returns: the same
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let channels_last = image.permute([0, 2, 3, 1]);
        layer_norm(channels_last, self.weight.val(), Some(self.bias.val()), LAYER_NORM_EPSILON)
            .permute([0, 3, 1, 2])
    }
}

/// Two linear layers with a nonlinearity between them.
///
/// Source: `segment_anything/modeling/common.py`, `MLPBlock`.
#[derive(Module, Debug)]
pub struct MlpBlock {
    lin1: Linear,
    lin2: Linear,
    #[module(skip)]
    relu: bool,
}

impl MlpBlock {
    /// An MLP with GELU, as in the image encoder.
    pub fn gelu(width: usize, hidden: usize, device: &Device) -> Self {
        Self::new(width, hidden, false, device)
    }

    /// An MLP with ReLU, as in the two-way transformer.
    pub fn relu(width: usize, hidden: usize, device: &Device) -> Self {
        Self::new(width, hidden, true, device)
    }

    fn new(width: usize, hidden: usize, relu: bool, device: &Device) -> Self {
        Self {
            lin1: LinearConfig::new(width, hidden).init(device),
            lin2: LinearConfig::new(hidden, width).init(device),
            relu,
        }
    }

    /// # Shapes
    ///
    /// - `tokens`: `[.., C]`
    /// - returns: the same
    pub fn forward<const D: usize>(&self, tokens: Tensor<D>) -> Tensor<D> {
        let hidden = self.lin1.forward(tokens);
        let hidden = if self.relu { activation::relu(hidden) } else { activation::gelu(hidden) };
        self.lin2.forward(hidden)
    }
}
