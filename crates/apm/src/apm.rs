//! The Auto-Prompting Module itself.

use burn::{
    config::Config,
    module::{Module, Param},
    tensor::{Device, Int, Tensor},
};
use prompting::{
    BackboneInfo, PointLabel, PromptInput, PromptModule, PromptOptionError, Prompts, Proposal,
    num_trainable_params,
};

use crate::{
    ApmSpec, CrossAttention, CrossAttentionConfig, Fusion, FusionConfig, Head, ResNet,
    ResNetConfig,
    points::{points_in_input, spread_logits},
};

/// Configuration to create an [`Apm`] module using the [init function](ApmConfig::init).
///
/// [`ApmSpec::config`] makes it from options and a backbone and checks them; here nothing is checked
/// any more.
#[derive(Config, Debug)]
pub struct ApmConfig {
    /// Channels of the tapped blocks, in the order of `taps`. Cross-attention takes one width only.
    pub tap_widths: Vec<usize>,
    /// Side of the network input in pixels: the frame of the points.
    pub input_size: usize,
    /// Tapped blocks (0-based), deepest first.
    pub taps: Vec<usize>,
    /// Points per image, `P`.
    #[config(default = 16)]
    pub points: usize,
    /// How many of them, from the first on, are foreground.
    #[config(default = 8)]
    pub foreground: usize,
    /// The network that predicts the points.
    #[config(default = "Head::Resnet34")]
    pub head: Head,
    /// Channels of the fused taps, `F`, that a residual head sees.
    #[config(default = 256)]
    pub fusion_channels: usize,
    /// Width of a residual head's stem and first stage.
    #[config(default = 64)]
    pub base_width: usize,
    /// Attention heads of the cross-attention head; they divide the width of the taps.
    #[config(default = 12)]
    pub attention_heads: usize,
    /// Whether the cross-attention head enlarges all taps but the deepest.
    #[config(default = true)]
    pub upscale: bool,
    /// Set the last layer's bias so that the points start spread over the image.
    ///
    /// As in the published code the last layer's output starts near zero, and since
    /// `sigmoid(0) = 0.5` all points, foreground and background, start around the image's center:
    /// about a tenth of its side away on average (ResNet-34 in training mode). SAM then sees
    /// contradicting labels in nearly one place. With this option point `p` starts around position `p`
    /// of [`spread_positions`](crate::spread_positions), as far away from it as otherwise from the
    /// center, because the weights stay random. This option is ours, and of residual heads only.
    #[config(default = false)]
    pub spread_init: bool,
}

impl ApmConfig {
    /// Creates the module on `device` with random weights; see [`ResNetConfig::init`] and
    /// [`CrossAttentionConfig::init`] for their distribution.
    pub fn init(&self, device: &Device) -> Apm {
        let (fusion, head) = match self.head.resnet_depth() {
            Some(depth) => {
                let fusion = FusionConfig::new(self.tap_widths.iter().sum())
                    .with_channels(self.fusion_channels)
                    .init(device);
                let mut head = ResNetConfig::new(self.fusion_channels, 2 * self.points)
                    .with_depth(depth)
                    .with_base_width(self.base_width)
                    .init(device);
                if self.spread_init {
                    let bias = spread_logits(self.points);
                    head.fc.bias = Some(Param::from_data(bias.as_slice(), device));
                }
                (Some(fusion), PointHead::ResNet(head))
            }
            None => {
                let (width, taps) = (self.tap_widths[0], self.taps.len());
                let head =
                    CrossAttentionConfig::new(width, taps, self.points, self.attention_heads)
                        .with_upscale(self.upscale);
                (None, PointHead::CrossAttention(head.init(device)))
            }
        };
        Apm {
            fusion,
            head,
            taps: self.taps.clone(),
            points: self.points,
            foreground: self.foreground,
            input_size: self.input_size,
        }
    }
}

/// The network that predicts the points.
#[allow(clippy::large_enum_variant, reason = "a program has one or two of them")]
#[derive(Module, Debug)]
enum PointHead {
    /// Sees all taps as one map.
    ResNet(ResNet),
    /// Sees one tap after the other.
    CrossAttention(CrossAttention),
}

