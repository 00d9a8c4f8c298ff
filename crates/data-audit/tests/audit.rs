//! Audits of made-up data sets in which something is wrong.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use data_audit::{Audit, Leak, Progress, Same, Silent, audit};
use data_loaders::{BadCases, Catalog, DataError, DataSet, Inventory};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, imageops};
use serde_json::Value;
use tempfile::TempDir;

/// A number in `[0, 1)` that looks random (SplitMix64).
fn draw(seed: u32, spot: u32, n: u32) -> f64 {
    let mut bits = u64::from(seed) << 32 | u64::from(spot) << 8 | u64::from(n);
    bits = bits.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A scene of a few soft spots; another seed is another scene.
fn scene(seed: u32, width: u32, height: u32) -> RgbImage {
    let spots: Vec<[f64; 3]> = (0..12).map(|spot| [1, 2, 3].map(|n| draw(seed, spot, n))).collect();
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let light: f64 = spots
            .iter()
            .map(|[at_x, at_y, strength]| {
                let (dx, dy) = (x - at_x, y - at_y);
                150.0 * strength * (-(dx * dx + dy * dy) / 0.01).exp()
            })
            .sum();
        let light = (60.0 + light).min(255.0) as u8;
        Rgb([light, light / 2, light / 3])
    })
}

fn mask(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, _| Luma([if x < width / 4 { 255 } else { 0 }]))
}

fn at(root: &TempDir, name: &str) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn pair(root: &TempDir, name: &str, seed: u32) {
    scene(seed, 80, 60).save(at(root, &format!("images/{name}.png"))).unwrap();
    mask(80, 60).save(at(root, &format!("masks/{name}.png"))).unwrap();
}

fn check(root: &TempDir) -> Audit {
    audit(&inventory(root), &[], &Silent)
}

fn inventory(root: &TempDir) -> Inventory {
    Inventory::of_folders(&root.path().join("images"), &root.path().join("masks")).unwrap()
}

#[test]
fn a_good_set_is_clean_and_its_numbers_are_right() {
    let root = TempDir::new().unwrap();
    for (seed, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        pair(&root, name, seed as u32);
    }
    scene(9, 40, 30).save(at(&root, "images/f.png")).unwrap();
    GrayImage::from_fn(40, 30, |x, _| Luma([if x < 20 { 255 } else { 0 }]))
        .save(at(&root, "masks/f.png"))
        .unwrap();
    let report = check(&root);
    assert!(report.is_clean(), "{}", report.markdown());
    assert_eq!(report.pairs, 6);
    assert_eq!((report.splits[0].found, report.splits[0].usable), (6, 6));
    let sizes: Vec<_> =
        report.image_sizes.iter().map(|one| (one.width, one.height, one.images)).collect();
    assert_eq!(sizes, [(80, 60, 5), (40, 30, 1)]);
    let shares = report.foreground_share.unwrap();
    assert_eq!((shares.min, shares.median, shares.max), (0.25, 0.25, 0.5));
    let foreground = 5 * 20 * 60 + 20 * 30;
    let values: Vec<_> = report.mask_values.pixels.into_iter().collect();
    assert_eq!(values, [(0, 5 * 60 * 60 + 20 * 30), (255, foreground)]);
    assert!(report.mask_values.gray_masks.is_empty());
    assert!(report.near_duplicates.is_empty(), "the scenes differ");
}

