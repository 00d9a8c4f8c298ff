//! What can go wrong with a cache as a whole.

use std::path::PathBuf;

/// The cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system refuses something.
    #[error("cannot {action}: {}", path.display())]
    Io {
        /// What was tried, e.g. `write`.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
        /// Where.
        path: PathBuf,
    },
    /// Nothing more fits, and all that is there is in use.
    #[error("the feature cache has reached its limit of {limit} bytes: {}", path.display())]
    Full {
        /// Bytes that entries may take.
        limit: u64,
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds other things. Nothing was written or deleted.
    #[error(
        "this folder is not empty and not a feature cache (it has no `CACHEDIR.TAG` of ours): {}",
        path.display()
    )]
    NotACache {
        /// The folder.
        path: PathBuf,
    },
}

impl CacheError {
    /// An error of the file system.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, source, path }
    }
}
