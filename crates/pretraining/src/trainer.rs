//! The training loop: shards of a batch side by side, one optimizer step, a checkpoint now and then.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use bounded_read::MAX_TOML_BYTES;
use burn::{
    grad_clipping::GradientClippingConfig,
    module::Module,
    optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer},
    store::ModuleRecord,
    tensor::{DType, Device},
};
use file_lock::{Lock, LockError};
use file_watchdog::watched;
use rand::RngExt;
use rayon::{ThreadPool, ThreadPoolBuilder};
use sam_backbone::{Sam, SamConfig, save_weights, tensor_hash};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    batch::{self, Batch, PROMPTS, PromptedScene, ROUNDS},
    error::PretrainError,
    schedule::learning_rate,
    spec::PretrainSpec,
    step::{Step, Sums, scalar},
};

/// Batches that the generating thread may be ahead.
const BATCHES_AHEAD: usize = 2;

/// Locked by the process that works in the folder of the checkpoints.
const LOCK_FILE: &str = ".lock";
/// The longest note of a position that is read: a number and a recipe in JSON, which is somewhat longer than in TOML.
const MAX_POSITION_BYTES: u64 = 4 * MAX_TOML_BYTES;

/// How sharply fresh tokens attend to their own places: products then differ by about four units
/// between the same place and a far one.
const ATTENTION_GAIN: f32 = 3.0;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done and the weights are written.
    Finished {
        /// Hash of the weights in single precision, see [`tensor_hash`].
        tensors_sha256: String,
    },
    /// The run was asked to stop; the same call goes on from its checkpoint.
    Interrupted {
        /// Steps done so far.
        step: usize,
        /// Hash of the weights in single precision: two runs of a recipe can be compared by it.
        tensors_sha256: String,
    },
}

/// How far a checkpoint is.
#[derive(Serialize, Deserialize)]
struct Position {
    step: usize,
    /// The recipe of the steps so far: one that would have made other steps must not go on from here.
    recipe: PretrainSpec,
    /// SHA-256 of the checkpoint's files by name. Empty in positions that are older than this field.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The checkpoint before, for the case that this one turns out to be damaged.
    #[serde(default)]
    former: Option<Box<Position>>,
}