#[test]
fn every_kind_of_bad_file_is_a_row_with_its_reason() {
    let root = TempDir::new().unwrap();
    for (seed, name) in ["cut", "dim", "empty", "full", "gray", "html", "red", "size", "zero"]
        .into_iter()
        .enumerate()
    {
        pair(&root, name, seed as u32);
    }
    let whole = fs::read(root.path().join("images/cut.png")).unwrap();
    fs::write(root.path().join("images/cut.png"), &whole[..whole.len() / 2]).unwrap();
    GrayImage::from_fn(80, 60, |x, _| Luma([u8::from(x < 8)]))
        .save(root.path().join("masks/dim.png"))
        .unwrap();
    GrayImage::new(80, 60).save(root.path().join("masks/empty.png")).unwrap();
    GrayImage::from_pixel(80, 60, Luma([255])).save(root.path().join("masks/full.png")).unwrap();
    GrayImage::from_fn(80, 60, |x, _| Luma([[0, 90, 200, 255][x as usize % 4]]))
        .save(root.path().join("masks/gray.png"))
        .unwrap();
    fs::write(root.path().join("images/html.png"), "<html>404</html>").unwrap();
    mask(60, 80).save(root.path().join("masks/size.png")).unwrap();
    RgbImage::from_fn(80, 60, |x, _| Rgb(if x < 9 { [255, 0, 0] } else { [0; 3] }))
        .save(root.path().join("masks/red.png"))
        .unwrap();
    fs::write(root.path().join("masks/zero.png"), "").unwrap();

    let report = check(&root);
    assert!(!report.is_clean());
    let rows: Vec<_> = report
        .unreadable
        .iter()
        .map(|row| (&*row.id, row.path.strip_prefix(root.path()).unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("cut", "images/cut.png"),
            ("dim", "masks/dim.png"),
            ("html", "images/html.png"),
            ("zero", "masks/zero.png"),
        ]
    );
    assert!(report.unreadable[1].reason.starts_with("largest mask value is 1"));
    assert!(report.unreadable[3].reason.starts_with("the file is empty (0 bytes)"));
    let ids = |items: &[data_audit::Item]| -> Vec<String> {
        items.iter().map(|item| item.id.clone()).collect()
    };
    assert_eq!(ids(&report.empty_masks), ["empty"]);
    assert_eq!(ids(&report.full_masks), ["full"]);
    assert_eq!(report.size_mismatches.len(), 1);
    let mismatch = &report.size_mismatches[0];
    assert_eq!(
        (&*mismatch.item.id, mismatch.image_size, mismatch.mask_size),
        ("size", [80, 60], [60, 80])
    );
    let gray: Vec<_> = report
        .mask_values
        .gray_masks
        .iter()
        .map(|one| (&*one.id, one.values, one.gray_pixels))
        .collect();
    assert_eq!(gray, [("dim", 2, 8 * 60), ("gray", 4, 40 * 60)]);
    assert_eq!(report.mask_values.pixels[&90], 20 * 60);
    let colored = &report.mask_values.colored_masks;
    assert_eq!(colored.len(), 1);
    assert_eq!((&*colored[0].id, colored[0].colored_pixels), ("red", 9 * 60));
    assert_eq!((report.splits[0].found, report.splits[0].usable), (9, 4));
}

/// Saves an image as a JPEG file with an EXIF segment that holds an orientation of 1 to 8.
fn save_oriented(path: &Path, image: &RgbImage, orientation: u8) {
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(image).unwrap();
    // Segment of 34 bytes; big-endian TIFF with one directory of one entry: tag 274, SHORT, one value.
    let mut exif = b"\xFF\xE1\0\x22Exif\0\0MM\0\x2A\0\0\0\x08\0\x01".to_vec();
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    fs::write(path, [&jpeg[..2], &exif, &jpeg[2..]].concat()).unwrap();
}

