//! The point head: a residual network from a feature map to one vector.

use burn::{
    config::Config,
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};
use serde::{Deserialize, Serialize};

use prompting::convolve;

/// Output channels of a bottleneck block as a multiple of its inner width.
const BOTTLENECK_EXPANSION: usize = 4;

/// Which of the five published residual networks.
///
/// Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResNetDepth {
    /// Basic blocks, 2-2-2-2.
    Resnet18,
    /// Basic blocks, 3-4-6-3: the paper's choice.
    #[default]
    Resnet34,
    /// Bottleneck blocks, 3-4-6-3.
    Resnet50,
    /// Bottleneck blocks, 3-4-23-3.
    Resnet101,
    /// Bottleneck blocks, 3-8-36-3.
    Resnet152,
}

impl ResNetDepth {
    /// Blocks of each of the four stages.
    pub const fn blocks(self) -> [usize; 4] {
        match self {
            Self::Resnet18 => [2, 2, 2, 2],
            Self::Resnet34 | Self::Resnet50 => [3, 4, 6, 3],
            Self::Resnet101 => [3, 4, 23, 3],
            Self::Resnet152 => [3, 8, 36, 3],
        }
    }

    /// Whether it is made of bottleneck blocks instead of basic ones.
    pub const fn has_bottlenecks(self) -> bool {
        matches!(self, Self::Resnet50 | Self::Resnet101 | Self::Resnet152)
    }

    /// Output channels of a block as a multiple of its stage's width.
    const fn expansion(self) -> usize {
        if self.has_bottlenecks() { BOTTLENECK_EXPANSION } else { 1 }
    }
}

/// Configuration to create a [`ResNet`] module using the [init function](ResNetConfig::init).
#[derive(Config, Debug)]
pub struct ResNetConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Numbers to predict.
    pub outputs: usize,
    /// Depth and kind of blocks.
    #[config(default = "ResNetDepth::Resnet34")]
    pub depth: ResNetDepth,
    /// Width of stem and first stage; the stages have 1, 2, 4 and 8 times as many channels.
    #[config(default = 64)]
    pub base_width: usize,
}

impl ResNetConfig {
    /// Creates the module on `device`.
    ///
    /// Convolutions and the last layer draw from `U(-1/sqrt(n), 1/sqrt(n))` with `n` the inputs of one
    /// output, which is what `torch.nn.Conv2d` and `torch.nn.Linear` do (torchvision's own ResNet
    /// overrides it with Kaiming-normal convolutions); batch norms start as the identity.
    pub fn init(&self, device: &Device) -> ResNet {
        let mut channels = self.base_width;
        let mut stages = Vec::new();
        for (stage, n_blocks) in self.depth.blocks().into_iter().enumerate() {
            let width = self.base_width << stage;
            let mut blocks = Vec::new();
            for index in 0..n_blocks {
                let config = BlockConfig {
                    in_channels: channels,
                    width,
                    depth: self.depth,
                    // Every stage but the first begins by halving the map.
                    stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    // In the published code the very last block projects its shortcut too.
                    always_project: stage == 3 && index + 1 == n_blocks,
                };
                blocks.push(config.init(device));
                channels = width * self.depth.expansion();
            }
            stages.push(blocks);
        }
        ResNet {
            stem: ConvNorm::new([self.in_channels, self.base_width], 3, 1, device),
            max_pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            stages,
            average_pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            fc: LinearConfig::new(channels, self.outputs).init(device),
        }
    }
}

/// A residual network from a feature map to one vector of numbers without bounds.
///
/// As in He et al. but for two things: the stem is a 3x3 convolution with stride 1, because the input
/// is a feature map and no image, and the last block of the last stage has a 1x1 convolution on its
/// shortcut although its shapes agree. Bottlenecks put their stride on the 3x3 convolution
/// ("ResNet 1.5", as torchvision does).
///
/// # Batch statistics
///
/// While it trains, batch norm uses the statistics of the batch; a module after `valid()` uses the
/// running ones. It trains if the tensors it sees are on an autodiff device, which the weights of a
/// training module bring about whatever the device of the input. The running variance is an average
/// of *biased* batch variances; PyTorch averages unbiased ones, larger by `N / (N - 1)` with
/// `N = B * H * W`.
///
/// Source: ProMISe reference code, `utilities/Networks/modeling/`.
/// Should be created with [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    max_pool: MaxPool2d,
    stages: Vec<Vec<ResidualBlock>>,
    average_pool: AdaptiveAvgPool2d,
    pub(crate) fc: Linear,
}

impl ResNet {
    /// # Shapes
    ///
    /// - `features`: `[B, C, H, W]`
    /// - returns: `[B, outputs]`
    pub fn forward(&self, features: Tensor<4>) -> Tensor<2> {
        let stem = self.max_pool.forward(relu(self.stem.forward(features)));
        let top = self.stages.iter().flatten().fold(stem, |x, block| block.forward(x));
        let [batch, channels, _, _] = top.dims();
        self.fc.forward(self.average_pool.forward(top).reshape([batch, channels]))
    }
}

