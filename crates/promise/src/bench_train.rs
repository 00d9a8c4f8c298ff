//! What a training step costs, and what it costs the published way: encoder in every step, PyTorch.
//!
//! Our steps are timed by themselves, with their batches read from the feature cache meanwhile, as a training has it. Then
//! they take turns with PyTorch's, each on the same batch in memory, so that whatever else the machine does meets both.
//!
//! Sizes are the paper's: ViT-B at 1024 pixels, taps 6, 9, 12, ResNet-34, 16 points, batch 8. Weights
//! are those of [`encode_check`](crate::encode_check), which are random: nothing here depends on what they are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use apm::Apm;
use burn::{
    data::dataloader::DataLoader,
    optim::ModuleOptimizer,
    tensor::{Device, Tensor},
    train::TrainStep,
};
use data_loaders::{Catalog, DataError, DataSet, augment::View};
use feature_cache::{CacheError, FeatureCache, Precision};
use safetensors::{Dtype, tensor::TensorView};
use sam_backbone::{EncoderPrecision, ResizeMode, input_tensor};
use serde::{Deserialize, Serialize};

use crate::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    encode_check::Bounds,
    environment::{device_and_model, forget_peak_memory, peak_memory_mib},
    feature_store::FeatureStore,
    features::{EncodeError, EncodedSet, Encoding},
    learner::Batch,
    loader::{Batching, FeatureLoader},
    memory::Reading,
    model::{Adapter as _, BuildError, Promise},
    peers::{
        Arithmetic, DisagreeError, Disagreement, PairedTimes, PeerError, Side, WaitingPeer, turns,
    },
    plan::{Experiment, SpecError},
    progress::Progress,
    scratch::empty_folder,
    spread::{extremes, listed, median},
    train::adam,
    viewed_set::ViewedSet,
};

/// Images in a step, as published.
pub const BATCH_SIZE: usize = 8;

/// What is timed, and how often, after one time that is not counted.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// Images in a step.
    pub batch_size: usize,
    /// Encodings of one image.
    pub encodes: usize,
    /// Training steps, and pairs of steps with the peer.
    pub steps: usize,
}

/// Seconds of one implementation.
#[derive(Debug, Clone, Serialize)]
pub struct StepTimes {
    /// Each timed encoding of one image.
    pub encode_secs: Vec<f64>,
    /// Each timed step on features that are there: forward, backward, Adam.
    pub step_secs: Vec<f64>,
    /// Loss of every step, the first one included.
    pub losses: Vec<f64>,
    /// Peak resident memory in MiB while images were encoded, weights included.
    pub encode_peak_rss_mib: f64,
    /// The same of the steps. The weights of the frozen encoder, which no step runs, are in memory and count.
    pub step_peak_rss_mib: f64,
    /// Whether these are peaks of that alone, which takes a system that can forget a former peak (Linux); what an allocator
    /// keeps of former work counts all the same. Elsewhere they count all that the process did before: reading weights
    /// and, in this program, encoding before the steps.
    pub peaks_alone: bool,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct TrainBench {
    /// Where tensors lived, with the model of a GPU.
    pub device: String,
    /// In which numbers the image encoder computed; a peer's training step, too.
    pub precision: EncoderPrecision,
    /// Images in a step.
    pub batch_size: usize,
    /// Threads of each implementation.
    pub threads: usize,
    /// This program.
    pub ours: StepTimes,
    /// Seconds that a step waited for its batch, which another thread reads meanwhile.
    pub wait_secs: Vec<f64>,
    /// Seconds of reading a batch from the feature cache with nothing else to do.
    pub read_secs: Vec<f64>,
    /// Relative difference between the losses of stored features and of those that were not rounded.
    pub rounding_loss_difference: f64,
    /// Seconds an image in the first epoch, when it goes through the encoder.
    pub first_epoch_secs_per_image: f64,
    /// Seconds an image in all epochs after it.
    pub cached_epoch_secs_per_image: f64,
    /// A step of the peer's over ours, features given, by peer: the median over pairs.
    pub ratio: BTreeMap<&'static str, f64>,
    /// The least and the largest ratio of a pair.
    pub spread: BTreeMap<&'static str, [f64; 2]>,
    /// PyTorch, if it was asked for.
    pub peer: Option<Peer>,
}

/// The peer's name where peers have one.
const PYTORCH: &str = "pytorch";

/// PyTorch, and how we compare with it.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    /// Version of PyTorch.
    pub torch: String,
    /// Its times; the steps are those of the pairs.
    pub times: StepTimes,
    /// Our step of each pair.
    pub our_step_secs: Vec<f64>,
    /// Seconds an image in every epoch of the published way.
    pub published_epoch_secs_per_image: f64,
    /// Published epoch over our cached epoch, of the medians.
    pub epoch_ratio: f64,
    /// The same of their fastest over our slowest times, and of their slowest over our fastest.
    pub epoch_ratio_range: [f64; 2],
    /// Their step over ours, features given: the median over pairs, as in [`TrainBench::ratio`].
    pub step_ratio: f64,
    /// How far the next two may be from zero.
    pub loss_bound: f64,
    /// Relative difference of the first loss: both compute the same.
    pub loss_difference: f64,
    /// The same of the loss that both compute with *our* adapters before the last step: what we learned, they read as
    /// we do.
    pub later_loss_difference: f64,
    /// The same of the last losses of both trainings. Adam's steps are signs as long as gradients are new, and those
    /// of the smallest gradients are decided by rounding, in PyTorch as here, so trainings part.
    pub last_loss_difference: f64,
}

