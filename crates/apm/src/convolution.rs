//! Convolutions of this crate: `same` padding, by the kernel whose backward pass is a matrix product.

use burn::{nn::conv::Conv2d, tensor::Tensor};

/// Applies a layer that has a square kernel of odd side, padded by half of it.
pub(crate) fn convolve(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    let padding = layer.kernel_size.map(|side| side / 2);
    fused_ops::conv2d(input, layer.weight.val(), bias, layer.stride, padding)
}
