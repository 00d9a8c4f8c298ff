//! The other point head: learned queries that look at the taps, one tap after the other.

use std::f64::consts::TAU;

use burn::{
    config::Config,
    module::{Module, Param},
    nn::{
        BatchNorm, BatchNormConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

/// PyTorch's default.
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Hidden width of a layer's feed-forward network as a multiple of its width.
const FEED_FORWARD_RATIO: usize = 4;

/// Longest wavelength of the position encoding as a multiple of the map's side.
const TEMPERATURE: f64 = 10_000.0;

/// Keeps positions below a full turn, as in DETR's code.
const POSITION_EPSILON: f64 = 1e-6;

/// Configuration to create a [`CrossAttention`] module using the [init function](CrossAttentionConfig::init).
#[derive(Config, Debug)]
pub struct CrossAttentionConfig {
    /// Channels of one tap, and of everything inside, `C`; a multiple of 4.
    pub width: usize,
    /// Taps, deepest first; each gets a layer.
    pub taps: usize,
    /// Points to predict, `P`.
    pub points: usize,
    /// Attention heads; they divide `width`.
    pub heads: usize,
    /// Whether the second tap is enlarged once, the third twice, and so on, before it is looked at: a
    /// 64 x 64 map to 126 x 126, 250 x 250, ... Without it every tap stays as it is.
    #[config(default = true)]
    pub upscale: bool,
}

impl CrossAttentionConfig {
    /// Creates the module on `device`.
    ///
    /// Weights start as PyTorch's layers do by default: queries, their positions and level embeddings
    /// as `torch.nn.Embedding`, projections as `torch.nn.MultiheadAttention`.
    pub fn init(&self, device: &Device) -> CrossAttention {
        let width = self.width;
        let embedding =
            |rows| Initializer::Normal { mean: 0.0, std: 1.0 }.init([rows, width], device);
        let steps = |tap| if self.upscale { tap } else { 0 };
        CrossAttention {
            query_features: embedding(self.points),
            query_positions: embedding(self.points),
            level_embeddings: embedding(self.taps),
            upscalers: (0..self.taps)
                .map(|tap| (0..steps(tap)).map(|_| UpscaleStep::new(width, device)).collect())
                .collect(),
            layers: (0..self.taps)
                .map(|_| CrossAttentionLayer::new(width, self.heads, device))
                .collect(),
            fc: LinearConfig::new(width, 2).init(device),
        }
    }
}

/// Learned queries, one for each point, that look at the taps from the deepest to the shallowest.
///
/// For tap `l`, enlarged `l` times, with learned level embedding `e_l` and sinusoidal positions `p`:
///
/// ```text
/// q <- norm(q + attention(q + q_pos, tap_l + e_l + p, tap_l + e_l))
/// q <- norm(q + W2 gelu(W1 q + b1) + b2)
/// ```
///
/// and in the end `fc(q)`, two numbers for each point. Queries do not see each other.
///
/// # Memory
///
/// Keys and values have a row for every pixel of the enlarged map. With ViT-B's 64 x 64 features the third
/// tap becomes 250 x 250: 62,500 rows of 768 numbers are 192 MB in `f32`, and a training step keeps
/// several of them for every image of the batch. [`upscale = false`](CrossAttentionConfig::upscale) keeps
/// 4,096 rows for every tap.
///
/// Source: the ProMISe paper (arXiv 2403.04164) and its published code. The attention is that of the
/// transformer decoder of Mask2Former (Cheng et al., CVPR 2022, section 3.2) without masks and
/// self-attention, the positions are DETR's (Carion et al., ECCV 2020). Where the sources leave it open,
/// ours: every tap has upscaling steps of its own, and convolutions before a batch norm have a bias.
/// Should be created with [`CrossAttentionConfig`].
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// `[P, C]`
    query_features: Param<Tensor<2>>,
    /// `[P, C]`
    query_positions: Param<Tensor<2>>,
    /// `[taps, C]`
    level_embeddings: Param<Tensor<2>>,
    upscalers: Vec<Vec<UpscaleStep>>,
    layers: Vec<CrossAttentionLayer>,
    fc: Linear,
}

impl CrossAttention {
    /// # Shapes
    ///
    /// - `taps`: deepest first, each `[B, C, H, W]`
    /// - returns: `[B, 2P]`, ordered `x0, y0, x1, y1, ..`
    pub fn forward(&self, taps: Vec<Tensor<4>>) -> Tensor<2> {
        let batch = taps.first().map_or(0, |tap| tap.dims()[0]);
        let for_each_image =
            |rows: &Param<Tensor<2>>| rows.val().unsqueeze_dim::<3>(0).repeat_dim(0, batch);
        let query_positions = for_each_image(&self.query_positions);
        let mut queries = for_each_image(&self.query_features); // [B, P, C]
        let levels = self.level_embeddings.val();
        for (level, (tap, layer)) in taps.into_iter().zip(&self.layers).enumerate() {
            let map = self.upscalers[level].iter().fold(tap, |map, step| step.forward(map));
            let [_, channels, height, width] = map.dims();
            let positions = sine_positions(height, width, channels, &map.device());
            let rows = map.reshape([batch, channels, height * width]).swap_dims(1, 2);
            let values = rows + levels.clone().slice_dim(0, level..level + 1).unsqueeze_dim(0);
            let keys = values.clone() + positions.unsqueeze_dim(0);
            queries = layer.forward(queries, query_positions.clone(), keys, values);
        }
        let logits = linear(&self.fc, queries); // [B, P, 2]
        let [batch, points, axes] = logits.dims();
        logits.reshape([batch, points * axes])
    }
}

/// One layer: attention from queries to a map, then a feed-forward network, each with a residual
/// connection and a layer norm behind it.
#[derive(Module, Debug)]
pub struct CrossAttentionLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm1: LayerNorm,
    lin1: Linear,
    lin2: Linear,
    norm2: LayerNorm,
    #[module(skip)]
    heads: usize,
}

