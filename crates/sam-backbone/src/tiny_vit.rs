//! MobileSAM's image encoder: TinyViT, of convolutions first and windowed attention then.

use burn::{
    module::{Module, Param},
    nn::{
        Gelu, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{
        Device, Int, Tensor,
        module::{adaptive_avg_pool2d, attention},
        ops::AttentionModuleOptions,
    },
};
use fused_ops::{Activation, Affine, BiasedAttentionParameters, MlpParameters, Shortcut};

use crate::{
    common::{layer_norm, linear, linear_add},
    config::{ImageEncoderConfig, TinyVitConfig},
    image_encoder::{Neck, Taps, neck, through_neck_channels_last},
    vit::{join_windows, partition_windows},
};

/// PyTorch's default, of batch and layer norms alike.
const EPSILON: f64 = 1e-5;

/// Pixels of the image to one of the last map, along each axis: four times a stride of 2.
const REDUCTION: usize = 16;

/// The image encoder of MobileSAM.
///
/// Two convolutions of stride 2 make a map of a quarter of the image's side. Four stages follow: one of inverted
/// bottlenecks ([`MbConv`]), three of attention within windows ([`Block`]). After each of the first three a
/// [`Merging`] changes the number of channels, and after the first two it halves the map. The neck is SAM's.
///
/// # Taps
///
/// Blocks are counted through all stages. The first stages have larger maps than the embedding; the taps of their blocks
/// are averaged over the pixels of each cell of the embedding.
///
/// # Channels last
///
/// Between image and neck all maps are `[B, H, W, C]`: a pixel's channels lie side by side, which is how matrix products
/// and norms read them, and `fused-ops` has the depthwise convolutions for it.
///
/// # Batch norm
///
/// It always works with its running statistics, which never change, so it is a scale and an offset per channel and
/// becomes part of the convolution before it: `w * g / sqrt(v + eps)` and `b - m * g / sqrt(v + eps)`. This is done at
/// every pass (some million products), so that the module holds a checkpoint's own tensors.
///
/// Source: Zhang et al., "Faster Segment Anything" (MobileSAM), arXiv 2306.14289; Wu et al., "TinyViT", ECCV 2022;
/// `mobile_sam/modeling/tiny_vit_sam.py`, `TinyViT`.
/// Should be created with [`SamConfig`](crate::SamConfig).
#[derive(Module, Debug)]
pub struct TinyVit {
    patch_embed: PatchEmbed,
    /// A tuple, since they are of two kinds and their places are part of the checkpoint's names.
    layers: (ConvStage, AttentionStage, AttentionStage, AttentionStage),
    neck: Neck,
}

impl TinyVit {
    pub(crate) fn new(sizes: &ImageEncoderConfig, config: &TinyVitConfig, device: &Device) -> Self {
        let [first, _, _, last] = config.widths;
        let stage = |index| AttentionStage::new(config, index, device);
        Self {
            patch_embed: PatchEmbed {
                seq: (
                    ConvNorm::new(3, first / 2, Kernel::Full { stride: 2 }, device),
                    Gelu::new(),
                    ConvNorm::new(first / 2, first, Kernel::Full { stride: 2 }, device),
                ),
            },
            layers: (ConvStage::new(config, device), stage(1), stage(2), stage(3)),
            neck: neck(last, sizes.embed_dim, device),
        }
    }

    /// Blocks of all stages.
    pub(crate) fn depth(&self) -> usize {
        let (first, second, third, fourth) = &self.layers;
        first.blocks.len()
            + [second, third, fourth].map(|stage| stage.blocks.len()).iter().sum::<usize>()
    }

    /// Whether a checkpoint's tensor is of no use: the head that TinyViT was pre-trained with, which MobileSAM's encoder
    /// does not call, the number of batches that batch norms saw in training, and the table of places that some versions
    /// store beside the biases, which follows from the size of a window.
    pub(crate) fn leaves_out(name: &str) -> bool {
        let Some(name) = name.strip_prefix("image_encoder.") else { return false };
        ["norm_head.", "head."].iter().any(|head| name.starts_with(head))
            || name.ends_with(".num_batches_tracked")
            || name.ends_with(".attention_bias_idxs")
    }

    /// See [`ImageEncoder::forward_watched`](crate::ImageEncoder::forward_watched).
    pub(crate) fn forward(&self, images: Tensor<4>, taps: &mut Taps<'_>) -> Option<Tensor<4>> {
        let [_, _, height, width] = images.dims();
        let grid = [height / REDUCTION, width / REDUCTION];
        let (early, on, narrow, late) = &self.layers;
        let map = self.patch_embed.forward(images.permute([0, 2, 3, 1]));
        let mut map = early.forward(map, grid, taps)?;
        for stage in [on, narrow, late] {
            map = stage.forward(map, grid, taps)?;
        }
        Some(through_neck_channels_last(&self.neck, map))
    }
}

/// A block's output, `[B, h, w, width]`, on the grid of the embedding, `[B, width, H, W]`.
fn on_grid(map: Tensor<4>, grid: [usize; 2]) -> Tensor<4> {
    let map = map.permute([0, 3, 1, 2]);
    let [_, _, height, width] = map.dims();
    if [height, width] == grid { map } else { adaptive_avg_pool2d(map, grid) }
}

/// The blocks of a stage, each offered to `taps`.
fn through<B>(
    blocks: &[B],
    forward: impl Fn(&B, Tensor<4>) -> Tensor<4>,
    mut map: Tensor<4>,
    grid: [usize; 2],
    taps: &mut Taps<'_>,
) -> Option<Tensor<4>> {
    for block in blocks {
        map = forward(block, map);
        taps.offer(|| on_grid(map.clone(), grid))?;
    }
    Some(map)
}

/// What a convolution looks at, and how far it steps.
#[derive(Debug, Clone, Copy)]
enum Kernel {
    /// 1x1
    Point,
    /// 3x3, padded by 1
    Full { stride: usize },
    /// 3x3 within each channel, padded by 1
    Depthwise { stride: usize },
}

/// A convolution without bias and a batch norm.
#[derive(Module, Debug)]
struct ConvNorm {
    c: Conv2d,
    bn: FixedNorm,
}

/// A batch norm with its running statistics, by the names that PyTorch gives them.
#[derive(Module, Debug)]
struct FixedNorm {
    /// `[C]`, all of them
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl ConvNorm {
    fn new(input: usize, output: usize, kernel: Kernel, device: &Device) -> Self {
        let (side, stride, groups) = match kernel {
            Kernel::Point => (1, 1, 1),
            Kernel::Full { stride } => (3, stride, 1),
            Kernel::Depthwise { stride } => (3, stride, output),
        };
        let constant = |initializer: Initializer| initializer.init([output], device);
        // Statistics, not weights.
        let fixed = |initializer: Initializer| {
            let parameter: Param<Tensor<1>> = initializer.init([output], device);
            parameter.set_require_grad(false)
        };
        Self {
            c: Conv2dConfig::new([input, output], [side, side])
                .with_stride([stride, stride])
                .with_groups(groups)
                .with_bias(false)
                .init(device),
            bn: FixedNorm {
                weight: constant(Initializer::Ones),
                bias: constant(Initializer::Zeros),
                running_mean: fixed(Initializer::Zeros),
                running_var: fixed(Initializer::Ones),
            },
        }
    }

    /// Weight `[out, in / groups, k, k]` and bias `[out]` of both in one.
    fn folded(&self) -> (Tensor<4>, Tensor<1>) {
        let FixedNorm { weight, bias, running_mean, running_var } = &self.bn;
        let scale = weight.val() / (running_var.val() + EPSILON).sqrt();
        let offset = bias.val() - running_mean.val() * scale.clone();
        let output = scale.dims()[0];
        (self.c.weight.val() * scale.reshape([output, 1, 1, 1]), offset)
    }

    /// Both as a convolution.
    fn convolution(&self) -> Affine<4> {
        let (weight, bias) = self.folded();
        Affine { weight, bias }
    }

    /// Both as a linear layer, weight `[in, out]`, where the convolution is [of 1x1](Kernel::Point).
    fn linear(&self) -> Affine<2> {
        let (weight, bias) = self.folded();
        let [output, input, _, _] = weight.dims();
        Affine { weight: weight.reshape([output, input]).transpose(), bias }
    }
}

/// Two convolutions with stride 2.
#[derive(Module, Debug)]
struct PatchEmbed {
    /// The activation is a member because its place is part of the checkpoint's names.
    seq: (ConvNorm, Gelu, ConvNorm),
}

impl PatchEmbed {
    /// `[B, S, S, 3]` to `[B, S / 4, S / 4, width]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let (first, _, second) = &self.seq;
        let convolve = |map, layer: &ConvNorm, activation| {
            let padding = layer.c.weight.dims()[2] / 2;
            let layer_of = layer.convolution();
            fused_ops::conv2d_channels_last(map, layer_of, layer.c.stride, [padding; 2], activation)
        };
        let map = convolve(images, first, Activation::Gelu);
        convolve(map, second, Activation::Identity)
    }
}

/// The first stage.
#[derive(Module, Debug)]
struct ConvStage {
    blocks: Vec<MbConv>,
    downsample: Merging,
}

impl ConvStage {
    fn new(config: &TinyVitConfig, device: &Device) -> Self {
        let width = config.widths[0];
        Self {
            blocks: (0..config.depths[0])
                .map(|_| MbConv::new(width, config.expansion, device))
                .collect(),
            downsample: Merging::new(config, 0, device),
        }
    }

    fn forward(&self, map: Tensor<4>, grid: [usize; 2], taps: &mut Taps<'_>) -> Option<Tensor<4>> {
        let map = through(&self.blocks, MbConv::forward, map, grid, taps)?;
        Some(self.downsample.forward(map))
    }
}

/// Inverted bottleneck: `gelu(x + project(gelu(depthwise(gelu(expand(x))))))`, each with a batch norm.
#[derive(Module, Debug)]
struct MbConv {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
}

impl MbConv {
    fn new(width: usize, expansion: usize, device: &Device) -> Self {
        let hidden = expansion * width;
        let depthwise = Kernel::Depthwise { stride: 1 };
        Self {
            conv1: ConvNorm::new(width, hidden, Kernel::Point, device),
            conv2: ConvNorm::new(hidden, hidden, depthwise, device),
            conv3: ConvNorm::new(hidden, width, Kernel::Point, device),
        }
    }

    /// `[B, H, W, C]`, as what is returned.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let (expand, project) = (self.conv1.linear(), self.conv3.linear());
        let depthwise = self.conv2.convolution();
        let shortcut = Shortcut::AddThenGelu;
        fused_ops::inverted_bottleneck(map, expand, depthwise, project, 1, shortcut)
    }
}