/// How far apart, relatively, the losses of the same features and adapters may be.
///
/// In `f32` on a CPU both differ in the order of their sums only: 7.1e-8 at most was measured, about the last bit. The
/// bound is that of an embedding; a layout, a norm's statistics or a term of the loss that is not the same moves the loss by
/// a hundredth and more. Elsewhere there is nothing better than the bound of logits, of which the loss is a mean: products
/// are of TF32 on a GPU, and in halves the peer's step is of halves where ours is not.
const fn loss_bound(arithmetic: Arithmetic) -> f64 {
    match (arithmetic.device, arithmetic.precision) {
        (DeviceKind::Flex, EncoderPrecision::F32) => Bounds::of_peer(arithmetic).embedding,
        _ => Bounds::of_peer(arithmetic).logits,
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// PyTorch could not be run, or ended early.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The weights do not load.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The device cannot be had, or fails.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The images cannot be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The images cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The experiment below is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The adapters cannot be built or written.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A file cannot be written or removed.
    #[error("cannot write or remove {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A batch cannot be made.
    #[error("cannot make a batch: {0}")]
    Batch(String),
}

/// Our adapters before the last step.
const LATER: &str = "adapters-later.safetensors";

/// The paper's sizes on images that need no download.
const EXPERIMENT: &str = r#"
name = "bench"

[backbone]
variant = "vit_b"

[data]
train = ["phantom"]
test = ["phantom"]

[prompt]
module = "apm"

[shift]
module = "ips"

[train]
epochs = 1
batch_size = 8
learning_rate = 1e-5

[evaluate]
prompts = ["auto"]
"#;

/// Times encoder and training step, ours and with `python` also PyTorch's on the same weights and
/// features.
///
/// - `weights`: a ViT-B checkpoint
/// - `folder`: for adapters, batch and a feature cache of its own, which are replaced
///
/// # Errors
///
/// See [`BenchError`].
pub fn bench_train(
    workspace: &Path,
    weights: &Path,
    folder: &Path,
    python: Option<&Path>,
    repeats: Amounts,
    arithmetic: Arithmetic,
    progress: &dyn Progress,
) -> Result<TrainBench, BenchError> {
    let device = &arithmetic.device.device()?;
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| BenchError::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(write(folder))?;
    let file = folder.join("bench.toml");
    fs::write(&file, EXPERIMENT).map_err(write(&file))?;
    let given = format!("backbone.weights={}", toml::Value::from(weights.display().to_string()));
    let batch_size = format!("train.batch_size={}", repeats.batch_size);
    let precision = format!("backbone.precision=\"{}\"", arithmetic.precision);
    let experiment = Experiment::load(&file, &[given, batch_size, precision])?;
    let plan = &experiment.runs[0];
    let (batch_size, rate) = (plan.spec.train.batch_size, plan.spec.train.learning_rate);
    let threads = rayon::current_num_threads();

    let backbone = Backbone::of(&plan.spec.backbone, device)?;
    let autodiff = device.clone().autodiff();
    let model = Promise::<Apm>::new(plan, &backbone, &autodiff)?;
    let taps = model.needed_taps();

    // One image by itself, as the published way has it in every step.
    let data = DataSet::open("phantom", "train", None, &Catalog::built_in())?.limit(batch_size);
    let size = backbone.sam.config().image_encoder.image_size;
    let image = data.load(0)?.image;
    let frame = crate::frame::frame_of(&image, ResizeMode::Plain, size);
    let input = input_tensor(&image, &frame, device);
    progress.start("encode one image", 1 + repeats.encodes as u64);
    let mut encode_secs = Vec::with_capacity(1 + repeats.encodes);
    let encode_peak_alone = forget_peak_memory();
    for done in 0..=repeats.encodes {
        progress.set(done as u64);
        let start = Instant::now();
        floats(backbone.sam.encode(input.clone(), &taps).image_embedding);
        encode_secs.push(start.elapsed().as_secs_f64());
    }
    let encode_peak_rss_mib = peak_memory_mib().unwrap_or(f64::NAN);

    // Their key below names neither the device nor its numbers: what is there may have been computed otherwise.
    let cache_folder = folder.join("cache");
    empty_folder(&cache_folder).map_err(write(&cache_folder))?;
    let cache = FeatureCache::open(&cache_folder, u64::MAX)?;
    let store = FeatureStore::new(cache, Precision::F16, &backbone.sam, backbone.variant.name());
    let encoding = Encoding {
        sam: backbone.sam.clone(),
        taps: taps.clone(),
        resize: ResizeMode::Plain,
        view: View::IDENTITY,
        store: Some(Arc::new(store.must_store())),
        reading: Reading::default(),
    };
    let batches = |encoding: Encoding, memory: u64, steps: usize| -> Result<_, BenchError> {
        let stop = AtomicBool::new(false);
        let set = EncodedSet::new(encoding, data.clone(), true, Some(memory), progress, &stop)?;
        let batching = Batching {
            batch_size,
            seed: plan.seed,
            shuffle: false,
            taps: taps.clone(),
            image: false,
            oracle_points: None,
            augmentation: None,
            workers: rayon::current_num_threads(),
        };
        // The same images in every batch.
        let places: Vec<usize> = (0..steps).flat_map(|_| 0..batch_size).collect();
        let set = Arc::new(ViewedSet::of(Arc::new(set)));
        Ok(FeatureLoader::over(places, set, batching, 0, &autodiff))
    };
    let one = |loader: &dyn DataLoader<Batch>| match loader.iter().next() {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(BenchError::Batch(error.to_string())),
        None => Err(BenchError::Batch("the set is empty".into())),
    };
    // Nothing in memory: every batch comes from the disk cache.
    let loader = batches(encoding.clone(), 0, 1 + repeats.steps)?;

    model.save(&folder.join("adapters.safetensors"))?;
    let kind = arithmetic.device;
    let mut training = Training { model, optimizer: adam(), rate, kind, device };
    let (mut wait_secs, mut step_secs, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    progress.start("train", 1 + repeats.steps as u64);
    let step_peak_alone = forget_peak_memory();
    let mut waiting = Instant::now();
    for batch in loader.iter() {
        let batch = batch.map_err(|error| BenchError::Batch(error.to_string()))?;
        wait_secs.push(waiting.elapsed().as_secs_f64());
        if step_secs.len() == repeats.steps {
            training.model.save(&folder.join(LATER))?;
        }
        let step;
        (training, step) = training.step(batch)?;
        losses.push(step.loss);
        step_secs.push(step.secs);
        progress.set(step_secs.len() as u64);
        waiting = Instant::now();
    }
    let step_peak_rss_mib = peak_memory_mib().unwrap_or(f64::NAN);
    let first = loader.slice(0, batch_size);
    let mut read_secs = Vec::with_capacity(1 + repeats.steps);
    for _ in 0..=repeats.steps {
        let start = Instant::now();
        one(first.as_ref())?;
        read_secs.push(start.elapsed().as_secs_f64());
    }
    progress.finish();
    let unrounded = batches(Encoding { store: None, ..encoding }, u64::MAX, 1)?;
    let [unrounded_loss, rounded_loss] = [one(&unrounded)?, one(first.as_ref())?]
        .map(|batch| TrainStep::step(&training.model, batch).item.loss);
    // The first of each is warm-up.
    let [encode_secs, step_secs, wait_secs, read_secs] =
        [encode_secs, step_secs, wait_secs, read_secs].map(|secs: Vec<f64>| secs[1..].to_vec());
    let ours = StepTimes {
        encode_secs,
        step_secs,
        losses,
        encode_peak_rss_mib,
        step_peak_rss_mib,
        peaks_alone: encode_peak_alone && step_peak_alone,
    };
    let per_image = |secs: f64| secs / batch_size as f64;
    let cached = per_image(median(&ours.step_secs) + median(&wait_secs));
    let mut bench = TrainBench {
        device: device_and_model(arithmetic.device),
        precision: arithmetic.precision,
        batch_size,
        threads,
        first_epoch_secs_per_image: median(&ours.encode_secs) + per_image(median(&ours.step_secs)),
        cached_epoch_secs_per_image: cached,
        rounding_loss_difference: (unrounded_loss - rounded_loss).abs() / unrounded_loss.abs(),
        ours,
        wait_secs,
        read_secs,
        ratio: BTreeMap::new(),
        spread: BTreeMap::new(),
        peer: None,
    };
    if let Some(python) = python {
        let batch = one(first.as_ref())?;
        write_batch(&folder.join("batch.safetensors"), &input, &batch)?;
        // The peer may take many times as long, and be given up.
        progress.milestone(&format!(
            "ours: {:.3} s an image to encode, {:.3} s a step of {batch_size}",
            median(&bench.ours.encode_secs),
            median(&bench.ours.step_secs),
        ));
        let command = |part: &str| {
            let mut command = Command::new(python);
            command
                .arg(workspace.join("tools/peers/train_step.py"))
                .args(["--part", part, "--weights"])
                .arg(weights)
                .arg("--folder")
                .arg(folder)
                .args(["--later", LATER])
                .args(["--threads", &threads.to_string()])
                .args(["--learning-rate", &rate.to_string()])
                .args(arithmetic.arguments());
            command
        };

        let log = |part: &str| folder.join(format!("train-{part}.log"));
        let steps = pair_steps(training, &batch, command("step"), log("step"), repeats, progress)?;
        let encodes = encode_times(command("encoder"), log("encoder"), repeats, progress)?;
        progress.finish();
        bench.compare(steps, encodes, loss_bound(arithmetic));
    }
    Ok(bench)
}

/// A training that goes on step by step.
struct Training<'a> {
    model: Promise<Apm>,
    optimizer: ModuleOptimizer,
    rate: f64,
    kind: DeviceKind,
    device: &'a Device,
}

/// What a step took, and the loss before it.
struct Step {
    secs: f64,
    loss: f64,
}

impl Training<'_> {
    fn step(mut self, batch: Batch) -> Result<(Self, Step), DeviceError> {
        let start = Instant::now();
        let output = TrainStep::step(&self.model, batch);
        self.model = self.optimizer.step(self.rate, self.model, output.grads);
        // Adam's work is done, not only asked for.
        self.kind.finish(self.device)?;
        let step = Step { secs: start.elapsed().as_secs_f64(), loss: output.item.loss };
        Ok((self, step))
    }
}

