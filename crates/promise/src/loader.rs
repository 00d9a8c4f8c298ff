//! Batches from encoded cases, in an order that depends on (seed, epoch) alone, made on other threads
//! while the one before is trained on.
//!
//! Several threads read, decode and augment, a bounded number of cases ahead; one takes their results in
//! order, runs the encoder where it is needed, and joins batches. So the number of threads changes no
//! bit, nor which of several bad files is the one that is reported.

use std::{
    mem,
    ops::ControlFlow,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::{Device, Int, Tensor, TensorData},
};
use data_loaders::{TruthMask, augment::AugmentSpec, prefetch};
use image::RgbImage;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sam_backbone::{Frame, input_tensor};

use crate::{
    features::{AtHand, AugmentedCase, EncodedCase, EncodedSet, FeatureError},
    learner::Batch,
    prompt_source::{case_generator, ground_truth_points, prompt_seed},
    viewed_set::ViewedSet,
};

/// How batches are made.
#[derive(Debug, Clone)]
pub(crate) struct Batching {
    pub batch_size: usize,
    pub seed: u64,
    /// Whether the order changes from epoch to epoch, and oracle points with it.
    pub shuffle: bool,
    /// Blocks whose outputs the prompt module reads.
    pub taps: Vec<usize>,
    /// Whether the prompt module reads the images too.
    pub image: bool,
    /// Number of oracle points, `None` if the module proposes.
    pub oracle_points: Option<usize>,
    /// How every image is changed in every epoch, if it is.
    pub augmentation: Option<AugmentSpec>,
    /// Threads that read, decode and augment; more than a batch has cases are of no use.
    pub workers: usize,
}

/// burn-train's loader over an encoded set.
///
/// One batch is made ahead, and as many cases as there are workers wait to be part of the next, besides the batch
/// that is trained on. That is the bound on memory.
pub(crate) struct FeatureLoader {
    maker: BatchMaker,
    /// Places in the set that this loader covers.
    members: Vec<usize>,
    /// Epochs begun so far; starts above zero in a resumed run.
    epochs: Arc<AtomicUsize>,
}

impl FeatureLoader {
    /// A loader over all cases of `set`, before epoch `epochs_done + 1`.
    pub fn new(
        set: Arc<ViewedSet>,
        batching: Batching,
        epochs_done: usize,
        device: &Device,
    ) -> Self {
        let members = (0..set.len()).collect();
        Self::over(members, set, batching, epochs_done, device)
    }

    /// A loader over the cases at some places, which may repeat.
    pub fn over(
        members: Vec<usize>,
        set: Arc<ViewedSet>,
        batching: Batching,
        epochs_done: usize,
        device: &Device,
    ) -> Self {
        let device = device.clone().without_autodiff();
        let maker = BatchMaker { set, batching, device };
        Self { maker, members, epochs: Arc::new(AtomicUsize::new(epochs_done)) }
    }

    fn with(&self, members: Vec<usize>, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let maker = BatchMaker { device, ..self.maker.clone() };
        Self { maker, members, epochs: self.epochs.clone() }
    }
}

/// Makes batches, on any thread.
#[derive(Clone)]
struct BatchMaker {
    set: Arc<ViewedSet>,
    batching: Batching,
    device: Device,
}

/// A case before the encoder.
struct Readied<'a> {
    set: &'a EncodedSet,
    case: &'a EncodedCase,
    content: Content,
}

enum Content {
    /// What is at hand of the features, and the image if it is asked for.
    AsItIs(AtHand, Option<RgbImage>),
    Augmented(AugmentedCase),
}

/// A case as a batch needs it.
struct Sample<'a> {
    /// `[1, C, H, W]`
    image_embedding: Tensor<4>,
    /// Each `[1, width, H, W]`.
    block_features: Vec<Tensor<4>>,
    /// `[1, 3, S, S]`
    image: Option<Tensor<4>>,
    frame: Frame,
    truth: TruthMask,
    target: Vec<bool>,
    case: &'a EncodedCase,
}

