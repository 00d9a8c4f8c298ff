//! How far an audit is.

/// Is told how far an audit is; called from several threads.
pub trait Progress: Sync {
    /// A phase of `total` steps begins.
    fn start(&self, phase: &str, total: u64);
    /// So many steps are done. Calls of several threads may arrive out of order.
    fn set(&self, done: u64);
    /// The phase is over.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) {}
    fn set(&self, _: u64) {}
    fn finish(&self) {}
}
