//! Whatever the pixels are stored as, they come out as 8-bit RGB and as bool.

use std::fs;

use data_loaders::{decode_image, decode_mask};
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};

use crate::support::{folder, path, write_mask};

/// 3 x 1 pixels of an 8-bit palette: (10, 20, 30), (200, 100, 50), white. Made with Python's
/// `zlib` and `struct`: IHDR of color type 3, PLTE, IDAT of the row `00 00 01 02`, IEND.
const PALETTE_PNG: [u8; 90] = [
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 3, 0, 0, 0, 1, 8, 3, 0,
    0, 0, 44, 62, 228, 134, 0, 0, 0, 9, 80, 76, 84, 69, 10, 20, 30, 200, 100, 50, 255, 255, 255,
    18, 200, 224, 112, 0, 0, 0, 12, 73, 68, 65, 84, 120, 156, 99, 96, 96, 100, 2, 0, 0, 8, 0, 4,
    54, 224, 176, 166, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

#[test]
fn palette_images_become_rgb() {
    let root = folder();
    let file = path(&root, "palette.png");
    fs::write(&file, PALETTE_PNG).unwrap();
    let image = decode_image(&file).unwrap();
    assert_eq!(image.as_raw(), &[10, 20, 30, 200, 100, 50, 255, 255, 255]);
    assert_eq!(decode_mask(&file).unwrap().truth.values, [false, false, true]);
}

#[test]
fn gray_alpha_and_16_bits_become_8_bit_rgb() {
    let root = folder();
    let images: [(&str, DynamicImage); 6] = [
        ("gray.png", ImageBuffer::from_pixel(2, 1, Luma([77_u8])).into()),
        ("gray_alpha.png", ImageBuffer::from_pixel(2, 1, LumaA([77_u8, 0])).into()),
        ("rgba.png", ImageBuffer::from_pixel(2, 1, Rgba([77_u8, 77, 77, 0])).into()),
        ("gray16.png", ImageBuffer::from_pixel(2, 1, Luma([77_u16 * 257])).into()),
        ("rgb16.tif", ImageBuffer::from_pixel(2, 1, Rgb([77_u16 * 257; 3])).into()),
        ("gray.bmp", ImageBuffer::from_pixel(2, 1, Luma([77_u8])).into()),
    ];
    for (name, image) in images {
        let file = path(&root, name);
        image.save(&file).unwrap();
        assert_eq!(decode_image(&file).unwrap().as_raw(), &[77; 6], "{name}");
    }
}

#[test]
fn masks_of_any_format_are_the_same_mask() {
    let root = folder();
    let plain = path(&root, "mask.png");
    write_mask(&plain);
    let expected = decode_mask(&plain).unwrap();
    assert_eq!(expected.truth.values[..6], [true, true, false, false, false, false]);
    let gray = DynamicImage::from(expected.truth.to_gray());
    let images = [
        ("rgb.png", DynamicImage::from(gray.to_rgb8())),
        ("rgba.png", gray.to_rgba8().into()),
        ("gray16.png", gray.to_luma16().into()),
        ("gray_alpha.png", gray.to_luma_alpha8().into()),
        ("gray.tif", gray.clone()),
        ("gray.bmp", gray.clone()),
    ];
    for (name, image) in images {
        let file = path(&root, name);
        image.save(&file).unwrap();
        assert_eq!(decode_mask(&file).unwrap(), expected, "{name}");
    }
}

#[test]
fn the_content_tells_the_format_not_the_name() {
    let root = folder();
    let png = path(&root, "image.png");
    RgbImage::from_pixel(2, 2, Rgb([1, 2, 3])).save(&png).unwrap();
    let misnamed = path(&root, "image.jpg");
    fs::rename(png, &misnamed).unwrap();
    assert_eq!(decode_image(&misnamed).unwrap().get_pixel(1, 1), &Rgb([1, 2, 3]));
}

#[test]
fn jpeg_images_come_close() {
    let root = folder();
    let file = path(&root, "image.jpeg");
    RgbImage::from_pixel(16, 16, Rgb([180, 90, 60])).save(&file).unwrap();
    for (value, expected) in
        decode_image(&file).unwrap().get_pixel(8, 8).0.iter().zip([180, 90, 60])
    {
        assert!(value.abs_diff(expected) <= 3);
    }
}