impl BatchMaker {
    /// Sends the batches of the cases at these places as they are seen in an epoch, the last one being an
    /// error if a case cannot be had, until nobody receives them or `over` is set.
    fn send_all(
        &self,
        order: &[usize],
        epoch: usize,
        over: &AtomicBool,
        sender: &SyncSender<Result<Batch, DatasetError>>,
    ) {
        let Batching { batch_size, workers, .. } = self.batching;
        let mut samples = Vec::with_capacity(batch_size);
        let ready = |at: usize| self.ready(order[at], epoch);
        // Where it stops early, a batch was refused or the reason was sent.
        let _ = prefetch(order.len(), workers, workers, ready, |at, readied| {
            // A case may have to go through the encoder, for which nobody waits any more.
            if over.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            match readied.and_then(|readied| self.sample(readied)) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    let _ = sender.send(Err(DatasetError::new(error)));
                    return ControlFlow::Break(());
                }
            }
            if samples.len() < batch_size && at + 1 < order.len() {
                return ControlFlow::Continue(());
            }
            match sender.send(Ok(self.join(mem::take(&mut samples), epoch))) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
    }

    /// What several threads may do at once: no encoder and no tensors.
    fn ready(&self, place: usize, epoch: usize) -> Result<Readied<'_>, FeatureError> {
        let Batching { seed, taps, augmentation, image, .. } = &self.batching;
        let (set, case) = self.set.seen(place, epoch, *seed);
        let content = match augmentation {
            None => {
                let image = image.then(|| set.seen_image(case)).transpose()?;
                Content::AsItIs(set.at_hand(case, taps)?, image)
            }
            Some(spec) => Content::Augmented(set.augmented(case, spec, *seed, epoch as u64)?),
        };
        Ok(Readied { set, case, content })
    }

    fn sample<'a>(&self, readied: Readied<'a>) -> Result<Sample<'a>, FeatureError> {
        let (taps, Readied { set, case, content }) = (&self.batching.taps, readied);
        let input = |image: &RgbImage, frame: &Frame| input_tensor(image, frame, &self.device);
        Ok(match content {
            Content::AsItIs(at_hand, image) => {
                let (image_embedding, block_features) =
                    set.features_of(case, at_hand, taps, &self.device)?;
                Sample {
                    image_embedding,
                    block_features,
                    image: image.map(|image| input(&image, &case.frame)),
                    frame: case.frame,
                    truth: case.truth.mask(),
                    target: case.target.mask().values,
                    case,
                }
            }
            Content::Augmented(augmented) => {
                let (image_embedding, block_features) = set.encode_augmented(&augmented, taps);
                let here = |tensor: Tensor<4>| tensor.to_device(&self.device);
                Sample {
                    image_embedding: here(image_embedding),
                    block_features: block_features.into_iter().map(here).collect(),
                    image: self.batching.image.then(|| input(&augmented.image, &augmented.frame)),
                    frame: augmented.frame,
                    truth: augmented.truth,
                    target: augmented.target,
                    case,
                }
            }
        })
    }

    fn join(&self, samples: Vec<Sample<'_>>, epoch: usize) -> Batch {
        let Self { set, batching, device } = self;
        let (n, side) = (samples.len(), set.side());
        let targets = samples.iter().flat_map(|sample| sample.target.iter());
        let target: Vec<f32> = targets.map(|&on| f32::from(u8::from(on))).collect();
        // Validation sees the same prompts in every epoch.
        let epoch = if batching.shuffle { epoch as u64 } else { 0 };
        let given = batching.oracle_points.map(|n_points| {
            let points: Vec<_> = samples
                .iter()
                .flat_map(|Sample { frame, truth, case, .. }| {
                    let mut rng = case_generator(batching.seed, epoch, &case.data, &case.id);
                    ground_truth_points(truth, frame, n_points, &mut rng).points
                })
                .collect();
            let coords: Vec<f32> = points.iter().flat_map(|(at, _)| *at).collect();
            let labels: Vec<i32> = points.iter().map(|(_, label)| label.value()).collect();
            (
                Tensor::from_data(TensorData::new(coords, [n, n_points, 2]), device),
                Tensor::<2, Int>::from_data(TensorData::new(labels, [n, n_points]), device),
            )
        });
        let cases = samples
            .iter()
            .map(|Sample { case, .. }| format!("{}/{}", case.data, case.id))
            .collect();
        let seeds = samples
            .iter()
            .map(|Sample { case, .. }| prompt_seed(batching.seed, epoch, &case.data, &case.id))
            .collect();
        let mut embeddings = Vec::with_capacity(n);
        let mut images = Vec::new();
        let mut taps: Vec<Vec<Tensor<4>>> = Vec::new();
        taps.resize_with(batching.taps.len(), Vec::new);
        for Sample { image_embedding, block_features, image, .. } in samples {
            embeddings.push(image_embedding);
            images.extend(image);
            taps.iter_mut().zip(block_features).for_each(|(tap, block)| tap.push(block));
        }
        Batch {
            image_embedding: Tensor::cat(embeddings, 0),
            block_features: taps.into_iter().map(|tap| Tensor::cat(tap, 0)).collect(),
            image: batching.image.then(|| Tensor::cat(images, 0)),
            seeds,
            target: Tensor::from_data(TensorData::new(target, [n, 1, side, side]), device),
            given,
            cases,
        }
    }
}

