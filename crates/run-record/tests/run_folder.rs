//! A run folder is written and read again; broken ones are refused with the cause.
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::fs;
use std::path::Path;

use metrics::{CurveMeasure, LevelCounts, Measure};
use proptest::prelude::*;
use run_record::{
    BackboneRecord, CaseRow, Claim, CsvRow, CurveRow, Environment, EpochChoice, EpochRow,
    EvaluationTiming, FORMAT_VERSION, FitSummary, MAX_JSON_BYTES, MAX_ROWS_BYTES, MeasureSummary,
    Outline, Panel, PanelPart, PanelPoint, ParameterCounts, ResultRow, RunFolder, RunRecord,
    RunRecordError, Side, SkippedCase, Timing, TrainingSummary, read_json, read_rows, write_bytes,
    write_json, write_rows,
};

fn record() -> RunRecord {
    RunRecord {
        format_version: FORMAT_VERSION,
        experiment: "polyps".into(),
        method: "apm".into(),
        seed: 7,
        experiment_sha256: "ab".repeat(32),
        backbone: BackboneRecord {
            variant: "vit_b".into(),
            weights_source: "sam_vit_b.pth".into(),
            weights_sha256: "cd".repeat(32),
        },
        parameters: ParameterCounts { trainable: 30, prompt: 20, shift: 10, frozen: 1000 },
        frozen_hash_before: "ef".repeat(32),
        frozen_hash_after: "ef".repeat(32),
        training: Some(TrainingSummary {
            epochs_run: 3,
            epochs_planned: 5,
            best_epoch: 2,
            selection: EpochChoice::HeldOut,
            stopped_early: true,
            train_cases: 80,
            valid_cases: 10,
        }),
        fit: Some(FitSummary {
            cases: vec!["kvasir/a.jpg".into()],
            numbers: [("iterations".to_owned(), 7.0)].into(),
        }),
        skipped: vec![SkippedCase {
            data: "kvasir".into(),
            split: "train".into(),
            file: "a.jpg".into(),
            reason: "mask has another size".into(),
        }],
        rows: vec![ResultRow {
            method: "apm".into(),
            data: "kvasir".into(),
            split: "test".into(),
            prompts: "apm".into(),
            oracle: false,
            protocol: "default".into(),
            seed: 7,
            n: 1,
            skipped_empty: 2,
            dice: Some(0.1 + 0.2),
            dice_sd: None,
            dice_low: None,
            dice_high: None,
            iou: Some(1.0 / 3.0),
            iou_sd: None,
            iou_low: None,
            iou_high: None,
            mae: Some(1e-17),
            measures: [(Measure::Hd95, hd95())].into(),
            maxima: [(CurveMeasure::EMeasure, 0.75)].into(),
        }],
        files: [("cases.csv".into(), "12".repeat(32))].into(),
    }
}

fn hd95() -> MeasureSummary {
    MeasureSummary { n: 1, mean: Some(2.5), sd: None, median: Some(2.5), low: None, high: None }
}

fn case(file: &str, dice: Option<f64>, mae: f64) -> CaseRow {
    CaseRow {
        experiment: "polyps".into(),
        method: "apm".into(),
        seed: u64::MAX,
        data: "kvasir".into(),
        split: "test".into(),
        prompts: "ground_truth".into(),
        oracle: true,
        protocol: "default".into(),
        file: file.into(),
        width: 640,
        height: 480,
        dice,
        iou: dice.map(|dice| dice / (2.0 - dice)),
        mae,
        hd95: dice.map(|dice| 10.0 * dice),
        ..CaseRow::default()
    }
}

fn epoch(epoch: usize, split: &str, learning_rate: Option<f64>) -> EpochRow {
    EpochRow { epoch, split: split.into(), loss: 0.7, dice: 0.5, iou: 0.4, learning_rate }
}

