//! The image encoder: a vision transformer with windowed attention and a convolutional neck.

use std::ops::ControlFlow;

use burn::{
    module::{Module, Param},
    nn::{
        Initializer, LayerNorm, LayerNormConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, ops::PadMode},
};

use crate::{
    attention::RelativePositionAttention,
    common::{LAYER_NORM_EPSILON, LayerNorm2d, MlpBlock, layer_norm},
    config::ImageEncoderConfig,
    resize_weights::{interpolate_grid, numbers, replaced},
};

/// SAM's image encoder.
///
/// Source: `segment_anything/modeling/image_encoder.py`, `ImageEncoderViT`.
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct ImageEncoder {
    patch_embed: PatchEmbed,
    /// `[1, H, W, width]`
    pos_embed: Param<Tensor<4>>,
    blocks: Vec<Block>,
    /// 1x1 convolution, normalization, 3x3 convolution, normalization.
    neck: (Conv2d, LayerNorm2d, Conv2d, LayerNorm2d),
}

/// What the image encoder gives.
#[derive(Debug, Clone)]
pub struct EncoderOutput {
    /// `[B, C, H, W]`
    pub image_embedding: Tensor<4>,
    /// Outputs of the requested blocks in the order of the request, each `[B, width, H, W]`.
    pub block_features: Vec<Tensor<4>>,
}

impl ImageEncoder {
    pub(crate) fn new(config: &ImageEncoderConfig, device: &Device) -> Self {
        let grid = config.grid_size();
        let neck_conv = |input, kernel, padding| {
            Conv2dConfig::new([input, config.embed_dim], [kernel, kernel])
                .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
                .with_bias(false)
                .init(device)
        };
        Self {
            patch_embed: PatchEmbed::new(config.patch_size, config.width, device),
            pos_embed: Initializer::Normal { mean: 0.0, std: 0.02 }
                .init([1, grid, grid, config.width], device),
            blocks: (0..config.depth).map(|index| Block::new(config, index, device)).collect(),
            neck: (
                neck_conv(config.width, 1, 0),
                LayerNorm2d::new(config.embed_dim, device),
                neck_conv(config.embed_dim, 3, 1),
                LayerNorm2d::new(config.embed_dim, device),
            ),
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
        assert!(
            taps.iter().all(|&tap| tap < self.blocks.len()),
            "taps {taps:?} of an encoder with {} blocks",
            self.blocks.len()
        );
        let mut tokens = self.patch_embed.forward(images) + self.pos_embed.val();
        let mut tapped = vec![None; taps.len()];
        for (index, block) in self.blocks.iter().enumerate() {
            tokens = block.forward(tokens);
            for (slot, _) in tapped.iter_mut().zip(taps).filter(|(_, tap)| **tap == index) {
                *slot = Some(tokens.clone().permute([0, 3, 1, 2]));
            }
            if watch(index + 1, self.blocks.len()).is_break() {
                return None;
            }
        }
        let (project, norm_1, smooth, norm_2) = &self.neck;
        let embedding = norm_1.forward(project.forward(tokens.permute([0, 3, 1, 2])));
        let embedding = norm_2.forward(smooth.forward(embedding));
        Some(EncoderOutput {
            image_embedding: embedding,
            block_features: tapped.into_iter().flatten().collect(),
        })
    }

    /// Interpolates all learned positions to a token grid of another side.
    pub(crate) fn resize_positions(&mut self, grid: usize) {
        let [_, former, _, width] = self.pos_embed.val().dims();
        let values = interpolate_grid(&numbers(&self.pos_embed), former, grid);
        self.pos_embed = replaced(&self.pos_embed, values, [1, grid, grid, width]);
        for block in self.blocks.iter_mut().filter(|block| block.window.is_none()) {
            block.attn.resize_positions(grid);
        }
    }
}

/// Cuts an image into patches and projects each: a convolution whose kernel is its stride.
#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
}

impl PatchEmbed {
    fn new(patch: usize, width: usize, device: &Device) -> Self {
        Self {
            proj: Conv2dConfig::new([3, width], [patch, patch])
                .with_stride([patch, patch])
                .init(device),
        }
    }

