//! Which files are being read at this moment.
//!
//! A network share or a disk that does not answer keeps the thread that reads waiting inside the system, where no error
//! reaches it and nobody can call it back. So every read says here what it is at, and somebody else may look how long it
//! has been.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The reads under way, of all threads.
#[derive(Debug)]
struct Reads {
    next: u64,
    begun: BTreeMap<u64, (Instant, PathBuf)>,
}

static READS: Mutex<Reads> = Mutex::new(Reads { next: 0, begun: BTreeMap::new() });

fn reads() -> MutexGuard<'static, Reads> {
    // Each change is one insertion or removal.
    READS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `read`, which [`longest_read`] will name `path` meanwhile.
///
/// For whoever opens files of data, or lists folders, that may lie on a network share.
pub fn while_reading<T>(path: &Path, read: impl FnOnce() -> T) -> T {
    /// Ends the read however `read` ends.
    struct End(u64);
    impl Drop for End {
        fn drop(&mut self) {
            reads().begun.remove(&self.0);
        }
    }
    let mut all = reads();
    let number = all.next;
    all.next += 1;
    all.begun.insert(number, (Instant::now(), path.to_owned()));
    drop(all);
    let _end = End(number);
    read()
}

/// The file or folder that has been read for longest, and for how long; nothing if none is.
pub fn longest_read() -> Option<(PathBuf, Duration)> {
    // They are in the order in which they began.
    let reads = reads();
    let (begun, path) = reads.begun.values().next()?;
    Some((path.clone(), begun.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_read_of_all_threads_is_known_until_it_ends() {
        // Other tests of this process read files meanwhile, but none that began before these.
        let (first, second) = (Path::new("first"), Path::new("second"));
        let named = |path: &Path| {
            let all = reads();
            all.begun.values().any(|(_, known)| known == path)
        };
        while_reading(first, || {
            std::thread::scope(|scope| {
                scope.spawn(|| while_reading(second, || assert!(named(first) && named(second))));
            });
            assert!(named(first) && !named(second));
            let (path, waited) = longest_read().expect("at least this one");
            assert!(path == first || waited >= Duration::ZERO);
        });
        assert!(!named(first));
        let panicked = std::panic::catch_unwind(|| while_reading(second, || panic!("on purpose")));
        assert!(panicked.is_err() && !named(second));
    }
}
