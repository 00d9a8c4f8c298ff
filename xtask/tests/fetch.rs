//! `data fetch` as far as it goes without a network: names, terms, consent, what is there already.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use data_loaders::{Card, Catalog};

/// Runs `data fetch` in a folder, with no terminal to answer questions at.
fn fetch(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["data", "fetch"])
        .args(arguments)
        .current_dir(folder)
        .env_remove("PROMISE_DATA")
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("is there").next().is_none()
}

fn card(name: &str) -> Card {
    Catalog::built_in().get(name).expect("there is a card").clone()
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = fetch(folder.path(), &["kvasir", "--yes"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    for name in ["`kvasir`", "kvasir-seg", "isic2018-task1", "vit_b", "vit_l", "vit_h"] {
        assert!(stderr(&output).contains(name), "{name}: {}", stderr(&output));
    }
    // It comes with the program.
    assert!(!fetch(folder.path(), &["micro", "--yes"]).status.success());
}

#[test]
fn nothing_is_downloaded_before_somebody_has_agreed_to_the_terms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = fetch(folder.path(), &["vit_b", "kvasir-seg", "--data-root", "data"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
    let terms = stdout(&output);
    let kvasir = card("kvasir-seg");
    for text in ["Apache License", "sam_vit_b_01ec64.pth", &kvasir.terms, &kvasir.citation] {
        assert!(terms.contains(text), "{text} is not in {terms}");
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn a_set_that_asks_for_a_registration_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = fetch(folder.path(), &["ph2"]);
    assert!(!output.status.success());
    let ph2 = card("ph2");
    let how_to_get = ph2.how_to_get.expect("it says so");
    for text in [&ph2.home_page, &ph2.terms, &how_to_get] {
        assert!(stdout(&output).contains(text), "{text} is not in {}", stdout(&output));
    }
    assert!(is_empty(folder.path()));
}

#[test]
fn a_set_needs_a_place_to_go_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Also before weights that are named first have been downloaded.
    for names in [&["kvasir-seg"][..], &["vit_b", "kvasir-seg"]] {
        let output = fetch(folder.path(), &[names, &["--yes"]].concat());
        assert!(!output.status.success());
        assert!(stderr(&output).contains("--data-root"), "{}", stderr(&output));
        assert!(is_empty(folder.path()));
    }
}

#[test]
fn a_set_that_is_there_is_not_downloaded_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("data");
    let (images, masks) = (root.join("Kvasir-SEG/images"), root.join("Kvasir-SEG/masks"));
    fs::create_dir_all(&images).expect("can be made");
    fs::create_dir_all(&masks).expect("can be made");
    let card = card("kvasir-seg");
    for split in ["train", "test"] {
        for member in card.members(split).expect("there is such a split") {
            for part in [&images, &masks] {
                fs::write(part.join(format!("{}.jpg", member.name)), "").expect("can be written");
            }
        }
    }
    let output = fetch(folder.path(), &["kvasir-seg", "--yes", "--data-root", "data"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for text in ["was there already", "kvasir-seg/train: 900 images", "kvasir-seg/test: 100 images"]
    {
        assert!(stdout(&output).contains(text), "{text} is not in {}", stdout(&output));
    }
    assert_eq!(fs::read_dir(&root).expect("is there").count(), 1);
}
