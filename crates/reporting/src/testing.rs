//! Made-up runs for tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};
use metrics::{LEVELS, LevelCounts};
use run_record::{
    BackboneRecord, CaseRow, ClickRow, CurveRow, EpochChoice, EpochRow, EvaluationTiming,
    FORMAT_VERSION, Outline, Panel, PanelPart, PanelPoint, ParameterCounts, ResultRow, RunFolder,
    RunRecord, Timing, TrainingSummary, write_json, write_rows,
};
use serde_json::json;

use crate::{Run, Settings, load};

/// The record of a run of experiment `polyps` without result rows.
pub(crate) fn record(method: &str, seed: u64) -> RunRecord {
    RunRecord {
        format_version: FORMAT_VERSION,
        experiment: "polyps".into(),
        method: method.into(),
        seed,
        experiment_sha256: "0123456789abcdef".repeat(4),
        backbone: BackboneRecord {
            variant: "micro".into(),
            weights_source: "made up".into(),
            weights_sha256: "00".repeat(32),
        },
        parameters: ParameterCounts { trainable: 3, prompt: 2, shift: 1, frozen: 10 },
        frozen_hash_before: "f00d".into(),
        frozen_hash_after: "f00d".into(),
        training: None,
        fit: None,
        skipped: vec![],
        rows: vec![],
        files: std::collections::BTreeMap::new(),
    }
}

/// A result row of `record` with an interval of 0.02 to either side.
pub(crate) fn row(record: &RunRecord, data: &str, prompts: &str, dice: f64) -> ResultRow {
    let iou = dice / (2.0 - dice);
    ResultRow {
        method: record.method.clone(),
        data: data.into(),
        split: "test".into(),
        prompts: prompts.into(),
        oracle: prompts == "ground_truth",
        protocol: "default".into(),
        seed: record.seed,
        n: 100,
        skipped_empty: 0,
        dice: Some(dice),
        dice_sd: Some(0.125),
        dice_low: Some(dice - 0.02),
        dice_high: Some(dice + 0.02),
        iou: Some(iou),
        iou_sd: Some(0.15),
        iou_low: Some(iou - 0.02),
        iou_high: Some(iou + 0.02),
        mae: Some(0.0314),
        ..ResultRow::default()
    }
}

/// A run with these results that was never on disk.
pub(crate) fn run(record: RunRecord) -> Run {
    let folder = folder(Path::new("runs"), &record);
    Run {
        folder,
        record,
        record_sha256: "5e".repeat(32),
        settings: None,
        environment: None,
        outline: None,
        cases: vec![],
        epochs: vec![],
        panels: vec![],
    }
}

/// A run whose cases `a`, `b`, ... have these Dice scores, by data set and prompt source.
pub(crate) fn with_cases(method: &str, seed: u64, scores: &[(&str, &str, &[Option<f64>])]) -> Run {
    let mut run = run(record(method, seed));
    for &(data, prompts, dice) in scores {
        let defined: Vec<f64> = dice.iter().copied().flatten().collect();
        let mean = defined.iter().sum::<f64>() / defined.len() as f64;
        let mut row = row(&run.record, data, prompts, mean);
        (row.n, row.skipped_empty) = (defined.len(), dice.len() - defined.len());
        for (&dice, letter) in dice.iter().zip('a'..) {
            run.cases.push(CaseRow {
                experiment: run.record.experiment.clone(),
                method: method.into(),
                seed,
                data: data.into(),
                split: row.split.clone(),
                prompts: prompts.into(),
                oracle: row.oracle,
                protocol: row.protocol.clone(),
                file: letter.to_string(),
                width: 8,
                height: 4,
                dice,
                iou: dice.map(|dice| dice / (2.0 - dice)),
                mae: 0.25,
                ..CaseRow::default()
            });
        }
        run.record.rows.push(row);
    }
    run
}

fn folder(runs: &Path, record: &RunRecord) -> RunFolder {
    RunFolder::of(runs, &record.experiment, &record.method, record.seed)
}

/// Writes the record below `runs`.
pub(crate) fn write(runs: &Path, record: &RunRecord) -> RunFolder {
    let folder = folder(runs, record);
    fs::create_dir_all(folder.root()).unwrap();
    record.write(&folder.record()).unwrap();
    folder
}

/// Training curves whose Dice rises to about `dice` in `epochs` epochs while the loss falls.
pub(crate) fn epochs(epochs: usize, dice: f64) -> Vec<EpochRow> {
    let row = |epoch: usize, split: &str, lag: f64| {
        let done = 1.0 - (-(epoch as f64) / (3.0 + lag)).exp();
        let wobble = 0.015 * ((epoch * 7 + split.len()) as f64).sin();
        let dice = (dice - 0.05 * lag) * done + wobble;
        EpochRow {
            epoch,
            split: split.into(),
            loss: 1.3 - dice + 0.05 * lag,
            dice,
            iou: dice / (2.0 - dice),
            learning_rate: None,
        }
    };
    (1..=epochs)
        .flat_map(|epoch| [row(epoch, EpochRow::TRAIN, 0.0), row(epoch, EpochRow::VALID, 1.0)])
        .collect()
}

