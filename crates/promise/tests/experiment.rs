//! Whole runs of a tiny experiment: what they record, that they resume, that SAM stays frozen, and
//! what a user reads when something is wrong.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use common::{StopAt, context};
use promise::{
    device::DeviceKind,
    plan::{Experiment, SpecError},
    run::{Context, RunError, evaluate_run, run_experiment},
    run_folder::{self, Existing, RunFolderError},
    spec::ExperimentSpec,
};
use run_record::{CaseRow, EpochRow, Outline, RunFolder, read_rows};

const SMOKE: &str = include_str!("../../../experiments/smoke/apm.toml");

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("experiment.toml");
    fs::write(&path, text).expect("written");
    path
}

fn run(text: &str, runs: &Path) -> RunFolder {
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&write(folder.path(), text), &[]).expect("valid");
    let mut finished = run_experiment(&experiment, &context(runs)).expect("it runs");
    finished.remove(0).folder
}

fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}\n{cause}");
        source = cause.source();
    }
    text
}

#[test]
fn a_run_records_what_it_did_and_leaves_sam_as_it_was() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(SMOKE, runs.path());
    let record = folder.read_record().expect("a record");

    assert_eq!(record.frozen_hash_before, record.frozen_hash_after);
    assert_eq!(record.frozen_hash_before.len(), 64);
    let training = record.training.as_ref().expect("it trained");
    assert_eq!((training.epochs_run, training.train_cases, training.valid_cases), (2, 8, 2));
    assert!(record.parameters.prompt > 0 && record.parameters.shift > 0);
    assert_eq!(record.parameters.trainable, record.parameters.prompt + record.parameters.shift);

    let oracles: Vec<_> =
        record.rows.iter().map(|row| (row.prompts.as_str(), row.oracle, row.n)).collect();
    assert_eq!(oracles, [("auto", false, 2), ("ground_truth", true, 2)]);
    let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
    assert_eq!(cases.len(), 4);
    for row in &record.rows {
        let dice: Vec<f64> = cases
            .iter()
            .filter(|case| case.prompts == row.prompts)
            .filter_map(|case| case.dice)
            .collect();
        let mean = dice.iter().sum::<f64>() / dice.len() as f64;
        assert!((row.dice.expect("defined") - mean).abs() < 1e-12, "the table is its cases");
    }
    let epochs = read_rows::<EpochRow>(&folder.epochs()).expect("epoch rows");
    assert_eq!(epochs.len(), 4);
    assert!(epochs.iter().all(|row| row.loss.is_finite() && row.loss > 0.0));
    assert!(epochs.iter().all(|row| (0.0..=1.0).contains(&row.dice)));
    assert!(!folder.checkpoint().exists(), "checkpoints go when the result is safe");
    assert_eq!(fs::read_to_string(folder.experiment()).expect("the file"), SMOKE);
}

#[test]
fn the_same_experiment_gives_the_same_bytes() {
    let (first, second) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (a, b) = (run(SMOKE, first.path()), run(SMOKE, second.path()));
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs, RunFolder::record] {
        let [a, b] = [&a, &b].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
}

