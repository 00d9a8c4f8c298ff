//! CPU kernels with gradients for the operations that training a vision transformer spends its time in.
//!
//! Burn's autodiff decomposes layer norm, attention and GELU into primitive operations, each a pass
//! over memory forward and several backward. Here each is one operation with a backward pass of its
//! own. They are used for `f32` on the CPU, [with weights in halves](linear#weights-in-halves) too where no graph is kept, convolution
//! and attention between two sequences only where one is; everywhere else the functions of this crate call Burn's operations, on a GPU products of matrices for
//! convolution and attention, except
//! [`window_attention`], which Burn does not have: ask [`has_window_attention`] first. Without a graph it is
//! another kernel, which keeps nothing and knows windows of any size.
//!
//! [`conv2d_channels_last`], [`depthwise_channels_last`], [`inverted_bottleneck`], [`normed_mlp_add`] and [`biased_window_attention_add`] are for inference:
//! they have kernels only where no graph is kept.
//!
//! Results do not depend on the number of threads.

mod autodiff;
mod inference;
mod kernels;
mod ops;
mod products;

pub use inference::{
    Affine, BiasedAttentionParameters, MlpParameters, biased_window_attention_add,
    conv2d_channels_last, depthwise_channels_last, has_biased_window_attention,
    inverted_bottleneck, normed_mlp_add,
};
pub use kernels::{gelu::Activation, inverted_bottleneck::Shortcut, tiles::available as has_tiles};
pub use ops::{
    LinearLayer, attention, attention_of_heads, conv2d, gelu, has_window_attention, layer_norm,
    linear, linear_add, linear_gelu, mlp_add, takes_weights_in_halves, window_attention,
};
