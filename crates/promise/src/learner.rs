//! One training step and one validation step, in burn-train's terms.

use std::{fmt, mem};

use burn::{
    data::dataset::DatasetError,
    tensor::{Device, ExecutionError, Gradients, Int, Tensor, TensorReadError},
    train::{
        InferenceStep, Interrupter, ItemLazy, TrainOutput, TrainStep,
        metric::{
            Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
            NumericAttributes, NumericEntry, SerializedEntry,
            state::{FormatOptions, NumericMetricState},
        },
    },
};
use metrics::{Mask, MaskCounts};
use prompting::{PromptInput, PromptModule, Prompts, TrainingTruth};

use crate::{
    adapter_output::{AdapterOutput, MaskGradient},
    hypotheses::{Answer, best_logits},
    loss::loss,
    model::Promise,
    spec::{Loss, TrainSpec},
};

/// What a step needs to know besides the batch.
#[derive(Clone)]
pub(crate) struct StepSettings {
    pub loss: Loss,
    /// Stops training when the loss is no number any more.
    pub interrupter: Interrupter,
}

impl StepSettings {
    pub fn new(spec: &TrainSpec) -> Self {
        Self { loss: spec.loss, interrupter: Interrupter::new() }
    }
}

impl fmt::Debug for StepSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepSettings").field("loss", &self.loss).finish_non_exhaustive()
    }
}

/// A batch on the plain device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[B, C, H, W]`
    pub image_embedding: Tensor<4>,
    /// Each `[B, width, H, W]`.
    pub block_features: Vec<Tensor<4>>,
    /// The images as the encoder sees them, `[B, 3, S, S]`, if the prompt module asks for them.
    pub image: Option<Tensor<4>>,
    /// What a prompt module may draw from, one number a case.
    pub seeds: Vec<u64>,
    /// `[B, 1, h, w]`, zeros and ones.
    pub target: Tensor<4>,
    /// Prompts that do not come from the module.
    pub given: Option<(Tensor<3>, Tensor<2, Int>)>,
    /// Names of the cases, for messages.
    pub cases: Vec<String>,
}

/// Numbers of one step, read back to the host.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Cases in the batch.
    pub n: usize,
    /// Dice of the cases where it is defined, at the decoder's resolution.
    pub dice: Vec<f64>,
    /// IoU of the same cases.
    pub iou: Vec<f64>,
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        // Everything was read back in the step.
        Ok(self)
    }
}

/// The frozen half of a training step.
struct Decoded {
    /// Logits of the used mask of each image's best hypothesis, plain, `[B, 1, h, w]`.
    logits: Tensor<4>,
    /// Mean loss on the mask.
    loss: f64,
    /// By how much it changes with what the adapters gave.
    gradient: MaskGradient,
}

/// Image tokens that the decoder takes at once in training: its graph is the largest part of a step's memory, a hundred MiB and
/// more for every image of 64 x 64 tokens. No image's graph is needed for another's, and two of that size keep the
/// threads busy.
const TOKENS_AT_ONCE: usize = 2 * 64 * 64;

impl<P: PromptModule> Promise<P> {
    /// What the adapters give for a batch.
    ///
    /// Features come from the plain device, since SAM is there. They cross to the adapters' device
    /// only where an adapter reads them: its batch normalization trains only on tracked input.
    ///
    /// `block_features` are those of the batch, apart from it: they are the most of it, and gone once they are read.
    fn adapter_output(
        &self,
        batch: &Batch,
        block_features: Vec<Tensor<4>>,
        training: bool,
    ) -> AdapterOutput {
        let enter = |tensor: Tensor<4>| if training { tensor.autodiff() } else { tensor };
        let embedding = &batch.image_embedding;
        let (proposal, own_loss) = match &batch.given {
            Some(points) => {
                let given = Prompts { points: Some(points.clone()), ..Prompts::default() };
                (given.into(), None)
            }
            None => {
                let input = PromptInput {
                    image_embedding: enter(embedding.clone()),
                    block_features: block_features.into_iter().map(enter).collect(),
                    image: batch.image.clone().map(enter),
                    seeds: batch.seeds.clone(),
                };
                let truth = TrainingTruth { masks: batch.target.clone() };
                let (proposal, own_loss) = self.training_prompts(input, &truth);
                // A method without a module is trained with given prompts, or none at all.
                (proposal.unwrap_or_else(|| Prompts::default().into()), own_loss)
            }
        };
        AdapterOutput {
            hypotheses: proposal.hypotheses,
            token_shift: self.learned_shift(enter(embedding.clone())),
            mask_gradient: own_loss.as_ref().map_or(1.0, |own| own.mask_gradient),
            own_loss: own_loss.map(|own| own.value),
        }
    }

