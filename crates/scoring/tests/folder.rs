//! A folder of predictions against pysodmetrics' own run over it, and folders that do not fit together.
//! `fixtures/folder/make.py` made the pictures and the expected numbers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use data_loaders::DataError;
use image::{GrayImage, ImageBuffer, Luma};
use metrics::{Column, CurveMeasure, LevelCounts, Measure, Protocol, largest, mean_curve};
use scoring::{FolderScores, ScoreError, score_folder, summarize};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/folder")
}

fn score(folder: &Path, protocol: Protocol) -> Result<FolderScores, ScoreError> {
    score_folder(&folder.join("predictions"), &folder.join("truths"), protocol, &|_, _| {})
}

#[test]
fn a_folder_scores_what_pysodmetrics_says_of_it() {
    let expected: BTreeMap<String, f64> =
        serde_json::from_str(&fs::read_to_string(fixture().join("expected.json")).unwrap())
            .unwrap();
    let scores = score(&fixture(), Protocol::Pranet).unwrap();
    assert_eq!((scores.mean.n, scores.resized), (6, 1));
    let document = serde_json::to_value(&scores).unwrap();
    let mean = document["mean"].as_object().unwrap();
    for (label, expected) in &expected {
        let found = mean[label].as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-9, "{label}: {found} instead of {expected}");
    }
    for label in ["mDice", "mIoU", "wFm", "Sm", "meanEm", "maxEm", "MAE"] {
        assert!(expected.contains_key(label), "{label} is compared");
    }
    assert_eq!(document["protocol"], "pranet");
    assert_eq!(document["n"], 6);
    let files: Vec<_> =
        document["cases"].as_array().unwrap().iter().map(|case| &case["file"]).collect();
    assert_eq!(files, ["good", "missed", "nothing-there", "poor", "small", "sure"]);
    let dice: f64 =
        document["cases"].as_array().unwrap().iter().map(|c| c["mDice"].as_f64().unwrap()).sum();
    assert!((dice / 6.0 - expected["mDice"]).abs() <= 1e-9, "means are means of the cases");
}

#[test]
fn the_means_can_be_made_again_from_the_rows() {
    for &protocol in Protocol::ALL {
        let scores = score(&fixture(), protocol).unwrap();
        let levels: Vec<LevelCounts> =
            scores.curves.iter().map(|curve| curve.levels().unwrap()).collect();
        assert_eq!(summarize(protocol, &scores.cases, &levels, scores.mean.seed), scores.mean);
        for &curve in protocol.maxima() {
            let maximum = largest(&mean_curve(&levels, curve).unwrap());
            assert_eq!(scores.value(Column::Max(curve)), Some(maximum));
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let [one, four] = [1, 4]
        .map(|threads| pool(threads).install(|| score(&fixture(), Protocol::Pranet).unwrap()));
    assert_eq!(one, four);
}

#[test]
fn progress_is_told_of_every_case() {
    let told = Mutex::new(Vec::new());
    let (predictions, truths) = (fixture().join("predictions"), fixture().join("truths"));
    score_folder(&predictions, &truths, Protocol::Isic, &|done, all| {
        told.lock().unwrap().push((done, all))
    })
    .unwrap();
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]);
}

/// A folder with these predictions and truths of 4 x 2 pixels, each of one level.
fn folder(predictions: &[(&str, u8)], truths: &[(&str, u8)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, files) in [("predictions", predictions), ("truths", truths)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for (file, level) in files {
            GrayImage::from_pixel(4, 2, Luma([*level]))
                .save(folder.path().join(name).join(file))
                .unwrap();
        }
    }
    folder
}

#[test]
fn a_prediction_without_a_truth_is_named_and_a_truth_without_a_prediction_is_counted() {
    let stray = folder(&[("a.png", 255), ("z.png", 0)], &[("a.png", 255)]);
    let error = score(stray.path(), Protocol::Default).unwrap_err();
    assert!(matches!(error, ScoreError::NoTruth { count: 1, all: 2, .. }));
    assert!(error.to_string().contains("z.png"), "{error}");

    let some = folder(&[("a.png", 255)], &[("a.png", 255), ("b.png", 255)]);
    let scores = score(some.path(), Protocol::Default).unwrap();
    assert_eq!(scores.unpredicted, [some.path().join("truths/b.png")]);
    assert!(scores.markdown().contains("1 truths have no prediction"), "{}", scores.markdown());
}

