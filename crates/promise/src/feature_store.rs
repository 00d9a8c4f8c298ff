//! The feature cache as encoding sees it: images in, tensors out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use burn::tensor::TensorData;
use data_loaders::{augment::View, error_chain};
use feature_cache::{CacheError, Claim, FeatureCache, FeatureKey, Lookup, Precision};
use image::RgbImage;
use sam_backbone::{Frame, FrozenSam};
use sha2::{Digest, Sha256};

use crate::features::HostFeatures;

/// The tensor of an entry that holds the embedding.
const EMBEDDING: &str = "image_embedding";

/// Part of every key. To be raised with any change of what the encoder is given or computes: resizing,
/// normalization, kernels.
const REVISION: u32 = 3;

/// A disk cache for the features of one backbone.
pub struct FeatureStore {
    cache: FeatureCache,
    precision: Precision,
    /// Name of variant, device, arithmetic, and revision.
    encoder: String,
    /// SHA-256 of the weights.
    weights: String,
    /// Cells of the image embedding and of every block output, to each side.
    grid: usize,
    /// Channels of the image embedding.
    embed_dim: usize,
    /// Channels of the output of every block.
    block_widths: Vec<usize>,
    /// Whether somebody was told already that the cache does not store.
    told: AtomicBool,
    /// Whether a failure ends the work.
    must_store: bool,
    computing: Option<Computing>,
    counts: Counts,
}

impl fmt::Debug for FeatureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureStore")
            .field("cache", &self.cache)
            .field("precision", &self.precision)
            .field("encoder", &self.encoder)
            .finish_non_exhaustive()
    }
}

/// Who is told the name of an image before it goes through the encoder.
pub type Computing = Arc<dyn Fn(&str) + Send + Sync>;

/// What a store was used for.
#[derive(Debug, Default)]
struct Counts {
    found: AtomicUsize,
    computed: AtomicUsize,
    damaged: AtomicUsize,
}

/// How often a store answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreUse {
    /// Images whose features were all there.
    pub found: usize,
    /// Images that went through the encoder.
    pub computed: usize,
    /// Entries that were damaged, removed and computed again.
    pub damaged: usize,
}

/// An image as the cache names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// SHA-256 of pixels, size and place in the input.
    digest: String,
    /// How it is brought to the input.
    preparation: String,
    /// Which view of it.
    view: String,
}

impl ImageName {
    /// Names an image, already in its view, that is brought to the input as `frame` says.
    ///
    /// - `preparation`: name of the way, for people
    pub fn new(image: &RgbImage, frame: &Frame, preparation: &str, view: View) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(image.width().to_le_bytes());
        hasher.update(image.height().to_le_bytes());
        hasher.update(image.as_raw());
        // Pixels and the name of the way determine the frame, unless the code that finds it changes.
        hasher.update(format!("{frame:?}"));
        let preparation = format!("{preparation} {}", frame.input_size);
        Self { digest: hex::encode(hasher.finalize()), preparation, view: view.id() }
    }
}

impl FeatureStore {
    /// A store for the features of `sam`.
    ///
    /// - `encoder`: name of the backbone and of the device that it computes on
    pub fn new(cache: FeatureCache, precision: Precision, sam: &FrozenSam, encoder: &str) -> Self {
        let sizes = &sam.config().image_encoder;
        Self {
            cache,
            precision,
            grid: sizes.grid_size(),
            embed_dim: sizes.embed_dim,
            block_widths: sizes.block_widths(),
            encoder: format!("{encoder} {} r{REVISION}", sam.encoder_precision()),
            weights: sam.hash(),
            told: AtomicBool::new(false),
            must_store: false,
            computing: None,
            counts: Counts::default(),
        }
    }

    /// The same store, which tells the name of every image that it is about to compute.
    pub fn telling(self, computing: Computing) -> Self {
        Self { computing: Some(computing), ..self }
    }

    /// The same store for work whose only purpose is to store: a failure to do so is an error.
    pub fn must_store(self) -> Self {
        Self { must_store: true, ..self }
    }

    /// How numbers are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How often it answered so far.
    pub fn usage(&self) -> StoreUse {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        StoreUse {
            found: count(&self.counts.found),
            computed: count(&self.counts.computed),
            damaged: count(&self.counts.damaged),
        }
    }

    fn key(&self, image: &ImageName, tensor: &str) -> FeatureKey {
        FeatureKey {
            image: image.digest.clone(),
            preparation: image.preparation.clone(),
            view: image.view.clone(),
            weights: self.weights.clone(),
            encoder: self.encoder.clone(),
            tensor: tensor.into(),
            precision: self.precision,
        }
    }

