//! Calls `fuzz_targets::recipes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::recipes(bytes);
});
