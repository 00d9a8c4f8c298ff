//! Looks at machine, folders, data and weights before an experiment does, and says in words what is wrong.
//!
//! A [`Question`] names what a command would use, a [`Machine`] is what there is; [`examine`] says what it makes of
//! both. It reads, plans, and writes nothing but small files of its own where it asks whether files can be written,
//! which it removes.

mod cache;
mod data;
mod disk;
mod experiment;
mod machine;
mod report;
mod system;
mod weights;

use std::path::PathBuf;

use promise::{device::DeviceKind, run::CacheFolder};

pub use machine::{Build, Cuda, Machine, X86};
pub use report::{Area, Finding, Report, Verdict};

/// What a command would use.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where tensors are to live.
    pub device: DeviceKind,
    /// Folder below which data sets are looked for.
    pub data_root: Option<PathBuf>,
    /// Folder of the run folders.
    pub runs: PathBuf,
    /// The feature cache.
    pub cache: CacheFolder,
    /// Folder of weights files.
    pub weights: PathBuf,
    /// Bytes that reading ahead and kept features may take.
    pub memory: Option<u64>,
    /// An experiment file to plan, with settings as of `--set`.
    pub experiment: Option<(PathBuf, Vec<String>)>,
}

/// Examines everything, in the order in which it is worth reading.
pub fn examine(question: &Question, machine: &Machine) -> Report {
    let mut report = Report::default();
    system::examine(question, machine, &mut report);
    disk::examine(question, &mut report);
    data::examine(question, &mut report);
    weights::examine(question, &mut report);
    cache::examine(question, &mut report);
    experiment::examine(question, machine, &mut report);
    report
}