impl DataLoader<Batch> for FeatureLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed) + 1;
        let mut order = self.members.clone();
        if self.maker.batching.shuffle {
            let mut rng = ChaCha8Rng::seed_from_u64(self.maker.batching.seed);
            rng.set_stream(epoch as u64);
            order.shuffle(&mut rng);
        }
        Box::new(FeatureIterator::new(self.maker.clone(), order, epoch))
    }

    fn num_items(&self) -> usize {
        self.members.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.with(self.members.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.with(self.members[start..end].to_vec(), &self.maker.device))
    }
}

/// The batches of one epoch.
struct FeatureIterator {
    /// `None` once it is dropped.
    batches: Option<Receiver<Result<Batch, DatasetError>>>,
    worker: Option<JoinHandle<()>>,
    /// Tells the worker that nobody waits for it.
    over: Arc<AtomicBool>,
    batch_size: usize,
    done: usize,
    total: usize,
}

impl FeatureIterator {
    fn new(maker: BatchMaker, order: Vec<usize>, epoch: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (batch_size, total) = (maker.batching.batch_size, order.len());
        // Without a buffer: the worker holds the next batch until it is asked for.
        let (sender, batches) = sync_channel(0);
        let told = over.clone();
        let worker = thread::spawn(move || maker.send_all(&order, epoch, &told, &sender));
        let (batches, worker) = (Some(batches), Some(worker));
        Self { batches, worker, over, batch_size, done: 0, total }
    }
}

impl Iterator for FeatureIterator {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => {
                self.done = (self.done + self.batch_size).min(self.total);
                Some(batch)
            }
            Err(_) => {
                // The worker is at its end, which may be a panic.
                if let Some(Err(payload)) = self.worker.take().map(JoinHandle::join) {
                    panic::resume_unwind(payload);
                }
                None
            }
        }
    }
}

impl DataLoaderIterator<Batch> for FeatureIterator {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total, Some("cases".into()))
    }
}

impl Drop for FeatureIterator {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            // A panic has nobody to reach any more.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use data_loaders::{Catalog, DataSet, augment::View};
    use feature_cache::{FeatureCache, Precision};
    use sam_backbone::{ResizeMode, Variant};

    use super::*;
    use crate::{
        backbone::Backbone,
        feature_store::FeatureStore,
        features::{EncodedSet, Encoding},
        memory::Reading,
        progress::Silent,
    };

