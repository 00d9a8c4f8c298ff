//! What is said of everything that lies in the folders of a data set.

use std::fs;
use std::path::{Path, PathBuf};

use data_loaders::{Card, Catalog, DataError, Ignored, Inventory};
use tempfile::TempDir;

use crate::support::{folder, message, pairs, path, write_image, write_mask, write_pair};

const CARD: &str = r#"
name = "tiny"
title = "Tiny"
modality = "none"
home_page = "none"
terms = "none"
citation = "none"

[[layouts]]
name = "plain"
images = "tiny/images"
masks = "tiny/masks"
image_extensions = ["png"]
mask_extensions = ["png"]
mask_names = ["{name}_mask", "{name}"]

[[splits]]
name = "first"
file = "first.csv"
source = "made up"
counts = { train = 2, test = 2 }

[[splits]]
name = "second"
file = "second.csv"
source = "made up"
counts = { fold0 = 1, fold1 = 1 }
"#;

fn card(root: &TempDir) -> Card {
    fs::write(path(root, "card.toml"), CARD).unwrap();
    let first = "name,split,sequence\na,train,1\nb,train,2\nc,test,1\nd,test,3\n";
    fs::write(path(root, "first.csv"), first).unwrap();
    fs::write(path(root, "second.csv"), "name,split\na,fold0\nc,fold1\n").unwrap();
    Card::from_path(&root.path().join("card.toml")).unwrap()
}

fn pair(root: &TempDir, image: &str, mask: &str) {
    write_pair(
        &path(root, &format!("tiny/images/{image}")),
        &path(root, &format!("tiny/masks/{mask}")),
    );
}

fn names(root: &TempDir, ignored: &[Ignored]) -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(root.path()).unwrap().to_string_lossy().into_owned();
    ignored.iter().map(|one| (name(&one.path), one.reason.clone())).collect()
}

#[test]
fn a_case_of_several_splits_is_there_once_with_all_of_them() {
    let root = folder();
    for name in ["a", "b", "c", "d"] {
        pair(&root, &format!("{name}.png"), &format!("{name}_mask.png"));
    }
    let inventory = Inventory::of_card(&card(&root), root.path()).unwrap();
    let splits: Vec<_> = inventory
        .splits
        .iter()
        .map(|one| (&*one.name, &*one.split_by, one.layout.as_deref(), one.expected, one.found))
        .collect();
    assert_eq!(
        splits,
        [
            ("test", "first", Some("plain"), Some(2), 2),
            ("train", "first", Some("plain"), Some(2), 2),
            ("fold0", "second", Some("plain"), Some(1), 1),
            ("fold1", "second", Some("plain"), Some(1), 1),
        ]
    );
    let ids: Vec<_> = inventory.pairs.iter().map(|pair| &*pair.id).collect();
    assert_eq!(ids, ["c", "d", "a", "b"]);
    let of_c: Vec<_> = inventory.pairs[0]
        .memberships
        .iter()
        .map(|one| (one.split, one.sequence.as_deref()))
        .collect();
    assert_eq!(of_c, [(0, Some("1")), (3, None)]);
    assert!(inventory.unpaired.is_empty() && inventory.ignored.is_empty());
}

#[test]
fn what_lacks_its_partner_is_named_with_what_was_looked_for() {
    let root = folder();
    pair(&root, "a.png", "a_mask.png");
    write_image(&path(&root, "tiny/images/b.png"));
    write_mask(&path(&root, "tiny/masks/c.png"));
    write_image(&path(&root, "tiny/images/stray.png"));
    write_mask(&path(&root, "tiny/masks/lost_mask.png"));
    pair(&root, "extra.png", "extra_mask.png");
    let inventory = Inventory::of_card(&card(&root), root.path()).unwrap();
    assert_eq!((inventory.pairs.len(), inventory.unlisted), (1, 1));
    let rows: Vec<_> = inventory
        .unpaired
        .iter()
        .map(|one| (&*one.id, one.image.is_some(), one.mask.is_some(), &*one.expected))
        .collect();
    assert_eq!(
        rows,
        [
            ("c", false, true, "tiny/images/c.png"),
            ("d", false, false, "tiny/images/d.png"),
            ("b", true, false, "tiny/masks/b_mask.png"),
            ("stray", true, false, "tiny/masks/stray_mask.*"),
            ("lost_mask", false, true, "tiny/images/lost_mask.*"),
        ]
    );
}

