//! How the cost grows: of the encoder with threads, images at once and their size; of an epoch with the number of
//! images.
//!
//! The encoder is ViT-B with fresh weights: nothing here depends on what they are. Epochs are those of
//! `experiments/quickstart.toml`'s APM + IPS beside `micro`, through the feature cache, as a run has them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use apm::Apm;
use burn::{
    data::dataloader::DataLoader as _,
    tensor::{Device, Distribution, Tensor},
    train::TrainStep,
};
use data_loaders::{Catalog, DataError, DataSet, PHANTOM_SPLITS, augment::View};
use feature_cache::{CacheError, FeatureCache, Precision};
use sam_backbone::{FrozenSam, ResizeMode, Variant};
use serde::Serialize;

use crate::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    drawing,
    feature_store::FeatureStore,
    features::{EncodeError, EncodedSet, Encoding},
    loader::{Batching, FeatureLoader},
    memory::Reading,
    model::{BuildError, Promise},
    plan::{Experiment, SpecError},
    progress::{Progress, Silent},
    scratch::empty_folder,
    spread::{extremes, median},
    train::adam,
    viewed_set::ViewedSet,
};

/// What is timed.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Timed passes of the encoder at every point, after one that is not counted.
    pub passes: usize,
    /// Timed epochs at every point, after the one that encodes.
    pub epochs: usize,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Numbers of images at once, at 1024 pixels with most threads.
    pub batch_sizes: Vec<usize>,
    /// Sides of the input in pixels, one image with most threads.
    pub image_sizes: Vec<usize>,
    /// Numbers of training images.
    pub images: Vec<usize>,
}

