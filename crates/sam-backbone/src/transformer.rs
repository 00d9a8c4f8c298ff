//! The two-way transformer of the mask decoder: tokens and image attend to each other.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor, module::attention, ops::AttentionModuleOptions},
};

use crate::{common::MlpBlock, config::MaskDecoderConfig};

/// Cross-attention inside the decoder works at `width / 2`.
const CROSS_DOWNSAMPLE: usize = 2;

/// Transformer whose tokens (masks, IoU, prompts) and image positions update each other.
///
/// Source: `segment_anything/modeling/transformer.py`, `TwoWayTransformer`. Its layer norms use the
/// PyTorch default epsilon 1e-5, unlike the encoder's.
#[derive(Module, Debug)]
pub struct TwoWayTransformer {
    layers: Vec<TwoWayAttentionBlock>,
    final_attn_token_to_image: ProjectedAttention,
    norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    pub(crate) fn new(width: usize, config: &MaskDecoderConfig, device: &Device) -> Self {
        Self {
            layers: (0..config.depth)
                .map(|index| TwoWayAttentionBlock::new(width, config, index == 0, device))
                .collect(),
            final_attn_token_to_image: ProjectedAttention::new(
                width,
                config.n_heads,
                CROSS_DOWNSAMPLE,
                device,
            ),
            norm_final_attn: LayerNormConfig::new(width).init(device),
        }
    }

    /// # Shapes
    ///
    /// - `image`: `[B, HW, C]`
    /// - `image_pe`: `[1, HW, C]` or `[B, HW, C]`, added to the image wherever it is a key or query
    /// - `tokens`: `[B, N, C]`, at once the first queries and their position encoding
    /// - returns: tokens `[B, N, C]`, image `[B, HW, C]`
    pub fn forward(
        &self,
        image: Tensor<3>,
        image_pe: Tensor<3>,
        tokens: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let (mut queries, mut keys) = (tokens.clone(), image);
        for layer in &self.layers {
            (queries, keys) = layer.forward(queries, keys, tokens.clone(), image_pe.clone());
        }
        let attended = self.final_attn_token_to_image.forward(
            queries.clone() + tokens,
            keys.clone() + image_pe,
            keys.clone(),
        );
        (self.norm_final_attn.forward(queries + attended), keys)
    }
}

/// One layer: token self-attention, tokens to image, MLP on tokens, image to tokens.
#[derive(Module, Debug)]
struct TwoWayAttentionBlock {
    self_attn: ProjectedAttention,
    norm1: LayerNorm,
    cross_attn_token_to_image: ProjectedAttention,
    norm2: LayerNorm,
    mlp: MlpBlock,
    norm3: LayerNorm,
    norm4: LayerNorm,
    cross_attn_image_to_token: ProjectedAttention,
    /// The first layer's queries are their own position encoding already.
    #[module(skip)]
    skip_first_layer_pe: bool,
}

impl TwoWayAttentionBlock {
    fn new(width: usize, config: &MaskDecoderConfig, first: bool, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(width).init(device);
        let cross = || ProjectedAttention::new(width, config.n_heads, CROSS_DOWNSAMPLE, device);
        Self {
            self_attn: ProjectedAttention::new(width, config.n_heads, 1, device),
            norm1: norm(),
            cross_attn_token_to_image: cross(),
            norm2: norm(),
            mlp: MlpBlock::relu(width, config.mlp_dim, device),
            norm3: norm(),
            norm4: norm(),
            cross_attn_image_to_token: cross(),
            skip_first_layer_pe: first,
        }
    }

    fn forward(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        query_pe: Tensor<3>,
        key_pe: Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let queries = if self.skip_first_layer_pe {
            self.self_attn.forward(queries.clone(), queries.clone(), queries)
        } else {
            let placed = queries.clone() + query_pe.clone();
            queries.clone() + self.self_attn.forward(placed.clone(), placed, queries)
        };
        let queries = self.norm1.forward(queries);

        let placed_keys = keys.clone() + key_pe.clone();
        let attended = self.cross_attn_token_to_image.forward(
            queries.clone() + query_pe.clone(),
            placed_keys.clone(),
            keys.clone(),
        );
        let queries = self.norm2.forward(queries + attended);

        let expanded = self.mlp.forward(queries.clone());
        let queries = self.norm3.forward(queries + expanded);

        let attended = self.cross_attn_image_to_token.forward(
            placed_keys,
            queries.clone() + query_pe,
            queries.clone(),
        );
        let keys = self.norm4.forward(keys + attended);
        (queries, keys)
    }
}

/// Multi-head attention with projections, optionally at a smaller inner width.
#[derive(Module, Debug)]
struct ProjectedAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    #[module(skip)]
    n_heads: usize,
}

impl ProjectedAttention {
    fn new(width: usize, n_heads: usize, downsample: usize, device: &Device) -> Self {
        let inner = width / downsample;
        let input = || LinearConfig::new(width, inner).init(device);
        Self {
            q_proj: input(),
            k_proj: input(),
            v_proj: input(),
            out_proj: LinearConfig::new(inner, width).init(device),
            n_heads,
        }
    }

    fn forward(&self, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
        let mixed = attention(
            self.split_heads(self.q_proj.forward(query)),
            self.split_heads(self.k_proj.forward(key)),
            self.split_heads(self.v_proj.forward(value)),
            None,
            None,
            AttentionModuleOptions::default(),
        );
        let [batch, heads, tokens, head_dim] = mixed.dims();
        self.out_proj.forward(mixed.swap_dims(1, 2).reshape([batch, tokens, heads * head_dim]))
    }

    fn split_heads(&self, tokens: Tensor<3>) -> Tensor<4> {
        let [batch, n_tokens, inner] = tokens.dims();
        tokens.reshape([batch, n_tokens, self.n_heads, inner / self.n_heads]).swap_dims(1, 2)
    }
}