    fn set(cases: usize, memory: Option<u64>) -> Arc<ViewedSet> {
        encoded(cases, memory, None)
    }

    fn encoded(
        cases: usize,
        memory: Option<u64>,
        store: Option<Arc<FeatureStore>>,
    ) -> Arc<ViewedSet> {
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let encoding = Encoding {
            sam: backbone.sam,
            taps: vec![1, 3],
            resize: ResizeMode::Plain,
            view: View::IDENTITY,
            store,
            reading: Reading::default(),
        };
        let data = DataSet::open("phantom", "train", None, &Catalog::built_in())
            .expect("a set")
            .limit(cases);
        let stop = AtomicBool::new(false);
        let set = EncodedSet::new(encoding, data, true, memory, &Silent, &stop).expect("encoded");
        Arc::new(ViewedSet::of(Arc::new(set)))
    }

    fn batching(shuffle: bool, augmentation: Option<AugmentSpec>) -> Batching {
        let (batch_size, seed) = (2, 5);
        let (oracle_points, workers) = (Some(4), 2);
        let (taps, image) = (vec![3], false);
        Batching { batch_size, seed, shuffle, taps, image, oracle_points, augmentation, workers }
    }

    fn epoch(loader: &FeatureLoader) -> Vec<Batch> {
        loader.iter().map(|batch| batch.expect("a batch")).collect()
    }

    fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.clone().into_data().try_into_vec_as::<f32>().expect("a float tensor")
    }

    #[test]
    fn every_case_is_in_one_batch_of_an_epoch_and_the_order_is_a_function_of_seed_and_epoch() {
        let set = set(5, Some(u64::MAX));
        let device = Device::flex();
        let loader = FeatureLoader::new(set.clone(), batching(true, None), 0, &device);
        let epochs = [epoch(&loader), epoch(&loader)];
        let names = |batches: &[Batch]| -> Vec<String> {
            batches.iter().flat_map(|batch| batch.cases.clone()).collect()
        };
        for batches in &epochs {
            let sizes: Vec<usize> =
                batches.iter().map(|batch| batch.image_embedding.dims()[0]).collect();
            assert_eq!(sizes, [2, 2, 1]);
            assert_eq!(names(batches).into_iter().collect::<BTreeSet<_>>().len(), 5);
        }
        assert_ne!(names(&epochs[0]), names(&epochs[1]));
        // A run that goes on after the first epoch sees the second.
        let resumed = FeatureLoader::new(set, batching(true, None), 1, &device);
        let second = epoch(&resumed);
        assert_eq!(names(&second), names(&epochs[1]));
        for (a, b) in second.iter().zip(&epochs[1]) {
            let points = |batch: &Batch| floats(&batch.given.as_ref().expect("points").0);
            assert_eq!(points(a), points(b));
            assert_eq!(floats(&a.image_embedding), floats(&b.image_embedding));
        }
    }

    #[test]
    fn only_the_blocks_that_are_read_are_in_a_batch() {
        let set = set(2, Some(u64::MAX));
        let loader = FeatureLoader::new(set.clone(), batching(false, None), 0, &Device::flex());
        let batch = epoch(&loader).remove(0);
        assert_eq!(batch.block_features.len(), 1);
        let (encoded, case) = set.seen(1, 1, 5);
        let (_, blocks) = encoded.features(case, &[1, 3], &Device::flex()).expect("in memory");
        let read = batch.block_features[0].clone().slice_dim(0, 1..2);
        assert_eq!(floats(&read), floats(&blocks[1]));
        assert_ne!(floats(&read), floats(&blocks[0]));
    }

    #[test]
    fn images_are_in_a_batch_if_they_are_asked_for_as_the_encoder_sees_them() {
        let set = set(3, Some(u64::MAX));
        let asked = Batching { image: true, ..batching(false, None) };
        let loader = FeatureLoader::new(set.clone(), asked.clone(), 0, &Device::flex());
        let batch = epoch(&loader).remove(0);
        let images = batch.image.expect("it was asked for");
        let (encoded, case) = set.seen(1, 1, 5);
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let output = backbone.sam.encode(images.clone().slice_dim(0, 1..2), &[]);
        let (embedding, _) = encoded.features(case, &[], &Device::flex()).expect("in memory");
        // The encoder gives the stored embedding for it, so it is the image that the encoder saw.
        assert_eq!(floats(&output.image_embedding), floats(&embedding));
        let loader = FeatureLoader::new(set.clone(), batching(false, None), 0, &Device::flex());
        assert!(epoch(&loader).remove(0).image.is_none());

        let augmentation = Some(AugmentSpec::default());
        let asked = Batching { augmentation, shuffle: true, ..asked };
        let loader = FeatureLoader::new(set, asked, 0, &Device::flex());
        let batch = epoch(&loader).remove(0);
        let images = batch.image.expect("it was asked for");
        assert_eq!(images.dims()[0], 2);
        let output = backbone.sam.encode(images.slice_dim(0, 0..1), &[]);
        let first = batch.image_embedding.slice_dim(0, 0..1);
        assert_eq!(
            floats(&output.image_embedding),
            floats(&first),
            "the image as it was augmented"
        );
    }

    #[test]
    fn what_a_module_draws_from_depends_on_case_and_epoch_and_not_on_the_order() {
        let set = set(5, Some(u64::MAX));
        let of_epoch = |shuffle, epochs_done| {
            let loader = FeatureLoader::new(
                set.clone(),
                batching(shuffle, None),
                epochs_done,
                &Device::flex(),
            );
            let mut seeds: Vec<(String, u64)> = Vec::new();
            for batch in epoch(&loader) {
                seeds.extend(batch.cases.into_iter().zip(batch.seeds));
            }
            seeds.sort();
            seeds
        };
        let first = of_epoch(true, 0);
        let distinct: BTreeSet<u64> = first.iter().map(|(_, seed)| *seed).collect();
        assert_eq!((first.len(), distinct.len()), (5, 5));
        assert!(first.iter().zip(of_epoch(true, 1)).all(|(a, b)| a.0 == b.0 && a.1 != b.1));
        assert_eq!(of_epoch(false, 0), of_epoch(false, 3), "validation sees the same ones");
    }

    #[test]
    fn stored_features_are_read_in_every_epoch_and_computed_in_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = FeatureCache::open(folder.path(), u64::MAX).expect("a cache");
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let store = Arc::new(FeatureStore::new(cache, Precision::F16, &backbone.sam, "micro"));
        // No memory: every batch of every epoch comes from the disk.
        let stored = encoded(5, Some(0), Some(store.clone()));
        assert_eq!((store.usage().computed, store.usage().found), (5, 0));
        let loader = FeatureLoader::new(stored, batching(true, None), 0, &Device::flex());
        for epochs in 1..=3 {
            assert_eq!(epoch(&loader).len(), 3);
            assert_eq!((store.usage().computed, store.usage().found), (5, 5 * epochs));
        }
        // The counter does count: without its entries an image goes through the encoder again.
        fs::remove_dir_all(folder.path()).expect("away");
        epoch(&loader);
        assert_eq!(store.usage().computed, 10);
    }

    #[test]
    fn an_iterator_that_is_dropped_ends_its_thread() {
        // Without features in memory every batch goes through the encoder.
        let set = set(4, None);
        let loader = FeatureLoader::new(set.clone(), batching(false, None), 0, &Device::flex());
        let mut iterator = loader.iter();
        iterator.next().expect("four cases").expect("a batch");
        drop(iterator);
        drop(loader);
        assert_eq!(Arc::strong_count(&set), 1, "a thread still holds the set");
    }

    /// All that a step sees of a batch, as bits.
    fn bits(batch: &Batch) -> (Vec<String>, Vec<u32>) {
        let given = batch.given.as_ref().expect("points");
        let labels = given.1.clone().into_data().try_into_vec_as::<i32>().expect("integers");
        let fixed = [floats(&batch.image_embedding), floats(&batch.target), floats(&given.0)];
        let blocks = batch.block_features.iter().flat_map(floats);
        let all = fixed.into_iter().flatten().chain(blocks).map(f32::to_bits);
        (batch.cases.clone(), all.chain(labels.into_iter().map(i32::cast_unsigned)).collect())
    }

    #[test]
    fn the_number_of_workers_changes_no_bit_of_a_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = FeatureCache::open(folder.path(), u64::MAX).expect("a cache");
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let store = Arc::new(FeatureStore::new(cache, Precision::F16, &backbone.sam, "micro"));
        let every_epoch =
            AugmentSpec { flip_x_probability: 0.5, tone_probability: 1.0, ..AugmentSpec::off() };
        for (set, augmentation) in [
            (encoded(12, None, None), Some(every_epoch)),
            // From the disk, and, as nothing is kept, through the encoder.
            (encoded(12, Some(0), Some(store)), None),
            (encoded(12, None, None), None),
        ] {
            let batches = |workers| -> Vec<_> {
                let batching =
                    Batching { batch_size: 5, workers, ..batching(true, augmentation.clone()) };
                let loader = FeatureLoader::new(set.clone(), batching, 0, &Device::flex());
                epoch(&loader).iter().map(bits).collect()
            };
            let one = batches(1);
            assert_eq!(one.iter().map(|(cases, _)| cases.len()).collect::<Vec<_>>(), [5, 5, 2]);
            for workers in [2, 5] {
                assert!(batches(workers) == one, "{workers} workers give other batches");
            }
        }
    }

    #[test]
    fn the_first_bad_file_of_the_order_is_reported_whichever_worker_meets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [images, masks] = ["images", "masks"].map(|name| folder.path().join(name));
        for part in [&images, &masks] {
            fs::create_dir(part).expect("created");
        }
        let mask = |x: u32, _| image::Luma([if x < 20 { 255 } else { 0 }]);
        for at in 0..11_u8 {
            let name = format!("{at:02}.png");
            let image = RgbImage::from_pixel(40, 30, image::Rgb([at, 100, 200]));
            image.save(images.join(&name)).expect("written");
            image::GrayImage::from_fn(40, 30, mask).save(masks.join(&name)).expect("written");
        }
        let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
        let encoding = Encoding {
            sam: backbone.sam,
            taps: vec![3],
            resize: ResizeMode::Plain,
            view: View::IDENTITY,
            store: None,
            reading: Reading::default(),
        };
        let data = DataSet::from_folders(&images, &masks).expect("eleven pairs");
        let stop = AtomicBool::new(false);
        let set = EncodedSet::new(encoding, data, true, None, &Silent, &stop).expect("decoded");
        let set = Arc::new(ViewedSet::of(Arc::new(set)));
        // They were good when the set was opened. The first takes longest to be refused.
        for (bad, content) in [(6, vec![0_u8; 4 << 20]), (7, Vec::new()), (9, Vec::new())] {
            fs::write(images.join(format!("{bad:02}.png")), content).expect("written");
        }
        for augmentation in [None, Some(AugmentSpec::off())] {
            for workers in [1, 2, 5] {
                let batching =
                    Batching { batch_size: 5, workers, ..batching(false, augmentation.clone()) };
                let loader = FeatureLoader::new(set.clone(), batching, 0, &Device::flex());
                let mut batches = loader.iter();
                let first = batches.next().expect("a first batch").expect("of good files");
                assert_eq!(first.cases.len(), 5);
                let error = batches.next().expect("a second").expect_err("of a bad file");
                let error = error.to_string();
                assert!(error.contains("06.png"), "{workers} workers: {error}");
                assert!(batches.next().is_none(), "{workers} workers go on after an error");
            }
        }
    }

    #[test]
    fn an_augmentation_that_does_nothing_is_none() {
        for resize in [ResizeMode::Plain, ResizeMode::BorderCrop] {
            let backbone = Backbone::load(Variant::Micro, None, &Device::flex()).expect("embedded");
            let taps = vec![3];
            let (view, store) = (View::IDENTITY, None);
            let reading = Reading::default();
            let encoding = Encoding { sam: backbone.sam, taps, resize, view, store, reading };
            let data = DataSet::open("phantom", "train", None, &Catalog::built_in())
                .expect("a set")
                .limit(3);
            let stop = AtomicBool::new(false);
            let set = EncodedSet::new(encoding, data, true, Some(u64::MAX), &Silent, &stop)
                .expect("encoded");
            for case in &set.cases {
                let (embedding, _) = set.features(case, &[3], &Device::flex()).expect("in memory");
                let augmented = set.augmented(case, &AugmentSpec::off(), 1, 1).expect("readable");
                let (unchanged, _) = set.encode_augmented(&augmented, &[3]);
                assert_eq!(floats(&unchanged), floats(&embedding), "{resize}");
            }
        }
    }

    #[test]
    fn augmentation_changes_a_case_from_epoch_to_epoch_and_never_otherwise() {
        let spec =
            AugmentSpec { flip_x_probability: 0.5, tone_probability: 1.0, ..AugmentSpec::off() };
        let set = set(4, None);
        let device = Device::flex();
        let loader = |done| {
            FeatureLoader::new(set.clone(), batching(false, Some(spec.clone())), done, &device)
        };
        let first = loader(0);
        let epochs = [epoch(&first), epoch(&first)];
        let again = epoch(&loader(1));
        let plain = epoch(&FeatureLoader::new(set.clone(), batching(false, None), 0, &device));
        let embedding = |batches: &[Batch]| -> Vec<f32> {
            batches.iter().flat_map(|batch| floats(&batch.image_embedding)).collect()
        };
        let targets = |batches: &[Batch]| -> Vec<Vec<f32>> {
            let side = set.side();
            let all: Vec<f32> = batches.iter().flat_map(|batch| floats(&batch.target)).collect();
            all.chunks(side * side).map(<[f32]>::to_vec).collect()
        };
        assert_ne!(embedding(&epochs[0]), embedding(&epochs[1]));
        assert_eq!(embedding(&again), embedding(&epochs[1]));
        // The mask follows the image: as it was, or its mirror image.
        let mut mirrored = 0;
        for batches in &epochs {
            for (target, plain) in targets(batches).iter().zip(targets(&plain)) {
                let mirror: Vec<f32> =
                    plain.chunks(set.side()).flat_map(|row| row.iter().rev().copied()).collect();
                // Thresholds at the input's size and at the file's differ in some cells of the border.
                let differing = |other: &[f32]| {
                    target.iter().zip(other).filter(|(a, b)| a != b).count() * 100 / target.len()
                };
                let (same, other) = (differing(&plain), differing(&mirror));
                assert!(same.min(other) <= 1, "{same} % and {other} % of the cells differ");
                mirrored += usize::from(other < same);
            }
        }
        assert!((1..8).contains(&mirrored), "{mirrored} of 8");
        // Points lie on the mask that the network sees.
        for batch in &epochs[1] {
            let (coords, labels) = batch.given.clone().expect("points");
            let (coords, target) = (floats(&coords), floats(&batch.target));
            let labels = labels.into_data().try_into_vec_as::<i32>().expect("integers");
            let side = set.side();
            // micro: 256 pixels, 128 cells.
            let cell = 2.0;
            let right = coords.chunks(2).zip(&labels).enumerate().filter(|(index, (at, label))| {
                let (x, y) = ((at[0] / cell) as usize, (at[1] / cell) as usize);
                let on = target[index / 4 * side * side + y.min(side - 1) * side + x.min(side - 1)];
                (on > 0.5) == (**label == 1)
            });
            // A cell of the border holds pixels of both kinds.
            assert!(right.count() * 4 >= labels.len() * 3, "points beside the mask");
        }
    }
}
