//! Many runs: what is done and what is to do, by content; failures; fewer training images.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use common::context;
use promise::{
    campaign::{Campaign, OnFailure, Task},
    plan::Experiment,
    progress::{Ended, Progress, Silent, Watch},
    run::{Context, RunError, run_experiment},
    run_folder::{Change, Existing, RunState},
};
use run_record::{Outline, RunFolder};

const SMOKE: &str = include_str!("../../../experiments/smoke/apm.toml");
const ABLATION: &str = include_str!("../../../experiments/smoke/ablation.toml");

/// Nothing is trained, so a run takes a moment.
const FROZEN: &str = r#"
name = "frozen"

[backbone]
variant = "micro"

[data]
train = ["mine"]
test = ["mine"]

[data.sources.mine]
images = "HERE/images"
masks = "HERE/masks"
splits = "HERE/splits.csv"

[prompt]
module = "none"

[shift]
module = "none"

[train]
epochs = 1

[evaluate]
prompts = ["center"]
panels = 0

[[variant]]
name = "a"

[[variant]]
name = "b"
set = { "evaluate.prompts" = ["box_full"] }
"#;

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("experiment.toml");
    fs::write(&path, text).expect("written");
    path
}

fn load(text: &str, settings: &[&str]) -> Experiment {
    let folder = tempfile::tempdir().expect("a folder");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    Experiment::load(&write(folder.path(), text), &settings).expect("valid")
}

/// What a person is told about a file that is refused: the error and its causes.
fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Experiment::load(&write(folder.path(), text), &[]).expect_err("refused");
    data_loaders::error_chain(&error)
}

/// Five images, `a` to `c` to train and `d`, `e` to test.
fn images(folder: &Path) -> String {
    for sub in ["images", "masks"] {
        fs::create_dir_all(folder.join(sub)).expect("made");
    }
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 8) as u8, (index * 20) as u8])
        });
        image.save(folder.join(format!("images/{name}.png"))).expect("saved");
        mask(folder, name, 12);
    }
    let splits = "name,split\na,train\nb,train\nc,train\nd,test\ne,test\n";
    fs::write(folder.join("splits.csv"), splits).expect("written");
    FROZEN.replace("HERE", &folder.display().to_string())
}

fn mask(folder: &Path, name: &str, above: u32) {
    let mask = image::GrayImage::from_fn(40, 30, |x, y| {
        image::Luma([if (10..25).contains(&x) && y > above { 255 } else { 0 }])
    });
    mask.save(folder.join(format!("masks/{name}.png"))).expect("saved");
}

/// What is to be done for each run, in words.
fn plan(experiment: &Experiment, context: &Context) -> Vec<String> {
    let experiments = std::slice::from_ref(experiment);
    let campaign = Campaign::open(experiments, context).expect("it opens");
    campaign.plan().map(|run| word(&run.task)).collect()
}

fn word(task: &Task) -> String {
    match task {
        Task::Impossible(reason) => format!("impossible: {reason}"),
        Task::Known(RunState::ToDo) => "to do".into(),
        Task::Known(RunState::Unfinished { epochs }) => format!("after {epochs}"),
        Task::Known(RunState::Failed { failure }) => format!("failed: {failure}"),
        Task::Known(RunState::Done { same_program }) => format!("done {same_program:?}"),
        Task::Known(RunState::Stale { changed }) => format!("stale: {}", Change::list(changed)),
    }
}

/// Notes which runs begin and how they end.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl Watch for Notes {
    fn begin(&self, run: &str) -> Arc<dyn Progress> {
        self.0.lock().expect("not poisoned").push(format!("{run} begins"));
        Arc::new(Silent)
    }

    fn end(&self, run: &str, ended: &Ended<'_>) {
        let how = match ended {
            Ended::Found => "found",
            Ended::Done(_) => "done",
            Ended::Failed(_) => "failed",
            Ended::Interrupted => "interrupted",
        };
        self.0.lock().expect("not poisoned").push(format!("{run} {how}"));
    }
}

