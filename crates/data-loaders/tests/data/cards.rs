//! The cards of `datasets/` and what is said of wrong ones.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

use data_loaders::{Card, CardError, Catalog, DataSet};

use crate::support::{folder, message, path};

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

[[splits]]
name = "first"
file = "first.csv"
source = "made up"
counts = { train = 2, test = 1 }

[[splits]]
name = "second"
file = "second.csv"
source = "made up"
counts = { train = 1 }
"#;

const FIRST: &str = "name,split,sequence\na,train,1\nb,test,\nc,train,2\n";
const SECOND: &str = "name,split\nb,train\n";

fn read(card: &str, first: &str) -> Result<Card, (CardError, String)> {
    let root = folder();
    fs::write(path(&root, "card.toml"), card).unwrap();
    fs::write(path(&root, "first.csv"), first).unwrap();
    fs::write(path(&root, "second.csv"), SECOND).unwrap();
    Card::from_path(&root.path().join("card.toml")).map_err(|error| {
        let message = message(&error, root.path());
        (error, message)
    })
}

#[test]
fn every_folder_of_datasets_is_compiled_in_under_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let on_disk: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap())
        .filter(|item| item.path().is_dir())
        .map(|item| item.file_name().into_string().unwrap())
        .collect();
    let catalog = Catalog::built_in();
    let compiled_in: Vec<&str> = catalog.cards().iter().map(|card| &*card.name).collect();
    assert_eq!(compiled_in, on_disk.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn split_files_have_the_published_counts() {
    let catalog = Catalog::built_in();
    for (name, test) in [("cvc-colondb", 380), ("cvc-300", 60), ("etis-larib", 196)] {
        let card = catalog.get(name).unwrap();
        assert_eq!(card.members("test").unwrap().len(), test, "{name}");
        assert_eq!((card.split_names(), card.cases()), (vec!["test".to_owned()], test));
    }
    let card = catalog.get("ph2").unwrap();
    assert_eq!(card.members("all").unwrap().len(), 200);
    let card = catalog.get("polypgen").unwrap();
    assert_eq!(card.splits[0].counts.values().sum::<usize>(), 1537);
    assert_eq!(card.split_names(), ["C1", "C2", "C3", "C4", "C5", "C6"]);
    assert!(card.members("C1").is_none(), "its names are those of its folder");
    for (name, train, test) in [("kvasir-seg", 900, 100), ("cvc-clinicdb", 550, 62)] {
        let card = catalog.get(name).unwrap();
        assert_eq!(card.members("train").unwrap().len(), train, "{name}");
        assert_eq!(card.members("test").unwrap().len(), test, "{name}");
        assert_eq!(card.split_names(), ["test", "train"]);
    }
}

/// Whoever asks for the challenge's `test` must not get a sample of its training images.
#[test]
fn parts_of_the_isic_sample_are_not_called_like_the_challenges() {
    let catalog = Catalog::built_in();
    let card = catalog.get("isic2018-task1").unwrap();
    let names = ["sample_test", "sample_train", "sample_val", "test", "train", "val"];
    assert_eq!(card.split_names(), names);
    assert_eq!(card.members("sample_test").unwrap().len(), 200);
    let challenge = card.splits.iter().find(|split| split.folder).unwrap();
    let counts: Vec<_> = challenge.counts.iter().map(|(name, &count)| (&**name, count)).collect();
    assert_eq!(counts, [("test", 1000), ("train", 2594), ("val", 100)]);
    assert_eq!(card.cases(), 3694);
}

#[test]
fn cvc_300_is_frames_149_to_208_of_colondb() {
    let catalog = Catalog::built_in();
    let numbers = |name: &str| -> Vec<u32> {
        let members = catalog.get(name).unwrap().members("test").unwrap();
        members.iter().map(|member| member.name.parse().unwrap()).collect()
    };
    assert!(numbers("cvc-300").into_iter().eq(149..=208));
    assert!(numbers("cvc-colondb").into_iter().eq(1..=380));
    assert!(numbers("etis-larib").into_iter().eq(1..=196));
}

#[test]
fn the_short_terms_are_the_first_sentence() {
    let catalog = Catalog::built_in();
    assert_eq!(
        catalog.get("kvasir-seg").unwrap().short_terms(),
        "Free for research and education, citation required; other use needs written permission"
    );
    for card in catalog.cards() {
        assert!((10..200).contains(&card.short_terms().len()), "{}", card.short_terms());
    }
}

#[test]
fn clinicdb_lists_the_frames_1_to_612_of_29_sequences() {
    let catalog = Catalog::built_in();
    let card = catalog.get("cvc-clinicdb").unwrap();
    let members = &card.splits[0].members;
    let numbers: BTreeSet<u32> = members.iter().map(|one| one.name.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=612).collect());
    let sequences: BTreeSet<u32> =
        members.iter().map(|one| one.sequence.as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(sequences, (1..=29).collect());

    // The leak that the card warns of.
    let of = |split| -> BTreeSet<_> {
        card.members(split).unwrap().iter().map(|one| one.sequence.clone()).collect()
    };
    assert_eq!(of("test").len(), 26);
    assert!(of("test").is_subset(&of("train")));
}

#[test]
fn no_file_name_and_no_carriage_return_is_left_in_a_split_file() {
    for card in Catalog::built_in().cards() {
        for member in card.splits.iter().flat_map(|split| &split.members) {
            let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let plain = member.name.chars().all(letter);
            assert!(plain, "{member:?}");
        }
    }
}

#[test]
fn a_card_from_the_disk_has_its_members_in_the_order_of_the_file() {
    let card = read(CARD, FIRST).unwrap();
    let names = |split: &str| -> Vec<String> {
        card.members(split).unwrap().iter().map(|one| one.name.clone()).collect()
    };
    assert_eq!(names("train"), ["a", "c"]);
    assert_eq!(names("first/test"), ["b"]);
    assert_eq!(names("second/train"), ["b"]);
    assert_eq!(card.split_names(), ["test", "train", "second/train"]);
    assert_eq!(card.splits[0].members[0].sequence.as_deref(), Some("1"));
    assert_eq!(card.splits[0].members[1].sequence, None);
    assert!(card.members("valid").is_none());
    assert!(card.members("third/train").is_none());
}

#[test]
fn a_card_from_the_disk_can_be_added_once() {
    let root = folder();
    fs::write(path(&root, "card.toml"), CARD).unwrap();
    fs::write(path(&root, "first.csv"), FIRST).unwrap();
    fs::write(path(&root, "second.csv"), SECOND).unwrap();
    let mut catalog = Catalog::built_in();
    assert_eq!(catalog.add(&root.path().join("card.toml")).unwrap().title, "Tiny");
    let names: Vec<_> = catalog.cards().iter().map(|card| &*card.name).collect();
    let built_in = Catalog::built_in();
    let mut expected: Vec<_> = built_in.cards().iter().map(|card| &*card.name).collect();
    expected.push("tiny");
    assert_eq!(names, expected);
    let error = catalog.add(&root.path().join("card.toml")).unwrap_err();
    assert_eq!(
        message(&error, root.path()),
        "a data set named `tiny` is already known; second card: ROOT/card.toml"
    );
}

#[test]
fn an_unknown_key_is_named_with_line_and_column() {
    let (error, message) = read(&CARD.replace("terms =", "licence ="), FIRST).unwrap_err();
    assert_eq!(message, "not a valid data set card: ROOT/card.toml");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("line 6, column 1"), "{cause}");
    assert!(cause.contains("unknown field `licence`, expected one of `name`, `title`"), "{cause}");

    let (error, _) = read(&CARD.replace("masks =", "mask ="), FIRST).unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("line 12") && cause.contains("unknown field `mask`"), "{cause}");
}

