//! Procedural images: two worlds that need no download.
//!
//! - [`phantom`]: endoscopy-like images with one lesion. The built-in data set `phantom` is made
//!   of it, so every part of the pipeline can be run and tested without a download.
//! - [`natural`]: cluttered scenes of many objects with a mask each, to pre-train a small
//!   promptable segmenter on anything but medical images.
//!
//! The two differ on purpose: going from `natural` to `phantom` is the domain gap that an adapter
//! has to close. Neither is meant to look like a patient's image to a physician, and no number
//! measured on them says anything about one.
//!
//! # Determinism
//!
//! An image is a function of `(seed, index, size)`. Only additions, products, quotients, square
//! roots and rounding are used, all exactly defined by IEEE 754, and none of the system's
//! `sin` or `exp`: the bytes are the same on every machine and with any number of threads.

mod draw;
mod math;
mod natural;
mod phantom;
mod shape;

pub use natural::{Scene, natural};
pub use phantom::phantom;

/// Width and height of a synthetic image unless the caller says otherwise.
pub const DEFAULT_SIZE: u32 = 256;

/// The smallest width and height: below it, the smallest lesion is no more than a few pixels.
pub const MIN_SIZE: u32 = 64;
