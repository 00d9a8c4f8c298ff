//! Calls `fuzz_targets::experiments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::experiments(bytes);
});
