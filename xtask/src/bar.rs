//! Progress as a bar with ETA on stderr; nothing when stderr is no terminal but a line per phase.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use promise::progress::Progress;

use crate::bars;

/// A bar for the phase that is under way.
pub struct Bar {
    current: Mutex<Option<ProgressBar>>,
    terminal: bool,
}

impl Bar {
    /// Draws on stderr if it is a terminal, and prints a line per phase otherwise.
    pub fn new() -> Self {
        Self { current: Mutex::new(None), terminal: bars::are_shown() }
    }

    /// A phase of bytes begins, `done` of which are there already; nobody may know how many there
    /// will be.
    pub fn start_bytes(&self, phase: &str, done: u64, total: Option<u64>) {
        if !self.terminal {
            match total {
                Some(total) => {
                    bars::line(&format!("{phase} ({} of {})", HumanBytes(done), HumanBytes(total)));
                }
                None => bars::line(&format!("{phase} ({} so far)", HumanBytes(done))),
            }
            return;
        }
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix:32} {bar:28} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}",
            ),
            None => (
                ProgressBar::no_length(),
                "{prefix:32} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed} {msg}",
            ),
        };
        self.replace(bar.with_position(done), phase, template);
        // What was there before says nothing about how fast the rest comes.
        self.with(|current| current.iter().for_each(ProgressBar::reset_eta));
    }

    fn replace(&self, bar: ProgressBar, phase: &str, template: &str) {
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars::all().add(bar).with_style(style).with_prefix(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        self.with(|current| {
            if let Some(former) = current.replace(bar) {
                former.finish();
            }
        });
    }

    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn start(&self, phase: &str, total: u64) {
        if !self.terminal {
            bars::line(&format!("{phase} ({total})"));
            return;
        }
        self.replace(
            ProgressBar::new(total),
            phase,
            "{prefix:32} {bar:28} {percent:>3}% {elapsed} ETA {eta} {msg}",
        );
    }

    fn set(&self, done: u64) {
        self.with(|current| current.iter().for_each(|bar| bar.set_position(done)));
    }

    fn note(&self, text: &str) {
        self.with(|current| current.iter().for_each(|bar| bar.set_message(text.to_owned())));
    }

    fn milestone(&self, text: &str) {
        if !self.terminal {
            bars::line(&format!("  {text}"));
        }
    }

    fn finish(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.finish();
            }
        });
    }
}
