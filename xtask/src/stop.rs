//! Ctrl-C: once to stop at the next safe place, twice to stop at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use promise::run::RunError;

/// A flag that Ctrl-C (or SIGTERM) sets.
pub fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("stopping at the next safe place; once more stops at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Exit code of a command that was interrupted: as shells have it for Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Whether a command failed because somebody stopped it.
pub fn is_interruption(error: &anyhow::Error) -> bool {
    let run = error.chain().find_map(|cause| cause.downcast_ref::<RunError>());
    matches!(run, Some(RunError::Interrupted))
}