/// Auto-Prompting Module (APM): predicts point prompts from the outputs of frozen encoder blocks.
///
/// `points = input_size * sigmoid(ResNet(Fusion(taps)))`, or with the other [`Head`]
/// `input_size * sigmoid(CrossAttention(taps))`; the labels are fixed by position.
///
/// While it trains, a point depends on the whole batch through batch norm; after `valid()` only on
/// its own image. See [`ResNet`] for the details.
///
/// Source: ProMISe reference code, `utilities/Networks/modeling/`. There a module holds both heads and
/// uses one; here it has the one that it uses.
/// Should be created with [`ApmConfig`] or from [`ApmSpec`] with [`PromptModule::from_spec`].
#[derive(Module, Debug)]
pub struct Apm {
    /// What a residual head looks through.
    fusion: Option<Fusion>,
    head: PointHead,
    #[module(skip)]
    taps: Vec<usize>,
    #[module(skip)]
    points: usize,
    #[module(skip)]
    foreground: usize,
    #[module(skip)]
    input_size: usize,
}

impl Apm {
    /// Predicts the points of each image. [`PromptModule::propose`] adds their labels.
    ///
    /// # Shapes
    ///
    /// - `block_features`: outputs of the tapped blocks, deepest first, each `[B, width, H, W]` with the width of its block
    /// - returns: `[B, P, 2]`, `(x, y)` in pixels of the network input
    ///
    /// # Panics
    ///
    /// Panics if there are more or fewer features than taps: a bug in the caller.
    pub fn forward(&self, block_features: Vec<Tensor<4>>) -> Tensor<3> {
        assert_eq!(block_features.len(), self.taps.len(), "APM needs one feature map per tap");
        let logits = match (&self.head, &self.fusion) {
            (PointHead::ResNet(head), Some(fusion)) => {
                head.forward(fusion.forward(block_features)) // [B, F, H, W] in between
            }
            (PointHead::ResNet(_), None) => unreachable!("a residual head comes with its fusion"),
            (PointHead::CrossAttention(head), _) => head.forward(block_features),
        }; // [B, 2P]
        points_in_input(logits, self.input_size)
    }

    /// Scalars that training changes, counted as PyTorch does: without the running statistics of
    /// batch norm, which [`Module::num_params`] includes.
    pub fn num_trainable_params(&self) -> usize {
        num_trainable_params(self)
    }

    /// The labels of a batch, `[B, P]`: foreground first, then background.
    fn labels(&self, batch: usize, device: &Device) -> Tensor<2, Int> {
        let label = |p| {
            if p < self.foreground { PointLabel::Foreground } else { PointLabel::Background }
        };
        let labels: Vec<i32> = (0..self.points).map(|p| label(p).value()).collect();
        Tensor::<1, Int>::from_data(labels.as_slice(), device)
            .reshape([1, self.points])
            .expand([batch, self.points])
    }
}

impl PromptModule for Apm {
    const NAME: &'static str = "apm";
    const SUMMARY: &'static str = "Auto-Prompting Module: points predicted from encoder blocks";
    type Spec = ApmSpec;

    fn from_spec(
        spec: &Self::Spec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(spec.config(backbone)?.init(device))
    }

    fn taps(&self) -> Vec<usize> {
        self.taps.clone()
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let coords = self.forward(input.block_features);
        let labels = self.labels(coords.dims()[0], &coords.device().without_autodiff());
        Prompts { points: Some((coords, labels)), ..Prompts::default() }.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Distribution, Gradients};
    use prompting::contract::{self, small_backbone};

    use super::*;
    use crate::{Taps, spread_positions};

    fn small(taps: Taps, head: Head) -> ApmSpec {
        ApmSpec { taps, head, fusion_channels: 8, base_width: 4, ..ApmSpec::default() }
    }

