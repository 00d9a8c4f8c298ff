//! Ends a command whose files do not come.

use std::{process, thread, time::Duration};

use file_watchdog::Watchdog;

use crate::bars;

/// Watches the files of this process from now on, and ends it once one has not come for longer than `limit`.
///
/// At any moment a command may end like this: what is finished is on the disk, and the same command goes on.
pub fn start(limit: Duration) {
    thread::spawn(move || {
        let overdue = Watchdog::new(limit).wait(|overdue| {
            let (seconds, path) = (overdue.waited.as_secs(), overdue.path.display());
            tracing::warn!("still waiting after {seconds} s for {path}");
        });
        tracing::error!(target: "run_log", "{overdue}");
        bars::line(&format!("error: {overdue}"));
        process::exit(1);
    });
}
