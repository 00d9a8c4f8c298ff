//! What a weights file may hold, checked before anybody reads it.
//!
//! Weights come from strangers. Burn reads `.pth` files and safetensors as data and executes nothing, but it takes
//! a file at its word in places: a pickle of a few bytes may ask it for all memory, and a call of `os.system`
//! beside good tensors is passed over in silence. [`check`] looks at the parts of the file that say what is in it, with
//! memory that does not depend on what they say, and refuses
//!
//! - a pickle that names anything but what `torch.save` writes for tensors ([`Refused::Global`]),
//! - a pickle, header, text or number of tensors beyond every model of this kind ([`Refused::Bound`]),
//! - compressed tensors, of which a small file may hold any number ([`Refused::Compressed`]),
//! - formats that no checkpoint of SAM has ([`Refused::Format`]).
//!
//! Each tensor is then no larger than the file, once its size was compared with it ([`check_tensor`]).
//!
//! A file that passes may still be damaged or of another model: that is for its reader to say. A file that is
//! changed between check and reading was checked for nothing; who can do that can also change the program.

mod archive;
mod error;
mod pickle;
mod safetensors;

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::Path;

pub use error::Refused;

/// The longest weights file, 16 GiB: ViT-H with the two moments of Adam in double precision has 15.4 GB.
pub const MAX_FILE_BYTES: u64 = 16 << 30;

/// The longest pickle, 32 MiB. That of ViT-H has 0.1 MiB.
pub const MAX_PICKLE_BYTES: u64 = 32 << 20;

/// The longest header of a safetensors file, 16 MiB. That of ViT-H has 0.1 MiB; the format itself allows 100 MB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The longest text or number in a pickle, 64 KiB. Names of tensors have some hundred bytes.
pub const MAX_TEXT_BYTES: u64 = 64 << 10;

/// The most tensors, 10,000. ViT-H has 596.
pub const MAX_TENSORS: u64 = 10_000;

/// The most members of an archive, 20,000: one for each tensor, and a few texts.
pub const MAX_MEMBERS: u64 = 20_000;

/// The deepest nesting of dictionaries, lists and tuples in a pickle. A checkpoint has 3 to 6 levels; readers walk
/// them by recursion.
pub const MAX_NESTING: u32 = 64;

/// The most memory that the objects of a pickle, and the names of its tensors, may take, 256 MiB, by a generous
/// estimate. ViT-H takes some 10 MiB.
///
/// A byte of a pickle may become an object of hundred bytes, and a reference a copy of a whole tree.
pub const MAX_OBJECT_BYTES: u64 = 256 << 20;

/// What kind of file it is, by its content (a pickle) or its name (safetensors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A pickle in a zip archive, in the file format before that, or alone.
    Pickle,
    /// Safetensors.
    Safetensors,
}

impl Format {
    /// The format that the name of a file promises: `.safetensors`, or else a pickle.
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(name) if name.eq_ignore_ascii_case("safetensors") => Self::Safetensors,
            _ => Self::Pickle,
        }
    }
}

/// The length of a regular file that is not too long for weights: enough to read it once, for its checksum.
///
/// # Errors
///
/// [`Refused::Io`], [`Refused::NotAFile`], [`Refused::Bound`]
pub fn file_length(path: &Path) -> Result<u64, Refused> {
    // Before it is opened: to open a pipe is to wait for somebody who writes.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Refused::NotAFile);
    }
    bound("the file", "bytes", metadata.len(), MAX_FILE_BYTES)?;
    Ok(metadata.len())
}

/// Looks at what a file says about itself; gives its length in bytes.
///
/// # Errors
///
/// [`Refused`]
pub fn check(path: &Path, format: Format) -> Result<u64, Refused> {
    let length = file_length(path)?;
    let mut file = File::open(path)?;
    match format {
        Format::Safetensors => safetensors::check(&mut file, length)?,
        Format::Pickle => {
            let mut head = Vec::new();
            file.by_ref().take(archive::HEAD_BYTES).read_to_end(&mut head)?;
            file.rewind()?;
            archive::check(file, &head)?;
        }
    }
    Ok(length)
}

/// Refuses a tensor that is larger than the file that it comes from, before it is read.
///
/// In a pickle a tensor may repeat the same numbers (stride 0), so 1 KB can ask for 10 GB. Weights never do.
///
/// # Errors
///
/// [`Refused::Tensor`]
pub fn check_tensor(name: &str, bytes: u64, file_bytes: u64) -> Result<(), Refused> {
    if bytes > file_bytes {
        return Err(Refused::Tensor { name: name.into(), bytes, file_bytes });
    }
    Ok(())
}

/// Refuses `value` if it is above `limit`.
fn bound(what: &str, unit: &'static str, value: u64, limit: u64) -> Result<(), Refused> {
    if value > limit {
        return Err(Refused::Bound { what: what.into(), unit, value, limit });
    }
    Ok(())
}

/// An error of a reader that met the end of what it may read: the file is cut, or lies about a length.
fn cut(error: io::Error) -> Refused {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Refused::Format { reason: "it ends too early".into() },
        _ => Refused::Io(error),
    }
}
