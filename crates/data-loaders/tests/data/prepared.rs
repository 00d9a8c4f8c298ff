//! Data sets written as the network sees them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use data_loaders::{
    Case, DataSet, Preparation, PrepareError, Prepared, PreparedFrame, decode_image, decode_mask,
    prepare,
};
use image::imageops;

use crate::support::{folder, message, pairs, path, write_pair};

/// Drops the first column; counts how often it is asked.
fn without_first_column(case: &Case, asked: &AtomicUsize) -> Prepared {
    asked.fetch_add(1, Ordering::Relaxed);
    let (width, height) = case.image.dimensions();
    Prepared {
        image: imageops::crop_imm(&case.image, 1, 0, width - 1, height).to_image(),
        mask: imageops::crop_imm(&case.truth.to_gray(), 1, 0, width - 1, height).to_image(),
        frame: PreparedFrame {
            image_width: width,
            image_height: height,
            crop_left: 1,
            crop_top: 0,
            crop_width: width - 1,
            crop_height: height,
            scale_x: 1.0,
            scale_y: 0.1,
        },
    }
}

fn run(set: &DataSet, out: &Path, size: u32) -> (Result<Preparation, PrepareError>, usize) {
    let asked = AtomicUsize::new(0);
    let render = |case: &Case| without_first_column(case, &asked);
    let result = prepare(set, out, "cut", size, render, |_| {}, &AtomicBool::new(false));
    (result, asked.into_inner())
}

fn set_of(root: &tempfile::TempDir) -> DataSet {
    DataSet::from_folders(&root.path().join("images"), &root.path().join("masks")).unwrap()
}

const HEADER: &str = "file,data,id,mode,input_size,image_width,image_height,crop_left,crop_top,crop_width,crop_height,scale_x,scale_y";

#[test]
fn pairs_are_written_with_the_way_back() {
    let (root, out) = (pairs(&["b", "a"]), folder());
    let set = set_of(&root);
    let (result, _) = run(&set, out.path(), 5);
    let result = result.unwrap();
    assert_eq!((result.written, result.kept, result.skipped.len()), (2, 0, 0));
    let list = fs::read_to_string(out.path().join("frames.csv")).unwrap();
    assert_eq!(
        list,
        format!(
            "{HEADER}\na,folder,a,cut,5,6,4,1,0,5,4,1.0,0.1\nb,folder,b,cut,5,6,4,1,0,5,4,1.0,0.1\n"
        )
    );
    let case = set.load(0).unwrap();
    let image = decode_image(&out.path().join("images/a.png")).unwrap();
    assert_eq!(image.get_pixel(0, 3), case.image.get_pixel(1, 3));
    let mask = decode_mask(&out.path().join("masks/a.png")).unwrap();
    assert_eq!(mask.truth.values[..5], case.truth.values[1..6]);
    // What was prepared is a data set like any other.
    assert_eq!(set_of(&out).len(), 2);
}

#[test]
fn what_is_there_is_kept_and_what_is_not_is_made_again() {
    let (root, out) = (pairs(&["a", "b", "c", "d"]), folder());
    let set = set_of(&root);
    run(&set, out.path(), 5).0.unwrap();
    let list = out.path().join("frames.csv");
    let whole = fs::read(&list).unwrap();

    let (result, asked) = run(&set, out.path(), 5);
    assert_eq!((result.unwrap().kept, asked), (4, 0), "nothing is decoded");

    // As after a kill: a mask is missing, and a row.
    fs::remove_file(out.path().join("masks/b.png")).unwrap();
    let rows = String::from_utf8(whole.clone()).unwrap();
    let rows: Vec<&str> = rows.lines().filter(|line| !line.starts_with("d,")).collect();
    fs::write(&list, rows.join("\n")).unwrap();
    let (result, asked) = run(&set, out.path(), 5);
    let result = result.unwrap();
    assert_eq!((result.written, result.kept, asked), (2, 2, 2));
    assert_eq!(fs::read(&list).unwrap(), whole);
    for folder in ["images", "masks"] {
        assert_eq!(fs::read_dir(out.path().join(folder)).unwrap().count(), 4, "nothing else stays");
    }
}