#[test]
fn a_broken_file_is_named() {
    let broken = folder(&[("a.png", 255), ("b.png", 255)], &[("a.png", 255), ("b.png", 255)]);
    fs::write(broken.path().join("predictions/b.png"), "no picture").unwrap();
    let error = score(broken.path(), Protocol::Default).unwrap_err();
    assert!(matches!(error, ScoreError::Data(DataError::Decode { .. })), "{error}");
    assert!(error.to_string().contains("b.png"), "{error}");
}

#[test]
fn sixteen_bits_are_read_as_they_are() {
    let deep = folder(&[], &[("a.png", 255)]);
    let map: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(4, 2, Luma([16_384]));
    map.save(deep.path().join("predictions/a.png")).unwrap();
    let scores = score(deep.path(), Protocol::Default).unwrap();
    assert_eq!(scores.cases[0].mae, 1.0 - 16_384.0 / 65_535.0);
}

#[test]
fn a_truth_stored_as_0_and_1_is_refused_by_every_protocol() {
    let root = folder(&[("a.png", 255)], &[("a.png", 1)]);
    let truth = root.path().join("truths/a.png");
    for white in [255, 65_535] {
        if white == 65_535 {
            let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(4, 2, Luma([1]));
            deep.save(&truth).unwrap();
        }
        for &protocol in Protocol::ALL {
            let error = score(root.path(), protocol).unwrap_err();
            let ScoreError::Data(DataError::DimMask { max, white: found, path }) = error else {
                panic!("{error}")
            };
            assert_eq!((max, found, &path), (1, white, &truth));
        }
    }
    GrayImage::new(4, 2).save(&truth).unwrap();
    assert!(score(root.path(), Protocol::Default).is_ok(), "all black is a truth");
}

#[test]
fn predictions_stored_as_0_and_1_are_named() {
    let files = [("a.png", 255), ("b.png", 255), ("c.png", 255), ("d.png", 255)];
    let root = folder(&[("a.png", 1), ("b.png", 2), ("c.png", 0)], &files);
    let deep: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_fn(4, 2, |x, _| Luma([(x % 2) as u16]));
    let predictions = root.path().join("predictions");
    deep.save(predictions.join("d.png")).unwrap();
    let scores = score(root.path(), Protocol::Default).unwrap();
    assert_eq!(scores.nearly_black, [predictions.join("a.png"), predictions.join("d.png")]);
    let text = scores.markdown();
    assert!(text.contains("2 predictions have no level above 1"), "{text}");
    let document = serde_json::to_value(&scores).unwrap();
    assert_eq!(document["nearly_black"].as_array().unwrap().len(), 2);
}

#[test]
fn the_truth_is_cut_where_the_protocol_says() {
    let gray = folder(&[("a.png", 255)], &[("a.png", 128)]);
    let recall = |protocol| score(gray.path(), protocol).unwrap().cases[0].dice;
    assert_eq!(recall(Protocol::Default), Some(1.0));
    assert_eq!(recall(Protocol::Isic), Some(0.0));
}

#[test]
fn skipped_cases_are_said() {
    let empty = folder(&[("a.png", 0), ("b.png", 255)], &[("a.png", 0), ("b.png", 255)]);
    let scores = score(empty.path(), Protocol::Default).unwrap();
    assert_eq!((scores.mean.n, scores.mean.skipped_empty), (1, 1));
    let text = scores.markdown();
    assert!(
        text.contains("1 cases without foreground in prediction and truth are in no mean"),
        "{text}"
    );
    assert!(text.contains("| Dice | 1.0000 | – | – | 1.0000 | 1 |"), "{text}");
    let document = serde_json::to_value(&scores).unwrap();
    assert_eq!((&document["n"], &document["skipped_empty"]), (&1.into(), &1.into()));
    assert!(document["cases"][0]["Dice"].is_null());
    assert_eq!(scores.value(Column::Mean(Measure::Hd95)), Some(0.0));
    assert_eq!(scores.value(Column::Max(CurveMeasure::Dice)), None, "no column of this protocol");
}
