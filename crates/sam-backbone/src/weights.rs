//! Loading and saving SAM weights under the official checkpoints' key names.
//!
//! # Key map
//!
//! The modules carry the checkpoint's names, so a path in the module tree is a key of the file:
//! `image_encoder.blocks.3.attn.qkv.weight`, `prompt_encoder.mask_downscaling.6.bias`,
//! `mask_decoder.output_hypernetworks_mlps.0.layers.2.weight`. Two things differ and are translated
//! on the way: Burn stores the weight of a linear layer transposed, and calls the two tensors of a
//! layer norm `gamma` and `beta`. What MobileSAM's checkpoint holds beside its encoder and decoder (a head for
//! classification, counters of training) is left out by name, and nothing else is.
//!
//! A `.pth` file is a pickle. It is read as data: nothing in it is executed, and a pickle that asks
//! for anything but tensors is refused. `weights-check` looks at every file before it is read.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use burn::{
    store::{
        ApplyError, BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot,
        ModuleStore, PyTorchToBurnAdapter, PytorchStore, SafetensorsStore,
        burn_pack::Tensor as PackTensor,
    },
    tensor::DType,
};
use file_watchdog::watched;
use sha2::{Digest, Sha256};
use weights_check::{Format, Refused, check, check_tensor, file_length};

use crate::{
    checkpoints::{KNOWN_CHECKPOINTS, KnownCheckpoint},
    sam::Sam,
    tensor_hash::not_finite,
};

/// Where weights come from.
#[derive(Debug, Clone)]
pub enum WeightsSource {
    /// A `.pth` or `.safetensors` file.
    File(PathBuf),
    /// A safetensors file inside the program.
    Embedded {
        /// Shown in messages and records.
        name: &'static str,
        /// The bytes of the file.
        bytes: &'static [u8],
    },
}

impl WeightsSource {
    /// What to call it in a record: the path, or the embedded file's name.
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded { name, .. } => format!("embedded {name}"),
        }
    }
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// The published checkpoint that it is, if it is one.
    pub known: Option<KnownCheckpoint>,
    /// Tensors loaded.
    pub n_tensors: usize,
}

/// A tensor whose shape in the file is not the one that the module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Key in the file.
    pub name: String,
    /// Shape that the module needs, in the checkpoint's layout.
    pub expected: Vec<usize>,
    /// Shape in the file.
    pub actual: Vec<usize>,
}

/// Why SAM weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file is not there or cannot be read.
    #[error("cannot read weights from {origin}")]
    Read {
        /// The file.
        origin: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file has the name of a published release, but other bytes: download it again.
    #[error(
        "checksum {actual}, but the published {file_name} has {expected}: download it again, or rename it if it is your own; in {origin}"
    )]
    Checksum {
        /// The name of the release.
        file_name: &'static str,
        /// The published SHA-256.
        expected: &'static str,
        /// The SHA-256 of this file.
        actual: String,
        /// The file.
        origin: String,
    },
    /// The file asks for code to be run, or for more than a weights file can hold.
    #[error("weights are refused: {origin}")]
    Refused {
        /// The file.
        origin: String,
        /// Why.
        source: Refused,
    },
    /// The file has another format than its name says, or is truncated.
    #[error("not a readable weights file ({message}): {origin}")]
    Format {
        /// What the reader said.
        message: String,
        /// The file.
        origin: String,
    },
    /// Not one tensor of the file has a name that SAM knows: it holds something else.
    #[error("{} in {origin}", no_sam_text(found))]
    NoSam {
        /// The file.
        origin: String,
        /// Names of the tensors it holds, sorted.
        found: Vec<String>,
    },
    /// Names or shapes do not fit the backbone.
    #[error("{}", mismatch_text(origin, missing, unused, misshapen))]
    Mismatch {
        /// The file.
        origin: String,
        /// Keys that the module needs and the file lacks, sorted.
        missing: Vec<String>,
        /// Keys of the file that the module has no place for, sorted.
        unused: Vec<String>,
        /// Tensors of another shape, sorted by name.
        misshapen: Vec<ShapeMismatch>,
    },
    /// A tensor could not be read.
    #[error("tensor `{name}` cannot be read ({message}): {origin}")]
    Tensor {
        /// Key in the file.
        name: String,
        /// What the reader said.
        message: String,
        /// The file.
        origin: String,
    },
    /// A tensor holds infinities or numbers that are none.
    #[error(
        "tensor `{name}` holds NaN or infinity, so the file is damaged; get it again: {origin}"
    )]
    NotFinite {
        /// Key in the file.
        name: String,
        /// The file.
        origin: String,
    },
    /// The file could not be written.
    #[error("cannot write weights ({message}) to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the writer said.
        message: String,
    },
}

