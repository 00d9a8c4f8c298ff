//! Calls `fuzz_targets::archives`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::archives(bytes);
});
