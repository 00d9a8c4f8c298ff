//! The mask decoder: from embeddings to masks and their predicted IoU.

use burn::{
    module::{Module, Param},
    nn::{Embedding, EmbeddingConfig, Gelu, Initializer, Linear, LinearConfig},
    tensor::{Device, Tensor, activation},
};

use crate::{
    common::{LayerNorm2d, linear},
    config::MaskDecoderConfig,
    prompt_encoder::PromptEmbeddings,
    transformer::TwoWayTransformer,
};

/// SAM's mask decoder, with an optional offset of the mask tokens.
///
/// Source: `segment_anything/modeling/mask_decoder.py`, `MaskDecoder`. The offset is where
/// Incremental Pattern Shifting enters.
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct MaskDecoder {
    iou_token: Embedding,
    mask_tokens: Embedding,
    transformer: TwoWayTransformer,
    /// Activations stand here because their positions are part of the checkpoint's names.
    output_upscaling: (Upscale, LayerNorm2d, Gelu, Upscale),
    output_hypernetworks_mlps: Vec<Mlp>,
    iou_prediction_head: Mlp,
}

/// What the mask decoder gives: `M` masks, three for multimask output and one otherwise.
#[derive(Debug, Clone)]
pub struct MaskDecoderOutput {
    /// Mask logits `[B, M, 4H, 4W]`.
    pub low_res_logits: Tensor<4>,
    /// Predicted IoU of each mask, `[B, M]`.
    pub iou_predictions: Tensor<2>,
}

impl MaskDecoder {
    pub(crate) fn new(embed_dim: usize, config: &MaskDecoderConfig, device: &Device) -> Self {
        let n_mask_tokens = config.n_multimask_outputs + 1;
        Self {
            iou_token: EmbeddingConfig::new(1, embed_dim).init(device),
            mask_tokens: EmbeddingConfig::new(n_mask_tokens, embed_dim).init(device),
            transformer: TwoWayTransformer::new(embed_dim, config, device),
            output_upscaling: (
                Upscale::new(embed_dim, embed_dim / 4, device),
                LayerNorm2d::new(embed_dim / 4, device),
                Gelu::new(),
                Upscale::new(embed_dim / 4, embed_dim / 8, device),
            ),
            output_hypernetworks_mlps: (0..n_mask_tokens)
                .map(|_| Mlp::new(embed_dim, embed_dim, embed_dim / 8, 3, device))
                .collect(),
            iou_prediction_head: Mlp::new(
                embed_dim,
                config.iou_head_hidden_dim,
                n_mask_tokens,
                config.iou_head_depth,
                device,
            ),
        }
    }

    /// For weights that are fresh: tokens begin by attending to the places that they are about.
    ///
    /// Queries and keys of the attention between tokens and image hold the same position encoding.
    /// With independent random projections their products say nothing about distance, and a decoder
    /// trained from nothing spends its first thousand steps with masks that ignore the prompt. With
    /// one shared projection a product is largest where the positions agree. `gain` sets how
    /// sharply; with 1, products differ by about half a unit between the same place and a far one.
    pub fn align_attention(&mut self, gain: f32) {
        self.transformer.align_attention(gain);
    }

    /// Predicts masks, one prompt per image.
    ///
    /// Gradients flow to the prompt embeddings and to `token_shift`; they also flow to the weights
    /// if these are tracked, which a frozen SAM's are not.
    ///
    /// # Shapes
    ///
    /// - `image_embedding`: `[B, C, H, W]`
    /// - `image_pe`: `[1, C, H, W]`, from [`dense_pe`](crate::PromptEncoder::dense_pe)
    /// - `token_shift`: `[B, T, C]`, added to the mask tokens of each image
    pub fn forward(
        &self,
        image_embedding: Tensor<4>,
        image_pe: Tensor<4>,
        prompts: PromptEmbeddings,
        token_shift: Option<Tensor<3>>,
        multimask_output: bool,
    ) -> MaskDecoderOutput {
        let all = self.forward_all(image_embedding, image_pe, prompts, token_shift);
        let n_mask_tokens = all.iou_predictions.dims()[1];
        let wanted = if multimask_output { 1..n_mask_tokens } else { 0..1 };
        MaskDecoderOutput {
            low_res_logits: all.low_res_logits.slice_dim(1, wanted.clone()),
            iou_predictions: all.iou_predictions.slice_dim(1, wanted),
        }
    }

