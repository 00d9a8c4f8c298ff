//! Self-attention of the image encoder, with decomposed relative positions.

use burn::{
    module::{Module, Param},
    nn::{Initializer, Linear, LinearConfig},
    tensor::{Device, Int, Tensor},
};

use crate::{
    common::{linear, linear_add},
    resize_weights::{interpolate_rows, numbers, replaced},
};

/// Multi-head self-attention over a square grid of tokens, with relative positions added to the
/// scores separately for height and width.
///
/// `score(q, k) = q.k / sqrt(d) + q.Rh[qy - ky] + q.Rw[qx - kx]`
///
/// The scores of a 64 x 64 grid would be 12 x 4096 x 4096 numbers (0.8 GB in ViT-B), and so would
/// be a bias. Neither is ever in memory: the two position terms become extra channels of the query,
/// and the key gets one-hot channels that pick the right ones,
/// `q' = [q * sqrt(d'/d), (q.Rh) * sqrt(d'), (q.Rw) * sqrt(d')]`, `k' = [k, onehot(ky), onehot(kx)]`
/// with `d' = d + H + W`, so that plain attention with its default scale `1 / sqrt(d')` gives the
/// scores above, in blocks.
///
/// Source: `segment_anything/modeling/image_encoder.py`, `Attention`.
#[derive(Module, Debug)]
pub struct RelativePositionAttention {
    qkv: Linear,
    proj: Linear,
    /// `[2 * side - 1, d]`, row `qy - ky + side - 1`
    rel_pos_h: Param<Tensor<2>>,
    /// `[2 * side - 1, d]`
    rel_pos_w: Param<Tensor<2>>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    side: usize,
}

impl RelativePositionAttention {
    /// Attention over a `side` x `side` grid of tokens with `width` channels.
    pub fn new(width: usize, n_heads: usize, side: usize, device: &Device) -> Self {
        let head_dim = width / n_heads;
        let relative = || Initializer::Zeros.init([2 * side - 1, head_dim], device);
        Self {
            qkv: LinearConfig::new(width, 3 * width).init(device),
            proj: LinearConfig::new(width, width).init(device),
            rel_pos_h: relative(),
            rel_pos_w: relative(),
            n_heads,
            side,
        }
    }

    /// Interpolates the relative positions for a window of another side.
    pub(crate) fn resize_positions(&mut self, side: usize) {
        let (from, to) = (2 * self.side - 1, 2 * side - 1);
        for table in [&mut self.rel_pos_h, &mut self.rel_pos_w] {
            let head_dim = table.val().dims()[1];
            *table = replaced(table, interpolate_rows(&numbers(table), from, to), [to, head_dim]);
        }
        self.side = side;
    }

