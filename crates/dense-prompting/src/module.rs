//! The module itself.

use burn::{
    config::Config,
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig},
    },
    tensor::{Device, Tensor, activation},
};
use prompting::{
    BackboneInfo, CellFusion, CellFusionConfig, OwnLoss, PromptInput, PromptModule,
    PromptOptionError, Prompts, Proposal, TrainingProposal, TrainingTruth, convolve,
    foreground_point,
};

use crate::{DenseSpec, center_of_mass};

/// Bound of the predicted logits: about where the logits of SAM's own masks end.
const MOST: f64 = 20.0;

/// Configuration to create a [`DensePrompter`] using the [init function](DenseConfig::init).
///
/// [`DenseSpec::config`] makes it from options and a backbone and checks them.
#[derive(Config, Debug)]
pub struct DenseConfig {
    /// Channels of the image embedding.
    pub embed_dim: usize,
    /// Channels of the tapped blocks, in the order of `taps`.
    pub tap_widths: Vec<usize>,
    /// Side of the network input in pixels: the frame of the point.
    pub input_size: usize,
    /// Tapped blocks (0-based), deepest first.
    pub taps: Vec<usize>,
    /// Channels of the joined features, `F`, a multiple of 4.
    pub channels: usize,
    /// 3x3 convolutions on them.
    pub depth: usize,
    /// Whether the mask's center of mass is a foreground point too.
    pub point: bool,
    /// Weight of the loss between the predicted and the true mask.
    pub mask_weight: f64,
}

impl DenseConfig {
    /// Creates the module on `device`; weights and biases start as in PyTorch's layers.
    pub fn init(&self, device: &Device) -> DensePrompter {
        let mut in_channels = vec![self.embed_dim];
        in_channels.extend(&self.tap_widths);
        let double = |input: usize| {
            ConvTranspose2dConfig::new([input, input / 2], [2, 2]).with_stride([2, 2]).init(device)
        };
        DensePrompter {
            fusion: CellFusionConfig::new(in_channels, self.channels)
                .with_depth(self.depth)
                .init(device),
            enlarge: vec![double(self.channels), double(self.channels / 2)],
            mask: Conv2dConfig::new([self.channels / 4, 1], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            taps: self.taps.clone(),
            input_size: self.input_size,
            point: self.point,
            mask_weight: self.mask_weight,
        }
    }
}

/// Predicts a mask input per image; see [the crate](crate).
///
/// Should be created with [`DenseConfig`] or from [`DenseSpec`] with [`PromptModule::from_spec`].
#[derive(Module, Debug)]
pub struct DensePrompter {
    fusion: CellFusion,
    enlarge: Vec<ConvTranspose2d>,
    mask: Conv2d,
    #[module(skip)]
    taps: Vec<usize>,
    #[module(skip)]
    input_size: usize,
    #[module(skip)]
    point: bool,
    #[module(skip)]
    mask_weight: f64,
}

impl DensePrompter {
    /// Predicts the mask inputs.
    ///
    /// # Shapes
    ///
    /// - returns: `[B, 1, 4H, 4W]`, logits within -20 to 20
    ///
    /// # Panics
    ///
    /// Panics if there are more or fewer features than taps: a bug in the caller.
    pub fn forward(&self, input: PromptInput) -> Tensor<4> {
        let mut features = self.fusion.forward(input);
        for layer in &self.enlarge {
            features = fused_ops::gelu(layer.forward(features));
        }
        convolve(&self.mask, features).div_scalar(MOST).tanh().mul_scalar(MOST)
    }

    fn prompts(&self, mask: Tensor<4>) -> Proposal {
        let points = self.point.then(|| {
            // A length and no number of a pixel: SAM adds half a pixel of the input, a quarter of one of the mask or less.
            // The mask learns through the decoder, which sees the point where it is.
            foreground_point(center_of_mass(mask.clone()).mul_scalar(self.input_size as f64))
        });
        Prompts { points, boxes: None, mask_input: Some(mask) }.into()
    }
}

impl PromptModule for DensePrompter {
    const NAME: &'static str = "dense_prompting";
    const SUMMARY: &'static str = "A mask input by a small decoder, trained through the frozen one";
    type Spec = DenseSpec;

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
        self.prompts(self.forward(input))
    }

    fn propose_training(&self, input: PromptInput, truth: &TrainingTruth) -> TrainingProposal {
        let mask = self.forward(input);
        let own_loss = (self.mask_weight > 0.0).then(|| {
            let value = mask_loss(mask.clone(), truth.masks.clone());
            OwnLoss { value: value.mul_scalar(self.mask_weight), mask_gradient: 1.0 }
        });
        TrainingProposal { proposal: self.prompts(mask), own_loss }
    }
}