/// A peer's steps, and ours beside them.
struct PairedSteps {
    torch: String,
    pairs: PairedTimes,
    end: StepsEnd,
}

/// Lets a training of ours and one of PyTorch's take turns, on the same batch.
fn pair_steps(
    mut training: Training<'_>,
    batch: &Batch,
    command: Command,
    log: PathBuf,
    repeats: Amounts,
    progress: &dyn Progress,
) -> Result<PairedSteps, BenchError> {
    progress.start("steps in turns with PyTorch", repeats.steps as u64);
    let (mut peer, Ready { torch }) = WaitingPeer::start(command, log)?;
    let mut pairs = PairedTimes::default();
    for (done, side) in turns(repeats.steps).enumerate() {
        progress.set(done as u64 / 2);
        match side {
            Side::Ours => {
                let step;
                (training, step) = training.step(batch.clone())?;
                pairs.our_secs.push(step.secs);
            }
            Side::Theirs => pairs.secs.push(peer.work()?),
        }
    }
    Ok(PairedSteps { torch, pairs, end: peer.end()? })
}

/// A peer's encodings of an image.
struct Encodes {
    secs: Vec<f64>,
    end: EncodesEnd,
}

/// Times PyTorch's encoder.
fn encode_times(
    command: Command,
    log: PathBuf,
    repeats: Amounts,
    progress: &dyn Progress,
) -> Result<Encodes, BenchError> {
    progress.start("PyTorch's encoder", repeats.encodes as u64);
    let (mut peer, Ready { .. }) = WaitingPeer::start(command, log)?;
    let mut secs = Vec::with_capacity(repeats.encodes);
    for done in 0..repeats.encodes {
        progress.set(done as u64);
        secs.push(peer.work()?);
    }
    Ok(Encodes { secs, end: peer.end()? })
}

