//! What can go wrong in pre-training.

use std::{
    io,
    path::{Path, PathBuf},
};

use sam_backbone::{UnknownVariantError, WeightsError};

/// Why pre-training stopped.
#[derive(Debug, thiserror::Error)]
pub enum PretrainError {
    /// The TOML file or a checkpoint file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The TOML file has an unknown key, a missing key or a wrong type.
    #[error("not a pre-training file: {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// With line, column and the accepted keys.
        source: Box<toml::de::Error>,
    },
    /// No such backbone.
    #[error(transparent)]
    Variant(#[from] UnknownVariantError),
    /// The TOML file names no backbone that there is.
    #[error("`backbone` in {}", path.display())]
    Backbone {
        /// The file.
        path: PathBuf,
        /// With the known ones.
        source: UnknownVariantError,
    },
    /// A value that makes no sense.
    #[error(
        "`{key}`{} is {value}, {reason}: {}",
        stage.map(|number| format!(" of stage {number}")).unwrap_or_default(),
        path.display()
    )]
    Value {
        /// Key in the TOML file.
        key: &'static str,
        /// The stage that it stands in, counted from 1; nothing for a key above the stages.
        stage: Option<usize>,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint in the folder is of another TOML file; choose another folder or remove it.
    #[error("the checkpoint is of another experiment file: {}", path.display())]
    OtherSpec {
        /// The checkpoint's folder.
        path: PathBuf,
    },
    /// Another process works in the folder of the checkpoints.
    #[error("another process is pre-training there; wait for it or choose another folder with --checkpoints: {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The lock of the folder of the checkpoints cannot be had.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a checkpoint cannot be written.
    #[error("cannot write the checkpoint {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint cannot be made or read.
    #[error("checkpoint ({message}): {}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the store said.
        message: String,
    },
    /// The system gives no thread for a shard.
    #[error("cannot start the threads of the shards")]
    Threads {
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
    /// The weights cannot be written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The loss is no number any more; lower the learning rate.
    #[error("the loss is {loss} in step {step}")]
    Diverged {
        /// 1-based step.
        step: usize,
        /// The loss.
        loss: f64,
    },
}

impl PretrainError {
    pub(crate) fn checkpoint(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Checkpoint { path: path.to_owned(), message: error.to_string() }
    }
}
