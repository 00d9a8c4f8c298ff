//! Cases ready for the adapters: the frozen encoder's features, computed once per image and kept.

use std::{
    hint::black_box,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::tensor::{Device, Tensor, TensorData};
use data_loaders::{
    Case, CompactMask, DataError, DataSet, TruthMask,
    augment::{AugmentSpec, View, augment, sample_key},
    error_chain, prefetch,
};
use feature_cache::{CacheError, Precision};
use image::RgbImage;
use prompting::PromptInput;
use run_record::SkippedCase;
use sam_backbone::{EncoderOutput, Frame, FrozenSam, ImageSize, ResizeMode, input_tensor};

use crate::{
    feature_store::{FeatureStore, ImageName},
    frame::{frame_of, prepared},
    memory::{Reading, feature_bytes},
    progress::Progress,
    target::low_res_target,
};

/// How features are computed.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// The frozen SAM.
    pub sam: FrozenSam,
    /// Blocks whose outputs are kept beside the embedding.
    pub taps: Vec<usize>,
    /// How images are brought to the input size.
    pub resize: ResizeMode,
    /// Which view of the images.
    pub view: View,
    /// Where features are kept on the disk.
    pub store: Option<Arc<FeatureStore>>,
    /// How much is read ahead.
    pub reading: Reading,
}

/// Features of one image on the host, `f32`.
#[derive(Debug, Clone)]
pub struct HostFeatures {
    /// `[1, C, H, W]`
    pub(crate) embedding: TensorData,
    /// Each `[1, width, H, W]`.
    pub(crate) taps: Vec<TensorData>,
}

/// The encoder gave something that is no number. Masks made of it would be empty and look like a bad method.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image encoder gives infinite values or values that are no numbers: the weights of the backbone are damaged"
)]
pub struct NotFiniteError;

/// Why the features of an encoded case cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// The image cannot be read any more.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The feature cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// They are no numbers.
    #[error("no features of `{file}` of `{data}`")]
    NotFinite {
        /// Name of the data set.
        data: String,
        /// The case.
        file: String,
        /// Why.
        source: NotFiniteError,
    },
}

/// A case and its features.
#[derive(Debug, Clone)]
pub struct EncodedCase {
    /// Name of the data set.
    pub data: String,
    /// Stem of the file.
    pub id: String,
    /// Where the image lies in the input.
    pub frame: Frame,
    /// The true mask at the image's own size.
    pub truth: CompactMask,
    /// The true mask at the decoder's resolution.
    pub target: CompactMask,
    /// Place in the data set, to compute features again that were not kept.
    index: usize,
    /// Its name in the store, if there is one.
    name: Option<ImageName>,
    /// `None` if they did not fit into memory.
    features: Option<HostFeatures>,
}

/// What is at hand of a case's features before the encoder is asked: the part of the work that several
/// threads may do at once.
#[derive(Debug)]
pub(crate) enum AtHand {
    /// They are in memory, with the case.
    Kept,
    /// Read from the store: the embedding and the blocks that were asked for.
    Stored(HostFeatures),
    /// Neither: the image as the encoder is to see it.
    Image(RgbImage),
}

/// A training case after augmentation, before the encoder.
#[derive(Debug)]
pub(crate) struct AugmentedCase {
    /// As large as the encoder's input.
    pub image: RgbImage,
    /// Of `image` and `truth`: the input itself.
    pub frame: Frame,
    /// The true mask in the input.
    pub truth: TruthMask,
    /// The true mask at the decoder's resolution.
    pub target: Vec<bool>,
}