impl CrossAttentionLayer {
    fn new(width: usize, heads: usize, device: &Device) -> Self {
        // `torch.nn.MultiheadAttention` draws query, key and value as one `[3 C, C]` matrix by Xavier's
        // rule, and starts without biases.
        let projection = (6.0 / (4 * width) as f64).sqrt();
        let attention_linear = |bound: f64| Linear {
            weight: Initializer::Uniform { min: -bound, max: bound }.init([width, width], device),
            bias: Some(Initializer::Zeros.init([width], device)),
        };
        let norm = || LayerNormConfig::new(width).with_epsilon(LAYER_NORM_EPSILON).init(device);
        let hidden = FEED_FORWARD_RATIO * width;
        Self {
            query: attention_linear(projection),
            key: attention_linear(projection),
            value: attention_linear(projection),
            output: attention_linear((width as f64).sqrt().recip()),
            norm1: norm(),
            lin1: LinearConfig::new(width, hidden).init(device),
            lin2: LinearConfig::new(hidden, width).init(device),
            norm2: norm(),
            heads,
        }
    }

    /// # Shapes
    ///
    /// - `queries`, `query_positions`: `[B, P, C]`
    /// - `keys`, `values`: `[B, N, C]`
    /// - returns: `[B, P, C]`
    pub fn forward(
        &self,
        queries: Tensor<3>,
        query_positions: Tensor<3>,
        keys: Tensor<3>,
        values: Tensor<3>,
    ) -> Tensor<3> {
        let attended = fused_ops::attention(
            linear(&self.query, queries.clone() + query_positions),
            linear(&self.key, keys),
            linear(&self.value, values),
            self.heads,
        );
        let queries = layer_norm(&self.norm1, queries + linear(&self.output, attended));
        let hidden = fused_ops::gelu(linear(&self.lin1, queries.clone()));
        layer_norm(&self.norm2, queries + linear(&self.lin2, hidden))
    }
}

/// Doubles a map and takes a pixel off at each side: transposed convolution 2x2 of stride 2, convolution
/// 3x3 without padding, batch norm, ReLU. The width stays.
#[derive(Module, Debug)]
pub struct UpscaleStep {
    /// Transposed convolution, `[C, C, 2, 2]` with inputs first.
    enlarge_weight: Param<Tensor<4>>,
    /// `[C]`
    enlarge_bias: Param<Tensor<1>>,
    conv: Conv2d,
    norm: BatchNorm,
}

impl UpscaleStep {
    fn new(width: usize, device: &Device) -> Self {
        // The default of PyTorch's ConvTranspose2d: uniform within 1 / sqrt(C_out * 2 * 2).
        let bound = ((4 * width) as f64).sqrt().recip();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Self {
            enlarge_weight: uniform.init([width, width, 2, 2], device),
            enlarge_bias: uniform.init([width], device),
            conv: Conv2dConfig::new([width, width], [3, 3]).init(device),
            norm: BatchNormConfig::new(width).init(device),
        }
    }

