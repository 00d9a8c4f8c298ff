//! The contract test finds modules that break the contract, clause by clause.

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    tensor::{Device, Int, Tensor, activation::sigmoid},
};
use prompting::{
    BackboneInfo, Example, FitError, FitReport, Learning, OwnLoss, PromptInput, PromptModule,
    PromptOptionError, Prompts, Proposal, TrainingExamples, TrainingProposal, TrainingTruth,
    contract::{ContractError, check},
    foreground_point,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the module below misbehaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Fault {
    #[default]
    None,
    Nothing,
    OutsideTheFrame,
    WrongLabel,
    CornersReversed,
    InfiniteMask,
    LooksAtOtherImages,
    DeafParameter,
    /// What is proposed depends on no parameter, though the graph leads there.
    DeafModule,
    /// The derivative of a root at zero.
    InfiniteGradient,
    WrongTap,
    WrongShape,
    Refuses,
    OtherPromptsWithTheTruth,
    LossOfNothing,
    /// The own loss is the only teacher and does not reach the corners.
    HalfALoss,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ProbeSpec {
    /// What is wrong with it.
    fault: Fault,
    /// Whether it has a loss of its own and proposes twice.
    own_loss: bool,
}

/// A linear layer from the mean of a tapped block to one point and one box, and the image as mask input.
#[derive(Module, Debug)]
struct Probe {
    point: Linear,
    corners: Linear,
    unused: Param<Tensor<1>>,
    #[module(skip)]
    fault: Fault,
    #[module(skip)]
    own_loss: bool,
    #[module(skip)]
    input_size: usize,
}

impl PromptModule for Probe {
    const NAME: &'static str = "probe";
    const SUMMARY: &'static str = "for tests";
    type Spec = ProbeSpec;

    fn from_spec(
        spec: &ProbeSpec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        if spec.fault == Fault::Refuses {
            return Err(PromptOptionError { option: "fault", reason: "as asked".into() });
        }
        let unused = Tensor::ones([1], device);
        let unused =
            Param::from_tensor(unused).set_require_grad(spec.fault == Fault::DeafParameter);
        Ok(Self {
            point: LinearConfig::new(backbone.block_widths[3], 2).init(device),
            corners: LinearConfig::new(backbone.block_widths[3], 4).init(device),
            unused,
            fault: spec.fault,
            own_loss: spec.own_loss,
            input_size: backbone.input_size,
        })
    }

    fn taps(&self) -> Vec<usize> {
        vec![if self.fault == Fault::WrongTap { 99 } else { 3 }]
    }

    fn needs_image(&self) -> bool {
        true
    }

    fn propose_training(&self, input: PromptInput, truth: &TrainingTruth) -> TrainingProposal {
        let mut proposal = self.propose(input);
        if self.fault == Fault::OtherPromptsWithTheTruth {
            proposal.hypotheses.truncate(1);
        }
        let own_loss = self.own_loss.then(|| {
            let (boxes, present) = truth.boxes();
            let boxes = boxes.mul_scalar(self.input_size as f64);
            let proposed = proposal.hypotheses[0].clone();
            let (points, _) = proposed.points.expect("points");
            let error = (proposed.boxes.expect("boxes") - boxes) * present.clone();
            let mut value = points.powi_scalar(2).sum();
            if self.fault != Fault::HalfALoss {
                value = value + error.powi_scalar(2).sum();
            }
            if self.fault == Fault::LossOfNothing {
                value = value / present.sum();
            }
            OwnLoss { value, mask_gradient: 0.0 }
        });
        TrainingProposal { proposal, own_loss }
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let [batch, channels, height, width] = input.block_features[0].dims();
        let tokens = input.block_features[0].clone().reshape([batch, channels, height * width]);
        let mut features = tokens.mean_dim(2).reshape([batch, channels]);
        if self.fault == Fault::LooksAtOtherImages {
            features = features.clone() - features.mean_dim(0);
        }
        let size = self.input_size as f64;
        let place = |values: Tensor<2>| {
            let values = match self.fault {
                Fault::DeafModule => values.mul_scalar(0.0),
                Fault::InfiniteGradient => values.clone() + values.mul_scalar(0.0).sqrt(),
                _ => values,
            };
            sigmoid(values).mul_scalar(size)
        };
        let mut point = place(self.point.forward(features.clone())).reshape([batch, 1, 2]);
        if self.fault == Fault::OutsideTheFrame {
            point = point + size;
        }
        let label = if self.fault == Fault::WrongLabel { 2 } else { 1 };
        let n_labels = if self.fault == Fault::WrongShape { 3 } else { 1 };
        let labels =
            Tensor::<2, Int>::full([batch, n_labels], label, &features.device().without_autodiff());
        if self.fault == Fault::Nothing {
            return Prompts::default().into();
        }
        let sides = place(self.corners.forward(features));
        let first = sides.clone().slice_dim(1, 0..2);
        let beyond = sides.slice_dim(1, 2..4).mul_scalar(1.0 / size);
        let second = first.clone() + (first.clone().neg() + size) * beyond;
        let corners = match self.fault {
            Fault::CornersReversed => vec![second, first],
            _ => vec![first, second],
        };
        let side = 4 * width;
        let image = input.image.expect("it was asked for");
        let mut mask = image.slice_dim(1, 0..1).slice_dim(2, 0..side).slice_dim(3, 0..side);
        if self.fault == Fault::InfiniteMask {
            mask = mask / 0.0;
        }
        let prompts = Prompts {
            points: Some((point, labels)),
            boxes: Some(Tensor::cat(corners, 1)),
            mask_input: Some(mask),
        };
        let mut hypotheses = vec![prompts.clone()];
        if self.own_loss {
            hypotheses.push(Prompts { points: None, ..prompts });
        }
        Proposal { hypotheses }
    }
}

fn broken(fault: Fault) -> ContractError {
    check::<Probe>(&ProbeSpec { fault, own_loss: false }).expect_err("a clause does not hold")
}

fn badly_taught(fault: Fault) -> ContractError {
    check::<Probe>(&ProbeSpec { fault, own_loss: true }).expect_err("a clause does not hold")
}

#[test]
fn a_module_that_keeps_the_contract_passes() {
    check::<Probe>(&ProbeSpec::default()).expect("a mixture of everything is legal");
    let taught = ProbeSpec { own_loss: true, ..ProbeSpec::default() };
    check::<Probe>(&taught).expect("two hypotheses and a loss of one's own are legal");
}

#[test]
fn every_broken_clause_is_found() {
    assert!(matches!(broken(Fault::Refuses), ContractError::Build(_)));
    assert!(matches!(broken(Fault::WrongTap), ContractError::Tap { tap: 99, depth: 8 }));
    assert!(matches!(broken(Fault::Nothing), ContractError::Nothing("nothing")));
    let error = broken(Fault::WrongShape);
    assert!(matches!(error, ContractError::Shape { part: "labels", .. }), "{error}");
    let error = broken(Fault::OutsideTheFrame);
    assert!(matches!(error, ContractError::Frame { part: "points", .. }), "{error}");
    assert!(matches!(broken(Fault::WrongLabel), ContractError::Label(2)));
    assert!(matches!(broken(Fault::LooksAtOtherImages), ContractError::Batch { .. }));
    let error = broken(Fault::DeafParameter);
    assert!(matches!(error, ContractError::Gradient { without: 1, .. }), "{error}");
    let error = broken(Fault::DeafModule);
    assert!(matches!(error, ContractError::BadGradient { count: 4, all: 4, .. }), "{error}");
    assert!(error.to_string().contains("of zeros"), "{error}");
    let error = broken(Fault::InfiniteGradient);
    assert!(matches!(error, ContractError::BadGradient { all: 4, .. }), "{error}");
    assert!(error.to_string().contains("infinite or no number"), "{error}");
    let error = broken(Fault::CornersReversed);
    assert!(matches!(error, ContractError::Corners(_)), "{error}");
    let error = broken(Fault::InfiniteMask);
    assert!(matches!(error, ContractError::Logit(_)), "{error}");
}

#[test]
fn a_loss_of_ones_own_is_looked_at() {
    let error = badly_taught(Fault::OtherPromptsWithTheTruth);
    assert!(matches!(error, ContractError::Unsteady("kinds of prompts", _)), "{error}");
    let error = badly_taught(Fault::LossOfNothing);
    assert!(matches!(error, ContractError::OwnLoss { masks: "empty masks", .. }), "{error}");
    // The weights and the bias of the corners: the mask's gradient would reach them, but it is kept away.
    let error = badly_taught(Fault::HalfALoss);
    assert!(matches!(error, ContractError::Gradient { without: 2, .. }), "{error}");
}

/// How the module below misbehaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum FitFault {
    #[default]
    None,
    /// What was found does not lie in the parameters.
    Forgets,
    /// Every fit goes on from the one before, of whatever module.
    Remembers,
    AsksForGradients,
    FailsWithoutReason,
    SaysNoNumber,
    IsFixed,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MeanSpec {
    /// What is wrong with it.
    fault: FitFault,
}

static FITS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Proposes one point, always the same: the mean place of the true masks' pixels along both axes.
#[derive(Module, Debug)]
struct MeanPlace {
    place: Param<Tensor<1>>,
    #[module(skip)]
    forgotten: Option<f32>,
    #[module(skip)]
    fault: FitFault,
    #[module(skip)]
    input_size: usize,
}

impl PromptModule for MeanPlace {
    const NAME: &'static str = "mean_place";
    const SUMMARY: &'static str = "for tests";
    type Spec = MeanSpec;

    fn from_spec(
        spec: &MeanSpec,
        backbone: &BackboneInfo,
        device: &Device,
    ) -> Result<Self, PromptOptionError> {
        let place = Param::from_tensor(Tensor::from_floats([0.5], device));
        let asks = spec.fault == FitFault::AsksForGradients;
        let place = place.set_require_grad(asks);
        let input_size = backbone.input_size;
        Ok(Self { place, forgotten: None, fault: spec.fault, input_size })
    }

    fn learning(spec: &MeanSpec) -> Learning {
        match spec.fault {
            FitFault::IsFixed => Learning::Fixed,
            _ => Learning::Fitted { images: 3 },
        }
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let batch = input.batch_size();
        let device = input.image_embedding.device().without_autodiff();
        let place = self.place.val() + self.forgotten.unwrap_or(0.0);
        let coords = place.mul_scalar(self.input_size as f64).reshape([1, 1, 1]);
        let labels = Tensor::<2, Int>::ones([batch, 1], &device);
        Prompts { points: Some((coords.expand([batch, 1, 2]), labels)), ..Prompts::default() }
            .into()
    }

    fn fit(&mut self, examples: &dyn TrainingExamples, seed: u64) -> Result<FitReport, FitError> {
        assert_eq!(seed, 3);
        if self.fault == FitFault::FailsWithoutReason {
            let reason = "as asked".into();
            return Err(FitError::Examples { examples: examples.count(), reason });
        }
        let mut sum = 0.0;
        for place in 0..examples.count() {
            let Example { truth, input } = examples.example(place).map_err(FitError::Example)?;
            assert_eq!((input.batch_size(), input.image.is_none()), (1, true));
            let side = truth.masks.dims()[3];
            let columns: Tensor<1> = truth.masks.clone().sum_dim(2).reshape([side]);
            let at = Tensor::<1, Int>::arange(0..side as i64, &columns.device()).float();
            let mean = (columns.clone() * at).sum() / columns.sum();
            sum += mean.into_scalar::<f32>() / side as f32;
        }
        let mut mean = sum / examples.count() as f32;
        if self.fault == FitFault::Remembers {
            let before = FITS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            mean /= 1.0 + before as f32;
        }
        let device = self.place.val().device();
        match self.fault {
            FitFault::Forgets => self.forgotten = Some(mean - 0.5),
            _ => {
                let place = Param::from_tensor(Tensor::from_floats([mean], &device));
                self.place = place.set_require_grad(self.fault == FitFault::AsksForGradients);
            }
        }
        let said = if self.fault == FitFault::SaysNoNumber { f64::NAN } else { mean.into() };
        Ok(FitReport { numbers: [("mean".to_owned(), said)].into() })
    }
}

#[test]
fn a_fitted_module_is_fitted_saved_and_loaded() {
    let fit = |fault| check::<MeanPlace>(&MeanSpec { fault });
    let broken = |fault| fit(fault).expect_err("a clause does not hold");
    fit(FitFault::None).expect("the contract holds");
    let error = broken(FitFault::Forgets);
    assert!(matches!(error, ContractError::Unsteady("points", "saved and loaded")), "{error}");
    let error = broken(FitFault::Remembers);
    assert!(matches!(error, ContractError::Unsteady("points", "fitted again")), "{error}");
    let error = broken(FitFault::AsksForGradients);
    assert!(matches!(error, ContractError::Parameters { count: 1, .. }), "{error}");
    let error = broken(FitFault::FailsWithoutReason);
    assert!(matches!(error, ContractError::Fit(_)), "{error}");
    let error = broken(FitFault::SaysNoNumber);
    assert!(matches!(error, ContractError::Report { .. }), "{error}");
    let error = broken(FitFault::IsFixed);
    assert!(matches!(error, ContractError::Parameters { count: 1, .. }), "{error}");
}

/// Takes any key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct TolerantSpec {
    /// Said.
    said: usize,
}

/// Does not say what its option means.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct WordlessSpec {
    wordless: usize,
}

