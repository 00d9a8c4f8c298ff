//! Which files a program waits for at this moment, and when to give one up.
//!
//! A network share or a disk that does not answer keeps the thread that reads or writes waiting inside the system, where
//! no error reaches it and nobody can call it back. So every access to a file that may lie on one says here what it is
//! at ([`watched`]), and a thread of its own looks how long that has been ([`Watchdog`]). What to do about a file that
//! does not come is the program's business: it can only end itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// After so long it is said what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// How often a watchdog looks.
const PERIOD: Duration = Duration::from_secs(1);

/// The accesses under way, of all threads.
#[derive(Debug)]
struct UnderWay {
    next: u64,
    begun: BTreeMap<u64, (Instant, PathBuf)>,
}

static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay { next: 0, begun: BTreeMap::new() });

fn under_way() -> MutexGuard<'static, UnderWay> {
    // Each change is one insertion or removal.
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `access`, which [`longest`] will name `path` meanwhile.
///
/// For whoever opens, reads, lists or writes. A file of many gigabytes is read in pieces, each watched by itself: what is
/// slow and goes on shall not be taken for what hangs. Nothing that waits for another process or for computation belongs
/// inside.
pub fn watched<T>(path: &Path, access: impl FnOnce() -> T) -> T {
    /// Ends the access however `access` ends.
    struct End(u64);
    impl Drop for End {
        fn drop(&mut self) {
            under_way().begun.remove(&self.0);
        }
    }
    let mut all = under_way();
    let number = all.next;
    all.next += 1;
    all.begun.insert(number, (Instant::now(), path.to_owned()));
    drop(all);
    let _end = End(number);
    access()
}

/// The file or folder that has been waited for longest; nothing if none is.
pub fn longest() -> Option<Overdue> {
    // They are in the order in which they began.
    let all = under_way();
    let (begun, path) = all.begun.values().next()?;
    Some(Overdue { waited: begun.elapsed(), path: path.clone() })
}

/// A file or folder that does not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no answer for {} s: see whether the disk or network share is there, then start the same command again; what is \
     finished is kept (--read-timeout allows more seconds): {}",
    waited.as_secs(), path.display()
)]
pub struct Overdue {
    /// For how long.
    pub waited: Duration,
    /// What is waited for.
    pub path: PathBuf,
}

/// Looks at what is waited for, every second.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    limit: Duration,
    told_after: Duration,
    period: Duration,
}

impl Watchdog {
    /// One that gives a file up after `limit`, and says after half a minute that it waits, or earlier if the limit is
    /// short.
    pub fn new(limit: Duration) -> Self {
        Self { limit, told_after: TOLD_AFTER.min(limit / 2), period: PERIOD.min(limit / 4) }
    }

    /// Returns once a file has been waited for longer than the limit.
    ///
    /// - `tell`: is told before, once for each file
    pub fn wait(&self, tell: impl FnMut(&Overdue)) -> Overdue {
        self.wait_for(longest, tell)
    }

    fn wait_for(
        &self,
        longest: impl Fn() -> Option<Overdue>,
        mut tell: impl FnMut(&Overdue),
    ) -> Overdue {
        let mut told = None;
        loop {
            if let Some(overdue) = longest() {
                if overdue.waited > self.limit {
                    return overdue;
                }
                if overdue.waited > self.told_after && told.as_ref() != Some(&overdue.path) {
                    tell(&overdue);
                    told = Some(overdue.path);
                }
            }
            thread::sleep(self.period);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::mpsc};

    use super::*;

    fn is_watched(path: &Path) -> bool {
        under_way().begun.values().any(|(_, known)| known == path)
    }

    #[test]
    fn an_access_is_known_until_it_ends_or_panics() {
        let (first, second) = (Path::new("first"), Path::new("second"));
        watched(first, || {
            thread::scope(|scope| {
                scope
                    .spawn(|| watched(second, || assert!(is_watched(first) && is_watched(second))));
            });
            assert!(is_watched(first) && !is_watched(second));
            assert!(longest().is_some());
        });
        assert!(!is_watched(first));
        let panicked = std::panic::catch_unwind(|| watched(second, || panic!("on purpose")));
        assert!(panicked.is_err() && !is_watched(second));
    }

    /// Like a share that hangs: opening a pipe returns when somebody opens its other end.
    #[cfg(unix)]
    #[test]
    fn a_file_that_never_comes_is_told_then_given_up_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("image.png");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let blocked = pipe.clone();
        let reader = thread::spawn(move || watched(&blocked, || std::fs::read(&blocked)));
        let (sender, given) = mpsc::channel();
        let hanging = pipe.clone();
        thread::spawn(move || {
            let mut told = Vec::new();
            // Other tests of this process have short accesses.
            let ours = || longest().filter(|overdue| overdue.path == hanging);
            // On a busy machine, long enough to be looked at before it is given up.
            let watchdog = Watchdog::new(Duration::from_secs(1));
            let overdue = watchdog.wait_for(ours, |overdue| told.push(overdue.path.clone()));
            sender.send((overdue, told))
        });
        let (overdue, told) = given.recv().expect("it gives up");
        assert!(overdue.path == pipe && overdue.waited > Duration::from_secs(1));
        assert_eq!(told, std::slice::from_ref(&pipe));
        let text = overdue.to_string();
        assert!(text.contains("image.png") && text.contains("network share"), "{text}");
        std::fs::write(&pipe, "bytes").expect("the other end");
        assert_eq!(reader.join().expect("it ends").expect("read"), b"bytes");
        assert!(!is_watched(&pipe));
    }

    #[test]
    fn many_short_accesses_are_no_long_one_and_a_slow_one_is_told_once() {
        let looks = Cell::new(0);
        let longest = || {
            looks.set(looks.get() + 1);
            // One of them is slow for some time, the hundredth hangs.
            let (name, waited) = match looks.get() {
                look @ 40..60 => ("slow.png".to_owned(), look - 10),
                look @ ..100 => (format!("{look}.png"), 1),
                look => (format!("{look}.png"), 60),
            };
            Some(Overdue { waited: Duration::from_secs(waited), path: name.into() })
        };
        let limit = Duration::from_secs(50);
        let watchdog = Watchdog { period: Duration::ZERO, ..Watchdog::new(limit) };
        let mut told = Vec::new();
        let overdue = watchdog.wait_for(longest, |overdue| told.push(overdue.path.clone()));
        assert_eq!(overdue.path, Path::new("100.png"));
        assert_eq!(told, [Path::new("slow.png")]);
    }
}
