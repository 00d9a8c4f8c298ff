//! The socket between frozen SAM features and whatever proposes prompts.
//!
//! It holds one trait, [`PromptModule`], what a module gets ([`PromptInput`]), and the contract that
//! every implementation must keep ([`contract`]). It holds no algorithm: how points are predicted is
//! a matter of the crate that implements the trait (`apm`), what happens to them a matter of
//! `sam-backbone`'s prompt encoder.

pub mod contract;
mod parameters;

use std::fmt;

use burn::{
    module::{Module, ModuleDisplay},
    tensor::{Device, Tensor},
};
pub use parameters::{draw_parameters, num_trainable_params};
pub use sam_backbone::{PointLabel, Prompts};
use serde::{Serialize, de::DeserializeOwned};

/// What a prompt module is told about the frozen backbone when it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneInfo {
    /// Channels of a block's output.
    pub width: usize,
    /// Channels of the image embedding, `C`.
    pub embed_dim: usize,
    /// Side of embedding and block outputs, `H = W`.
    pub grid_size: usize,
    /// Side of the square input in pixels: the frame of all prompts.
    pub input_size: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Blocks with global attention (0-based, ascending): where features are worth tapping.
    pub global_attention_blocks: Vec<usize>,
}

/// What a prompt module gets for a batch of images.
#[derive(Debug, Clone)]
pub struct PromptInput {
    /// `[B, C, H, W]`
    pub image_embedding: Tensor<4>,
    /// Outputs of the blocks that [`PromptModule::taps`] names, in that order, each `[B, width, H, W]`.
    pub block_features: Vec<Tensor<4>>,
}

/// An option of a prompt module that cannot be used with this backbone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prompt option `{option}`: {reason}")]
pub struct PromptOptionError {
    /// The key in `[prompt.options]`.
    pub option: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

/// Something that proposes prompts from frozen features.
///
/// A module is a Burn [`Module`]: its parameters are trained end to end, through SAM's frozen
/// prompt encoder and mask decoder. A module without parameters is legal.
///
/// # Contract
///
/// Checked by [`contract::check`]:
///
/// - prompts have the batch size of the input and lie within the input frame;
/// - the same input gives the same prompts, and a batch gives what its images give one by one
///   (outside training, where batch statistics are allowed);
/// - every parameter receives a gradient.
pub trait PromptModule: Module + Sync + ModuleDisplay + fmt::Debug + Clone + 'static {
    /// Name in experiment files: snake_case, unique.
    const NAME: &'static str;
    /// One line for `cargo xtask list`.
    const SUMMARY: &'static str;
    /// `[prompt.options]` as people write it; unknown keys must be refused
    /// (`#[serde(deny_unknown_fields)]`).
    type Spec: DeserializeOwned + Serialize + fmt::Debug + Clone + Default + Send + Sync;

    /// Checks the options against the backbone and builds the module with fresh random weights.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if an option does not fit the backbone or another option.
    fn from_spec(
        spec: &Self::Spec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError>;

    /// Blocks (0-based) whose outputs [`propose`](Self::propose) needs, in the order it needs them.
    /// Only these are computed into the feature store.
    fn taps(&self) -> Vec<usize>;

    /// Proposes one prompt per image: points with labels, boxes, a mask input, or a mixture.
    ///
    /// Coordinates are `(x, y)` in pixels of the network input, origin at the top-left corner.
    fn propose(&self, input: PromptInput) -> Prompts;
}