    /// SAM's answers, one for each hypothesis.
    fn answers(&self, image_embedding: &Tensor<4>, output: &AdapterOutput) -> Vec<Answer> {
        let answer = |prompts: &Prompts| {
            let shift = output.token_shift.clone();
            Answer::of(self.frozen.decode(image_embedding.clone(), prompts.clone(), shift, true))
        };
        output.hypotheses.iter().map(answer).collect()
    }

    /// The loss on the mask, a mean over the hypotheses.
    fn loss_on_mask(&self, answers: &[Answer], target: &Tensor<4>) -> Tensor<1> {
        let losses = answers
            .iter()
            .map(|answer| loss(self.settings.loss, answer.logits.clone(), target.clone()));
        let sum = losses.reduce(|a, b| a + b).expect("a hypothesis at least");
        if answers.len() == 1 { sum } else { sum.div_scalar(answers.len() as f64) }
    }

    /// Loss and gradient at the place where adapters and frozen decoder meet, a few images at a time: the graph of the
    /// decoder lives no longer than they need it.
    fn decode_in_parts(&self, batch: &Batch, output: &AdapterOutput, at_once: usize) -> Decoded {
        let [n, ..] = batch.image_embedding.dims();
        let (mut logits, mut gradients, mut total) = (Vec::new(), Vec::new(), 0.0);
        for start in (0..n).step_by(at_once) {
            let images = start..n.min(start + at_once);
            let leaf = output.leaf(images.clone());
            let embedding = batch.image_embedding.clone().slice_dim(0, images.clone());
            let target = batch.target.clone().slice_dim(0, images.clone());
            let answers = self.answers(&embedding, &leaf);
            // A mean over images: each part counts by how many it has.
            let share = images.len() as f64 / n as f64;
            let loss = self.loss_on_mask(&answers, &target).mul_scalar(share);
            total += value(loss.clone());
            logits.push(best_logits(&answers));
            drop(answers);
            gradients.push(leaf.gradient(&loss));
        }
        let gradient = MaskGradient::join(gradients);
        Decoded { logits: Tensor::cat(logits, 0), loss: total, gradient }
    }

    /// `logits` are plain.
    fn output(&self, batch: &Batch, logits: Tensor<4>, loss: f64) -> StepOutput {
        if !loss.is_finite() {
            // burn-train has no error of the model's own; the batch is to blame in its terms.
            self.settings
                .interrupter
                .fail(DatasetError::new(DivergedError { loss, cases: batch.cases.join(", ") }));
        }
        let [n, _, height, width] = logits.dims();
        let pixels = height * width;
        let logits = floats(logits);
        let target = floats(batch.target.clone());
        let (dice, iou) = logits
            .chunks_exact(pixels)
            .zip(target.chunks_exact(pixels))
            .filter_map(|(logits, target)| {
                let mask = |values: &[f32], cut: f32| {
                    Mask::new(width, height, values.iter().map(|&value| value > cut).collect())
                };
                let counts =
                    MaskCounts::between(&mask(logits, 0.0).ok()?, &mask(target, 0.5).ok()?).ok()?;
                Some((metrics::dice(counts)?, metrics::iou(counts)?))
            })
            .unzip();
        StepOutput { loss, n, dice, iou }
    }
}

/// The loss is infinite or no number.
#[derive(Debug, thiserror::Error)]
#[error(
    "the loss is {loss}; a lower learning rate may help or, if it is so from the first step, other weights of the backbone; \
     the batch was: {cases}"
)]
struct DivergedError {
    loss: f64,
    cases: String,
}