/// The message of an error and of all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[test]
fn every_json_file_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());

    record().write(&run.record()).unwrap();
    assert_eq!(run.read_record().unwrap(), record());

    let environment = Environment {
        revision: Some("0123abc".into()),
        dirty: Some(false),
        program_sha256: None,
        package_version: "0.1.0".into(),
        burn_version: "0.22.1".into(),
        device: "flex".into(),
        threads: 2,
        os: "linux x86_64".into(),
        cpu: None,
        gpu: Some("NVIDIA H100".into()),
        seed: 7,
        command: vec!["xtask".into(), "train".into()],
    };
    write_json(&run.environment(), &environment).unwrap();
    assert_eq!(read_json::<Environment>(&run.environment()).unwrap(), environment);

    let panels = vec![Panel {
        data: "kvasir".into(),
        split: "test".into(),
        prompts: "apm".into(),
        file: "a.jpg".into(),
        dice: Some(0.9),
        iou: None,
        image: Panel::picture("kvasir", "apm", 0, PanelPart::Image),
        truth: Panel::picture("kvasir", "apm", 0, PanelPart::Truth),
        prediction: Panel::picture("kvasir", "apm", 0, PanelPart::Prediction),
        points: vec![PanelPoint { x: 1.5, y: 0.1, label: 1 }],
        box_xyxy: Some([0.0, 1.0, 2.0, 3.3]),
    }];
    fs::create_dir(run.panels_dir()).unwrap();
    write_json(&run.panels(), &panels).unwrap();
    assert_eq!(read_json::<Vec<Panel>>(&run.panels()).unwrap(), panels);
}

#[test]
fn csv_files_keep_missing_numbers_and_awkward_names() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());

    let cases = vec![
        case("a, \"b\".png", Some(0.1 + 0.2), 0.1),
        case("line\nbreak.png", None, 1e-300),
        case("dünn.png", Some(0.0), 0.0),
    ];
    write_rows(&run.cases(), &cases).unwrap();
    assert_eq!(read_rows::<CaseRow>(&run.cases()).unwrap(), cases);

    let epochs = vec![epoch(1, EpochRow::TRAIN, Some(1e-4)), epoch(1, EpochRow::VALID, None)];
    write_rows(&run.epochs(), &epochs).unwrap();
    assert_eq!(read_rows::<EpochRow>(&run.epochs()).unwrap(), epochs);
}

#[test]
fn the_scores_of_a_case_are_read_under_the_names_of_their_measures() {
    let mut row = case("a.png", Some(0.5), 0.125);
    for (place, &measure) in Measure::ALL.iter().enumerate() {
        row.set(measure, Some(place as f64 / 32.0));
    }
    for (place, &measure) in Measure::ALL.iter().enumerate() {
        assert_eq!(row.get(measure), Some(place as f64 / 32.0), "{measure}");
    }
    let columns: Vec<&str> = Measure::ALL.iter().map(|measure| measure.name()).collect();
    assert_eq!(CaseRow::COLUMNS[CaseRow::COLUMNS.len() - columns.len()..], columns);

    // The file agrees with `get` on which column is which.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.csv");
    write_rows(&path, std::slice::from_ref(&row)).unwrap();
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let line: std::collections::HashMap<String, String> =
        reader.deserialize().next().unwrap().unwrap();
    for &measure in Measure::ALL {
        assert_eq!(line[measure.name()].parse().ok(), row.get(measure), "{measure}");
    }
}

#[test]
fn the_error_of_a_case_without_dice_is_in_no_mean() {
    let row = case("a.png", None, 0.125);
    assert_eq!((row.mae, row.get(Measure::Mae)), (0.125, None));
    let mut row = case("a.png", Some(1.0), 0.125);
    row.set(Measure::Mae, None);
    assert_eq!(row.get(Measure::Mae), Some(0.125), "an error is never missing");
}

