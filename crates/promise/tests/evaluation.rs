//! Runs evaluated by other protocols: what they record, and that their predictions can be scored again without a model.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::context;
use data_loaders::{Catalog, DataSet};
use metrics::{CurveMeasure, LevelCounts, Measure, Protocol};
use promise::{plan::Experiment, run::run_experiment};
use run_record::{CaseRow, CurveRow, RunFolder, read_rows};
use scoring::{prediction_file, score_folder, summarize};

/// The smoke experiment with these settings, in `runs`.
fn run(settings: &[&str], runs: &Path) -> RunFolder {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke/apm.toml");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let experiment = Experiment::load(&file, &settings).expect("valid");
    run_experiment(&experiment, &context(runs)).expect("it runs").remove(0).folder
}

/// Writes the true masks of the cases beside the run.
fn write_truths(cases: &[CaseRow], runs: &Path) -> PathBuf {
    let folder = runs.join("truths");
    fs::create_dir_all(&folder).expect("made");
    let set = DataSet::open("phantom", "test", None, &Catalog::built_in()).expect("built in");
    for index in 0..set.len() {
        let case = set.load(index).expect("a case");
        if cases.iter().any(|row| row.file == case.id) {
            case.truth.to_gray().save(folder.join(prediction_file(&case.id))).expect("written");
        }
    }
    folder
}

#[test]
fn every_number_of_a_table_comes_from_the_rows() {
    for protocol in Protocol::ALL {
        let runs = tempfile::tempdir().expect("a folder");
        let setting = format!("evaluate.protocol=\"{protocol}\"");
        let folder = run(&[&setting, "train.epochs=1"], runs.path());
        let record = folder.read_record().expect("a record");
        let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
        let curves = match folder.curves().exists() {
            true => read_rows::<CurveRow>(&folder.curves()).expect("curve rows"),
            false => Vec::new(),
        };
        assert_eq!(curves.is_empty(), *protocol == Protocol::PromiseReference);
        assert_eq!(record.rows.len(), 2);
        for row in &record.rows {
            assert_eq!(row.protocol, protocol.name());
            let cases: Vec<CaseRow> =
                cases.iter().filter(|case| case.prompts == row.prompts).cloned().collect();
            let levels: Vec<LevelCounts> = curves
                .iter()
                .filter(|curve| curve.prompts == row.prompts)
                .map(|curve| curve.levels().expect("levels"))
                .collect();
            assert_eq!(&summarize(*protocol, &cases, &levels, row.seed), row);
            for case in &cases {
                for &measure in Measure::ALL {
                    let reported = protocol.measures().contains(&measure);
                    assert!(reported || case.get(measure).is_none(), "{protocol}: {measure}");
                }
            }
            assert_eq!(row.maxima.len(), protocol.maxima().len());
        }
    }
}

#[test]
fn saved_predictions_are_scored_again_to_the_same_numbers() {
    for protocol in [Protocol::Default, Protocol::Pranet] {
        let runs = tempfile::tempdir().expect("a folder");
        let setting = format!("evaluate.protocol=\"{protocol}\"");
        let settings = [setting.as_str(), "train.epochs=1", "evaluate.save_predictions=true"];
        let folder = run(&settings, runs.path());
        let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
        let truths = write_truths(&cases, runs.path());
        let record = folder.read_record().expect("a record");
        for row in &record.rows {
            let predictions = folder.predictions(&row.data, &row.prompts);
            let again = score_folder(&predictions, &truths, protocol, &|_, _| {}).expect("scored");
            assert_eq!((again.resized, again.unpredicted.len()), (0, 0));
            let former = |file: &str| {
                cases
                    .iter()
                    .find(|case| {
                        case.prompts == row.prompts
                            && prediction_file(&case.file) == format!("{file}.png")
                    })
                    .expect("the case")
            };
            for case in &again.cases {
                let former = former(&case.file);
                for &measure in protocol.measures() {
                    let (again, former) = (case.get(measure), former.get(measure));
                    match protocol {
                        // One cut at 0.5, which a file keeps exactly; the error moves by half a level at most.
                        Protocol::Default if measure != Measure::Mae => {
                            assert_eq!(again, former, "{measure}")
                        }
                        // A pixel on a threshold may change its side at one of 256.
                        _ => {
                            let difference = again.unwrap_or(0.0) - former.unwrap_or(0.0);
                            assert!(
                                difference.abs() < 1e-3,
                                "{protocol}, {measure}: {again:?}, {former:?}"
                            );
                        }
                    }
                }
            }
            if let Some(&maximum) = row.maxima.get(&CurveMeasure::EMeasure) {
                assert!((again.mean.maxima[&CurveMeasure::EMeasure] - maximum).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn predictions_are_kept_only_if_asked_for() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(&["train.epochs=1"], runs.path());
    assert!(!folder.predictions("phantom", "auto").exists());
}