/// Binary cross-entropy on logits plus soft Dice, a mean over the images, `[1]`. As the loss on SAM's own mask.
///
/// `mean(max(x, 0) - x z + log(1 + exp(-|x|))) + 1 - (2 I + 1) / (P + G + 1)`, with sums over the pixels of an image.
fn mask_loss(logits: Tensor<4>, truth: Tensor<4>) -> Tensor<1> {
    let [batch, _, height, width] = logits.dims();
    let logits: Tensor<2> = logits.reshape([batch, height * width]);
    let truth: Tensor<2> = truth.reshape([batch, height * width]);
    let probability = activation::sigmoid(logits.clone());
    let intersection = (probability.clone() * truth.clone()).sum_dim(1);
    let total = probability.sum_dim(1) + truth.clone().sum_dim(1);
    let dice = ((intersection.mul_scalar(2.0) + 1.0) / (total + 1.0)).mean();
    let tail = logits.clone().abs().neg().exp().log1p();
    (activation::relu(logits.clone()) - logits * truth + tail).mean() + (dice.neg() + 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Distribution, TensorData};
    use prompting::{
        contract::{self, small_backbone},
        draw_parameters, num_trainable_params,
    };

    use super::*;

    fn small() -> DenseSpec {
        DenseSpec { channels: 8, ..DenseSpec::default() }
    }

    #[test]
    fn the_contract_holds_for_every_option_that_changes_the_graph() {
        for spec in [
            small(),
            DenseSpec { taps: 0, depth: 0, ..small() },
            DenseSpec { taps: 3, point: true, ..small() },
            DenseSpec { mask_weight: 0.0, ..small() },
        ] {
            contract::check::<DensePrompter>(&spec).unwrap();
        }
    }

    #[test]
    fn parameters_are_those_of_its_layers() {
        let module =
            DensePrompter::from_spec(&small(), &small_backbone(), &Device::flex()).unwrap();
        let fusion = (8 * 8 + 8) + (12 * 8 + 8) + 2 * (8 * 8 * 9 + 8);
        let enlarge = (8 * 4 * 4 + 4) + (4 * 2 * 4 + 2);
        assert_eq!(num_trainable_params(&module), fusion + enlarge + (2 * 9 + 1));
    }

    #[test]
    fn logits_stay_within_their_bound_whatever_the_weights() {
        let device = Device::flex();
        device.seed(3);
        let backbone = small_backbone();
        let mut module = DensePrompter::from_spec(&small(), &backbone, &device).unwrap();
        draw_parameters(&module);
        module.mask.weight = module.mask.weight.map(|weight| weight.mul_scalar(1e6));
        let random = |channels: usize| {
            Tensor::random([1, channels, 16, 16], Distribution::Normal(0.0, 1.0), &device)
        };
        let input = PromptInput {
            image_embedding: random(backbone.embed_dim),
            block_features: vec![random(backbone.block_widths[7])],
            image: None,
            seeds: vec![0],
        };
        let mask = module.forward(input).into_data().try_into_vec::<f32>().unwrap();
        let most = mask.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
        assert!(most <= 20.0 && most > 19.0, "{most}");
    }

    /// Cross-entropy: logits of 0 cost ln 2 each; of 20 nothing where right, 20 where wrong. Dice: undecided,
    /// I = 1, P = 2, G = 2, so 3/5; half wrong, I = 1, P = 2, G = 2, 3/5 again; all right, 1.
    #[test]
    fn the_loss_of_its_own_is_what_it_is_by_hand() {
        let map = |values: [f32; 4]| {
            Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 2, 2]), &Device::flex())
        };
        let value = |logits, truth| {
            let value = mask_loss(map(logits), map(truth));
            value.into_data().try_into_vec::<f32>().unwrap()[0]
        };
        let undecided = value([0.0; 4], [1.0, 0.0, 1.0, 0.0]);
        assert!((undecided - std::f32::consts::LN_2 - 0.4).abs() < 1e-6);
        let half_wrong = value([20.0, -20.0, 20.0, -20.0], [1.0, 0.0, 0.0, 1.0]);
        assert!((half_wrong - 10.4).abs() < 1e-5);
        assert!(value([20.0, -20.0, 20.0, -20.0], [1.0, 0.0, 1.0, 0.0]).abs() < 1e-6);
    }
}
