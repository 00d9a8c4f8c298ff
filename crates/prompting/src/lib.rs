//! The socket between frozen SAM features and whatever proposes prompts.
//!
//! It holds one trait, [`PromptModule`], what a module gets ([`PromptInput`]) and gives ([`Proposal`]), and the
//! contract that every implementation must keep ([`contract`]). It holds no algorithm: how prompts are found is
//! a matter of the crate that implements the trait (`apm`, `box-prompting`, ...), what happens to them a matter
//! of `sam-backbone`'s prompt encoder.
//!
//! # What a module may give
//!
//! Points with labels, a box, a mask input, or any mixture of them ([`Prompts`]); one such prompt per image, or
//! several *hypotheses*. SAM's decoder answers each hypothesis, and of an image's answers the one counts that
//! SAM itself predicts the highest IoU for (the first of equals): SAM's own predictor chooses among its three
//! masks the same way, and no truth is needed for it.
//!
//! # What it may ask for
//!
//! | what | how | who pays |
//! | --- | --- | --- |
//! | the image embedding | [`PromptInput::image_embedding`] | nobody: SAM's decoder needs it anyway |
//! | outputs of encoder blocks | [`PromptModule::taps`] | only the blocks it names are stored and read |
//! | the image, as the encoder sees it | [`PromptModule::needs_image`] | it is decoded again for this module only |
//! | the truth of training images | [`PromptModule::propose_training`], [`PromptModule::fit`] | nobody |
//! | chance | [`PromptInput::seeds`], the seed of [`PromptModule::fit`] | nobody |
//!
//! Nobody can ask for the truth of a test image: [`PromptModule::propose`] has no argument that holds one.
//! Whatever is drawn is drawn from the seeds: they depend on the seed of the run, the epoch (0 outside of
//! training) and the image, and not on the batch or what was drawn before.
//!
//! # How it may learn
//!
//! [`PromptModule::learning`] says which:
//!
//! - [`Learning::Gradient`]: step by step. The loss on SAM's mask reaches the module through the frozen decoder;
//!   [`PromptModule::propose_training`] can add a loss of its own, and can keep the gradient of the mask away
//!   ([`OwnLoss::mask_gradient`]).
//! - [`Learning::Fitted`]: at once, on a few training images, before anything is evaluated
//!   ([`PromptModule::fit`]). What was found lies in the module's parameters, so it is saved and loaded like
//!   everything trained; none of them asks for a gradient.
//! - [`Learning::Fixed`]: not at all. Such a module has no parameters.
//!
//! # What it costs
//!
//! Parameters are counted by [`num_trainable_params`], whichever way they were found; the time that proposing
//! takes is measured at evaluation. A module does nothing for either.

pub mod contract;
mod fitting;
mod fusion;
mod options;
mod parameters;
mod places;
mod proposal;

use std::fmt;

use burn::{
    module::{Module, ModuleDisplay},
    tensor::{Device, Tensor},
};
pub use fitting::{Example, ExampleError, FitError, FitReport, TrainingExamples};
pub use fusion::{CellFusion, CellFusionConfig, convolve};
pub use options::{OptionDoc, option_docs, option_table, schema_of, word_docs};
pub use parameters::{draw_parameters, num_trainable_params};
pub use places::cell_centers;
pub use proposal::{OwnLoss, Proposal, TrainingProposal, TrainingTruth, foreground_point};
pub use sam_backbone::{MapPrompts, PointLabel, PromptPart, Prompts};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

/// What a prompt module is told about the frozen backbone when it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackboneInfo {
    /// Channels of the output of every block, first to last; all the same in a plain vision transformer.
    pub block_widths: Vec<usize>,
    /// Channels of the image embedding, `C`.
    pub embed_dim: usize,
    /// Side of embedding and block outputs, `H = W`.
    pub grid_size: usize,
    /// Side of the square input in pixels: the frame of all prompts.
    pub input_size: usize,
    /// Blocks (0-based, ascending) whose outputs are worth tapping: of SAM those with global attention. See
    /// [`ImageEncoderConfig::tap_blocks`](sam_backbone::ImageEncoderConfig::tap_blocks).
    pub tap_blocks: Vec<usize>,
}

impl BackboneInfo {
    /// Side of mask inputs and of the decoder's masks, `4H`.
    pub const fn low_res_size(&self) -> usize {
        4 * self.grid_size
    }

    /// Blocks of the encoder.
    pub fn depth(&self) -> usize {
        self.block_widths.len()
    }

    /// Channels of the outputs of these blocks.
    ///
    /// # Panics
    ///
    /// Panics if a tap is not a block of the encoder: a bug in the caller.
    pub fn widths(&self, taps: &[usize]) -> Vec<usize> {
        taps.iter().map(|&tap| self.block_widths[tap]).collect()
    }

    /// The last `count` of [`tap_blocks`](Self::tap_blocks), deepest first.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] about `option` if there are fewer.
    pub fn last_tap_blocks(
        &self,
        count: usize,
        option: &'static str,
    ) -> Result<Vec<usize>, PromptOptionError> {
        let blocks = &self.tap_blocks;
        if count > blocks.len() {
            let reason = format!(
                "asks for the last {count} of the blocks that this backbone has for it, which are {} (0-based: {blocks:?})",
                blocks.len()
            );
            return Err(PromptOptionError { option, reason });
        }
        Ok(blocks.iter().rev().take(count).copied().collect())
    }
}