#[test]
fn an_orientation_of_the_image_alone_is_a_row_of_its_own_or_the_cause_of_other_sizes() {
    let root = TempDir::new().unwrap();
    for (seed, orientation) in (0..).zip([1, 2, 3, 4, 6]) {
        let image = at(&root, &format!("images/turned_{orientation}.jpg"));
        save_oriented(&image, &scene(seed, 80, 60), orientation);
        mask(80, 60).save(at(&root, &format!("masks/turned_{orientation}.png"))).unwrap();
    }
    // Image and mask are turned alike; the mask was drawn on the image as it is shown; another size.
    save_oriented(&at(&root, "images/both.jpg"), &scene(10, 80, 60), 3);
    let plain = DynamicImage::ImageLuma8(mask(80, 60)).to_rgb8();
    save_oriented(&at(&root, "masks/both.jpg"), &plain, 3);
    save_oriented(&at(&root, "images/shown.jpg"), &scene(11, 80, 60), 6);
    mask(60, 80).save(at(&root, "masks/shown.png")).unwrap();
    save_oriented(&at(&root, "images/size.jpg"), &scene(12, 80, 60), 3);
    mask(60, 60).save(at(&root, "masks/size.png")).unwrap();

    let report = check(&root);
    assert!(!report.is_clean());
    let turned: Vec<_> = report
        .orientation_mismatches
        .iter()
        .map(|one| (&*one.item.id, one.image, one.mask))
        .collect();
    assert_eq!(turned, [("turned_2", 2, 1), ("turned_3", 3, 1), ("turned_4", 4, 1)]);
    let sizes: Vec<_> = report
        .size_mismatches
        .iter()
        .map(|one| (&*one.item.id, one.image_size, one.mask_size, one.exif_orientations))
        .collect();
    assert_eq!(
        sizes,
        [("size", [80, 60], [60, 60], None), ("turned_6", [60, 80], [80, 60], Some([6, 1])),]
    );
    assert_eq!((report.splits[0].found, report.splits[0].usable), (8, 3));

    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["orientation_mismatches"][1]["image"], 3);
    assert_eq!(document["size_mismatches"][1]["exif_orientations"][0], 6);
    let (text, page) = (report.markdown(), report.html());
    assert!(text.contains("| pairs whose EXIF orientations differ | 3 |"), "{text}");
    assert!(text.contains("| turned_4 | 4 | 1 |"), "{text}");
    let cause = "EXIF orientation 6 of the image, 1 of the mask";
    assert!(text.contains(cause) && page.contains(cause), "{text}");
    assert!(page.contains("<h2>EXIF orientations of image and mask differ (3)</h2>"));

    // As the loader has it.
    let set =
        DataSet::from_folders(&root.path().join("images"), &root.path().join("masks")).unwrap();
    let skipped = set.load_all(BadCases::Skip).unwrap().skipped;
    let ids: Vec<_> = skipped.iter().map(|one| &*one.id).collect();
    assert_eq!(ids, ["size", "turned_2", "turned_3", "turned_4", "turned_6"]);
}

#[test]
fn images_of_16_bits_that_are_nearly_black_are_named() {
    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    for (name, largest) in [("b", 4095), ("c", 16_382), ("d", 16_383), ("e", 65_535)] {
        let step = largest / 79;
        let image: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_fn(80, 60, |x, y| {
            Luma([if x == 79 { largest } else { step * ((x * y) % 79) as u16 }])
        });
        image.save(at(&root, &format!("images/{name}.png"))).unwrap();
        mask(80, 60).save(at(&root, &format!("masks/{name}.png"))).unwrap();
    }
    let report = check(&root);
    let dark: Vec<_> =
        report.dark_16_bit_images.iter().map(|one| (&*one.item.id, one.largest)).collect();
    assert_eq!(dark, [("b", 4095), ("c", 16_382)]);
    assert!(!report.is_clean());
    let text = report.markdown();
    assert!(text.contains("| images of 16 bits below a quarter of white | 2 |"), "{text}");
    assert!(text.contains("| b | 4095 |"), "{text}");
}

#[test]
fn folders_that_nothing_runs_on_are_called_so() {
    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    pair(&root, "b", 2);
    assert_eq!(check(&root).refusal, None);
    scene(3, 80, 60).save(at(&root, "images/a.bmp")).unwrap();
    let report = check(&root);
    let images = root.path().join("images");
    let error = DataSet::from_folders(&images, &root.path().join("masks")).unwrap_err();
    assert!(matches!(error, DataError::DuplicateId { .. }), "{error}");
    assert_eq!(report.refusal, Some(error.to_string()));
    assert!(!report.is_clean());
    let sentence = "No other command reads these folders: two images have the id `a`";
    assert!(report.markdown().contains(sentence), "{}", report.markdown());
    assert!(report.html().contains(sentence));
    assert_eq!(serde_json::to_value(&report).unwrap()["refusal"], error.to_string());
}

