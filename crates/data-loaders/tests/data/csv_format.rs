//! The CSV format of the published code.

use std::error::Error;
use std::fs;

use data_loaders::{BadCases, DataError, DataSet};
use tempfile::TempDir;

use crate::support::{folder, message, pairs, path, write_pair};

fn open(root: &TempDir, csv: &str, split: &str) -> Result<DataSet, DataError> {
    let file = path(root, "polyps.csv");
    fs::write(&file, csv).unwrap();
    DataSet::from_csv(&file, split, root.path())
}

#[test]
fn rows_of_the_split_are_taken_in_order() {
    let root = pairs(&["a", "b", "c"]);
    let absolute = root.path().join("images/b.png").display().to_string();
    let csv = format!(
        "image_name,train_type,mask_name\n\
         images/c.png,train,masks/c.png\n\
         {absolute},train,masks/b.png\n\
         images/a.png,val,masks/a.png\n"
    );
    let set = open(&root, &csv, "train").unwrap();
    assert!(set.ids().eq(["c", "b"]));
    assert_eq!((set.name(), set.split()), ("polyps", "train"));
    assert_eq!(set.load_all(BadCases::Fail).unwrap().cases.len(), 2);
    assert!(open(&root, &csv, "val").unwrap().ids().eq(["a"]));
}

#[test]
fn columns_may_stand_in_any_order_and_beside_others() {
    let root = pairs(&["a"]);
    let csv = ",mask_name,image_name,train_type\n0,masks/a.png, images/a.png,val\n";
    assert_eq!(open(&root, csv, "val").unwrap().load(0).unwrap().id, "a");
}

#[test]
fn equal_stems_get_their_names_as_ids() {
    let root = folder();
    for set in ["kvasir", "clinic"] {
        write_pair(&path(&root, &format!("{set}/1.png")), &path(&root, &format!("{set}/1_m.png")));
    }
    let csv = "image_name,train_type,mask_name\n\
               kvasir/1.png,val,kvasir/1_m.png\n\
               clinic/1.png,val,clinic/1_m.png\n";
    assert!(open(&root, csv, "val").unwrap().ids().eq(["kvasir/1.png", "clinic/1.png"]));
    let twice = format!("{csv}kvasir/1.png,val,kvasir/1_m.png\n");
    assert_eq!(
        message(&open(&root, &twice, "val").unwrap_err(), root.path()),
        "two images have the id `kvasir/1.png`: ROOT/kvasir/1.png and ROOT/kvasir/1.png"
    );
}

#[test]
fn absent_files_are_counted_and_the_first_named() {
    let root = pairs(&["a", "b"]);
    fs::remove_file(root.path().join("masks/b.png")).unwrap();
    let csv = "image_name,train_type,mask_name\n\
               images/a.png,train,masks/a.png\n\
               images/b.png,train,masks/b.png\n\
               images/c.png,train,masks/c.png\n";
    assert_eq!(
        message(&open(&root, csv, "train").unwrap_err(), root.path()),
        "2 of 3 cases of `polyps` lack their image or mask, first: masks/b.png, images/c.png; in \
         ROOT"
    );
}

#[test]
fn an_unknown_split_is_answered_with_the_known_ones() {
    let root = pairs(&["a"]);
    let csv = "image_name,train_type,mask_name\n\
               images/a.png,train,masks/a.png\n\
               images/a.png,val,masks/a.png\n";
    assert_eq!(
        open(&root, csv, "test").unwrap_err().to_string(),
        "data set `polyps` has no split `test`; it has train, val"
    );
}

#[test]
fn an_absent_file_a_missing_column_and_a_short_row_are_named() {
    let root = folder();
    let text = "not a list of images (columns image_name,train_type,mask_name): ROOT/polyps.csv";

    let error =
        DataSet::from_csv(&root.path().join("polyps.csv"), "train", root.path()).unwrap_err();
    assert_eq!(message(&error, root.path()), text);

    let error = open(&root, "image,mask\na,b\n", "train").unwrap_err();
    assert_eq!(message(&error, root.path()), text);
    assert!(error.source().unwrap().to_string().contains("missing field `image_name`"));

    let error = open(&root, "image_name,train_type,mask_name\na,b,c\nd,e\n", "train").unwrap_err();
    assert!(error.source().unwrap().to_string().contains("line: 3"));
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_looked_at_is_not_called_missing() {
    let root = pairs(&["a"]);
    std::os::unix::fs::symlink("loop.png", root.path().join("loop.png")).unwrap();
    let csv = "image_name,train_type,mask_name\nimages/a.png,train,loop.png\n";
    let error = open(&root, csv, "train").unwrap_err();
    assert_eq!(message(&error, root.path()), "cannot open ROOT/loop.png");
    assert!(error.source().unwrap().to_string().contains("symbolic link"));
}
