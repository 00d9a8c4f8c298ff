//! Calls `fuzz_targets::feature_entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::feature_entries(bytes);
});
