//! The contract test finds modules that break the contract, clause by clause.

use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig},
    tensor::{Device, Int, Tensor, activation::sigmoid},
};
use prompting::{
    BackboneInfo, PromptInput, PromptModule, PromptOptionError, Prompts,
    contract::{ContractError, check},
};
use serde::{Deserialize, Serialize};

/// How the module below misbehaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    #[default]
    None,
    Nothing,
    OutsideTheFrame,
    WrongLabel,
    LooksAtOtherImages,
    DeafParameter,
    WrongTap,
    WrongShape,
    Refuses,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ProbeSpec {
    fault: Fault,
}

/// A linear layer from the mean of a tapped block to one point and one box.
#[derive(Module, Debug)]
struct Probe {
    point: Linear,
    corners: Linear,
    unused: Param<Tensor<1>>,
    #[module(skip)]
    fault: Fault,
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
            point: LinearConfig::new(backbone.width, 2).init(device),
            corners: LinearConfig::new(backbone.width, 4).init(device),
            unused,
            fault: spec.fault,
            input_size: backbone.input_size,
        })
    }

    fn taps(&self) -> Vec<usize> {
        vec![if self.fault == Fault::WrongTap { 99 } else { 3 }]
    }

    fn propose(&self, input: PromptInput) -> Prompts {
        let [batch, channels, height, width] = input.block_features[0].dims();
        let tokens = input.block_features[0].clone().reshape([batch, channels, height * width]);
        let mut features = tokens.mean_dim(2).reshape([batch, channels]);
        if self.fault == Fault::LooksAtOtherImages {
            features = features.clone() - features.mean_dim(0);
        }
        let size = self.input_size as f64;
        let place = |values: Tensor<2>| sigmoid(values).mul_scalar(size);
        let mut point = place(self.point.forward(features.clone())).reshape([batch, 1, 2]);
        if self.fault == Fault::OutsideTheFrame {
            point = point + size;
        }
        let label = if self.fault == Fault::WrongLabel { 2 } else { 1 };
        let n_labels = if self.fault == Fault::WrongShape { 3 } else { 1 };
        let labels =
            Tensor::<2, Int>::full([batch, n_labels], label, &features.device().without_autodiff());
        if self.fault == Fault::Nothing {
            return Prompts::default();
        }
        Prompts {
            points: Some((point, labels)),
            boxes: Some(place(self.corners.forward(features))),
            mask_input: None,
        }
    }
}

fn broken(fault: Fault) -> ContractError {
    check::<Probe>(&ProbeSpec { fault }).expect_err("a clause does not hold")
}

#[test]
fn a_module_that_keeps_the_contract_passes() {
    check::<Probe>(&ProbeSpec::default()).expect("points and boxes are a legal mixture");
}

#[test]
fn every_broken_clause_is_found() {
    assert!(matches!(broken(Fault::Refuses), ContractError::Build(_)));
    assert!(matches!(broken(Fault::WrongTap), ContractError::Tap { tap: 99, depth: 8 }));
    assert!(matches!(broken(Fault::Nothing), ContractError::Nothing));
    let error = broken(Fault::WrongShape);
    assert!(matches!(error, ContractError::Shape { part: "labels", .. }), "{error}");
    let error = broken(Fault::OutsideTheFrame);
    assert!(matches!(error, ContractError::Frame { part: "points", .. }), "{error}");
    assert!(matches!(broken(Fault::WrongLabel), ContractError::Label(2)));
    assert!(matches!(broken(Fault::LooksAtOtherImages), ContractError::Batch { .. }));
    let error = broken(Fault::DeafParameter);
    assert!(matches!(error, ContractError::Gradient { without: 1, .. }), "{error}");
}