#[test]
fn cases_and_results_of_an_older_program_are_read_without_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.csv");
    fs::write(
        &path,
        "experiment,method,seed,data,split,prompts,oracle,protocol,file,width,height,dice,iou,mae\n\
         e,m,1,d,test,auto,false,default,a,8,4,0.5,0.25,0.125\n",
    )
    .unwrap();
    let rows = read_rows::<CaseRow>(&path).unwrap();
    assert_eq!((rows[0].dice, rows[0].mae, rows[0].hd95), (Some(0.5), 0.125, None));

    let path = folder.path().join("record.json");
    edited(&path, |record| {
        let row = record["rows"][0].as_object_mut().unwrap();
        row.remove("measures");
        row.remove("maxima");
    });
    let row = RunRecord::read(&path).unwrap().rows.remove(0);
    assert_eq!(row.mean(Measure::Dice), Some(0.1 + 0.2));
    assert_eq!(row.mean(Measure::Mae), Some(1e-17));
    assert_eq!(row.summary(Measure::Hd95), None);
}

#[test]
fn a_result_knows_every_measure_that_was_reported() {
    let row = record().rows.remove(0);
    assert_eq!(row.summary(Measure::Hd95), Some(hd95()));
    assert_eq!(row.mean(Measure::Hd95), Some(2.5));
    assert_eq!(row.mean(Measure::Nsd), None);
}

