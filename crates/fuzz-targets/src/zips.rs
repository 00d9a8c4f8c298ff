//! Downloaded archives.

use std::sync::atomic::AtomicBool;

use download::{Limits, unpack};

use crate::scratch;

/// Most bytes and entries that are unpacked here.
const LIMITS: Limits = Limits { files: 200, bytes: 1 << 20 };

/// Unpacks the bytes and looks at what was written: nothing beside the target, and no more than allowed.
pub fn archives(bytes: &[u8]) -> bool {
    let outside = scratch::folder("outside");
    let root = outside.join("root");
    std::fs::create_dir(&root).expect("the system has room for temporary files");
    let archive = scratch::file("archive.zip", bytes);
    let unpacked =
        unpack(&archive, &root.join("set"), &LIMITS, &AtomicBool::new(false), &mut |_| {});
    assert_eq!(scratch::names(&outside), ["root"], "nothing is written outside");
    let mut inside = scratch::names(&root);
    // The lock of the target stays.
    inside.retain(|name| name != ".set.unpacking.lock");
    match &unpacked {
        Ok(unpacked) => {
            assert!(unpacked.bytes <= LIMITS.bytes && unpacked.files <= LIMITS.files);
            assert_eq!(inside, ["set"]);
        }
        Err(_) => assert!(inside.is_empty(), "left behind: {inside:?}"),
    }
    unpacked.is_ok()
}
