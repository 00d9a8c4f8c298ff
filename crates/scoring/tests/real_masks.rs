//! Real polyp masks with made-up predictions, where somebody has the masks. `fixtures/kvasir/make.py` made the expected
//! numbers with pysodmetrics.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use data_loaders::{DataError, decode_gray_map};
use metrics::{Mask, Protocol, SoftMap};
use run_record::CaseRow;
use scoring::score_case;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    file: String,
    width: usize,
    height: usize,
    foreground: usize,
    scores: BTreeMap<String, f64>,
}

/// The mask moved by 7 columns and 4 rows, a bit of it where it was, and a pattern.
fn prediction(mask: &Mask) -> SoftMap {
    let (width, height) = (mask.width(), mask.height());
    let on = |x: usize, y: usize| usize::from(mask.pixels()[y * width + x]);
    let level = |x: usize, y: usize| {
        let moved = if x >= 7 && y >= 4 { on(x - 7, y - 4) } else { 0 };
        200 * moved + 30 * on(x, y) + (7 * x + 13 * y) % 25
    };
    let probabilities =
        (0..width * height).map(|at| level(at % width, at / width) as f64 / 255.0).collect();
    SoftMap::new(width, height, probabilities).unwrap()
}

#[test]
fn pranet_scores_what_pysodmetrics_scores_on_kvasir_masks() {
    let reference: Vec<Reference> =
        serde_json::from_str(include_str!("../fixtures/kvasir/expected.json")).unwrap();
    assert_eq!(reference.len(), 24);
    let Some(root) = std::env::var_os("PROMISE_DATA").map(PathBuf::from) else {
        println!("skipped: PROMISE_DATA is not set");
        return;
    };
    let mut compared = 0;
    for reference in &reference {
        let path = root.join("kvasir-seg/masks").join(format!("{}.png", reference.file));
        let picture = match decode_gray_map(&path) {
            Err(DataError::Open { .. }) => {
                println!("skipped: no {}", path.display());
                continue;
            }
            picture => picture.unwrap(),
        };
        let pixels = picture.levels.iter().map(|&level| level > 128).collect();
        let truth = Mask::new(picture.width as usize, picture.height as usize, pixels).unwrap();
        let expected = (reference.width, reference.height, reference.foreground);
        if (truth.width(), truth.height(), truth.area()) != expected {
            println!("skipped: another copy of the data set, {}", path.display());
            continue;
        }
        let case =
            score_case(Protocol::Pranet, &prediction(&truth), &truth, CaseRow::default()).unwrap();
        assert_eq!(reference.scores.len(), Protocol::Pranet.measures().len());
        for (name, expected) in &reference.scores {
            let found = case.row.get(name.parse().unwrap()).unwrap();
            assert!(
                (found - expected).abs() <= 1e-9,
                "{name} of {}: {found} instead of {expected}",
                reference.file
            );
        }
        compared += 1;
    }
    // Other folders, or another copy of the masks, were named above.
    println!("compared {compared} of {} masks", reference.len());
    let is_there = root.join("kvasir-seg/masks").is_dir();
    assert!(compared > 0 || !is_there, "not one mask of {} was compared", root.display());
}