impl Extent {
    fn check(&self) -> Result<(), ScalingError> {
        let patch = Variant::VitB.config().image_encoder.patch_size;
        let images = PHANTOM_SPLITS
            .iter()
            .find(|(name, _)| *name == SPLIT)
            .map_or(0, |(_, range)| (range.end - range.start) as usize);
        let between = |what, values: &[usize], most: usize| {
            let wrong = values.iter().find(|value| !(1..=most).contains(value));
            wrong.map_or(Ok(()), |&value| {
                Err(ScalingError::Extent { what, value, expected: format!("1 to {most}") })
            })
        };
        between("threads", &self.threads, 1024)?;
        between("images at once", &self.batch_sizes, 64)?;
        between("training images", &self.images, images)?;
        between("pixels a side", &self.image_sizes, 4096)?;
        match self.image_sizes.iter().find(|&size| size % patch != 0) {
            None => Ok(()),
            Some(&value) => Err(ScalingError::Extent {
                what: "pixels a side",
                value,
                expected: format!("a multiple of {patch}"),
            }),
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ScalingBench {
    /// The encoder.
    pub encoder: Vec<EncoderPoint>,
    /// An epoch.
    pub epochs: Vec<EpochPoint>,
}

/// The encoder at one point.
#[derive(Debug, Clone, Serialize)]
pub struct EncoderPoint {
    /// Threads.
    pub threads: usize,
    /// Images in a pass.
    pub batch_size: usize,
    /// Side of an image in pixels.
    pub image_size: usize,
    /// Seconds of each pass.
    pub secs: Vec<f64>,
    /// Images over the median of seconds.
    pub images_per_sec: f64,
}

/// An epoch of so many images.
#[derive(Debug, Clone, Serialize)]
pub struct EpochPoint {
    /// Training images.
    pub images: usize,
    /// Seconds of decoding, encoding and storing all of them, once.
    pub encode_secs: f64,
    /// Seconds of each epoch on stored features.
    pub epoch_secs: Vec<f64>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// A number that cannot be measured at.
    #[error("{what} {value}, expected {expected}")]
    Extent {
        /// Of what.
        what: &'static str,
        /// The number.
        value: usize,
        /// What it could be.
        expected: String,
    },
    /// A pool of so many threads cannot be had.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
    /// The device cannot be had, or fails.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The weights do not load.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
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
    /// The adapters cannot be built.
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

/// The split of `phantom` that the training images are of.
const SPLIT: &str = "extended";

/// APM + IPS of the quickstart.
const EXPERIMENT: &str = r#"
name = "bench"

[backbone]
variant = "micro"

[data]
train = ["phantom"]
test = ["phantom"]

[prompt]
module = "apm"
options = { points = 16, taps = "6_9_12", head = "resnet18", fusion_channels = 64, base_width = 16 }

[shift]
module = "ips"

[train]
epochs = 1
batch_size = 8
learning_rate = 1e-3

[evaluate]
prompts = ["auto"]
"#;

/// Measures all of it.
///
/// - `folder`: for a feature cache of its own, which is replaced
///
/// # Errors
///
/// See [`ScalingError`].
pub fn bench_scaling(
    folder: &Path,
    extent: &Extent,
    kind: DeviceKind,
    progress: &dyn Progress,
) -> Result<ScalingBench, ScalingError> {
    extent.check()?;
    let device = &kind.device()?;
    let most = extent.threads.iter().copied().max().unwrap_or_else(rayon::current_num_threads);
    let side = Variant::VitB.config().image_encoder.image_size;
    let mut points: Vec<[usize; 3]> = extent.threads.iter().map(|&n| [n, 1, side]).collect();
    points.extend(extent.batch_sizes.iter().map(|&n| [most, n, side]));
    points.extend(extent.image_sizes.iter().map(|&size| [most, 1, size]));
    points.sort_unstable();
    points.dedup();
    let total = points.len() + extent.images.len();
    progress.start("scaling", total as u64);
    let mut encoder = Vec::with_capacity(points.len());
    for [threads, batch_size, image_size] in points {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|source| ScalingError::Threads { threads, source })?;
        let secs = pool.install(|| encode(batch_size, image_size, extent.passes, device));
        let images_per_sec = batch_size as f64 / median(&secs);
        encoder.push(EncoderPoint { threads, batch_size, image_size, secs, images_per_sec });
        progress.set(encoder.len() as u64);
    }
    let mut epochs = Vec::with_capacity(extent.images.len());
    for &images in &extent.images {
        epochs.push(epoch(folder, images, extent.epochs, kind)?);
        progress.set((encoder.len() + epochs.len()) as u64);
    }
    progress.finish();
    Ok(ScalingBench { encoder, epochs })
}

/// Seconds of passes, without the first.
fn encode(batch_size: usize, image_size: usize, passes: usize, device: &Device) -> Vec<f64> {
    let mut config = Variant::VitB.config();
    config.image_encoder.image_size = image_size;
    let turn = drawing::turn();
    let sam = FrozenSam::new(config.init(device), config, device);
    let shape = [batch_size, 3, image_size, image_size];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), device);
    let mut secs: Vec<f64> = (0..=passes)
        .map(|_| {
            let start = Instant::now();
            // A value read back: the device has finished.
            drop(sam.encode(images.clone(), &[]).image_embedding.into_data());
            start.elapsed().as_secs_f64()
        })
        .collect();
    drop(turn);
    secs.split_off(1)
}

fn epoch(
    folder: &Path,
    images: usize,
    epochs: usize,
    kind: DeviceKind,
) -> Result<EpochPoint, ScalingError> {
    let device = &kind.device()?;
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| ScalingError::Write { path, source }
    };
    let cache_folder = folder.join("bench-scaling-features");
    empty_folder(&cache_folder).map_err(write(&cache_folder))?;
    let file = folder.join("bench.toml");
    fs::write(&file, EXPERIMENT).map_err(write(&file))?;
    let experiment = Experiment::load(&file, &[])?;
    let plan = &experiment.runs[0];
    let (batch_size, rate) = (plan.spec.train.batch_size, plan.spec.train.learning_rate);
    let backbone = Backbone::load(Variant::Micro, None, device)?;
    let autodiff = device.clone().autodiff();
    let mut model = Promise::<Apm>::new(plan, &backbone, &autodiff)?;
    let taps = model.needed_taps();
    let cache = FeatureCache::open(&cache_folder, u64::MAX)?;
    let store = FeatureStore::new(cache, Precision::F16, &backbone.sam, backbone.variant.name());
    let encoding = Encoding {
        sam: backbone.sam.clone(),
        taps: taps.clone(),
        resize: ResizeMode::Plain,
        view: View::IDENTITY,
        reading: Reading::default(),
        store: Some(Arc::new(store.must_store())),
    };
    let data = DataSet::open("phantom", SPLIT, None, &Catalog::built_in())?.limit(images);
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let set = EncodedSet::new(encoding, data, true, Some(u64::MAX), &Silent, &stop)?;
    let encode_secs = start.elapsed().as_secs_f64();
    let batching = Batching {
        batch_size,
        seed: plan.seed,
        shuffle: true,
        taps,
        image: false,
        oracle_points: None,
        augmentation: None,
        workers: rayon::current_num_threads(),
    };
    let set = Arc::new(ViewedSet::of(Arc::new(set)));
    let loader = FeatureLoader::new(set, batching, 0, &autodiff);
    let mut optimizer = adam();
    let mut epoch_secs = Vec::with_capacity(1 + epochs);
    // The first one warms up.
    for _ in 0..=epochs {
        let start = Instant::now();
        for batch in loader.iter() {
            let batch = batch.map_err(|error| ScalingError::Batch(error.to_string()))?;
            model = optimizer.step(rate, model.clone(), TrainStep::step(&model, batch).grads);
        }
        // Adam's work is done, not only asked for.
        kind.finish(device)?;
        epoch_secs.push(start.elapsed().as_secs_f64());
    }
    Ok(EpochPoint { images, encode_secs, epoch_secs: epoch_secs.split_off(1) })
}

