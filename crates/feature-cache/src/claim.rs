//! Locks of work in progress: two processes shall not compute the same features.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use file_lock::{Lock, LockError};

use crate::{CacheError, FeatureCache, FeatureKey};

/// How often a lock that another process holds is tried.
const PATIENCE: Duration = Duration::from_millis(20);

/// The right to compute what a key names. Ends when it is dropped, or with the process.
///
/// On a file system that knows no locks (some network ones) work may be done twice, which is not wrong.
#[derive(Debug)]
pub struct Claim {
    _lock: Lock,
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
    match Lock::take(path) {
        Ok(lock) => Ok(Some(Claim { _lock: lock })),
        Err(LockError::Busy { .. }) => Ok(None),
        Err(LockError::Io { path, source }) => Err(CacheError::io("lock", &path)(source)),
    }
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
    use std::fs;

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