#[test]
fn an_interrupted_run_goes_on_and_ends_with_the_same_bytes() {
    let text = SMOKE.replace("epochs = 2", "epochs = 5");
    let whole = tempfile::tempdir().expect("a folder");
    let expected = run(&text, whole.path());

    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&write(folder.path(), &text), &[]).expect("valid");
    let stop = Arc::new(AtomicBool::new(false));
    let progress = StopAt { after: 20, training: Mutex::new(false), stop: stop.clone() };
    let interrupted = Context { progress: Arc::new(progress), stop, ..context(runs.path()) };
    let error = run_experiment(&experiment, &interrupted).expect_err("stopped");
    assert!(matches!(error, RunError::Interrupted), "{error}");
    let unfinished = RunFolder::of(runs.path(), "smoke_apm", "smoke_apm", 1);
    let done = read_rows::<EpochRow>(&unfinished.epochs()).expect("epoch rows").len() / 2;
    assert!((1..5).contains(&done), "stopped after {done} of 5 epochs");
    assert!(!unfinished.record().exists());

    let resumed = Context { existing: Existing::Resume, ..context(runs.path()) };
    run_experiment(&experiment, &resumed).expect("it goes on");
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs] {
        let [a, b] =
            [&expected, &unfinished].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_costs_its_epoch_and_no_more() {
    let text = SMOKE.replace("epochs = 2", "epochs = 4");
    let whole = tempfile::tempdir().expect("a folder");
    let expected = run(&text, whole.path());
    for part in ["model", "optim", "scheduler"] {
        let runs = tempfile::tempdir().expect("a folder");
        let folder = tempfile::tempdir().expect("a folder");
        let experiment = Experiment::load(&write(folder.path(), &text), &[]).expect("valid");
        let stop = Arc::new(AtomicBool::new(false));
        let progress = StopAt { after: 25, training: Mutex::new(false), stop: stop.clone() };
        let interrupted = Context { progress: Arc::new(progress), stop, ..context(runs.path()) };
        run_experiment(&experiment, &interrupted).expect_err("stopped");
        let unfinished = RunFolder::of(runs.path(), "smoke_apm", "smoke_apm", 1);
        let done = read_rows::<EpochRow>(&unfinished.epochs()).expect("epoch rows").len() / 2;
        let last = unfinished.checkpoint().join(format!("{part}-{done}.bpk"));
        let bytes = fs::read(&last).expect("a checkpoint");
        fs::write(&last, &bytes[..bytes.len() / 2]).expect("written");
        run_experiment(&experiment, &context(runs.path())).expect("it goes on");
        for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs] {
            let [a, b] =
                [&expected, &unfinished].map(|folder| fs::read(file(folder)).expect("written"));
            assert!(a == b, "{part}: {}", file(&RunFolder::new("")).display());
        }
    }
}

#[test]
fn a_finished_run_is_not_run_again() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(SMOKE, runs.path());
    let written = fs::metadata(folder.record()).and_then(|meta| meta.modified()).expect("a time");
    run(SMOKE, runs.path());
    let now = fs::metadata(folder.record()).and_then(|meta| meta.modified()).expect("a time");
    assert_eq!(written, now);
}

#[test]
fn a_folder_of_other_settings_is_refused_and_named() {
    let runs = tempfile::tempdir().expect("a folder");
    let first = run(SMOKE, runs.path());
    let before = fs::read(first.record()).expect("a record");
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), SMOKE);
    let experiment = Experiment::load(&path, &["train.learning_rate=0.5".into()]).expect("valid");
    let error = run_experiment(&experiment, &context(runs.path())).expect_err("another run");
    let text = error_text(&error);
    let values = "other settings (train.learning_rate from 0.001 to 0.5)";
    assert!(text.contains(values), "{text}");
    assert_eq!(fs::read(first.record()).expect("a record"), before, "nothing is lost");
}

#[test]
fn a_run_that_no_longer_improves_stops_early() {
    let runs = tempfile::tempdir().expect("a folder");
    // Steps too small to move a mask.
    let text = SMOKE
        .replace("epochs = 2", "epochs = 9\npatience = 2")
        .replace("learning_rate = 1e-3", "learning_rate = 1e-30");
    let record = run(&text, runs.path()).read_record().expect("a record");
    let training = record.training.expect("it trained");
    assert!(training.stopped_early);
    assert_eq!(training.epochs_run, training.best_epoch + 2);
    assert!(training.epochs_run < training.epochs_planned);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&write(folder.path(), SMOKE), &[]).expect("valid");
    let file = folder.path().join("a-file");
    fs::write(&file, b"in the way").expect("written");
    let error = run_experiment(&experiment, &context(&file)).expect_err("no folder");
    assert!(error.to_string().contains("a-file"), "{error}");
    assert_eq!(fs::read(&file).expect("still there"), b"in the way");
}

#[test]
fn there_must_be_something_to_resume() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&write(folder.path(), SMOKE), &[]).expect("valid");
    let resume = Context { existing: Existing::Resume, ..context(runs.path()) };
    let error = run_experiment(&experiment, &resume).expect_err("nothing there");
    assert!(error.to_string().starts_with("nothing to resume"), "{error}");
}

#[test]
fn evaluating_a_run_again_gives_its_numbers() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(SMOKE, runs.path());
    let record = folder.read_record().expect("a record");
    let again = evaluate_run(&folder, None, &[], None, &context(runs.path())).expect("evaluated");
    assert_eq!(again.rows, record.rows);
    assert_eq!(again.frozen_hash_after, record.frozen_hash_before);
}

