//! What every prompt module does in a run, whichever way it learns.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use common::{StopAt, context};
use promise::{
    encode::{Shard, encode_experiment},
    plan::Experiment,
    registry::PROMPT_MODULES,
    run::{Context, RunError, evaluate_run, run_experiment},
    run_folder::Existing,
};
use prompting::Learning;
use run_record::{CaseRow, RunFolder, Timing, read_rows};

fn smoke(module: &str) -> PathBuf {
    let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke");
    smoke.join(format!("{module}.toml"))
}

fn run(module: &str, settings: &[&str], runs: &Path) -> RunFolder {
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let experiment = Experiment::load(&smoke(module), &settings).expect("valid");
    run_experiment(&experiment, &context(runs)).expect("it runs").remove(0).folder
}

#[test]
fn every_module_runs_is_recorded_and_is_loaded_again() {
    for entry in PROMPT_MODULES.iter().filter(|entry| entry.proposes) {
        let runs = tempfile::tempdir().expect("a folder");
        let folder = run(entry.name, &[], runs.path());
        let record = folder.read_record().expect("a record");
        assert_eq!(record.frozen_hash_before, record.frozen_hash_after, "{}", entry.name);
        let learns = (entry.default_learning)() != Learning::Fixed;
        assert_eq!(record.parameters.prompt > 0, learns, "{}", entry.name);
        assert_eq!(record.training.is_some(), folder.epochs().exists(), "{}", entry.name);
        let timing = Timing::read(&folder.timing()).expect("durations");
        for timed in &timing.evaluations {
            let proposes =
                timed.prompt_secs.is_some_and(|secs| 0.0 < secs && secs < timed.case_secs);
            assert_eq!(proposes, timed.prompts == "auto", "{}: {timed:?}", entry.name);
        }
        assert_eq!(timing.fit_secs.is_some(), record.fit.is_some(), "{}", entry.name);
        let again = evaluate_run(&folder, None, &[], None, &context(runs.path()));
        assert_eq!(again.expect("evaluated").rows, record.rows, "{}", entry.name);
    }
}

#[test]
fn a_fitted_module_needs_no_epochs_and_gives_the_same_bytes_again() {
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [a, b] = [&first, &second].map(|runs| run("self_prompting", &[], runs.path()));
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::record] {
        let [a, b] = [&a, &b].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
    let record = a.read_record().expect("a record");
    assert!(record.training.is_none() && !a.epochs().exists());
    let fit = record.fit.expect("it was fitted");
    assert_eq!(fit.cases.len(), 3);
    assert!(fit.cases.iter().all(|case| case.starts_with("phantom/")), "{:?}", fit.cases);
    assert!(fit.numbers["gradient_max"] <= 1e-10, "{:?}", fit.numbers);
    // A cell of micro's 32 x 32 grid for each of the images.
    assert_eq!(fit.numbers["cells"], 3.0 * 32.0 * 32.0);

    let other = tempfile::tempdir().expect("a folder");
    let other = run("self_prompting", &["seeds=[2]"], other.path());
    let fit_of_2 = other.read_record().expect("a record").fit.expect("it was fitted");
    assert_ne!(fit.cases, fit_of_2.cases, "the seed draws the images");
    let more = tempfile::tempdir().expect("a folder");
    let more = run("self_prompting", &["prompt.options.images=5"], more.path());
    let more = more.read_record().expect("a record").fit.expect("it was fitted");
    assert!(more.cases.len() == 5 && fit.cases.iter().all(|case| more.cases.contains(case)));
}

#[test]
fn encoding_ahead_stores_the_images_of_a_fit_and_no_other_training_images() {
    let runs = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&smoke("self_prompting"), &[]).expect("valid");
    let report =
        encode_experiment(&experiment, &context(runs.path()), Shard::ALL, None).expect("encoded");
    let images: Vec<_> = report.iter().map(|data| (data.split.as_str(), data.images)).collect();
    assert_eq!(images, [("train", 3), ("test", 2)]);
}

