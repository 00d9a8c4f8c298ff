//! Turns at the generator of a device.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a turn at the generator, which a device has one of.
///
/// Burn draws fresh weights from it, some when a module is built, the rest when they are first
/// used. Whoever seeds it must have drawn everything before the next one draws, or weights depend on
/// what else the process does.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}
