//! SAM as adapters see it: shared, outside autodiff, unchangeable.

use std::{fmt, ops::ControlFlow, str::FromStr, sync::Arc};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, FloatDType, Tensor},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::SamConfig, image_encoder::EncoderOutput, mask_decoder::MaskDecoderOutput,
    prompt_encoder::Prompts, sam::Sam, tensor_hash::tensor_hash,
};

/// In which numbers the image encoder computes. Prompt encoder, decoder and all that is trained stay in `f32`.
///
/// On a GPU all of the encoder is in these numbers, and its results are widened to `f32`. On a CPU the factors of products are,
/// in linear layers and in SAM's attention: weights and inputs are rounded, sums and all else stay in `f32`
/// ([`fused_ops::linear`]). Processors with tiles (Intel's AMX) compute a ViT in `bf16` that way twice as fast as in `f32`. Elsewhere
/// halves take longer, since inputs are rounded in a pass of their own, and so does TinyViT, whose fused kernels are for `f32`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderPrecision {
    /// 24 bits of mantissa, as the checkpoints have them.
    #[default]
    F32,
    /// 11 bits, up to 65,504.
    F16,
    /// 8 bits, with the range of `f32`.
    Bf16,
}

impl EncoderPrecision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// As in experiment files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    const fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}

impl fmt::Display for EncoderPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EncoderPrecision {
    type Err = UnknownPrecisionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| UnknownPrecisionError { name: name.to_owned() })
    }
}

/// A name that no precision has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{name}`, expected one of `f32`, `f16`, `bf16`")]
pub struct UnknownPrecisionError {
    /// What was asked for.
    pub name: String,
}

/// Rounds parameters.
struct Round {
    to: FloatDType,
    /// Whether only matrices are rounded, which are factors of products: rounding the rest would save nothing.
    matrices_only: bool,
}

impl ModuleMapper for Round {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Self { to, matrices_only } = *self;
        param.map(|tensor| if matrices_only && D != 2 { tensor } else { tensor.cast(to) })
    }
}

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
    precision: EncoderPrecision,
}

impl FrozenSam {
    /// Freezes `sam`, which was built from `config`.
    pub fn new(sam: Sam, config: SamConfig, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let sam = sam.valid().no_grad();
        let image_pe = sam.prompt_encoder.dense_pe();
        let precision = EncoderPrecision::F32;
        Self { inner: Arc::new(Inner { sam, config, image_pe, device, precision }) }
    }

    /// The same SAM with an image encoder that computes in other numbers.
    #[must_use]
    pub fn with_encoder_precision(&self, precision: EncoderPrecision) -> Self {
        let Inner { sam, config, image_pe, device, .. } = &*self.inner;
        let mut sam = sam.clone();
        let matrices_only = fused_ops::takes_weights_in_halves(device);
        let mut round = Round { to: precision.dtype(), matrices_only };
        sam.image_encoder = sam.image_encoder.map(&mut round);
        let sam = sam.no_grad();
        let (config, image_pe, device) = (config.clone(), image_pe.clone(), device.clone());
        Self { inner: Arc::new(Inner { sam, config, image_pe, device, precision }) }
    }

    /// The sizes of this SAM.
    pub fn config(&self) -> &SamConfig {
        &self.inner.config
    }

    /// In which numbers the image encoder computes.
    pub fn encoder_precision(&self) -> EncoderPrecision {
        self.inner.precision
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

    /// Encodes prepared images without keeping a graph. Results are `f32` whatever the encoder computes in.
    ///
    /// # Shapes
    ///
    /// - `images`: `[B, 3, S, S]`; tracked images lose their tracking
    pub fn encode(&self, images: Tensor<4>, taps: &[usize]) -> EncoderOutput {
        let never = self.encode_watched(images, taps, &mut |_, _| ControlFlow::Continue(()));
        never.expect("nobody ended it")
    }

    /// The same for somebody who waits, and who may end it between two blocks; see
    /// [`ImageEncoder::forward_watched`](crate::ImageEncoder::forward_watched).
    pub fn encode_watched(
        &self,
        images: Tensor<4>,
        taps: &[usize],
        watch: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Option<EncoderOutput> {
        let images = images.without_autodiff();
        let encoder = &self.inner.sam.image_encoder;
        let stays_in_f32 = self.inner.precision == EncoderPrecision::F32
            || fused_ops::takes_weights_in_halves(&self.inner.device);
        if stays_in_f32 {
            return encoder.forward_watched(images, taps, watch);
        }
        let images = images.cast(self.inner.precision.dtype());
        let output = encoder.forward_watched(images, taps, watch)?;
        let widen = |tensor: Tensor<4>| tensor.cast(FloatDType::F32);
        Some(EncoderOutput {
            image_embedding: widen(output.image_embedding),
            block_features: output.block_features.into_iter().map(widen).collect(),
        })
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

#[cfg(test)]
mod tests {
    use serde::de::{IntoDeserializer as _, value::Error};

    use super::*;

    /// The benchmarks write the name into an experiment.
    #[test]
    fn precisions_have_one_name_on_the_command_line_and_in_experiments() {
        for precision in EncoderPrecision::ALL {
            let name = precision.name();
            assert_eq!(name.parse(), Ok(precision));
            let read: Result<_, Error> = EncoderPrecision::deserialize(name.into_deserializer());
            assert_eq!(read, Ok(precision), "{name}");
        }
        let error = "f64".parse::<EncoderPrecision>().expect_err("no such precision").to_string();
        let names = EncoderPrecision::ALL.map(|precision| format!("`{precision}`")).join(", ");
        assert_eq!(error, format!("unknown precision `f64`, expected one of {names}"));
    }
}
