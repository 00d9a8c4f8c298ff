//! Augmentation: what happens to an image and its mask in training, and nothing else.
//!
//! Eight groups, each with its own probability, in this order:
//!
//! | group | what | mask |
//! | --- | --- | --- |
//! | crop | random resized crop | follows |
//! | flip x, flip y | mirrors | follows |
//! | warp | shift, scale and rotation about the center | follows |
//! | blur | box, Gaussian, median or motion blur | stays |
//! | tone | brightness and contrast | stays |
//! | texture | CLAHE, sharpening, JPEG or Gaussian noise | stays |
//! | dropout | black squares | stays: a hidden lesion is still there |
//!
//! Groups, probabilities and ranges are the published code's. Where it leaves a range to albumentations, so
//! do we (version 1.3.1, its defaults); [`AugmentSpec`] says which. The pictures are albumentations' in
//! kind and in their moments, not pixel by pixel; `tools/augmentation` compares.
//!
//! Lengths in pixels (blur, dropout) are pixels of the image that is passed in: pass the prepared input
//! of the network, as the published code does.
//!
//! # Determinism
//!
//! The result is a function of the image, the mask, the spec and `(seed, epoch, sample)`. Each group draws
//! from a stream of its own, so that switching one off leaves the others as they were. Functions
//! beyond IEEE 754's own come from the crate `libm`: the same bytes on every machine.

mod blur;
mod clahe;
mod dropout;
mod geometry;
mod jpeg;
mod noise;
mod pixels;
mod plan;
mod sharpen;
mod sheet;
mod spec;
mod tone;
mod view;

use image::RgbImage;

use crate::TruthMask;

pub use blur::Blur;
pub use dropout::Hole;
pub use geometry::{CropBox, Warp};
pub use noise::GaussNoise;
pub use plan::{Plan, Step};
pub use sharpen::Sharpen;
pub use sheet::{Pair, contact_sheet, drawn_cases};
pub use spec::{AugmentError, AugmentSpec};
pub use tone::Tone;
pub use view::View;

/// Augments an image and its mask.
///
/// `sample` names the image whatever its place in the order, e.g. [`sample_key`] of its data set and id.
/// Both results have the size of the image.
///
/// # Panics
///
/// Panics if image and mask differ in size, or if the spec has values that
/// [`check`](AugmentSpec::check) refuses: bugs in the caller.
pub fn augment(
    image: &RgbImage,
    mask: &TruthMask,
    spec: &AugmentSpec,
    seed: u64,
    epoch: u64,
    sample: u64,
) -> (RgbImage, TruthMask) {
    Plan::draw(spec, image.dimensions(), seed, epoch, sample).apply(image, mask)
}

/// A number for a case that depends on nothing but its names: FNV-1a of 64 bits.
pub fn sample_key(data: &str, id: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    // 0xFF is in no UTF-8 text: it keeps ("a", "bc") and ("ab", "c") apart.
    let bytes = data.bytes().chain([0xFF]).chain(id.bytes());
    bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests;
