//! The contract test that every prompt module must pass. A module's crate calls it from a test.

use burn::{
    module::{ModuleVisitor, Param},
    tensor::{Device, Distribution, Int, Tensor, TensorData},
};

use crate::{
    BackboneInfo, Example, ExampleError, FitError, Learning, PromptInput, PromptModule, PromptPart,
    Prompts, Proposal, TrainingExamples, TrainingTruth, num_trainable_params, option_docs,
};

/// Which clause of the contract was broken, and how.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The module could not be built from the options.
    #[error("cannot be built from the options: {0}")]
    Build(#[from] crate::PromptOptionError),
    /// An option that its users are not told about, or whose default is not what is written.
    #[error("option `{option}` {reason}")]
    Option {
        /// The key.
        option: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tap that the backbone does not have.
    #[error("asks for block {tap} of a backbone with {depth}")]
    Tap {
        /// The block asked for.
        tap: usize,
        /// Blocks there are.
        depth: usize,
    },
    /// Neither points nor boxes nor a mask, or something from a module that says that it proposes nothing.
    #[error("proposes {0}")]
    Nothing(&'static str),
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
    /// A box whose first corner is not its upper left one.
    #[error("a box is {0:?}: its corners are the wrong way round")]
    Corners([f32; 4]),
    /// A mask input that is infinite or no number.
    #[error("mask inputs hold {0}")]
    Logit(f32),
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
    /// The same input gives other prompts the second time.
    #[error("the same input gives other {0} {1}")]
    Unsteady(&'static str, &'static str),
    /// A module that learns by gradient, and has nothing for gradients to change.
    #[error(
        "learns by gradient, and has no parameter that asks for one; `learning` of a module without parameters says \
         `Learning::Fixed`, of one that is fitted at once `Learning::Fitted`"
    )]
    NothingToLearn,
    /// Gradients that an optimizer can do nothing with.
    #[error("of {all} parameters {count} receive a gradient {what}")]
    BadGradient {
        /// Parameters whose gradient is bad.
        count: usize,
        /// All parameters.
        all: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Parameters that no gradient reaches.
    #[error("{without} of {all} parameters receive no gradient")]
    Gradient {
        /// Parameters without a gradient.
        without: usize,
        /// All parameters.
        all: usize,
    },
    /// An own loss that cannot be minimized, or that is the only teacher and teaches nothing.
    #[error("the own loss {reason} ({masks})")]
    OwnLoss {
        /// What is wrong with it.
        reason: String,
        /// For which true masks.
        masks: &'static str,
    },
    /// Parameters where the way of learning has none, or that ask for gradients although nothing is trained.
    #[error("{count} parameters {reason}")]
    Parameters {
        /// How many tensors or numbers.
        count: usize,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The module could not be fitted.
    #[error("cannot be fitted: {0}")]
    Fit(#[from] FitError),
    /// The fit says what no record can hold.
    #[error("the fit reports {name} = {value}")]
    Report {
        /// Name of the number.
        name: String,
        /// The number.
        value: f64,
    },
}

/// The backbone of the contract test: small, with everything in it of a different size.
pub fn small_backbone() -> BackboneInfo {
    BackboneInfo {
        block_widths: vec![12; 8],
        embed_dim: 8,
        grid_size: 16,
        input_size: 128,
        tap_blocks: vec![1, 3, 5, 7],
    }
}

/// The same with blocks of several widths, as those of MobileSAM's encoder.
pub fn uneven_backbone() -> BackboneInfo {
    BackboneInfo { block_widths: vec![4, 4, 4, 12, 8, 8, 12, 20], ..small_backbone() }
}

/// Checks the contract of [`PromptModule`] on random features of [`small_backbone`].
///
/// # Errors
///
/// The first clause that does not hold.
///
/// A module may refuse a backbone whose blocks have [several widths](uneven_backbone), by an option that it names; if it
/// takes one, it must propose on it.
pub fn check<M: PromptModule>(spec: &M::Spec) -> Result<(), ContractError> {
    check_options::<M>()?;
    let plain = Device::flex();
    let backbone = small_backbone();
    let learning = M::learning(spec);
    // As in a run, whichever way it learns.
    let device = plain.clone().autodiff();
    let build = || {
        plain.seed(0);
        let module = M::from_spec(spec, &backbone, &device);
        module.inspect(crate::draw_parameters)
    };
    let mut module = build()?;
    let taps = module.taps();
    if let Some(&tap) = taps.iter().find(|&&tap| tap >= backbone.depth()) {
        return Err(ContractError::Tap { tap, depth: backbone.depth() });
    }
    let input = random_input(&backbone, &taps, module.needs_image(), 2, &plain);
    check_proposals(&module.valid(), &input, &backbone)?;
    match learning {
        Learning::Gradient => {
            check_own_loss(&module, &input, &backbone)?;
            check_gradients(&module, input.clone(), &backbone)?;
        }
        Learning::Fitted { images } => {
            check_ungraded(&module)?;
            let examples = RandomExamples::new(&module, &backbone, images, &plain);
            fit(&mut module, &examples)?;
            let mut again = build()?;
            fit(&mut again, &examples)?;
            same(&module.propose(input.clone()), &again.propose(input.clone()), "fitted again")?;
            check_ungraded(&module)?;
            check_proposals(&module.valid(), &input, &backbone)?;
        }
        Learning::Fixed => {
            let count = num_trainable_params(&module);
            if count > 0 {
                let reason = "of a module that does not learn";
                return Err(ContractError::Parameters { count, reason });
            }
        }
    }
    check_uneven::<M>(spec, &plain)?;
    // As a checkpoint does it, into a module that had other weights.
    let frozen = module.valid();
    plain.seed(1);
    let loaded = M::from_spec(spec, &backbone, &plain)?;
    let loaded = loaded.load_record(frozen.clone().into_record()).valid();
    same(&frozen.propose(input.clone()), &loaded.propose(input), "saved and loaded")
}

/// A module that reads what its taps have, however many channels that is.
fn check_uneven<M: PromptModule>(spec: &M::Spec, device: &Device) -> Result<(), ContractError> {
    let backbone = uneven_backbone();
    let Ok(module) = M::from_spec(spec, &backbone, device) else { return Ok(()) };
    if !M::PROPOSES {
        return Ok(());
    }
    let input = random_input(&backbone, &module.taps(), module.needs_image(), 2, device);
    check_shapes(&module.propose(input), &backbone, 2)
}

/// Options that are described, and whose defaults can be written and read.
fn check_options<M: PromptModule>() -> Result<(), ContractError> {
    let wrong = |option: String, reason| Err(ContractError::Option { option, reason });
    for option in option_docs::<M::Spec>() {
        if option.doc.is_empty() {
            return wrong(option.name, "has no documentation");
        }
        if option.kind == "value" {
            return wrong(option.name, "has a type that cannot be named");
        }
    }
    let written = serde_json::to_value(M::Spec::default()).unwrap_or_default();
    let read = serde_json::from_value::<M::Spec>(written.clone());
    let read = read.ok().and_then(|spec| serde_json::to_value(spec).ok());
    if read != Some(written) {
        return wrong("*".into(), "is not read as it is written");
    }
    let unknown = serde_json::json!({ "no_such_option": 1 });
    if serde_json::from_value::<M::Spec>(unknown).is_ok() {
        return wrong("no_such_option".into(), "is unknown and not refused");
    }
    Ok(())
}

/// Everything that holds of a module that is not being trained.
fn check_proposals<M: PromptModule>(
    module: &M,
    input: &PromptInput,
    backbone: &BackboneInfo,
) -> Result<(), ContractError> {
    let both = module.propose(input.clone());
    match (M::PROPOSES, both.hypotheses.is_empty()) {
        (false, true) => return Ok(()),
        (false, false) => return Err(ContractError::Nothing("prompts, and says that it does not")),
        (true, true) => return Err(ContractError::Nothing("nothing")),
        (true, false) => {}
    }
    check_shapes(&both, backbone, 2)?;
    same(&both, &module.propose(input.clone()), "a second time")?;
    for index in 0..2 {
        let single = module.propose(slice_input(input, index));
        check_shapes(&single, backbone, 1)?;
        compare(&both, &single, index)?;
    }
    Ok(())
}

fn random_input(
    backbone: &BackboneInfo,
    taps: &[usize],
    image: bool,
    batch: usize,
    device: &Device,
) -> PromptInput {
    let random = |channels: usize, side: usize| {
        Tensor::<4>::random([batch, channels, side, side], Distribution::Normal(0.0, 1.0), device)
    };
    let grid = backbone.grid_size;
    PromptInput {
        image_embedding: random(backbone.embed_dim, grid),
        block_features: backbone
            .widths(taps)
            .into_iter()
            .map(|width| random(width, grid))
            .collect(),
        image: image.then(|| random(3, backbone.input_size)),
        seeds: (0..batch as u64)
            .map(|image| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(image + 1))
            .collect(),
    }
}

fn slice_input(input: &PromptInput, index: usize) -> PromptInput {
    let pick = |tensor: &Tensor<4>| tensor.clone().slice_dim(0, index..index + 1);
    PromptInput {
        image_embedding: pick(&input.image_embedding),
        block_features: input.block_features.iter().map(pick).collect(),
        image: input.image.as_ref().map(pick),
        seeds: vec![input.seeds[index]],
    }
}

fn tracked(input: PromptInput) -> PromptInput {
    PromptInput {
        image_embedding: input.image_embedding.autodiff(),
        block_features: input.block_features.into_iter().map(Tensor::autodiff).collect(),
        image: input.image.map(Tensor::autodiff),
        seeds: input.seeds,
    }
}

/// Masks of two images: a disk, nothing, or everything in both; or one of each.
fn truths(backbone: &BackboneInfo, device: &Device) -> [(&'static str, TrainingTruth); 4] {
    let side = backbone.low_res_size();
    let disk = |at: usize| {
        let (x, y) = (at % side, at / side);
        let (dx, dy) = (x.abs_diff(side / 3), y.abs_diff(side / 2));
        f32::from(u8::from(dx * dx + dy * dy < side * side / 16))
    };
    let disk: Vec<f32> = (0..side * side).map(disk).collect();
    let (empty, full) = (vec![0.0; side * side], vec![1.0; side * side]);
    let truth = |a: &[f32], b: &[f32]| {
        let masks = TensorData::new([a, b].concat(), [2, 1, side, side]);
        TrainingTruth { masks: Tensor::from_data(masks, device) }
    };
    [
        ("a disk in both images", truth(&disk, &disk)),
        ("empty masks", truth(&empty, &empty)),
        ("full masks", truth(&full, &full)),
        ("a disk and an empty mask", truth(&disk, &empty)),
    ]
}

fn check_shapes(
    proposal: &Proposal,
    backbone: &BackboneInfo,
    batch: usize,
) -> Result<(), ContractError> {
    proposal.hypotheses.iter().try_for_each(|prompts| check_prompts(prompts, backbone, batch))
}

fn check_prompts(
    prompts: &Prompts,
    backbone: &BackboneInfo,
    batch: usize,
) -> Result<(), ContractError> {
    let wrong = |part, actual: &[usize], expected: String| {
        Err(ContractError::Shape { part, actual: actual.to_vec(), expected })
    };
    if prompts.is_empty() {
        return Err(ContractError::Nothing("nothing"));
    }
    if let Some((coords, labels)) = &prompts.points {
        let shape = coords.dims();
        if shape[0] != batch || shape[2] != 2 {
            return wrong("points", &shape, format!("[{batch}, P, 2]"));
        }
        if labels.dims() != [batch, shape[1]] {
            return wrong("labels", &labels.dims(), format!("[{batch}, {}]", shape[1]));
        }
        check_labels(labels)?;
    }
    if let Some(boxes) = &prompts.boxes
        && boxes.dims() != [batch, 4]
    {
        return wrong("boxes", &boxes.dims(), format!("[{batch}, 4]"));
    }
    if let Some(mask) = &prompts.mask_input {
        let side = backbone.low_res_size();
        if mask.dims() != [batch, 1, side, side] {
            return wrong("mask inputs", &mask.dims(), format!("[{batch}, 1, {side}, {side}]"));
        }
    }
    let input_size = backbone.input_size;
    for (part, values) in prompts.floats() {
        let values = floats(values);
        if part == PromptPart::MaskInput {
            match values.into_iter().find(|value| !value.is_finite()) {
                Some(value) => return Err(ContractError::Logit(value)),
                None => continue,
            }
        }
        let outside = values.iter().find(|value| !(0.0..=input_size as f32).contains(*value));
        if let Some(value) = outside {
            let (part, value) = (part.name(), value.to_string());
            return Err(ContractError::Frame { part, value, input_size });
        }
        let reversed = |corners: &&[f32; 4]| corners[2] < corners[0] || corners[3] < corners[1];
        if part == PromptPart::Boxes
            && let Some(corners) = values.as_chunks::<4>().0.iter().find(reversed)
        {
            return Err(ContractError::Corners(*corners));
        }
    }
    Ok(())
}

fn check_labels(labels: &Tensor<2, Int>) -> Result<(), ContractError> {
    match ints(labels.clone()).into_iter().find(|label| !(-1..=1).contains(label)) {
        Some(label) => Err(ContractError::Label(label)),
        None => Ok(()),
    }
}

/// The kinds of prompts of every hypothesis.
fn kinds(proposal: &Proposal) -> Vec<Vec<&'static str>> {
    let names = |prompts: &Prompts| prompts.floats().iter().map(|(part, _)| part.name()).collect();
    proposal.hypotheses.iter().map(names).collect()
}

fn compare(both: &Proposal, single: &Proposal, index: usize) -> Result<(), ContractError> {
    if kinds(both) != kinds(single) {
        let difference = format!("{:?} and {:?}", kinds(both), kinds(single));
        return Err(ContractError::Batch { part: "kinds of prompts", difference });
    }
    for (both, single) in both.hypotheses.iter().zip(&single.hypotheses) {
        let both = both.slice(index..index + 1);
        let labels = |prompts: &Prompts| prompts.points.clone().map(|(_, labels)| ints(labels));
        if labels(&both) != labels(single) {
            let difference = format!("{:?} and {:?}", labels(&both), labels(single));
            return Err(ContractError::Batch { part: "labels", difference });
        }
        for ((part, both), (_, single)) in both.floats().into_iter().zip(single.floats()) {
            let (part, both, single) = (part.name(), floats(both), floats(single));
            let scale = single.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
            let difference =
                both.iter().zip(&single).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            // Matrix products of another batch size may sum in another order.
            if both.len() != single.len() || difference > 1e-4 * scale {
                return Err(ContractError::Batch { part, difference: difference.to_string() });
            }
        }
    }
    Ok(())
}

/// That two proposals are the same bit by bit.
fn same(one: &Proposal, other: &Proposal, when: &'static str) -> Result<(), ContractError> {
    if kinds(one) != kinds(other) {
        return Err(ContractError::Unsteady("kinds of prompts", when));
    }
    for (one, other) in one.hypotheses.iter().zip(&other.hypotheses) {
        let labels = |prompts: &Prompts| prompts.points.clone().map(|(_, labels)| ints(labels));
        if labels(one) != labels(other) {
            return Err(ContractError::Unsteady("labels", when));
        }
        for ((part, one), (_, other)) in one.floats().into_iter().zip(other.floats()) {
            let bits =
                |tensor| -> Vec<u32> { floats(tensor).into_iter().map(f32::to_bits).collect() };
            if bits(one) != bits(other) {
                return Err(ContractError::Unsteady(part.name(), when));
            }
        }
    }
    Ok(())
}

/// That a loss of the module's own is a number, whatever the truth is, and that the prompts beside it are the ones
/// that the module proposes.
fn check_own_loss<M: PromptModule>(
    module: &M,
    input: &PromptInput,
    backbone: &BackboneInfo,
) -> Result<(), ContractError> {
    let frozen = module.valid();
    for (masks, truth) in truths(backbone, &Device::flex()) {
        let learning = frozen.propose_training(input.clone(), &truth);
        same(&frozen.propose(input.clone()), &learning.proposal, "with the truth at hand")?;
        let learning = [learning, module.propose_training(tracked(input.clone()), &truth)];
        for own in learning.into_iter().filter_map(|learning| learning.own_loss) {
            let wrong = |reason: String| Err(ContractError::OwnLoss { reason, masks });
            let value = floats(own.value);
            if !matches!(value[..], [value] if value.is_finite()) {
                return wrong(format!("is {value:?}, not one finite number"));
            }
            if !(0.0..=1e6).contains(&own.mask_gradient) {
                return wrong(format!("passes on {} times the mask's gradient", own.mask_gradient));
            }
        }
    }
    Ok(())
}

/// That there are parameters, that each is reached, by the own loss alone if the mask's gradient is kept away, and that
/// what reaches them are numbers, not all of them zero.
fn check_gradients<M: PromptModule>(
    module: &M,
    input: PromptInput,
    backbone: &BackboneInfo,
) -> Result<(), ContractError> {
    let [(_, truth), ..] = truths(backbone, &Device::flex());
    let learning = module.propose_training(tracked(input), &truth);
    let through_mask = learning.own_loss.as_ref().is_none_or(|own| own.mask_gradient > 0.0);
    let prompts = learning.proposal.hypotheses.iter().filter(|_| through_mask);
    let loss = prompts
        .flat_map(Prompts::floats)
        .filter(|(_, values)| values.is_autodiff())
        // The 1: a mask input may begin with zeros everywhere, and the derivative of a square is zero there.
        .map(|(_, values)| (values + 1.0).powi_scalar(2).sum())
        .chain(learning.own_loss.map(|own| own.value))
        .reduce(|a, b| a + b);
    // Of values that no parameter is behind there is no graph to go back through.
    let loss = loss.filter(Tensor::is_tracked);
    let gradients = loss.map(|loss| loss.backward());
    let mut visitor = GradientVisitor { gradients, all: 0, without: 0, not_finite: 0, zero: 0 };
    module.visit(&mut visitor);
    let GradientVisitor { all, without, not_finite, zero, .. } = visitor;
    if all == 0 {
        return Err(ContractError::NothingToLearn);
    }
    if without > 0 {
        return Err(ContractError::Gradient { without, all });
    }
    if not_finite > 0 {
        let what = "that is infinite or no number";
        return Err(ContractError::BadGradient { count: not_finite, all, what });
    }
    // Some may be: what lies behind a ReLU that is closed.
    if zero == all {
        let what = "of zeros, so that nothing is learned";
        return Err(ContractError::BadGradient { count: zero, all, what });
    }
    Ok(())
}

struct GradientVisitor {
    gradients: Option<burn::tensor::Gradients>,
    all: usize,
    without: usize,
    not_finite: usize,
    zero: usize,
}

impl ModuleVisitor for GradientVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            return;
        }
        self.all += 1;
        let Some(gradient) = self.gradients.as_ref().and_then(|grads| tensor.grad(grads)) else {
            self.without += 1;
            return;
        };
        let values = floats(gradient);
        self.not_finite += usize::from(values.iter().any(|value| !value.is_finite()));
        self.zero += usize::from(values.iter().all(|&value| value == 0.0));
    }
}