#[test]
fn the_levels_of_a_case_come_back_and_bad_ones_are_named() {
    let mut levels = LevelCounts { foreground: [0; 256], background: [0; 256] };
    (levels.foreground[255], levels.foreground[7], levels.background[0]) = (u32::MAX, 1, 12);
    let row = CurveRow::new(&case("a, b.png", None, 0.0), &levels);
    assert_eq!((row.foreground.as_str(), row.background.as_str()), ("7:1 255:4294967295", "0:12"));

    let folder = tempfile::tempdir().unwrap();
    let path = RunFolder::new(folder.path()).curves();
    write_rows(&path, std::slice::from_ref(&row)).unwrap();
    assert_eq!(read_rows::<CurveRow>(&path).unwrap()[0].levels(), Ok(levels));

    for bad in ["256:1", "7", "7:-1", "x:1"] {
        let error =
            CurveRow { background: format!("0:3 {bad}"), ..row.clone() }.levels().unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{bad}` is no `level:count`")), "{error}");
        assert!(error.to_string().ends_with("`a, b.png`"), "{error}");
    }
}

#[test]
fn a_diverged_loss_is_kept_as_nan() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epochs.csv");
    write_rows(&path, &[EpochRow { loss: f64::NAN, ..epoch(1, EpochRow::TRAIN, None) }]).unwrap();
    let rows = read_rows::<EpochRow>(&path).unwrap();
    assert!(rows[0].loss.is_nan());
}

proptest! {
    #[test]
    fn any_case_row_survives_its_file(
        file in ".*",
        dice in proptest::option::of(0.0..=1.0f64),
        mae in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.csv");
        let rows = vec![case(&file, dice, mae)];
        write_rows(&path, &rows).unwrap();
        prop_assert_eq!(read_rows::<CaseRow>(&path).unwrap(), rows);
    }

    #[test]
    fn any_finite_mean_survives_the_record(
        mae in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        let mut written = record();
        written.rows[0].mae = Some(mae);
        written.write(&path).unwrap();
        prop_assert_eq!(RunRecord::read(&path).unwrap(), written);
    }
}

/// The names that serde gives the fields of `row`, in order.
fn fields<T: serde::Serialize>(row: &T) -> Vec<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(row).unwrap();
    let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    text.lines().next().unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn the_column_lists_are_the_fields_of_the_rows() {
    assert_eq!(fields(&case("a.png", None, 0.0)), CaseRow::COLUMNS);
    assert_eq!(fields(&epoch(1, EpochRow::TRAIN, None)), EpochRow::COLUMNS);
}

#[test]
fn a_file_without_rows_still_has_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epochs.csv");
    write_rows::<EpochRow>(&path, &[]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "epoch,split,loss,dice,iou,learning_rate\n");
    assert_eq!(read_rows::<EpochRow>(&path).unwrap(), []);
}

#[test]
fn a_missing_column_is_named_even_if_its_numbers_are_optional() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epochs.csv");
    fs::write(&path, "epoch,split,loss,dice,iou\n1,train,0.5,0.5,0.5\n").unwrap();
    let error = read_rows::<EpochRow>(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::MissingColumn { column: "learning_rate", .. }));
    let text = error.to_string();
    assert!(text.contains("`learning_rate`") && text.contains("`dice`"), "{text}");
    assert!(text.ends_with(&path.display().to_string()), "{text}");
}

#[test]
fn columns_may_be_reordered_and_unknown_ones_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epochs.csv");
    fs::write(&path, "iou,split,new,loss,learning_rate,dice,epoch\n0.4,train,x,0.7,,0.5,3\n")
        .unwrap();
    assert_eq!(read_rows::<EpochRow>(&path).unwrap(), [epoch(3, EpochRow::TRAIN, None)]);
}

#[test]
fn a_cell_of_another_type_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("epochs.csv");
    fs::write(&path, "epoch,split,loss,dice,iou,learning_rate\n1,train,low,0.5,0.5,\n").unwrap();
    let error = read_rows::<EpochRow>(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::Csv { .. }));
    let text = chain(&error);
    assert!(text.contains("line: 2") && text.contains("invalid float"), "{text}");
}

#[test]
fn a_csv_file_that_ends_within_a_line_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.csv");
    let row = |file| CaseRow { threshold_jaccard: Some(0.5), ..case(file, Some(0.5), 0.5) };
    write_rows(&path, &[row("a.png"), row("b.png")]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // Cells short.
    fs::write(&path, &text[..text.len() - 6]).unwrap();
    let error = read_rows::<CaseRow>(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::Csv { .. }), "{}", chain(&error));
    // Two digits short: 0.5 would read as 0.
    fs::write(&path, &text[..text.len() - 3]).unwrap();
    let error = read_rows::<CaseRow>(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::Truncated { .. }), "{}", chain(&error));
}

#[test]
fn a_file_that_changed_since_the_run_is_refused_with_both_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    write_rows(&run.cases(), &[case("a.jpg", Some(0.5), 0.1)]).unwrap();
    let whole = RunRecord { files: run.checksums().unwrap(), ..record() };
    whole.write(&run.record()).unwrap();
    assert_eq!(whole.files.keys().collect::<Vec<_>>(), ["cases.csv"]);
    assert_eq!(run.read_record().unwrap(), whole);

    let text = fs::read_to_string(run.cases()).unwrap();
    fs::write(run.cases(), text.replace("0.5", "0.9")).unwrap();
    let error = run.read_record().unwrap_err();
    let RunRecordError::Changed { found, recorded, path } = &error else { panic!("{error}") };
    assert_eq!((recorded, path), (&whole.files["cases.csv"], &run.cases()));
    assert_eq!(*found, run.checksums().unwrap()["cases.csv"]);

    // A record without checksums is of an earlier version: nothing can be said.
    let old = RunRecord { files: [].into(), ..record() };
    old.write(&run.record()).unwrap();
    assert_eq!(run.read_record().unwrap(), old);
}

#[test]
fn a_folder_that_no_run_wrote_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let error = RunFolder::new(folder.path()).read_record().unwrap_err();
    assert!(matches!(error, RunRecordError::NotARunFolder { .. }));
    assert!(error.to_string().contains("no run folder"), "{error}");

    let error = RunFolder::new(folder.path().join("gone")).read_record().unwrap_err();
    assert!(matches!(error, RunRecordError::NotARunFolder { .. }));
}

#[test]
fn a_run_without_a_record_did_not_finish() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    write_bytes(&run.experiment(), b"name = \"polyps\"\n").unwrap();
    let error = run.read_record().unwrap_err();
    assert!(matches!(error, RunRecordError::Unfinished { .. }));
    assert!(error.to_string().contains("did not finish"), "{error}");
}

#[test]
fn a_truncated_record_is_reported_with_line_and_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    record().write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = RunRecord::read(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::Json { .. }));
    let text = chain(&error);
    assert!(text.contains("EOF") && text.contains("line"), "{text}");
    assert!(text.contains(&path.display().to_string()), "{text}");
}

/// `record.json` after `edit`.
fn edited(path: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut value = serde_json::to_value(record()).unwrap();
    edit(value.as_object_mut().unwrap());
    write_json(path, &value).unwrap();
}

#[test]
fn another_format_version_is_named_before_any_missing_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    edited(&path, |record| {
        record.insert("format_version".into(), 99.into());
        record.remove("experiment");
    });
    let error = RunRecord::read(&path).unwrap_err();
    assert!(matches!(error, RunRecordError::FormatVersion { found: 99, .. }));
    assert!(error.to_string().contains("99"), "{error}");
}

#[test]
fn a_record_without_its_seed_is_refused_and_an_unknown_field_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    edited(&path, |record| {
        record.insert("added_later".into(), true.into());
    });
    assert_eq!(RunRecord::read(&path).unwrap(), record());

    edited(&path, |record| {
        record.remove("seed");
    });
    let text = chain(&RunRecord::read(&path).unwrap_err());
    assert!(text.contains("`seed`"), "{text}");
}

#[test]
fn a_changed_backbone_is_seen() {
    assert!(record().backbone_stayed_frozen());
    let changed = RunRecord { frozen_hash_after: "00".repeat(32), ..record() };
    assert!(!changed.backbone_stayed_frozen());
}

#[test]
fn writing_replaces_the_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("experiment.toml");
    write_bytes(&path, b"a longer first version").unwrap();
    write_bytes(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_the_old_state_and_no_partial_file() {
    let folder = tempfile::tempdir().unwrap();
    // A folder cannot be replaced by a file, so the rename fails after the bytes were written.
    let path = folder.path().join("taken");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "kept").unwrap();
    let error = write_bytes(&path, b"new").unwrap_err();
    assert!(matches!(error, RunRecordError::Write { .. }));
    assert_eq!(fs::read_to_string(path.join("inside")).unwrap(), "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let error = write_bytes(&folder.path().join("no/such/file"), b"new").unwrap_err();
    assert!(error.to_string().starts_with("cannot write"), "{error}");
}

#[test]
fn durations_come_back_and_are_divided_by_their_cases() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    let evaluation = |prompts: &str, cases, case_secs| EvaluationTiming {
        data: "kvasir".into(),
        split: "test".into(),
        prompts: prompts.into(),
        cases,
        case_secs,
        prompt_secs: Some(0.25 * case_secs),
    };
    let evaluations = vec![evaluation("auto", 4, 3.0), evaluation("grid", 0, 0.5)];
    let timing = Timing { evaluations, fit_secs: Some(2.0) };
    write_json(&run.timing(), &timing).unwrap();
    let read = Timing::read(&run.timing()).unwrap();
    assert_eq!(read, timing);
    assert_eq!(read.secs_per_case("kvasir", "test", "auto"), Some(0.75));
    assert_eq!(read.secs_per_case("kvasir", "test", "grid"), None, "no case");
    assert_eq!(read.secs_per_case("etis", "test", "auto"), None, "not timed");

    for nonsense in [-1.0, 1e308] {
        let timing = Timing { evaluations: vec![evaluation("auto", 4, nonsense)], fit_secs: None };
        write_json(&run.timing(), &timing).unwrap();
        let error = Timing::read(&run.timing()).unwrap_err();
        assert!(
            matches!(&error, RunRecordError::Duration { secs, path }
                if *secs == nonsense && *path == run.timing()),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    record().write(&run.record()).unwrap();
    let pipe = run.cases();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = |error: RunRecordError| {
        assert!(matches!(&error, RunRecordError::NotAFile { path } if *path == pipe), "{error}");
    };
    refused(run.read_record().unwrap_err());
    refused(read_rows::<CaseRow>(&pipe).unwrap_err());
    refused(read_json::<Environment>(&pipe).unwrap_err());
}

#[test]
fn paths_follow_the_layout() {
    let run = RunFolder::of(Path::new("runs"), "polyps", "no-ips", 3);
    assert_eq!(run.root(), Path::new("runs/polyps/no-ips-seed3"));
    let inside = |path: &Path| path.strip_prefix(run.root()).unwrap().to_path_buf();
    assert_eq!(inside(&run.experiment()), Path::new("experiment.toml"));
    assert_eq!(inside(&run.resolved()), Path::new("resolved.json"));
    assert_eq!(inside(&run.environment()), Path::new("environment.json"));
    assert_eq!(inside(&run.timing()), Path::new("timing.json"));
    assert_eq!(inside(&run.log()), Path::new("run.log"));
    assert_eq!(inside(&run.record()), Path::new("record.json"));
    assert_eq!(inside(&run.epochs()), Path::new("epochs.csv"));
    assert_eq!(inside(&run.cases()), Path::new("cases.csv"));
    assert_eq!(inside(&run.curves()), Path::new("curves.csv"));
    assert_eq!(inside(&run.predictions("kvasir", "auto")), Path::new("predictions/kvasir-auto"));
    assert_eq!(inside(&run.adapters()), Path::new("adapters.safetensors"));
    assert_eq!(inside(&run.checkpoint()), Path::new("checkpoint"));
    assert_eq!(inside(&run.panels()), Path::new("panels/panels.json"));
    assert_eq!(Panel::picture("kvasir", "apm", 7, PanelPart::Truth), "kvasir-apm/007-truth.png");
}

#[test]
fn an_outline_lies_beside_its_runs_and_comes_back_as_it_was() {
    let runs = tempfile::tempdir().unwrap();
    let [first, second] =
        ["apm", "ips"].map(|method| RunFolder::of(runs.path(), "polyps", method, 1));
    assert_eq!(first.outline(), runs.path().join("polyps/outline.json"));
    assert_eq!(first.outline(), second.outline());

    let side = |method: &str| Side { method: method.into(), prompts: "auto".into() };
    let claim = Claim {
        name: "IPS is no worse".into(),
        better: side("ips"),
        than: side("apm"),
        measure: Measure::Iou,
        margin: Some(0.01),
    };
    let outline = Outline::new(vec!["ips".into(), "apm".into()], vec![claim]);
    fs::create_dir_all(runs.path().join("polyps")).unwrap();
    outline.write(&first.outline()).unwrap();
    assert_eq!(Outline::read(&second.outline()).unwrap(), outline);

    let newer = Outline { format_version: FORMAT_VERSION + 1, ..outline };
    newer.write(&first.outline()).unwrap();
    let error = Outline::read(&first.outline()).unwrap_err();
    assert!(matches!(error, RunRecordError::FormatVersion { .. }));
    assert!(error.to_string().ends_with("outline.json"), "{error}");
}

#[test]
fn what_chose_the_epoch_keeps_the_words_of_older_records() {
    for (text, choice) in [
        ("Dice on held-out training images", EpochChoice::HeldOut),
        ("Dice on test images", EpochChoice::Test),
        ("lowest loss", EpochChoice::Other("lowest loss".into())),
    ] {
        let json = format!("\"{text}\"");
        assert_eq!(serde_json::from_str::<EpochChoice>(&json).unwrap(), choice);
        assert_eq!(serde_json::to_string(&choice).unwrap(), json);
    }
}

#[test]
fn files_longer_than_a_run_writes_are_refused_unread_with_length_and_limit() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::new(folder.path());
    for (path, limit) in [(run.record(), MAX_JSON_BYTES), (run.cases(), MAX_ROWS_BYTES)] {
        // A hole: it takes no room on the disk.
        fs::File::create(&path).unwrap().set_len(limit + 1).unwrap();
        let error = match limit {
            MAX_JSON_BYTES => RunRecord::read(&path).map(|_| ()),
            _ => read_rows::<CaseRow>(&path).map(|_| ()),
        }
        .unwrap_err();
        let RunRecordError::Read { source, .. } = &error else { panic!("{error}") };
        let expected = format!("it has {} bytes, at most {limit} are read", limit + 1);
        assert_eq!(source.to_string(), expected);
    }
}