    /// # Shapes
    ///
    /// - `map`: `[B, C, H, W]`
    /// - returns: `[B, C, 2H - 2, 2W - 2]`
    pub fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let bias = self.conv.bias.as_ref().map(Param::val);
        let enlarged = self.enlarge(map);
        let map = fused_ops::conv2d(enlarged, self.conv.weight.val(), bias, [1, 1], [0, 0]);
        relu(self.norm.forward(map))
    }

    /// The transposed convolution as a matrix product: its outputs do not overlap.
    fn enlarge(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = map.dims();
        let rows = map.reshape([batch, channels, height * width]).swap_dims(1, 2);
        let weight = self.enlarge_weight.val().permute([0, 2, 3, 1]);
        let weight = weight.reshape([channels, 4 * channels]);
        let bias = self.enlarge_bias.val().repeat_dim(0, 4);
        fused_ops::linear(rows, weight, Some(bias))
            .reshape([batch, height, width, 2, 2, channels])
            .permute([0, 5, 1, 3, 2, 4])
            .reshape([batch, channels, 2 * height, 2 * width])
    }
}

/// DETR's fixed positions: the first half of the channels says `y`, the second `x`, alternating sine and
/// cosine, with wavelengths from one to [`TEMPERATURE`] sides of the map.
///
/// - returns: `[H * W, C]`, rows first
fn sine_positions(height: usize, width: usize, channels: usize, device: &Device) -> Tensor<2> {
    let half = channels / 2;
    let axis = |side: usize| -> Vec<f32> {
        (0..side)
            .flat_map(|at| {
                let angle = TAU * (at + 1) as f64 / (side as f64 + POSITION_EPSILON);
                (0..half).map(move |channel| {
                    let exponent = (2 * (channel / 2)) as f64 / half as f64;
                    let angle = angle / TEMPERATURE.powf(exponent);
                    (if channel % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
                })
            })
            .collect()
    };
    let device = device.clone().without_autodiff();
    let table =
        |side: usize| Tensor::<1>::from_data(axis(side).as_slice(), &device).reshape([side, half]);
    let y = table(height).unsqueeze_dim::<3>(1).repeat_dim(1, width);
    let x = table(width).unsqueeze_dim::<3>(0).repeat_dim(0, height);
    Tensor::cat(vec![y, x], 2).reshape([height * width, channels])
}

/// A linear layer through our kernels where they apply.
fn linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    fused_ops::linear(input, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// A layer norm with a bias, through our kernels where they apply.
fn layer_norm<const D: usize>(layer: &LayerNorm, input: Tensor<D>) -> Tensor<D> {
    match &layer.beta {
        Some(beta) => {
            fused_ops::layer_norm(input, layer.gamma.val(), beta.val(), LAYER_NORM_EPSILON)
        }
        None => layer.forward(input),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
    use fixtures::Fixture;
    use prompting::num_trainable_params;

    use super::*;
    use crate::points::points_in_input;

    /// Fixture `cross_attention`: `crates/fixtures/data/cross_attention/make.py`, three taps of width 8 on
    /// 5 x 4, two heads, 6 points, input size 128.
    fn loaded(name: &str, upscale: bool, device: &Device) -> (CrossAttention, Fixture) {
        let fixture = Fixture::open("cross_attention");
        let mut head = CrossAttentionConfig::new(8, 3, 6, 2).with_upscale(upscale).init(device);
        let mut store = SafetensorsStore::from_file(fixture.path())
            .with_from_adapter(PyTorchToBurnAdapter)
            .with_key_remapping(format!(r"^{name}\.weights\."), "");
        head.load_from(&mut store).expect("the fixture holds every weight");
        (head, fixture)
    }

    fn taps(fixture: &Fixture, device: &Device) -> Vec<Tensor<4>> {
        ["tap.12", "tap.9", "tap.6"].map(|tap| fixture.tensor(tap, device)).to_vec()
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    fn largest_difference<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) -> f32 {
        assert_eq!(ours.dims(), theirs.dims());
        floats(ours).iter().zip(floats(theirs)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Tolerance: f32 here, rounded from f64 there.
    #[test]
    fn points_match_the_reference_on_enlarged_and_on_plain_taps() {
        let device = Device::flex();
        for (name, upscale) in [("enlarged", true), ("plain", false)] {
            let (head, fixture) = loaded(name, upscale, &device);
            let ours = points_in_input(head.forward(taps(&fixture, &device)), 128);
            let theirs = fixture.tensor::<3>(&format!("{name}.points"), &device);
            let difference = largest_difference(ours, theirs);
            assert!(difference < 1e-3, "{name}: {difference} pixels");
        }
    }

    /// Tolerance: batch statistics subtract close numbers, so f32 has fewer digits left than above.
    #[test]
    fn points_match_the_reference_with_batch_statistics() {
        let plain = Device::flex();
        let (head, fixture) = loaded("enlarged", true, &plain.clone().autodiff());
        let tracked = taps(&fixture, &plain).into_iter().map(Tensor::autodiff).collect();
        let ours = points_in_input(head.forward(tracked), 128).without_autodiff();
        let theirs = fixture.tensor::<3>("enlarged.train.points", &plain);
        let difference = largest_difference(ours, theirs);
        assert!(difference < 1e-2, "{difference} pixels");
    }

    /// Gradients of the sum of all points with respect to the deepest tap and to the queries.
    #[test]
    fn gradients_match_the_reference() {
        let plain = Device::flex();
        let (head, fixture) = loaded("enlarged", true, &plain.clone().autodiff());
        let mut tracked: Vec<_> =
            taps(&fixture, &plain).into_iter().map(Tensor::autodiff).collect();
        tracked[2] = tracked[2].clone().require_grad();
        let shallow = tracked[2].clone();
        let gradients = points_in_input(head.forward(tracked), 128).sum().backward();
        let pairs = [
            (shallow.grad(&gradients).unwrap().reshape([1, -1]), "enlarged.grad.tap.6"),
            (
                head.query_positions.val().grad(&gradients).unwrap().reshape([1, -1]),
                "enlarged.grad.query_positions",
            ),
        ];
        for (ours, name) in pairs {
            let count = fixture.shape(name).iter().product::<usize>();
            let theirs = match fixture.shape(name).len() {
                4 => fixture.tensor::<4>(name, &plain).reshape([1, count]),
                _ => fixture.tensor::<2>(name, &plain).reshape([1, count]),
            };
            let scale = floats(theirs.clone().abs().max())[0];
            let difference = largest_difference(ours, theirs);
            assert!(scale > 1e-3 && difference < 1e-3 * scale, "{name}: {difference} of {scale}");
        }
    }

    /// DETR's own code is the fixture's; here what can be said by hand: the last position is a full turn
    /// (sine 0, cosine 1) in the channels of the shortest wavelength.
    #[test]
    fn the_last_row_and_column_are_a_full_turn() {
        let positions = floats(sine_positions(3, 5, 8, &Device::flex()));
        let last = &positions[14 * 8..];
        for (channel, expected) in [(0, 0.0), (1, 1.0), (4, 0.0), (5, 1.0)] {
            assert!(
                (last[channel] - expected).abs() < 1e-5,
                "channel {channel}: {}",
                last[channel]
            );
        }
        // Row 1 of 3 is two thirds of a turn whatever the column.
        let expected = (TAU * 2.0 / 3.0).sin() as f32;
        for column in 0..5 {
            assert!((positions[(5 + column) * 8] - expected).abs() < 1e-5);
        }
    }

    /// Source of the sizes: doubled, less the border that a 3x3 kernel without padding takes.
    #[test]
    fn a_map_of_64_becomes_126_and_then_250() {
        let device = Device::flex();
        let step = UpscaleStep::new(4, &device);
        let once = step.forward(Tensor::ones([1, 4, 64, 64], &device));
        assert_eq!(once.dims(), [1, 4, 126, 126]);
        assert_eq!(step.forward(once).dims(), [1, 4, 250, 250]);
    }

    /// By hand, on ViT-B with the paper's taps and points.
    #[test]
    fn parameters_are_those_of_layers_steps_and_embeddings() {
        let c = 768;
        let layer = 4 * (c * c + c) + (c * 4 * c + 4 * c) + (4 * c * c + c) + 2 * 2 * c;
        let step = (c * c * 4 + c) + (c * c * 9 + c) + 2 * c;
        let rest = 2 * 16 * c + 3 * c + (2 * c + 2);
        let device = Device::flex();
        let head = CrossAttentionConfig::new(c, 3, 16, 12).init(&device);
        assert_eq!(num_trainable_params(&head), 3 * layer + 3 * step + rest);
        let plain = CrossAttentionConfig::new(c, 3, 16, 12).with_upscale(false).init(&device);
        assert_eq!(num_trainable_params(&plain), 3 * layer + rest);
    }
}
