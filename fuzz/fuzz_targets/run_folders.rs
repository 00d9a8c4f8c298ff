//! Calls `fuzz_targets::run_folders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_targets::run_folders(bytes);
});