#[test]
fn a_missing_key_and_a_wrong_type_are_named() {
    let (error, _) = read(&CARD.replace("title = \"Tiny\"\n", ""), FIRST).unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("missing field `title`"), "{cause}");

    let (error, _) = read(&CARD.replace("train = 2", "train = \"2\""), FIRST).unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("line 20") && cause.contains("expected usize"), "{cause}");
}

#[test]
fn wrong_split_files_are_refused() {
    for (first, expected) in [
        (
            "name,split\na,train\nb,test\n",
            "split `train` has 1 names, its card says 2: ROOT/first.csv",
        ),
        (
            "name,split\na,train\nb,test\nc,train\nd,valid\n",
            "split `valid` has 1 names, its card says 0: ROOT/first.csv",
        ),
        ("name,split\na,train\na,test\nc,train\n", "`a` stands twice in ROOT/first.csv"),
        (
            "name,part\na,train\n",
            "not a split file (columns name,split and perhaps sequence): ROOT/first.csv",
        ),
    ] {
        assert_eq!(read(CARD, first).unwrap_err().1, expected);
    }
}

#[test]
fn a_card_without_layouts_or_with_an_absent_split_file_is_refused() {
    let start = CARD.find("[[layouts]]").unwrap();
    let end = CARD.find("[[splits]]").unwrap();
    let without = format!("layouts = []\n{}", [&CARD[..start], &CARD[end..]].concat());
    let (_, text) = read(&without, FIRST).unwrap_err();
    assert_eq!(text, "`layouts` must have at least one entry in ROOT/card.toml");

    let (error, text) = read(&CARD.replace("second.csv", "third.csv"), FIRST).unwrap_err();
    assert!(matches!(error, CardError::Read { .. }));
    assert_eq!(text, "cannot read ROOT/third.csv");
}

