//! The three parts together.

use burn::{module::Module, tensor::Tensor};

use crate::{
    image_encoder::{EncoderOutput, ImageEncoder},
    mask_decoder::{MaskDecoder, MaskDecoderOutput},
    prompt_encoder::{PromptEncoder, Prompts},
};

/// SAM: image encoder, prompt encoder and mask decoder.
///
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct Sam {
    /// Images to embeddings.
    pub image_encoder: ImageEncoder,
    /// Prompts to tokens.
    pub prompt_encoder: PromptEncoder,
    /// Both to masks.
    pub mask_decoder: MaskDecoder,
}

impl Sam {
    /// Encodes prepared images; see [`ImageEncoder::forward`].
    pub fn encode(&self, images: Tensor<4>, taps: &[usize]) -> EncoderOutput {
        self.image_encoder.forward(images, taps)
    }

    /// Masks for one prompt per image; see [`MaskDecoder::forward`].
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
        let image_pe = self.prompt_encoder.dense_pe();
        self.decode_at(image_pe, image_embedding, prompts, token_shift, multimask_output)
    }

    /// [`decode`](Self::decode) with the position encoding of the image given, `[1, C, H, W]`.
    pub(crate) fn decode_at(
        &self,
        image_pe: Tensor<4>,
        image_embedding: Tensor<4>,
        prompts: Prompts,
        token_shift: Option<Tensor<3>>,
        multimask_output: bool,
    ) -> MaskDecoderOutput {
        let prompts = self.prompt_encoder.forward(prompts, image_embedding.dims()[0]);
        self.mask_decoder.forward(image_embedding, image_pe, prompts, token_shift, multimask_output)
    }
}