    /// The convolution as one matrix product, since its patches do not overlap.
    ///
    /// # Shapes
    ///
    /// - `images`: `[B, 3, S, S]`
    /// - returns: `[B, H, W, width]`
    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let weight = self.proj.weight.val();
        let [width, channels, patch, _] = weight.dims();
        let [batch, _, height, columns] = images.dims();
        let (rows, columns) = (height / patch, columns / patch);
        let patches = images
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch * rows * columns, channels * patch * patch]);
        let weight = weight.reshape([width, channels * patch * patch]).transpose();
        let tokens = patches.matmul(weight);
        let tokens = match &self.proj.bias {
            Some(bias) => tokens + bias.val().unsqueeze(),
            None => tokens,
        };
        tokens.reshape([batch, rows, columns, width])
    }
}

/// Transformer block, pre-norm, over windows or the whole grid.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: RelativePositionAttention,
    norm2: LayerNorm,
    mlp: MlpBlock,
    /// Side of a window in tokens, `None` for global attention.
    #[module(skip)]
    window: Option<usize>,
}

impl Block {
    fn new(config: &ImageEncoderConfig, index: usize, device: &Device) -> Self {
        let norm =
            || LayerNormConfig::new(config.width).with_epsilon(LAYER_NORM_EPSILON).init(device);
        let window =
            (!config.global_attention_blocks.contains(&index)).then_some(config.window_size);
        let side = window.unwrap_or(config.grid_size());
        Self {
            norm1: norm(),
            attn: RelativePositionAttention::new(config.width, config.n_heads, side, device),
            norm2: norm(),
            mlp: MlpBlock::gelu(config.width, config.mlp_ratio * config.width, device),
            window,
        }
    }

    /// # Shapes
    ///
    /// - `tokens`: `[B, H, W, width]`
    /// - returns: the same
    fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let normed = layer_norm(&self.norm1, LAYER_NORM_EPSILON, tokens.clone());
        let tokens = match (self.attn.mix_fused(&normed), self.window) {
            (Some(mixed), _) => self.attn.project_onto(tokens, mixed),
            (None, None) => tokens + self.attn.forward(normed),
            (None, Some(window)) => {
                let [batch, height, width, _] = normed.dims();
                let windows = self.attn.forward(partition_windows(normed, window));
                tokens + join_windows(windows, window, [batch, height, width])
            }
        };
        let normed = layer_norm(&self.norm2, LAYER_NORM_EPSILON, tokens.clone());
        self.mlp.forward_add(normed, tokens)
    }
}

/// Cuts the grid into windows, after padding it with zeros at the bottom and right.
///
/// # Shapes
///
/// - `tokens`: `[B, H, W, C]`
/// - returns: `[B * windows, window, window, C]`, windows in row-major order
fn partition_windows(tokens: Tensor<4>, window: usize) -> Tensor<4> {
    let [batch, height, width, channels] = tokens.dims();
    let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
    let (pad_h, pad_w) = (rows * window - height, columns * window - width);
    let tokens = if pad_h + pad_w > 0 {
        tokens.pad([(0, 0), (0, pad_h), (0, pad_w), (0, 0)], PadMode::Constant(0.0))
    } else {
        tokens
    };
    tokens
        .reshape([batch, rows, window, columns, window, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch * rows * columns, window, window, channels])
}

/// Inverse of [`partition_windows`]: puts windows together and drops the padding.
fn join_windows(windows: Tensor<4>, window: usize, grid: [usize; 3]) -> Tensor<4> {
    let [batch, height, width] = grid;
    let channels = windows.dims()[3];
    let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
    windows
        .reshape([batch, rows, columns, window, window, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([batch, rows * window, columns * window, channels])
        .slice([0..batch, 0..height, 0..width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

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
        let expected: Vec<_> = (1..=config.depth).map(|done| (done, config.depth)).collect();
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

    #[test]
    fn windows_join_back_to_the_grid_they_were_cut_from() {
        let device = Device::flex();
        let grid =
            Tensor::<1, Int>::arange(0..2 * 7 * 5 * 3, &device).float().reshape([2, 7, 5, 3]);
        let windows = partition_windows(grid.clone(), 4);
        assert_eq!(windows.dims(), [2 * 2 * 2, 4, 4, 3]);
        let joined = join_windows(windows, 4, [2, 7, 5]);
        assert_eq!(
            joined.into_data().try_to_vec::<f32>().expect("f32"),
            grid.into_data().try_to_vec::<f32>().expect("f32")
        );
    }
}
