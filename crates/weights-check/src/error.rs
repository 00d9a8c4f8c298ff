//! Why a weights file is refused.

use std::io;

/// Why a weights file is refused before it is read. The path is the caller's to print.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file is not there or cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder, pipe, socket or device.
    #[error("it is no regular file")]
    NotAFile,
    /// The pickle names a function or class that tensors do not need. Python would import and may call it.
    #[error(
        "its pickle names `{name}`, which no tensor needs and Python would import or call; nothing was executed. \
         If you trust the file, save its tensors alone, with torch.save(model.state_dict(), …)"
    )]
    Global {
        /// Module and name, e.g. `posix.system`.
        name: String,
    },
    /// Something is larger than it is in any model of this kind.
    #[error("{what} has {value} {unit}, at most {limit} are read")]
    Bound {
        /// What is too large.
        what: String,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        value: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A tensor is larger than the whole file.
    #[error(
        "tensor `{name}` has {bytes} bytes, more than the file ({file_bytes}): it repeats the same numbers, or its \
         shape is absurd"
    )]
    Tensor {
        /// Its name.
        name: String,
        /// Bytes that it would take.
        bytes: u64,
        /// Bytes of the file.
        file_bytes: u64,
    },
    /// A member of the archive is compressed, which PyTorch does not do: a small file could hold any number of bytes.
    #[error(
        "`{name}` in it is compressed; PyTorch stores tensors as they are, so save it again with torch.save"
    )]
    Compressed {
        /// Name of the member.
        name: String,
    },
    /// It is no weights file, is damaged, or is of a kind that is not read.
    #[error("{reason}")]
    Format {
        /// What is wrong.
        reason: String,
    },
}
