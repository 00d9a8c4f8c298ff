//! SAM as adapters see it: shared, outside autodiff, unchangeable.

use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};

use crate::{
    config::SamConfig, image_encoder::EncoderOutput, mask_decoder::MaskDecoderOutput,
    prompt_encoder::Prompts, sam::Sam, tensor_hash::tensor_hash,
};

/// A SAM whose weights nothing can change.
///
/// It lives on the plain device, so its weights are constants to autodiff: gradients flow through
/// the decoder to prompts and token shifts, and no graph and no gradient of SAM is ever kept.
/// Cloning shares the weights. A trained module holds it as `#[module(skip)]`, so that a checkpoint
/// holds adapters only.
#[derive(Debug, Clone)]
pub struct FrozenSam {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sam: Sam,
    config: SamConfig,
    /// `[1, C, H, W]`, the same for every image.
    image_pe: Tensor<4>,
    device: Device,
}

impl FrozenSam {
    /// Freezes `sam`, which was built from `config`.
    pub fn new(sam: Sam, config: SamConfig, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let sam = sam.valid().no_grad();
        let image_pe = sam.prompt_encoder.dense_pe();
        Self { inner: Arc::new(Inner { sam, config, image_pe, device }) }
    }

    /// The sizes of this SAM.
    pub fn config(&self) -> &SamConfig {
        &self.inner.config
    }

    /// The plain device that the weights are on.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// SHA-256 over all tensors; see [`tensor_hash`].
    pub fn hash(&self) -> String {
        tensor_hash(&self.inner.sam)
    }

    /// Number of frozen parameters.
    pub fn num_params(&self) -> usize {
        self.inner.sam.num_params()
    }

    /// Encodes prepared images without keeping a graph.
    ///
    /// # Shapes
    ///
    /// - `images`: `[B, 3, S, S]`; tracked images lose their tracking
    pub fn encode(&self, images: Tensor<4>, taps: &[usize]) -> EncoderOutput {
        self.inner.sam.encode(images.without_autodiff(), taps)
    }

    /// Masks for one prompt per image; gradients flow to `prompts` and `token_shift`.
    ///
    /// # Shapes
    ///
    /// - `image_embedding`: `[B, C, H, W]`
    /// - `token_shift`: `[B, T, C]`
    pub fn decode(
        &self,
        image_embedding: Tensor<4>,
        prompts: Prompts,
        token_shift: Option<Tensor<3>>,
        multimask_output: bool,
    ) -> MaskDecoderOutput {
        let image_pe = self.inner.image_pe.clone();
        self.inner.sam.decode_at(image_pe, image_embedding, prompts, token_shift, multimask_output)
    }
}