/// A run with a training curve.
pub(crate) fn trained(method: &str, seed: u64, n_epochs: usize, dice: f64) -> Run {
    let mut run = run(record(method, seed));
    run.epochs = epochs(n_epochs, dice);
    run.record.training = Some(TrainingSummary {
        epochs_run: n_epochs,
        epochs_planned: n_epochs,
        best_epoch: n_epochs.div_ceil(2),
        selection: EpochChoice::HeldOut,
        stopped_early: false,
        train_cases: 80,
        valid_cases: 10,
    });
    run
}

/// Writes a run with one panel of each of the given picture sizes and loads it.
///
/// The ground truth is an ellipse in the middle, the prediction the same moved to the right. A
/// foreground point lies in the center, a background point at an eighth of either side, and every
/// second case has a box.
pub(crate) fn with_panels(runs: &Path, record: &RunRecord, sizes: &[(u32, u32)]) -> Run {
    let folder = write(runs, record);
    let panels: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, &(width, height))| {
            let inside = |x: u32, y: u32, shift: f32| {
                let dx = (x as f32 + 0.5) / width as f32 - 0.5 - shift;
                let dy = (y as f32 + 0.5) / height as f32 - 0.5;
                (dx / 0.28).powi(2) + (dy / 0.33).powi(2) < 1.0
            };
            let mask = |shift: f32| {
                GrayImage::from_fn(width, height, |x, y| {
                    Luma([if inside(x, y, shift) { 255 } else { 0 }])
                })
            };
            let picture = RgbImage::from_fn(width, height, |x, y| {
                let shade = 40.0 * ((x as f32 / 9.0).sin() + (y as f32 / 13.0).cos());
                let base = if inside(x, y, 0.0) { 170.0 } else { 110.0 };
                let level = |factor: f32| ((base + 0.4 * shade) * factor) as u8;
                Rgb([level(1.2), level(0.65), level(0.55)])
            });

            let name = |part| Panel::picture("kvasir", "apm", index, part);
            let path = |part| folder.panels_dir().join(name(part));
            fs::create_dir_all(path(PanelPart::Image).parent().unwrap()).unwrap();
            picture.save(path(PanelPart::Image)).unwrap();
            mask(0.0).save(path(PanelPart::Truth)).unwrap();
            mask(0.08).save(path(PanelPart::Prediction)).unwrap();

            let (w, h) = (width as f32, height as f32);
            Panel {
                data: "kvasir".into(),
                split: "test".into(),
                prompts: "apm".into(),
                file: format!("case-{index}.jpg"),
                dice: (index != 2).then_some(0.8125),
                iou: Some(0.684),
                image: name(PanelPart::Image),
                truth: name(PanelPart::Truth),
                prediction: name(PanelPart::Prediction),
                points: vec![
                    PanelPoint { x: w / 2.0, y: h / 2.0, label: 1 },
                    PanelPoint { x: w / 8.0, y: h / 8.0, label: 0 },
                ],
                box_xyxy: (index % 2 == 1).then_some([0.22 * w, 0.17 * h, 0.78 * w, 0.83 * h]),
            }
        })
        .collect();
    write_json(&folder.panels(), &panels).unwrap();
    load(&[folder.root()]).unwrap().remove(0)
}

/// Rows of `clicks.csv` on `kvasir`: for each case its Dice after each number of clicks, from 0 on if `start` is `auto`
/// and from 1 on if it is `click`.
pub(crate) fn clicks(method: &str, seed: u64, start: &str, dice: &[&[f64]]) -> Vec<ClickRow> {
    let first = usize::from(start == "click");
    let row = |case: usize, clicks: usize, dice: f64| ClickRow {
        experiment: "polyps".into(),
        method: method.into(),
        seed,
        data: "kvasir".into(),
        split: "test".into(),
        protocol: "default".into(),
        start: start.into(),
        mask_input: "previous".into(),
        mask_choice: "used".into(),
        file: format!("case-{case}.jpg"),
        clicks,
        x: (clicks > 0).then_some(3),
        y: (clicks > 0).then_some(4),
        label: (clicks > 0).then_some(1),
        dice: Some(dice),
        iou: Some(dice / (2.0 - dice)),
        iou_prediction: Some(0.75),
    };
    let of_case = |(case, dice): (usize, &&[f64])| -> Vec<ClickRow> {
        dice.iter().enumerate().map(|(at, &dice)| row(case, first + at, dice)).collect()
    };
    dice.iter().enumerate().flat_map(of_case).collect()
}

