//! Calls `fuzz_targets::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::records(bytes);
});