/// What a prompt module gets for a batch of images.
#[derive(Debug, Clone)]
pub struct PromptInput {
    /// `[B, C, H, W]`
    pub image_embedding: Tensor<4>,
    /// Outputs of the blocks that [`PromptModule::taps`] names, in that order, each `[B, width, H, W]`.
    pub block_features: Vec<Tensor<4>>,
    /// The images as the encoder sees them, `[B, 3, S, S]`, normalized, padding included; `None` unless
    /// [`PromptModule::needs_image`] asks for them.
    pub image: Option<Tensor<4>>,
    /// One number per image for whatever is left to chance.
    pub seeds: Vec<u64>,
}

impl PromptInput {
    /// Images of the batch, `B`.
    pub fn batch_size(&self) -> usize {
        self.image_embedding.dims()[0]
    }
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

/// How a module comes to what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learning {
    /// Step by step, by gradients; see [`PromptModule::propose_training`].
    Gradient,
    /// At once, before evaluation; see [`PromptModule::fit`].
    Fitted {
        /// Training images that it wants, drawn by the seed of the run.
        images: usize,
    },
    /// Not at all.
    Fixed,
}

/// Something that proposes prompts from frozen features.
///
/// A module is a Burn [`Module`]: what it has learned are its parameters, whichever way it learns (see
/// [the crate](crate)).
///
/// # Contract
///
/// Checked by [`contract::check`]:
///
/// - prompts have the batch size of the input, lie within the input frame, and are numbers;
/// - the same input gives the same prompts, and a batch gives what its images give one by one (outside training,
///   where batch statistics are allowed);
/// - a module saved and loaded gives the prompts that it gave before;
/// - learning by gradient: there are parameters, every one receives a gradient of finite numbers and not all of them
///   are zero, an own loss is a finite number whatever the
///   truth is, and outside of training [`propose_training`](Self::propose_training) gives the prompts of
///   [`propose`](Self::propose);
/// - fitted: prompts are legal before and after, fitting twice gives the same bits, and no parameter asks for a
///   gradient;
/// - fixed: there are no parameters;
/// - the options have descriptions, and their defaults survive being written and read.
pub trait PromptModule: Module + Sync + ModuleDisplay + fmt::Debug + Clone + 'static {
    /// Name in experiment files: snake_case, unique.
    const NAME: &'static str;
    /// One line for `cargo xtask list`.
    const SUMMARY: &'static str;
    /// Whether it proposes anything. The module of methods without a module is the only one that does not.
    const PROPOSES: bool = true;
    /// `[prompt.options]` as people write it; unknown keys must be refused
    /// (`#[serde(deny_unknown_fields)]`). The documentation of its fields is what users read.
    type Spec: DeserializeOwned
        + Serialize
        + JsonSchema
        + fmt::Debug
        + Clone
        + Default
        + Send
        + Sync;

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

    /// How a module with these options learns.
    fn learning(spec: &Self::Spec) -> Learning {
        let _ = spec;
        Learning::Gradient
    }

    /// Blocks (0-based) whose outputs [`propose`](Self::propose) needs, in the order it needs them.
    /// Only these are computed into the feature store.
    fn taps(&self) -> Vec<usize>;

    /// Whether [`PromptInput::image`] is needed.
    fn needs_image(&self) -> bool {
        false
    }

    /// Proposes for each image: points with labels, boxes, a mask input, or a mixture; one hypothesis or several.
    ///
    /// Coordinates are `(x, y)` in pixels of the network input, origin at the top-left corner. Mask inputs are
    /// logits at the decoder's resolution, `[B, 1, 4H, 4W]`.
    ///
    /// SAM reads coordinates as numbers of pixels and adds the half that leads to a pixel's middle itself. So a module that
    /// has a place in lengths, where the first pixel reaches from 0 to 1, subtracts the half; one that does not prompts half
    /// a pixel to the right and below, in a frame of 256 or 1024.
    fn propose(&self, input: PromptInput) -> Proposal;

    /// Proposes while it learns by gradient: with the truth at hand, and with a loss of its own if it has one.
    ///
    /// By default what [`propose`](Self::propose) gives, and no loss of its own. The held-out part of the training
    /// images goes through it too, for their loss; the input is plain then, not part of a graph, and the
    /// prompts must be those of `propose`.
    ///
    /// - `truth`: of these images, which are training images
    fn propose_training(&self, input: PromptInput, truth: &TrainingTruth) -> TrainingProposal {
        let _ = truth;
        TrainingProposal { proposal: self.propose(input), own_loss: None }
    }

    /// Learns at once, if [`learning`](Self::learning) says so, on the plain device.
    ///
    /// A function of the options, the examples and the seed: the same ones give the same bits, so that a run that
    /// was interrupted ends like one that was not.
    ///
    /// - `examples`: as many training images as `learning` asked for, one at a time
    /// - `seed`: of the run, for whatever is left to chance
    ///
    /// # Errors
    ///
    /// [`FitError`] if the examples cannot be read or teach nothing.
    fn fit(&mut self, examples: &dyn TrainingExamples, seed: u64) -> Result<FitReport, FitError> {
        let _ = (examples, seed);
        Ok(FitReport::default())
    }
}