#[test]
fn too_few_images_to_fit_to_are_found_out_before_anything_is_written() {
    let runs = tempfile::tempdir().expect("a folder");
    let settings = ["prompt.options.images=9".to_owned()];
    let experiment = Experiment::load(&smoke("self_prompting"), &settings).expect("valid");
    let error = run_experiment(&experiment, &context(runs.path())).expect_err("too few");
    // Ten images, of which two are held out.
    let expected = "`self_prompting` is to be fitted to 9 images (`prompt.options`), but there are 8 training images left in \
                    `phantom` besides the 2 that are held out (`data.validation_fraction`)";
    assert_eq!(error.to_string(), expected);
    assert!(!runs.path().join("smoke_self_prompting").exists(), "no folder is made");
}

#[test]
fn a_shift_is_trained_beside_a_fitted_module_and_an_interruption_changes_no_byte() {
    let settings = ["shift.module=ips", "train.epochs=4"];
    let whole = tempfile::tempdir().expect("a folder");
    let expected = run("self_prompting", &settings, whole.path());
    let record = expected.read_record().expect("a record");
    let training = record.training.expect("the shift was trained");
    assert_eq!(training.epochs_run, 4);
    assert!(record.fit.is_some() && record.parameters.shift > 0);

    let runs = tempfile::tempdir().expect("a folder");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let experiment = Experiment::load(&smoke("self_prompting"), &settings).expect("valid");
    let stop = Arc::new(AtomicBool::new(false));
    let progress = StopAt { after: 15, training: Mutex::new(false), stop: stop.clone() };
    let interrupted = Context { progress: Arc::new(progress), stop, ..context(runs.path()) };
    let error = run_experiment(&experiment, &interrupted).expect_err("stopped");
    assert!(matches!(error, RunError::Interrupted), "{error}");
    let resumed = Context { existing: Existing::Resume, ..context(runs.path()) };
    let unfinished = run_experiment(&experiment, &resumed).expect("it goes on").remove(0).folder;
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs, RunFolder::record] {
        let [a, b] =
            [&expected, &unfinished].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
}

#[test]
fn images_that_teach_nothing_are_an_error_that_says_so() {
    let data = tempfile::tempdir().expect("a folder");
    for sub in ["images", "masks"] {
        fs::create_dir_all(data.path().join(sub)).expect("made");
    }
    // No two alike: a test image that is a training image is refused.
    for (name, red) in [("a", 90), ("b", 100), ("c", 110), ("d", 120)] {
        let path = |sub: &str| data.path().join(sub).join(format!("{name}.png"));
        image::RgbImage::from_pixel(32, 32, image::Rgb([red, 60, 30]))
            .save(path("images"))
            .expect("saved");
        image::GrayImage::new(32, 32).save(path("masks")).expect("saved");
    }
    fs::write(data.path().join("s.csv"), "name,split\na,train\nb,train\nc,train\nd,test\n")
        .expect("written");
    let here = data.path().display();
    let source = format!(
        "data.sources.mine={{images=\"{here}/images\",masks=\"{here}/masks\",splits=\"{here}/s.csv\"}}"
    );
    let settings = [
        source.as_str(),
        "data.train=[\"mine\"]",
        "data.test=[\"mine\"]",
        "prompt.options.images=2",
    ];
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let experiment = Experiment::load(&smoke("self_prompting"), &settings).expect("valid");
    let runs = tempfile::tempdir().expect("a folder");
    let error = run_experiment(&experiment, &context(runs.path())).expect_err("empty masks");
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(source.contains("2 training images teach nothing"), "{error}: {source}");
    assert!(source.contains("no foreground"), "{source}");
}

#[test]
fn cases_are_scored_like_those_of_any_other_method() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run("self_prompting", &["prompt.options.prompt=point"], runs.path());
    let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
    assert_eq!(cases.iter().filter(|case| case.prompts == "auto").count(), 2);
    assert!(cases.iter().all(|case| case.dice.is_none_or(|dice| (0.0..=1.0).contains(&dice))));
}
