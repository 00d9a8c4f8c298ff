//! `data list` and `data check` as people and scripts use them, on small made-up trees.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use data_loaders::synthetic::phantom;
use image::{GrayImage, Luma, RgbImage};
use serde_json::{Value, json};

fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROMISE_DATA")
        .output()
        .expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn document(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// A pair of files of a set: a scene of 96 x 96, another for every number, and its mask.
fn pair(folder: &Path, name: &str, scene: u64) -> RgbImage {
    for sub in ["images", "masks"] {
        fs::create_dir_all(folder.join(sub)).expect("a new folder");
    }
    let (image, truth) = phantom(7, scene, 96);
    image.save(folder.join(format!("images/{name}.png"))).expect("a free disk");
    truth.to_gray().save(folder.join(format!("masks/{name}.png"))).expect("a free disk");
    image
}

/// One of everything that can be wrong, in the folders of CVC-ColonDB; and CVC-300, whose frame 149 is
/// one of ColonDB's.
fn data_root(root: &Path) {
    let set = root.join("cvc-colondb");
    pair(&set, "1", 1);
    fs::write(set.join("images/1.png"), "").expect("a free disk");
    pair(&set, "2", 2);
    fs::remove_file(set.join("masks/2.png")).expect("it was written");
    pair(&set, "3", 3);
    GrayImage::new(96, 96).save(set.join("masks/3.png")).expect("a free disk");
    pair(&set, "4", 4);
    GrayImage::from_fn(96, 96, |x, _| Luma([if x < 30 { 255 } else { (x == 30) as u8 * 100 }]))
        .save(set.join("masks/4.png"))
        .expect("a free disk");
    let mut brighter = pair(&set, "5", 5);
    brighter.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| value.saturating_add(2)));
    pair(&set, "6", 6);
    brighter.save(set.join("images/6.png")).expect("a free disk");
    pair(&set, "149", 149);
    let other = root.join("cvc-300");
    pair(&other, "149", 149);
    pair(&other, "150", 150);
}

