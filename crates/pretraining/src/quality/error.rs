//! Why a backbone could not be judged.

use super::HELD_OUT_SEED;

/// Why a backbone could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QualityError {
    /// A mean of nothing.
    #[error("0 images: at least 1 of each kind is needed")]
    NoImages,
    /// The images of this seed are the ones that a recipe trains on.
    #[error(
        "backbones are pre-trained on the images of seed {seed}; take another one, e.g. {HELD_OUT_SEED}"
    )]
    SeenSeed {
        /// The seed.
        seed: u64,
    },
    /// Somebody asked to stop.
    #[error("interrupted after {done} of {total} images; nothing was written")]
    Interrupted {
        /// Images done.
        done: u64,
        /// Images of both kinds.
        total: u64,
    },
}
