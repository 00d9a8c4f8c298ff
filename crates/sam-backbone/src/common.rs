//! Blocks that several parts of SAM share.

use burn::{
    module::{Module, Param},
    nn::{Initializer, LayerNorm, Linear, LinearConfig},
    tensor::{Device, Tensor, activation},
};

/// Epsilon of the layer norms in the encoder, its neck, and of every [`LayerNorm2d`].
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-6;

/// A linear layer through our kernels where they apply.
pub(crate) fn linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    fused_ops::linear(input, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// `residual` plus a linear layer, through our kernels where they apply.
pub(crate) fn linear_add<const D: usize>(
    layer: &Linear,
    input: Tensor<D>,
    residual: Tensor<D>,
) -> Tensor<D> {
    let bias = layer.bias.as_ref().map(Param::val);
    fused_ops::linear_add(input, layer.weight.val(), bias, residual)
}

/// A layer norm through our kernels where they apply. `epsilon` must be the layer's own, which
/// Burn keeps to itself.
pub(crate) fn layer_norm<const D: usize>(
    layer: &LayerNorm,
    epsilon: f64,
    input: Tensor<D>,
) -> Tensor<D> {
    match &layer.beta {
        Some(beta) => fused_ops::layer_norm(input, layer.gamma.val(), beta.val(), epsilon),
        None => layer.forward(input),
    }
}

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
        self.forward_channels_last(channels_last).permute([0, 3, 1, 2])
    }

    /// # Shapes
    ///
    /// - `image`: `[.., C]`
    /// - returns: the same
    pub(crate) fn forward_channels_last<const D: usize>(&self, image: Tensor<D>) -> Tensor<D> {
        fused_ops::layer_norm(image, self.weight.val(), self.bias.val(), LAYER_NORM_EPSILON)
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
        linear(&self.lin2, self.hidden(tokens))
    }

    /// `residual + forward(tokens)`
    pub fn forward_add<const D: usize>(&self, tokens: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        if self.relu {
            return linear_add(&self.lin2, self.hidden(tokens), residual);
        }
        let layers = [&self.lin1, &self.lin2].map(|layer| {
            let bias = layer.bias.as_ref().map(Param::val);
            (layer.weight.val(), bias)
        });
        fused_ops::mlp_add(tokens, layers, residual)
    }

    fn hidden<const D: usize>(&self, tokens: Tensor<D>) -> Tensor<D> {
        if self.relu {
            activation::relu(linear(&self.lin1, tokens))
        } else {
            let bias = self.lin1.bias.as_ref().map(Param::val);
            fused_ops::linear_gelu(tokens, self.lin1.weight.val(), bias)
        }
    }
}