    fn random_features(taps: usize, device: &Device) -> Vec<Tensor<4>> {
        let shape = [2, 12, 16, 16];
        (0..taps).map(|_| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)).collect()
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    fn vit_b() -> BackboneInfo {
        BackboneInfo {
            block_widths: vec![768; 12],
            embed_dim: 256,
            grid_size: 64,
            input_size: 1024,
            tap_blocks: vec![2, 5, 8, 11],
        }
    }

    #[test]
    fn the_contract_holds_for_every_tap_set_and_both_kinds_of_blocks() {
        for taps in Taps::ALL {
            for head in [Head::Resnet18, Head::Resnet50] {
                contract::check::<Apm>(&small(taps, head)).unwrap();
            }
        }
        let one_point = ApmSpec { points: 1, ..small(Taps::Last1, Head::Resnet34) };
        contract::check::<Apm>(&one_point).unwrap();
        let spread = ApmSpec { spread_init: true, ..small(Taps::Last3, Head::Resnet18) };
        contract::check::<Apm>(&spread).unwrap();
    }

    #[test]
    fn the_contract_holds_for_cross_attention() {
        for taps in Taps::ALL {
            let plain = ApmSpec { upscale: false, ..small(taps, Head::CrossAttention) };
            contract::check::<Apm>(&plain).unwrap();
        }
        let heads = Some(3);
        let enlarged =
            ApmSpec { attention_heads: heads, ..small(Taps::Last2, Head::CrossAttention) };
        contract::check::<Apm>(&enlarged).unwrap();
        let one_point = ApmSpec { points: 1, ..small(Taps::Last1, Head::CrossAttention) };
        contract::check::<Apm>(&one_point).unwrap();
    }

    /// 28,716,448 in the published code, of which 525,312 belong to a head that nothing uses.
    #[test]
    fn the_papers_variant_on_vit_b_has_the_published_number_of_parameters() {
        let apm = Apm::from_spec(&ApmSpec::default(), &vit_b(), &Device::flex()).unwrap();
        // Three convolutions with bias.
        let fusion = (3 * 768 * 256 * 9 + 256) + 2 * (256 * 256 * 9 + 256);
        // No bias before a batch norm, which has a scale and an offset per channel.
        let conv = |input: usize, output: usize, kernel: usize| {
            input * output * kernel * kernel + 2 * output
        };
        let basic = |input: usize, output: usize| conv(input, output, 3) + conv(output, output, 3);
        let stem = conv(256, 64, 3);
        let stages = 3 * basic(64, 64)
            + (basic(64, 128) + conv(64, 128, 1) + 3 * basic(128, 128))
            + (basic(128, 256) + conv(128, 256, 1) + 5 * basic(256, 256))
            + (basic(256, 512) + conv(256, 512, 1) + 2 * basic(512, 512));
        let last_shortcut = conv(512, 512, 1);
        let fc = 512 * 32 + 32;
        assert_eq!(num_trainable_params(apm.fusion.as_ref().unwrap()), fusion);
        assert_eq!(num_trainable_params(&apm.head), stem + stages + last_shortcut + fc);
        assert_eq!(apm.num_trainable_params(), 28_191_136);
        assert_eq!(apm.num_trainable_params(), 28_716_448 - 525_312);
    }

    #[test]
    fn the_first_points_are_foreground_and_the_rest_background() {
        let device = Device::flex();
        let spec = ApmSpec { points: 5, foreground: Some(2), ..small(Taps::Last2, Head::Resnet18) };
        let apm = Apm::from_spec(&spec, &small_backbone(), &device).unwrap();
        let input = PromptInput {
            image_embedding: Tensor::zeros([2, 8, 16, 16], &device),
            block_features: random_features(2, &device),
            image: None,
            seeds: vec![0, 1],
        };
        let prompts = apm.propose(input).hypotheses.remove(0);
        let (coords, labels) = prompts.points.unwrap();
        assert_eq!(coords.dims(), [2, 5, 2]);
        let labels = labels.into_data().try_into_vec_as::<i64>().unwrap();
        assert_eq!(labels, [1, 1, 0, 0, 0, 1, 1, 0, 0, 0]);
        assert!(prompts.boxes.is_none() && prompts.mask_input.is_none());
    }

