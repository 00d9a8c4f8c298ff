//! `run.log`: what happened in a run, line by line, in its folder.
//!
//! One process is at work on one run at a time, on many threads, so the log of a process is that of its run. Whoever
//! sets up `tracing` gives [`writer`] to a layer; without one nothing is logged. The log is for people who ask what
//! happened; no result depends on it, and a log that cannot be written is said once and costs nothing else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::progress::Progress;

/// Target of the events that are for the log alone: a terminal shows their content otherwise.
pub const TARGET: &str = "run_log";

/// The log of the run that is under way.
static CURRENT: Mutex<Option<Arc<File>>> = Mutex::new(None);

/// A place for events: the log of the run that is under way, or nowhere.
pub fn writer() -> impl Write {
    Current
}

struct Current;

impl Write for Current {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let file = current().clone();
        if let Some(file) = file {
            // Appended as a whole. A full disk shall not stop the run for want of a log.
            let _ = (&*file).write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log that is open; events go to it until it is dropped.
pub(crate) struct RunLog(Option<Arc<File>>);

impl RunLog {
    /// Opens the log at `path`, behind what former tries have written.
    ///
    /// Nothing is appended to where a link leads: it would be a file outside of the run's folder.
    pub(crate) fn open(path: &Path) -> Self {
        let opened = match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => Err(io::Error::other("it is no regular file")),
            _ => OpenOptions::new().create(true).append(true).open(path),
        };
        match opened {
            Ok(file) => {
                let file = Arc::new(file);
                *current() = Some(file.clone());
                Self(Some(file))
            }
            Err(error) => {
                tracing::warn!("no log is written ({error}): {}", path.display());
                Self(None)
            }
        }
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        let mut current = current();
        let is_ours = |file: &Arc<File>| self.0.as_ref().is_some_and(|own| Arc::ptr_eq(own, file));
        if current.as_ref().is_some_and(is_ours) {
            *current = None;
        }
    }
}

fn current() -> MutexGuard<'static, Option<Arc<File>>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the log which phase begins, besides whoever waits.
pub(crate) struct Logged(pub Arc<dyn Progress>);

impl Progress for Logged {
    fn start(&self, phase: &str, total: u64) {
        tracing::info!(target: "run_log", "{phase} ({total})");
        self.0.start(phase, total);
    }

    fn set(&self, done: u64) {
        self.0.set(done);
    }

    fn note(&self, text: &str) {
        self.0.note(text);
    }

    fn milestone(&self, text: &str) {
        self.0.milestone(text);
    }

    fn finish(&self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_log_that_is_open_and_behind_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.log");
        writer().write_all(b"nowhere\n").expect("nobody listens");
        for line in ["first\n", "second\n"] {
            let log = RunLog::open(&path);
            writer().write_all(line.as_bytes()).expect("written");
            drop(log);
        }
        let text = fs::read_to_string(&path).expect("a log");
        // Other tests of this process may log while this one is open.
        let ours: Vec<&str> =
            text.lines().filter(|line| ["first", "second", "nowhere"].contains(line)).collect();
        assert_eq!(ours, ["first", "second"]);
        // A folder cannot be appended to; the run does not care.
        let log = RunLog::open(folder.path());
        writer().write_all(b"lost\n").expect("nobody listens");
        drop(log);
    }
}
