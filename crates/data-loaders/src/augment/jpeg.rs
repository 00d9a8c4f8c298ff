//! What compression leaves behind.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};

/// The image after it was stored as JPEG of this quality, from 1 to 100.
pub(super) fn compressed(image: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).expect(
        "memory takes what an encoder writes, and an image has at most 65,535 pixels a side",
    );
    image::load(Cursor::new(bytes), ImageFormat::Jpeg)
        .expect("a decoder reads what its encoder wrote")
        .into_rgb8()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn lower_quality_changes_more() {
        let image = RgbImage::from_fn(48, 40, |x, y| {
            Rgb([(x * 5) as u8, (y * 6) as u8, ((x * y) % 251) as u8])
        });
        let change = |quality| {
            let changed = compressed(&image, quality);
            assert_eq!(changed.dimensions(), image.dimensions());
            let pairs = image.as_raw().iter().zip(changed.as_raw());
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert!(change(100) > 0 && change(100) < change(80) && change(80) < change(10));
    }
}
