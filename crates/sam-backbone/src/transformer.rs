//! The two-way transformer of the mask decoder: tokens and image attend to each other.

use burn::{
    module::{Module, Param},
    nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig},
    tensor::{Device, Tensor},
};

use crate::{
    common::{MlpBlock, layer_norm, linear},
    config::MaskDecoderConfig,
    resize_weights::{numbers, replaced},
};

/// Cross-attention inside the decoder works at `width / 2`.
const CROSS_DOWNSAMPLE: usize = 2;

/// PyTorch's default, unlike the encoder's.
const LAYER_NORM_EPSILON: f64 = 1e-5;

fn norm(width: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(LAYER_NORM_EPSILON).init(device)
}

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
            norm_final_attn: norm(width, device),
        }
    }

    /// Makes queries and keys of every attention between tokens and image the same projection, `gain`
    /// times as long: see [`MaskDecoder::align_attention`](crate::MaskDecoder::align_attention).
    pub(crate) fn align_attention(&mut self, gain: f32) {
        for layer in &mut self.layers {
            layer.cross_attn_token_to_image.align(gain);
            layer.cross_attn_image_to_token.align(gain);
        }
        self.final_attn_token_to_image.align(gain);
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
        (layer_norm(&self.norm_final_attn, LAYER_NORM_EPSILON, queries + attended), keys)
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
        let norm = || norm(width, device);
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
        let queries = layer_norm(&self.norm1, LAYER_NORM_EPSILON, queries);

        let placed_keys = keys.clone() + key_pe.clone();
        let attended = self.cross_attn_token_to_image.forward(
            queries.clone() + query_pe.clone(),
            placed_keys.clone(),
            keys.clone(),
        );
        let queries = layer_norm(&self.norm2, LAYER_NORM_EPSILON, queries + attended);

        let expanded = self.mlp.forward(queries.clone());
        let queries = layer_norm(&self.norm3, LAYER_NORM_EPSILON, queries + expanded);

        let attended = self.cross_attn_image_to_token.forward(
            placed_keys,
            queries.clone() + query_pe,
            queries.clone(),
        );
        let keys = layer_norm(&self.norm4, LAYER_NORM_EPSILON, keys + attended);
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

    fn align(&mut self, gain: f32) {
        let weight = &self.q_proj.weight;
        let (shape, device) = (weight.val().dims(), weight.val().device());
        let values: Vec<f32> = numbers(weight).into_iter().map(|value| value * gain).collect();
        let bias = vec![0.0; shape[1]];
        for projection in [&mut self.q_proj, &mut self.k_proj] {
            projection.weight = replaced(&projection.weight, values.clone(), shape);
            projection.bias = Some(Param::from_tensor(Tensor::from_floats(&*bias, &device)));
        }
    }

    fn forward(&self, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
        let mixed = fused_ops::attention(
            linear(&self.q_proj, query),
            linear(&self.k_proj, key),
            linear(&self.v_proj, value),
            self.n_heads,
        );
        linear(&self.out_proj, mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MaskDecoderConfig;

    #[test]
    fn aligned_attention_looks_where_positions_agree() {
        let device = Device::flex();
        device.seed(3);
        let mut transformer = TwoWayTransformer::new(64, &MaskDecoderConfig::new(), &device);
        transformer.align_attention(3.0);
        let attention = &transformer.layers[0].cross_attn_token_to_image;
        let (q, k) = (&attention.q_proj, &attention.k_proj);
        assert_eq!(numbers(&q.weight), numbers(&k.weight));
        for projection in [q, k] {
            let bias = projection.bias.as_ref().map(numbers);
            assert_eq!(bias, Some(vec![0.0; 32]));
        }
        // Scores are |W x|^2 for equal positions: never negative, and larger than those of any other.
        let places = Tensor::<2>::random([16, 64], burn::tensor::Distribution::Default, &device);
        let scores = linear(q, places.clone()).matmul(linear(k, places).transpose());
        let scores = scores.into_data().try_into_vec_as::<f32>().expect("floats");
        let own: f32 = (0..16).map(|at| scores[at * 17]).sum::<f32>() / 16.0;
        let other = (scores.iter().sum::<f32>() - own * 16.0) / 240.0;
        assert!(own > 0.0 && own > other, "{own} and {other}");
    }
}
