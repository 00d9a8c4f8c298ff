//! Whatever the pixels are stored as, they come out as 8-bit RGB and as bool.

use std::fs;

use data_loaders::{decode_image, decode_image_with_facts, decode_mask};
use image::{DynamicImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};

use crate::support::{folder, oriented, path, write_mask};

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
    // (200, 100, 50) has a color, which counts by its brightest channel.
    assert_eq!(decode_mask(&file).unwrap().truth.values, [false, true, true]);
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
fn what_of_a_file_the_pixels_do_not_show_is_said() {
    let root = folder();
    let images: [(&str, DynamicImage, Option<u16>); 6] = [
        ("gray.png", ImageBuffer::from_pixel(2, 1, Luma([77_u8])).into(), None),
        ("rgb.png", ImageBuffer::from_pixel(2, 1, Rgb([77_u8; 3])).into(), None),
        ("gray16.png", ImageBuffer::from_pixel(2, 1, Luma([4095_u16])).into(), Some(4095)),
        ("gray_alpha16.png", ImageBuffer::from_pixel(2, 1, LumaA([7_u16, 9])).into(), Some(7)),
        ("rgb16.tif", ImageBuffer::from_pixel(2, 1, Rgb([1_u16, 8, 3])).into(), Some(8)),
        ("rgba16.png", ImageBuffer::from_pixel(2, 1, Rgba([1_u16, 2, 3, 9])).into(), Some(3)),
    ];
    for (name, image, largest) in images {
        let file = path(&root, name);
        image.save(&file).unwrap();
        let decoded = decode_image_with_facts(&file).unwrap();
        assert_eq!((decoded.largest_of_16_bits, decoded.exif_orientation), (largest, 1), "{name}");
        assert_eq!(decoded.pixels, decode_image(&file).unwrap(), "{name}");
    }
    for orientation in 1..=8 {
        let file = path(&root, "turned.jpg");
        fs::write(&file, oriented(orientation)).unwrap();
        assert_eq!(decode_image_with_facts(&file).unwrap().exif_orientation, orientation);
        assert_eq!(decode_mask(&file).unwrap().exif_orientation, orientation);
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
fn cmyk_jpegs_become_rgb() {
    let root = folder();
    let file = path(&root, "cmyk.jpg");
    fs::write(&file, include_bytes!("../fixtures/cmyk.jpg")).unwrap();
    let image = decode_image(&file).unwrap();
    assert_eq!(image.dimensions(), (48, 16));
    for (x, expected) in [(8, [255, 0, 0]), (24, [0, 255, 0]), (40, [127, 127, 127])] {
        for (value, expected) in image.get_pixel(x, 8).0.iter().zip(expected) {
            assert!(value.abs_diff(expected) <= 4, "{:?} at {x}", image.get_pixel(x, 8));
        }
    }
}

#[test]
fn masks_in_any_color_are_foreground_and_the_colors_are_counted() {
    let root = folder();
    let file = path(&root, "colors.png");
    // Red, green, blue, dark red, white, black, a light gray with a tint.
    let colors = [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [120, 0, 0],
        [255, 255, 255],
        [0, 0, 0],
        [130, 140, 120],
    ];
    RgbImage::from_fn(7, 1, |x, _| Rgb(colors[x as usize])).save(&file).unwrap();
    let decoded = decode_mask(&file).unwrap();
    assert_eq!(decoded.truth.values, [true, true, true, false, true, false, true]);
    assert_eq!((decoded.colored_pixels, decoded.gray_pixels), (4, 2));
}

#[test]
fn a_gray_jpeg_mask_has_no_color() {
    let root = folder();
    let file = path(&root, "mask.jpg");
    let mask = RgbImage::from_fn(40, 40, |x, y| Rgb([if x + y < 33 { 255 } else { 0 }; 3]));
    mask.save(&file).unwrap();
    let decoded = decode_mask(&file).unwrap();
    assert_eq!(decoded.colored_pixels, 0);
    assert!(decoded.gray_pixels > 0);
    let area = (0..40 * 40).filter(|at| at % 40 + at / 40 < 33).count();
    assert!(decoded.truth.foreground().abs_diff(area) < 20);
}

#[test]
fn an_orientation_is_honored_as_a_viewer_does() {
    let root = folder();
    // As stored: 24 x 16, the left third red, the upper half bright.
    for (orientation, size, red, bright) in [
        // Upside down: red at the right, bright below.
        (3, (24, 16), (22, 8), (4, 12)),
        // Turned clockwise: the left side goes to the top, the upper half to the right.
        (6, (16, 24), (8, 2), (12, 20)),
        // Turned counterclockwise: the left side goes to the bottom, the upper half to the left.
        (8, (16, 24), (8, 22), (4, 4)),
    ] {
        let bytes: &[u8] = match orientation {
            3 => include_bytes!("../fixtures/oriented_3.jpg"),
            6 => include_bytes!("../fixtures/oriented_6.jpg"),
            _ => include_bytes!("../fixtures/oriented_8.jpg"),
        };
        let file = path(&root, "oriented.jpg");
        fs::write(&file, bytes).unwrap();
        let image = decode_image(&file).unwrap();
        assert_eq!(image.dimensions(), size, "{orientation}");
        assert!(image.get_pixel(red.0, red.1).0[0] > 200, "{orientation}: red");
        let green = image.get_pixel(bright.0, bright.1).0[1];
        assert!((100..140).contains(&green), "{orientation}: bright {green}");
        // A mask is turned like its image.
        let mask = decode_mask(&file).unwrap().truth;
        assert_eq!((mask.width, mask.height), size);
        assert!(mask.at(red.0, red.1));
    }
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
