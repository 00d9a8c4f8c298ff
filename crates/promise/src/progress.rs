//! How long work tells the one who waits for it. The command line draws; this crate only reports.

use std::sync::Arc;

use run_record::RunRecord;

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

/// How a run ended.
#[derive(Debug)]
pub enum Ended<'a> {
    /// It was finished before.
    Found,
    /// It was done now.
    Done(&'a RunRecord),
    /// It failed; why, in one line.
    Failed(String),
    /// The user stopped it.
    Interrupted,
}

/// A receiver of the progress of several runs, perhaps at the same time.
pub trait Watch: Send + Sync {
    /// A run begins. What it says of its phases goes to the progress that is returned.
    fn begin(&self, run: &str) -> Arc<dyn Progress>;
    /// A run is over. A run that was found finished never began.
    fn end(&self, _run: &str, _ended: &Ended<'_>) {}
}

/// Shows the phases of runs that come one after the other, and nothing else of them.
pub struct OneAtATime(pub Arc<dyn Progress>);

impl Watch for OneAtATime {
    fn begin(&self, _run: &str) -> Arc<dyn Progress> {
        self.0.clone()
    }
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
