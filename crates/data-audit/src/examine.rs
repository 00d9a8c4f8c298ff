//! One pair of files, read and measured.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use data_loaders::{
    DataError, DecodedImage, FilePair, Fit, Shown, decode_image_with_facts, decode_mask,
    error_chain, fit, mask_histogram,
};
use file_watchdog::watched;
use sha2::{Digest as _, Sha256};

use crate::fingerprint::Fingerprint;

/// What a pair of files is; an error is the reason why a file cannot be used.
pub(crate) struct Examined {
    pub image: Result<ImageFacts, String>,
    pub mask: Result<MaskFacts, String>,
    /// Gray values of the mask, also of one that the loader refuses.
    pub values: Option<Box<[u64; 256]>>,
}

/// An image and a mask that do not belong together pixel by pixel.
pub(crate) struct Misfit {
    /// [`Fit::Sizes`] or [`Fit::Orientation`].
    pub fit: Fit,
    pub image: Shown,
    pub mask: Shown,
}

impl Misfit {
    /// `[width, height]` of image and mask as a viewer shows them.
    pub fn sizes(&self) -> [[u32; 2]; 2] {
        [self.image, self.mask].map(|shown| [shown.width, shown.height])
    }

    /// EXIF orientations of image and mask, 1 to 8.
    pub fn exif_orientations(&self) -> [u8; 2] {
        [self.image, self.mask].map(|shown| shown.exif_orientation)
    }
}

impl MaskFacts {
    /// How many pixels it has.
    pub fn all(&self) -> u64 {
        u64::from(self.shown.width) * u64::from(self.shown.height)
    }
}

impl Examined {
    /// What is wrong between image and mask; nothing if they fit, or if one of them is not readable.
    pub(crate) fn misfit(&self) -> Option<Misfit> {
        let (image, mask) = (self.image.as_ref().ok()?, self.mask.as_ref().ok()?);
        let (image, mask) = (image.shown, mask.shown);
        let fit = fit(image, mask);
        (fit != Fit::Fits).then_some(Misfit { fit, image, mask })
    }
}

/// What is kept of an image.
pub(crate) struct ImageFacts {
    pub shown: Shown,
    /// Of a file of 16 bits.
    pub largest_of_16_bits: Option<u16>,
    /// SHA-256 of the file.
    pub bytes: [u8; 32],
    /// SHA-256 of width, height and 8-bit RGB pixels.
    pub pixels: [u8; 32],
    pub fingerprint: Fingerprint,
}

/// What is kept of a mask.
pub(crate) struct MaskFacts {
    pub shown: Shown,
    pub foreground: u64,
    pub colored_pixels: u64,
    /// SHA-256 of width, height and which pixels are foreground.
    pub pixels: [u8; 32],
}

/// Reads both files, the image first; only one of them is in memory at a time.
pub(crate) fn pair(pair: &FilePair) -> Examined {
    let image = image(&pair.image);
    let (mask, values) = mask(&pair.mask);
    Examined { image, mask, values }
}

/// Reads an image.
pub(crate) fn image(path: &Path) -> Result<ImageFacts, String> {
    let decoded = decode_image_with_facts(path).map_err(|error| error_chain(&error))?;
    let DecodedImage { pixels, exif_orientation, largest_of_16_bits } = decoded;
    let bytes = hash_file(path).map_err(|error| format!("cannot be read: {error}"))?;
    let (width, height) = pixels.dimensions();
    Ok(ImageFacts {
        shown: Shown { width, height, exif_orientation },
        largest_of_16_bits,
        bytes,
        pixels: hash_pixels([width, height], pixels.as_raw()),
        fingerprint: Fingerprint::of(&pixels),
    })
}

fn mask(path: &Path) -> (Result<MaskFacts, String>, Option<Box<[u64; 256]>>) {
    match decode_mask(path) {
        Ok(decoded) => {
            let truth = decoded.truth;
            let (foreground, all) = (truth.foreground() as u64, truth.values.len() as u64);
            let values = match decoded.gray_pixels {
                0 => {
                    let mut values = Box::new([0; 256]);
                    (values[0], values[255]) = (all - foreground, foreground);
                    Some(values)
                }
                _ => gray_values(path),
            };
            let (width, height) = (truth.width, truth.height);
            let shown = Shown { width, height, exif_orientation: decoded.exif_orientation };
            let foreground_bytes: Vec<u8> = truth.values.iter().map(|&one| u8::from(one)).collect();
            let pixels = hash_pixels([width, height], &foreground_bytes);
            let colored_pixels = decoded.colored_pixels as u64;
            (Ok(MaskFacts { shown, foreground, colored_pixels, pixels }), values)
        }
        Err(error) => {
            let values = match &error {
                DataError::DimMask { .. } => gray_values(path),
                _ => None,
            };
            (Err(error_chain(&error)), values)
        }
    }
}

fn gray_values(path: &Path) -> Option<Box<[u64; 256]>> {
    mask_histogram(path).ok().map(Box::new)
}

fn hash_pixels(size: [u32; 2], pixels: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(size[0].to_le_bytes());
    hash.update(size[1].to_le_bytes());
    hash.update(pixels);
    hash.finalize().into()
}

fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = watched(path, || File::open(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match watched(path, || file.read(&mut buffer))? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&buffer[..count]),
        }
    }
}
