//! What a training step costs, and what it costs the published way: encoder in every step, PyTorch.
//!
//! Sizes are the paper's: ViT-B at 1024 pixels, taps 6, 9, 12, ResNet-34, 16 points, batch 8. Weights
//! are those of [`encode_check`](crate::encode_check), which are random: nothing here depends on what they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use apm::Apm;
use burn::{
    data::dataloader::DataLoader, optim::GradientsParams, tensor::Tensor, train::TrainStep,
};
use data_loaders::{Catalog, DataError, DataSet, augment::View};
use feature_cache::{CacheError, FeatureCache, Precision};
use safetensors::{Dtype, tensor::TensorView};
use sam_backbone::{EncoderPrecision, ResizeMode, input_tensor};
use serde::{Deserialize, Serialize};

use crate::{
    backbone::{Backbone, BackboneError},
    device::DeviceError,
    environment::{device_and_model, peak_memory_mib},
    feature_store::FeatureStore,
    features::{EncodeError, EncodedSet, Encoding},
    learner::Batch,
    loader::{Batching, FeatureLoader},
    memory::Reading,
    model::{Adapter as _, BuildError, Promise},
    peers::{Arithmetic, PeerError, call},
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
    /// Training steps.
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
    /// Peak resident memory of the process in MiB.
    pub peak_rss_mib: f64,
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
    /// PyTorch, if it was asked for.
    pub peer: Option<Peer>,
}

