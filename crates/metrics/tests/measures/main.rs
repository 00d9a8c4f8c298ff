//! Every measure against the public program that defines it, on 240 made-up cases: soft, binary, empty, full, of one
//! pixel, constant, not square. `fixtures/measures/make.py` made the expected numbers.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::BTreeMap;

use cases::{CASES, case};
use metrics::{
    CurveMeasure, LevelCounts, Mask, Measure, Protocol, SoftMap, SurfaceDistances, mean_curve,
    normalized_surface_distance,
};
use serde::Deserialize;

/// What may differ: both sides compute in f64, sums of up to 1,320 numbers in another order.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Reference {
    width: usize,
    height: usize,
    truth: usize,
    levels: u64,
    pranet: BTreeMap<String, Option<f64>>,
    surface: Option<Surface>,
    isic: BTreeMap<String, f64>,
    promise_reference: Counts,
}

#[derive(Deserialize)]
struct Surface {
    hd95: f64,
    assd: f64,
    nsd: f64,
}

/// Pixels at 256 x 256.
#[derive(Deserialize)]
struct Counts {
    truth: usize,
    prediction: usize,
    both: usize,
}

fn reference() -> Vec<Reference> {
    let reference: Vec<Reference> =
        serde_json::from_str(include_str!("../../fixtures/measures/measures.json")).unwrap();
    assert_eq!(reference.len(), CASES);
    reference
}

#[track_caller]
fn assert_near(what: &str, found: Option<f64>, expected: f64) {
    let near = found.is_some_and(|found| (found - expected).abs() <= TOLERANCE);
    assert!(near, "{what}: {found:?} instead of {expected}");
}

#[test]
fn both_sides_made_the_same_cases() {
    for (number, reference) in reference().iter().enumerate() {
        let case = case(number);
        let size = (case.truth.width(), case.truth.height());
        assert_eq!(size, (reference.width, reference.height), "{number}");
        assert_eq!(case.truth.area(), reference.truth, "{number}");
        let sum: u64 = case.levels.iter().map(|&level| u64::from(level)).sum();
        assert_eq!(sum, reference.levels, "{number}");
    }
}

#[test]
fn pranet_scores_what_pysodmetrics_scores() {
    let mut undefined = 0;
    for (number, reference) in reference().iter().enumerate() {
        let case = case(number);
        let scores = Protocol::Pranet.score(&case.map(), &case.truth).unwrap();
        let mut compared: Vec<&str> = reference.pranet.keys().map(String::as_str).collect();
        let mut computed: Vec<&str> =
            Protocol::Pranet.measures().iter().map(|m| m.name()).collect();
        compared.sort_unstable();
        computed.sort_unstable();
        assert_eq!(compared, computed, "no measure goes unchecked");
        for (name, expected) in &reference.pranet {
            let found = scores.get(name.parse().unwrap());
            match expected {
                Some(expected) => assert_near(&format!("{name} of {number}"), found, *expected),
                // NaN there: a part of the structure measure has no pixel.
                None => {
                    assert_eq!(name, "s_measure");
                    assert!(found.is_some_and(|s| (0.0..=1.0).contains(&s)), "{number}: {found:?}");
                    undefined += 1;
                }
            }
        }
    }
    assert_eq!(undefined, 33, "cases that say nothing about the structure measure");
}

#[test]
fn mean_curves_and_so_their_maxima_are_those_of_pysodmetrics() {
    let expected: BTreeMap<String, Vec<f64>> =
        serde_json::from_str(include_str!("../../fixtures/measures/curves.json")).unwrap();
    let levels: Vec<LevelCounts> = (0..CASES)
        .map(case)
        .filter(|case| case.levels.len() > 1)
        .map(|case| {
            let scores = Protocol::Pranet.score(&case.map(), &case.truth).unwrap();
            scores.levels().unwrap().clone()
        })
        .collect();
    assert_eq!(expected.len(), CurveMeasure::ALL.len());
    for &measure in CurveMeasure::ALL {
        let curve = mean_curve(&levels, measure).unwrap();
        let expected = &expected[measure.name()];
        assert_eq!(expected.len(), curve.len());
        for (threshold, (&found, &expected)) in curve.iter().zip(expected).enumerate() {
            assert_near(&format!("{measure} at {threshold}"), Some(found), expected);
        }
    }
}