    /// The features of an image with the blocks `taps`, if all are there.
    pub(crate) fn load(&self, image: &ImageName, taps: &[usize]) -> Option<HostFeatures> {
        let embedding = self.tensor(image, EMBEDDING, self.embed_dim)?;
        let taps = taps
            .iter()
            .map(|&tap| self.tensor(image, &block(tap), self.block_widths[tap]))
            .collect::<Option<Vec<TensorData>>>()?;
        self.counts.found.fetch_add(1, Ordering::Relaxed);
        Some(HostFeatures { embedding, taps })
    }

    fn tensor(&self, image: &ImageName, tensor: &str, channels: usize) -> Option<TensorData> {
        let shape = [channels, self.grid, self.grid];
        match self.cache.get(&self.key(image, tensor), &shape) {
            Ok(Lookup::Found(stored)) => {
                let shape = [1].into_iter().chain(stored.shape).collect::<Vec<usize>>();
                Some(TensorData::new(stored.values, shape))
            }
            Ok(Lookup::Absent) => None,
            Ok(Lookup::Damaged { damage, path }) => {
                self.counts.damaged.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "a damaged entry of the feature cache was removed and is computed again ({damage}): {}",
                    path.display()
                );
                None
            }
            Err(error) => {
                self.tell("cannot be read", &error_chain(&error));
                None
            }
        }
    }

    /// Says that an image is about to go through the encoder.
    pub(crate) fn begin(&self, image: &ImageName) {
        if let Some(computing) = &self.computing {
            computing(&self.key(image, EMBEDDING).work());
        }
    }

    /// Stores the features of an image, and gives them back as [`load`](Self::load) will: a run that
    /// computes them and one that finds them see the same numbers.
    ///
    /// A cache that cannot be written costs time and no result, so it is only said, once, unless the
    /// store [must](Self::must_store) store.
    ///
    /// # Errors
    ///
    /// [`CacheError`] of a store that must store.
    pub(crate) fn store(
        &self,
        image: &ImageName,
        taps: &[usize],
        features: HostFeatures,
    ) -> Result<HostFeatures, CacheError> {
        self.counts.computed.fetch_add(1, Ordering::Relaxed);
        let embedding = self.put(image, EMBEDDING, features.embedding)?;
        let taps = taps
            .iter()
            .zip(features.taps)
            .map(|(tap, data)| self.put(image, &block(*tap), data))
            .collect::<Result<Vec<TensorData>, CacheError>>()?;
        Ok(HostFeatures { embedding, taps })
    }

    fn put(
        &self,
        image: &ImageName,
        tensor: &str,
        data: TensorData,
    ) -> Result<TensorData, CacheError> {
        let shape: Vec<usize> = data.shape().to_vec();
        let values = data.try_into_vec_as::<f32>().expect("features are f32");
        // The batch axis, of length one, is not stored.
        match self.cache.put(&self.key(image, tensor), &shape[1..], &values) {
            Ok(true) => {}
            Ok(false) if self.must_store => {
                let (limit, path) = (self.cache.limit(), self.cache.root().to_owned());
                return Err(CacheError::Full { limit, path });
            }
            Ok(false) => self.tell("does not store", "it has reached its limit"),
            Err(error) if self.must_store => return Err(error),
            Err(error) => self.tell("cannot be written", &error_chain(&error)),
        }
        Ok(TensorData::new(self.precision.round(&values, shape[1]), shape))
    }

    /// The turn to compute the features of an image. `None` while another process does and, if `wait`
    /// is given, once it is set.
    ///
    /// # Errors
    ///
    /// [`CacheError`] of a store that must store; another computes without a claim.
    pub(crate) fn turn(
        &self,
        image: &ImageName,
        wait: Option<&AtomicBool>,
    ) -> Result<Option<Turn>, CacheError> {
        let key = self.key(image, EMBEDDING);
        let claim = match wait {
            Some(stop) => self.cache.wait_for(&key, stop),
            None => self.cache.claim(&key),
        };
        match claim {
            Ok(claim) => Ok(claim.map(|claim| Turn { _claim: Some(claim) })),
            Err(error) if self.must_store => Err(error),
            Err(error) => {
                self.tell("cannot be written", &error_chain(&error));
                Ok(Some(Turn { _claim: None }))
            }
        }
    }

    /// Says once that the cache does not do its work, which costs time and nothing else.
    fn tell(&self, what: &str, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the feature cache {what} ({why}); features are computed again when they are needed: {}",
                self.cache.root().display()
            );
        }
    }
}

/// The turn to compute something; ends when it is dropped.
pub(crate) struct Turn {
    _claim: Option<Claim>,
}

/// The tensor of an entry that holds the output of a block, counted from 0.
fn block(tap: usize) -> String {
    format!("block {tap}")
}