#[test]
fn what_is_not_read_is_named_with_a_reason() {
    let root = folder();
    for name in ["a", "b", "c", "d"] {
        pair(&root, &format!("{name}.png"), &format!("{name}_mask.png"));
    }
    write_mask(&path(&root, "tiny/masks/a.png"));
    write_image(&path(&root, "tiny/images/d.PNG"));
    fs::write(path(&root, "tiny/images/notes.txt"), "x").unwrap();
    fs::write(path(&root, "tiny/images/.hidden"), "x").unwrap();
    write_image(&path(&root, "tiny/images/inner/e.png"));
    let inventory = Inventory::of_card(&card(&root), root.path()).unwrap();
    let rows = names(&root, &inventory.ignored);
    let expected = [
        ("tiny/images/d.png", "has the stem of d.PNG, which is used"),
        ("tiny/images/inner", "a folder; folders in folders are not read"),
        ("tiny/images/notes.txt", "its extension is not one of png"),
        ("tiny/masks/a.png", "a has another mask, which is used"),
    ];
    let rows: Vec<_> = rows.iter().map(|(path, reason)| (&**path, &**reason)).collect();
    assert_eq!(rows, expected);
    assert_eq!((inventory.pairs.len(), inventory.unpaired.len()), (4, 0));
}

#[test]
fn a_folder_that_cannot_be_listed_is_a_row() {
    let root = folder();
    write_image(&path(&root, "tiny/images/a.png"));
    // As good as one without permission, which a test that runs as root could read.
    fs::write(path(&root, "tiny/masks"), "not a folder").unwrap();
    let inventory = Inventory::of_card(&card(&root), root.path()).unwrap();
    let rows = names(&root, &inventory.ignored);
    assert_eq!((rows.len(), &*rows[0].0), (1, "tiny/masks"));
    assert!(rows[0].1.starts_with("a folder that cannot be listed: "), "{}", rows[0].1);
    assert_eq!(
        (inventory.splits[0].layout.as_deref(), inventory.splits[0].found),
        (Some("plain"), 0)
    );
    let unpaired: Vec<_> = inventory.unpaired.iter().map(|one| &*one.id).collect();
    assert_eq!(unpaired, ["a"], "what is there is still named");
}

#[cfg(unix)]
#[test]
fn loops_broken_links_and_pipes_are_rows_and_do_not_hang() {
    use std::os::unix::fs::symlink;

    let root = pairs(&["a"]);
    let images = root.path().join("images");
    symlink(&images, images.join("loop")).unwrap();
    symlink("self.png", images.join("self.png")).unwrap();
    symlink("nowhere.png", images.join("broken.png")).unwrap();
    let pipe = images.join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let inventory = Inventory::of_folders(&images, &root.path().join("masks")).unwrap();
    assert_eq!(inventory.pairs.len(), 1);
    let rows = names(&root, &inventory.ignored);
    let paths: Vec<_> = rows.iter().map(|(path, _)| &**path).collect();
    assert_eq!(paths, ["images/broken.png", "images/loop", "images/pipe.png", "images/self.png"]);
    assert!(rows[0].1.starts_with("cannot be opened: "), "{}", rows[0].1);
    assert_eq!(rows[1].1, "a folder; folders in folders are not read");
    assert_eq!(rows[2].1, "neither a file nor a folder");
    assert!(rows[3].1.starts_with("cannot be opened: "), "{}", rows[3].1);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_unicode_are_paired() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let root = pairs(&["a"]);
    let file = |folder: &str| -> PathBuf {
        root.path().join(folder).join(OsStr::from_bytes(b"b\xff.png"))
    };
    fs::copy(root.path().join("images/a.png"), file("images")).unwrap();
    fs::copy(root.path().join("masks/a.png"), file("masks")).unwrap();
    let inventory =
        Inventory::of_folders(&root.path().join("images"), &root.path().join("masks")).unwrap();
    assert_eq!(inventory.pairs.len(), 2);
    assert_eq!((&*inventory.pairs[1].id, &inventory.pairs[1].mask), ("b\u{FFFD}", &file("masks")));
}

