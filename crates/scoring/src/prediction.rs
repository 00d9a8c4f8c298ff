//! Soft maps as pictures.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use data_loaders::{DataError, GrayMap, decode_gray_map};
use image::{ImageBuffer, ImageFormat, Luma};
use metrics::SoftMap;

/// A prediction that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the prediction {}", path.display())]
pub struct PredictionError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: image::ImageError,
}

/// Reads a prediction: white is 1, black 0, at the depth of the file.
///
/// # Errors
///
/// Those of [`decode_gray_map`].
pub fn read_prediction(path: &Path) -> Result<SoftMap, DataError> {
    Ok(soft_map(decode_gray_map(path)?))
}

/// The probabilities that a picture stands for.
pub(crate) fn soft_map(GrayMap { width, height, levels, white }: GrayMap) -> SoftMap {
    let white = f64::from(white);
    let probabilities = levels.into_iter().map(|level| f64::from(level) / white).collect();
    SoftMap::new(width as usize, height as usize, probabilities)
        .expect("a picture has pixels, and levels up to white")
}

/// Writes a soft map as a gray PNG of 16 bits; the folder is there already.
///
/// A probability comes back within 1 / 131,070 of itself, and on the same side of 0.5: a mask that is cut there is the
/// same mask. Programs that read 8 bits take the upper half.
///
/// # Errors
///
/// [`PredictionError`]
pub fn write_prediction(path: &Path, map: &SoftMap) -> Result<(), PredictionError> {
    let levels: Vec<u16> = map.probabilities().iter().map(|&p| level(p)).collect();
    let picture: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(map.width() as u32, map.height() as u32, levels)
            .expect("one level per pixel");
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .and_then(|()| Ok(atomic_file::write(path, bytes.get_ref())?))
        .map_err(|source| PredictionError { path: path.into(), source })
}

/// The nearest level; the lower one of two, so that 0.5 stays background.
fn level(probability: f64) -> u16 {
    (probability * f64::from(u16::MAX) - 0.5).ceil() as u16
}

/// The file name of the prediction of a case: its id with `.png`.
///
/// Characters that mean something in a path, and those that a file system may not have, are written as in an
/// address (`%2F`), so two ids never share a file.
pub fn prediction_file(id: &str) -> String {
    let mut name = String::with_capacity(id.len() + 4);
    for (place, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'+' | b' ' => {
                name.push(char::from(byte));
            }
            // A leading dot would hide the file.
            b'.' if place > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name.push_str(".png");
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_are_exact_and_the_middle_stays_background() {
        assert_eq!([0.0, 1.0].map(level), [0, 65_535]);
        assert_eq!(level(0.5), 32_767);
        assert_eq!(level(0.5 + 1e-9), 32_768);
    }

    #[test]
    fn no_id_leaves_the_folder() {
        assert_eq!(prediction_file("ISIC_0012 a.b"), "ISIC_0012 a.b.png");
        assert_eq!(prediction_file("../a/b"), "%2E.%2Fa%2Fb.png");
        assert_eq!(prediction_file("ä"), "%C3%A4.png");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_map_comes_back_within_half_a_level_and_with_the_same_mask(
            values in proptest::collection::vec(0.0..=1.0f64, 1..40),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.png");
            let map = SoftMap::new(values.len(), 1, values).unwrap();
            write_prediction(&path, &map).unwrap();
            let read = read_prediction(&path).unwrap();
            prop_assert_eq!(read.above(0.5), map.above(0.5));
            for (read, written) in read.probabilities().iter().zip(map.probabilities()) {
                prop_assert!((read - written).abs() <= 0.500001 / 65_535.0);
            }
        }
    }
}