#[test]
fn copies_are_found_by_bytes_by_pixels_and_by_look() {
    let root = TempDir::new().unwrap();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        pair(&root, name, seed);
    }
    for (name, _) in [("same_bytes", 0), ("same_pixels", 0), ("small", 0), ("bright", 0)] {
        mask(80, 60).save(at(&root, &format!("masks/{name}.png"))).unwrap();
    }
    fs::copy(root.path().join("images/a.png"), at(&root, "images/same_bytes.png")).unwrap();
    GrayImage::from_fn(80, 60, |x, _| Luma([if x < 21 { 255 } else { 0 }]))
        .save(root.path().join("masks/same_bytes.png"))
        .unwrap();
    scene(2, 80, 60).save(at(&root, "images/same_pixels.bmp")).unwrap();
    // Resized without keeping its proportions, and compressed.
    let small = imageops::thumbnail(&scene(3, 80, 60), 50, 50);
    DynamicImage::ImageRgb8(small).save(at(&root, "images/small.jpg")).unwrap();
    let mut bright = scene(4, 80, 60);
    for value in bright.iter_mut() {
        *value = (f32::from(*value) * 0.8 + 20.0) as u8;
    }
    bright.save(at(&root, "images/bright.png")).unwrap();

    let report = check(&root);
    let exact: Vec<_> = report
        .exact_duplicates
        .iter()
        .map(|pair| (&*pair.first.id, &*pair.second.id, pair.same))
        .collect();
    assert_eq!(exact, [("a", "same_bytes", Same::Bytes), ("b", "same_pixels", Same::Pixels)]);
    let near: Vec<_> =
        report.near_duplicates.iter().map(|pair| (&*pair.first.id, &*pair.second.id)).collect();
    assert_eq!(near, [("bright", "d"), ("c", "small")]);
    for pair in &report.near_duplicates {
        let Same::Look { correlation, .. } = pair.same else { panic!("{pair:?}") };
        assert!(correlation > 0.99, "{pair:?}");
    }
}

/// A root with PraNet's folders: ClinicDB's sequences, and a copy of a training image in the test set.
fn colonoscopy() -> TempDir {
    let root = TempDir::new().unwrap();
    let save = |folder: &str, images: &str, name: &str, scene: &RgbImage| {
        scene.save(at(&root, &format!("{folder}/{images}/{name}.png"))).unwrap();
        mask(scene.width(), scene.height())
            .save(at(&root, &format!("{folder}/masks/{name}.png")))
            .unwrap();
    };
    let catalog = Catalog::built_in();
    let clinic = catalog.get("cvc-clinicdb").unwrap();
    for (split, folder, images) in
        [("train", "TrainDataset", "image"), ("test", "TestDataset/CVC-ClinicDB", "images")]
    {
        for member in clinic.members(split).unwrap() {
            // A few frames of three videos.
            let number: u32 = member.name.parse().unwrap();
            if number <= 80 {
                save(folder, images, &member.name, &scene(1000 + number, 24, 20));
            }
        }
    }
    for number in 149..=152 {
        save("TestDataset/CVC-ColonDB", "images", &number.to_string(), &scene(number, 57, 50));
    }
    save("TestDataset/CVC-ColonDB", "images", "1", &scene(1, 57, 50));
    // CVC-300's copies have another size.
    for number in 149..=152 {
        let larger =
            imageops::resize(&scene(number, 57, 50), 80, 70, imageops::FilterType::Triangle);
        save("TestDataset/CVC-300", "images", &number.to_string(), &larger);
    }
    root
}

fn of_card(name: &str, root: &Path) -> Audit {
    let catalog = Catalog::built_in();
    let inventory = Inventory::of_card(catalog.get(name).unwrap(), root).unwrap();
    let others = Inventory::others(&catalog, root, name).unwrap();
    audit(&inventory, &others, &Silent)
}

#[test]
fn clinicdbs_test_frames_share_videos_with_its_training_frames() {
    let root = colonoscopy();
    let report = of_card("cvc-clinicdb", root.path());
    let Some(Leak::SharedSequences { splits, sequences, images, of }) = report.leaks.first() else {
        panic!("{:?}", report.leaks)
    };
    assert_eq!(*splits, ["test", "train"]);
    // Counted in the card itself.
    let catalog = Catalog::built_in();
    let card = catalog.get("cvc-clinicdb").unwrap();
    let members = |split| -> Vec<_> {
        let members = card.members(split).unwrap().into_iter();
        members.filter(|one| one.name.parse::<u32>().unwrap() <= 80).collect()
    };
    let (test, train) = (members("test"), members("train"));
    let mut shared: Vec<String> = test.iter().filter_map(|one| one.sequence.clone()).collect();
    shared.retain(|one| train.iter().any(|other| other.sequence.as_ref() == Some(one)));
    shared.sort_by_key(|one| one.parse::<u32>().unwrap());
    shared.dedup();
    assert!(!shared.is_empty());
    assert_eq!(*sequences, shared);
    assert_eq!(*of, [test.len(), train.len()]);
    let in_shared = |members: &[&data_loaders::Member]| {
        members.iter().filter(|one| shared.contains(one.sequence.as_ref().unwrap())).count()
    };
    assert_eq!(*images, [in_shared(&test), in_shared(&train)]);
    assert!(report.markdown().contains("are frames of the same"), "{}", report.markdown());
}

