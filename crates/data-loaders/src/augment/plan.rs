//! What is done to one sample: drawn first, done after.

use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    AugmentSpec, Blur, CropBox, GaussNoise, Hole, Sharpen, Tone, Warp, clahe, dropout, jpeg,
};
use crate::TruthMask;

/// One thing that is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A part of the image is scaled to its size.
    Crop(CropBox),
    /// Left and right change places.
    FlipX,
    /// Top and bottom change places.
    FlipY,
    /// Shift, scale and rotation.
    Warp(Warp),
    /// A blur.
    Blur(Blur),
    /// Brightness and contrast.
    Tone(Tone),
    /// Contrast-limited adaptive histogram equalization with this clip limit.
    Clahe {
        /// Largest count of a bin, as a multiple of the mean count.
        clip: f64,
    },
    /// Sharpening.
    Sharpen(Sharpen),
    /// Compression to JPEG of this quality.
    Jpeg {
        /// From 1 to 100.
        quality: u8,
    },
    /// Gaussian noise.
    Noise(GaussNoise),
    /// Black squares.
    Dropout(Vec<Hole>),
}

/// The steps for one sample in one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Draws the steps for an image of `size` (width, height).
    ///
    /// # Panics
    ///
    /// Panics if the spec has values that [`check`](AugmentSpec::check) refuses: a bug in the caller.
    pub fn draw(spec: &AugmentSpec, size: (u32, u32), seed: u64, epoch: u64, sample: u64) -> Self {
        if let Err(error) = spec.check() {
            panic!("an unchecked spec: {error}");
        }
        let happens = |stream: Stream, probability: f64| {
            let mut rng = stream.generator(seed, epoch, sample);
            rng.random_bool(probability).then_some(rng)
        };
        let mut steps = Vec::new();
        if let Some(mut rng) = happens(Stream::Crop, spec.crop_probability) {
            steps.push(Step::Crop(CropBox::draw(spec.crop_area, spec.crop_aspect, size, &mut rng)));
        }
        if happens(Stream::FlipX, spec.flip_x_probability).is_some() {
            steps.push(Step::FlipX);
        }
        if happens(Stream::FlipY, spec.flip_y_probability).is_some() {
            steps.push(Step::FlipY);
        }
        if let Some(mut rng) = happens(Stream::Warp, spec.warp_probability) {
            let warp = Warp::draw(spec.shift, spec.scale, spec.rotate_degrees, &mut rng);
            steps.push(Step::Warp(warp));
        }
        if let Some(mut rng) = happens(Stream::Blur, spec.blur_probability) {
            steps.push(Step::Blur(Blur::draw(spec.blur_side, &mut rng)));
        }
        if let Some(mut rng) = happens(Stream::Tone, spec.tone_probability) {
            steps.push(Step::Tone(Tone::draw(spec.brightness, spec.contrast, &mut rng)));
        }
        if let Some(mut rng) = happens(Stream::Texture, spec.texture_probability) {
            steps.push(texture(spec, &mut rng));
        }
        if let Some(mut rng) = happens(Stream::Dropout, spec.dropout_probability) {
            let holes = dropout::draw(spec.dropout_holes, spec.dropout_side, size, &mut rng);
            steps.push(Step::Dropout(holes));
        }
        Self { steps }
    }

    /// Does the steps.
    ///
    /// # Panics
    ///
    /// Panics if image and mask differ in size: a bug in the caller.
    pub fn apply(&self, image: &RgbImage, mask: &TruthMask) -> (RgbImage, TruthMask) {
        assert_eq!(image.dimensions(), (mask.width, mask.height), "a mask of the image's size");
        let (mut image, mut mask) = (image.clone(), mask.clone());
        for step in &self.steps {
            if let Some(moved) = step.mask(&mask) {
                mask = moved;
            }
            image = step.image(&image);
        }
        (image, mask)
    }
}

impl Step {
    fn image(&self, image: &RgbImage) -> RgbImage {
        match self {
            Self::Crop(part) => part.image(image),
            Self::FlipX => image::imageops::flip_horizontal(image),
            Self::FlipY => image::imageops::flip_vertical(image),
            Self::Warp(warp) => warp.image(image),
            Self::Blur(blur) => blur.image(image),
            Self::Tone(tone) => tone.image(image),
            Self::Clahe { clip } => clahe::equalized(image, *clip),
            Self::Sharpen(sharpen) => sharpen.image(image),
            Self::Jpeg { quality } => jpeg::compressed(image, *quality),
            Self::Noise(noise) => noise.image(image),
            Self::Dropout(holes) => dropout::with_holes(image, holes),
        }
    }

    /// The mask after the step; `None` if it stays as it is.
    fn mask(&self, mask: &TruthMask) -> Option<TruthMask> {
        match self {
            Self::Crop(part) => Some(part.mask(mask)),
            Self::FlipX => {
                Some(mask.moved((mask.width, mask.height), |x, y| (mask.width - 1 - x, y)))
            }
            Self::FlipY => {
                Some(mask.moved((mask.width, mask.height), |x, y| (x, mask.height - 1 - y)))
            }
            Self::Warp(warp) => Some(warp.mask(mask)),
            Self::Blur(_)
            | Self::Tone(_)
            | Self::Clahe { .. }
            | Self::Sharpen(_)
            | Self::Jpeg { .. }
            | Self::Noise(_)
            | Self::Dropout(_) => None,
        }
    }
}

/// One of the four textures, each as likely as the others.
fn texture(spec: &AugmentSpec, rng: &mut ChaCha8Rng) -> Step {
    match rng.random_range(0..4_u8) {
        0 => Step::Clahe { clip: rng.random_range(1.0..=spec.clahe_clip) },
        1 => Step::Sharpen(Sharpen::draw(spec.sharpen_alpha, spec.sharpen_lightness, rng)),
        2 => {
            let [low, high] = spec.jpeg_quality;
            Step::Jpeg { quality: rng.random_range(low..=high) }
        }
        _ => Step::Noise(GaussNoise::draw(spec.noise_variance, rng)),
    }
}

/// Random numbers of one group. The discriminants are part of what a seed means: never reorder them.
#[derive(Clone, Copy)]
enum Stream {
    Crop = 0,
    FlipX = 1,
    FlipY = 2,
    Warp = 3,
    Blur = 4,
    Tone = 5,
    Texture = 6,
    Dropout = 7,
}

impl Stream {
    fn generator(self, seed: u64, epoch: u64, sample: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, number) in key.chunks_exact_mut(8).zip([seed, epoch, sample]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        key[24..].copy_from_slice(b"augment\0");
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(self as u64);
        rng
    }
}
