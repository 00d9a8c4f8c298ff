//! Batches from encoded cases, in an order that depends on (seed, epoch) alone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use burn::{
    data::{
        dataloader::{DataLoader, DataLoaderIterator, Progress},
        dataset::DatasetError,
    },
    tensor::{Device, Int, Tensor, TensorData},
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    learner::Batch,
    prompt_source::{case_generator, ground_truth_points},
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
    /// Number of oracle points, `None` if the module proposes.
    pub oracle_points: Option<usize>,
}

/// burn-train's loader over an encoded set. Features are there already, so no worker is needed.
pub(crate) struct FeatureLoader {
    set: Arc<ViewedSet>,
    /// Places in the set that this loader covers.
    members: Vec<usize>,
    batching: Batching,
    device: Device,
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
        Self {
            members: (0..set.len()).collect(),
            set,
            batching,
            device: device.clone().without_autodiff(),
            epochs: Arc::new(AtomicUsize::new(epochs_done)),
        }
    }

    fn with(&self, members: Vec<usize>, device: &Device) -> Self {
        Self {
            set: self.set.clone(),
            members,
            batching: self.batching.clone(),
            device: device.clone().without_autodiff(),
            epochs: self.epochs.clone(),
        }
    }

    /// The cases at these places as they are seen in an epoch.
    pub fn batch(&self, cases: &[usize], epoch: usize) -> Result<Batch, DatasetError> {
        let device = &self.device;
        let side = self.set.side();
        let seen: Vec<_> =
            cases.iter().map(|&at| self.set.seen(at, epoch, self.batching.seed)).collect();
        let cases: Vec<_> = seen.iter().map(|(_, case)| *case).collect();
        let mut embeddings = Vec::with_capacity(cases.len());
        let mut taps: Vec<Vec<Tensor<4>>> = Vec::new();
        for (set, case) in &seen {
            let (embedding, blocks) =
                set.features(case, &self.batching.taps, device).map_err(DatasetError::new)?;
            embeddings.push(embedding);
            taps.resize_with(blocks.len(), Vec::new);
            taps.iter_mut().zip(blocks).for_each(|(tap, block)| tap.push(block));
        }
        let target: Vec<f32> = cases.iter().flat_map(|case| case.target.iter().copied()).collect();
        let given = self.batching.oracle_points.map(|n_points| {
            let epoch = if self.batching.shuffle { epoch as u64 } else { 0 };
            let points: Vec<_> = cases
                .iter()
                .flat_map(|case| {
                    let mut rng = case_generator(self.batching.seed, epoch, &case.data, &case.id);
                    ground_truth_points(&case.truth, &case.frame, n_points, &mut rng).points
                })
                .collect();
            let coords: Vec<f32> = points.iter().flat_map(|(at, _)| *at).collect();
            let labels: Vec<i32> = points.iter().map(|(_, label)| label.value()).collect();
            let shape = [cases.len(), n_points];
            (
                Tensor::from_data(TensorData::new(coords, [shape[0], shape[1], 2]), device),
                Tensor::<2, Int>::from_data(TensorData::new(labels, shape), device),
            )
        });
        Ok(Batch {
            image_embedding: Tensor::cat(embeddings, 0),
            block_features: taps.into_iter().map(|tap| Tensor::cat(tap, 0)).collect(),
            target: Tensor::from_data(
                TensorData::new(target, [cases.len(), 1, side, side]),
                device,
            ),
            given,
            cases: cases.iter().map(|case| format!("{}/{}", case.data, case.id)).collect(),
        })
    }
}

impl DataLoader<Batch> for FeatureLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed) + 1;
        let mut order = self.members.clone();
        if self.batching.shuffle {
            let mut rng = ChaCha8Rng::seed_from_u64(self.batching.seed);
            rng.set_stream(epoch as u64);
            order.shuffle(&mut rng);
        }
        Box::new(FeatureIterator { loader: self, order, epoch, done: 0 })
    }

    fn num_items(&self) -> usize {
        self.members.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.with(self.members.clone(), device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(self.with(self.members[start..end].to_vec(), &self.device))
    }
}

struct FeatureIterator<'a> {
    loader: &'a FeatureLoader,
    order: Vec<usize>,
    epoch: usize,
    done: usize,
}

impl Iterator for FeatureIterator<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = (self.done + self.loader.batching.batch_size).min(self.order.len());
        let cases = self.order.get(self.done..end).filter(|cases| !cases.is_empty())?;
        self.done = end;
        Some(self.loader.batch(cases, self.epoch))
    }
}

impl DataLoaderIterator<Batch> for FeatureIterator<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.order.len(), Some("cases".into()))
    }
}