fn no_sam_text(found: &[String]) -> String {
    match found {
        [] => "no tensor".into(),
        [first, ..] => {
            format!("no tensor of SAM, but {} others, the first `{first}`,", found.len())
        }
    }
}

fn mismatch_text(
    origin: &str,
    missing: &[String],
    unused: &[String],
    misshapen: &[ShapeMismatch],
) -> String {
    let mut text = format!(
        "weights do not fit this backbone ({} missing, {} unused, {} of another shape): {origin}",
        missing.len(),
        unused.len(),
        misshapen.len()
    );
    // Writing to a String cannot fail.
    for name in missing {
        let _ = write!(text, "\n  missing   {name}");
    }
    for name in unused {
        let _ = write!(text, "\n  unused    {name}");
    }
    for ShapeMismatch { name, expected, actual } in misshapen {
        let _ = write!(text, "\n  misshapen {name}: {actual:?}, expected {expected:?}");
    }
    text
}

/// Loads all weights of `sam` and checks that the file fits exactly.
///
/// Half-precision tensors become `f32`. On an error `sam` may hold some of the file's tensors and
/// must not be used.
///
/// # Errors
///
/// See [`WeightsError`]: unreadable, refused unread, wrong checksum of a known file, wrong format, or names and
/// shapes that do not fit, all of them listed.
pub fn load_weights(sam: &mut Sam, source: &WeightsSource) -> Result<LoadReport, WeightsError> {
    let origin = source.describe();
    let refused = |refused| match refused {
        Refused::Io(source) => WeightsError::Read { origin: origin.clone(), source },
        Refused::Format { reason } => {
            WeightsError::Format { message: reason, origin: origin.clone() }
        }
        source => WeightsError::Refused { origin: origin.clone(), source },
    };
    let length = match source {
        WeightsSource::File(path) => watched(path, || file_length(path)).map_err(refused)?,
        WeightsSource::Embedded { bytes, .. } => bytes.len() as u64,
    };
    let sha256 = match source {
        WeightsSource::File(path) => file_sha256(path)
            .map_err(|source| WeightsError::Read { origin: origin.clone(), source })?,
        WeightsSource::Embedded { bytes, .. } => hex::encode(Sha256::digest(bytes)),
    };
    // First, since it says what to do: a published file that was cut is to be downloaded again.
    let known = known_checkpoint(source, &sha256)?;
    if let WeightsSource::File(path) = source {
        watched(path, || check(path, Format::of(path))).map_err(refused)?;
    }

    let format_error = |message: String| WeightsError::Format { message, origin: origin.clone() };
    let tensors = match source {
        WeightsSource::File(path) => watched(path, || match Format::of(path) {
            Format::Safetensors => all_tensors(&mut SafetensorsStore::from_file(path.clone())),
            Format::Pickle => all_tensors(
                // The names keep the gaps that activations leave in a `Sequential`.
                &mut PytorchStore::from_file(path.clone()).map_indices_contiguous(false),
            ),
        }),
        WeightsSource::Embedded { bytes, .. } => {
            all_tensors(&mut SafetensorsStore::from_bytes(Some(bytes.to_vec())))
        }
    }
    .map_err(format_error)?;
    let tensors: Vec<PackTensor> =
        tensors.into_iter().filter(|tensor| !sam.image_encoder.leaves_out(&tensor.name)).collect();
    // Before the first is read, which happens before its shape is compared with the module's.
    for tensor in &tensors {
        check_tensor(&tensor.name, tensor.byte_len() as u64, length).map_err(refused)?;
    }
    let shapes: HashMap<String, Vec<usize>> =
        tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.to_vec())).collect();

    let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
    // Only now the numbers are read.
    let result =
        watched(Path::new(&origin), || sam.apply(tensors, None, Some(Box::new(adapter)), true));

    let mut misshapen = Vec::new();
    for error in &result.errors {
        match error {
            ApplyError::ShapeMismatch { path, expected, found } => {
                let name = official_name(path);
                let actual = shapes.get(&name).cloned().unwrap_or_else(|| found.to_vec());
                let mut expected = expected.to_vec();
                if actual != found.to_vec() {
                    // The weight of a linear layer: turn Burn's layout back into the file's.
                    expected.reverse();
                }
                misshapen.push(ShapeMismatch { name, expected, actual });
            }
            ApplyError::DTypeMismatch { path, .. }
            | ApplyError::AdapterError { path, .. }
            | ApplyError::LoadError { path, .. } => {
                return Err(WeightsError::Tensor {
                    name: official_name(path),
                    message: error.to_string(),
                    origin,
                });
            }
        }
    }
    let mut missing: Vec<String> =
        result.missing.iter().map(|(path, _)| official_name(path)).collect();
    let mut unused = result.unused.clone();
    if missing.is_empty() && unused.is_empty() && misshapen.is_empty() {
        if let Some(path) = not_finite(sam) {
            return Err(WeightsError::NotFinite { name: official_name(&path), origin });
        }
        return Ok(LoadReport { sha256, known, n_tensors: result.applied.len() });
    }
    unused.sort_unstable();
    if result.applied.is_empty() && misshapen.is_empty() {
        return Err(WeightsError::NoSam { origin, found: unused });
    }
    missing.sort_unstable();
    misshapen.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Err(WeightsError::Mismatch { origin, missing, unused, misshapen })
}

