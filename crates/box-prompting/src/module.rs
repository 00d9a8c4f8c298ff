//! The module itself.

use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor},
};
use prompting::{
    BackboneInfo, CellFusion, CellFusionConfig, OwnLoss, PromptInput, PromptModule,
    PromptOptionError, Prompts, Proposal, TrainingProposal, TrainingTruth, foreground_point,
};

use crate::{BoxHead, BoxLoss, BoxSpec, box_loss};

/// Configuration to create a [`BoxPrompter`] using the [init function](BoxConfig::init).
///
/// [`BoxSpec::config`] makes it from options and a backbone and checks them.
#[derive(Config, Debug)]
pub struct BoxConfig {
    /// Channels of the image embedding.
    pub embed_dim: usize,
    /// Channels of the tapped blocks, in the order of `taps`.
    pub tap_widths: Vec<usize>,
    /// Side of the network input in pixels: the frame of the box.
    pub input_size: usize,
    /// Tapped blocks (0-based), deepest first.
    pub taps: Vec<usize>,
    /// Channels of the joined features, `F`.
    pub channels: usize,
    /// 3x3 convolutions on them.
    pub depth: usize,
    /// Whether the center of the box is a foreground point too.
    pub center_point: bool,
    /// See [`BoxLoss::l1`].
    pub l1_weight: f64,
    /// See [`BoxLoss::giou`].
    pub giou_weight: f64,
    /// See [`OwnLoss::mask_gradient`].
    pub mask_gradient: f64,
}

impl BoxConfig {
    /// Creates the module on `device`; weights and biases start as in `torch.nn.Conv2d`.
    pub fn init(&self, device: &Device) -> BoxPrompter {
        let mut in_channels = vec![self.embed_dim];
        in_channels.extend(&self.tap_widths);
        BoxPrompter {
            fusion: CellFusionConfig::new(in_channels, self.channels)
                .with_depth(self.depth)
                .init(device),
            head: BoxHead::new(self.channels, device),
            taps: self.taps.clone(),
            input_size: self.input_size,
            center_point: self.center_point,
            loss: BoxLoss { l1: self.l1_weight, giou: self.giou_weight },
            mask_gradient: self.mask_gradient,
        }
    }
}

/// Predicts one box per image; see [the crate](crate).
///
/// Should be created with [`BoxConfig`] or from [`BoxSpec`] with [`PromptModule::from_spec`].
#[derive(Module, Debug)]
pub struct BoxPrompter {
    fusion: CellFusion,
    head: BoxHead,
    #[module(skip)]
    taps: Vec<usize>,
    #[module(skip)]
    input_size: usize,
    #[module(skip)]
    center_point: bool,
    #[module(skip)]
    loss: BoxLoss,
    #[module(skip)]
    mask_gradient: f64,
}

impl BoxPrompter {
    /// Predicts the boxes.
    ///
    /// # Shapes
    ///
    /// - returns: `[B, 4]` as `(x0, y0, x1, y1)` from 0 to 1
    ///
    /// # Panics
    ///
    /// Panics if there are more or fewer features than taps: a bug in the caller.
    pub fn forward(&self, input: PromptInput) -> Tensor<2> {
        self.head.forward(self.fusion.forward(input))
    }

    /// What boxes from 0 to 1 mean as prompts.
    fn prompts(&self, boxes: Tensor<2>) -> Proposal {
        let boxes = boxes.mul_scalar(self.input_size as f64);
        let points = self.center_point.then(|| {
            let (first, second) =
                (boxes.clone().slice_dim(1, 0..2), boxes.clone().slice_dim(1, 2..4));
            // A length and no number of a pixel: SAM adds half a pixel, here as to the corners, so that the point stays in
            // the middle of the box that SAM sees. Against the error of a predicted box it is nothing.
            foreground_point((first + second).mul_scalar(0.5))
        });
        Prompts { points, boxes: Some(boxes), mask_input: None }.into()
    }
}

impl PromptModule for BoxPrompter {
    const NAME: &'static str = "box_prompting";
    const SUMMARY: &'static str = "A box by votes of the cells, trained on true boxes (L1 + GIoU)";
    type Spec = BoxSpec;

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
        let boxes = self.forward(input);
        let (true_boxes, present) = truth.boxes();
        let value = box_loss(self.loss, boxes.clone(), true_boxes, present);
        let own_loss = Some(OwnLoss { value, mask_gradient: self.mask_gradient });
        TrainingProposal { proposal: self.prompts(boxes), own_loss }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::TensorData;
    use prompting::{
        contract::{self, small_backbone},
        num_trainable_params,
    };

    use super::*;

    fn small() -> BoxSpec {
        BoxSpec { channels: 8, ..BoxSpec::default() }
    }

    #[test]
    fn the_contract_holds_for_every_option_that_changes_the_graph() {
        for spec in [
            small(),
            BoxSpec { taps: 0, ..small() },
            BoxSpec { taps: 3, depth: 0, center_point: true, ..small() },
            BoxSpec { l1_weight: 0.0, mask_gradient: 1.0, ..small() },
        ] {
            contract::check::<BoxPrompter>(&spec).unwrap();
        }
    }

    #[test]
    fn parameters_are_those_of_its_convolutions() {
        let spec = BoxSpec { taps: 2, ..small() };
        let module = BoxPrompter::from_spec(&spec, &small_backbone(), &Device::flex()).unwrap();
        let expected = (8 * 8 + 8) + 2 * (12 * 8 + 8) + 2 * (8 * 8 * 9 + 8) + (8 * 5 + 5);
        assert_eq!(num_trainable_params(&module), expected);
    }

    #[test]
    fn the_center_point_is_the_center_of_the_box_in_input_pixels() {
        let spec = BoxSpec { center_point: true, ..small() };
        let module = BoxPrompter::from_spec(&spec, &small_backbone(), &Device::flex()).unwrap();
        let boxes = TensorData::new(vec![0.25_f32, 0.5, 0.75, 0.625], [1, 4]);
        let prompts = module.prompts(Tensor::from_data(boxes, &Device::flex()));
        let Prompts { points, boxes, mask_input } = prompts.hypotheses[0].clone();
        let (coords, labels) = points.unwrap();
        assert_eq!(
            boxes.unwrap().into_data().try_into_vec::<f32>().unwrap(),
            [32.0, 64.0, 96.0, 80.0]
        );
        assert_eq!(coords.into_data().try_into_vec::<f32>().unwrap(), [64.0, 72.0]);
        assert_eq!(labels.into_data().try_into_vec_as::<i64>().unwrap(), [1]);
        assert!(mask_input.is_none());
    }
}