/// From one stage to the next: `mix(gelu(depthwise(gelu(widen(x)))))`, each with a batch norm.
#[derive(Module, Debug)]
struct Merging {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
}

impl Merging {
    /// What stands after the stage `index`. The last one keeps the map's side: MobileSAM's embedding has a sixteenth of
    /// the image's, as SAM's, where TinyViT for classification goes on to a thirty-second.
    fn new(config: &TinyVitConfig, index: usize, device: &Device) -> Self {
        let (input, output) = (config.widths[index], config.widths[index + 1]);
        let stride = if index < 2 { 2 } else { 1 };
        Self {
            conv1: ConvNorm::new(input, output, Kernel::Point, device),
            conv2: ConvNorm::new(output, output, Kernel::Depthwise { stride }, device),
            conv3: ConvNorm::new(output, output, Kernel::Point, device),
        }
    }

    /// `[B, H, W, C]` to the next stage's.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let (widen, mix) = (self.conv1.linear(), self.conv3.linear());
        let (depthwise, stride) = (self.conv2.convolution(), self.conv2.c.stride[0]);
        fused_ops::inverted_bottleneck(map, widen, depthwise, mix, stride, Shortcut::Without)
    }
}

/// A stage of attention.
#[derive(Module, Debug)]
struct AttentionStage {
    blocks: Vec<Block>,
    downsample: Option<Merging>,
}

