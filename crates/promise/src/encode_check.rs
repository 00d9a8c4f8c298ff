//! Full-size parity: a SAM at 1024 pixels against PyTorch `segment-anything` or `mobile_sam`, on demand.
//!
//! The reference is made by `tools/peers/encode_check.py` with random weights, since parity does not
//! depend on what the weights are. It takes PyTorch, some 4 GB of memory and half a minute, so it is
//! not part of the tests; those compare a small SAM with stored fixtures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use sam_backbone::{EncoderPrecision, Prompts, Variant};
use serde::Serialize;

use crate::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    environment::{device_and_model, peak_memory_mib},
    peers::{self, Arithmetic, PeerError},
};

/// The prompts that are compared.
const CASES: [&str; 3] = ["one_point", "points", "box"];

/// How far we are from the reference.
#[derive(Debug, Clone, Serialize)]
pub struct EncodeCheck {
    /// Name of the variant.
    pub variant: &'static str,
    /// Where tensors lived, with the model of a GPU.
    pub device: String,
    /// In which numbers the image encoder computed.
    pub precision: EncoderPrecision,
    /// `|ours - theirs| / |theirs|` of the image embedding.
    pub embedding_rel_l2: f64,
    /// The largest `|ours - theirs|` of it, over its largest number.
    pub embedding_worst: f64,
    /// The same of the low-resolution logits, from our own embedding, the largest over the prompts.
    pub logits_rel_l2: f64,
    /// The same from the reference's embedding: the decoder's share of the error.
    pub decoder_rel_l2: f64,
    /// Peak resident memory of this process in MiB, weights included.
    pub peak_rss_mb: f64,
    /// Seconds of one encoding, the first.
    pub encode_secs: f64,
    /// What it must keep to.
    pub bounds: Bounds,
    /// Whether both errors and the memory do.
    pub within_bounds: bool,
}

/// How far from the reference is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounds {
    /// Of the embedding's relative L2 error.
    pub embedding: f64,
    /// Of the logits' relative L2 error.
    pub logits: f64,
    /// Of the peak memory in MiB; nothing is said of a GPU, whose driver takes as much as it likes of the host's.
    pub memory_mib: Option<f64>,
}

impl Bounds {
    /// Those of a device and its numbers; nothing is said of memory.
    ///
    /// On a GPU, Burn multiplies matrices of `f32` as TF32, with 11 bits of mantissa; halves have 8 or 11 and are rounded to
    /// after every operation. Measured on an H200: 4e-4 (TF32), 8e-3 (`f16`), 6e-2 (`bf16`). On a CPU only factors of products
    /// are rounded: 6e-4 (`f16`), 5e-3 (`bf16`). A mistake of layout, order or position gives an error near 1.
    pub const fn of(arithmetic: Arithmetic) -> Self {
        let on_cpu = matches!(arithmetic.device, DeviceKind::Flex);
        let (embedding, logits) = match (on_cpu, arithmetic.precision) {
            (true, EncoderPrecision::F32) => (1e-5, 1e-4),
            (true, EncoderPrecision::F16) | (false, EncoderPrecision::F32) => (2e-3, 4e-3),
            (true, EncoderPrecision::Bf16) | (false, EncoderPrecision::F16) => (2e-2, 2e-2),
            (false, EncoderPrecision::Bf16) => (1e-1, 1e-1),
        };
        Self { embedding, logits, memory_mib: None }
    }

    /// The same with a bound on memory: what was measured on a CPU, and a third more.
    fn with_memory_of(self, variant: Variant, device: DeviceKind) -> Self {
        let memory_mib = match variant {
            Variant::Micro | Variant::VitT => 400.0,
            Variant::VitB => 1100.0,
            Variant::VitL => 3400.0,
            Variant::VitH => 6800.0,
        };
        Self { memory_mib: matches!(device, DeviceKind::Flex).then_some(memory_mib), ..self }
    }