/// There is nothing that a step could change.
#[derive(Debug, thiserror::Error)]
#[error(
    "the loss reaches no parameter: neither prompt module nor token shift computed anything that learns; a module without \
     parameters says `Learning::Fixed`, and one that is fitted at once `Learning::Fitted`"
)]
struct NothingLearnsError;

/// Gradients of none of our parameters.
fn no_gradients(device: &Device) -> Gradients {
    let leaf = Tensor::<1>::zeros([1], &device.clone().autodiff()).require_grad();
    leaf.mul_scalar(1.0).backward()
}

impl<P: PromptModule> TrainStep for Promise<P> {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, mut batch: Batch) -> TrainOutput<StepOutput> {
        let block_features = mem::take(&mut batch.block_features);
        let output = self.adapter_output(&batch, block_features, true);
        let Decoded { logits, loss, gradient } =
            self.decode_in_parts(&batch, &output, at_once(&batch));
        let own_loss = output.own_loss.clone().map_or(0.0, value);
        let gradients = output.backward(&gradient).unwrap_or_else(|| {
            self.settings.interrupter.fail(DatasetError::new(NothingLearnsError));
            no_gradients(&batch.image_embedding.device())
        });
        TrainOutput::new(self, gradients, self.output(&batch, logits, loss + own_loss))
    }
}

impl<P: PromptModule> InferenceStep for Promise<P> {
    type Input = Batch;
    type Output = StepOutput;

    fn step(&self, mut batch: Batch) -> StepOutput {
        let block_features = mem::take(&mut batch.block_features);
        let output = self.adapter_output(&batch, block_features, false);
        let answers = self.answers(&batch.image_embedding, &output);
        let loss = value(self.loss_on_mask(&answers, &batch.target));
        let own_loss = output.own_loss.clone().map_or(0.0, value);
        self.output(&batch, best_logits(&answers), loss + own_loss)
    }
}

/// Images of a batch that the decoder takes at once in training.
fn at_once(batch: &Batch) -> usize {
    let [n, _, height, width] = batch.image_embedding.dims();
    (TOKENS_AT_ONCE / (height * width)).clamp(1, n)
}

fn value(loss: Tensor<1>) -> f64 {
    floats(loss.without_autodiff()).first().map_or(f64::NAN, |&value| f64::from(value))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

/// A mean over cases (not over batches, whose sizes differ).
#[derive(Clone)]
pub(crate) struct CaseMean {
    name: MetricName,
    higher_is_better: bool,
    pick: fn(&StepOutput) -> (f64, usize),
    state: NumericMetricState,
}

/// Name of the loss in burn-train's records.
pub(crate) const LOSS: &str = "Loss";
/// Name of Dice.
pub(crate) const DICE: &str = "Dice";
/// Name of IoU.
pub(crate) const IOU: &str = "IoU";

impl CaseMean {
    pub fn loss() -> Self {
        Self::new(LOSS, false, |output| (output.loss, output.n))
    }

    pub fn dice() -> Self {
        Self::new(DICE, true, |output| mean(&output.dice))
    }

    pub fn iou() -> Self {
        Self::new(IOU, true, |output| mean(&output.iou))
    }

    fn new(name: &str, higher_is_better: bool, pick: fn(&StepOutput) -> (f64, usize)) -> Self {
        Self {
            name: MetricName::new(name.to_owned()),
            higher_is_better,
            pick,
            state: NumericMetricState::new(),
        }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(4)
    }
}

/// Mean and number of values; 0 of none, which then weighs nothing.
fn mean(values: &[f64]) -> (f64, usize) {
    let sum: f64 = values.iter().sum();
    (sum / values.len().max(1) as f64, values.len())
}

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        self.clone()
    }
}

