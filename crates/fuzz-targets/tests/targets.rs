//! The short run of every fuzz target: its seeds, and some thousand mutations of them.
//!
//! A finding names the file with the bytes; put them into `corpus/` once the reader is repaired. Longer runs:
//! `fuzz/README.md`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fuzz_targets::{TARGETS, Target, mutated};
use peak_alloc::PeakAlloc;

/// Counts what is allocated, so that a claim of memory is seen even where the system would not give any.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The count is one for the process, so one target runs at a time.
static TURN: Mutex<()> = Mutex::new(());

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{error}: {}", folder.display()))
        .map(|item| item.expect("can be listed").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("can be read");
            (path, bytes)
        })
        .collect()
}

/// Runs a target on bytes; a panic or too much memory is reported with where the bytes are. Says whether the bytes
/// were accepted.
fn run(target: &Target, origin: &str, bytes: &[u8]) -> bool {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let used = MEMORY.peak_usage().saturating_sub(before);
    if let Ok(accepted) = result
        && used <= target.memory
    {
        return accepted;
    }
    let kept = std::env::temp_dir().join(format!("{}-finding", target.name));
    let place = match fs::write(&kept, bytes) {
        Ok(()) => kept.display().to_string(),
        Err(error) => format!("nowhere ({error})"),
    };
    let what = match result {
        Err(_) => "panicked".to_owned(),
        Ok(_) => format!("took {used} bytes of memory, at most {} are expected", target.memory),
    };
    panic!("{} {what} on {origin}; the bytes are kept at {place}", target.name);
}

/// Seeds and mutations of one target.
fn short_run(name: &str, mutations: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "no seeds for {name}");
    let good = seeds
        .iter()
        .filter(|(path, bytes)| run(target, &path.display().to_string(), bytes))
        .count();
    assert!(
        good > 0,
        "no reader accepts a seed of {name}: a format has changed, and the seeds have not"
    );
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let refused = (0..mutations)
        .filter(|&number| !run(target, &format!("mutation {number}"), &mutated(&seeds, number)))
        .count();
    assert!(refused > 0, "no mutation is refused: the reader looks at nothing");
}

/// A test for each target, with how many mutations it runs: about a second's worth.
macro_rules! short_runs {
    ($($name:ident: $mutations:literal,)*) => {
        $(
            #[test]
            fn $name() {
                short_run(stringify!($name), $mutations);
            }
        )*

        #[test]
        fn every_target_has_a_short_run() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

short_runs! {
    weights: 2000,
    images: 1000,
    tables: 1500,
    cards: 1500,
    records: 2000,
    feature_entries: 400,
    archives: 400,
    run_folders: 300,
    experiments: 300,
    recipes: 1500,
    prompts: 2000,
    checkpoints: 1000,
}

#[test]
fn the_same_number_gives_the_same_mutation() {
    let seeds = [b"some bytes".to_vec(), b"others".to_vec()];
    let all: Vec<_> = (0..50).map(|number| mutated(&seeds, number)).collect();
    assert_eq!(all, (0..50).map(|number| mutated(&seeds, number)).collect::<Vec<_>>());
    assert!(all.iter().filter(|bytes| !seeds.contains(bytes)).count() > 40);
}

#[test]
fn the_seeds_are_small() {
    let bytes: usize =
        TARGETS.iter().flat_map(|target| corpus(target.name)).map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes of seeds are too many for a repository");
}
