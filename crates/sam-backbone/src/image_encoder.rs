//! The image encoder, whichever architecture it has.

use std::ops::ControlFlow;

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};
use fused_ops::{Activation, Affine};

use crate::{
    common::LayerNorm2d,
    config::{Architecture, ImageEncoderConfig},
    tiny_vit::TinyVit,
    vit::Vit,
};

/// An image encoder of the SAM family: image in, embedding out.
///
/// The architectures share the neck at the end and nothing else. Their name is no part of a tensor's: files, hashes
/// and errors call a tensor as the checkpoint of its architecture does.
///
/// Should be created with [`SamConfig`](crate::SamConfig).
#[allow(clippy::large_enum_variant, reason = "a program has one or two of them")]
#[derive(Module, Debug)]
pub enum ImageEncoder {
    /// SAM's own.
    Vit(Vit),
    /// MobileSAM's.
    TinyVit(TinyVit),
}

/// What the image encoder gives.
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// `[B, C, H, W]`
    pub image_embedding: Tensor<4>,
    /// Outputs of the requested blocks in the order of the request, each `[B, width, H, W]` with the width of its block
    /// ([`ImageEncoderConfig::block_widths`]) and the grid of the embedding.
    pub block_features: Vec<Tensor<4>>,
}

impl ImageEncoder {
    pub(crate) fn new(config: &ImageEncoderConfig, device: &Device) -> Self {
        match &config.architecture {
            Architecture::Vit(vit) => Self::Vit(Vit::new(config, vit, device)),
            Architecture::TinyVit(tiny) => Self::TinyVit(TinyVit::new(config, tiny, device)),
        }
    }

    /// Encodes a batch of prepared images.
    ///
    /// # Shapes
    ///
    /// - `images`: `[B, 3, S, S]`, normalized, `S` the input size
    /// - `taps`: blocks (0-based) whose outputs are wanted
    ///
    /// # Panics
    ///
    /// Panics if a tap is not a block of this encoder: a bug in the caller, since experiment files
    /// are checked against the variant before.
    pub fn forward(&self, images: Tensor<4>, taps: &[usize]) -> EncoderOutput {
        let never = self.forward_watched(images, taps, &mut |_, _| ControlFlow::Continue(()));
        never.expect("nobody ended it")
    }

    /// The same for somebody who waits: `watch` is called after every block with the blocks that are done and how many there
    /// are. What it breaks off gives nothing.
    ///
    /// # Panics
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_watched(
        &self,
        images: Tensor<4>,
        taps: &[usize],
        watch: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Option<EncoderOutput> {
        let depth = self.depth();
        assert!(
            taps.iter().all(|&tap| tap < depth),
            "taps {taps:?} of an encoder with {depth} blocks"
        );
        let mut taps = Taps { wanted: taps, found: vec![None; taps.len()], done: 0, depth, watch };
        let image_embedding = match self {
            Self::Vit(encoder) => encoder.forward(images, &mut taps)?,
            Self::TinyVit(encoder) => encoder.forward(images, &mut taps)?,
        };
        Some(EncoderOutput { image_embedding, block_features: taps.features() })
    }

    fn depth(&self) -> usize {
        match self {
            Self::Vit(encoder) => encoder.depth(),
            Self::TinyVit(encoder) => encoder.depth(),
        }
    }

    /// Interpolates all learned positions to an embedding of another side.
    pub(crate) fn resize_positions(&mut self, grid: usize) {
        match self {
            Self::Vit(encoder) => encoder.resize_positions(grid),
            // It knows places within a window only.
            Self::TinyVit(_) => {}
        }
    }

    /// Whether checkpoints of this architecture hold a tensor that an encoder in use has no place for.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        match self {
            Self::Vit(_) => false,
            Self::TinyVit(_) => TinyVit::leaves_out(name),
        }
    }
}

/// Collects the outputs of the blocks that were asked for, and tells who waits how far the encoder is.
pub(crate) struct Taps<'a> {
    wanted: &'a [usize],
    found: Vec<Option<Tensor<4>>>,
    /// Blocks that are done, and all of the encoder.
    done: usize,
    depth: usize,
    watch: &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>,
}

impl Taps<'_> {
    /// Takes the output of the next block, `[B, width, H, W]`, if it is wanted. `None` if nobody waits any more.
    pub(crate) fn offer(&mut self, output: impl Fn() -> Tensor<4>) -> Option<()> {
        let block = self.done;
        for (slot, _) in self.found.iter_mut().zip(self.wanted).filter(|(_, tap)| **tap == block) {
            *slot = Some(output());
        }
        self.done += 1;
        (self.watch)(self.done, self.depth).is_continue().then_some(())
    }

    fn features(self) -> Vec<Tensor<4>> {
        self.found.into_iter().flatten().collect()
    }
}

/// From a block's channels to the embedding's: 1x1 convolution, normalization, 3x3 convolution, normalization.
pub(crate) type Neck = (Conv2d, LayerNorm2d, Conv2d, LayerNorm2d);

pub(crate) fn neck(width: usize, embed_dim: usize, device: &Device) -> Neck {
    let conv = |input, kernel, padding| {
        Conv2dConfig::new([input, embed_dim], [kernel, kernel])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .init(device)
    };
    let norm = || LayerNorm2d::new(embed_dim, device);
    (conv(width, 1, 0), norm(), conv(embed_dim, 3, 1), norm())
}

/// `[B, width, H, W]` to `[B, C, H, W]`.
pub(crate) fn through_neck((project, norm_1, smooth, norm_2): &Neck, map: Tensor<4>) -> Tensor<4> {
    let embedding = norm_1.forward(project.forward(map));
    norm_2.forward(smooth.forward(embedding))
}

/// The same from `[B, H, W, width]`, in operations for channels that come last.
pub(crate) fn through_neck_channels_last(neck: &Neck, map: Tensor<4>) -> Tensor<4> {
    let (project, norm_1, smooth, norm_2) = neck;
    let convolve = |map, layer: &Conv2d| {
        let weight = layer.weight.val();
        let [outputs, _, side, _] = weight.dims();
        let bias = Tensor::zeros([outputs], &weight.device());
        let layer = Affine { weight, bias };
        fused_ops::conv2d_channels_last(map, layer, [1; 2], [side / 2; 2], Activation::Identity)
    };
    let embedding = norm_1.forward_channels_last(convolve(map, project));
    norm_2.forward_channels_last(convolve(embedding, smooth)).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_watches_is_told_of_every_block_and_may_end_it() {
        let device = Device::flex();
        let config = crate::Variant::Micro.config().image_encoder;
        let encoder = ImageEncoder::new(&config, &device);
        let side = config.image_size;
        let image = Tensor::<4>::ones([1, 3, side, side], &device);
        let mut told = Vec::new();
        let watched = encoder.forward_watched(image.clone(), &[0], &mut |done, all| {
            told.push((done, all));
            ControlFlow::Continue(())
        });
        let expected: Vec<_> = (1..=encoder.depth()).map(|done| (done, encoder.depth())).collect();
        assert_eq!(told, expected);
        let values = |output: EncoderOutput| output.image_embedding.into_data().try_to_vec::<f32>();
        let (watched, plain) = (watched.expect("not ended"), encoder.forward(image.clone(), &[0]));
        assert_eq!(values(watched).expect("f32"), values(plain).expect("f32"));

        let mut blocks = 0;
        let ended = encoder.forward_watched(image, &[], &mut |done, _| {
            blocks = done;
            if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(ended.is_none());
        assert_eq!(blocks, 2, "no block after the end");
    }
}