/// Saves all weights of `sam` as safetensors under the official names, in `dtype` (`F32` or `F16`),
/// with one entry of metadata.
///
/// # Errors
///
/// [`WeightsError::Write`] if the file cannot be written.
pub fn save_weights(
    sam: &Sam,
    path: &Path,
    dtype: DType,
    (key, value): (&str, &str),
) -> Result<(), WeightsError> {
    let mut store = SafetensorsStore::from_bytes(None)
        // More than one entry would be written in the random order of a hash map, and the same
        // weights shall be the same bytes.
        .clear_metadata()
        .metadata(key, value)
        .skip_enum_variants(true)
        .with_to_adapter(BurnToPyTorchAdapter.chain(FloatCastAdapter::to(dtype)));
    let failed = |message: String| WeightsError::Write { path: path.to_owned(), message };
    let bytes = store.collect_from(sam).and_then(|()| store.get_bytes());
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    atomic_file::write(path, &bytes).map_err(|error| failed(error.to_string()))
}

fn all_tensors<S: ModuleStore>(store: &mut S) -> Result<Vec<PackTensor>, String> {
    match store.get_all_tensors() {
        Ok(tensors) => Ok(tensors.values().cloned().collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// The key in the file of a path in the module tree.
fn official_name(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((parent, "gamma")) => format!("{parent}.weight"),
        Some((parent, "beta")) => format!("{parent}.bias"),
        _ => path.to_owned(),
    }
}

/// The published checkpoint that `source` is, by content; a published name with other content is
/// an error.
fn known_checkpoint(
    source: &WeightsSource,
    sha256: &str,
) -> Result<Option<KnownCheckpoint>, WeightsError> {
    if let Some(known) = KNOWN_CHECKPOINTS.iter().find(|known| known.sha256 == Some(sha256)) {
        return Ok(Some(*known));
    }
    let WeightsSource::File(path) = source else { return Ok(None) };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let by_name = KNOWN_CHECKPOINTS.iter().find(|known| known.file_name == name);
    match by_name.and_then(|known| Some((known.file_name, known.sha256?))) {
        Some((file_name, expected)) => Err(WeightsError::Checksum {
            file_name,
            expected,
            actual: sha256.to_owned(),
            origin: source.describe(),
        }),
        // Not published under this name, or we do not know what it should be.
        None => Ok(None),
    }
}

fn file_sha256(path: &Path) -> io::Result<String> {
    let mut file = watched(path, || File::open(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match watched(path, || file.read(&mut buffer))? {
            0 => return Ok(hex::encode(hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