macro_rules! with_spec {
    ($name:ident, $spec:ty) => {
        #[derive(Module, Debug)]
        struct $name {}

        impl PromptModule for $name {
            const NAME: &'static str = "silent";
            const SUMMARY: &'static str = "for tests";
            const PROPOSES: bool = false;
            type Spec = $spec;

            fn from_spec(
                _: &Self::Spec,
                _: &BackboneInfo,
                _: &Device,
            ) -> Result<Self, PromptOptionError> {
                Ok(Self {})
            }

            fn learning(_: &Self::Spec) -> Learning {
                Learning::Fixed
            }

            fn taps(&self) -> Vec<usize> {
                Vec::new()
            }

            fn propose(&self, _: PromptInput) -> Proposal {
                Proposal::default()
            }
        }
    };
}

/// Proposes the middle of the image, and does not say that it learns nothing.
#[derive(Module, Debug)]
struct Forgetful {
    #[module(skip)]
    input_size: usize,
}

impl PromptModule for Forgetful {
    const NAME: &'static str = "forgetful";
    const SUMMARY: &'static str = "for tests";
    type Spec = NoOptions;

    fn from_spec(
        _: &NoOptions,
        backbone: &BackboneInfo,
        _: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(Self { input_size: backbone.input_size })
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn propose(&self, input: PromptInput) -> Proposal {
        let device = input.image_embedding.device().without_autodiff();
        let middle = self.input_size as f32 / 2.0;
        let at = Tensor::<2>::full([input.batch_size(), 2], middle, &device);
        Prompts { points: Some(foreground_point(at)), ..Prompts::default() }.into()
    }
}

/// There are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct NoOptions {}

#[test]
fn a_module_without_parameters_says_that_it_learns_nothing() {
    let error = check::<Forgetful>(&NoOptions {}).expect_err("it learns by gradient");
    assert!(matches!(error, ContractError::NothingToLearn), "{error}");
    assert!(error.to_string().contains("`Learning::Fixed`"), "{error}");
}

with_spec!(Tolerant, TolerantSpec);
with_spec!(Wordless, WordlessSpec);

#[test]
fn options_are_described_and_unknown_ones_refused() {
    let error = check::<Tolerant>(&TolerantSpec::default()).expect_err("unknown keys are taken");
    assert!(error.to_string().contains("`no_such_option` is unknown and not refused"), "{error}");
    let error = check::<Wordless>(&WordlessSpec::default()).expect_err("no documentation");
    assert!(error.to_string().contains("`wordless` has no documentation"), "{error}");
}