/// Pre-trains a backbone, resuming from a checkpoint in `folder` if there is one.
///
/// `stop` is asked before every step, with the number of steps done.
///
/// Scenes and prompts are functions of (seed, step), so an interrupted run sees what an
/// uninterrupted one would have seen. A finished run goes on if its recipe is extended by a stage that
/// begins a cosine of its own; whatever would have changed a step that is done is refused. A checkpoint that has
/// changed on the disk is noticed by its checksum, and the one before is gone on from. One process at a time works in
/// `folder`.
///
/// # Errors
///
/// See [`PretrainError`].
pub fn pretrain(
    spec: &PretrainSpec,
    folder: &Path,
    device: &Device,
    stop: &dyn Fn(usize) -> bool,
    on_step: &mut dyn FnMut(StepReport),
) -> Result<Outcome, PretrainError> {
    fs::create_dir_all(folder)
        .map_err(|source| PretrainError::Folder { path: folder.to_owned(), source })?;
    let _lock = match Lock::take(&folder.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(LockError::Busy { .. }) => {
            return Err(PretrainError::Busy { path: folder.to_owned() });
        }
        Err(LockError::Io { path, source }) => return Err(PretrainError::Lock { path, source }),
    };
    atomic_file::remove_leftovers(folder)
        .map_err(|source| PretrainError::Folder { path: folder.to_owned(), source })?;
    let checkpoint = Checkpoint::new(folder, spec);
    let device = device.clone().autodiff();
    device.seed(spec.seed);
    let position = checkpoint.usable()?;
    let first = position.as_ref().map_or(0, |position| position.step);
    // A checkpoint at the border of two stages is of the former one.
    let mut stage = spec.place(first.saturating_sub(1)).index;
    let mut config = stage_config(spec, stage)?;
    let mut sam = config.init(&device);
    sam.mask_decoder.align_attention(ATTENTION_GAIN);
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(spec.weight_decay)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(spec.max_gradient_norm)))
        .init();
    if first > 0 {
        checkpoint.restore(first, &mut sam, &mut optimizer)?;
    }

    let steps = spec.steps();
    let (sender, batches) = mpsc::sync_channel(BATCHES_AHEAD);
    let recipe = spec.clone();
    let world = thread::spawn(move || {
        for step in first..steps {
            let batch = batch::batch(recipe.seed, recipe.place(step));
            // The receiver is gone when the run ends early.
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    let shards = Shards::new(spec.shards)?;

    for step in first..steps {
        if stop(step) {
            if step > first {
                checkpoint.save(step, &sam, &optimizer)?;
            }
            let tensors_sha256 = tensor_hash(&sam.valid());
            return Ok(Outcome::Interrupted { step, tensors_sha256 });
        }
        let Ok(batch) = batches.recv() else {
            // The world ends early only if it panicked, with a message of its own.
            std::panic::resume_unwind(world.join().expect_err("it sends a batch for every step"));
        };
        let place = spec.place(step);
        let rate = learning_rate(place.cosine_step, spec.warmup_steps, place.progress, place.peak);
        if place.index != stage {
            stage = place.index;
            config = stage_config(spec, stage)?;
            sam = sam.with_image_size(&config);
        }
        let (gradients, sums) = shards.gradients(&sam, &config, spec, step, &batch, &device);
        let loss = sums.loss / spec.shards as f64;
        if !loss.is_finite() {
            return Err(PretrainError::Diverged { step: step + 1, loss });
        }
        sam = optimizer.step(rate, sam, gradients);
        let prompted = (place.stage.batch_size * place.stage.masks_per_image) as f64;
        on_step(StepReport {
            step: step + 1,
            steps,
            loss,
            first_round_iou: sums.first_iou / prompted,
            last_round_iou: sums.last_iou / prompted,
            learning_rate: rate,
        });
        if (step + 1).is_multiple_of(spec.checkpoint_every) || step + 1 == steps {
            checkpoint.save(step + 1, &sam, &optimizer)?;
        }
    }

    if let Some(parent) = spec.output.parent() {
        fs::create_dir_all(parent)
            .map_err(|source| PretrainError::Folder { path: parent.to_owned(), source })?;
    }
    let sam = sam.valid();
    save_weights(&sam, &spec.output, DType::F16, ("recipe", &format!("{spec:?}")))?;
    Ok(Outcome::Finished { tensors_sha256: tensor_hash(&sam) })
}

/// The backbone's sizes with a stage's image size.
fn stage_config(spec: &PretrainSpec, stage: usize) -> Result<SamConfig, PretrainError> {
    let mut config = spec.variant()?.config();
    config.image_encoder.image_size = spec.stages[stage].image_size;
    Ok(config)
}

/// Where the shards of a step are computed: each on one thread, so that they do not wait for each
/// other inside of an operation.
struct Shards {
    pools: Vec<ThreadPool>,
}

impl Shards {
    fn new(count: usize) -> Result<Self, PretrainError> {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..count).map(pool).collect::<Result<_, _>>();
        Ok(Self { pools: pools.map_err(|source| PretrainError::Threads { source })? })
    }

    /// Gradients of a step, summed in the order of the shards, so that the sum does not depend on
    /// which one finishes first.
    fn gradients(
        &self,
        sam: &Sam,
        config: &SamConfig,
        spec: &PretrainSpec,
        step: usize,
        batch: &Batch,
        device: &Device,
    ) -> (GradientsParams, Sums) {
        let per_shard = batch.scenes.len() / spec.shards;
        let place = spec.place(step);
        let step_loss = Step {
            config,
            // Even, so that most steps are cheap; the same for all shards, so that none waits.
            rounds: batch::generator(spec.seed, step, ROUNDS).random_range(1..=spec.rounds),
            stage: place.stage,
            progress: if place.first_cosine { place.progress } else { 1.0 },
            device,
        };
        let shard = |index: usize, scenes: &[PromptedScene], sam: &Sam| {
            let mut rng = batch::generator(spec.seed, step, PROMPTS + index as u64);
            let (loss, mut sums) = step_loss.loss(sam, scenes, &mut rng);
            sums.loss = scalar(&loss);
            let loss = loss.div_scalar(spec.shards as f64);
            (GradientsParams::from_grads(loss.backward(), sam), sums)
        };
        let shards: Vec<(GradientsParams, Sums)> = thread::scope(|scope| {
            let workers: Vec<_> = batch
                .scenes
                .chunks_exact(per_shard)
                .zip(&self.pools)
                .enumerate()
                .map(|(index, (scenes, pool))| {
                    // Leaves of its own for every shard. Shared ones would join the shards' graphs,
                    // and Burn 0.22.1 deadlocks when one thread runs backward on a graph that
                    // another one extends.
                    let sam = sam.clone().fork(device);
                    let shard = &shard;
                    scope.spawn(move || pool.install(|| shard(index, scenes, &sam)))
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
}

/// The files of a checkpoint: weights, optimizer, position. The position is written last and names
/// the step and the checksums of the other two, so a crash in between leaves the former checkpoint in force. The files
/// of the one before stay.
struct Checkpoint {
    folder: PathBuf,
    recipe: PretrainSpec,
}

impl Checkpoint {
    fn new(folder: &Path, spec: &PretrainSpec) -> Self {
        Self { folder: folder.to_owned(), recipe: spec.clone() }
    }

    fn position_path(&self) -> PathBuf {
        self.folder.join("position.json")
    }

    fn names(step: usize) -> [String; 2] {
        ["sam", "optimizer"].map(|part| format!("{part}-{step}.bpk"))
    }

    fn paths(&self, step: usize) -> [PathBuf; 2] {
        Self::names(step).map(|name| self.folder.join(name))
    }

    /// The newest checkpoint whose files are as they were written; `None` if there is none at all.
    ///
    /// # Errors
    ///
    /// If it is of another recipe, or its position cannot be read.
    fn usable(&self) -> Result<Option<Position>, PretrainError> {
        let Some(mut position) = self.position()? else { return Ok(None) };
        loop {
            if !self.recipe.goes_on_from(&position.recipe, position.step) {
                return Err(PretrainError::OtherSpec { path: self.folder.clone() });
            }
            let Err(error) = self.check(&position) else { return Ok(Some(position)) };
            let former = position.former;
            tracing::warn!(
                "the checkpoint of step {} cannot be used, going back to step {}: {error}",
                position.step,
                former.as_ref().map_or(0, |former| former.step)
            );
            let Some(former) = former else { return Ok(None) };
            position = *former;
        }
    }

    fn check(&self, position: &Position) -> Result<(), PretrainError> {
        for path in self.paths(position.step) {
            let sum = file_sha256(&path)
                .map_err(|source| PretrainError::Read { path: path.clone(), source })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(written) = position.files.get(name.as_ref())
                && sum != *written
            {
                let message = "changed since it was written, by its checksum";
                return Err(PretrainError::checkpoint(&path, &message));
            }
        }
        Ok(())
    }

    fn restore(
        &self,
        step: usize,
        sam: &mut Sam,
        optimizer: &mut ModuleOptimizer,
    ) -> Result<(), PretrainError> {
        let [sam_path, optimizer_path] = self.paths(step);
        let record = ModuleRecord::load(&sam_path)
            .map_err(|error| PretrainError::checkpoint(&sam_path, &error))?;
        *sam = sam.clone().load_record(record);
        *optimizer = optimizer
            .clone()
            .load(&optimizer_path)
            .map_err(|error| PretrainError::checkpoint(&optimizer_path, &error))?;
        Ok(())
    }

    fn position(&self) -> Result<Option<Position>, PretrainError> {
        let path = self.position_path();
        match bounded_read::read(&path, MAX_POSITION_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| PretrainError::checkpoint(&path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PretrainError::Read { path, source }),
        }
    }

    fn save(
        &self,
        step: usize,
        sam: &Sam,
        optimizer: &ModuleOptimizer,
    ) -> Result<(), PretrainError> {
        // One of the same step is replaced: after a damaged checkpoint the same step is saved again.
        let former = self.position()?.and_then(|position| {
            if position.step < step {
                Some(position)
            } else {
                position.former.map(|former| *former)
            }
        });
        let [sam_path, optimizer_path] = self.paths(step);
        let mut files = BTreeMap::new();
        let records = [
            (sam_path, sam.clone().into_record().into_bytes()),
            (optimizer_path, optimizer.to_record().into_bytes()),
        ];
        for ((path, bytes), name) in records.into_iter().zip(Self::names(step)) {
            let bytes = bytes.map_err(|error| PretrainError::checkpoint(&path, &error))?;
            write(&path, &bytes)?;
            files.insert(name, sha256(&bytes));
        }
        let before = former.as_ref().map(|former| former.step);
        let position = Position {
            step,
            recipe: self.recipe.clone(),
            files,
            former: former.map(|former| Box::new(Position { former: None, ..former })),
        };
        let path = self.position_path();
        let bytes = serde_json::to_vec(&position)
            .map_err(|error| PretrainError::checkpoint(&path, &error))?;
        write(&path, &bytes)?;
        self.keep([Some(step), before]);
        Ok(())
    }

    /// Removes the files of all other steps.
    fn keep(&self, steps: [Option<usize>; 2]) {
        let kept: Vec<String> = steps.into_iter().flatten().flat_map(Self::names).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if step_of(&name).is_some() && !kept.contains(&name) {
                // What is left behind costs disk only.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The step that a file of a checkpoint is of, `None` for any other name.
fn step_of(name: &str) -> Option<usize> {
    let (_, step) = name.strip_suffix(".bpk")?.rsplit_once('-')?;
    let step = step.parse().ok()?;
    Checkpoint::names(step).iter().any(|ours| ours == name).then_some(step)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PretrainError> {
    atomic_file::write(path, bytes)
        .map_err(|source| PretrainError::Write { path: path.to_owned(), source })
}

/// The checksum of a file of any length, read in pieces.
fn file_sha256(path: &Path) -> io::Result<String> {
    // Before it is opened: to open a pipe is to wait for somebody who writes.
    if !watched(path, || fs::metadata(path))?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = watched(path, || File::open(path))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match watched(path, || file.read(&mut piece))? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
