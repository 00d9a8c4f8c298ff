//! Files that cannot be used, and what is said of them.

use std::fs;

use data_loaders::{
    DataError, DataSet, MAX_PIXELS, decode_image, decode_mask, decode_truth_map, mask_histogram,
};
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{
    DynamicImage, Frame, GrayImage, ImageBuffer, Luma, LumaA, Rgb, Rgb32FImage, RgbImage, Rgba,
    RgbaImage,
};
use tempfile::TempDir;

use crate::support::{
    HEIGHT, WIDTH, folder, mask, message, oriented, pairs, path, with_orientation, write_image,
};

fn load(root: &TempDir) -> Result<data_loaders::Case, DataError> {
    DataSet::from_folders(&root.path().join("images"), &root.path().join("masks"))?.load(0)
}

#[test]
fn an_empty_file_is_called_empty() {
    for file in ["images/a.png", "masks/a.png"] {
        let root = pairs(&["a"]);
        fs::write(root.path().join(file), "").unwrap();
        let error = load(&root).unwrap_err();
        assert!(matches!(error, DataError::EmptyFile { .. }));
        let expected = format!("the file is empty (0 bytes): ROOT/{file}");
        assert_eq!(message(&error, root.path()), expected);
    }
}

#[test]
fn what_is_not_an_image_is_not_readable() {
    let root = pairs(&["a"]);
    fs::write(root.path().join("images/a.png"), "<html>404 Not Found</html>").unwrap();
    let error = load(&root).unwrap_err();
    assert!(matches!(error, DataError::Decode { .. }));
    assert_eq!(
        message(&error, root.path()),
        "not a readable png, jpeg, bmp or tiff image: ROOT/images/a.png"
    );
}

#[test]
fn cut_off_images_are_refused_in_every_format() {
    let root = folder();
    for extension in ["png", "jpg", "bmp", "tif"] {
        let file = path(&root, &format!("a.{extension}"));
        write_image(&file);
        decode_image(&file).unwrap();
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() * 3 / 4]).unwrap();
        let error = decode_image(&file).unwrap_err();
        let expected = match extension {
            "jpg" => "the JPEG file is cut off before its end: ROOT/a.jpg".to_owned(),
            other => format!("not a readable png, jpeg, bmp or tiff image: ROOT/a.{other}"),
        };
        assert_eq!(message(&error, root.path()), expected);
    }
}

#[test]
fn a_file_that_vanished_is_named() {
    let root = pairs(&["a"]);
    let set =
        DataSet::from_folders(&root.path().join("images"), &root.path().join("masks")).unwrap();
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    let error = set.load(0).unwrap_err();
    assert_eq!(message(&error, root.path()), "cannot open ROOT/images/a.png");
}

#[test]
fn a_mask_of_another_size_is_named_with_both_sizes_and_paths() {
    let root = pairs(&["a"]);
    mask(HEIGHT, WIDTH).save(root.path().join("masks/a.png")).unwrap();
    let error = load(&root).unwrap_err();
    assert!(matches!(error, DataError::SizeMismatch { .. }));
    assert_eq!(
        message(&error, root.path()),
        "mask is 4 x 6 pixels, image is 6 x 4: ROOT/masks/a.png and ROOT/images/a.png"
    );
}

#[test]
fn an_image_that_claims_to_be_huge_is_refused_before_its_pixels_are_read() {
    let root = pairs(&["a"]);
    // A BMP header that promises 20000 x 20000 pixels of 24 bits, and nothing after it.
    let mut bytes = b"BM".to_vec();
    for value in [54_u32, 0, 54, 40, 20_000, 20_000] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    let file = path(&root, "huge.bmp");
    fs::write(&file, bytes).unwrap();
    let error = decode_image(&file).unwrap_err();
    assert!(matches!(error, DataError::TooLarge { width: 20_000, height: 20_000, .. }), "{error}");
    assert_eq!(
        message(&error, root.path()),
        format!("20000 x 20000 pixels, more than {MAX_PIXELS}, in ROOT/huge.bmp")
    );
}