#[test]
fn other_settings_do_not_mix_and_other_sets_stay() {
    let (root, out) = (pairs(&["a"]), folder());
    run(&set_of(&root), out.path(), 5).0.unwrap();
    let error = run(&set_of(&root), out.path(), 7).0.unwrap_err();
    assert_eq!(
        message(&error, out.path()),
        "holds images prepared with cut at 5, not with cut at 7: ROOT"
    );
    // Another set whose image has the same name would take this one's place.
    let error = run(&set_of(&root).renamed("other"), out.path(), 5).0.unwrap_err();
    assert_eq!(
        message(&error, out.path()),
        "`folder/a` and `other/a` would both be written to ROOT/images/a.png"
    );
    run(&set_of(&pairs(&["z"])), out.path(), 5).0.unwrap();
    assert_eq!(fs::read_to_string(out.path().join("frames.csv")).unwrap().lines().count(), 3);
}

#[test]
fn bad_cases_are_named_and_the_others_written() {
    let (root, out) = (pairs(&["a", "b", "c"]), folder());
    fs::write(root.path().join("images/b.png"), "").unwrap();
    let result = run(&set_of(&root), out.path(), 5).0.unwrap();
    assert_eq!(result.written, 2);
    assert_eq!(result.skipped.len(), 1);
    assert_eq!((result.skipped[0].index, result.skipped[0].id.as_str()), (1, "b"));
    let why = result.skipped[0].reason.to_string();
    assert!(why.contains("empty") && why.ends_with("images/b.png"), "{why}");
    assert!(!out.path().join("images/b.png").exists());
}

#[test]
fn a_stop_is_obeyed_and_reported() {
    let (root, out) = (pairs(&["a"]), folder());
    let asked = AtomicUsize::new(0);
    let render = |case: &Case| without_first_column(case, &asked);
    let stop = AtomicBool::new(true);
    let result = prepare(&set_of(&root), out.path(), "cut", 5, render, |_| {}, &stop).unwrap();
    assert!(result.interrupted);
    assert_eq!((result.written, asked.into_inner()), (0, 0));
}

#[test]
fn what_cannot_be_written_is_named() {
    let (root, out) = (pairs(&["a"]), folder());
    fs::write(out.path().join("images"), "a file where a folder should be").unwrap();
    let error = run(&set_of(&root), out.path(), 5).0.unwrap_err();
    assert_eq!(message(&error, out.path()), "cannot write ROOT/images");

    let out = folder();
    fs::create_dir_all(out.path().join("masks/a.png")).unwrap();
    let error = run(&set_of(&root), out.path(), 5).0.unwrap_err();
    assert_eq!(message(&error, out.path()), "cannot write ROOT/masks/a.png");
    assert_eq!(fs::read_dir(out.path().join("masks")).unwrap().count(), 1, "no rest of it stays");

    let out = folder();
    fs::write(out.path().join("frames.csv"), "file,data\na,b\n").unwrap();
    let error = run(&set_of(&root), out.path(), 5).0.unwrap_err();
    assert_eq!(message(&error, out.path()), "not a list of prepared images: ROOT/frames.csv");
}

#[test]
fn cases_of_one_file_name_are_refused() {
    let root = folder();
    for name in ["x/a", "y/a", "x_a"] {
        write_pair(&path(&root, &format!("{name}.png")), &path(&root, &format!("{name}_mask.png")));
    }
    let csv = path(&root, "set.csv");
    let rows =
        ["x/a", "y/a", "x_a"].map(|name| format!("{name}.png,test,{name}_mask.png\n")).concat();
    fs::write(&csv, format!("image_name,train_type,mask_name\n{rows}")).unwrap();
    let set = DataSet::from_csv(&csv, "test", root.path()).unwrap();
    let out = folder();
    let error = run(&set, out.path(), 5).0.unwrap_err();
    assert_eq!(
        message(&error, out.path()),
        "`x/a.png` and `x_a.png` would both be written to ROOT/images/x_a.png.png"
    );
}
