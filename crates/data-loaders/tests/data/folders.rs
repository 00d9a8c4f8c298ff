//! Two folders of images and masks, without a card.

use std::fs;

use data_loaders::{BadCases, DataError, DataSet};
use tempfile::TempDir;

use crate::support::{folder, message, pairs, path, write_image, write_mask, write_pair};

fn open(root: &TempDir) -> Result<DataSet, DataError> {
    DataSet::from_folders(&root.path().join("images"), &root.path().join("masks"))
}

#[test]
fn images_are_paired_by_stem_in_the_order_of_their_names() {
    let root = pairs(&["b", "a"]);
    write_pair(&path(&root, "images/c.JPG"), &path(&root, "masks/c_segmentation.png"));
    write_pair(&path(&root, "images/d.bmp"), &path(&root, "masks/d_mask.tif"));
    fs::write(path(&root, "images/notes.txt"), "not an image").unwrap();
    fs::write(path(&root, "images/._a.png"), "left by an archive").unwrap();
    let set = open(&root).unwrap();
    assert!(set.ids().eq(["a", "b", "c", "d"]));
    assert_eq!(set.load_all(BadCases::Fail).unwrap().cases.len(), 4);
    assert_eq!((set.name(), set.split()), ("folder", "all"));
}

#[test]
fn masks_may_be_called_after_a_lesion_or_start_with_p() {
    let root = folder();
    write_pair(&path(&root, "images/1.png"), &path(&root, "masks/p1.png"));
    write_pair(&path(&root, "images/IMD002.bmp"), &path(&root, "masks/IMD002_lesion.bmp"));
    assert_eq!(open(&root).unwrap().load_all(BadCases::Fail).unwrap().cases.len(), 2);

    // `p1` is now the mask of the image `p1`, so `1` has none.
    write_image(&path(&root, "images/p1.png"));
    let loaded = open(&root).unwrap().load_all(BadCases::Skip).unwrap();
    let ids: Vec<&str> = loaded.cases.iter().map(|case| &*case.id).collect();
    assert_eq!(ids, ["IMD002", "p1"]);
    assert_eq!(loaded.skipped[0].id, "1");
}

#[test]
fn an_image_without_a_mask_is_a_bad_case() {
    let root = pairs(&["a", "c"]);
    write_image(&path(&root, "images/b.png"));
    let set = open(&root).unwrap();
    let error = set.load(1).unwrap_err();
    assert!(matches!(error, DataError::MaskMissing { .. }));
    assert_eq!(
        message(&error, root.path()),
        "no mask for ROOT/images/b.png, expected ROOT/masks/b.*"
    );
}

#[test]
fn folders_that_do_not_belong_together_are_an_error_at_once() {
    let root = pairs(&["a", "b"]);
    for name in ["a", "b"] {
        let from = root.path().join(format!("masks/{name}.png"));
        fs::rename(from, root.path().join(format!("masks/{name}_gt.png"))).unwrap();
    }
    assert_eq!(
        message(&open(&root).unwrap_err(), root.path()),
        "none of 2 images has a mask, first: ROOT/images/a.png; masks folder: ROOT/masks"
    );
}

#[test]
fn empty_and_absent_folders_are_errors() {
    let root = folder();
    assert_eq!(
        message(&open(&root).unwrap_err(), root.path()),
        "cannot list the folder ROOT/images"
    );
    fs::create_dir(root.path().join("images")).unwrap();
    assert_eq!(
        message(&open(&root).unwrap_err(), root.path()),
        "no image (png, jpg, jpeg, bmp, tif, tiff) in ROOT/images"
    );
    write_image(&path(&root, "images/a.png"));
    assert_eq!(
        message(&open(&root).unwrap_err(), root.path()),
        "cannot list the folder ROOT/masks"
    );
}

#[test]
fn two_images_with_one_stem_are_refused() {
    let root = pairs(&["a"]);
    write_image(&path(&root, "images/a.bmp"));
    assert_eq!(
        message(&open(&root).unwrap_err(), root.path()),
        "two images have the id `a`: ROOT/images/a.bmp and ROOT/images/a.png"
    );
}

#[test]
fn skipping_keeps_the_good_cases_in_order_and_says_what_was_skipped() {
    let root = pairs(&["a", "b", "c", "d", "e"]);
    fs::write(root.path().join("images/b.png"), "").unwrap();
    fs::remove_file(root.path().join("masks/d.png")).unwrap();
    let set = open(&root).unwrap();

    let loaded = set.load_all(BadCases::Skip).unwrap();
    let ids: Vec<&str> = loaded.cases.iter().map(|case| &*case.id).collect();
    assert_eq!(ids, ["a", "c", "e"]);
    let skipped: Vec<_> =
        loaded.skipped.iter().map(|one| (one.index, &*one.id, one.reason.to_string())).collect();
    assert_eq!(skipped.len(), 2);
    assert_eq!((skipped[0].0, skipped[0].1), (1, "b"));
    assert_eq!((skipped[1].0, skipped[1].1), (3, "d"));
    assert!(skipped[0].2.starts_with("the file is empty (0 bytes)"));
    assert!(skipped[1].2.starts_with("no mask for"));

    // Strict: always the first bad one, whichever thread is faster.
    for _ in 0..20 {
        let error = set.load_all(BadCases::Fail).unwrap_err();
        assert!(matches!(error, DataError::EmptyFile { .. }), "{error}");
    }
}

#[test]
fn some_cases_are_loaded_in_their_order_and_the_bad_ones_named() {
    let root = pairs(&["a", "b", "c", "d"]);
    fs::write(root.path().join("images/b.png"), "").unwrap();
    let mut good = Vec::new();
    let skipped = open(&root).unwrap().load_each(&[3, 1, 0], |case| good.push(case.id));
    assert_eq!(good, ["d", "a"]);
    let bad: Vec<_> = skipped.iter().map(|one| (one.index, &*one.id)).collect();
    assert_eq!(bad, [(1, "b")]);
    assert!(matches!(skipped[0].reason, DataError::EmptyFile { .. }));
}

#[test]
fn sets_can_be_limited_and_joined() {
    let (first, second) = (pairs(&["a", "b"]), pairs(&["a"]));
    let joined = DataSet::join(&[open(&first).unwrap(), open(&second).unwrap()]);
    assert!(joined.ids().eq(["a", "b", "a"]));
    assert_eq!((joined.name(), joined.split()), ("folder", "all"));
    assert!(joined.limit(2).ids().eq(["a", "b"]));
    assert_eq!(joined.limit(9).len(), 3);
    assert!(joined.limit(0).is_empty());
    assert_eq!(joined.load_all(BadCases::Fail).unwrap().cases.len(), 3);
}

#[test]
fn data_sets_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync>(_: &T) {}
    let root = pairs(&["a"]);
    let set = open(&root).unwrap();
    shared(&set);
    write_mask(&root.path().join("masks/a.png"));
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| set.load(0).unwrap());
        assert_eq!(handle.join().unwrap(), set.load(0).unwrap());
    });
}
