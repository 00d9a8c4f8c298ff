//! The contract test that every prompt module must pass. A module's crate calls it from a test.

use burn::{
    module::{ModuleVisitor, Param},
    tensor::{Device, Distribution, Int, Tensor},
};

use crate::{BackboneInfo, PromptInput, PromptModule, Prompts};

/// Which clause of the contract was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The module could not be built from the options.
    #[error("cannot be built from the options: {0}")]
    Build(#[from] crate::PromptOptionError),
    /// A tap that the backbone does not have.
    #[error("asks for block {tap} of a backbone with {depth}")]
    Tap {
        /// The block asked for.
        tap: usize,
        /// Blocks there are.
        depth: usize,
    },
    /// Neither points nor boxes nor a mask.
    #[error("proposes nothing")]
    Nothing,
    /// A tensor of the proposal has a wrong shape.
    #[error("{part} have shape {actual:?}, expected {expected}")]
    Shape {
        /// Which part of the prompts.
        part: &'static str,
        /// Its shape.
        actual: Vec<usize>,
        /// What it should be.
        expected: String,
    },
    /// A coordinate outside the input frame, or no number.
    #[error("{part} hold {value}, outside 0..={input_size}")]
    Frame {
        /// Which part of the prompts.
        part: &'static str,
        /// The first wrong coordinate.
        value: String,
        /// Side of the input frame.
        input_size: usize,
    },
    /// A label that is neither -1 nor 0 nor 1.
    #[error("label {0} is none of -1, 0, 1")]
    Label(i64),
    /// An image's proposal depends on the other images of the batch.
    #[error("a batch gives other {part} than its images one by one: difference {difference}")]
    Batch {
        /// Which part of the prompts.
        part: &'static str,
        /// Largest absolute difference, or what differs.
        difference: String,
    },
    /// Parameters that no gradient reaches.
    #[error("{without} of {all} parameters receive no gradient")]
    Gradient {
        /// Parameters without a gradient.
        without: usize,
        /// All parameters.
        all: usize,
    },
}

/// The backbone of the contract test: small, with everything in it of a different size.
pub fn small_backbone() -> BackboneInfo {
    BackboneInfo {
        width: 12,
        embed_dim: 8,
        grid_size: 16,
        input_size: 128,
        depth: 8,
        global_attention_blocks: vec![1, 3, 5, 7],
    }
}

/// Checks the contract of [`PromptModule`] on random features of [`small_backbone`].
///
/// # Errors
///
/// The first clause that does not hold.
pub fn check<M: PromptModule>(spec: &M::Spec) -> Result<(), ContractError> {
    let plain = Device::flex();
    plain.seed(0);
    let backbone = small_backbone();
    let module = M::from_spec(spec, &backbone, &plain.clone().autodiff())?;
    let taps = module.taps();
    if let Some(&tap) = taps.iter().find(|&&tap| tap >= backbone.depth) {
        return Err(ContractError::Tap { tap, depth: backbone.depth });
    }

    let input = random_input(&backbone, taps.len(), 2, &plain);
    let frozen = module.valid();
    let both = frozen.propose(input.clone());
    check_shapes(&both, &backbone, 2)?;
    for index in 0..2 {
        let single = frozen.propose(slice_input(&input, index));
        check_shapes(&single, &backbone, 1)?;
        compare(&both, &single, index)?;
    }
    check_gradients(&module, input)
}

fn random_input(
    backbone: &BackboneInfo,
    taps: usize,
    batch: usize,
    device: &Device,
) -> PromptInput {
    let grid = backbone.grid_size;
    let random = |channels: usize| {
        Tensor::<4>::random([batch, channels, grid, grid], Distribution::Normal(0.0, 1.0), device)
    };
    PromptInput {
        image_embedding: random(backbone.embed_dim),
        block_features: (0..taps).map(|_| random(backbone.width)).collect(),
    }
}

fn slice_input(input: &PromptInput, index: usize) -> PromptInput {
    let pick = |tensor: &Tensor<4>| tensor.clone().slice_dim(0, index..index + 1);
    PromptInput {
        image_embedding: pick(&input.image_embedding),
        block_features: input.block_features.iter().map(pick).collect(),
    }
}

/// The float parts of a proposal, flattened per image: name and `[B, ..]` values.
fn parts(prompts: &Prompts) -> Vec<(&'static str, Tensor<2>)> {
    let mut parts = Vec::new();
    if let Some((coords, _)) = &prompts.points {
        parts.push(("points", coords.clone().flatten(1, 2)));
    }
    if let Some(boxes) = &prompts.boxes {
        parts.push(("boxes", boxes.clone()));
    }
    if let Some(mask) = &prompts.mask_input {
        parts.push(("mask inputs", mask.clone().flatten(1, 3)));
    }
    parts
}

