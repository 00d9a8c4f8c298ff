//! `data prepare` and `data preview` as people and scripts use them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use data_loaders::synthetic::phantom;
use serde_json::Value;

fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROMISE_DATA")
        .output()
        .expect("the program starts")
}

fn document(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// Three pairs of 256 x 256 with a dark border of 30 columns at the left, the second image empty.
fn pairs(folder: &Path) {
    for sub in ["images", "masks"] {
        fs::create_dir(folder.join(sub)).expect("a new folder");
    }
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let (mut image, truth) = phantom(1, index as u64, 256);
        for pixel in image.enumerate_pixels_mut().filter(|(x, ..)| *x < 30) {
            pixel.2.0 = [0; 3];
        }
        image.save(folder.join(format!("images/{name}.png"))).expect("a free disk");
        truth.to_gray().save(folder.join(format!("masks/{name}.png"))).expect("a free disk");
    }
    fs::write(folder.join("images/b.png"), "").expect("a free disk");
}

#[test]
fn prepare_crops_writes_the_way_back_names_bad_files_and_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pairs(folder.path());
    let prepare = |size: &str| {
        let folders = ["--images", "images", "--masks", "masks", "--out", "out", "--json"];
        let arguments = [&["data", "prepare", "--size", size][..], &folders].concat();
        xtask(folder.path(), &arguments)
    };
    let output = prepare("64");
    assert!(!output.status.success(), "an image was left out");
    let report = document(&output);
    assert_eq!((&report["written"], &report["kept"]), (&2.into(), &0.into()));
    assert_eq!(report["skipped"][0]["id"], "b");

    let list = fs::read_to_string(folder.path().join("out/frames.csv")).expect("it was written");
    let row = list.lines().nth(1).expect("a row for each image");
    let fields: Vec<&str> = row.split(',').collect();
    assert_eq!(fields[..4], ["a", "folder", "a", "border_crop"]);
    let numbers: Vec<f64> = fields[4..].iter().map(|one| one.parse().expect("a number")).collect();
    assert_eq!(numbers[..3], [64.0, 256.0, 256.0]);
    let [left, _, width, height, scale_x, scale_y] = numbers[3..] else {
        panic!("{row}");
    };
    assert!(left >= 30.0 && width <= 226.0, "the border is gone: {row}");
    assert_eq!((scale_x, scale_y), (64.0 / width.max(height), 64.0 / width.max(height)));
    let image = image::open(folder.path().join("out/images/a.png")).expect("a picture");
    assert_eq!((image.width(), image.height()), (64, 64));

    let report = document(&prepare("64"));
    assert_eq!((&report["written"], &report["kept"]), (&0.into(), &2.into()));
    let output = prepare("32");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(
        errors.contains("prepared with border_crop at 64, not with border_crop at 32"),
        "{errors}"
    );
}

#[test]
fn preview_is_a_sheet_that_the_seed_decides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sheet = |seed: &str, name: &str| {
        let shape = ["--n", "2", "--columns", "3", "--size", "64", "--tile", "32"];
        let what = ["data", "preview", "phantom", "--seed", seed, "--out", name];
        let output = xtask(folder.path(), &[&what[..], &shape].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(folder.path().join(name)).expect("it was written")
    };
    let first = sheet("1", "a.png");
    assert_eq!(first, sheet("1", "b.png"));
    assert_ne!(first, sheet("2", "c.png"));
    // 4 x 2 tiles of 32, 6 pixels between them.
    let picture = image::load_from_memory(&first).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (4 * 38 - 6, 2 * 38 - 6));

    // The second of the three images cannot be read.
    pairs(folder.path());
    let own = ["data", "preview", "--images", "images", "--masks", "masks", "--out", "own.png"];
    let output = xtask(folder.path(), &[&own[..], &["--size", "64", "--tile", "32"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("skipped b: the file is empty") && text.contains("2 images"), "{text}");
    assert!(folder.path().join("own.png").is_file());

    fs::write(folder.path().join("wrong.toml"), "rotate = 10").expect("a free disk");
    let arguments = ["data", "preview", "phantom", "--spec", "wrong.toml", "--out", "d.png"];
    let errors = xtask(folder.path(), &arguments).stderr;
    let errors = String::from_utf8_lossy(&errors);
    assert!(errors.contains("wrong.toml") && errors.contains("unknown field `rotate`"), "{errors}");
}