impl Metric for CaseMean {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(
        &mut self,
        item: &StepOutput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let (value, count) = (self.pick)(item);
        self.state.update(value, count);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for CaseMean {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::{Module, ModuleMapper, ModuleVisitor, Param},
        optim::GradientsParams,
        tensor::{Device, Distribution},
    };

    use sam_backbone::{
        Architecture, FrozenSam, ImageEncoderConfig, LoadReport, MaskDecoderConfig, SamConfig,
        TinyVitConfig, Variant,
    };

    use super::*;
    use crate::{backbone::Backbone, model::Adapter, no_prompt::NoPrompt, plan::Experiment};

    const SMOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/smoke/apm.toml");

    fn model_and_batch() -> (Promise<apm::Apm>, Batch) {
        model_and_batch_of(2)
    }

    fn model_and_batch_of(n: usize) -> (Promise<apm::Apm>, Batch) {
        let plain = Device::flex();
        let backbone = Backbone::load(Variant::Micro, None, &plain).expect("embedded");
        // Four mask tokens and a hidden layer four times as wide would be equally long vectors.
        let narrow = "shift.options.hidden_ratio=2".to_owned();
        let experiment = Experiment::load(SMOKE.as_ref(), &[narrow]).expect("valid");
        let model =
            Promise::<apm::Apm>::new(&experiment.runs[0], &backbone, &plain.clone().autodiff())
                .expect("fits");
        let info = backbone.info();
        let _turn = crate::drawing::turn();
        plain.seed(11);
        let random = |channels: usize| {
            let shape = [n, channels, info.grid_size, info.grid_size];
            Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &plain)
        };
        let side = backbone.sam.config().low_res_size();
        let batch = Batch {
            image_embedding: random(info.embed_dim),
            block_features: vec![random(info.block_widths[7])],
            image: None,
            seeds: (0..n as u64).collect(),
            target: Tensor::<4>::random([n, 1, side, side], Distribution::Bernoulli(0.3), &plain),
            given: None,
            cases: (0..n).map(|case| case.to_string()).collect(),
        };
        (model, batch)
    }