fn replace(runs: &Path) -> Context {
    Context { existing: Existing::Replace, ..context(runs) }
}

fn run(experiment: &Experiment, context: &Context, notes: &Notes) -> Result<(), RunError> {
    let experiments = std::slice::from_ref(experiment);
    Campaign::open(experiments, context)?.run(OnFailure::Stop, notes).map(|_| ())
}

#[test]
fn a_run_is_done_until_its_settings_or_the_content_of_its_data_change() {
    let (data, runs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let text = images(data.path());
    let context = replace(runs.path());
    let experiment = load(&text, &[]);
    let notes = Notes::default();
    assert_eq!(plan(&experiment, &context), ["to do", "to do"]);
    assert!(!runs.path().join("frozen").exists(), "a plan writes nothing");
    run(&experiment, &context, &notes).expect("both run");
    let both = [
        "frozen/a-seed1 begins",
        "frozen/a-seed1 done",
        "frozen/b-seed1 begins",
        "frozen/b-seed1 done",
    ];
    assert_eq!(notes.take(), both);
    assert_eq!(plan(&experiment, &context), ["done Some(true)", "done Some(true)"]);
    run(&experiment, &context, &notes).expect("nothing to do");
    assert_eq!(notes.take(), ["frozen/a-seed1 found", "frozen/b-seed1 found"]);

    // Another setting of one variant.
    let other = load(&text.replace("[\"box_full\"]", "[\"grid\"]"), &[]);
    let stale = r#"stale: evaluate.prompts from ["box_full"] to ["grid"]"#;
    assert_eq!(plan(&other, &context), ["done Some(true)", stale]);
    run(&other, &context, &notes).expect("one runs");
    let expected = ["frozen/a-seed1 found", "frozen/b-seed1 begins", "frozen/b-seed1 done"];
    assert_eq!(notes.take(), expected);
    let aside = RunFolder::new(runs.path().join("frozen/stale/b-seed1-1"));
    assert_eq!(aside.read_record().expect("nothing is lost").rows[0].prompts, "box_full");

    // Copies with other times are the same data.
    let copy = fs::read(data.path().join("masks/d.png")).expect("a mask");
    fs::remove_file(data.path().join("masks/d.png")).expect("removed");
    fs::write(data.path().join("masks/d.png"), &copy).expect("back");
    assert_eq!(plan(&other, &context), ["done Some(true)", "done Some(true)"]);
    // Another mask is not, although name, place and settings are the same.
    mask(data.path(), "d", 9);
    let stale = "stale: contents of data mine test";
    assert_eq!(plan(&other, &context), [stale, stale]);
    // What nothing was trained on cannot make a run stale.
    fs::write(data.path().join("masks/d.png"), copy).expect("back");
    mask(data.path(), "a", 9);
    assert_eq!(plan(&other, &context), ["done Some(true)", "done Some(true)"]);
}

#[test]
fn a_run_by_another_build_is_done_unless_the_same_program_is_asked_for() {
    let (data, runs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let experiment = load(&images(data.path()), &[]);
    let context = replace(runs.path());
    let notes = Notes::default();
    run(&experiment, &context, &notes).expect("both run");
    let folder = RunFolder::of(runs.path(), "frozen", "a", 1);
    let environment = fs::read_to_string(folder.environment()).expect("an environment");
    let mut environment: serde_json::Value = serde_json::from_str(&environment).expect("JSON");
    let here = environment["program_sha256"].as_str().expect("known").to_owned();
    assert_eq!(here.len(), 64);
    environment["program_sha256"] = "another".into();
    fs::write(folder.environment(), environment.to_string()).expect("written");
    assert_eq!(plan(&experiment, &context), ["done Some(false)", "done Some(true)"]);

    let experiments = std::slice::from_ref(&experiment);
    let campaign = Campaign::open(experiments, &context).expect("it opens").same_program();
    let words: Vec<_> = campaign.plan().map(|run| word(&run.task)).collect();
    assert_eq!(words, ["stale: the program", "done Some(true)"]);
    notes.take();
    campaign.run(OnFailure::Stop, &notes).expect("one runs");
    assert_eq!(notes.take()[..2], ["frozen/a-seed1 begins", "frozen/a-seed1 done"]);
    assert_eq!(plan(&experiment, &context), ["done Some(true)", "done Some(true)"]);
}

#[test]
fn a_failure_is_recorded_and_the_rest_goes_on_if_asked_to() {
    let (data, runs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let text = images(data.path());
    // The first variant stops at the first bad image, and its test image is one.
    fs::write(data.path().join("images/d.png"), b"not an image").expect("written");
    let strict = text.replace("name = \"a\"", "name = \"a\"\nset = { \"data.strict\" = true }");
    let experiment = load(&strict, &[]);
    let context = replace(runs.path());
    let notes = Notes::default();
    let error = run(&experiment, &context, &notes).expect_err("the first one fails");
    assert_eq!(notes.take(), ["frozen/a-seed1 begins", "frozen/a-seed1 failed"]);
    let words = plan(&experiment, &context);
    assert!(words[0].starts_with("failed: ") && words[0].contains("d.png"), "{words:?}; {error}");
    assert_eq!(words[1], "to do");

    let experiments = std::slice::from_ref(&experiment);
    let campaign = Campaign::open(experiments, &context).expect("it opens");
    let outcomes = campaign.run(OnFailure::KeepGoing, &notes).expect("the rest goes on");
    assert_eq!(notes.take()[2..], ["frozen/b-seed1 begins", "frozen/b-seed1 done"]);
    let failure = outcomes[0].failure().expect("it failed again");
    assert!(failure.to_string().contains("d.png"), "{failure}");
    assert!(outcomes[1].failure().is_none());

    // Mended, it is tried again, and nothing is left of the failure.
    image::RgbImage::new(40, 30).save(data.path().join("images/d.png")).expect("saved");
    run(&experiment, &replace(runs.path()), &notes).expect("it runs");
    let folder = RunFolder::of(runs.path(), "frozen", "a", 1);
    assert!(folder.record().exists() && !folder.failure().exists());
}

#[test]
fn a_run_whose_data_are_not_there_is_impossible_and_others_are_not() {
    let (data, runs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let text = images(data.path());
    let gone = "name = \"a\"\nset = { \"data.test\" = [\"kvasir-seg\"] }";
    let experiment = load(&text.replace("name = \"a\"", gone), &[]);
    let context = replace(runs.path());
    let words = plan(&experiment, &context);
    assert!(words[0].starts_with("impossible: ") && words[0].contains("--data-root"), "{words:?}");
    let error = run(&experiment, &context, &Notes::default()).expect_err("not possible");
    assert!(matches!(error, RunError::Data(_)), "{error}");
    assert!(!runs.path().join("frozen").exists(), "nothing is begun before");

    let experiments = std::slice::from_ref(&experiment);
    let campaign = Campaign::open(experiments, &context).expect("it opens");
    let outcomes = campaign.run(OnFailure::KeepGoing, &Notes::default()).expect("one runs");
    assert!(outcomes[0].failure().is_some() && outcomes[1].failure().is_none());
    assert!(RunFolder::of(runs.path(), "frozen", "a", 1).failure().exists());
}

#[test]
fn two_files_of_one_name_are_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let experiment = load(&images(data.path()), &[]);
    let both = [experiment.clone(), experiment];
    let Err(error) = Campaign::open(&both, &context(data.path())) else { panic!("accepted") };
    assert!(error.to_string().contains("`frozen`"), "{error}");
}

#[test]
fn fewer_training_images_are_drawn_by_seed_and_part_of_more() {
    let runs = tempfile::tempdir().expect("a folder");
    let text = SMOKE.replace("test_limit", "train_images = 4\ntest_limit");
    let experiment = load(&text, &[]);
    let finished = run_experiment(&experiment, &context(runs.path())).expect("it runs");
    let training = finished[0].record.training.as_ref().expect("it trained");
    assert_eq!((training.train_cases, training.valid_cases), (4, 2), "the held-out part stays");

    let other = tempfile::tempdir().expect("a folder");
    let more = load(&text, &["data.train_images=9"]);
    let error = run_experiment(&more, &context(other.path())).expect_err("there are 8");
    assert!(error.to_string().contains("cannot draw 9 of the 8 cases"), "{error}");
}

/// The smoke experiment of everything that ablations change.
#[test]
fn every_knob_of_an_ablation_runs() {
    let runs = tempfile::tempdir().expect("a folder");
    let experiment = load(ABLATION, &[]);
    let finished = run_experiment(&experiment, &context(runs.path())).expect("all run");
    let methods: Vec<&str> = finished.iter().map(|run| run.record.method.as_str()).collect();
    let expected = [
        "resnet18+points-2",
        "resnet18+points-4",
        "cross_attention+points-2",
        "cross_attention+points-4",
        "token_1",
        "published_loss",
        "5_images",
    ];
    assert_eq!(methods, expected);
    let outline = Outline::read(&finished[0].folder.outline()).expect("an outline");
    assert_eq!(outline.methods, expected);
    let parameters = |method: &str| {
        let run = finished.iter().find(|run| run.record.method == method).expect("it ran");
        run.record.parameters
    };
    assert_ne!(
        parameters("resnet18+points-4").prompt,
        parameters("cross_attention+points-4").prompt
    );
    // Two numbers from 32 channels for each point more.
    assert_eq!(
        parameters("resnet18+points-4").prompt - parameters("resnet18+points-2").prompt,
        2 * 2 * (32 + 1)
    );
    // 128 channels, hidden width 4 * 128, one token.
    assert_eq!(parameters("token_1").shift, (128 * 512 + 512) + (512 * 128 + 128));
    let images = |run: usize| finished[run].record.training.as_ref().expect("trained").train_cases;
    assert_eq!((images(5), images(6)), (8, 5));
}

#[test]
fn more_runs_than_can_be_planned_are_refused_with_number_and_line() {
    let seeds: Vec<String> = (0..6_000).map(|seed| seed.to_string()).collect();
    let many_seeds =
        FROZEN.replacen("name =", &format!("seeds = [{}]\nname =", seeds.join(",")), 1);
    let message = refused(&many_seeds);
    assert!(message.contains("12000 runs are planned, at most 10000 can be"), "{message}");

    let variant = |number: usize| format!("\n[[variant]]\nname = \"v{number}\"\n");
    let many_variants = format!("{FROZEN}{}", (0..1_000).map(variant).collect::<String>());
    let message = refused(&many_variants);
    assert!(message.contains("1002 methods are planned, at most 1000 can be"), "{message}");
    assert!(message.contains("line "), "{message}");
}

#[test]
fn a_text_that_is_longer_than_any_experiment_is_refused_unread() {
    let message = refused(&format!("{FROZEN}\n{}", "# nothing\n".repeat(30_000)));
    assert!(message.contains("at most 262144 are read"), "{message}");
}

#[test]
fn tables_within_tables_without_an_end_are_refused() {
    for nested in [
        format!("{} = 1\n{FROZEN}", vec!["a"; 20_000].join(".")),
        format!("{FROZEN}\n[{}]\n", vec!["a"; 20_000].join(".")),
        format!("a = {}{}\n{FROZEN}", "[".repeat(50_000), "]".repeat(50_000)),
        format!("a = {}{}\n{FROZEN}", "{a=".repeat(20_000), "}".repeat(20_000)),
    ] {
        let message = refused(&nested);
        assert!(message.starts_with("not a valid experiment"), "{message}");
    }
}
