//! Features of a frozen encoder, kept on the disk for ever.
//!
//! The encoder never changes, so what it says about an image needs to be computed once. An entry is
//! one tensor of one image (the embedding, or the output of one block): experiments that read other
//! blocks share what they have in common. Its name is the SHA-256 of everything that it depends on
//! ([`FeatureKey`]), so nothing that is found can be stale.
//!
//! ```text
//! <root>/CACHEDIR.TAG            says that this folder may be deleted, and that it is ours
//! <root>/v1/ab/abcd….feature     entries; see `entry.rs` for their bytes
//! <root>/tmp/                    entries that are being written
//! <root>/claims/                 locks of work in progress
//! ```
//!
//! Several processes may use a folder at once. An entry appears by renaming a complete file, so a
//! reader sees all of it or none; whoever is killed leaves a temporary file that the next one
//! removes. Nothing is flushed to the disk by force: after a power failure an entry may be damaged,
//! which its checksum tells, and it is computed again. A [`Claim`] keeps two processes from computing
//! the same thing.
//!
//! The crate knows bytes and numbers, neither tensors nor images.

mod cache;
mod claim;
mod entry;
mod error;
mod key;
mod precision;
mod survey;

pub use cache::{FeatureCache, Lookup, Stored};
pub use claim::Claim;
pub use entry::Damage;
pub use error::CacheError;
pub use key::FeatureKey;
pub use precision::Precision;
pub use survey::{BackboneUse, DamagedEntry, Survey, Verification};