impl TrainBench {
    /// Puts a peer beside ours.
    fn compare(&mut self, steps: PairedSteps, encodes: Encodes, loss_bound: f64) {
        let per_image = |secs: f64| secs / self.batch_size as f64;
        let PairedSteps { torch, pairs, end } = steps;
        let StepsEnd { losses, later_loss, peak_rss_mib, peak_alone } = end;
        let Encodes { secs: encode_secs, end: encode_end } = encodes;
        let published = median(&encode_secs) + per_image(median(&pairs.secs));
        let first = |losses: &[f64]| losses.first().copied().unwrap_or(f64::NAN);
        let last = |losses: &[f64]| losses.last().copied().unwrap_or(f64::NAN);
        let apart = |theirs: f64, ours: f64| (theirs - ours).abs() / theirs.abs();
        let [theirs_least, theirs_most] =
            [0, 1].map(|end| extremes(&encode_secs)[end] + per_image(extremes(&pairs.secs)[end]));
        let [ours_least, ours_most] = [0, 1].map(|end| {
            per_image(extremes(&self.ours.step_secs)[end] + extremes(&self.wait_secs)[end])
        });
        self.ratio.insert(PYTORCH, pairs.ratio());
        self.spread.insert(PYTORCH, pairs.spread());
        self.peer = Some(Peer {
            torch,
            published_epoch_secs_per_image: published,
            epoch_ratio: published / self.cached_epoch_secs_per_image,
            epoch_ratio_range: [theirs_least / ours_most, theirs_most / ours_least],
            step_ratio: pairs.ratio(),
            loss_bound,
            loss_difference: apart(first(&losses), first(&self.ours.losses)),
            later_loss_difference: apart(later_loss, last(&self.ours.losses)),
            last_loss_difference: apart(last(&losses), last(&self.ours.losses)),
            times: StepTimes {
                encode_secs,
                step_secs: pairs.secs,
                losses,
                encode_peak_rss_mib: encode_end.peak_rss_mib,
                step_peak_rss_mib: peak_rss_mib,
                peaks_alone: encode_end.peak_alone && peak_alone,
            },
            our_step_secs: pairs.our_secs,
        });
    }