    /// Those of a peer's output. In halves, PyTorch rounds after every operation on a CPU too, so there they are a GPU's.
    pub const fn of_peer(arithmetic: Arithmetic) -> Self {
        let Arithmetic { device, precision } = arithmetic;
        match precision {
            EncoderPrecision::F32 => Self::of(arithmetic),
            EncoderPrecision::F16 | EncoderPrecision::Bf16 => {
                let device = match device {
                    DeviceKind::Flex => DeviceKind::Cuda(0),
                    DeviceKind::Cuda(_) => device,
                };
                Self::of(Arithmetic { device, precision })
            }
        }
    }
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeCheckError {
    /// PyTorch could not be run.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The reference cannot be read.
    #[error("cannot read the reference {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The reference lacks something.
    #[error("`{key}` is missing or of another kind in {}", path.display())]
    Reference {
        /// The tensor.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// The weights do not load.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Makes the reference of a variant in a folder of its own in `folder`, unless it is there, and returns where it is.
///
/// Without `python`, a virtual environment is made in `folder` from `tools/peers/requirements.txt`.
///
/// # Errors
///
/// [`EncodeCheckError::Peer`] if Python, its packages or the script fail.
pub fn make_reference(
    workspace: &Path,
    folder: &Path,
    variant: Variant,
    python: Option<&Path>,
) -> Result<PathBuf, EncodeCheckError> {
    let own = folder.join(variant.name());
    if own.join("reference.safetensors").exists() && own.join("weights.safetensors").exists() {
        return Ok(own);
    }
    let python = peers::python(workspace, folder, python)?;
    let mut command = Command::new(python);
    command.arg(workspace.join("tools/peers/encode_check.py"));
    peers::call(command.args(["--variant", variant.name()]).arg("--out").arg(&own))?;
    Ok(own)
}

/// Compares our SAM of a variant with its reference, the folder of [`make_reference`].
///
/// # Errors
///
/// See [`EncodeCheckError`].
pub fn encode_check(
    variant: Variant,
    folder: &Path,
    arithmetic: Arithmetic,
) -> Result<EncodeCheck, EncodeCheckError> {
    let device = arithmetic.device.device()?;
    let weights = folder.join("weights.safetensors");
    let sam =
        Backbone::load(variant, Some(&weights), &device)?.computing_in(arithmetic.precision).sam;
    let path = folder.join("reference.safetensors");
    let bytes = Reference::read(&path)?;
    let reference = Reference::parse(&bytes, &path, &device)?;

    let image = reference.floats::<4>("image")?;
    let start = Instant::now();
    let embedding = sam.encode(image, &[]).image_embedding;
    let ours = values(embedding.clone());
    let encode_secs = start.elapsed().as_secs_f64();
    let theirs = reference.floats::<4>("image_embedding")?;
    let expected = values(theirs.clone());
    let embedding_rel_l2 = relative_l2(&ours, &expected);
    let embedding_worst = largest_error(&ours, &expected);

    let (mut logits_rel_l2, mut decoder_rel_l2) = (0.0_f64, 0.0_f64);
    for case in CASES {
        let key = |part: &str| format!("case.{case}.{part}");
        let points = match reference.floats::<3>(&key("point_coords")) {
            Ok(coords) => Some((coords, reference.labels(&key("point_labels"))?)),
            Err(_) => None,
        };
        let boxes = reference.floats::<2>(&key("boxes")).ok();
        let prompts = Prompts { points, boxes, mask_input: None };
        let expected = values(reference.floats::<4>(&key("low_res_logits"))?);
        let error = |embedding: &Tensor<4>| {
            let output = sam.decode(embedding.clone(), prompts.clone(), None, true);
            relative_l2(&values(output.low_res_logits), &expected)
        };
        logits_rel_l2 = logits_rel_l2.max(error(&embedding));
        decoder_rel_l2 = decoder_rel_l2.max(error(&theirs));
    }
    let peak_rss_mb = peak_memory_mib().unwrap_or(f64::NAN);
    let bounds = Bounds::of(arithmetic).with_memory_of(variant, arithmetic.device);
    Ok(EncodeCheck {
        variant: variant.name(),
        device: device_and_model(arithmetic.device),
        precision: arithmetic.precision,
        embedding_rel_l2,
        embedding_worst,
        logits_rel_l2,
        decoder_rel_l2,
        peak_rss_mb,
        encode_secs,
        bounds,
        within_bounds: embedding_rel_l2 <= bounds.embedding
            && logits_rel_l2 <= bounds.logits
            && bounds.memory_mib.is_none_or(|bound| peak_rss_mb <= bound),
    })
}

/// Inputs and outputs of PyTorch.
pub(crate) struct Reference<'a> {
    tensors: SafeTensors<'a>,
    path: &'a Path,
    device: &'a Device,
}

impl<'a> Reference<'a> {
    /// The bytes of the file.
    pub(crate) fn read(path: &Path) -> Result<Vec<u8>, EncodeCheckError> {
        fs::read(path).map_err(|source| EncodeCheckError::Read { path: path.to_owned(), source })
    }

    /// What is in them.
    pub(crate) fn parse(
        bytes: &'a [u8],
        path: &'a Path,
        device: &'a Device,
    ) -> Result<Self, EncodeCheckError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|_| EncodeCheckError::Reference {
            key: "header".into(),
            path: path.to_owned(),
        })?;
        Ok(Self { tensors, path, device })
    }

    fn missing(&self, key: &str) -> EncodeCheckError {
        EncodeCheckError::Reference { key: key.to_owned(), path: self.path.to_owned() }
    }

    pub(crate) fn floats<const D: usize>(&self, key: &str) -> Result<Tensor<D>, EncodeCheckError> {
        let view = self.tensors.tensor(key).map_err(|_| self.missing(key))?;
        if view.dtype() != Dtype::F32 || view.shape().len() != D {
            return Err(self.missing(key));
        }
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        Ok(Tensor::from_data(TensorData::new(values, view.shape().to_vec()), self.device))
    }

    pub(crate) fn labels(&self, key: &str) -> Result<Tensor<2, Int>, EncodeCheckError> {
        let view = self.tensors.tensor(key).map_err(|_| self.missing(key))?;
        if view.dtype() != Dtype::I64 || view.shape().len() != 2 {
            return Err(self.missing(key));
        }
        // Labels are -1, 0 or 1: the low byte of a little-endian integer says which.
        let values: Vec<i32> =
            view.data().chunks_exact(8).map(|bytes| i32::from(bytes[0] as i8)).collect();
        Ok(Tensor::from_data(TensorData::new(values, view.shape().to_vec()), self.device))
    }
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

/// The largest difference over the largest number of theirs.
fn largest_error(ours: &[f32], theirs: &[f32]) -> f64 {
    let largest = |numbers: &mut dyn Iterator<Item = f32>| numbers.fold(0.0_f32, f32::max);
    let error = largest(&mut ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()));
    f64::from(error / largest(&mut theirs.iter().map(|number| number.abs())))
}

/// Infinite if there is not one number of ours for each of theirs.
pub(crate) fn relative_l2(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::INFINITY;
    }
    let square = |value: f32| f64::from(value) * f64::from(value);
    let error: f64 = ours.iter().zip(theirs).map(|(a, b)| square(a - b)).sum();
    let norm: f64 = theirs.iter().map(|&value| square(value)).sum();
    (error / norm).sqrt()
}
