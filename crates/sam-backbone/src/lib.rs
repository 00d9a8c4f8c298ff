//! Segment Anything (SAM) in Burn.
//!
//! The three parts of SAM ([`ImageEncoder`], [`PromptEncoder`], [`MaskDecoder`]) under the names and
//! the key layout of the official checkpoints, with exact pre- and post-processing and a loader that
//! reads `.pth` and safetensors files as data. This crate knows nothing of ProMISe: it adds just two
//! openings that adapters need, the outputs of chosen encoder blocks ([`EncoderOutput::block_features`])
//! and an optional offset of the mask tokens ([`MaskDecoder::forward`]).
//!
//! The image encoder is SAM's or [MobileSAM's](Variant::VitT); all else is the same for both.
//!
//! Source: Kirillov et al., "Segment Anything", ICCV 2023; Zhang et al., "Faster Segment Anything" (MobileSAM),
//! arXiv 2306.14289. PyPI `segment-anything` 1.0 and `mobilesam-mirror` 1.0.0 are the references that the parity
//! tests compare with.
//!
//! # Axis letters
//!
//! `B` batch, `C` channels, `H W` space, `P` points, `N` sparse tokens, `T` mask tokens, `L` blocks.

mod area;
mod attention;
mod checkpoints;
mod common;
mod config;
mod frozen;
mod image_encoder;
mod mask_decoder;
mod micro;
mod postprocess;
mod preprocess;
mod prompt_encoder;
mod prompts;
mod resize_weights;
mod sam;
mod tensor_hash;
mod tiny_vit;
mod transformer;
mod vit;
mod weights;

pub use attention::RelativePositionAttention;
pub use checkpoints::{KNOWN_CHECKPOINTS, KnownCheckpoint, Origin};
pub use common::{LayerNorm2d, MlpBlock};
pub use config::{
    Architecture, ImageEncoderConfig, MaskDecoderConfig, SamConfig, TinyVitConfig,
    UnknownVariantError, Variant, VitConfig,
};
pub use frozen::{EncoderPrecision, FrozenSam, UnknownPrecisionError};
pub use image_encoder::{EncoderOutput, ImageEncoder};
pub use mask_decoder::{MaskDecoder, MaskDecoderOutput};
pub use micro::MICRO_WEIGHTS;
pub use postprocess::{OUTSIDE_LOGIT, masks_in_image, resize_bilinear};
pub use preprocess::{
    Crop, Frame, ImageSize, PIXEL_MEAN, PIXEL_STD, ResizeMode, UnknownResizeModeError, input_image,
    input_mask, input_tensor, resize_image,
};
pub use prompt_encoder::{PointLabel, PromptEmbeddings, PromptEncoder, Prompts};
pub use prompts::{MapPrompts, PromptPart};
pub use sam::Sam;
pub use tensor_hash::tensor_hash;
pub use transformer::TwoWayTransformer;
pub use weights::{LoadReport, WeightsError, WeightsSource, load_weights, save_weights};
