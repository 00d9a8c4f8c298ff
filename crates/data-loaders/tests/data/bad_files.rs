//! Files that cannot be used, and what is said of them.

use std::fs;

use data_loaders::{DataError, DataSet, MAX_PIXELS, decode_image, decode_mask};
use image::{GrayImage, Luma, Rgb, Rgb32FImage};
use tempfile::TempDir;

use crate::support::{HEIGHT, WIDTH, folder, mask, message, pairs, path, write_image};

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

#[test]
fn gif_and_webp_are_no_formats_of_ours() {
    let root = folder();
    let files: [(&str, &[u8]); 2] =
        [("a.gif", b"GIF89a\x01\0\x01\0\0\0\0;"), ("a.webp", b"RIFF\x10\0\0\0WEBPVP8L")];
    for (name, bytes) in files {
        let file = path(&root, name);
        fs::write(&file, bytes).unwrap();
        let error = decode_image(&file).unwrap_err();
        assert!(matches!(error, DataError::Decode { .. }), "{error:?}");
    }
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
        "the EXIF orientation turns only one of the two, mask 24 x 16 and image 16 x 24: remove it \
         from the images, or turn the masks; ROOT/masks/a.png and ROOT/images/a.jpg"
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