    /// [`forward`](Self::forward) for a grid of windows of `side` x `side` tokens, in one operation, up to the
    /// [projection](Self::project_onto); nothing where [`fused_ops`] has no kernel for it.
    ///
    /// # Shapes
    ///
    /// - `tokens`: `[B, H, W, C]`
    /// - returns: the same
    pub(crate) fn mix_fused(&self, tokens: &Tensor<4>) -> Option<Tensor<4>> {
        if !fused_ops::has_window_attention(tokens, self.side) {
            return None;
        }
        let channels = tokens.dims()[3];
        // Windows are padded after the norm and before this layer, so padding becomes its bias.
        let padding = match &self.qkv.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([3 * channels], &tokens.device()),
        };
        let qkv = linear(&self.qkv, tokens.clone());
        let (rel_pos_h, rel_pos_w) = (self.rel_pos_h.val(), self.rel_pos_w.val());
        Some(fused_ops::window_attention(
            qkv,
            padding,
            rel_pos_h,
            rel_pos_w,
            self.n_heads,
            self.side,
        ))
    }

    /// `residual` plus the projection of what [`mix_fused`](Self::mix_fused) gave, `[B, H, W, C]` both.
    pub(crate) fn project_onto(&self, residual: Tensor<4>, mixed: Tensor<4>) -> Tensor<4> {
        linear_add(&self.proj, mixed, residual)
    }

    /// # Shapes
    ///
    /// - `tokens`: `[B, H, W, C]` with `H = W = side`
    /// - returns: the same
    pub fn forward(&self, tokens: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = tokens.dims();
        let head_dim = channels / self.n_heads;
        let n_tokens = height * width;
        let qkv = self
            .qkv
            .forward(tokens.reshape([batch, n_tokens, channels]))
            .reshape([batch, n_tokens, 3, self.n_heads, head_dim])
            .permute([2, 0, 3, 1, 4]); // [3, B, heads, HW, d]
        let [query, key, value] = [0, 1, 2].map(|part| {
            qkv.clone().slice_dim(0, part..part + 1).reshape([
                batch,
                self.n_heads,
                n_tokens,
                head_dim,
            ])
        });
        drop(qkv);

        let extended = (head_dim + height + width) as f64;
        let positions = self.position_terms(query.clone()).mul_scalar(extended.sqrt());
        let query =
            Tensor::cat(vec![query.mul_scalar((extended / head_dim as f64).sqrt()), positions], 3);
        let one_hot = one_hot_positions(height, width, &key.device()).cast(key.dtype()).expand([
            batch,
            self.n_heads,
            n_tokens,
            height + width,
        ]);
        let key = Tensor::cat(vec![key, one_hot], 3);

        let mixed = fused_ops::attention_of_heads(query, key, value);
        let mixed = mixed.permute([0, 2, 1, 3]).reshape([batch, height, width, channels]);
        self.proj.forward(mixed)
    }

    /// The position part of every query's scores: its product with the row of the table that each
    /// key row (then each key column) has relative to it.
    ///
    /// # Shapes
    ///
    /// - `query`: `[B, heads, HW, d]`
    /// - returns: `[B, heads, HW, H + W]`
    fn position_terms(&self, query: Tensor<4>) -> Tensor<4> {
        let [batch, heads, n_tokens, head_dim] = query.dims();
        let side = self.side;
        let groups = batch * heads;
        let by_row = query.reshape([groups, side, side, head_dim]); // [G, H, W, d]

        // One matrix product per query row: [H, G*W, d] x [H, d, H].
        let rows = by_row
            .clone()
            .permute([1, 0, 2, 3])
            .reshape([side, groups * side, head_dim])
            .matmul(relative_table(self.rel_pos_h.val(), side).swap_dims(1, 2))
            .reshape([side, groups, side, side])
            .permute([1, 0, 2, 3]); // [G, H, W, kH]
        let columns = by_row
            .permute([2, 0, 1, 3])
            .reshape([side, groups * side, head_dim])
            .matmul(relative_table(self.rel_pos_w.val(), side).swap_dims(1, 2))
            .reshape([side, groups, side, side])
            .permute([1, 2, 0, 3]); // [G, H, W, kW]
        Tensor::cat(vec![rows, columns], 3).reshape([batch, heads, n_tokens, 2 * side])
    }
}

/// Rows of a relative-position table for every pair of query and key coordinate.
///
/// # Shapes
///
/// - `table`: `[2 * side - 1, d]`
/// - returns: `[side, side, d]`, entry `[q, k]` is row `q - k + side - 1`
fn relative_table(table: Tensor<2>, side: usize) -> Tensor<3> {
    let head_dim = table.dims()[1];
    let index: Vec<i32> = (0..side)
        .flat_map(|query| (0..side).map(move |key| (query + side - 1 - key) as i32))
        .collect();
    let index = Tensor::<1, Int>::from_data(index.as_slice(), &table.device());
    table.select(0, index).reshape([side, side, head_dim])
}

/// For each token of the grid, a one at its row and a one at its column.
///
/// # Shapes
///
/// - returns: `[1, 1, H * W, H + W]`
fn one_hot_positions(height: usize, width: usize, device: &Device) -> Tensor<4> {
    let channels = height + width;
    let mut values = vec![0.0_f32; height * width * channels];
    for (token, row) in values.chunks_exact_mut(channels).enumerate() {
        row[token / width] = 1.0;
        row[height + token % width] = 1.0;
    }
    Tensor::<1>::from_data(values.as_slice(), &device.clone().without_autodiff()).reshape([
        1,
        1,
        height * width,
        channels,
    ])
}