#[test]
fn distances_between_outlines_are_those_of_medpy() {
    let mut measured = 0;
    for (number, reference) in reference().iter().enumerate() {
        let case = case(number);
        let cut = case.map().above(0.5);
        let found = SurfaceDistances::between(&cut, &case.truth).unwrap();
        assert_eq!(found.is_some(), reference.surface.is_some(), "{number}");
        let (Some(found), Some(expected)) = (found, &reference.surface) else { continue };
        assert_near(&format!("hd95 of {number}"), Some(found.hd95()), expected.hd95);
        assert_near(&format!("assd of {number}"), Some(found.average()), expected.assd);
        let nsd = normalized_surface_distance(&cut, &case.truth, 2.0).unwrap();
        assert_near(&format!("nsd of {number}"), nsd, expected.nsd);
        let scores = Protocol::Default.score(&case.map(), &case.truth).unwrap();
        assert_eq!(scores.get(Measure::Hd95), Some(found.hd95()));
        assert_eq!(
            (scores.get(Measure::Assd), scores.get(Measure::Nsd)),
            (Some(found.average()), nsd)
        );
        measured += 1;
    }
    assert!(measured > CASES / 2, "only {measured} cases have outlines");
}

#[test]
fn isic_scores_what_the_challenge_scored() {
    for (number, reference) in reference().iter().enumerate() {
        let case = case(number);
        let scores = Protocol::Isic.score(&case.map(), &case.truth).unwrap();
        assert_eq!(reference.isic.len(), 6);
        for (name, &expected) in &reference.isic {
            assert_near(
                &format!("{name} of {number}"),
                scores.get(name.parse().unwrap()),
                expected,
            );
        }
    }
}

/// The map enlarged to the square of `promise_reference`, without interpolation.
fn enlarged(map: &SoftMap) -> SoftMap {
    let (width, height) = Protocol::PromiseReference.size(map.width(), map.height());
    let probabilities = (0..width * height)
        .map(|at| {
            let (x, y) = (at % width * map.width() / width, at / width * map.height() / height);
            map.probabilities()[y * map.width() + x]
        })
        .collect();
    SoftMap::new(width, height, probabilities).unwrap()
}

#[test]
fn promise_reference_grows_truths_as_pytorch_and_opens_masks_as_opencv() {
    for (number, reference) in reference().iter().enumerate() {
        let case = case(number);
        let scores = Protocol::PromiseReference.score(&enlarged(&case.map()), &case.truth).unwrap();
        let Counts { truth, prediction, both } = reference.promise_reference;
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        assert_eq!(scores.get(Measure::Precision), share(both, prediction), "{number}");
        assert_eq!(scores.get(Measure::Recall), share(both, truth), "{number}");
        assert_eq!(scores.get(Measure::Dice), share(2 * both, prediction + truth), "{number}");
        let wrong = (prediction - both) + (truth - both);
        assert_near(&format!("mae of {number}"), scores.get(Measure::Mae), wrong as f64 / 65536.0);
    }
}

#[test]
fn a_prediction_turned_upside_down_with_its_truth_scores_the_same() {
    // But for what leans to one side by definition: ties of the nearest pixel, and the cut at the centroid.
    let one_sided = [Measure::WeightedF, Measure::SMeasure];
    for number in 0..CASES {
        let case = case(number);
        let (width, height) = (case.truth.width(), case.truth.height());
        let turned =
            Mask::new(width, height, case.truth.pixels().iter().rev().copied().collect()).unwrap();
        let map = case.map();
        let turned_map =
            SoftMap::new(width, height, map.probabilities().iter().rev().copied().collect())
                .unwrap();
        for protocol in [Protocol::Default, Protocol::Pranet, Protocol::Isic] {
            let upright = protocol.score(&map, &case.truth).unwrap();
            let turned = protocol.score(&turned_map, &turned).unwrap();
            for (measure, score) in upright.iter().filter(|(m, _)| !one_sided.contains(m)) {
                match (score, turned.get(measure)) {
                    (Some(score), found) => {
                        assert_near(&format!("{measure} of {number}"), found, score)
                    }
                    (None, found) => assert_eq!(found, None, "{measure} of {number}"),
                }
            }
        }
    }
}
