//! Ctrl-C and SIGTERM: once to stop at the next safe place, twice to stop at once.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use promise::run::RunError;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::bars;

/// How often somebody looks whether there is something to say.
const PATIENCE: Duration = Duration::from_millis(50);

/// The signal that was received; 0 before.
fn received() -> &'static Arc<AtomicUsize> {
    static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    RECEIVED.get_or_init(Arc::default)
}

/// A flag that Ctrl-C (or SIGTERM) sets, and says so.
pub fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = in_silence()?;
    thread::spawn(|| {
        while received().load(Ordering::Relaxed) == 0 {
            thread::sleep(PATIENCE);
        }
        bars::line("stopping at the next safe place; once more stops at once");
    });
    Ok(stop)
}

/// A flag that Ctrl-C (or SIGTERM) sets, for a process whose parent says so.
pub fn in_silence() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, and sets it.
        flag::register_conditional_shutdown(signal, code_of(signal as usize).into(), stop.clone())
            .and_then(|_| flag::register_usize(signal, received().clone(), signal as usize))
            .and_then(|_| flag::register(signal, stop.clone()))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}

/// Lets a write that a limit on the size of files forbids fail like any other, instead of ending the process without a
/// word, as SIGXFSZ does if nobody has asked for it.
pub fn outlive_file_limits() -> anyhow::Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
        .context("cannot listen for signals")?;
    Ok(())
}

/// What says that a time limit is near. Slurm has no other systems.
#[cfg(unix)]
const TIME_IS_UP: i32 = signal_hook::consts::SIGUSR1;
#[cfg(not(unix))]
const TIME_IS_UP: i32 = SIGTERM;

/// What a batch system asks of a task.
pub struct Asked {
    /// Set to stop at the next safe place.
    pub stop: Arc<AtomicBool>,
    /// Set if that is because the time limit is near.
    pub time_is_up: Arc<AtomicBool>,
}

/// Flags for a task of a batch system, which asks with SIGUSR1 before the time is up and else with SIGTERM. It may ask
/// several processes of a task at once, and more than once; what does not stop is killed by it, so a second signal is no
/// wish to stop at once.
pub fn in_task() -> anyhow::Result<Asked> {
    let asked = Asked { stop: Arc::default(), time_is_up: Arc::default() };
    // A handler does things in the order of their registration: who sees that it is to stop knows why.
    flag::register(TIME_IS_UP, asked.time_is_up.clone()).context("cannot listen for signals")?;
    for signal in [SIGINT, SIGTERM, TIME_IS_UP] {
        flag::register_usize(signal, received().clone(), signal as usize)
            .and_then(|_| flag::register(signal, asked.stop.clone()))
            .context("cannot listen for signals")?;
    }
    Ok(asked)
}

/// Exit code of a command that a signal ended, as shells have it: 130 for Ctrl-C, 143 for SIGTERM.
fn code_of(signal: usize) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// The exit code, if a signal asked this program to stop.
pub fn code() -> Option<u8> {
    match received().load(Ordering::Relaxed) {
        0 => None,
        signal => Some(code_of(signal)),
    }
}

/// Exit code where a run says that it was interrupted.
pub fn interrupted() -> u8 {
    code().unwrap_or(code_of(SIGINT as usize))
}

/// Whether a command failed because somebody stopped it.
pub fn is_interruption(error: &anyhow::Error) -> bool {
    let run = error.chain().find_map(|cause| cause.downcast_ref::<RunError>());
    matches!(run, Some(RunError::Interrupted))
}

/// What is kept of an interrupted command, in words.
#[derive(Debug)]
pub struct Kept(pub String);

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted; kept: {}; the same command goes on from there", self.0)
    }
}

/// Adds to an interruption what is kept.
pub fn with_kept(error: RunError, kept: impl FnOnce() -> String) -> anyhow::Error {
    match error {
        RunError::Interrupted => anyhow::Error::new(error).context(Kept(kept())),
        error => error.into(),
    }
}
