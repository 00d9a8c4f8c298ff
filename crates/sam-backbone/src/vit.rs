//! SAM's own image encoder: a plain vision transformer with windowed attention and a convolutional neck.

use burn::{
    module::{Module, Param},
    nn::{
        Initializer, LayerNorm, LayerNormConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, ops::PadMode},
};

use crate::{
    attention::RelativePositionAttention,
    common::{LAYER_NORM_EPSILON, MlpBlock, layer_norm},
    config::{ImageEncoderConfig, VitConfig},
    image_encoder::{Neck, Taps, neck, through_neck},
    resize_weights::{interpolate_grid, numbers, replaced},
};

/// The image encoder of SAM's ViT-B, -L and -H.
///
/// Source: `segment_anything/modeling/image_encoder.py`, `ImageEncoderViT`.
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct Vit {
    patch_embed: PatchEmbed,
    /// `[1, H, W, width]`
    pos_embed: Param<Tensor<4>>,
    blocks: Vec<Block>,
    neck: Neck,
}

impl Vit {
    pub(crate) fn new(sizes: &ImageEncoderConfig, config: &VitConfig, device: &Device) -> Self {
        let grid = sizes.grid_size();
        Self {
            patch_embed: PatchEmbed::new(sizes.patch_size, config.width, device),
            pos_embed: Initializer::Normal { mean: 0.0, std: 0.02 }
                .init([1, grid, grid, config.width], device),
            blocks: (0..config.depth)
                .map(|index| Block::new(config, index, grid, device))
                .collect(),
            neck: neck(config.width, sizes.embed_dim, device),
        }
    }

    /// Transformer blocks.
    pub(crate) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// See [`ImageEncoder::forward_watched`](crate::ImageEncoder::forward_watched).
    pub(crate) fn forward(&self, images: Tensor<4>, taps: &mut Taps<'_>) -> Option<Tensor<4>> {
        let mut tokens = self.patch_embed.forward(images) + self.pos_embed.val();
        for block in &self.blocks {
            tokens = block.forward(tokens);
            taps.offer(|| tokens.clone().permute([0, 3, 1, 2]))?;
        }
        Some(through_neck(&self.neck, tokens.permute([0, 3, 1, 2])))
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
    fn new(config: &VitConfig, index: usize, grid: usize, device: &Device) -> Self {
        let norm =
            || LayerNormConfig::new(config.width).with_epsilon(LAYER_NORM_EPSILON).init(device);
        let window =
            (!config.global_attention_blocks.contains(&index)).then_some(config.window_size);
        let side = window.unwrap_or(grid);
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
pub(crate) fn partition_windows(tokens: Tensor<4>, window: usize) -> Tensor<4> {
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
pub(crate) fn join_windows(windows: Tensor<4>, window: usize, grid: [usize; 3]) -> Tensor<4> {
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