    /// Names of the parameters that a gradient does not reach.
    struct Reached<'a> {
        path: Vec<String>,
        gradients: &'a GradientsParams,
        without: Vec<String>,
        all: usize,
    }
    impl ModuleVisitor for Reached<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            // Running statistics are no parameters, and a bias before a batch normalization
            // has no effect that could be differentiated.
            if path.contains("running_") {
                return;
            }
            self.all += 1;
            let gradient = self.gradients.get::<D>(param.id);
            if gradient.is_none_or(|gradient| floats(gradient).iter().all(|&g| g == 0.0)) {
                self.without.push(path);
            }
        }
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
    }

    #[test]
    fn gradients_reach_every_parameter_of_both_adapters_through_the_frozen_decoder() {
        let (model, batch) = model_and_batch();
        let hash = model.frozen.hash();
        let output = TrainStep::step(&model, batch);
        let mut reached =
            Reached { path: Vec::new(), gradients: &output.grads, without: Vec::new(), all: 0 };
        model.visit(&mut reached);
        assert!(reached.all > 20, "{}", reached.all);
        assert!(reached.without.is_empty(), "no gradient: {:?}", reached.without);
        assert_eq!(model.frozen.hash(), hash);
    }

    /// A small MobileSAM with random weights, APM on three of its taps, IPS, and what its encoder gives of random images.
    fn mobile_model_and_batch() -> (Promise<apm::Apm>, Batch) {
        let plain = Device::flex();
        let tiny = TinyVitConfig::new()
            .with_widths([8, 12, 16, 24])
            .with_depths([1, 1, 2, 1])
            .with_n_heads([3, 2, 3])
            .with_window_sizes([7, 5, 4]);
        let encoder = ImageEncoderConfig::new(Architecture::TinyVit(tiny))
            .with_image_size(256)
            .with_embed_dim(32);
        let decoder =
            MaskDecoderConfig::new().with_n_heads(4).with_mlp_dim(64).with_iou_head_hidden_dim(32);
        let config = SamConfig::new(encoder, decoder, 16);
        let sam = {
            let _turn = crate::drawing::turn();
            plain.seed(12);
            let sam = FrozenSam::new(config.init(&plain), config, &plain);
            // Weights are drawn when first read.
            sam.hash();
            sam
        };
        let report = LoadReport { sha256: String::new(), known: None, n_tensors: 0 };
        let backbone =
            Backbone { variant: Variant::VitT, sam, weights_source: "random".into(), report };
        let settings = [
            "backbone.variant=vit_t",
            "backbone.weights=random.pt",
            "prompt.options.taps=\"6_9_12\"",
        ]
        .map(str::to_owned);
        let experiment = Experiment::load(SMOKE.as_ref(), &settings).expect("valid");
        let model =
            Promise::<apm::Apm>::new(&experiment.runs[0], &backbone, &plain.clone().autodiff())
                .expect("fits");
        let n = 4;
        let (images, target) = {
            let _turn = crate::drawing::turn();
            plain.seed(13);
            let normal = Distribution::Normal(0.0, 1.0);
            let images = Tensor::<4>::random([n, 3, 256, 256], normal, &plain);
            let mask = Distribution::Bernoulli(0.3);
            (images, Tensor::<4>::random([n, 1, 64, 64], mask, &plain))
        };
        let output = backbone.sam.encode(images, &Adapter::taps(&model));
        let batch = Batch {
            image_embedding: output.image_embedding,
            block_features: output.block_features,
            image: None,
            seeds: (0..n as u64).collect(),
            target,
            given: None,
            cases: (0..n).map(|case| case.to_string()).collect(),
        };
        (model, batch)
    }

    #[test]
    fn a_step_that_nothing_can_learn_from_ends_the_training_with_an_error() {
        let plain = Device::flex();
        let backbone = Backbone::load(Variant::Micro, None, &plain).expect("embedded");
        let nothing = ["prompt={ module = \"none\" }", "shift={ module = \"none\" }"];
        let experiment =
            Experiment::load(SMOKE.as_ref(), &nothing.map(str::to_owned)).expect("valid");
        let plan = &experiment.runs[0];
        let model = Promise::<NoPrompt>::new(plan, &backbone, &plain.clone().autodiff());
        let (_, batch) = model_and_batch();
        let model = model.expect("fits");
        let output = TrainStep::step(&model, batch);
        assert!(output.item.loss.is_finite());
        let error = model.settings.interrupter.error().expect("it was told").to_string();
        assert!(error.contains("Learning::Fixed"), "{error}");
    }

    #[test]
    fn apm_and_ips_learn_on_mobile_sam_which_stays_as_it_is() {
        let (mut model, batch) = mobile_model_and_batch();
        let widths: Vec<usize> = batch.block_features.iter().map(|tap| tap.dims()[1]).collect();
        assert_eq!(widths, [24, 16, 12], "the last three quarters' blocks, deepest first");
        let hash = model.frozen.hash();
        let output = TrainStep::step(&model, batch.clone());
        let mut reached =
            Reached { path: Vec::new(), gradients: &output.grads, without: Vec::new(), all: 0 };
        model.visit(&mut reached);
        assert!(reached.all > 20, "{}", reached.all);
        assert!(reached.without.is_empty(), "no gradient: {:?}", reached.without);
        let before = output.item.loss;
        let mut optimizer = crate::train::adam();
        let mut gradients = output.grads;
        for _ in 0..10 {
            model = optimizer.step(1e-3, model, gradients);
            gradients = TrainStep::step(&model, batch.clone()).grads;
        }
        let after = TrainStep::step(&model, batch).item.loss;
        assert!(after < before, "{before} became {after}");
        assert_eq!(model.frozen.hash(), hash);
    }

    /// Image by image, in one piece, or with the decoder's graph not cut off at all: the same gradients, but for the order
    /// of sums.
    #[test]
    fn a_decoder_that_takes_images_one_by_one_gives_the_gradient_of_one_graph() {
        struct Collect<'a>(&'a GradientsParams, Vec<f32>);
        impl ModuleVisitor for Collect<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(gradient) = self.0.get::<D>(param.id) {
                    self.1.extend(floats(gradient));
                }
            }
        }
        let (model, batch) = model_and_batch_of(3);
        // Two hypotheses of unlike kinds, of which one was computed and the other is given.
        let output = || {
            let mut output = model.adapter_output(&batch, batch.block_features.clone(), true);
            let corners = [[20.0, 30.0, 150.0, 200.0]; 3];
            let boxes = Some(Tensor::<2>::from_data(corners, &Device::flex()));
            output.hypotheses.push(Prompts { boxes, ..Prompts::default() });
            output
        };
        let collected = |gradients| {
            let gradients = GradientsParams::from_grads(gradients, &model);
            let mut collect = Collect(&gradients, Vec::new());
            model.visit(&mut collect);
            collect.1
        };
        let answers = model.answers(&batch.image_embedding, &output());
        let whole_loss = model.loss_on_mask(&answers, &batch.target);
        let whole = collected(whole_loss.backward());
        let largest = whole.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        // One by one, two and one, all at once.
        for at_once in [1, 2, 3] {
            let output = output();
            let parts = model.decode_in_parts(&batch, &output, at_once);
            assert!((parts.loss - value(whole_loss.clone())).abs() < 1e-6, "{}", parts.loss);
            let found = collected(output.backward(&parts.gradient).expect("both are trained"));
            assert_eq!(found.len(), whole.len());
            // Some hundred roundings of 6e-8 on the way through the adapters.
            for (found, whole) in found.iter().zip(&whole) {
                assert!((found - whole).abs() <= 1e-5 * largest, "{found} {whole} of {largest}");
            }
        }
    }

    /// Moves one number of the only vector of a given length, the bias of the final layer of IPS.
    struct Nudge {
        length: usize,
        by: f32,
    }

    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D != 1 || param.lazy_shape().num_elements() != self.length {
                return param;
            }
            let by = self.by;
            param.map(|tensor| {
                let shape = tensor.dims();
                let device = tensor.device();
                let mut values = floats(tensor.without_autodiff());
                // Channel 0 of mask token 1, the token of the used mask.
                let place = values.len() / 4;
                values[place] += by;
                Tensor::<1>::from_data(values.as_slice(), &device).reshape(shape)
            })
        }
    }

    #[test]
    fn the_gradient_of_a_token_shift_matches_finite_differences() {
        let (model, batch) = model_and_batch();
        // Batch normalization sees one batch in both, so only IPS moves.
        let frozen = model.valid();
        let n_tokens = 4 * batch.image_embedding.dims()[1];
        let loss_at = |by: f32| {
            let moved = frozen.clone().map(&mut Nudge { length: n_tokens, by });
            InferenceStep::step(&moved, batch.clone()).loss
        };
        let step = 0.005;
        let expected = (loss_at(step) - loss_at(-step)) / f64::from(2.0 * step);

        struct Find<'a> {
            length: usize,
            gradients: &'a GradientsParams,
            found: Vec<f32>,
        }
        impl ModuleVisitor for Find<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if D == 1 && param.lazy_shape().num_elements() == self.length {
                    let gradient = self.gradients.get::<D>(param.id).expect("a gradient");
                    self.found.push(floats(gradient)[self.length / 4]);
                }
            }
        }
        // The same statistics as in `frozen`: a module outside training normalizes by its running
        // statistics, so the gradient is taken of a copy that is frozen but for its device.
        let prompts = frozen
            .learned_prompts(PromptInput {
                image_embedding: batch.image_embedding.clone(),
                block_features: batch.block_features.clone(),
                image: None,
                seeds: batch.seeds.clone(),
            })
            .and_then(|proposal| proposal.hypotheses[0].points.clone())
            .expect("APM proposes points");
        let given = Batch { given: Some(prompts), ..batch.clone() };
        let output = TrainStep::step(&model, given);
        let mut find = Find { length: n_tokens, gradients: &output.grads, found: Vec::new() };
        model.visit(&mut find);
        assert_eq!(find.found.len(), 1, "one vector of that length, or more than IPS's end moves");
        let gradient = f64::from(find.found[0]);
        // Central differences in f32.
        assert!(
            (gradient - expected).abs() <= 0.03 * expected.abs() + 1e-5,
            "{gradient} {expected}"
        );
    }
}
