//! Made-up images and trees of files.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

pub const WIDTH: u32 = 6;
pub const HEIGHT: u32 = 4;

/// A folder that is removed at the end of the test.
pub fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// Where a file of a folder is; makes the folders in between.
pub fn path(root: &TempDir, name: &str) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// Writes an image in the format of its extension.
pub fn write_image(path: &Path) {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([40 * x as u8, 60 * y as u8, 7]))
        .save(path)
        .unwrap();
}

/// Writes a mask whose columns 0 and 1 are foreground.
pub fn write_mask(path: &Path) {
    mask(WIDTH, HEIGHT).save(path).unwrap();
}

pub fn mask(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, _| Luma([if x < 2 { 255 } else { 0 }]))
}

/// Writes an image and its mask.
pub fn write_pair(image: &Path, mask: &Path) {
    write_image(image);
    write_mask(mask);
}

/// A JPEG file of 24 x 16 pixels as stored, with an EXIF orientation of 1 to 8.
pub fn oriented(orientation: u8) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let picture = RgbImage::from_fn(24, 16, |x, y| Rgb([10 * x as u8, 15 * y as u8, 7]));
    JpegEncoder::new(&mut jpeg).encode_image(&picture).unwrap();
    with_orientation(&jpeg, orientation)
}

/// A JPEG file with an EXIF segment behind its first marker that holds an orientation and no more.
pub fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    // Segment of 34 bytes; big-endian TIFF with one directory of one entry: tag 274, SHORT, one value.
    let mut exif = b"\xFF\xE1\0\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

/// A folder with `images/` and `masks/` and a pair of PNG files for each name.
pub fn pairs(names: &[&str]) -> TempDir {
    let root = folder();
    for name in names {
        write_pair(
            &path(&root, &format!("images/{name}.png")),
            &path(&root, &format!("masks/{name}.png")),
        );
    }
    root
}

/// The message of an error with the temporary folder written as `ROOT`.
pub fn message(error: &dyn std::error::Error, root: &Path) -> String {
    error.to_string().replace(&root.display().to_string(), "ROOT")
}