#[test]
fn cvc_300_is_found_inside_colondb_whatever_its_size() {
    let root = colonoscopy();
    let report = of_card("cvc-300", root.path());
    assert_eq!(report.splits[0].layout.as_deref(), Some("pranet"));
    let leaks: Vec<_> = report
        .leaks
        .iter()
        .filter_map(|leak| match leak {
            Leak::SharedWithOtherSet { data, images, of, exact, pairs } => {
                Some((&**data, *images, *of, *exact, pairs))
            }
            _ => None,
        })
        .collect();
    let [(data, images, of, exact, pairs)] = leaks[..] else { panic!("{leaks:?}") };
    assert_eq!((data, images, of, exact), ("cvc-colondb", 4, 4, 0));
    assert!(pairs.iter().all(|pair| pair.first.id == pair.second.id));
    assert!(report.against.iter().any(|one| one.data == "cvc-clinicdb" && one.images > 50));

    let back = of_card("cvc-colondb", root.path());
    assert!(back.leaks.iter().any(|leak| matches!(
        leak,
        Leak::SharedWithOtherSet { data, images: 4, of: 5, .. } if data == "cvc-300"
    )));

    // Without a folder of its own it is the same files.
    fs::remove_dir_all(root.path().join("TestDataset/CVC-300")).unwrap();
    let report = of_card("cvc-300", root.path());
    assert_eq!(report.splits[0].layout.as_deref(), Some("within CVC-ColonDB"));
    let Some(Leak::SharedWithOtherSet { images: 4, of: 4, exact: 4, pairs, .. }) =
        report.leaks.first()
    else {
        panic!("{:?}", report.leaks)
    };
    assert!(pairs.iter().all(|pair| pair.same == Same::File));
}

#[test]
fn copies_of_training_images_in_the_test_split_are_leaks() {
    let root = TempDir::new().unwrap();
    let catalog = Catalog::built_in();
    let card = catalog.get("kvasir-seg").unwrap();
    let (train, test) = (card.members("train").unwrap(), card.members("test").unwrap());
    for (seed, member) in (0..).zip(train.iter().take(3).chain(test.iter().take(4))) {
        scene(seed, 60, 60)
            .save(at(&root, &format!("kvasir-seg/images/{}.png", member.name)))
            .unwrap();
        mask(60, 60).save(at(&root, &format!("kvasir-seg/masks/{}.png", member.name))).unwrap();
    }
    let image = |name: &str| root.path().join(format!("kvasir-seg/images/{name}.png"));
    fs::copy(image(&train[0].name), image(&test[1].name)).unwrap();
    let similar = imageops::resize(&scene(1, 60, 60), 48, 40, imageops::FilterType::Triangle);
    similar.save(image(&test[2].name)).unwrap();
    mask(48, 40).save(at(&root, &format!("kvasir-seg/masks/{}.png", test[2].name))).unwrap();

    let report = of_card("kvasir-seg", root.path());
    assert_eq!(report.leaks.len(), 2, "{:?}", report.leaks);
    let Leak::SharedImages { splits, pairs } = &report.leaks[0] else { panic!() };
    assert_eq!(*splits, ["test", "train"]);
    let ids = |pairs: &[data_audit::Duplicate]| -> Vec<(String, String)> {
        pairs.iter().map(|pair| (pair.first.id.clone(), pair.second.id.clone())).collect()
    };
    assert_eq!(ids(pairs), [(test[1].name.clone(), train[0].name.clone())]);
    let Leak::SimilarImages { pairs, .. } = &report.leaks[1] else { panic!() };
    assert_eq!(ids(pairs), [(test[2].name.clone(), train[1].name.clone())]);
}

#[test]
fn the_report_is_the_same_whatever_the_number_of_threads() {
    let root = colonoscopy();
    let json = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| serde_json::to_string(&of_card("cvc-clinicdb", root.path())).unwrap())
    };
    assert_eq!(json(1), json(5));
}