impl AttentionStage {
    fn new(config: &TinyVitConfig, index: usize, device: &Device) -> Self {
        Self {
            blocks: (0..config.depths[index]).map(|_| Block::new(config, index, device)).collect(),
            downsample: (index < 3).then(|| Merging::new(config, index, device)),
        }
    }

    fn forward(&self, map: Tensor<4>, grid: [usize; 2], taps: &mut Taps<'_>) -> Option<Tensor<4>> {
        let map = through(&self.blocks, Block::forward, map, grid, taps)?;
        Some(match &self.downsample {
            Some(merging) => merging.forward(map),
            None => map,
        })
    }
}

/// Parameters of a linear layer.
fn affine(layer: &Linear) -> Affine<2> {
    let bias = layer.bias.as_ref().expect("all linear layers here have a bias");
    Affine { weight: layer.weight.val(), bias: bias.val() }
}

/// Parameters of a layer norm.
fn norm_of(layer: &LayerNorm) -> Affine<1> {
    let bias = layer.beta.as_ref().expect("all layer norms here have a bias");
    Affine { weight: layer.gamma.val(), bias: bias.val() }
}

/// Attention within windows, a depthwise convolution that looks over their edges, an MLP:
/// `x <- conv(x + attention(x))`, `x <- x + mlp(x)`.
#[derive(Module, Debug)]
struct Block {
    attn: BiasedAttention,
    local_conv: ConvNorm,
    mlp: Mlp,
}

impl Block {
    fn new(config: &TinyVitConfig, index: usize, device: &Device) -> Self {
        let (width, heads) = (config.widths[index], config.n_heads[index - 1]);
        let depthwise = Kernel::Depthwise { stride: 1 };
        Self {
            attn: BiasedAttention::new(width, heads, config.window_sizes[index - 1], device),
            local_conv: ConvNorm::new(width, width, depthwise, device),
            mlp: Mlp::new(width, config.mlp_ratio * width, device),
        }
    }