#[test]
fn auto_prompts_of_a_method_without_a_module_are_refused() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), SMOKE);
    let experiment =
        Experiment::load(&path, &["prompt={ module = \"none\" }".into()]).expect("valid");
    let folder =
        run_experiment(&experiment, &context(runs.path())).expect("it runs").remove(0).folder;
    let record = folder.read_record().expect("a record");
    let sources: Vec<_> = record.rows.iter().map(|row| row.prompts.as_str()).collect();
    assert_eq!(sources, ["ground_truth"], "`auto` is left out of the table");
    let sources = [promise::prompt_source::PromptSource::Auto.into()];
    let error =
        evaluate_run(&folder, None, &sources, None, &context(runs.path())).expect_err("no module");
    assert!(error.to_string().contains("has no prompt module"), "{error}");
}

#[test]
fn a_diverging_run_stops_and_names_the_batch() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let mut experiment = Experiment::load(&write(folder.path(), SMOKE), &[]).expect("valid");
    // A file may not ask for it.
    experiment.runs[0].spec.train.learning_rate = 1e30;
    let error = run_experiment(&experiment, &context(runs.path())).expect_err("it diverges");
    let text = error_text(&error);
    assert!(text.contains("the loss is") && text.contains("phantom/"), "{text}");
}

fn refused(text: &str, settings: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let error: SpecError =
        Experiment::load(&write(folder.path(), text), &settings).expect_err("refused");
    error_text(&error)
}

#[test]
fn typos_are_refused_with_line_column_and_the_accepted_keys() {
    let text = refused(&SMOKE.replace("batch_size", "batchsize"), &[]);
    assert!(text.contains("line 23, column 1"), "{text}");
    assert!(text.contains("unknown key `batchsize` (did you mean `batch_size`?)"), "{text}");

    let text = refused(&SMOKE.replace("fusion_channels", "fusion"), &[]);
    assert!(text.contains("line 16"), "{text}");
    assert!(text.contains("`fusion_channels`"), "{text}");

    let text = refused(&SMOKE.replace("resnet18", "resnet19"), &[]);
    assert!(text.contains("resnet19") && text.contains("resnet34"), "{text}");

    let text = refused(SMOKE, &["train.epoch=3"]);
    assert!(text.contains("--set train.epoch=3") && text.contains("`epochs`"), "{text}");
}

#[test]
fn wrong_names_list_the_known_ones() {
    let text = refused(&SMOKE.replace("module = \"apm\"", "module = \"amp\""), &[]);
    assert!(text.contains("unknown prompt module `amp`, expected one of `none`, `apm`"), "{text}");
    let text = refused(SMOKE, &["backbone.variant=vit_x"]);
    assert!(text.contains("unknown backbone `vit_x`") && text.contains("`vit_b`"), "{text}");
    let text = refused(&SMOKE.replace("\"ips\"", "\"isp\""), &[]);
    assert!(text.contains("isp") && text.contains("ips"), "{text}");

    let text = refused(&SMOKE.replace("[\"phantom\"]", "[\"phantm\"]"), &[]);
    assert!(text.contains("unknown data set `phantm`") && text.contains("kvasir-seg"), "{text}");
}

