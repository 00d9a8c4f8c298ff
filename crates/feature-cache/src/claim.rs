//! Locks of work in progress: two processes shall not compute the same features.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{CacheError, FeatureCache, FeatureKey};

/// How often a lock that another process holds is tried.
const PATIENCE: Duration = Duration::from_millis(20);

/// The right to compute what a key names. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct Claim {
    file: File,
    path: PathBuf,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is held, see `is_still_there`. If it fails, an empty file stays.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

impl FeatureCache {
    /// Claims the work that `key` comes from, `None` if another process is at it.
    ///
    /// Look into the cache *after* claiming: the one before may have stored it meanwhile.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn claim(&self, key: &FeatureKey) -> Result<Option<Claim>, CacheError> {
        take(&self.claims().join(key.work()))
    }

    /// Claims the work that `key` comes from, waiting for whoever is at it. `None` once `stop` is set.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn wait_for(
        &self,
        key: &FeatureKey,
        stop: &AtomicBool,
    ) -> Result<Option<Claim>, CacheError> {
        wait(&self.claims().join(key.work()), stop)
    }
}

fn take(path: &Path) -> Result<Option<Claim>, CacheError> {
    loop {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(CacheError::io("open the lock", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some network file systems know no locks: then work may be done twice, and is not wrong.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(CacheError::io("lock", path)(error)),
        }
        // The owner before may have removed the file between our opening and our locking it; then the
        // lock is on a file that nobody else will ever open.
        if is_still_there(&file, path).map_err(CacheError::io("look at the lock", path))? {
            return Ok(Some(Claim { file, path: path.to_owned() }));
        }
    }
}

#[cfg(unix)]
fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Here lock files are never removed.
#[cfg(not(unix))]
fn is_still_there(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

pub(crate) fn wait(path: &Path, stop: &AtomicBool) -> Result<Option<Claim>, CacheError> {
    while !stop.load(Ordering::Relaxed) {
        if let Some(claim) = take(path)? {
            return Ok(Some(claim));
        }
        std::thread::sleep(PATIENCE);
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::key::tests::key;

    #[test]
    fn one_at_a_time_computes_the_same_thing() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [0, 1].map(|_| FeatureCache::open(folder.path(), u64::MAX).unwrap());
        let claim = one.claim(&key("a")).unwrap().unwrap();
        assert!(two.claim(&key("a")).unwrap().is_none());
        assert!(two.claim(&key("b")).unwrap().is_some());
        let other_tensor = FeatureKey { tensor: "block 2".into(), ..key("a") };
        assert!(two.claim(&other_tensor).unwrap().is_none());
        assert!(two.wait_for(&key("a"), &AtomicBool::new(true)).unwrap().is_none());
        drop(claim);
        let claim = two.claim(&key("a")).unwrap().unwrap();
        drop(claim);
        assert_eq!(fs::read_dir(one.claims()).unwrap().count(), 0);
    }

    #[test]
    fn of_many_that_come_and_go_never_two_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        if let Some(_claim) = take(&path).unwrap() {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            turns.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(turns.load(Ordering::SeqCst) > 4);
    }

    #[test]
    fn who_waits_goes_on_when_the_other_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        let claim = cache.claim(&key("a")).unwrap().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope
                .spawn(|| cache.wait_for(&key("a"), &AtomicBool::new(false)).unwrap().is_some());
            cache.put(&key("a"), &[1], &[7.0]).unwrap();
            drop(claim);
            assert!(waiting.join().unwrap());
        });
        assert!(cache.contains(&key("a")));
    }
}