#[test]
fn two_folders_have_one_split_and_duplicate_stems_are_rows() {
    let root = pairs(&["a", "b"]);
    write_image(&path(&root, "images/a.jpg"));
    write_image(&path(&root, "images/c.png"));
    write_mask(&path(&root, "masks/d_mask.png"));
    write_mask(&path(&root, "masks/b_mask.png"));
    let inventory =
        Inventory::of_folders(&root.path().join("images"), &root.path().join("masks")).unwrap();
    assert_eq!((&*inventory.data, &*inventory.splits[0].name), ("folder", "all"));
    assert_eq!((inventory.pairs.len(), inventory.splits[0].found), (2, 2));
    let unpaired: Vec<_> = inventory.unpaired.iter().map(|one| &*one.id).collect();
    assert_eq!(unpaired, ["c", "d_mask"]);
    let rows = names(&root, &inventory.ignored);
    assert_eq!(
        rows[0],
        (
            "images/a.png".into(),
            "has the stem of a.jpg: folders with such a pair are refused".into()
        )
    );
    assert_eq!(rows[1], ("masks/b_mask.png".into(), "b has another mask, which is used".into()));
}

#[test]
fn what_is_not_there_at_all_is_an_error() {
    let root = folder();
    let catalog = Catalog::built_in();
    let ph2 = catalog.get("ph2").unwrap();
    let error = Inventory::of_card(ph2, root.path()).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "data set `ph2` not found: none of `ph2/images`, `PH2Dataset/PH2 Dataset \
         images/{name}/{name}_Dermoscopic_Image` is a folder under the data root (--data-root or \
         PROMISE_DATA) ROOT"
    );
    let nowhere = root.path().join("typo");
    assert!(matches!(
        Inventory::of_card(ph2, &nowhere).unwrap_err(),
        DataError::RootMissing { .. }
    ));
    assert!(Inventory::others(&catalog, root.path(), "ph2").unwrap().is_empty());
    let error = Inventory::of_folders(&nowhere, &nowhere).unwrap_err();
    assert_eq!(message(&error, root.path()), "cannot list the folder ROOT/typo");
}

/// CVC-300 is served out of CVC-ColonDB's folder.
#[test]
fn other_sets_under_a_root_are_those_with_a_pair() {
    let root = folder();
    for number in [1, 149, 208] {
        write_pair(
            &path(&root, &format!("cvc-colondb/images/{number}.jpg")),
            &path(&root, &format!("cvc-colondb/masks/{number}.png")),
        );
    }
    fs::create_dir_all(root.path().join("kvasir-seg/images")).unwrap();
    fs::create_dir_all(root.path().join("kvasir-seg/masks")).unwrap();
    let others = Inventory::others(&Catalog::built_in(), root.path(), "ph2").unwrap();
    let found: Vec<_> = others.iter().map(|one| (&*one.data, one.pairs.len())).collect();
    assert_eq!(found, [("cvc-300", 2), ("cvc-colondb", 3)]);
    assert_eq!(others[0].splits[0].layout.as_deref(), Some("within CVC-ColonDB"));
}

#[test]
fn a_generated_set_has_no_files_and_the_sets_that_have_are_named() {
    let catalog = Catalog::built_in();
    let error = Inventory::open("phantom", None, &catalog).unwrap_err();
    assert!(matches!(error, DataError::Generated { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("`phantom` is generated") && message.contains("kvasir-seg"),
        "{message}"
    );
    let error = Inventory::open("fantom", None, &catalog).unwrap_err();
    assert!(matches!(error, DataError::UnknownData { .. }), "{error}");
    let error = Inventory::open("kvasir-seg", None, &catalog).unwrap_err();
    assert!(matches!(error, DataError::NoRoot { .. }), "{error}");
}