#[test]
fn several_problems_are_reported_at_once() {
    let text = refused(SMOKE, &["train.epochs=0", "train.batch_size=0", "evaluate.points=0"]);
    for key in ["`train.epochs`", "`train.batch_size`", "`evaluate.points`"] {
        assert!(text.contains(key), "{text}");
    }
    let text = refused(&SMOKE.replace("epochs = 2", "epochs = 0"), &[]);
    assert!(
        text.contains("line 22, column 1, `train.epochs`: is 0, must be a whole number from 1"),
        "{text}"
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (settings, key) in [
        (&["train.prompts=\"ground_truth\""][..], "`train.prompts`"),
        (&["prompt={module=\"none\"}", "train.prompts=\"auto\""], "`train.prompts`"),
        (&["prompt={module=\"none\"}", "evaluate.prompts=[\"auto\"]"], "`evaluate.prompts`"),
        (&["train.learning_rate=2.0", "train.schedule=\"cosine\""], "`train.learning_rate`"),
        (&["seeds=[1, 1]"], "`seeds`"),
        (&["evaluate.points=100000000000"], "`evaluate.points`"),
        (&["shift={module=\"none\", options={}}"], "`shift.options`"),
        (&["train.augmentation={}", "train.views=8"], "`train.views`"),
        (&["train.augmentation={shift=7.0}"], "`train.augmentation`"),
        (&["train.augmentation={}", "backbone.resize=\"longest_side\""], "`backbone.resize`"),
    ] {
        let text = refused(SMOKE, settings);
        assert!(text.contains(key), "{settings:?}: {text}");
    }
}

#[test]
fn options_that_do_not_fit_the_backbone_are_refused_with_their_line() {
    let line =
        |part: &str| SMOKE.lines().position(|line| line.contains(part)).expect("it is there") + 1;
    let text = refused(&SMOKE.replace("points = 4, taps", "points = 0, taps"), &[]);
    let expected = format!(
        "line {}, column 13, `prompt.options.points`: must be at least 1",
        line("points = 4, taps")
    );
    assert!(text.contains(&expected), "{text}");

    let ips = "module = \"ips\"";
    let tokens = SMOKE.replace(ips, &format!("{ips}\noptions = {{ tokens = [1, 9] }}"));
    let text = refused(&tokens, &[]);
    let expected =
        format!("line {}, column 13, `shift.options.tokens`: names token 9", line(ips) + 1);
    assert!(text.contains(&expected), "{text}");

    let text = refused(
        SMOKE,
        &["prompt.options.head=\"cross_attention\"", "prompt.options.attention_heads=3"],
    );
    assert!(text.contains("`prompt.options.attention_heads`: is 3, must divide"), "{text}");
}

#[test]
fn what_a_variant_or_the_grid_sets_wrongly_is_refused_where_it_is_written() {
    let lines = SMOKE.lines().count();
    let with = |more: &str| format!("{SMOKE}\n{more}");
    for (more, (line, column, expected), by) in [
        // A name that is no key, with those that are.
        (
            "[[variant]]\nname = \"a\"\nset = { \"train.epoch\" = 7 }\n",
            (4, 9, "`train.epoch`: unknown key `epoch` (did you mean `epochs`?)"),
            "(set by variant `a`)",
        ),
        // A wrong type.
        (
            "[grid]\n\"train.epochs\" = [1, \"two\"]\n",
            (3, 1, "`train.epochs`: is the text \"two\", must be a whole number from 1"),
            "(set by the grid)",
        ),
        // An option of the prompt module, which has a type of its own.
        (
            "[grid]\n\"prompt.options.pionts\" = [2, 4]\n",
            (3, 1, "`prompt.options.pionts`: unknown key `pionts` (did you mean `points`?)"),
            "(set by the grid)",
        ),
        // A value that no type refuses.
        (
            "[grid]\n\"train.epochs\" = [0]\n",
            (3, 1, "`train.epochs`: is 0, must be a whole number from 1 to 1000000"),
            "(set by the grid)",
        ),
        (
            "[[variant]]\nname = \"a\"\nset = { prompt = { module = \"amp\" } }\n",
            (4, 20, "`prompt.module`: unknown prompt module `amp`"),
            "(set by variant `a`)",
        ),
        // An option that does not fit the backbone.
        (
            "[grid]\n\"prompt.options.foreground\" = [2, 9]\n",
            (3, 1, "`prompt.options.foreground`: is 9, more than the 4 points"),
            "(set by the grid)",
        ),
        // What is no grid.
        ("[grid]\n\"train.epochs\" = 3\n", (3, 1, "`grid.train.epochs`: expected a list"), ""),
        (
            "[grid]\n\"train.epochs\" = [3]\n[[variant]]\nname = \"a\"\ngrid = false\n",
            (2, 2, "`grid`: every variant has `grid = false`"),
            "",
        ),
    ] {
        let text = refused(&with(more), &[]);
        let expected = format!("line {}, column {column}, {expected}", lines + line);
        assert!(text.contains(&expected) && text.contains(by), "expected: {expected}\nis: {text}");
    }
    let text = refused(SMOKE, &["grid={}"]);
    assert!(text.contains("cannot be set"), "{text}");
}

#[test]
fn a_grid_multiplies_every_variant_but_those_that_stay_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    let grid = "\n[grid]\n\"prompt.options.points, evaluate.points\" = [2, 8]\n\"train.epochs\" = [1, 3]\n";
    let variants = "\n[[variant]]\nname = \"a\"\n\n[[variant]]\nname = \"frozen\"\ngrid = false\n\
        set = { prompt = { module = \"none\" }, shift = { module = \"none\" } }\n";
    let load = |text: String| {
        Experiment::load(&write(folder.path(), &text), &["seeds=[4, 5]".into()]).expect("valid")
    };
    let alone = load(format!("{SMOKE}{grid}"));
    assert_eq!(
        alone.methods,
        ["points-2+epochs-1", "points-2+epochs-3", "points-8+epochs-1", "points-8+epochs-3"]
    );
    let both = load(format!("{SMOKE}{grid}{variants}"));
    assert_eq!(both.methods[..2], ["a+points-2+epochs-1", "a+points-2+epochs-3"]);
    assert_eq!(both.methods[4..], ["frozen"]);
    assert_eq!(both.runs.len(), 10, "with two seeds each");
    let run =
        both.runs.iter().find(|run| run.name() == "a+points-8+epochs-3-seed5").expect("planned");
    assert_eq!((run.spec.evaluate.points, run.spec.train.epochs), (8, 3));
    let options = run.spec.prompt.options.as_ref().expect("options");
    assert_eq!(options["points"].as_integer(), Some(8));
    assert_eq!(options["taps"].as_str(), Some("12"), "the rest stays");

    let same = format!(
        "{SMOKE}{grid}\n[[variant]]\nname = \"a\"\n\n[[variant]]\nname = \"a+points-2+epochs-1\"\ngrid = false\n"
    );
    assert!(
        refused(&same, &[]).contains("two methods are named `a+points-2+epochs-1`"),
        "{}",
        refused(&same, &[])
    );
}