#[test]
fn a_card_that_contradicts_itself_is_refused() {
    for (from, to, expected) in [
        (
            "file = \"first.csv\"",
            "folder = true\nfile = \"first.csv\"",
            "a way of splitting has either `file` or `folder = true`: see `first` in ROOT/card.toml",
        ),
        (
            "file = \"first.csv\"\n",
            "",
            "a way of splitting has either `file` or `folder = true`: see `first` in ROOT/card.toml",
        ),
        (
            "images =",
            "splits = [\"valid\"]\nimages =",
            "`splits` of a layout names a split that the card does not have: see `plain` in \
             ROOT/card.toml",
        ),
        (
            "images =",
            "mask_names = [\"_mask\"]\nimages =",
            "`mask_names` must contain `{name}`: see `plain` in ROOT/card.toml",
        ),
    ] {
        assert_eq!(read(&CARD.replacen(from, to, 1), FIRST).unwrap_err().1, expected);
    }
    let by_folder = CARD.replace("file = \"first.csv\"", "folder = true");
    assert!(read(&by_folder, FIRST).is_ok());
    let mixed = by_folder.replace("\"tiny/masks\"", "\"tiny/images\"");
    let text = read(&mixed, FIRST).unwrap_err().1;
    assert!(
        text.starts_with("a split that is every pair of its folder needs one folder"),
        "{text}"
    );
}

#[test]
fn unknown_names_and_splits_are_answered_with_the_known_ones() {
    let catalog = Catalog::built_in();
    let message = |name, split| DataSet::open(name, split, None, &catalog).unwrap_err().to_string();
    assert_eq!(
        message("kvasir", "train"),
        "unknown data set `kvasir`; known are cvc-300, cvc-clinicdb, cvc-colondb, \
         etis-larib, isic2018-task1, kvasir-seg, ph2, phantom, polypgen"
    );
    assert_eq!(
        message("kvasir-seg", "val"),
        "data set `kvasir-seg` has no split `val`; it has test, train"
    );
    assert_eq!(
        message("phantom", "val"),
        "data set `phantom` has no split `val`; it has train, valid, test, extended"
    );
}

#[test]
fn counts_of_every_card_cover_the_whole_split_file() {
    for card in Catalog::built_in().cards() {
        for split in card.splits.iter().filter(|split| !split.folder) {
            let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
            for member in &split.members {
                *counted.entry(&member.split).or_default() += 1;
            }
            let stated: BTreeMap<&str, usize> =
                split.counts.iter().map(|(name, count)| (&**name, *count)).collect();
            assert_eq!(counted, stated, "{} {}", card.name, split.name);
        }
    }
}
