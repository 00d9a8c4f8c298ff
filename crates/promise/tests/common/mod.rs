//! What the integration tests share.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use promise::{
    device::DeviceKind,
    progress::Silent,
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