#[test]
fn the_json_form_has_the_promised_keys() {
    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    pair(&root, "b", 1);
    let value = serde_json::to_value(check(&root)).unwrap();
    assert_eq!(value["pairs"], 2);
    for key in ["unreadable", "unpaired", "empty_masks", "near_duplicates", "leaks"] {
        assert_eq!(value[key], Value::Array(Vec::new()), "{key}");
    }
    assert_eq!(value["mask_values"]["pixels"]["255"], 2 * 20 * 60);
    assert_eq!(value["exact_duplicates"][0]["same"], "bytes");
    assert_eq!(value["exact_duplicates"][0]["second"]["id"], "b");
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_unicode_is_reported_not_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    let name = OsStr::from_bytes(b"b\xff.png");
    fs::write(root.path().join("images").join(name), "").unwrap();
    fs::copy(root.path().join("masks/a.png"), root.path().join("masks").join(name)).unwrap();
    let value = serde_json::to_value(check(&root)).unwrap();
    assert_eq!(value["unreadable"][0]["id"], "b\u{FFFD}");
}

#[cfg(unix)]
#[test]
fn a_huge_file_is_refused_by_its_length() {
    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    let file = fs::OpenOptions::new().write(true).open(root.path().join("images/a.png")).unwrap();
    // Sparse: it takes no space.
    file.set_len(1 << 40).unwrap();
    let report = check(&root);
    assert_eq!((report.unreadable.len(), &*report.unreadable[0].id), (1, "a"));
}

#[cfg(unix)]
#[test]
fn a_page_shows_pictures_and_escapes_what_files_are_called() {
    let root = TempDir::new().unwrap();
    let name = "<script>alert('x')</script>|&\"".replace('/', "_");
    pair(&root, &name, 1);
    pair(&root, "z", 1);
    fs::remove_file(root.path().join("masks/z.png")).unwrap();
    GrayImage::new(80, 60).save(at(&root, "masks/z.png")).unwrap();
    fs::write(root.path().join("images/odd\n|name.txt"), "").unwrap();
    let report = check(&root);
    let page = report.html();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    assert_eq!(
        page.matches("src=\"data:image/jpeg;base64,").count(),
        3,
        "a pair and an empty mask"
    );
    assert!(!page.contains("http://") && !page.contains("https://"), "self-contained");
    for tag in ["table", "figure", "div", "h2", "body"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }

    let text = report.markdown();
    assert!(text.contains("odd\u{FFFD}\\|name.txt"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("name.txt")).collect();
    assert_eq!(rows.len(), 1);
}

#[test]
fn long_lists_are_cut_in_the_table_and_whole_in_json() {
    let root = TempDir::new().unwrap();
    for number in 0..25 {
        pair(&root, &format!("{number:02}"), number);
        GrayImage::new(80, 60).save(at(&root, &format!("masks/{number:02}.png"))).unwrap();
    }
    let report = check(&root);
    assert_eq!(report.empty_masks.len(), 25);
    let text = report.markdown();
    assert!(
        text.contains("## Empty masks (25)") && text.contains("\n… and 5 more; `--json` has all\n"),
        "{text}"
    );
    let rows = text.lines().filter(|line| line.ends_with("| all |")).count();
    assert_eq!(rows, 20, "{text}");
    // The page shows 24 of them with pictures.
    assert!(report.html().contains("<p>… and 1 more; <code>--json</code> has all</p>"));
}

#[test]
fn progress_tells_every_phase_with_all_its_steps() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, u64, u64)>>);
    impl Progress for Heard {
        fn start(&self, phase: &str, total: u64) {
            self.0.lock().unwrap().push((phase.into(), total, 0));
        }
        fn set(&self, done: u64) {
            let mut heard = self.0.lock().unwrap();
            let last = heard.last_mut().unwrap();
            last.2 = last.2.max(done);
        }
        fn finish(&self) {}
    }
    let root = TempDir::new().unwrap();
    pair(&root, "a", 1);
    pair(&root, "b", 2);
    let heard = Heard::default();
    let other = inventory(&root);
    audit(&inventory(&root), &[other], &heard);
    let phases = heard.0.into_inner().unwrap();
    let expected =
        ["reading folder", "comparing with folder", "reading folder", "comparing with folder"];
    assert!(phases.iter().map(|one| &*one.0).eq(expected));
    assert!(phases.iter().all(|one| one.1 == 2 && one.2 == 2), "{phases:?}");
}
