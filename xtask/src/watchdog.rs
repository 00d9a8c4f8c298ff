//! Ends a command whose files do not come: a network share that hangs gives no error, and nobody can call back a thread
//! that waits for it inside the system.

use std::{
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use data_loaders::longest_read;

use crate::bars;

/// After so long it is said what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches the reads of this process from now on, and ends it once one has taken longer than `limit`.
///
/// At any moment a command may end like this: what is finished is on the disk, and the same command goes on.
pub fn start(limit: Duration) {
    std::thread::spawn(move || {
        let (path, waited) =
            watch(limit, TOLD_AFTER.min(limit / 2), PERIOD.min(limit / 4), &longest_read);
        let reason = given_up(&path, waited);
        tracing::error!(target: "run_log", "{reason}");
        bars::line(&format!("error: {reason}"));
        process::exit(1);
    });
}

fn given_up(path: &Path, waited: Duration) -> String {
    format!(
        "no answer for {} s: see whether the disk or network share is there, then start the same command again; what is \
         finished is kept (--read-timeout allows more seconds): {}",
        waited.as_secs(),
        path.display()
    )
}

/// Returns once a read takes longer than `limit`; says what is waited for after `told_after`, once for each file.
fn watch(
    limit: Duration,
    told_after: Duration,
    period: Duration,
    longest: &dyn Fn() -> Option<(PathBuf, Duration)>,
) -> (PathBuf, Duration) {
    let mut told = None;
    loop {
        if let Some((path, waited)) = longest() {
            if waited > limit {
                return (path, waited);
            }
            if waited > told_after && told.as_ref() != Some(&path) {
                let seconds = waited.as_secs();
                tracing::warn!("still waiting after {seconds} s to read {}", path.display());
                told = Some(path);
            }
        }
        std::thread::sleep(period);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_read_that_never_returns_is_given_up_and_its_file_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("image.png");
        let made = process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        let (sender, given) = mpsc::channel();
        let blocked = pipe.clone();
        // Like a share that hangs: opening a pipe returns when somebody opens its other end.
        let reader = std::thread::spawn(move || {
            data_loaders::while_reading(&blocked, || std::fs::read(&blocked))
        });
        let short = Duration::from_millis(50);
        std::thread::spawn(move || sender.send(watch(short, short / 2, short / 10, &longest_read)));
        let (path, waited) = given.recv().expect("it gives up");
        assert!(path == pipe && waited > short);
        let text = given_up(&path, waited);
        assert!(text.contains("image.png") && text.contains("network share"), "{text}");
        std::fs::write(&pipe, "bytes").expect("the other end");
        assert_eq!(reader.join().expect("it ends").expect("read"), b"bytes");
        assert_eq!(longest_read(), None);
    }

    #[test]
    fn many_short_reads_are_no_long_one() {
        let reads = std::cell::Cell::new(0);
        let longest = || {
            reads.set(reads.get() + 1);
            // The hundredth hangs.
            let waited = if reads.get() < 100 { 1 } else { 60 };
            Some((PathBuf::from(format!("{}.png", reads.get())), Duration::from_secs(waited)))
        };
        let limit = Duration::from_secs(50);
        let (path, _) = watch(limit, limit / 2, Duration::ZERO, &longest);
        assert_eq!(path, Path::new("100.png"));
    }
}
