//! The threads that a process computes with: rayon's, which Burn uses too.

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use thiserror::Error;

/// More threads than any machine has processors.
pub const MOST_THREADS: usize = 1024;

/// Why there are no threads to compute with.
#[derive(Debug, Error)]
pub enum ThreadsError {
    /// Somebody has mistyped the number. It is not lowered in silence, since last digits depend on it.
    #[error(
        "RAYON_NUM_THREADS is {asked}: at most {MOST_THREADS} threads, better as many as processors, {processors}"
    )]
    TooMany {
        /// `RAYON_NUM_THREADS` as it is set.
        asked: usize,
        /// Processors that this program may use.
        processors: usize,
    },
    /// The system does not give as many, e.g. under `ulimit -u`.
    #[error(
        "cannot start the threads that compute; allow this program more of them (`ulimit -u`), or lower RAYON_NUM_THREADS"
    )]
    Start(#[from] ThreadPoolBuildError),
}

/// Starts the threads, as many as `asked` (the text of `RAYON_NUM_THREADS`; what is no number above 0 counts as not set,
/// as in rayon) or as there are processors.
///
/// # Errors
///
/// See [`ThreadsError`].
pub fn start(asked: Option<&str>) -> Result<(), ThreadsError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = asked.and_then(|asked| asked.parse().ok()).filter(|&asked: &usize| asked > 0);
    if let Some(asked) = asked.filter(|&asked| asked > MOST_THREADS) {
        return Err(ThreadsError::TooMany { asked, processors });
    }
    Ok(ThreadPoolBuilder::new().num_threads(asked.unwrap_or(0)).build_global()?)
}