impl ScalingBench {
    /// Two Markdown tables.
    pub fn markdown(&self) -> String {
        let mut text = "ViT-B's image encoder\n\n\
             | threads | images at once | pixels a side | images a second | seconds of a pass, median [least, largest] |\n\
             | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for point in &self.encoder {
            let EncoderPoint { threads, batch_size, image_size, secs, images_per_sec } = point;
            let [low, high] = extremes(secs);
            text += &format!(
                "| {threads} | {batch_size} | {image_size} | {images_per_sec:.3} | {:.2} [{low:.2}, {high:.2}] |\n",
                median(secs),
            );
        }
        text += "\nAPM + IPS of the quickstart beside micro\n\n\
             | images | encoding all, once, seconds | an epoch, seconds | an epoch, milliseconds an image | twelve epochs in all | if every epoch encoded |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for EpochPoint { images, encode_secs, epoch_secs } in &self.epochs {
            let epoch = median(epoch_secs);
            text += &format!(
                "| {images} | {encode_secs:.2} | {epoch:.2} | {:.1} | {:.1} | {:.1} |\n",
                1000.0 * epoch / *images as f64,
                encode_secs + 12.0 * epoch,
                12.0 * (encode_secs + epoch),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_say_what_grows_with_what() {
        let bench = ScalingBench {
            encoder: vec![EncoderPoint {
                threads: 2,
                batch_size: 4,
                image_size: 1024,
                secs: vec![8.0, 16.0, 10.0],
                images_per_sec: 0.4,
            }],
            epochs: vec![EpochPoint { images: 50, encode_secs: 3.0, epoch_secs: vec![0.5] }],
        };
        let text = bench.markdown();
        for line in [
            "| 2 | 4 | 1024 | 0.400 | 10.00 [8.00, 16.00] |",
            "| 50 | 3.00 | 0.50 | 10.0 | 9.0 | 42.0 |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused_before_anything_is() {
        let extent = Extent {
            passes: 1,
            epochs: 1,
            threads: vec![1],
            batch_sizes: vec![1],
            image_sizes: vec![1024, 100],
            images: vec![50],
        };
        let error = extent.check().expect_err("not whole patches").to_string();
        assert_eq!(error, "pixels a side 100, expected a multiple of 16");
        let extent = Extent { image_sizes: vec![64], images: vec![3201], ..extent };
        let error = extent.check().expect_err("not so many").to_string();
        assert_eq!(error, "training images 3201, expected 1 to 3200");
    }

    #[test]
    fn encoding_goes_to_the_cache_and_epochs_come_from_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let point = epoch(folder.path(), 3, 1, DeviceKind::Flex).expect("measured");
        assert_eq!((point.images, point.epoch_secs.len()), (3, 1));
        let cache = FeatureCache::open(&folder.path().join("bench-scaling-features"), u64::MAX)
            .expect("a cache");
        let tensors = cache.survey().expect("readable").entries;
        assert!(tensors >= 3, "{tensors}");
    }
}