/// That nothing of a module that is fitted at once would be changed by an optimizer.
fn check_ungraded<M: PromptModule>(module: &M) -> Result<(), ContractError> {
    struct Asking(usize);
    impl ModuleVisitor for Asking {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 += usize::from(param.is_require_grad());
        }
    }
    let mut asking = Asking(0);
    module.visit(&mut asking);
    match asking.0 {
        0 => Ok(()),
        count => {
            let reason = "of a module that is fitted ask for gradients";
            Err(ContractError::Parameters { count, reason })
        }
    }
}

fn fit<M: PromptModule>(module: &mut M, examples: &RandomExamples) -> Result<(), ContractError> {
    let report = module.fit(examples, 3)?;
    match report.numbers.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(ContractError::Report { name, value }),
        None => Ok(()),
    }
}

/// Random features with a disk as the truth, whose cells differ from the others a little.
struct RandomExamples {
    examples: Vec<Example>,
}

impl RandomExamples {
    fn new<M: PromptModule>(
        module: &M,
        backbone: &BackboneInfo,
        images: usize,
        device: &Device,
    ) -> Self {
        device.seed(2);
        let taps = module.taps();
        let [(_, disk), ..] = truths(backbone, device);
        let mask = disk.masks.slice_dim(0, 0..1);
        let grid = backbone.grid_size;
        let inside = mask
            .clone()
            .reshape([1, grid, 4, grid, 4])
            .mean_dim(4)
            .mean_dim(2)
            .reshape([1, 1, grid, grid]);
        let example = |_| {
            let mut input = random_input(backbone, &taps, module.needs_image(), 1, device);
            input.image_embedding = input.image_embedding + inside.clone();
            Example { input, truth: TrainingTruth { masks: mask.clone() } }
        };
        Self { examples: (0..images).map(example).collect() }
    }
}

impl TrainingExamples for RandomExamples {
    fn count(&self) -> usize {
        self.examples.len()
    }

    fn example(&self, place: usize) -> Result<Example, ExampleError> {
        self.examples.get(place).cloned().ok_or_else(|| "there are fewer examples".into())
    }
}

fn ints(tensor: Tensor<2, Int>) -> Vec<i64> {
    tensor.into_data().try_into_vec_as::<i64>().unwrap_or_default()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap_or_default()
}
