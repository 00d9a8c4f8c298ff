//! How long work tells the one who waits for it. The command line draws; this crate only reports.

/// A receiver of progress.
pub trait Progress: Send + Sync {
    /// A phase of `total` units begins, and replaces the one before.
    fn start(&self, phase: &str, total: u64);
    /// `done` units of the phase are done.
    fn set(&self, done: u64);
    /// A short remark beside the phase, e.g. the loss.
    fn note(&self, text: &str);
    /// Something worth a line in a log, e.g. the scores of an epoch.
    fn milestone(&self, _text: &str) {}
    /// The phase is over.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _phase: &str, _total: u64) {}
    fn set(&self, _done: u64) {}
    fn note(&self, _text: &str) {}
    fn finish(&self) {}
}
