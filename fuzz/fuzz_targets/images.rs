//! Calls `fuzz_targets::images`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::images(bytes);
});
