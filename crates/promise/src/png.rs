//! Pictures as PNG files.

use std::{io::Cursor, path::Path};

use image::{DynamicImage, ImageFormat, ImageResult};

/// Writes a picture as PNG: whole or not at all.
///
/// # Errors
///
/// What the encoder or the system said.
pub fn save(picture: &DynamicImage, path: &Path) -> ImageResult<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(atomic_file::write(path, bytes.get_ref())?)
}
