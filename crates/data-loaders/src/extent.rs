//! How large the images of a set are, by what their files say in front.

use std::path::Path;

use image::ImageReader;

use crate::{DataSet, data_set::Source, synthetic};

impl DataSet {
    /// Pixels of the largest image, as the heads of the files say; nothing is decoded. Files that cannot be read
    /// count nothing.
    pub fn largest_image(&self) -> u64 {
        let pixels = |source: &Source| match source {
            Source::Files { image, .. } | Source::NoMask { image, .. } => pixels_of(image),
            Source::Phantom { .. } => u64::from(synthetic::DEFAULT_SIZE).pow(2),
        };
        self.entries.iter().map(|entry| pixels(&entry.source)).max().unwrap_or(0)
    }
}

fn pixels_of(path: &Path) -> u64 {
    // A pipe would wait for somebody who writes.
    if !path.is_file() {
        return 0;
    }
    let size = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .ok()
        .and_then(|reader| reader.into_dimensions().ok());
    size.map_or(0, |(width, height)| u64::from(width) * u64::from(height))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn the_largest_image_counts_and_bad_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let [images, masks] = ["images", "masks"].map(|name| folder.path().join(name));
        for part in [&images, &masks] {
            std::fs::create_dir(part).unwrap();
        }
        for (name, width, height) in [("a.png", 30, 20), ("b.png", 7, 100)] {
            image::RgbImage::new(width, height).save(images.join(name)).unwrap();
            image::GrayImage::new(width, height).save(masks.join(name)).unwrap();
        }
        std::fs::write(images.join("c.png"), b"no image").unwrap();
        assert_eq!(DataSet::from_folders(&images, &masks).unwrap().largest_image(), 700);
        let phantoms = DataSet::open("phantom", "test", None, &Catalog::built_in()).unwrap();
        let image = phantoms.load(0).unwrap().image;
        assert_eq!(phantoms.largest_image(), u64::from(image.width()) * u64::from(image.height()));
    }
}