    /// Whether the peer, if there is one, computes the same losses but for rounding.
    ///
    /// # Errors
    ///
    /// [`DisagreeError`] with those that are not.
    pub fn agreement(&self) -> Result<(), DisagreeError> {
        let Some(peer) = &self.peer else { return Ok(()) };
        let of =
            |what, difference| Disagreement::beyond(PYTORCH, what, difference, peer.loss_bound);
        DisagreeError::of([
            of("the first loss", peer.loss_difference),
            of("the loss with our adapters before the last step", peer.later_loss_difference),
        ])
    }

    /// The times as a Markdown table, and how the peer compares.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "A training step of APM + IPS in the paper's sizes, batch {}, {}, encoder in {}, {} threads\n\n\
             | epoch | seconds an image |\n| --- | ---: |\n\
             | ours, first | {:.3} |\n| ours, features stored | {:.3} |\n",
            self.batch_size,
            self.device,
            self.precision,
            self.threads,
            self.first_epoch_secs_per_image,
            self.cached_epoch_secs_per_image,
        );
        if let Some(peer) = &self.peer {
            let [low, high] = peer.epoch_ratio_range;
            let [least, largest] = self.spread[PYTORCH];
            let of = match self.ours.peaks_alone && peer.times.peaks_alone {
                true => "of the steps",
                false => "of the processes that took the steps",
            };
            text += &format!(
                "| PyTorch {}, encoder in every step | {:.3} |\n\n\
                 ratio of the last two: {:.1}, from {low:.1} to {high:.1}\n\
                 their step over ours, features given, median of {} pairs: {:.2} [{least:.2}, {largest:.2}]\n\
                 peak memory {of} in MiB: ours {:.0}, theirs {:.0}\n\
                 relative difference of the first loss: {:.1e} (bound {:.0e})\n\
                 with our adapters before the last step: {:.1e} (bound {:.0e})\n\
                 of the last loss of both trainings: {:.1e}\n",
                peer.torch,
                peer.published_epoch_secs_per_image,
                peer.epoch_ratio,
                peer.our_step_secs.len(),
                self.ratio[PYTORCH],
                self.ours.step_peak_rss_mib,
                peer.times.step_peak_rss_mib,
                peer.loss_difference,
                peer.loss_bound,
                peer.later_loss_difference,
                peer.loss_bound,
                peer.last_loss_difference,
            );
        }
        text += &format!(
            "\nseconds that a step waited for its batch: {}\n\
             seconds of reading a batch alone: {}\n\
             relative difference of the loss by rounding features: {:.1e}\n",
            listed(&self.wait_secs, 3),
            listed(&self.read_secs, 3),
            self.rounding_loss_difference,
        );
        text
    }
}

