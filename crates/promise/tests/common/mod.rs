//! What the integration tests share.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use promise::{
    device::DeviceKind,
    progress::{Progress, Silent},
    run::{CacheFolder, Context},
    run_folder::Existing,
};

/// Everything below one folder; nobody is told of progress, nobody stops.
pub fn context(runs: &Path) -> Context {
    Context {
        device: DeviceKind::Flex,
        data_root: None,
        runs: runs.to_owned(),
        feature_cache: CacheFolder { root: runs.join("feature-cache"), limit: 1 << 30 },
        memory: None,
        existing: Existing::GoOn,
        progress: Arc::new(Silent),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

/// Asks to stop when training has passed a share of its phase.
#[allow(dead_code, reason = "not every test stops a run")]
pub struct StopAt {
    pub after: u64,
    pub training: Mutex<bool>,
    pub stop: Arc<AtomicBool>,
}

impl Progress for StopAt {
    fn start(&self, phase: &str, _total: u64) {
        *self.training.lock().expect("one thread") = phase.starts_with("train");
    }

    fn set(&self, done: u64) {
        if *self.training.lock().expect("one thread") && done >= self.after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn note(&self, _text: &str) {}

    fn finish(&self) {}
}