/// The settings of a run of `method` with so many points, trained and tested on `kvasir`.
pub(crate) fn settings(method: &str, points: usize) -> Settings {
    Settings::of(json!({
        "name": "polyps",
        "data": {
            "train": ["kvasir"], "test": ["kvasir", "etis-larib"],
            "train_split": "train", "test_split": "test",
        },
        "prompt": { "module": method, "options": { "points": points } },
        "evaluate": { "points": points },
    }))
}

/// An experiment on the disk with everything that a figure can show: a method that is not trained and two
/// that are, with two seeds, two data sets and two prompt sources, curves, panels and settings.
///
/// The second trained method differs from the first in its number of points alone. Scores are a wave over 30
/// cases around a mean that grows with the method.
pub(crate) fn study(runs: &Path) -> Vec<Run> {
    let methods = ["frozen", "apm_4_points", "apm_16_points"];
    let outline = Outline::new(methods.map(str::to_owned).into(), vec![]);
    let mut all = Vec::new();
    for (rank, method) in methods.into_iter().enumerate() {
        for seed in [1, 2] {
            let mut record = record(method, seed);
            record.parameters.trainable = [0, 40_000, 1_000_000][rank];
            let sizes = [(60, 40), (60, 60), (40, 60), (50, 50)];
            let mut run = with_panels(runs, &record, &sizes);
            run.outline = Some(outline.clone().into());
            run.settings = Some(settings(if rank == 0 { "none" } else { "apm" }, [8, 4, 16][rank]));
            if rank > 0 {
                let trained = trained(method, seed, 12, 0.6 + 0.1 * rank as f64);
                run.epochs = trained.epochs;
                run.record.training = trained.record.training;
            }
            let own = if rank == 0 { "grid" } else { "auto" };
            for panel in &mut run.panels {
                panel.prompts = own.to_owned();
            }
            let mut curves = Vec::new();
            for data in ["etis-larib", "kvasir"] {
                for prompts in [own, "ground_truth"] {
                    let bound = if prompts == own { 0.0 } else { 0.15 };
                    let dice: Vec<Option<f64>> = (0..30)
                        .map(|case| {
                            let wave = (case as f64 * 1.7 + seed as f64 + rank as f64).sin();
                            Some(0.4 + 0.1 * rank as f64 + bound + 0.2 * wave)
                        })
                        .collect();
                    let mean = dice.iter().flatten().sum::<f64>() / dice.len() as f64;
                    let mut row = row(&run.record, data, prompts, mean);
                    row.n = dice.len();
                    for (case, dice) in dice.into_iter().enumerate() {
                        let row = CaseRow {
                            experiment: run.record.experiment.clone(),
                            method: method.to_owned(),
                            seed,
                            data: data.to_owned(),
                            split: row.split.clone(),
                            prompts: prompts.to_owned(),
                            oracle: row.oracle,
                            protocol: row.protocol.clone(),
                            file: format!("case-{case}.jpg"),
                            width: 60,
                            height: 40,
                            dice,
                            iou: dice.map(|dice| dice / (2.0 - dice)),
                            mae: 0.25,
                            ..CaseRow::default()
                        };
                        curves.push(CurveRow::new(&row, &levels(40 * rank)));
                        run.cases.push(row);
                    }
                    run.record.rows.push(row);
                }
            }
            write_rows(&run.folder.curves(), &curves).unwrap();
            let start = if rank == 0 { "click" } else { "auto" };
            let scores: Vec<Vec<f64>> = (0..30)
                .map(|case| {
                    let wave = 0.1 * (case as f64 * 1.7 + seed as f64).sin();
                    (0..6)
                        .map(|clicks| 0.4 + 0.1 * rank as f64 + 0.05 * clicks as f64 + wave)
                        .collect()
                })
                .collect();
            let scores: Vec<&[f64]> = scores.iter().map(Vec::as_slice).collect();
            write_rows(&run.folder.clicks(), &clicks(method, seed, start, &scores)).unwrap();
            // The more parameters, the longer an image takes.
            let evaluations = run.record.rows.iter().map(|row| EvaluationTiming {
                data: row.data.clone(),
                split: row.split.clone(),
                prompts: row.prompts.clone(),
                cases: row.n,
                case_secs: 0.25 * (rank + 1) as f64 + 0.01 * seed as f64,
                prompt_secs: None,
            });
            let timing = Timing { evaluations: evaluations.collect(), fit_secs: None };
            write_json(&run.folder.timing(), &timing).unwrap();
            all.push(run);
        }
    }
    all
}

/// Counts of a map whose foreground lies above a level and whose background lies below.
fn levels(above: usize) -> LevelCounts {
    let mut counts = LevelCounts { foreground: [0; LEVELS], background: [0; LEVELS] };
    for level in 0..LEVELS {
        if level >= 100 + above / 2 {
            counts.foreground[level] = 3;
        }
        if level < 160 - above / 2 {
            counts.background[level] = 5;
        }
    }
    counts
}
