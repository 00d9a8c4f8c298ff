//! Locks that end with the process that holds them: one at a time works on a file or folder.
//!
//! The system's advisory locks on an empty file, which the owner removes. A process that is killed leaves the
//! file and not the lock, so there is nothing stale to recognize. For folders that several machines share, whose locks may
//! hang or hold on one machine only, there is a [`Lease`](lease::Lease); [`do_without_system_locks`] then keeps this program
//! from asking the system for any.

pub mod lease;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether the system is asked for locks.
static SYSTEM_LOCKS: AtomicBool = AtomicBool::new(true);

/// From now on no lock of the system is asked for in this process, since on some network file systems asking hangs: every
/// [`Lock`] keeps nobody out, as on a file system that knows no locks. What must have one owner takes a
/// [`Lease`](lease::Lease) besides.
pub fn do_without_system_locks() {
    SYSTEM_LOCKS.store(false, Ordering::Relaxed);
}

/// Whether the system is asked for locks.
pub fn has_system_locks() -> bool {
    SYSTEM_LOCKS.load(Ordering::Relaxed)
}

/// A lock that ends with its owner, also when the owner is killed.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    // Closing it gives the lock back.
    _file: File,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it, perhaps in this process.
    #[error("another process is at work: {}", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be made, locked or looked at.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock at once or not at all.
    ///
    /// A file system that knows no locks (some network ones) gives one that keeps nobody out.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        loop {
            // Who opens a link makes a file where it leads to.
            if std::fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink()) {
                return Err(failed(io::Error::other("a link lies in the place of a lock file")));
            }
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .map_err(failed)?;
            if !has_system_locks() {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Busy { path: path.to_owned() });
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The owner before us may have removed the file between our opening and our locking
            // it; then the lock is on a file that nobody else will ever open.
            if is_still_there(&file, path).map_err(failed)? {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

/// Whether an open file is the one that lies at `path` now: another process may have removed, renamed or replaced it.
///
/// # Errors
///
/// If the file or the path cannot be looked at.
#[cfg(unix)]
pub fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an open file is the one that lies at `path` now. Here nobody can tell, and lock files are never removed.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub fn is_still_there(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is still held: see `is_still_there`. If it fails, an empty file stays.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let first = Lock::take(&path).expect("nobody has it");
        assert!(matches!(Lock::take(&path), Err(LockError::Busy { .. })));
        drop(first);
        Lock::take(&path).expect("it was given back");
    }

    #[test]
    fn a_lock_file_without_owner_stops_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        std::fs::write(&path, "").expect("can be written");
        Lock::take(&path).expect("nobody has it");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_lock_makes_no_file_elsewhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, target) = (folder.path().join("lock"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&target, &path).expect("can be made");
        assert!(matches!(Lock::take(&path), Err(LockError::Io { .. })));
        assert!(!target.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_a_file_that_was_removed_in_the_meantime_does_not_count() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let file = File::create(&path).expect("can be made");
        assert!(is_still_there(&file, &path).expect("can be looked at"));
        std::fs::remove_file(&path).expect("can be removed");
        assert!(!is_still_there(&file, &path).expect("can be looked at"));
        // Somebody else's file of the same name.
        File::create(&path).expect("can be made");
        assert!(!is_still_there(&file, &path).expect("can be looked at"));
    }

    #[test]
    fn of_many_threads_one_at_a_time_has_the_lock() {
        use std::sync::atomic::{AtomicU32, Ordering};

        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut mine = 0;
                    while mine < 50 {
                        let Ok(lock) = Lock::take(&path) else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                        mine += 1;
                    }
                    taken.fetch_add(mine, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(taken.into_inner(), 200);
    }
}
