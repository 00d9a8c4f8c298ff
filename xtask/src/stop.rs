//! Ctrl-C: once to stop at the next safe place, twice to stop at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

/// A flag that Ctrl-C (or SIGTERM) sets.
pub fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping at the next safe place; once more stops at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
