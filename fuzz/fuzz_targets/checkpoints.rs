//! Calls `fuzz_targets::checkpoints`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::checkpoints(bytes);
});
