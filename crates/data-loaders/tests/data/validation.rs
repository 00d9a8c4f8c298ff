//! Holding out a part of the training images.

use std::collections::BTreeSet;
use std::fs;

use data_loaders::{Catalog, DataSet, VALIDATION_FRACTION};
use proptest::prelude::*;

use crate::support::{folder, path, write_pair};

/// A set of a made-up card, with the sequence (0 is none) of each of its cases.
fn set_with_sequences(sequences: &[u32]) -> DataSet {
    let root = folder();
    let mut csv = String::from("name,split,sequence\n");
    for (index, sequence) in sequences.iter().enumerate() {
        let sequence = if *sequence == 0 { String::new() } else { sequence.to_string() };
        csv.push_str(&format!("{index},train,{sequence}\n"));
        // Only their names count here.
        let (image, mask) = (format!("tiny/images/{index}.png"), format!("tiny/masks/{index}.png"));
        fs::write(path(&root, &image), "").unwrap();
        fs::write(path(&root, &mask), "").unwrap();
    }
    fs::write(path(&root, "split.csv"), csv).unwrap();
    let card = format!(
        r#"
name = "tiny"
title = "Tiny"
modality = "none"
home_page = "none"
terms = "none"
citation = "none"
layouts = [{{ name = "plain", images = "tiny/images", masks = "tiny/masks", image_extensions = ["png"], mask_extensions = ["png"] }}]
splits = [{{ name = "only", file = "split.csv", source = "made up", counts = {{ train = {} }} }}]
"#,
        sequences.len()
    );
    fs::write(path(&root, "card.toml"), card).unwrap();
    let mut catalog = Catalog::built_in();
    catalog.add(&root.path().join("card.toml")).unwrap();
    DataSet::open("tiny", "train", Some(root.path()), &catalog).unwrap()
}

fn ids(set: &DataSet) -> Vec<String> {
    set.ids().map(String::from).collect()
}

/// The sequences of the cases of a set.
fn sequences_of(set: &DataSet, sequences: &[u32]) -> BTreeSet<u32> {
    let of = |id: &str| sequences[id.parse::<usize>().unwrap()];
    set.ids().map(of).filter(|&sequence| sequence != 0).collect()
}

#[test]
fn one_in_ten_is_held_out_and_both_parts_keep_their_order() {
    let set = DataSet::open("phantom", "train", None, &Catalog::built_in()).unwrap();
    let (train, valid) = set.split_off_validation(VALIDATION_FRACTION, 3).unwrap();
    assert_eq!((train.len(), valid.len()), (180, 20));
    assert_eq!((train.split(), valid.split()), ("train", "valid"));
    assert!(train.ids().is_sorted() && valid.ids().is_sorted());
    let all: BTreeSet<_> = train.ids().chain(valid.ids()).map(String::from).collect();
    assert_eq!(all, set.ids().map(String::from).collect());
}

#[test]
fn the_seed_decides() {
    let set = DataSet::open("phantom", "train", None, &Catalog::built_in()).unwrap();
    let held = |seed| ids(&set.split_off_validation(0.2, seed).unwrap().1);
    assert_eq!(held(5), held(5));
    assert_ne!(held(5), held(6));
}

#[test]
fn impossible_requests_are_errors() {
    let set = set_with_sequences(&[1, 1, 1]);
    assert_eq!(
        set.split_off_validation(0.1, 0).unwrap_err().to_string(),
        "cannot hold out 0.1 of the 3 cases of `tiny`: it needs two sequences, or two cases \
         without a sequence"
    );
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        let error = set.split_off_validation(fraction, 0).unwrap_err().to_string();
        assert!(error.contains("the fraction must lie between 0 and 1"), "{error}");
    }
}

#[test]
fn clinicdb_sequences_are_never_split() {
    // The real split file; the files themselves are not needed to be images.
    let catalog = Catalog::built_in();
    let members = catalog.get("cvc-clinicdb").unwrap().members("train").unwrap();
    let sequences: Vec<u32> =
        members.iter().map(|one| one.sequence.as_ref().unwrap().parse().unwrap()).collect();
    let set = set_with_sequences(&sequences);
    for seed in 0..20 {
        let (train, valid) = set.split_off_validation(VALIDATION_FRACTION, seed).unwrap();
        let shared = &sequences_of(&train, &sequences) & &sequences_of(&valid, &sequences);
        assert!(shared.is_empty(), "seed {seed}: {shared:?}");
        // 55 of 550, give or take half of the longest sequence.
        assert!(valid.len().abs_diff(55) <= 13, "seed {seed}: {}", valid.len());
    }
}

#[test]
fn equal_sequence_numbers_of_two_data_sets_are_two_sequences() {
    let root = folder();
    write_pair(&path(&root, "images/x.png"), &path(&root, "masks/x.png"));
    let folders =
        DataSet::from_folders(&root.path().join("images"), &root.path().join("masks")).unwrap();
    let one = set_with_sequences(&[1, 1]);
    let joined = DataSet::join(&[one, folders]);
    assert_eq!((joined.name(), joined.split()), ("tiny+folder", "train+all"));
    let (train, valid) = joined.split_off_validation(0.4, 0).unwrap();
    assert_eq!(train.len() + valid.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn parts_are_disjoint_complete_and_never_empty(
        sequences in prop::collection::vec(0..5_u32, 2..30), fraction in 0.01..0.99, seed: u64,
    ) {
        let groups = sequences.iter().filter(|&&one| one == 0).count()
            + sequences.iter().filter(|&&one| one != 0).collect::<BTreeSet<_>>().len();
        prop_assume!(groups > 1);
        let set = set_with_sequences(&sequences);
        let (train, valid) = set.split_off_validation(fraction, seed).unwrap();
        prop_assert!(!train.is_empty() && !valid.is_empty());
        let mut both: Vec<usize> =
            train.ids().chain(valid.ids()).map(|id| id.parse().unwrap()).collect();
        both.sort();
        prop_assert!(both.into_iter().eq(0..sequences.len()));
        let shared = &sequences_of(&train, &sequences) & &sequences_of(&valid, &sequences);
        prop_assert!(shared.is_empty());
    }
}
