//! Cases ready for the adapters: the frozen encoder's features, computed once per image and kept.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use data_loaders::{Case, DataError, DataSet, TruthMask};
use rayon::prelude::*;
use run_record::SkippedCase;
use sam_backbone::{EncoderOutput, Frame, FrozenSam, ImageSize, ResizeMode, input_tensor};

use crate::{progress::Progress, target::low_res_target};

/// Images decoded ahead of the encoder.
const DECODE_AHEAD: usize = 8;

/// How features are computed.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// The frozen SAM.
    pub sam: FrozenSam,
    /// Blocks whose outputs are kept beside the embedding.
    pub taps: Vec<usize>,
    /// How images are brought to the input size.
    pub resize: ResizeMode,
}

/// Features of one image on the host, `f32`.
#[derive(Debug, Clone)]
pub struct HostFeatures {
    /// `[1, C, H, W]`
    embedding: TensorData,
    /// Each `[1, width, H, W]`.
    taps: Vec<TensorData>,
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
    pub truth: TruthMask,
    /// The true mask at the decoder's resolution, zeros and ones.
    pub target: Vec<f32>,
    /// Place in the data set, to compute features again that were not kept.
    index: usize,
    /// `None` if they did not fit into memory.
    features: Option<HostFeatures>,
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
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Encoding {
    /// Bytes that the features of one image take.
    pub fn bytes_per_image(&self) -> u64 {
        let encoder = &self.sam.config().image_encoder;
        let cells = (encoder.grid_size() * encoder.grid_size()) as u64;
        4 * cells * (encoder.embed_dim + self.taps.len() * encoder.width) as u64
    }

    /// Features of one decoded image.
    fn encode(&self, image: &image::RgbImage, frame: &Frame) -> EncoderOutput {
        self.sam.encode(input_tensor(image, frame, self.sam.device()), &self.taps)
    }

    fn frame(&self, case: &Case) -> Frame {
        let (width, height) = case.image.dimensions();
        let size = ImageSize { height: height as usize, width: width as usize };
        Frame::new(size, self.resize, self.sam.config().image_encoder.image_size)
    }
}

impl EncodedSet {
    /// Encodes every case of `data`, keeping features while `memory` bytes last.
    ///
    /// # Errors
    ///
    /// See [`EncodeError`].
    pub fn new(
        encoding: Encoding,
        data: DataSet,
        strict: bool,
        memory: u64,
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Self, EncodeError> {
        let side = encoding.sam.config().low_res_size();
        let mut memory = memory;
        let per_image = encoding.bytes_per_image();
        let mut set = Self {
            encoding,
            data: data.clone(),
            cases: Vec::with_capacity(data.len()),
            skipped: Vec::new(),
        };
        progress.start(&format!("encode {} {}", data.name(), data.split()), data.len() as u64);
        for first in (0..data.len()).step_by(DECODE_AHEAD) {
            let indices = first..(first + DECODE_AHEAD).min(data.len());
            let decoded: Vec<_> =
                indices.into_par_iter().map(|index| (index, data.load(index))).collect();
            for (index, case) in decoded {
                if stop.load(Ordering::Relaxed) {
                    return Err(EncodeError::Interrupted);
                }
                match case {
                    Ok(case) => {
                        let frame = set.encoding.frame(&case);
                        let features = (memory >= per_image).then(|| {
                            memory -= per_image;
                            HostFeatures::of(set.encoding.encode(&case.image, &frame))
                        });
                        set.cases.push(EncodedCase {
                            target: low_res_target(&case.truth, &frame, side),
                            data: case.data,
                            id: case.id,
                            frame,
                            truth: case.truth,
                            index,
                            features,
                        });
                    }
                    Err(error) if strict => return Err(error.into()),
                    Err(error) => {
                        let reason = error_chain(&error);
                        tracing::warn!("skipped {}: {reason}", data.id(index));
                        set.skipped.push(SkippedCase {
                            data: data.name().to_owned(),
                            split: data.split().to_owned(),
                            file: data.id(index).to_owned(),
                            reason,
                        });
                    }
                }
                progress.set(index as u64 + 1);
            }
        }
        progress.finish();
        if set.cases.is_empty() {
            return Err(EncodeError::NoCase {
                data: data.name().to_owned(),
                n: data.len(),
                first: set.skipped.first().map_or_else(String::new, |case| case.reason.clone()),
            });
        }
        let kept = set.cases.iter().filter(|case| case.features.is_some()).count();
        if kept < set.cases.len() {
            tracing::warn!(
                "features of {} of {} images do not fit into data.feature_memory_gib and are computed again whenever they are needed",
                set.cases.len() - kept,
                set.cases.len()
            );
        }
        Ok(set)
    }

    /// The data set that was encoded.
    pub fn data(&self) -> &DataSet {
        &self.data
    }

    /// Whether the outputs of a block were kept.
    pub fn has_tap(&self, tap: usize) -> bool {
        self.encoding.taps.contains(&tap)
    }

    /// Memory that the kept features take, in bytes.
    pub fn bytes(&self) -> u64 {
        let kept = self.cases.iter().filter(|case| case.features.is_some()).count();
        kept as u64 * self.encoding.bytes_per_image()
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
    /// If the features were not kept and the image cannot be read any more.
    ///
    /// # Panics
    ///
    /// Panics if a tap was not encoded: a bug in the caller.
    pub fn features(
        &self,
        case: &EncodedCase,
        taps: &[usize],
        device: &Device,
    ) -> Result<(Tensor<4>, Vec<Tensor<4>>), DataError> {
        let encoded = &self.encoding.taps;
        let places: Vec<usize> = taps
            .iter()
            .map(|tap| encoded.iter().position(|known| known == tap).expect("an encoded tap"))
            .collect();
        if let Some(features) = &case.features {
            let place = |data: &TensorData| Tensor::from_data(data.clone(), device);
            let taps = places.iter().map(|&at| place(&features.taps[at])).collect();
            return Ok((place(&features.embedding), taps));
        }
        let image = self.data.load(case.index)?.image;
        let output = self.encoding.encode(&image, &case.frame);
        let taps = places.iter().map(|&at| output.block_features[at].clone()).collect();
        Ok((output.image_embedding, taps))
    }

    /// The image of a case, for pictures.
    ///
    /// # Errors
    ///
    /// If it cannot be read any more.
    pub fn image(&self, case: &EncodedCase) -> Result<image::RgbImage, DataError> {
        Ok(self.data.load(case.index)?.image)
    }
}

impl HostFeatures {
    fn of(output: EncoderOutput) -> Self {
        Self {
            embedding: output.image_embedding.into_data(),
            taps: output.block_features.into_iter().map(Tensor::into_data).collect(),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