#[test]
fn a_run_without_pictures_is_whole() {
    let runs = tempfile::tempdir().expect("a folder");
    let record =
        run(&SMOKE.replace("panels = 1", "panels = 0"), runs.path()).read_record().expect("whole");
    assert_eq!(record.rows.len(), 2);
}

fn two_variants() -> String {
    format!(
        "{SMOKE}\n[[variant]]\nname = \"a\"\nset = {{ shift = {{ module = \"none\" }} }}\n\n[[variant]]\nname = \"b\"\n"
    )
}

#[test]
fn resuming_goes_on_with_the_variants_that_were_not_begun() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), &two_variants());
    let mut first = Experiment::load(&path, &[]).expect("valid");
    first.runs.truncate(1);
    run_experiment(&first, &context(runs.path())).expect("the first variant");
    let all = Experiment::load(&path, &[]).expect("valid");
    let resume = Context { existing: Existing::Resume, ..context(runs.path()) };
    let finished = run_experiment(&all, &resume).expect("the second variant too");
    let found: Vec<bool> = finished.iter().map(|run| run.found).collect();
    assert_eq!(found, [true, false]);
}

#[test]
fn claims_are_kept_beside_the_runs_and_change_none_of_them() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let plain = Experiment::load(&write(folder.path(), SMOKE), &[]).expect("valid");
    run_experiment(&plain, &context(runs.path())).expect("it runs");
    let path = RunFolder::of(runs.path(), "smoke_apm", "smoke_apm", 1).outline();
    assert_eq!(Outline::read(&path).expect("an outline").claims, []);

    let claim = "\n[[claim]]\nname = \"oracle points beat automatic ones\"\n\
        better = { method = \"smoke_apm\", prompts = \"ground_truth\" }\n\
        than = { method = \"smoke_apm\", prompts = \"auto\" }\n";
    let text = format!("{SMOKE}{claim}");
    let claimed = Experiment::load(&write(folder.path(), &text), &[]).expect("valid");
    let finished = run_experiment(&claimed, &context(runs.path())).expect("it is done already");
    assert!(finished[0].found, "a claim is no setting");
    let outline = Outline::read(&path).expect("an outline");
    assert_eq!(outline.methods, ["smoke_apm"]);
    assert_eq!(outline.claims[0].name, "oracle points beat automatic ones");

    // A run that is refused leaves the outline of the former one.
    let other = Experiment::load(&write(folder.path(), SMOKE), &["train.epochs=9".into()]);
    run_experiment(&other.expect("valid"), &context(runs.path())).expect_err("other settings");
    assert_eq!(Outline::read(&path).expect("an outline"), outline);
}