/// Does all of [`fill_store`] but to encode and store: decoding ahead with as many threads, hashing, and
/// the input of the encoder. For measuring.
///
/// # Errors
///
/// The first case that cannot be read.
pub(crate) fn walk_without_encoder(encoding: &Encoding, data: &DataSet) -> Result<(), DataError> {
    let decode = |at: usize| {
        let decoded = encoding.decode(data, at)?;
        // Without a store it has no name yet.
        let Decoded { case, frame, .. } = &decoded;
        black_box(ImageName::new(&case.image, frame, encoding.resize.name(), encoding.view));
        Ok(decoded)
    };
    let outcome = prefetch(
        data.len(),
        encoding.reading.decoders,
        encoding.reading.decode_ahead,
        decode,
        |_, decoded| match decoded {
            Ok(Decoded { case, frame, .. }) => {
                drop(input_tensor(&case.image, &frame, encoding.sam.device()));
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        },
    );
    match outcome {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What a walk over a data set found.
#[derive(Debug)]
pub struct Filled {
    /// Images whose features are stored now.
    pub images: usize,
    /// The others.
    pub skipped: Vec<SkippedCase>,
}

/// A part of the images: every `of`-th one, beginning at `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

/// A shard that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no shard; expected e.g. `0/4`, the first of four, to `3/4`, the last")]
pub struct ShardError {
    /// As given.
    text: String,
}

impl Shard {
    /// All images.
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// Shard `number` of `of`; nothing if there is none.
    pub fn new(number: usize, of: usize) -> Option<Self> {
        (number < of).then_some(Self { number, of })
    }

    /// Places of its images in a data set of `n`.
    pub fn places(self, n: usize) -> impl Iterator<Item = usize> {
        (self.number..n).step_by(self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            Self::new(number.trim().parse().ok()?, of.trim().parse().ok()?)
        });
        numbers.ok_or_else(|| ShardError { text: text.to_owned() })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Encodes every case of a shard of `data` that the store does not have, and keeps nothing in memory.
///
/// # Errors
///
/// See [`EncodeError`].
pub fn fill_store(
    encoding: &Encoding,
    data: &DataSet,
    shard: Shard,
    strict: bool,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Filled, EncodeError> {
    let places: Vec<usize> = shard.places(data.len()).collect();
    let mut images = 0;
    let count = |_, _| images += 1;
    let skipped = walk(encoding, (data, &places), strict, Some(0), progress, stop, count)?;
    Ok(Filled { images, skipped })
}

/// Encoded cases of a data set.
#[derive(Debug, Clone)]
pub struct EncodedSet {
    encoding: Encoding,
    data: DataSet,
    /// The cases that could be read, in the order of the data set.
    pub cases: Vec<EncodedCase>,
    /// The others.
    pub skipped: Vec<SkippedCase>,
    /// Held by whoever runs the encoder for a case whose features are neither in memory nor stored.
    encoder: Arc<Mutex<()>>,
}

/// Why a data set could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A case cannot be read, and `strict` is set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No case of the set can be read.
    #[error("none of the {n} cases of `{data}` can be read; the first: {first}")]
    NoCase {
        /// Name of the data set.
        data: String,
        /// Cases it should have.
        n: usize,
        /// Why the first one failed.
        first: String,
    },
    /// The feature cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The disk or network share of a data set has failed or is gone. Not a bad image: leaving out what cannot be read
    /// would leave out all that follows.
    #[error(
        "the files of `{data}` cannot be read any more; see whether the disk or network share of {} is there, then start \
         the same command again", folder.display()
    )]
    StorageLost {
        /// Name of the data set.
        data: String,
        /// The folder of the file.
        folder: PathBuf,
        /// What happened to which file.
        source: Box<DataError>,
    },
    /// The encoder gives no numbers.
    #[error("cannot encode `{file}` of `{data}`")]
    NotFinite {
        /// Name of the data set.
        data: String,
        /// The case.
        file: String,
        /// Why.
        source: NotFiniteError,
    },
    /// A file came or went between one view of a set and the next.
    #[error("the files of `{data}` changed while they were encoded")]
    Changed {
        /// Name of the data set.
        data: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Encoding {
    /// Bytes that the features of one image take.
    pub fn bytes_per_image(&self) -> u64 {
        feature_bytes(self.sam.config(), &self.taps)
    }

    /// Features of one decoded image.
    ///
    /// # Errors
    ///
    /// [`NotFiniteError`]
    fn encode(&self, image: &RgbImage, frame: &Frame) -> Result<HostFeatures, NotFiniteError> {
        let input = input_tensor(image, frame, self.sam.device());
        let features = HostFeatures::of(self.sam.encode(input, &self.taps));
        if features.are_finite() { Ok(features) } else { Err(NotFiniteError) }
    }

    /// How numbers are rounded, `None` if they are not.
    pub fn precision(&self) -> Option<Precision> {
        self.store.as_ref().map(|store| store.precision())
    }

    /// The name of an image in the store, if there is one.
    fn name(&self, image: &RgbImage, frame: &Frame) -> Option<ImageName> {
        self.store.as_ref().map(|_| ImageName::new(image, frame, self.resize.name(), self.view))
    }

    /// A case as the encoder sees it.
    fn seen(&self, case: Case) -> Case {
        if self.view == View::IDENTITY {
            return case;
        }
        let (image, truth) = self.view.apply(&case.image, &case.truth);
        Case { image, truth, ..case }
    }

    /// Everything about a case but its features.
    fn decode(&self, data: &DataSet, index: usize) -> Result<Decoded, DataError> {
        let case = self.seen(data.load(index)?);
        let frame = self.frame(&case);
        let name = self.name(&case.image, &frame);
        let target = low_res_target(&case.truth, &frame, self.sam.config().low_res_size());
        Ok(Decoded { case, frame, name, target })
    }

    fn frame(&self, case: &Case) -> Frame {
        frame_of(&case.image, self.resize, self.sam.config().image_encoder.image_size)
    }
}

impl EncodedSet {
    /// Encodes every case of `data` that the store does not have, keeping features in memory while
    /// `memory` bytes last. Without `memory` no image goes through the encoder before it is asked for.
    ///
    /// Images are decoded ahead on other threads, at most [`Reading::decode_ahead`] at a time. Images that
    /// another process is encoding are left for last.
    ///
    /// # Errors
    ///
    /// See [`EncodeError`].
    pub fn new(
        encoding: Encoding,
        data: DataSet,
        strict: bool,
        memory: Option<u64>,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Self, EncodeError> {
        let mut cases: Vec<Option<EncodedCase>> = Vec::new();
        cases.resize_with(data.len(), || None);
        let keep = |index: usize, case: EncodedCase| cases[index] = Some(case);
        let all: Vec<usize> = (0..data.len()).collect();
        let skipped = walk(&encoding, (&data, &all), strict, memory, progress, stop, keep)?;
        let cases: Vec<EncodedCase> = cases.into_iter().flatten().collect();
        let kept = cases.iter().filter(|case| case.features.is_some()).count();
        if memory.is_some() && kept < cases.len() && encoding.store.is_none() {
            tracing::warn!(
                "features of {} of {} images do not fit into data.feature_memory_gib and are computed again whenever they are needed; data.feature_cache would keep them on the disk",
                cases.len() - kept,
                cases.len()
            );
        }
        Ok(Self { encoding, data, cases, skipped, encoder: Arc::default() })
    }

    /// The data set that was encoded.
    pub fn data(&self) -> &DataSet {
        &self.data
    }

    /// Whether the outputs of a block were kept.
    pub fn has_tap(&self, tap: usize) -> bool {
        self.encoding.taps.contains(&tap)
    }

    /// Which view of the images was encoded.
    pub fn view(&self) -> View {
        self.encoding.view
    }

    /// How the numbers were rounded, `None` if they were not.
    pub fn precision(&self) -> Option<Precision> {
        self.encoding.precision()
    }

    /// Memory that the kept features take, in bytes.
    pub fn bytes(&self) -> u64 {
        let kept = self.cases.iter().filter(|case| case.features.is_some()).count();
        kept as u64 * self.encoding.bytes_per_image()
    }

    /// How much is read ahead.
    pub fn reading(&self) -> Reading {
        self.encoding.reading
    }

    /// Side of the targets.
    pub fn side(&self) -> usize {
        self.encoding.sam.config().low_res_size()
    }

    /// Features of one case on `device`: embedding `[1, C, H, W]`, and the outputs of the blocks
    /// `taps`, each `[1, width, H, W]`, which must be among those that the set was encoded with.
    ///
    /// # Errors
    ///
    /// If the features were not kept and the image cannot be read any more, or if the store must store
    /// and cannot.
    ///
    /// # Panics
    ///
    /// Panics if a tap was not encoded: a bug in the caller.
    pub fn features(
        &self,
        case: &EncodedCase,
        taps: &[usize],
        device: &Device,
    ) -> Result<(Tensor<4>, Vec<Tensor<4>>), FeatureError> {
        self.features_of(case, self.at_hand(case, taps)?, taps, device)
    }

    /// The first half of [`features`](Self::features): all but the encoder and the way to the device.
    ///
    /// # Errors
    ///
    /// If the features were not kept and the image cannot be read any more.
    pub(crate) fn at_hand(&self, case: &EncodedCase, taps: &[usize]) -> Result<AtHand, DataError> {
        if case.features.is_some() {
            return Ok(AtHand::Kept);
        }
        let stored = self.stored(case).and_then(|(store, name)| store.load(name, taps));
        Ok(match stored {
            Some(features) => AtHand::Stored(features),
            None => AtHand::Image(self.seen_image(case)?),
        })
    }

    /// The second half of [`features`](Self::features), with what [`at_hand`](Self::at_hand) gave for the
    /// same case and blocks.
    ///
    /// # Errors
    ///
    /// If the store must store and cannot.
    ///
    /// # Panics
    ///
    /// Panics if a tap was not encoded, or if `at_hand` is of another case: bugs in the caller.
    pub(crate) fn features_of(
        &self,
        case: &EncodedCase,
        at_hand: AtHand,
        taps: &[usize],
        device: &Device,
    ) -> Result<(Tensor<4>, Vec<Tensor<4>>), FeatureError> {
        let encoded = &self.encoding.taps;
        let places: Vec<usize> = taps
            .iter()
            .map(|tap| encoded.iter().position(|known| known == tap).expect("an encoded tap"))
            .collect();
        let place = |data: &TensorData| Tensor::from_data(data.clone(), device);
        let on_device = |features: &HostFeatures| {
            let taps = places.iter().map(|&at| place(&features.taps[at])).collect();
            (place(&features.embedding), taps)
        };
        let image = match at_hand {
            AtHand::Kept => {
                return Ok(on_device(case.features.as_ref().expect("features of this case")));
            }
            AtHand::Stored(HostFeatures { embedding, taps }) => {
                let taps = taps.into_iter().map(|tap| Tensor::from_data(tap, device)).collect();
                return Ok((Tensor::from_data(embedding, device), taps));
            }
            AtHand::Image(image) => image,
        };
        let stored = self.stored(case);
        // One at a time: evaluation asks from several threads, and an encoder takes gigabytes.
        let one = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever had the encoder before may have come for the same image.
        if let Some((store, name)) = stored
            && let Some(features) = store.load(name, encoded)
        {
            return Ok(on_device(&features));
        }
        let features = self.encoding.encode(&image, &case.frame).map_err(|source| {
            let (data, file) = (case.data.clone(), case.id.clone());
            FeatureError::NotFinite { data, file, source }
        })?;
        drop(one);
        Ok(on_device(&match stored {
            Some((store, name)) => {
                store.begin(name);
                store.store(name, encoded, features)?
            }
            None => features,
        }))
    }

    /// Where the features of a case are stored, and under which name.
    fn stored<'a>(&'a self, case: &'a EncodedCase) -> Option<(&'a FeatureStore, &'a ImageName)> {
        self.encoding.store.as_deref().zip(case.name.as_ref())
    }

    /// A case as an augmentation shows it to the training in an epoch, decoded and changed now. The
    /// change is a function of (seed, epoch, data set, case).
    ///
    /// # Errors
    ///
    /// If the image cannot be read any more.
    pub(crate) fn augmented(
        &self,
        case: &EncodedCase,
        spec: &AugmentSpec,
        seed: u64,
        epoch: u64,
    ) -> Result<AugmentedCase, DataError> {
        let side = self.encoding.sam.config().image_encoder.image_size;
        // The input of the network is what is changed, as published: lengths are its pixels.
        let input = prepared(&self.data.load(case.index)?, self.encoding.resize, side);
        let truth = TruthMask::from_gray(&input.mask);
        let sample = sample_key(&case.data, &case.id);
        let (image, truth) = augment(&input.image, &truth, spec, seed, epoch, sample);
        let size = ImageSize { height: side, width: side };
        let frame = Frame::new(size, ResizeMode::Plain, side);
        let target = low_res_target(&truth, &frame, self.side());
        Ok(AugmentedCase { image, frame, truth, target })
    }

    /// Features of an augmented case on the encoder's device: embedding `[1, C, H, W]`, and the outputs
    /// of the blocks `taps`, each `[1, width, H, W]`.
    pub(crate) fn encode_augmented(
        &self,
        case: &AugmentedCase,
        taps: &[usize],
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let _one = self.encoder.lock().unwrap_or_else(PoisonError::into_inner);
        let input = input_tensor(&case.image, &case.frame, self.encoding.sam.device());
        let EncoderOutput { image_embedding, block_features } =
            self.encoding.sam.encode(input, taps);
        (image_embedding, block_features)
    }

    /// The image of a case in the view of this set: what the encoder is given.
    ///
    /// # Errors
    ///
    /// If it cannot be read any more.
    pub(crate) fn seen_image(&self, case: &EncodedCase) -> Result<RgbImage, DataError> {
        Ok(self.encoding.seen(self.data.load(case.index)?).image)
    }

    /// What a prompt module gets of a case, as a batch of one.
    ///
    /// # Errors
    ///
    /// If the features or the image cannot be had.
    ///
    /// # Panics
    ///
    /// Panics if a tap was not encoded: a bug in the caller.
    pub(crate) fn prompt_input(
        &self,
        case: &EncodedCase,
        taps: &[usize],
        needs_image: bool,
        seed: u64,
        device: &Device,
    ) -> Result<PromptInput, FeatureError> {
        let (image_embedding, block_features) = self.features(case, taps, device)?;
        let image = needs_image.then(|| self.seen_image(case)).transpose()?;
        let image = image.map(|image| input_tensor(&image, &case.frame, device));
        Ok(PromptInput { image_embedding, block_features, image, seeds: vec![seed] })
    }

    /// The image of a case, for pictures.
    ///
    /// # Errors
    ///
    /// If it cannot be read any more.
    pub fn image(&self, case: &EncodedCase) -> Result<RgbImage, DataError> {
        Ok(self.data.load(case.index)?.image)
    }
}

/// Decodes the cases at some places of a data set, encodes them as far as `memory` says, and hands each to `keep` with
/// its place; returns those that cannot be read.
fn walk(
    encoding: &Encoding,
    (data, places): (&DataSet, &[usize]),
    strict: bool,
    memory: Option<u64>,
    progress: &dyn Progress,
    stop: &AtomicBool,
    keep: impl FnMut(usize, EncodedCase),
) -> Result<Vec<SkippedCase>, EncodeError> {
    let mut work = Work {
        per_image: encoding.bytes_per_image(),
        encoding,
        data,
        cases: places.len(),
        memory,
        strict,
        stop,
        keep,
        skipped: Vec::new(),
    };
    let what = match encoding.view {
        View::IDENTITY => format!("encode {} {}", data.name(), data.split()),
        view => format!("encode {} {} {}", data.name(), data.split(), view.id()),
    };
    progress.start(&what, places.len() as u64);
    let left = work.pass(places, false, progress)?;
    // A pass that waits leaves nothing.
    work.pass(&left, true, progress)?;
    progress.finish();
    let skipped = work.skipped;
    // A shard of a small set may have no image at all.
    if skipped.len() == places.len() && !places.is_empty() {
        return Err(EncodeError::NoCase {
            data: data.name().to_owned(),
            n: places.len(),
            first: skipped.first().map_or_else(String::new, |case| case.reason.clone()),
        });
    }
    Ok(skipped)
}

/// A set that is being encoded.
struct Work<'a, K> {
    encoding: &'a Encoding,
    data: &'a DataSet,
    /// How many of its cases are asked for.
    cases: usize,
    per_image: u64,
    /// Bytes that are left; `None` if nothing is to be encoded.
    memory: Option<u64>,
    strict: bool,
    stop: &'a AtomicBool,
    /// Takes a case and its place in the data set.
    keep: K,
    skipped: Vec<SkippedCase>,
}

/// An image on its way to the encoder.
struct Decoded {
    case: Case,
    frame: Frame,
    name: Option<ImageName>,
    target: Vec<bool>,
}

impl<K: FnMut(usize, EncodedCase)> Work<'_, K> {
    /// Encodes the cases at `indices`. Those that another process is at are waited for with `wait`,
    /// else left and returned.
    fn pass(
        &mut self,
        indices: &[usize],
        wait: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<usize>, EncodeError> {
        let (encoding, data) = (self.encoding, self.data);
        let decode = |at: usize| encoding.decode(data, indices[at]);
        let mut left = Vec::new();
        let outcome = prefetch(
            indices.len(),
            encoding.reading.decoders,
            encoding.reading.decode_ahead,
            decode,
            |at, decoded| {
                match self.take(indices[at], decoded, wait) {
                    Ok(true) => {}
                    Ok(false) => left.push(indices[at]),
                    Err(error) => return ControlFlow::Break(error),
                }
                progress.set((self.cases - indices.len() + at + 1 - left.len()) as u64);
                ControlFlow::Continue(())
            },
        );
        match outcome {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(left),
        }
    }

    /// Encodes one case; `false` if it was left.
    fn take(
        &mut self,
        index: usize,
        decoded: Result<Decoded, DataError>,
        wait: bool,
    ) -> Result<bool, EncodeError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(EncodeError::Interrupted);
        }
        let Decoded { case, frame, name, target } = match decoded {
            Ok(decoded) => decoded,
            Err(error) if error.lost_storage().is_some() => return Err(self.lost(error)),
            Err(error) if self.strict => return Err(error.into()),
            Err(error) => {
                self.skip(index, &error);
                return Ok(true);
            }
        };
        let fits = self.memory.is_some_and(|memory| memory >= self.per_image);
        let features = match (&self.encoding.store, &name) {
            (Some(store), Some(name)) if self.memory.is_some() => {
                match self.stored(store, name, &case, &frame, wait)? {
                    Some(features) => Some(features),
                    None => return Ok(false),
                }
            }
            // What cannot be kept is computed when it is needed.
            _ if fits => Some(self.encoded(&case, &frame)?),
            _ => None,
        };
        let features = features.filter(|_| fits);
        if features.is_some() {
            self.memory = self.memory.map(|memory| memory - self.per_image);
        }
        let Case { data, id, truth, .. } = case;
        let truth = CompactMask::of(&truth);
        let side = self.encoding.sam.config().low_res_size() as u32;
        let target = CompactMask::of(&TruthMask::new(side, side, target));
        (self.keep)(index, EncodedCase { data, id, frame, truth, target, index, name, features });
        Ok(true)
    }

    /// Features from the store, computed if they are not there; `None` if another process computes
    /// them and nobody waits.
    fn stored(
        &self,
        store: &FeatureStore,
        name: &ImageName,
        case: &Case,
        frame: &Frame,
        wait: bool,
    ) -> Result<Option<HostFeatures>, EncodeError> {
        let taps = &self.encoding.taps;
        if let Some(features) = store.load(name, taps) {
            return Ok(Some(features));
        }
        let Some(_turn) = store.turn(name, wait.then_some(self.stop))? else {
            return if wait { Err(EncodeError::Interrupted) } else { Ok(None) };
        };
        // Whoever had the claim before has stored them.
        if let Some(features) = store.load(name, taps) {
            return Ok(Some(features));
        }
        store.begin(name);
        Ok(Some(store.store(name, taps, self.encoded(case, frame)?)?))
    }

    fn encoded(&self, case: &Case, frame: &Frame) -> Result<HostFeatures, EncodeError> {
        self.encoding.encode(&case.image, frame).map_err(|source| {
            let (data, file) = (case.data.clone(), case.id.clone());
            EncodeError::NotFinite { data, file, source }
        })
    }

    fn lost(&self, source: DataError) -> EncodeError {
        let folder = source.lost_storage().and_then(Path::parent).unwrap_or(Path::new("."));
        let (data, folder) = (self.data.name().to_owned(), folder.to_owned());
        EncodeError::StorageLost { data, folder, source: Box::new(source) }
    }

    fn skip(&mut self, index: usize, error: &DataError) {
        let reason = error_chain(error);
        tracing::warn!("skipped {}: {reason}", self.data.id(index));
        self.skipped.push(SkippedCase {
            data: self.data.name().to_owned(),
            split: self.data.split().to_owned(),
            file: self.data.id(index).to_owned(),
            reason,
        });
    }
}

impl HostFeatures {
    fn are_finite(&self) -> bool {
        let finite = |data: &TensorData| {
            data.as_slice::<f32>().expect("features are f32").iter().all(|value| value.is_finite())
        };
        finite(&self.embedding) && self.taps.iter().all(finite)
    }

    fn of(output: EncoderOutput) -> Self {
        Self {
            embedding: output.image_embedding.into_data(),
            taps: output.block_features.into_iter().map(Tensor::into_data).collect(),
        }
    }
}
