//! One function for each kind of file that comes from outside.
//!
//! A function gets bytes, writes them where the program would find them, reads them the way the program does, and says
//! whether a reader accepted them. Whatever the reader says is right: only a panic, an endless loop, an allocation beyond the stated bounds, or
//! something written elsewhere is a finding. The ordinary test `tests/targets.rs` replays the seeds in `corpus/` and
//! some thousand mutations of them; `fuzz/` in the root of the repository has cargo-fuzz call the same functions for
//! as long as one likes.
//!
//! What a target promises besides, it asserts: a picture has no more pixels than the bound, a tensor the bytes that
//! it says, an archive leaves nothing outside of its folder.

#[cfg(feature = "burn")]
mod frame;
mod mutate;
mod pictures;
#[cfg(feature = "reporting")]
mod run_folder;
mod scratch;
mod tables;
mod weights;
mod zips;

#[cfg(feature = "burn")]
pub use frame::{checkpoints, experiments, prompts, recipes};
pub use mutate::mutated;
pub use pictures::images;
#[cfg(feature = "reporting")]
pub use run_folder::{PARTS, SEPARATOR, run_folders};
pub use tables::{cards, feature_entries, records, tables};
pub use weights::weights;
pub use zips::archives;

/// A kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of the function, of the folder of its seeds, and of its program in `fuzz/`.
    pub name: &'static str,
    /// Reads bytes as such a file; says whether they were accepted as one.
    pub run: fn(&[u8]) -> bool,
    /// The most memory in bytes that reading one file of the corpus' size may take.
    pub memory: usize,
}

const MIB: usize = 1 << 20;

/// All of them.
pub const TARGETS: &[Target] = &[
    // What the objects of a pickle may cost, and as much for the reader behind it.
    Target { name: "weights", run: weights, memory: 512 * MIB },
    // 64 Mi pixels of 8 bytes as decoded, and as much again turned or as levels.
    Target { name: "images", run: images, memory: 1200 * MIB },
    Target { name: "tables", run: tables, memory: 64 * MIB },
    Target { name: "cards", run: cards, memory: 64 * MIB },
    Target { name: "records", run: records, memory: 64 * MIB },
    Target { name: "feature_entries", run: feature_entries, memory: 64 * MIB },
    Target { name: "archives", run: archives, memory: 64 * MIB },
    #[cfg(feature = "reporting")]
    Target { name: "run_folders", run: run_folders, memory: 256 * MIB },
    #[cfg(feature = "burn")]
    Target { name: "experiments", run: experiments, memory: 256 * MIB },
    #[cfg(feature = "burn")]
    Target { name: "recipes", run: recipes, memory: 64 * MIB },
    #[cfg(feature = "burn")]
    Target { name: "prompts", run: prompts, memory: 64 * MIB },
    // Burn takes up to 100 MiB for the description of a checkpoint.
    #[cfg(feature = "burn")]
    Target { name: "checkpoints", run: checkpoints, memory: 256 * MIB },
];
