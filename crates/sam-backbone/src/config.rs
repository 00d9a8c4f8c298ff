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
    /// MobileSAM: TinyViT of 12 blocks and 5 million parameters as encoder, input 1024, otherwise as the others.
    VitT,
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
    pub const ALL: [Self; 5] = [Self::Micro, Self::VitT, Self::VitB, Self::VitL, Self::VitH];

    /// The name in experiment files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VitB => "vit_b",
            Self::VitL => "vit_l",
            Self::VitH => "vit_h",
            Self::Micro => "micro",
            Self::VitT => "vit_t",
        }
    }

    fn names() -> String {
        Self::ALL.map(|variant| format!("`{}`", variant.name())).join(", ")
    }

    /// The sizes of this variant.
    ///
    /// ViT-B, -L and -H: `segment_anything/build_sam.py`. ViT-T: `mobile_sam/build_sam.py`. `micro` is ours.
    pub fn config(self) -> SamConfig {
        let sam = |image_encoder| SamConfig {
            image_encoder,
            mask_decoder: MaskDecoderConfig::new(),
            mask_in_channels: 16,
        };
        let vit = |width, depth, heads, global_blocks: &[usize]| {
            let vit = VitConfig::new(width, depth, heads, global_blocks.to_vec());
            sam(ImageEncoderConfig::new(Architecture::Vit(vit)))
        };
        match self {
            Self::VitB => vit(768, 12, 12, &[2, 5, 8, 11]),
            Self::VitL => vit(1024, 24, 16, &[5, 11, 17, 23]),
            Self::VitH => vit(1280, 32, 16, &[7, 15, 23, 31]),
            Self::Micro => SamConfig {
                image_encoder: ImageEncoderConfig::new(Architecture::Vit(
                    VitConfig::new(128, 8, 4, vec![1, 3, 5, 7]).with_window_size(8),
                ))
                .with_image_size(256)
                .with_patch_size(8)
                .with_embed_dim(128),
                mask_decoder: MaskDecoderConfig::new()
                    .with_mlp_dim(512)
                    .with_iou_head_hidden_dim(128),
                mask_in_channels: 16,
            },
            Self::VitT => sam(ImageEncoderConfig::new(Architecture::TinyVit(TinyVitConfig::new()))),
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

/// Sizes of the image encoder.
#[derive(Config, Debug, PartialEq)]
pub struct ImageEncoderConfig {
    /// What lies between image and neck.
    pub architecture: Architecture,
    /// Side of the square input in pixels.
    #[config(default = 1024)]
    pub image_size: usize,
    /// Side in pixels of what a cell of the embedding stands for: a plain vision transformer's patch. [`TinyVit`] knows
    /// 16 only.
    ///
    /// [`TinyVit`]: Architecture::TinyVit
    #[config(default = 16)]
    pub patch_size: usize,
    /// Channels of the image embedding, `C`.
    #[config(default = 256)]
    pub embed_dim: usize,
}

/// The kind of an image encoder, with the sizes that only this kind has.
#[derive(Config, Debug, PartialEq)]
pub enum Architecture {
    /// SAM's own: a plain vision transformer.
    Vit(VitConfig),
    /// MobileSAM's: convolutions first, windowed attention at three scales then.
    TinyVit(TinyVitConfig),
}

/// Sizes of a plain vision transformer with windowed attention.
#[derive(Config, Debug, PartialEq)]
pub struct VitConfig {
    /// Channels of a token inside the transformer.
    pub width: usize,
    /// Transformer blocks, `L`.
    pub depth: usize,
    /// Attention heads of each block.
    pub n_heads: usize,
    /// Blocks (0-based) whose attention sees the whole image instead of a window.
    pub global_attention_blocks: Vec<usize>,
    /// Side of an attention window in tokens. The token grid is padded to a multiple of it.
    #[config(default = 14)]
    pub window_size: usize,
    /// Hidden width of a block's MLP as a multiple of `width`.
    #[config(default = 4)]
    pub mlp_ratio: usize,
}

/// Sizes of TinyViT as MobileSAM has it. The defaults are TinyViT-5M's.
///
/// Source: `mobile_sam/build_sam.py`, `build_sam_vit_t`.
#[derive(Config, Debug, PartialEq)]
pub struct TinyVitConfig {
    /// Channels of the four stages. The first is even.
    #[config(default = "[64, 128, 160, 320]")]
    pub widths: [usize; 4],
    /// Blocks of the four stages, at least one in each.
    #[config(default = "[2, 2, 6, 2]")]
    pub depths: [usize; 4],
    /// Attention heads of the second to fourth stage; they divide the width.
    #[config(default = "[4, 5, 10]")]
    pub n_heads: [usize; 3],
    /// Side of an attention window in tokens, second to fourth stage. The map is padded to a multiple of it.
    #[config(default = "[7, 14, 7]")]
    pub window_sizes: [usize; 3],
    /// Hidden channels of a block of the first stage as a multiple of its width.
    #[config(default = 4)]
    pub expansion: usize,
    /// Hidden width of the MLP of a block of attention as a multiple of its width.
    #[config(default = 4)]
    pub mlp_ratio: usize,
}

impl ImageEncoderConfig {
    /// Side of the image embedding, and of all block outputs, in cells.
    pub fn grid_size(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Channels of the output of every block, first to last.
    pub fn block_widths(&self) -> Vec<usize> {
        match &self.architecture {
            Architecture::Vit(VitConfig { width, depth, .. }) => vec![*width; *depth],
            Architecture::TinyVit(TinyVitConfig { widths, depths, .. }) => {
                let stages = widths.iter().zip(depths);
                stages.flat_map(|(width, depth)| std::iter::repeat_n(*width, *depth)).collect()
            }
        }
    }

    /// Blocks (0-based, ascending) whose outputs are worth looking at: of a plain vision transformer those with global
    /// attention. TinyViT has none; there it is the last block of each quarter, which are the blocks 3, 6, 9 and 12
    /// (1-based) of MobileSAM as of ViT-B. This choice is ours.
    pub fn tap_blocks(&self) -> Vec<usize> {
        match &self.architecture {
            Architecture::Vit(config) => config.global_attention_blocks.clone(),
            Architecture::TinyVit(config) => {
                let depth: usize = config.depths.iter().sum();
                (1..=4).map(|quarter| quarter * depth / 4 - 1).collect()
            }
        }
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
            "unknown backbone `vit_x`, expected one of `micro`, `vit_t`, `vit_b`, `vit_l`, `vit_h`"
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

    /// The number is `sum(p.numel() for p in sam.parameters())` of `mobile_sam`'s ViT-T. Of these the head for
    /// classification is left out, and the statistics of batch norms are parameters here.
    #[test]
    fn vit_t_has_the_published_number_of_parameters() {
        use burn::module::Module;
        let sam = Variant::VitT.config().init(&Device::flex());
        let head = 2 * 320 + 1000 * 320 + 1000;
        // A mean and a variance for every output of a convolution before a batch norm.
        let convolutions = [32, 64].iter().sum::<usize>()
            + 2 * (256 + 256 + 64)
            + 3 * 128
            + 2 * 128
            + 3 * 160
            + 6 * 160
            + 3 * 320
            + 2 * 320;
        assert_eq!(sam.num_params(), 10_130_092 - head + 2 * convolutions + OFFICIAL_BUFFERS);
    }

    #[test]
    fn blocks_worth_tapping_are_the_third_sixth_ninth_and_twelfth_of_vit_b_and_vit_t() {
        for (variant, widths) in
            [(Variant::VitB, [768, 768, 768, 768]), (Variant::VitT, [128, 160, 160, 320])]
        {
            let encoder = variant.config().image_encoder;
            let taps = encoder.tap_blocks();
            assert_eq!(taps, [2, 5, 8, 11], "{variant}");
            assert_eq!(encoder.block_widths().len(), 12);
            assert_eq!(
                taps.iter().map(|&tap| encoder.block_widths()[tap]).collect::<Vec<_>>(),
                widths
            );
        }
        let micro = Variant::Micro.config().image_encoder;
        assert_eq!((micro.tap_blocks(), micro.grid_size()), (vec![1, 3, 5, 7], 32));
    }

    /// The Gaussian matrix of the position encoding is a buffer in PyTorch and a parameter here.
    const OFFICIAL_BUFFERS: usize = 2 * 128;
}
