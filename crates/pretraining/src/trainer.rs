//! The training loop: shards of a batch side by side, one optimizer step, a checkpoint now and then.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use burn::{
    grad_clipping::GradientClippingConfig,
    module::Module,
    optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer},
    store::ModuleRecord,
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use data_loaders::TruthMask;
use rand_chacha::ChaCha8Rng;
use sam_backbone::{
    Frame, ImageSize, PointLabel, Prompts, ResizeMode, Sam, SamConfig, input_tensor, save_weights,
};
use serde::{Deserialize, Serialize};

use crate::{
    batch::{self, Batch, PROMPTS, PromptedScene},
    error::PretrainError,
    loss::round_loss,
    prompt_sampling::{self, Click, ObjectPrompt},
    schedule::learning_rate,
    spec::PretrainSpec,
};

/// Batches that the generating thread may be ahead.
const BATCHES_AHEAD: usize = 2;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// 1-based.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Sum of the losses of all rounds.
    pub loss: f64,
    /// Mean IoU of the best of three masks after the first round, at low resolution, on the scenes
    /// trained on.
    pub first_round_iou: f64,
    /// The same after the last round.
    pub last_round_iou: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done and the weights are written.
    Finished,
    /// The run was asked to stop; the same call goes on from its checkpoint.
    Interrupted {
        /// Steps done so far.
        step: usize,
    },
}

/// How far a checkpoint is.
#[derive(Serialize, Deserialize)]
struct Position {
    step: usize,
    /// The spec as it was printed when the run began: another one must not go on from here.
    spec: String,
}

/// Pre-trains a backbone, resuming from a checkpoint in `folder` if there is one.
///
/// Scenes and prompts are functions of (seed, step), so an interrupted run sees what an
/// uninterrupted one would have seen.
///
/// # Errors
///
/// See [`PretrainError`].
pub fn pretrain(
    spec: &PretrainSpec,
    folder: &Path,
    device: &Device,
    stop: &dyn Fn() -> bool,
    on_step: &mut dyn FnMut(StepReport),
) -> Result<Outcome, PretrainError> {
    let config = spec.variant()?.config();
    fs::create_dir_all(folder)
        .map_err(|source| PretrainError::Read { path: folder.to_owned(), source })?;
    let checkpoint = Checkpoint::new(folder, spec);
    let device = device.clone().autodiff();
    device.seed(spec.seed);
    let mut sam = config.init(&device);
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(spec.weight_decay)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(spec.max_gradient_norm)))
        .init();
    let first = checkpoint.restore(&mut sam, &mut optimizer)?;

    let size = config.image_encoder.image_size;
    let (sender, batches) = mpsc::sync_channel(BATCHES_AHEAD);
    let (seed, steps) = (spec.seed, spec.steps);
    let (batch_size, masks_per_image) = (spec.batch_size, spec.masks_per_image);
    thread::spawn(move || {
        for step in first..steps {
            let batch = batch::batch(seed, step, batch_size, masks_per_image, size);
            // The receiver is gone when the run ends early.
            if sender.send(batch).is_err() {
                return;
            }
        }
    });

    for (step, batch) in (first..steps).zip(batches) {
        let rate = learning_rate(step, steps, spec.warmup_steps, spec.learning_rate);
        let (gradients, sums) = gradients(&sam, &config, spec, step, &batch, &device);
        let loss = sums.loss / spec.shards as f64;
        if !loss.is_finite() {
            return Err(PretrainError::Diverged { step: step + 1, loss });
        }
        sam = optimizer.step(rate, sam, gradients);
        let prompted = (spec.batch_size * spec.masks_per_image) as f64;
        on_step(StepReport {
            step: step + 1,
            steps,
            loss,
            first_round_iou: sums.first_iou / prompted,
            last_round_iou: sums.last_iou / prompted,
            learning_rate: rate,
        });
        let stopping = stop();
        if stopping || (step + 1).is_multiple_of(spec.checkpoint_every) || step + 1 == steps {
            checkpoint.save(step + 1, &sam, &optimizer)?;
        }
        if stopping && step + 1 < steps {
            return Ok(Outcome::Interrupted { step: step + 1 });
        }
    }

    if let Some(parent) = spec.output.parent() {
        fs::create_dir_all(parent)
            .map_err(|source| PretrainError::Read { path: parent.to_owned(), source })?;
    }
    save_weights(&sam.valid(), &spec.output, DType::F16, ("recipe", &format!("{spec:?}")))?;
    Ok(Outcome::Finished)
}

/// Sums over the shards of a step.
#[derive(Default)]
struct Sums {
    loss: f64,
    first_iou: f64,
    last_iou: f64,
}