/// PyTorch, and how we compare with it.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    /// Version of PyTorch.
    pub torch: String,
    /// Its times.
    pub times: StepTimes,
    /// Seconds an image in every epoch of the published way.
    pub published_epoch_secs_per_image: f64,
    /// Published epoch over our cached epoch, of the medians.
    pub epoch_ratio: f64,
    /// The same of their fastest over our slowest times, and of their slowest over our fastest.
    pub epoch_ratio_range: [f64; 2],
    /// Their step over ours, features given.
    pub step_ratio: f64,
    /// Relative difference of the first loss: both compute the same.
    pub loss_difference: f64,
    /// The same of the loss that both compute with *our* adapters before the last step: what we learned, they read as
    /// we do.
    pub later_loss_difference: f64,
    /// The same of the last losses of both trainings. Adam's steps are signs as long as gradients are new, and those
    /// of the smallest gradients are decided by rounding, in PyTorch as here, so trainings part.
    pub last_loss_difference: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// PyTorch could not be run.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// PyTorch printed something else than expected.
    #[error("cannot read the peer's report: {0}")]
    Report(#[from] serde_json::Error),
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
        source: std::io::Error,
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
    let mut model = Promise::<Apm>::new(plan, &backbone, &autodiff)?;
    let taps = model.needed_taps();

    // One image by itself, as the published way has it in every step.
    let data = DataSet::open("phantom", "train", None, &Catalog::built_in())?.limit(batch_size);
    let size = backbone.sam.config().image_encoder.image_size;
    let image = data.load(0)?.image;
    let frame = crate::frame::frame_of(&image, ResizeMode::Plain, size);
    let input = input_tensor(&image, &frame, device);
    progress.start("encode one image", 1 + repeats.encodes as u64);
    let mut encode_secs = Vec::with_capacity(1 + repeats.encodes);
    for done in 0..=repeats.encodes {
        progress.set(done as u64);
        let start = Instant::now();
        floats(backbone.sam.encode(input.clone(), &taps).image_embedding);
        encode_secs.push(start.elapsed().as_secs_f64());
    }

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
    let mut optimizer = adam();
    let (mut wait_secs, mut step_secs, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    progress.start("train", 1 + repeats.steps as u64);
    let mut waiting = Instant::now();
    for batch in loader.iter() {
        let batch = batch.map_err(|error| BenchError::Batch(error.to_string()))?;
        wait_secs.push(waiting.elapsed().as_secs_f64());
        if step_secs.len() == repeats.steps {
            model.save(&folder.join(LATER))?;
        }
        let start = Instant::now();
        let output = TrainStep::step(&model, batch);
        let gradients: GradientsParams = output.grads;
        model = optimizer.step(rate, model, gradients);
        losses.push(output.item.loss);
        // Adam's work is done, not only asked for.
        arithmetic.device.finish(device)?;
        step_secs.push(start.elapsed().as_secs_f64());
        progress.set(step_secs.len() as u64);
        waiting = Instant::now();
    }
    let first = loader.slice(0, batch_size);
    let mut read_secs = Vec::with_capacity(1 + repeats.steps);
    for _ in 0..=repeats.steps {
        let start = Instant::now();
        one(first.as_ref())?;
        read_secs.push(start.elapsed().as_secs_f64());
    }
    progress.finish();
    let peak_rss_mib = peak_memory_mib().unwrap_or(f64::NAN);
    let unrounded = batches(Encoding { store: None, ..encoding }, u64::MAX, 1)?;
    let [unrounded_loss, rounded_loss] = [one(&unrounded)?, one(first.as_ref())?]
        .map(|batch| TrainStep::step(&model, batch).item.loss);
    // The first of each is warm-up.
    let [encode_secs, step_secs, wait_secs, read_secs] =
        [encode_secs, step_secs, wait_secs, read_secs].map(|secs: Vec<f64>| secs[1..].to_vec());
    let ours = StepTimes { losses, peak_rss_mib, encode_secs, step_secs };
    let per_image = |secs: f64| secs / batch_size as f64;
    let cached = per_image(median(&ours.step_secs) + median(&wait_secs));
    let peer = match python {
        None => None,
        Some(python) => {
            write_batch(&folder.join("batch.safetensors"), &input, &one(first.as_ref())?)?;
            // The peer may take many times as long, and be given up.
            progress.milestone(&format!(
                "ours: {:.3} s an image to encode, {:.3} s a step of {batch_size}",
                median(&ours.encode_secs),
                median(&ours.step_secs),
            ));
            progress.start("PyTorch", 1);
            let report = call(
                Command::new(python)
                    .arg(workspace.join("tools/peers/train_step.py"))
                    .arg("--weights")
                    .arg(weights)
                    .arg("--folder")
                    .arg(folder)
                    .args(["--later", LATER])
                    .args(["--threads", &threads.to_string()])
                    .args(["--encodes", &repeats.encodes.to_string()])
                    .args(["--steps", &repeats.steps.to_string()])
                    .args(["--learning-rate", &rate.to_string()])
                    .args(arithmetic.arguments()),
            )?;
            progress.finish();
            let PeerReport { torch, losses, later_loss, encode_secs, step_secs, peak_rss_mib } =
                serde_json::from_str(&report)?;
            let published = median(&encode_secs) + per_image(median(&step_secs));
            let first = |losses: &[f64]| losses.first().copied().unwrap_or(f64::NAN);
            let last = |losses: &[f64]| losses.last().copied().unwrap_or(f64::NAN);
            let apart = |theirs: f64, ours: f64| (theirs - ours).abs() / theirs.abs();
            let [theirs_least, theirs_most] = [0, 1]
                .map(|end| extremes(&encode_secs)[end] + per_image(extremes(&step_secs)[end]));
            let [ours_least, ours_most] = [0, 1]
                .map(|end| per_image(extremes(&ours.step_secs)[end] + extremes(&wait_secs)[end]));
            Some(Peer {
                torch,
                published_epoch_secs_per_image: published,
                epoch_ratio: published / cached,
                epoch_ratio_range: [theirs_least / ours_most, theirs_most / ours_least],
                step_ratio: median(&step_secs) / median(&ours.step_secs),
                loss_difference: apart(first(&losses), first(&ours.losses)),
                later_loss_difference: apart(later_loss, last(&ours.losses)),
                last_loss_difference: apart(last(&losses), last(&ours.losses)),
                times: StepTimes { encode_secs, step_secs, losses, peak_rss_mib },
            })
        }
    };
    Ok(TrainBench {
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
        peer,
    })
}

impl TrainBench {
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
            text += &format!(
                "| PyTorch {}, encoder in every step | {:.3} |\n\n\
                 ratio of the last two: {:.1}, from {low:.1} to {high:.1}\n\
                 their step over ours, features given: {:.2}\n\
                 peak memory in MiB: ours {:.0}, theirs {:.0}\n\
                 relative difference of the first loss: {:.1e}\n\
                 with our adapters before the last step: {:.1e}\n\
                 of the last loss of both trainings: {:.1e}\n",
                peer.torch,
                peer.published_epoch_secs_per_image,
                peer.epoch_ratio,
                peer.step_ratio,
                self.ours.peak_rss_mib,
                peer.times.peak_rss_mib,
                peer.loss_difference,
                peer.later_loss_difference,
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

/// What `train_step.py` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerReport {
    torch: String,
    losses: Vec<f64>,
    later_loss: f64,
    encode_secs: Vec<f64>,
    step_secs: Vec<f64>,
    peak_rss_mib: f64,
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
        source: std::io::Error::other(error),
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

    #[test]
    fn the_text_says_who_takes_how_long() {
        let times = |step: f64| StepTimes {
            encode_secs: vec![6.0],
            step_secs: vec![step],
            losses: vec![0.5],
            peak_rss_mib: 1000.0 * step,
        };
        let mut bench = TrainBench {
            device: "flex".into(),
            precision: EncoderPrecision::F32,
            batch_size: 8,
            threads: 2,
            ours: times(4.0),
            wait_secs: vec![0.0625, 0.125],
            read_secs: vec![0.5],
            rounding_loss_difference: 1e-6,
            first_epoch_secs_per_image: 6.5,
            cached_epoch_secs_per_image: 0.515625,
            peer: None,
        };
        let text = bench.markdown();
        assert!(text.contains("| ours, features stored | 0.516 |\n"), "{text}");
        assert!(text.contains("waited for its batch: 0.062, 0.125\n"), "{text}");
        assert!(!text.contains("PyTorch"), "{text}");
        bench.peer = Some(Peer {
            torch: "2.0".into(),
            times: times(2.0),
            published_epoch_secs_per_image: 6.25,
            epoch_ratio: 12.125,
            epoch_ratio_range: [11.0, 13.5],
            step_ratio: 0.5,
            loss_difference: 2e-7,
            later_loss_difference: 4e-8,
            last_loss_difference: 3e-5,
        });
        let text = bench.markdown();
        for line in [
            "| PyTorch 2.0, encoder in every step | 6.250 |",
            "ratio of the last two: 12.1, from 11.0 to 13.5",
            "their step over ours, features given: 0.50",
            "peak memory in MiB: ours 4000, theirs 2000",
            "with our adapters before the last step: 4.0e-8",
            "of the last loss of both trainings: 3.0e-5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