#[test]
fn a_folder_that_a_later_variant_cannot_use_is_refused_before_anything_is_written() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), &two_variants());
    let former = Experiment::load(&path, &["train.epochs=9".into()]).expect("valid");
    let b = RunFolder::of(runs.path(), "smoke_apm", "b", 1);
    let inputs = run_folder::Inputs::default();
    run_folder::prepare(&b, &former, &former.runs[1], &inputs, DeviceKind::Flex).expect("prepared");
    former.outline().write(&b.outline()).expect("written");
    let outline = fs::read(b.outline()).expect("an outline");

    let claim = "\n[[claim]]\nname = \"IPS helps\"\n\
        better = { method = \"b\", prompts = \"auto\" }\n\
        than = { method = \"a\", prompts = \"auto\" }\n";
    let path = write(folder.path(), &format!("{}{claim}", two_variants()));
    let now = Experiment::load(&path, &[]).expect("valid");
    let error = run_experiment(&now, &context(runs.path())).expect_err("other settings");
    assert!(matches!(error, RunError::Folder(RunFolderError::OtherRun { .. })), "{error}");
    assert!(error.to_string().contains("train.epochs"), "{error}");
    assert!(!RunFolder::of(runs.path(), "smoke_apm", "a", 1).root().exists());
    assert_eq!(fs::read(b.outline()).expect("an outline"), outline);
}

#[test]
fn variants_on_other_files_of_the_same_names_do_not_share_features() {
    let (one, two) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let splits =
        "name,split\na,train\nb,train\nc,train\nd,train\ne,train\nf,train\ng,test\nh,test\n";
    for folder in [&one, &two] {
        made_up_images(folder.path(), 8);
        fs::write(folder.path().join("splits.csv"), splits).expect("written");
    }
    // The same names, other pixels.
    let other = image::RgbImage::from_pixel(40, 30, image::Rgb([200, 10, 90]));
    other.save(two.path().join("images/g.png")).expect("saved");
    let base = with_source(one.path(), FOLDERS);
    let images = two.path().join("images");
    let text = format!(
        "{base}\n[[variant]]\nname = \"one\"\n\n[[variant]]\nname = \"two\"\nset = {{ \"data.sources.mine.images\" = {:?} }}\n",
        images.display().to_string()
    );
    let runs = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = Experiment::load(&write(folder.path(), &text), &[]).expect("valid");
    let finished = run_experiment(&experiment, &context(runs.path())).expect("both run");
    let mae = |run: usize| finished[run].record.rows[0].mae.expect("defined");
    assert_ne!(mae(0), mae(1));
}

#[test]
fn a_run_is_used_only_when_it_is_whole_and_beside_its_own_weights() {
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(SMOKE, runs.path());
    let evaluate = || evaluate_run(&folder, None, &[], None, &context(runs.path()));
    let record = fs::read_to_string(folder.record()).expect("a record");

    let adapters = fs::read(folder.adapters()).expect("adapters");
    fs::remove_file(folder.adapters()).expect("removed");
    let error = evaluate().expect_err("adapters are gone");
    assert!(error.to_string().contains("adapters"), "{error}");
    fs::write(folder.adapters(), adapters).expect("back");

    let sha256 = folder.read_record().expect("a record").backbone.weights_sha256;
    let other = record.replace(&sha256, &"0".repeat(64));
    fs::write(folder.record(), other).expect("written");
    let error = evaluate().expect_err("other weights");
    assert!(matches!(error, RunError::OtherWeights { .. }), "{error}");

    fs::remove_file(folder.record()).expect("removed");
    evaluate().expect_err("the run is not whole");
}