    #[test]
    fn taps_are_the_last_global_blocks_of_the_backbone_deepest_first() {
        let vit_l = BackboneInfo {
            block_widths: vec![1024; 24],
            tap_blocks: vec![5, 11, 17, 23],
            ..vit_b()
        };
        let apm = Apm::from_spec(&ApmSpec::default(), &vit_l, &Device::flex()).unwrap();
        assert_eq!(apm.taps(), [23, 17, 11]);
        // Only the first convolution grows with the width.
        let wider = 3 * (1024 - 768) * 256 * 9;
        assert_eq!(apm.num_trainable_params(), 28_191_136 + wider);
    }

    #[test]
    fn points_depend_on_every_tap() {
        let device = Device::flex();
        for head in [Head::Resnet18, Head::CrossAttention] {
            device.seed(3);
            let spec = ApmSpec { upscale: false, ..small(Taps::Last4, head) };
            let apm = Apm::from_spec(&spec, &small_backbone(), &device).unwrap();
            let features = random_features(4, &device);
            let before = floats(apm.forward(features.clone()));
            for tap in 0..4 {
                let mut changed = features.clone();
                changed[tap] = changed[tap].clone().mul_scalar(-3.0);
                assert_ne!(floats(apm.forward(changed)), before, "{head:?}: tap {tap} is not seen");
            }
        }
    }

    #[test]
    fn a_loss_on_the_points_moves_every_layer() {
        let device = Device::flex().autodiff();
        device.seed(4);
        let spec = small(Taps::Last2, Head::Resnet18);
        let apm = Apm::from_spec(&spec, &small_backbone(), &device).unwrap();
        let points = apm.forward(random_features(2, &device.clone().without_autodiff()));
        let gradients = (points - 20.0).powi_scalar(2).mean().backward();
        let mut zeros = ZeroGradients { gradients, params: 0, zeros: 0 };
        apm.visit(&mut zeros);
        // Three convolutions with bias, 1 + 16 + 4 with batch norm, the last layer.
        assert_eq!(zeros.params, 3 * 2 + 21 * 3 + 2);
        assert_eq!(zeros.zeros, 0, "layers whose gradient is zero");
    }

    struct ZeroGradients {
        gradients: Gradients,
        params: usize,
        zeros: usize,
    }

    impl burn::module::ModuleVisitor for ZeroGradients {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if !tensor.is_require_grad() {
                return;
            }
            self.params += 1;
            let gradient = tensor.grad(&self.gradients).map(floats).unwrap_or_default();
            self.zeros += usize::from(gradient.iter().all(|value| *value == 0.0));
        }
    }

    /// Largest distance of a fresh module's points from their spread positions and from the center,
    /// in sides of the image; with running statistics, which at the start are no statistics at all.
    fn start(spread_init: bool) -> (f64, f64) {
        let device = Device::flex();
        device.seed(5);
        let spec = ApmSpec { spread_init, ..small(Taps::Last3, Head::Resnet18) };
        let apm = Apm::from_spec(&spec, &small_backbone(), &device).unwrap();
        let points = floats(apm.forward(random_features(3, &device)));
        let positions = spread_positions(16);
        let mut farthest = (0.0_f64, 0.0_f64);
        for (index, point) in points.chunks(2).enumerate() {
            let [x, y] = [0, 1].map(|axis| f64::from(point[axis]) / 128.0);
            let [to_x, to_y] = positions[index % 16];
            farthest.0 = farthest.0.max((x - to_x).hypot(y - to_y));
            farthest.1 = farthest.1.max((x - 0.5).hypot(y - 0.5));
        }
        farthest
    }

    /// The last layer's random bias is below `1 / sqrt(32)` with its 32 inputs, which a slope of at
    /// most 1/4 makes 0.044 per axis; the rest is for its weights.
    #[test]
    fn points_start_around_the_center_or_on_request_around_their_spread_positions() {
        let (_, from_center) = start(false);
        assert!(from_center < 0.1, "{from_center}");
        let (from_position, from_center) = start(true);
        assert!(from_position < 0.05 && from_center > 0.4, "{from_position} {from_center}");
    }
}