fn check_shapes(
    prompts: &Prompts,
    backbone: &BackboneInfo,
    batch: usize,
) -> Result<(), ContractError> {
    let wrong = |part, actual: &[usize], expected: String| {
        Err(ContractError::Shape { part, actual: actual.to_vec(), expected })
    };
    let mut nothing = true;
    if let Some((coords, labels)) = &prompts.points {
        nothing = false;
        let shape = coords.dims();
        if shape[0] != batch || shape[2] != 2 {
            return wrong("points", &shape, format!("[{batch}, P, 2]"));
        }
        if labels.dims() != [batch, shape[1]] {
            return wrong("labels", &labels.dims(), format!("[{batch}, {}]", shape[1]));
        }
        check_labels(labels)?;
    }
    if let Some(boxes) = &prompts.boxes {
        nothing = false;
        if boxes.dims() != [batch, 4] {
            return wrong("boxes", &boxes.dims(), format!("[{batch}, 4]"));
        }
    }
    if let Some(mask) = &prompts.mask_input {
        nothing = false;
        let side = 4 * backbone.grid_size;
        if mask.dims() != [batch, 1, side, side] {
            return wrong("mask inputs", &mask.dims(), format!("[{batch}, 1, {side}, {side}]"));
        }
    }
    if nothing {
        return Err(ContractError::Nothing);
    }
    let input_size = backbone.input_size;
    for (part, values) in parts(prompts).into_iter().filter(|(part, _)| *part != "mask inputs") {
        let outside =
            floats(values).into_iter().find(|value| !(0.0..=input_size as f32).contains(value));
        if let Some(value) = outside {
            return Err(ContractError::Frame { part, value: value.to_string(), input_size });
        }
    }
    Ok(())
}

fn check_labels(labels: &Tensor<2, Int>) -> Result<(), ContractError> {
    let labels = labels.clone().into_data().try_into_vec_as::<i64>().unwrap_or_default();
    match labels.into_iter().find(|label| !(-1..=1).contains(label)) {
        Some(label) => Err(ContractError::Label(label)),
        None => Ok(()),
    }
}

fn compare(both: &Prompts, single: &Prompts, index: usize) -> Result<(), ContractError> {
    let names = |prompts: &Prompts| -> Vec<&str> {
        parts(prompts).into_iter().map(|(part, _)| part).collect()
    };
    if names(both) != names(single) {
        let difference = format!("{:?} and {:?}", names(both), names(single));
        return Err(ContractError::Batch { part: "kinds of prompts", difference });
    }
    let labels_both = labels_of(both).map(|labels| labels.slice_dim(0, index..index + 1));
    let (labels_both, labels_single) = (labels_both.map(ints), labels_of(single).map(ints));
    if labels_both != labels_single {
        let difference = format!("{labels_both:?} and {labels_single:?}");
        return Err(ContractError::Batch { part: "labels", difference });
    }
    for ((part, both), (_, single)) in parts(both).into_iter().zip(parts(single)) {
        let both = floats(both.slice_dim(0, index..index + 1));
        let single = floats(single);
        let scale = single.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
        let difference =
            both.iter().zip(&single).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        // Matrix products of another batch size may sum in another order.
        if difference > 1e-4 * scale {
            return Err(ContractError::Batch { part, difference: difference.to_string() });
        }
    }
    Ok(())
}

fn check_gradients<M: PromptModule>(module: &M, input: PromptInput) -> Result<(), ContractError> {
    let input = PromptInput {
        image_embedding: input.image_embedding.autodiff(),
        block_features: input.block_features.into_iter().map(Tensor::autodiff).collect(),
    };
    let prompts = module.propose(input);
    let loss = parts(&prompts)
        .into_iter()
        .filter(|(_, values)| values.is_autodiff())
        .map(|(_, values)| values.powi_scalar(2).sum())
        .reduce(|a, b| a + b);
    let mut visitor =
        GradientVisitor { gradients: loss.map(|loss| loss.backward()), all: 0, without: 0 };
    module.visit(&mut visitor);
    if visitor.without > 0 {
        return Err(ContractError::Gradient { without: visitor.without, all: visitor.all });
    }
    Ok(())
}

struct GradientVisitor {
    gradients: Option<burn::tensor::Gradients>,
    all: usize,
    without: usize,
}

impl ModuleVisitor for GradientVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            return;
        }
        self.all += 1;
        let reached = self.gradients.as_ref().is_some_and(|grads| tensor.grad(grads).is_some());
        self.without += usize::from(!reached);
    }
}

fn labels_of(prompts: &Prompts) -> Option<Tensor<2, Int>> {
    prompts.points.as_ref().map(|(_, labels)| labels.clone())
}

fn ints(tensor: Tensor<2, Int>) -> Vec<i64> {
    tensor.into_data().try_into_vec_as::<i64>().unwrap_or_default()
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap_or_default()
}