/// A residual block: `relu(branch(x) + shortcut(x))`.
///
/// The branch is a chain of convolutions with batch norm, ReLU between them: two of 3x3 in a basic
/// block; 1x1, 3x3, 1x1 in a bottleneck. The shortcut is the identity or a 1x1 convolution with
/// batch norm.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    branch: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl ResidualBlock {
    /// # Shapes
    ///
    /// - `x`: `[B, C, H, W]`
    /// - returns: `[B, C', H / stride, W / stride]`, sides rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(projection) => projection.forward(x.clone()),
            None => x.clone(),
        };
        let mut layers = self.branch.iter();
        let first = layers.next().map_or(x.clone(), |layer| layer.forward(x));
        let branch = layers.fold(first, |y, layer| layer.forward(relu(y)));
        relu(branch + shortcut)
    }
}

/// What one residual block is made from.
struct BlockConfig {
    in_channels: usize,
    /// Of the stage; a bottleneck's output is wider.
    width: usize,
    depth: ResNetDepth,
    stride: usize,
    /// A convolution on the shortcut even where the identity would fit.
    always_project: bool,
}

impl BlockConfig {
    fn init(&self, device: &Device) -> ResidualBlock {
        let Self { in_channels, width, stride, .. } = *self;
        let out_channels = width * self.depth.expansion();
        let conv = |channels, kernel, stride| ConvNorm::new(channels, kernel, stride, device);
        let branch = if self.depth.has_bottlenecks() {
            vec![
                conv([in_channels, width], 1, 1),
                conv([width, width], 3, stride),
                conv([width, out_channels], 1, 1),
            ]
        } else {
            vec![conv([in_channels, width], 3, stride), conv([width, width], 3, 1)]
        };
        let project = self.always_project || stride != 1 || in_channels != out_channels;
        let shortcut = project.then(|| conv([in_channels, out_channels], 1, stride));
        ResidualBlock { branch, shortcut }
    }
}