    /// Masks and IoU of all `T` mask tokens: the single mask first, then the multimask output.
    /// What pre-training needs; shapes as in [`forward`](Self::forward), with `M = T`.
    pub fn forward_all(
        &self,
        image_embedding: Tensor<4>,
        image_pe: Tensor<4>,
        prompts: PromptEmbeddings,
        token_shift: Option<Tensor<3>>,
    ) -> MaskDecoderOutput {
        let [batch, channels, height, width] = image_embedding.dims();
        let mask_tokens: Tensor<3> = self.mask_tokens.weight.val().unsqueeze();
        let n_mask_tokens = mask_tokens.dims()[1];
        let mask_tokens = match token_shift {
            Some(shift) => mask_tokens + shift,
            None => mask_tokens.expand([batch, n_mask_tokens, channels]),
        };
        let iou_token: Tensor<3> = self.iou_token.weight.val().unsqueeze();
        let mut tokens = vec![iou_token.expand([batch, 1, channels]), mask_tokens];
        tokens.extend(prompts.sparse_embeddings);
        let tokens = Tensor::cat(tokens, 1);

        let image = flatten_image(image_embedding + prompts.dense_embeddings);
        let (tokens, image) = self.transformer.forward(image, flatten_image(image_pe), tokens);

        let iou = self
            .iou_prediction_head
            .forward(tokens.clone().slice_dim(1, 0..1).reshape([batch, channels]));
        // Channels stay last, and the four outputs of every cell stay beside each other, until the
        // masks are thin enough for the pixels to be put in order cheaply.
        let (upscale_1, norm, _, upscale_2) = &self.output_upscaling;
        let image = fused_ops::gelu(norm.forward_channels_last(upscale_1.forward(image)));
        let image = fused_ops::gelu(upscale_2.forward(image)); // [B, 16 H W, C/8]

        let weights = self
            .output_hypernetworks_mlps
            .iter()
            .enumerate()
            .map(|(index, mlp)| {
                let token = tokens.clone().slice_dim(1, 1 + index..2 + index);
                mlp.forward(token.reshape([batch, channels])).unsqueeze_dim::<3>(1)
            })
            .collect();
        let weights = Tensor::cat(weights, 1); // [B, T, C/8]
        let masks = weights
            .matmul(image.swap_dims(1, 2)) // [B, T, 16 H W]
            .reshape([batch * n_mask_tokens, height, width, 2, 2, 2, 2])
            .permute([0, 1, 3, 5, 2, 4, 6])
            .reshape([batch, n_mask_tokens, 4 * height, 4 * width]);
        MaskDecoderOutput { low_res_logits: masks, iou_predictions: iou }
    }
}

/// `[B, C, H, W]` to `[B, HW, C]`.
fn flatten_image(image: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = image.dims();
    image.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

/// Transposed 2x2 convolution of stride 2, as a matrix product: its outputs do not overlap.
#[derive(Module, Debug)]
struct Upscale {
    /// `[C_in, C_out, 2, 2]`
    weight: Param<Tensor<4>>,
    /// `[C_out]`
    bias: Param<Tensor<1>>,
}

impl Upscale {
    fn new(input: usize, output: usize, device: &Device) -> Self {
        // The default of PyTorch's ConvTranspose2d: uniform within 1 / sqrt(C_out * 2 * 2).
        let bound = 1.0 / ((output * 4) as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Self {
            weight: uniform.init([input, output, 2, 2], device),
            bias: uniform.init([output], device),
        }
    }

    /// # Shapes
    ///
    /// - `image`: `[B, N, C_in]`, cells in any order
    /// - returns: `[B, 4 N, C_out]`, the upper left, upper right, lower left and lower right output of
    ///   every cell after each other
    fn forward(&self, image: Tensor<3>) -> Tensor<3> {
        let [batch, cells, input] = image.dims();
        let weight = self.weight.val();
        let output = weight.dims()[1];
        let weight = weight.permute([0, 2, 3, 1]).reshape([input, 4 * output]);
        let bias = self.bias.val().repeat_dim(0, 4);
        fused_ops::linear(image, weight, Some(bias)).reshape([batch, 4 * cells, output])
    }
}

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(input: usize, hidden: usize, output: usize, depth: usize, device: &Device) -> Self {
        let layers = (0..depth)
            .map(|index| {
                let from = if index == 0 { input } else { hidden };
                let to = if index + 1 == depth { output } else { hidden };
                LinearConfig::new(from, to).init(device)
            })
            .collect();
        Self { layers }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(input, |hidden, (index, layer)| {
            let hidden = linear(layer, hidden);
            if index < last { activation::relu(hidden) } else { hidden }
        })
    }
}
