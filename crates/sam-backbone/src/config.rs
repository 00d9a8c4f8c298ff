//! The sizes of every SAM variant, in one place.

use std::{fmt, str::FromStr};

use burn::{config::Config, tensor::Device};

use crate::{
    image_encoder::ImageEncoder, mask_decoder::MaskDecoder, prompt_encoder::PromptEncoder, sam::Sam,
};

/// A SAM variant by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// ViT-B: 12 blocks of width 768, input 1024.
    VitB,
    /// ViT-L: 24 blocks of width 1024, input 1024.
    VitL,
    /// ViT-H: 32 blocks of width 1280, input 1024.
    VitH,
    /// A small SAM of the same architecture for 256-pixel input, pre-trained by this project.
    Micro,
}

/// A name that no variant has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backbone `{name}`, expected one of {}", Variant::names())]
pub struct UnknownVariantError {
    /// What was asked for.
    pub name: String,
}

impl Variant {
    /// Every variant, smallest first.
    pub const ALL: [Self; 4] = [Self::Micro, Self::VitB, Self::VitL, Self::VitH];

    /// The name in experiment files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VitB => "vit_b",
            Self::VitL => "vit_l",
            Self::VitH => "vit_h",
            Self::Micro => "micro",
        }
    }

    fn names() -> String {
        Self::ALL.map(|variant| format!("`{}`", variant.name())).join(", ")
    }

    /// The sizes of this variant.
    ///
    /// ViT-B, -L and -H: `segment_anything/build_sam.py`. `micro` is ours.
    pub fn config(self) -> SamConfig {
        let vit = |width, depth, heads, global_blocks: &[usize]| SamConfig {
            image_encoder: ImageEncoderConfig::new(width, depth, heads, global_blocks.to_vec()),
            mask_decoder: MaskDecoderConfig::new(),
            mask_in_channels: 16,
        };
        match self {
            Self::VitB => vit(768, 12, 12, &[2, 5, 8, 11]),
            Self::VitL => vit(1024, 24, 16, &[5, 11, 17, 23]),
            Self::VitH => vit(1280, 32, 16, &[7, 15, 23, 31]),
            Self::Micro => SamConfig {
                image_encoder: ImageEncoderConfig::new(128, 8, 4, vec![1, 3, 5, 7])
                    .with_image_size(256)
                    .with_patch_size(8)
                    .with_window_size(8)
                    .with_embed_dim(128),
                mask_decoder: MaskDecoderConfig::new()
                    .with_mlp_dim(512)
                    .with_iou_head_hidden_dim(128),
                mask_in_channels: 16,
            },
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = UnknownVariantError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|variant| variant.name() == name)
            .ok_or_else(|| UnknownVariantError { name: name.to_owned() })
    }
}

/// Sizes of the image encoder, a plain vision transformer with windowed attention and a
/// convolutional neck.
#[derive(Config, Debug, PartialEq)]
pub struct ImageEncoderConfig {
    /// Channels of a token inside the transformer.
    pub width: usize,
    /// Transformer blocks, `L`.
    pub depth: usize,
    /// Attention heads of each block.
    pub n_heads: usize,
    /// Blocks (0-based) whose attention sees the whole image instead of a window.
    pub global_attention_blocks: Vec<usize>,
    /// Side of the square input in pixels.
    #[config(default = 1024)]
    pub image_size: usize,
    /// Side of a patch in pixels.
    #[config(default = 16)]
    pub patch_size: usize,
    /// Side of an attention window in tokens. The token grid is padded to a multiple of it.
    #[config(default = 14)]
    pub window_size: usize,
    /// Hidden width of a block's MLP as a multiple of `width`.
    #[config(default = 4)]
    pub mlp_ratio: usize,
    /// Channels of the image embedding, `C`.
    #[config(default = 256)]
    pub embed_dim: usize,
}

impl ImageEncoderConfig {
    /// Side of the token grid, which is also the side of the image embedding.
    pub fn grid_size(&self) -> usize {
        self.image_size / self.patch_size
    }
}

/// Sizes of the mask decoder.
#[derive(Config, Debug, PartialEq)]
pub struct MaskDecoderConfig {
    /// Layers of the two-way transformer.
    #[config(default = 2)]
    pub depth: usize,
    /// Heads of the two-way transformer.
    #[config(default = 8)]
    pub n_heads: usize,
    /// Hidden width of the MLP in the two-way transformer.
    #[config(default = 2048)]
    pub mlp_dim: usize,
    /// Masks predicted when an ambiguous prompt may have several answers. `T` is one more.
    #[config(default = 3)]
    pub n_multimask_outputs: usize,
    /// Layers of the head that predicts the IoU of each mask.
    #[config(default = 3)]
    pub iou_head_depth: usize,
    /// Hidden width of that head.
    #[config(default = 256)]
    pub iou_head_hidden_dim: usize,
}

/// Sizes of a whole SAM.
#[derive(Config, Debug, PartialEq)]
pub struct SamConfig {
    /// The image encoder.
    pub image_encoder: ImageEncoderConfig,
    /// The mask decoder.
    pub mask_decoder: MaskDecoderConfig,
    /// Hidden channels of the convolutions that embed a mask prompt.
    pub mask_in_channels: usize,
}

impl SamConfig {
    /// Builds SAM with fresh random weights; [`load_weights`](crate::load_weights) replaces them.
    pub fn init(&self, device: &Device) -> Sam {
        Sam {
            image_encoder: ImageEncoder::new(&self.image_encoder, device),
            prompt_encoder: PromptEncoder::new(
                self.image_encoder.embed_dim,
                self.image_encoder.grid_size(),
                self.image_encoder.image_size,
                self.mask_in_channels,
                device,
            ),
            mask_decoder: MaskDecoder::new(
                self.image_encoder.embed_dim,
                &self.mask_decoder,
                device,
            ),
        }
    }

    /// Mask tokens of the decoder, `T`: one for the single mask, the rest for multimask output.
    pub fn n_mask_tokens(&self) -> usize {
        self.mask_decoder.n_multimask_outputs + 1
    }

    /// Side of the masks that the decoder writes: four times the embedding's.
    pub fn low_res_size(&self) -> usize {
        4 * self.image_encoder.grid_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_lists_the_known_variants() {
        let error = "vit_x".parse::<Variant>().expect_err("no such variant");
        assert_eq!(
            error.to_string(),
            "unknown backbone `vit_x`, expected one of `micro`, `vit_b`, `vit_l`, `vit_h`"
        );
    }

    #[test]
    fn names_parse_back() {
        for variant in Variant::ALL {
            assert_eq!(variant.name().parse(), Ok(variant));
        }
    }

    /// The number is `sum(p.numel() for p in sam.parameters())` of PyPI `segment-anything` 1.0's
    /// ViT-B.
    #[test]
    fn vit_b_has_the_official_number_of_parameters() {
        use burn::module::Module;
        // Weights are lazy in Burn, so counting does not allocate them.
        let sam = Variant::VitB.config().init(&Device::flex());
        assert_eq!(sam.num_params(), 93_735_472 + OFFICIAL_BUFFERS);
    }

    /// The Gaussian matrix of the position encoding is a buffer in PyTorch and a parameter here.
    const OFFICIAL_BUFFERS: usize = 2 * 128;
}