/// Gradients of a step: every shard on a thread of its own, summed in the order of the shards, so
/// that the sum does not depend on which one finishes first.
fn gradients(
    sam: &Sam,
    config: &SamConfig,
    spec: &PretrainSpec,
    step: usize,
    batch: &Batch,
    device: &Device,
) -> (GradientsParams, Sums) {
    let per_shard = spec.batch_size / spec.shards;
    let shards: Vec<(GradientsParams, Sums)> = thread::scope(|scope| {
        let workers: Vec<_> = batch
            .scenes
            .chunks_exact(per_shard)
            .enumerate()
            .map(|(index, scenes)| {
                // Leaves of its own for every shard. Shared ones would join the shards' graphs, and
                // Burn 0.22.1 deadlocks when one thread runs backward on a graph that another one
                // extends.
                let sam = sam.clone().fork(device);
                scope.spawn(move || {
                    let mut rng = batch::generator(spec.seed, step, PROMPTS + index as u64);
                    let (loss, mut sums) =
                        shard_loss(&sam, config, spec.rounds, scenes, &mut rng, device);
                    sums.loss = scalar(&loss);
                    let loss = loss.div_scalar(spec.shards as f64);
                    (GradientsParams::from_grads(loss.backward(), &sam), sums)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a shard computes or the run is lost"))
            .collect()
    });
    let mut accumulator = GradientsAccumulator::new();
    let mut total = Sums::default();
    for (gradients, sums) in shards {
        accumulator.accumulate(sam, gradients);
        total.loss += sums.loss;
        total.first_iou += sums.first_iou;
        total.last_iou += sums.last_iou;
    }
    (accumulator.grads(), total)
}

/// Loss of all rounds over some scenes.
fn shard_loss(
    sam: &Sam,
    config: &SamConfig,
    rounds: usize,
    scenes: &[PromptedScene],
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> (Tensor<1>, Sums) {
    let side = config.low_res_size();
    let input_size = config.image_encoder.image_size;
    let images = scenes.iter().map(|scene| {
        let (width, height) = scene.image.dimensions();
        let size = ImageSize { height: height as usize, width: width as usize };
        let frame = Frame::new(size, ResizeMode::Plain, input_size);
        input_tensor(&scene.image, &frame, device)
    });
    let images = Tensor::cat(images.collect(), 0);
    let embedding = sam.encode(images, &[]).image_embedding;

    let objects: Vec<&TruthMask> = scenes.iter().flat_map(|scene| &scene.objects).collect();
    let per_image = objects.len() / scenes.len();
    let [batch, channels, height, width] = embedding.dims();
    let embedding = embedding
        .unsqueeze_dim::<5>(1)
        .expand([batch, per_image, channels, height, width])
        .reshape([batch * per_image, channels, height, width]);
    let target: Vec<f32> = objects.iter().flat_map(|mask| batch::area_target(mask, side)).collect();
    let target = Tensor::from_data(
        TensorData::new(target, [objects.len(), 1, side, side]),
        &device.clone().without_autodiff(),
    );

    let boxes = prompt_sampling::wants_boxes(rng);
    let prompts: Vec<ObjectPrompt> =
        objects.iter().map(|mask| prompt_sampling::random_prompt(mask, boxes, rng)).collect();
    let mut corrections: Vec<Vec<Click>> = vec![Vec::new(); objects.len()];
    let mut mask_input: Option<Tensor<4>> = None;
    let mut sums = Sums::default();
    let mut total: Option<Tensor<1>> = None;
    for round in 0..rounds {
        let tensors = prompt_tensors(&prompts, &corrections, mask_input.take(), device);
        let embedded = sam.prompt_encoder.forward(tensors, objects.len());
        let output = sam.mask_decoder.forward_all(
            embedding.clone(),
            sam.prompt_encoder.dense_pe(),
            embedded,
            None,
        );
        let logits = output.low_res_logits.clone().without_autodiff();
        let unambiguous = round > 0 || boxes;
        let result = round_loss(output, target.clone(), unambiguous);
        total = Some(match total {
            Some(sum) => sum + result.loss,
            None => result.loss,
        });

        let iou = values(result.true_iou.without_autodiff()); // [B * 3]
        let best: Vec<usize> = iou.chunks_exact(3).map(argmax).collect();
        let sum: f64 =
            iou.chunks_exact(3).zip(&best).map(|(row, &best)| f64::from(row[best])).sum();
        if round == 0 {
            sums.first_iou = sum;
        }
        sums.last_iou = sum;
        if round + 1 < rounds {
            let chosen = best
                .iter()
                .enumerate()
                .map(|(index, &best)| logits.clone().slice([index..index + 1, 1 + best..2 + best]));
            let chosen = Tensor::cat(chosen.collect(), 0); // [B, 1, h, w]
            let predicted: Vec<bool> =
                values(chosen.clone()).into_iter().map(|logit| logit > 0.0).collect();
            for ((mask, predicted), clicks) in
                objects.iter().zip(predicted.chunks_exact(side * side)).zip(&mut corrections)
            {
                clicks.push(prompt_sampling::error_click(mask, predicted, side, rng));
            }
            mask_input = Some(chosen);
        }
    }
    (total.expect("at least one round, checked by the spec"), sums)
}

/// Prompts of one kind as tensors; shorter lists of points are padded.
fn prompt_tensors(
    prompts: &[ObjectPrompt],
    corrections: &[Vec<Click>],
    mask_input: Option<Tensor<4>>,
    device: &Device,
) -> Prompts {
    let plain = device.clone().without_autodiff();
    let clicks: Vec<Vec<Click>> = prompts
        .iter()
        .zip(corrections)
        .map(|(prompt, corrections)| match prompt {
            ObjectPrompt::Points(points) => points.iter().chain(corrections).copied().collect(),
            ObjectPrompt::Box(_) => corrections.clone(),
        })
        .collect();
    let longest = clicks.iter().map(Vec::len).max().unwrap_or(0);
    let points = (longest > 0).then(|| {
        let padding = Click { at: [0.0, 0.0], label: PointLabel::Padding };
        let padded: Vec<Click> = clicks
            .iter()
            .flat_map(|clicks| {
                clicks.iter().copied().chain(std::iter::repeat_n(padding, longest - clicks.len()))
            })
            .collect();
        let coords: Vec<f32> = padded.iter().flat_map(|click| click.at).collect();
        let labels: Vec<i32> = padded.iter().map(|click| click.label.value()).collect();
        let shape = [prompts.len(), longest];
        (
            Tensor::from_data(TensorData::new(coords, [shape[0], shape[1], 2]), &plain),
            Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &plain),
        )
    });
    let boxes: Vec<f32> = prompts
        .iter()
        .filter_map(|prompt| match prompt {
            ObjectPrompt::Box(corners) => Some(*corners),
            ObjectPrompt::Points(_) => None,
        })
        .flatten()
        .collect();
    let boxes = (!boxes.is_empty())
        .then(|| Tensor::from_data(TensorData::new(boxes, [prompts.len(), 4]), &plain));
    Prompts { points, boxes, mask_input }
}

fn argmax(row: &[f32]) -> usize {
    row.iter()
        .enumerate()
        .fold(
            (0, f32::NEG_INFINITY),
            |best, (index, &value)| {
                if value > best.1 { (index, value) } else { best }
            },
        )
        .0
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

fn scalar(tensor: &Tensor<1>) -> f64 {
    values(tensor.clone().without_autodiff()).first().map_or(f64::NAN, |&value| f64::from(value))
}

/// The files of a checkpoint: weights, optimizer, position. The position is written last and names
/// the step of the other two, so a crash in between leaves the former checkpoint in force.
struct Checkpoint {
    folder: PathBuf,
    spec: String,
}

impl Checkpoint {
    fn new(folder: &Path, spec: &PretrainSpec) -> Self {
        Self { folder: folder.to_owned(), spec: format!("{spec:?}") }
    }

    fn position_path(&self) -> PathBuf {
        self.folder.join("position.json")
    }

    fn paths(&self, step: usize) -> [PathBuf; 2] {
        ["sam", "optimizer"].map(|part| self.folder.join(format!("{part}-{step}.bpk")))
    }

    fn restore(
        &self,
        sam: &mut Sam,
        optimizer: &mut ModuleOptimizer,
    ) -> Result<usize, PretrainError> {
        let path = self.position_path();
        let Some(position) = self.position()? else { return Ok(0) };
        if position.spec != self.spec {
            return Err(PretrainError::OtherSpec { path: self.folder.clone() });
        }
        let failed = |message: String| PretrainError::Checkpoint { path: path.clone(), message };
        let [sam_path, optimizer_path] = self.paths(position.step);
        let record = ModuleRecord::load(&sam_path).map_err(|e| failed(e.to_string()))?;
        *sam = sam.clone().load_record(record);
        *optimizer =
            optimizer.clone().load(&optimizer_path).map_err(|error| failed(error.to_string()))?;
        Ok(position.step)
    }

    fn position(&self) -> Result<Option<Position>, PretrainError> {
        let path = self.position_path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| PretrainError::Checkpoint { path, message: error.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PretrainError::Read { path, source }),
        }
    }

    fn save(
        &self,
        step: usize,
        sam: &Sam,
        optimizer: &ModuleOptimizer,
    ) -> Result<(), PretrainError> {
        let former = self.position()?;
        let path = self.position_path();
        let failed = |message: String| PretrainError::Checkpoint { path: path.clone(), message };
        let [sam_path, optimizer_path] = self.paths(step);
        sam.clone().into_record().save(&sam_path).map_err(|error| failed(error.to_string()))?;
        optimizer.save(&optimizer_path).map_err(|error| failed(error.to_string()))?;
        let position = Position { step, spec: self.spec.clone() };
        let bytes = serde_json::to_vec(&position).map_err(|error| failed(error.to_string()))?;
        let temporary = self.folder.join("position.json.new");
        fs::write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| failed(error.to_string()))?;
        if let Some(former) = former.filter(|former| former.step != step) {
            // What is left behind costs disk only.
            for path in self.paths(former.step) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}