/// What `train_step.py` says when it is ready.
#[derive(Deserialize)]
struct Ready {
    torch: String,
}

/// What it says after steps.
#[derive(Deserialize)]
struct StepsEnd {
    losses: Vec<f64>,
    later_loss: f64,
    peak_rss_mib: f64,
    peak_alone: bool,
}

/// What it says after encodings.
#[derive(Deserialize)]
struct EncodesEnd {
    peak_rss_mib: f64,
    peak_alone: bool,
}

/// The batch as PyTorch reads it: joined taps, deepest first.
fn write_batch(path: &Path, image: &Tensor<4>, batch: &Batch) -> Result<(), BenchError> {
    let taps = Tensor::cat(batch.block_features.clone(), 1);
    let tensors = [
        ("image", image.clone()),
        ("taps", taps),
        ("image_embedding", batch.image_embedding.clone()),
        ("target", batch.target.clone()),
    ]
    .map(|(name, tensor)| {
        let shape = tensor.dims().to_vec();
        let bytes: Vec<u8> = floats(tensor).iter().flat_map(|value| value.to_le_bytes()).collect();
        (name, shape, bytes)
    });
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
                .expect("as many bytes as the shape says");
            (*name, view)
        })
        .collect();
    safetensors::serialize_to_file(views, None, path).map_err(|error| BenchError::Write {
        path: path.to_owned(),
        source: io::Error::other(error),
    })
}

fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experiment_is_valid_and_has_the_papers_sizes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bench.toml");
        fs::write(&file, EXPERIMENT).expect("written");
        let given = ["backbone.weights=x.safetensors".to_owned()];
        let experiment = Experiment::load(&file, &given).expect("valid");
        let info = crate::backbone::info(&sam_backbone::Variant::VitB.config());
        let plan = &experiment.runs[0];
        let taps = (crate::registry::find("apm").expect("registered").taps)(plan, &info);
        assert_eq!(taps.expect("it fits"), [11, 8, 5]);
        assert_eq!(plan.spec.train.batch_size, BATCH_SIZE);
    }

    fn bench() -> TrainBench {
        TrainBench {
            device: "flex".into(),
            precision: EncoderPrecision::F32,
            batch_size: 8,
            threads: 2,
            ours: StepTimes {
                encode_secs: vec![5.0],
                step_secs: vec![4.0, 3.0, 8.0],
                losses: vec![0.5, 0.25],
                encode_peak_rss_mib: 900.0,
                step_peak_rss_mib: 2500.0,
                peaks_alone: true,
            },
            wait_secs: vec![0.0625, 0.125],
            read_secs: vec![0.5],
            rounding_loss_difference: 1e-6,
            first_epoch_secs_per_image: 6.5,
            cached_epoch_secs_per_image: 0.5,
            ratio: BTreeMap::new(),
            spread: BTreeMap::new(),
            peer: None,
        }
    }

    /// With a peer of these losses.
    fn compared(losses: Vec<f64>, later_loss: f64) -> TrainBench {
        let mut bench = bench();
        let steps = PairedSteps {
            torch: "2.0".into(),
            pairs: PairedTimes { secs: vec![2.0, 6.0, 3.0], our_secs: vec![4.0, 4.0, 4.0] },
            end: StepsEnd { losses, later_loss, peak_rss_mib: 3500.0, peak_alone: true },
        };
        let encodes = Encodes {
            secs: vec![6.0, 5.625],
            end: EncodesEnd { peak_rss_mib: 1000.0, peak_alone: true },
        };
        bench.compare(steps, encodes, loss_bound(Arithmetic::default()));
        bench
    }

    #[test]
    fn the_text_says_who_takes_how_long() {
        let text = bench().markdown();
        assert!(text.contains("| ours, features stored | 0.500 |\n"), "{text}");
        assert!(text.contains("waited for its batch: 0.062, 0.125\n"), "{text}");
        assert!(!text.contains("PyTorch"), "{text}");
        // An epoch takes them 5.8125 s to encode an image and an eighth of a step of 3 s; 6.1875 of 0.5.
        let mut bench = compared(vec![0.500_000_1, 0.250_01], 0.25);
        let text = bench.markdown();
        for line in [
            "| PyTorch 2.0, encoder in every step | 6.188 |",
            "ratio of the last two: 12.4, from 5.8 to 17.6",
            "their step over ours, features given, median of 3 pairs: 0.75 [0.50, 1.50]",
            "peak memory of the steps in MiB: ours 2500, theirs 3500",
            "relative difference of the first loss: 2.0e-7 (bound 1e-5)",
            "with our adapters before the last step: 0.0e0 (bound 1e-5)",
            "of the last loss of both trainings: 4.0e-5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        bench.ours.peaks_alone = false;
        let text = bench.markdown();
        assert!(text.contains("peak memory of the processes that took the steps in MiB"), "{text}");
    }

    #[test]
    fn the_ratio_of_steps_is_in_the_document_under_the_peers_name() {
        let document = serde_json::to_value(compared(vec![0.5, 0.25], 0.25)).expect("JSON");
        assert_eq!(document["ratio"], serde_json::json!({"pytorch": 0.75}));
        assert_eq!(document["spread"], serde_json::json!({"pytorch": [0.5, 1.5]}));
        assert_eq!(document["peer"]["step_ratio"], 0.75);
        assert_eq!(document["peer"]["times"]["step_peak_rss_mib"], 3500.0);
    }

    #[test]
    fn losses_beyond_their_bound_are_no_agreement() {
        assert_eq!(bench().agreement(), Ok(()));
        // Trainings part: the last losses are not compared.
        assert_eq!(compared(vec![0.500_000_1, 0.5], 0.25).agreement(), Ok(()));
        let error = compared(vec![0.625, 0.25], 0.25).agreement().expect_err("a fifth").to_string();
        let first =
            "results do not agree: pytorch: the first loss is off by 2.0e-1, expected at most 1e-5";
        assert_eq!(error, first);
        let DisagreeError(found) =
            compared(vec![], 0.5).agreement().expect_err("no loss, and another");
        assert_eq!(found.len(), 2);
        assert!(found[0].difference.is_nan());
        assert_eq!(found[1].what, "the loss with our adapters before the last step");
    }
}
