//! One process at a time works on a run.
//!
//! On one machine by a lock of the system, which ends with its process. Among machines that share the folder by a lease
//! besides, which needs nothing of the file system but that of many who create a file one succeeds.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use file_lock::{Lock, LockError, lease};
use run_record::RunFolder;

use crate::run_folder::RunFolderError;

/// Folder of the locks, beside the run folders.
const LOCKS_DIR: &str = ".locks";

/// How often a lock that another process holds is tried.
const PATIENCE: Duration = Duration::from_millis(100);

/// The right to work on a run. Ends when it is dropped, or with the process, also a killed one.
#[derive(Debug)]
pub(crate) struct RunLock {
    // In this order: who waits for the lock finds no lease of a process that is here and well.
    _lease: lease::Lease,
    _lock: Lock,
}

impl RunLock {
    /// Takes the lock of a run, waiting for whoever has it. `None` once `stop` is set.
    ///
    /// # Errors
    ///
    /// [`RunFolderError::Prepare`] if the lock file cannot be made or locked.
    pub fn take(folder: &RunFolder, stop: &AtomicBool) -> Result<Option<Self>, RunFolderError> {
        let locks = folder.root().with_file_name(LOCKS_DIR);
        let path = locks.join(folder.root().file_name().unwrap_or_default());
        let failed = |source| RunFolderError::Prepare { path: path.clone(), source };
        fs::create_dir_all(&locks).map_err(failed)?;
        let lease_path = path.with_added_extension("lease");
        let mut seeker = lease::Seeker::new(&lease_path);
        let mut told = false;
        loop {
            match Lock::take(&path) {
                Ok(lock) => {
                    let lease = seeker.try_take().map_err(|source| {
                        let path = lease_path.clone();
                        RunFolderError::Prepare { path, source: atomic_file::explained(source) }
                    })?;
                    if let Some(lease) = lease {
                        return Ok(Some(Self { _lease: lease, _lock: lock }));
                    }
                }
                Err(LockError::Busy { .. }) => {}
                Err(LockError::Io { path, source }) => {
                    return Err(RunFolderError::Prepare { path, source });
                }
            }
            if !told {
                let who = seeker.holder().unwrap_or_else(|| "another process".into());
                tracing::info!("{who} is at it, waiting: {}", folder.root().display());
                told = true;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            std::thread::sleep(PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_waits_until_the_first_is_gone_or_it_is_told_to_stop() {
        let runs = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::of(runs.path(), "e", "a", 1);
        let (go, stop) = (AtomicBool::new(false), AtomicBool::new(true));
        let first = RunLock::take(&folder, &go).expect("locked").expect("nobody has it");
        assert!(RunLock::take(&folder, &stop).expect("no error").is_none());
        let other = RunFolder::of(runs.path(), "e", "b", 1);
        assert!(RunLock::take(&other, &stop).expect("no error").is_some(), "another run");
        drop(first);
        assert!(RunLock::take(&folder, &go).expect("locked").is_some());
    }
}