#[test]
fn variants_change_what_they_set_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "seeds = [4, 5]\n{SMOKE}\n[[variant]]\nname = \"a\"\nset = {{ \"train.epochs\" = 7 }}\n\n[[variant]]\nname = \"b\"\nset = {{ shift = {{ module = \"none\" }} }}\n"
    );
    let experiment = Experiment::load(&write(folder.path(), &text), &["train.batch_size=3".into()])
        .expect("valid");
    let runs: Vec<_> = experiment
        .runs
        .iter()
        .map(|run| {
            (run.method.as_str(), run.seed, run.spec.train.epochs, run.spec.train.batch_size)
        })
        .collect();
    assert_eq!(runs, [("a", 4, 7, 3), ("a", 5, 7, 3), ("b", 4, 2, 3), ("b", 5, 2, 3)]);

    let twice = text.replace("name = \"b\"", "name = \"a\"");
    assert!(refused(&twice, &[]).contains("used twice"));
    let typo = text.replace("train.epochs\" = 7", "train.epoch\" = 7");
    let message = refused(&typo, &[]);
    assert!(
        message.contains("variant `a`") && message.contains("unknown key `epoch`"),
        "{message}"
    );
}

#[test]
fn a_plan_says_every_option_with_its_default_and_keeps_those_that_were_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("experiment.toml");
    for module in promise::registry::PROMPT_MODULES {
        let text = format!(
            "name = \"a\"\nbackbone = {{ variant = \"micro\" }}\ndata = {{ train = [\"phantom\"], test = [\"phantom\"] }}\n\
             prompt = {{ module = \"{}\" }}\n[shift]\nmodule = \"ips\"\n[train]\nepochs = 1\n[evaluate]\nprompts = [\"grid\"]\n",
            module.name
        );
        fs::write(&path, text).expect("written");
        let plan = Experiment::load(&path, &[]).expect("valid").runs.remove(0);
        let defaults: toml::Table = (module.default_options)().parse().expect("TOML");
        assert_eq!(
            plan.spec.prompt.options.clone().unwrap_or_default(),
            defaults,
            "{}",
            module.name
        );
        assert_eq!(plan.spec.shift.options, Some(ips::IpsSpec::default()));
        let again: ExperimentSpec = toml::from_str(&plan.text).expect("still valid");
        assert_eq!(again.prompt.options.unwrap_or_default(), defaults);
        assert_eq!(again.shift.options, plan.spec.shift.options);
    }
    let given = ["prompt.module=apm".to_owned(), "prompt.options.points=6".to_owned()];
    let plan = Experiment::load(&path, &given).expect("valid").runs.remove(0);
    let options = plan.spec.prompt.options.expect("written out");
    assert_eq!(options["points"].as_integer(), Some(6));
    assert!(options.len() > 1, "{options}");
}

#[test]
fn every_committed_experiment_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut checked = 0;
    for folder in ["", "main", "smoke", "ablations"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                // Large backbones get their weights on the command line.
                let settings = ["backbone.weights=FILE".to_owned()];
                let experiment = Experiment::load(&path, &settings)
                    .unwrap_or_else(|error| panic!("{}", error_text(&error)));
                assert!(!experiment.runs.is_empty());
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "only {checked} experiments found");
}

#[test]
fn every_way_to_bring_images_to_the_input_can_be_written_in_a_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/quickstart.toml");
    for mode in sam_backbone::ResizeMode::ALL {
        let experiment = Experiment::load(&path, &[format!("backbone.resize={mode}")]);
        assert_eq!(experiment.expect("valid").runs[0].spec.backbone.resize, mode);
    }
}

#[test]
fn every_prompt_module_has_a_smoke_experiment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/smoke");
    for entry in promise::registry::PROMPT_MODULES.iter().filter(|entry| entry.name != "none") {
        let path = root.join(format!("{}.toml", entry.name));
        let experiment = Experiment::load(&path, &[]).expect("a smoke experiment");
        assert_eq!(experiment.runs[0].spec.prompt.module, entry.name);
    }
}

/// Images named `a`, `b`, ... with masks, in two folders.
fn made_up_images(folder: &Path, n: usize) {
    for sub in ["images", "masks"] {
        fs::create_dir_all(folder.join(sub)).expect("made");
    }
    for index in 0..n {
        let name = format!("{}.png", char::from(b'a' + index as u8));
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 8) as u8, (index * 20) as u8])
        });
        image.save(folder.join("images").join(&name)).expect("saved");
        let mask = image::GrayImage::from_fn(40, 30, |x, y| {
            image::Luma([if (10..25).contains(&x) && y > 12 { 255 } else { 0 }])
        });
        mask.save(folder.join("masks").join(&name)).expect("saved");
    }
}