#[test]
fn list_shows_every_card_and_what_of_it_is_there() {
    let root = tempfile::tempdir().expect("a temporary folder");
    data_root(root.path());
    let cards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets");
    let folders = fs::read_dir(cards).expect("the cards").map(|entry| entry.expect("an entry"));
    let cards: BTreeSet<String> = folders
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();

    let output = xtask(root.path(), &["data", "list", "--data-root", ".", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = document(&output);
    let sets = list["data_sets"].as_array().expect("a list");
    let name = |set: &Value| set["name"].as_str().expect("a name").to_owned();
    assert_eq!(sets.iter().map(name).collect::<BTreeSet<_>>(), cards);
    let found = |wanted: &str| {
        let set = sets.iter().find(|set| set["name"] == wanted).expect("a card");
        set["found"].clone()
    };
    let split = |layout: &str, expected: u32, found: u32| json!([{ "split": "test", "layout": layout, "expected": expected, "found": found }]);
    assert_eq!(found("cvc-300"), split("plain", 60, 2));
    assert_eq!(found("cvc-colondb"), split("plain", 380, 6));
    assert_eq!(found("kvasir-seg"), Value::Null);
    for set in sets {
        for key in ["title", "terms", "citation", "home_page"] {
            assert!(set[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {set}");
        }
    }

    let output = xtask(root.path(), &["data", "list", "--data-root", "."]);
    let table = text(&output);
    let row = table.lines().find(|line| line.starts_with("| cvc-300 |")).expect("a row");
    assert!(row.contains("| 60 | test 60 | test 2 of 60 (plain) |"), "{row}");
    // A head of two lines, and a row for every card.
    assert_eq!(table.lines().count(), 2 + cards.len(), "{table}");
    let without_root = text(&xtask(root.path(), &["data", "list"]));
    assert!(without_root.contains("| 60 | test 60 | - |"), "{without_root}");
    assert!(without_root.contains("With --data-root or PROMISE_DATA"), "{without_root}");

    let output = xtask(root.path(), &["data", "list", "--data-root", "typo"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("is not a folder: typo"), "{errors}");
}

#[test]
fn check_names_what_is_wrong_as_text_as_json_and_as_a_page() {
    let root = tempfile::tempdir().expect("a temporary folder");
    data_root(root.path());
    let check = |more: &[&str]| {
        let what = ["data", "check", "cvc-colondb", "--data-root", "."];
        xtask(root.path(), &[&what[..], more].concat())
    };
    let output = check(&["--json", "--html", "page.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = document(&output);
    let ids = |key: &str| -> Vec<String> {
        let rows = report[key].as_array().unwrap_or_else(|| panic!("{key}: {report}"));
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    // 2 lacks its mask, and the others of 380 are not there at all.
    assert_eq!(report["pairs"], 6);
    assert_eq!(ids("unreadable"), ["1"]);
    let reason = report["unreadable"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("empty (0 bytes)"), "{reason}");
    let unpaired = ids("unpaired");
    assert_eq!(unpaired.len(), 380 - 6);
    assert!(unpaired.contains(&"2".to_owned()) && !unpaired.contains(&"1".to_owned()));
    assert_eq!(ids("empty_masks"), ["3"]);
    assert_eq!(report["mask_values"]["pixels"]["100"], 96);
    assert_eq!(report["mask_values"]["gray_masks"][0]["id"], "4");
    let near = report["near_duplicates"].as_array().expect("a list");
    assert_eq!(near.len(), 1, "{near:?}");
    assert_eq!((&near[0]["first"]["id"], &near[0]["second"]["id"]), (&"5".into(), &"6".into()));
    let leaks = report["leaks"].as_array().expect("a list");
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    assert_eq!(leaks[0]["kind"], "shared_with_other_set");
    assert_eq!((&leaks[0]["data"], &leaks[0]["exact"]), (&"cvc-300".into(), &1.into()));
    assert_eq!(leaks[0]["pairs"][0]["first"]["id"], "149");

    let page = fs::read_to_string(root.path().join("page.html")).expect("it was written");
    assert!(page.starts_with("<!doctype html>") && page.contains("Check of cvc-colondb"));
    // Beside each other: the near duplicates, and frame 149 of both sets; the empty mask alone.
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 2 + 2 + 1);

    let output = check(&[]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output);
    for row in [
        "# Check of `cvc-colondb`",
        "| pairs of image and mask | 6 |",
        "| unreadable files | 1 |",
        "| empty masks | 1 |",
        "| pairs of near duplicates | 1 |",
        "| test | plain | 380 | 6 | 5 |",
        "… and 354 more; `--json` has all",
        "## Leak: 1 of 6 images are in `cvc-300` too, 1 of them exactly",
    ] {
        assert!(table.contains(row), "{row}: {table}");
    }
    assert_eq!(check(&["--strict"]).status.code(), Some(1));
    assert_eq!(check(&["--strict", "--json"]).status.code(), Some(1));
}

#[test]
fn check_of_good_folders_is_strict_for_nothing_and_compares_with_what_was_asked_for() {
    let root = tempfile::tempdir().expect("a temporary folder");
    data_root(root.path());
    let own = root.path().join("own");
    for scene in 20..23 {
        pair(&own, &format!("case_{scene}"), scene);
    }
    let folders =
        ["data", "check", "--images", "own/images", "--masks", "own/masks", "--strict", "--json"];
    let output = xtask(root.path(), &folders);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = document(&output);
    assert_eq!((&report["pairs"], &report["against"]), (&3.into(), &json!([])));

    pair(&own, "case_149", 149);
    let against = [&folders[..], &["--data-root", ".", "--against", "cvc-300"]].concat();
    let output = xtask(root.path(), &against);
    assert_eq!(output.status.code(), Some(1), "an image of a public set is there");
    let report = document(&output);
    assert_eq!(report["against"], json!([{ "data": "cvc-300", "images": 2, "unreadable": 0 }]));
    assert_eq!(report["leaks"][0]["pairs"][0]["first"]["id"], "case_149");
}

#[test]
fn a_generated_set_has_nothing_to_check_and_a_name_that_is_none_is_refused() {
    let root = tempfile::tempdir().expect("a temporary folder");
    data_root(root.path());
    for (name, expected) in [
        ("phantom", ["`phantom` is generated and has no files", "sets with files: cvc-300"]),
        ("fantom", ["unknown data set `fantom`", "kvasir-seg"]),
    ] {
        let check = ["data", "check", name, "--data-root", "."];
        let against = ["data", "check", "cvc-300", "--data-root", ".", "--against", name];
        for arguments in [&check[..], &against] {
            let output = xtask(root.path(), arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && output.stdout.is_empty());
            assert!(expected.iter().all(|part| errors.contains(part)), "{errors}");
        }
    }
}