    /// `[B, H, W, C]`, as what is returned.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = self.attn.forward_add(map);
        let local = self.local_conv.convolution();
        let map = fused_ops::depthwise_channels_last(map, local, 1, Activation::Identity);
        self.mlp.forward_add(map)
    }
}

/// Multi-head self-attention within windows, with a learned bias for every distance:
/// `score(q, k) = q.k / sqrt(d) + bias[head][|qy - ky|, |qx - kx|]`.
///
/// The biases of all pairs in a window are a few hundred thousand numbers, the same for all windows; scores are in
/// memory for one window and head at a time, or nearly so.
#[derive(Module, Debug)]
struct BiasedAttention {
    norm: LayerNorm,
    /// Each head has its query, key and value side by side.
    qkv: Linear,
    proj: Linear,
    /// `[heads, window * window]`, of the distance `(dy, dx)` at `dy * window + dx`
    attention_biases: Param<Tensor<2>>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    window: usize,
}

impl BiasedAttention {
    fn new(width: usize, n_heads: usize, window: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(width).with_epsilon(EPSILON).init(device),
            qkv: LinearConfig::new(width, 3 * width).init(device),
            proj: LinearConfig::new(width, width).init(device),
            attention_biases: Initializer::Zeros.init([n_heads, window * window], device),
            n_heads,
            window,
        }
    }

    /// The tokens plus what they see.
    ///
    /// # Shapes
    ///
    /// - `tokens`: `[B, H, W, C]`
    /// - returns: the same
    fn forward_add(&self, tokens: Tensor<4>) -> Tensor<4> {
        let fused = BiasedAttentionParameters {
            norm: norm_of(&self.norm),
            epsilon: EPSILON,
            qkv: affine(&self.qkv),
            proj: affine(&self.proj),
            biases: self.attention_biases.val(),
            window: self.window,
        };
        if fused_ops::has_biased_window_attention(&tokens, &fused) {
            return fused_ops::biased_window_attention_add(tokens, fused);
        }
        linear_add(&self.proj, self.see(tokens.clone()), tokens)
    }

    /// Of each token what it sees, `[B, H, W, C]`, in Burn's operations.
    fn see(&self, tokens: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = tokens.dims();
        let head_dim = channels / self.n_heads;
        let n_tokens = self.window * self.window;

        // Zeros beyond the grid go through the norm, too, and are seen by the others.
        let windows = partition_windows(tokens, self.window);
        let n_windows = windows.dims()[0];
        let windows = layer_norm(&self.norm, EPSILON, windows);
        let qkv = linear(&self.qkv, windows)
            .reshape([n_windows, n_tokens, self.n_heads, 3 * head_dim])
            .swap_dims(1, 2); // [windows, heads, tokens, 3 d]
        let [query, key, value] =
            [0, 1, 2].map(|part| qkv.clone().slice_dim(3, part * head_dim..(part + 1) * head_dim));
        drop(qkv);
        let options = AttentionModuleOptions::default();
        let biases = self.pair_biases().cast(query.dtype());
        let seen = attention(query, key, value, None, Some(biases), options)
            .swap_dims(1, 2)
            .reshape([n_windows, self.window, self.window, channels]);
        join_windows(seen, self.window, [batch, height, width])
    }

    /// The bias of every pair of tokens of a window, `[1, heads, tokens, tokens]`.
    fn pair_biases(&self) -> Tensor<4> {
        let biases = self.attention_biases.val();
        let (side, tokens) = (self.window, self.window * self.window);
        let index: Vec<i32> = (0..tokens)
            .flat_map(|query| {
                (0..tokens).map(move |key| {
                    let rows = (query / side).abs_diff(key / side);
                    let columns = (query % side).abs_diff(key % side);
                    (rows * side + columns) as i32
                })
            })
            .collect();
        let device = biases.device().without_autodiff();
        let index = Tensor::<1, Int>::from_data(index.as_slice(), &device);
        biases.select(1, index).reshape([1, self.n_heads, tokens, tokens])
    }
}

/// `x + W2 gelu(W1 norm(x))`
#[derive(Module, Debug)]
struct Mlp {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(width: usize, hidden: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(width).with_epsilon(EPSILON).init(device),
            fc1: LinearConfig::new(width, hidden).init(device),
            fc2: LinearConfig::new(hidden, width).init(device),
        }
    }

    /// `[B, H, W, C]`, as what is returned.
    fn forward_add(&self, tokens: Tensor<4>) -> Tensor<4> {
        let (norm, widen, narrow) = (norm_of(&self.norm), affine(&self.fc1), affine(&self.fc2));
        fused_ops::normed_mlp_add(tokens, MlpParameters { norm, epsilon: EPSILON, widen, narrow })
    }
}