/// A convolution without bias, then batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Padding `kernel / 2`, so that stride 1 keeps the size of the map.
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let pad = kernel / 2;
        Self {
            conv: Conv2dConfig::new(channels, [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[B, C, H, W]`
    /// - returns: `[B, C', H / stride, W / stride]`, sides rounded up
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(convolve(&self.conv, x))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::{
        store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore},
        tensor::Distribution,
    };
    use fixtures::Fixture;

    use super::*;
    use prompting::num_trainable_params;

    use crate::points::points_in_input;

    const DEPTHS: [ResNetDepth; 5] = [
        ResNetDepth::Resnet18,
        ResNetDepth::Resnet34,
        ResNetDepth::Resnet50,
        ResNetDepth::Resnet101,
        ResNetDepth::Resnet152,
    ];

    /// The sizes that torchvision's documentation gives for its classifiers, with its stem, 7x7 from
    /// 3 channels, and its last layer, to 1000 classes, exchanged for ours, plus the extra shortcut.
    #[test]
    fn parameter_counts_follow_from_those_of_torchvision() {
        let torchvision = [11_689_512, 21_797_672, 25_557_032, 44_549_160, 60_192_808];
        for (depth, total) in DEPTHS.into_iter().zip(torchvision) {
            let top = if depth.has_bottlenecks() { 2048 } else { 512 };
            let (their_stem, their_fc) = (3 * 64 * 7 * 7, top * 1000 + 1000);
            let (our_stem, our_fc) = (256 * 64 * 3 * 3, top * 32 + 32);
            let shortcut = top * top + 2 * top;
            let expected = total - their_stem - their_fc + our_stem + our_fc + shortcut;
            let ours = ResNetConfig::new(256, 32).with_depth(depth).init(&Device::flex());
            assert_eq!(num_trainable_params(&ours), expected, "{depth:?}");
        }
    }

    #[test]
    fn depths_are_named_like_the_networks() {
        for (depth, name) in DEPTHS.into_iter().zip([18, 34, 50, 101, 152]) {
            assert_eq!(serde_json::to_value(depth).unwrap(), format!("resnet{name}"));
            // Layers with weights in the main path: stem, branches, last layer.
            let per_block = if depth.has_bottlenecks() { 3 } else { 2 };
            assert_eq!(2 + per_block * depth.blocks().iter().sum::<usize>(), name);
        }
    }

    /// Fixture `resnet_tiny`: `crates/fixtures/data/resnet_tiny/make.py`, 8 channels, base width 4,
    /// 6 points, input size 128. Weights have torchvision's names.
    fn loaded(depth: ResNetDepth, name: &str, device: &Device) -> (ResNet, Fixture) {
        let fixture = Fixture::open("resnet_tiny");
        let mut resnet = ResNetConfig::new(8, 12).with_depth(depth).with_base_width(4).init(device);
        let mut store = SafetensorsStore::from_file(fixture.path())
            .with_from_adapter(PyTorchToBurnAdapter)
            .with_key_remapping(format!(r"^{name}\.weights\.(conv|bn)1\."), "stem.${1}1.")
            .with_key_remapping(format!(r"^{name}\.weights\.fc\."), "fc.");
        for stage in 0..4 {
            let theirs = format!(r"^{name}\.weights\.layer{}\.", stage + 1);
            store = store.with_key_remapping(theirs, format!("stages.{stage}."));
        }
        store = store
            .with_key_remapping(r"^stem\.conv1\.", "stem.conv.")
            .with_key_remapping(r"^stem\.bn1\.", "stem.norm.")
            .with_key_remapping(r"^(stages.*\.)downsample\.0\.", "${1}shortcut.conv.")
            .with_key_remapping(r"^(stages.*\.)downsample\.1\.", "${1}shortcut.norm.");
        for layer in 0..3 {
            store = store
                .with_key_remapping(
                    format!(r"^(stages.*\.)conv{}\.", layer + 1),
                    format!("${{1}}branch.{layer}.conv."),
                )
                .with_key_remapping(
                    format!(r"^(stages.*\.)bn{}\.", layer + 1),
                    format!("${{1}}branch.{layer}.norm."),
                );
        }
        resnet.load_from(&mut store).expect("the fixture holds every weight");
        (resnet, fixture)
    }

    fn largest_difference<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) -> f32 {
        assert_eq!(ours.dims(), theirs.dims());
        floats(ours).iter().zip(floats(theirs)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.without_autodiff().into_data().try_into_vec::<f32>().unwrap()
    }

    /// Tolerance: a thousandth of a pixel in a frame of 128; the reference computes in f64.
    #[test]
    fn points_match_the_reference_with_running_statistics() {
        let device = Device::flex();
        for (depth, name) in
            [(ResNetDepth::Resnet18, "resnet18"), (ResNetDepth::Resnet50, "resnet50")]
        {
            let (resnet, fixture) = loaded(depth, name, &device);
            let logits = resnet.forward(fixture.tensor("input", &device));
            let theirs = fixture.tensor::<3>(&format!("{name}.points"), &device);
            let difference = largest_difference(points_in_input(logits, 128), theirs);
            assert!(difference < 1e-3, "{name}: {difference} pixels");
        }
    }

    /// Tolerance: batch statistics subtract close numbers, so f32 has fewer digits left than above.
    #[test]
    fn points_match_the_reference_with_batch_statistics() {
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        for (depth, name) in
            [(ResNetDepth::Resnet18, "resnet18"), (ResNetDepth::Resnet50, "resnet50")]
        {
            let (resnet, fixture) = loaded(depth, name, &device);
            let before = floats(resnet.stem.norm.running_var.value());
            let input = fixture.tensor::<4>("train.input", &plain);
            let [batch, _, height, width] = input.dims();
            let logits = resnet.forward(input.autodiff());
            let theirs = fixture.tensor::<3>(&format!("{name}.train.points"), &plain);
            let ours = points_in_input(logits, 128).without_autodiff();
            let difference = largest_difference(ours, theirs);
            assert!(difference < 1e-2, "{name}: {difference} pixels");

            let norm = &resnet.stem.norm;
            let theirs = fixture.tensor::<1>(&format!("{name}.after.bn1.running_mean"), &plain);
            let scale = floats(theirs.clone().abs().max())[0];
            let difference =
                largest_difference(norm.running_mean.value_sync().without_autodiff(), theirs);
            assert!(difference < 1e-5 * scale, "{name}: running mean off by {difference}");

            // Ours averages biased variances, PyTorch unbiased ones.
            let n = (batch * height * width) as f32;
            let theirs = fixture.tensor::<1>(&format!("{name}.after.bn1.running_var"), &plain);
            let ours = floats(norm.running_var.value_sync());
            for ((ours, theirs), before) in ours.into_iter().zip(floats(theirs)).zip(before) {
                let unbiased = 0.9 * before + (ours - 0.9 * before) * n / (n - 1.0);
                assert!(
                    (unbiased - theirs).abs() < 1e-5 * theirs,
                    "{name}: running variance {unbiased} instead of {theirs}"
                );
            }
        }
    }

    #[test]
    fn a_training_module_uses_batch_statistics_even_for_plain_features() {
        let plain = Device::flex();
        plain.seed(0);
        let resnet = ResNetConfig::new(8, 4)
            .with_depth(ResNetDepth::Resnet18)
            .with_base_width(4)
            .init(&plain.clone().autodiff());
        let features = Tensor::random([2, 8, 16, 16], Distribution::Normal(0.0, 1.0), &plain);
        let running_mean = |resnet: &ResNet| floats(resnet.stem.norm.running_mean.value_sync());

        let frozen = resnet.valid();
        frozen.forward(features.clone());
        assert_eq!(running_mean(&frozen), vec![0.0; 4]);

        resnet.forward(features);
        assert!(running_mean(&resnet).iter().all(|mean| *mean != 0.0));
    }

    #[test]
    fn any_map_gives_one_vector() {
        let device = Device::flex();
        let resnet = ResNetConfig::new(3, 10)
            .with_depth(ResNetDepth::Resnet50)
            .with_base_width(2)
            .init(&device);
        for [height, width] in [[1, 1], [5, 8], [16, 16]] {
            let features = Tensor::ones([2, 3, height, width], &device);
            assert_eq!(resnet.forward(features).dims(), [2, 10]);
        }
    }
}