#[test]
fn a_png_that_claims_to_be_huge_is_refused_before_its_pixels_are_read() {
    let root = folder();
    let file = path(&root, "huge.png");
    // The header of a PNG of 60000 x 60000 pixels with its checksum, and no pixels.
    let mut bytes = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec();
    bytes.extend([0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60, 8, 2, 0, 0, 0]);
    bytes.extend(0x0FB0_E215_u32.to_be_bytes());
    bytes.extend(b"\0\0\0\x01IDAT\0\0\0\0\0");
    fs::write(&file, bytes).unwrap();
    let error = decode_image(&file).unwrap_err();
    assert!(
        matches!(error, DataError::TooLarge { width: 60_000, height: 60_000, .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_longer_than_any_image_is_not_read_to_its_end() {
    let root = folder();
    let file = path(&root, "long.jpg");
    // A hole in the file: nothing is stored, but 2 TB would be read.
    fs::File::create(&file).unwrap().set_len(2 << 40).unwrap();
    let error = decode_image(&file).unwrap_err();
    assert_eq!(message(&error, root.path()), "longer than 553648128 bytes: ROOT/long.jpg");
}

#[test]
fn several_pictures_in_one_file_are_refused_and_thumbnails_are_not() {
    let root = folder();
    let files: [(&str, &[u8]); 2] = [
        ("animated.png", include_bytes!("../fixtures/animated.png")),
        ("two_pages.tif", include_bytes!("../fixtures/two_pages.tif")),
    ];
    for (name, bytes) in files {
        let file = path(&root, name);
        fs::write(&file, bytes).unwrap();
        let error = decode_image(&file).unwrap_err();
        assert_eq!(
            message(&error, root.path()),
            format!("2 pictures in one file, an animation or several pages: ROOT/{name}")
        );
    }
    let file = path(&root, "thumbnail.tif");
    fs::write(&file, include_bytes!("../fixtures/thumbnail.tif")).unwrap();
    assert_eq!(decode_image(&file).unwrap().get_pixel(3, 2), &Rgb([200, 10, 10]));
}

/// A GIF of so many frames, whole and readable.
fn gif(frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for frame in 0..frames {
        let picture = RgbaImage::from_pixel(WIDTH, HEIGHT, Rgba([90 * frame as u8, 60, 200, 255]));
        encoder.encode_frame(Frame::new(picture)).unwrap();
    }
    drop(encoder);
    bytes
}

#[test]
fn gif_and_webp_are_no_formats_of_ours() {
    let root = folder();
    // Another crate of a program may switch the decoder on, as the one of this test is.
    for frames in [1, 2] {
        assert!(image::load_from_memory(&gif(frames)).is_ok(), "the decoder is there");
    }
    let webp = b"RIFF\x10\0\0\0WEBPVP8L".to_vec();
    for (name, bytes) in [("one.gif", gif(1)), ("two.png", gif(2)), ("a.webp", webp)] {
        let file = path(&root, name);
        fs::write(&file, bytes).unwrap();
        for error in [decode_image(&file).unwrap_err(), decode_mask(&file).unwrap_err()] {
            assert!(matches!(error, DataError::Decode { .. }), "{error:?}");
            assert_eq!(
                message(&error, root.path()),
                format!("not a readable png, jpeg, bmp or tiff image: ROOT/{name}")
            );
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("is not supported"), "{source}");
        }
    }
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_opened() {
    let root = folder();
    let inner = root.path().join("a.png");
    fs::create_dir(&inner).unwrap();
    let pipe = root.path().join("b.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody writes to the pipe: to open it would be to wait for ever.
    for file in [inner, pipe] {
        let error = decode_image(&file).unwrap_err();
        let name = file.file_name().unwrap().to_string_lossy();
        assert_eq!(message(&error, root.path()), format!("not a regular file: ROOT/{name}"));
    }
    let linked = root.path().join("c.png");
    write_image(&root.path().join("d.png"));
    std::os::unix::fs::symlink("d.png", &linked).unwrap();
    decode_image(&linked).unwrap();
}

#[test]
fn a_mask_drawn_on_pixels_that_exif_turns_is_named() {
    let root = pairs(&["a"]);
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    let image = path(&root, "images/a.jpg");
    fs::write(&image, include_bytes!("../fixtures/oriented_6.jpg")).unwrap();
    let mask_file = root.path().join("masks/a.png");
    mask(24, 16).save(&mask_file).unwrap();
    let error = load(&root).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "the EXIF orientation turns image and mask differently, mask 24 x 16 and image 16 x 24: \
         store the pixels of the image as those of the mask, without an orientation; \
         ROOT/masks/a.png and ROOT/images/a.jpg"
    );
    // A mask of the turned size fits, and so does one that is turned itself.
    mask(16, 24).save(&mask_file).unwrap();
    assert_eq!(load(&root).unwrap().image.dimensions(), (16, 24));
    fs::remove_file(&mask_file).unwrap();
    fs::copy(&image, root.path().join("masks/a.jpg")).unwrap();
    assert_eq!(load(&root).unwrap().truth.height, 24);
    mask(20, 16).save(&mask_file).unwrap();
    assert!(matches!(load(&root).unwrap_err(), DataError::SizeMismatch { .. }));
}

#[test]
fn an_orientation_that_no_size_shows_is_refused_if_only_the_image_has_it() {
    let root = pairs(&["a"]);
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    let image = path(&root, "images/a.jpg");
    let mask_file = root.path().join("masks/a.png");
    mask(24, 16).save(&mask_file).unwrap();
    for orientation in [2, 3, 4] {
        fs::write(&image, oriented(orientation)).unwrap();
        let error = load(&root).unwrap_err();
        assert_eq!(
            message(&error, root.path()),
            "the EXIF orientation turns image and mask differently, mask 24 x 16 and image 24 x \
             16: store the pixels of the image as those of the mask, without an orientation; \
             ROOT/masks/a.png and ROOT/images/a.jpg",
            "{orientation}"
        );
    }
    // Both have it.
    fs::remove_file(&mask_file).unwrap();
    fs::copy(&image, root.path().join("masks/a.jpg")).unwrap();
    assert_eq!(load(&root).unwrap().image.dimensions(), (24, 16));
    // Only the mask has it.
    RgbImage::from_pixel(24, 16, Rgb([9, 9, 9])).save(&image).unwrap();
    assert!(matches!(load(&root).unwrap_err(), DataError::Orientation { .. }));
}

#[test]
fn a_square_hides_which_way_it_was_turned() {
    let root = pairs(&["a"]);
    fs::remove_file(root.path().join("images/a.png")).unwrap();
    mask(24, 24).save(root.path().join("masks/a.png")).unwrap();
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(&RgbImage::new(24, 24)).unwrap();
    let image = path(&root, "images/a.jpg");
    fs::write(&image, with_orientation(&jpeg, 6)).unwrap();
    assert!(matches!(load(&root).unwrap_err(), DataError::Orientation { .. }));
    fs::write(&image, with_orientation(&jpeg, 1)).unwrap();
    load(&root).unwrap();
}

#[test]
fn floating_point_pixels_are_refused() {
    let root = pairs(&["a"]);
    let file = path(&root, "float.tif");
    Rgb32FImage::from_pixel(2, 2, Rgb([0.5, 0.5, 0.5])).save(&file).unwrap();
    let error = decode_image(&file).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "floating-point pixels (Rgb32F) are not supported: ROOT/float.tif"
    );
}

#[test]
fn a_mask_stored_as_0_and_1_is_not_taken_for_an_empty_one() {
    let root = pairs(&["a"]);
    let file = root.path().join("masks/a.png");
    GrayImage::from_fn(WIDTH, HEIGHT, |x, _| Luma([u8::from(x < 2)])).save(&file).unwrap();
    let error = load(&root).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "largest mask value is 1, but foreground starts at 128: stored as 0/1 instead of 0/255? \
         In ROOT/masks/a.png"
    );
}

#[test]
fn a_mask_of_16_bits_is_judged_at_its_own_depth() {
    let root = folder();
    let file = path(&root, "mask.png");
    let written = |image: DynamicImage| image.save(&file).unwrap();
    let gray = |level: u16| -> DynamicImage {
        ImageBuffer::from_fn(4, 2, |x, _| Luma([if x < 1 { level } else { 0 }])).into()
    };
    // 128 is what rounding to 8 bits turns into black.
    for max in [1, 127, 128, 255, 32_767] {
        written(gray(max));
        let expected = format!(
            "largest mask value is {max}, but foreground starts at 32768: stored as 0/{max} \
             instead of 0/65535? In ROOT/mask.png"
        );
        for error in [decode_mask(&file).unwrap_err(), decode_truth_map(&file).unwrap_err()] {
            assert_eq!(message(&error, root.path()), expected);
        }
        let histogram = mask_histogram(&file).unwrap();
        assert_eq!(
            (histogram[0], histogram[1..].iter().sum::<u64>()),
            (6, 2),
            "{max} is not black"
        );
    }
    for max in [32_768, 65_534, 65_535] {
        written(gray(max));
        let decoded = decode_mask(&file).unwrap();
        assert_eq!(decoded.truth.values[..4], [true, false, false, false], "{max}");
        assert_eq!(decoded.gray_pixels, if max == 65_535 { 0 } else { 2 }, "{max}");
        let histogram = mask_histogram(&file).unwrap();
        assert_eq!(histogram[255], if max == 65_535 { 2 } else { 0 }, "{max} is not white");
    }

    written(gray(0));
    assert!(decode_mask(&file).unwrap().truth.is_empty());
    for image in [
        ImageBuffer::from_pixel(2, 2, LumaA([1_u16, 65_535])).into(),
        ImageBuffer::from_pixel(2, 2, Rgb([1_u16; 3])).into(),
        ImageBuffer::from_pixel(2, 2, Rgba([1_u16, 1, 1, 65_535])).into(),
    ] {
        written(image);
        let error = decode_mask(&file).unwrap_err();
        assert!(matches!(error, DataError::DimMask { max: 1, white: 65_535, .. }), "{error}");
    }
}

#[test]
fn a_mask_in_a_color_too_dark_for_its_luma_is_not_empty() {
    let root = folder();
    let file = path(&root, "mask.png");
    RgbImage::from_pixel(2, 2, Rgb([0, 0, 2])).save(&file).unwrap();
    let error = decode_mask(&file).unwrap_err();
    assert!(matches!(error, DataError::DimMask { max: 2, white: 255, .. }), "{error}");
}

#[test]
fn an_empty_mask_is_legal() {
    let root = pairs(&["a"]);
    GrayImage::new(WIDTH, HEIGHT).save(root.path().join("masks/a.png")).unwrap();
    let case = load(&root).unwrap();
    assert!(case.truth.is_empty());
    assert_eq!(case.mask_gray_pixels, 0);
}

#[test]
fn gray_mask_pixels_are_thresholded_and_counted() {
    let root = pairs(&["a"]);
    let file = root.path().join("masks/a.png");
    let values = [0, 3, 127, 128, 250, 255];
    GrayImage::from_fn(WIDTH, HEIGHT, |x, _| Luma([values[x as usize]])).save(&file).unwrap();
    let decoded = decode_mask(&file).unwrap();
    assert_eq!(decoded.gray_pixels, 4 * 4, "four columns of four rows");
    assert_eq!(decoded.truth.values[..6], [false, false, false, true, true, true]);
    assert_eq!(load(&root).unwrap().mask_gray_pixels, 16);
}