fn with_source(folder: &Path, keys: &str) -> String {
    let mine = SMOKE.replace("[\"phantom\"]", "[\"mine\"]").replace("train_limit = 10\n", "");
    let keys = keys.replace("HERE", &folder.display().to_string());
    format!("{mine}\n[data.sources.mine]\n{keys}\n")
}

const FOLDERS: &str =
    "images = \"HERE/images\"\nmasks = \"HERE/masks\"\nsplits = \"HERE/splits.csv\"";

#[test]
fn a_folder_of_ones_own_trains_and_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    made_up_images(data.path(), 8);
    let splits =
        "name,split\na,train\nb,train\nc,train\nd,train\ne,train\nf,train\ng,test\nh,test\n";
    fs::write(data.path().join("splits.csv"), splits).expect("written");
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(&with_source(data.path(), FOLDERS), runs.path());
    let record = folder.read_record().expect("a record");
    assert_eq!(record.rows[0].data, "mine");
    assert_eq!((record.rows[0].split.as_str(), record.rows[0].n), ("test", 2));
    let cases = read_rows::<CaseRow>(&folder.cases()).expect("case rows");
    assert_eq!((cases[0].file.as_str(), cases[0].width, cases[0].height), ("g", 40, 30));
}

#[test]
fn a_bad_image_is_skipped_counted_and_listed_unless_strict() {
    let data = tempfile::tempdir().expect("a folder");
    made_up_images(data.path(), 8);
    let splits =
        "name,split\na,train\nb,train\nc,train\nd,train\ne,train\nf,train\ng,test\nh,test\n";
    fs::write(data.path().join("splits.csv"), splits).expect("written");
    fs::write(data.path().join("images/g.png"), b"not an image").expect("written");
    let text = with_source(data.path(), FOLDERS);
    let runs = tempfile::tempdir().expect("a folder");
    let record = run(&text, runs.path()).read_record().expect("a record");
    assert_eq!(record.rows[0].n, 1);
    let skipped: Vec<_> = record.skipped.iter().map(|case| case.file.as_str()).collect();
    assert_eq!(skipped, ["g"]);
    assert!(record.skipped[0].reason.contains("g.png"), "{}", record.skipped[0].reason);

    let folder = tempfile::tempdir().expect("a folder");
    let strict = Experiment::load(&write(folder.path(), &text), &["data.strict=true".into()])
        .expect("valid");
    let other = tempfile::tempdir().expect("a folder");
    let error = run_experiment(&strict, &context(other.path())).expect_err("strict");
    assert!(error_text(&error).contains("g.png"), "{}", error_text(&error));
}

#[test]
fn a_source_without_splits_cannot_be_trained_and_tested_on() {
    let data = tempfile::tempdir().expect("a folder");
    let text = with_source(data.path(), "images = \"HERE/images\"\nmasks = \"HERE/masks\"");
    let message = refused(&text, &[]);
    assert!(message.contains("needs `splits`"), "{message}");
    let both = with_source(data.path(), &format!("{FOLDERS}\ncsv = \"HERE/x.csv\""));
    assert!(refused(&both, &[]).contains("either `csv`"), "{}", refused(&both, &[]));
}

#[test]
fn the_published_csv_format_is_read() {
    let data = tempfile::tempdir().expect("a folder");
    made_up_images(data.path(), 8);
    let mut csv = String::from("image_name,train_type,mask_name\n");
    for (index, name) in ["a", "b", "c", "d", "e", "f", "g", "h"].iter().enumerate() {
        let split = if index < 6 { "train" } else { "test" };
        csv.push_str(&format!("images/{name}.png,{split},masks/{name}.png\n"));
    }
    fs::write(data.path().join("set.csv"), csv).expect("written");
    let runs = tempfile::tempdir().expect("a folder");
    let folder = run(&with_source(data.path(), "csv = \"HERE/set.csv\""), runs.path());
    assert_eq!(folder.read_record().expect("a record").rows[0].n, 2);
}
