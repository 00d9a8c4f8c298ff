//! What a run promises when its data, its weights or its numbers go wrong in the middle.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use common::context;
use data_loaders::{error_chain, synthetic::phantom};
use promise::{
    plan::Experiment,
    progress::Progress,
    run::{self, Context, RunError, run_experiment},
    run_folder::{self, Existing},
};
use run_record::{EpochRow, RunFolder, RunRecordError, read_json, read_rows, write_json};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest as _, Sha256};

const SMOKE: &str = include_str!("../../../experiments/smoke/apm.toml");
const MICRO: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../sam-backbone/assets/micro.safetensors");

fn experiment(text: &str, settings: &[String]) -> Experiment {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("experiment.toml");
    fs::write(&path, text).expect("written");
    Experiment::load(&path, settings).expect("valid")
}

/// Images and masks in two folders below `root`, and the smoke experiment on them.
fn on_files(root: &Path) -> String {
    let source = |name: &str, indices: std::ops::Range<u64>| {
        for sub in ["images", "masks"] {
            fs::create_dir_all(root.join(name).join(sub)).expect("a new folder");
        }
        for index in indices {
            let (image, truth) = phantom(1, index, 64);
            let file = |sub: &str| root.join(name).join(sub).join(format!("{index}.png"));
            image.save(file("images")).expect("a free disk");
            truth.to_gray().save(file("masks")).expect("a free disk");
        }
        let folder = |sub: &str| root.join(name).join(sub).display().to_string();
        format!(
            "sources.{name} = {{ images = {:?}, masks = {:?} }}\n",
            folder("images"),
            folder("masks")
        )
    };
    let sources = source("some", 0..10) + &source("others", 10..12);
    let text = SMOKE
        .replace("train = [\"phantom\"]\n", "train = [\"some\"]\n")
        .replace("test = [\"phantom\"]\n", &format!("test = [\"others\"]\n{sources}"));
    assert!(text.contains("sources.some") && text.contains("train = [\"some\"]"));
    text
}

/// Does something once, as a phase with this beginning starts or has come so far.
struct Once<F> {
    phase: &'static str,
    after: u64,
    during: Mutex<bool>,
    done: AtomicBool,
    what: F,
}

impl<F> Once<F> {
    fn new(phase: &'static str, after: u64, what: F) -> Self {
        Self { phase, after, during: Mutex::new(false), done: AtomicBool::new(false), what }
    }
}

impl<F: Fn() + Send + Sync> Progress for Once<F> {
    fn start(&self, phase: &str, _total: u64) {
        *self.during.lock().expect("no panic") = phase.starts_with(self.phase);
        self.set(0);
    }

    fn set(&self, done: u64) {
        let now = *self.during.lock().expect("no panic") && done >= self.after;
        if now && !self.done.swap(true, Ordering::Relaxed) {
            (self.what)();
        }
    }

    fn note(&self, _text: &str) {}

    fn finish(&self) {}
}

fn with(progress: impl Progress + 'static, runs: &Path) -> Context {
    Context { progress: Arc::new(progress), ..context(runs) }
}

#[test]
fn a_share_that_vanishes_ends_the_run_with_its_folder_and_leaves_out_no_image() {
    let root = tempfile::tempdir().expect("a folder");
    let here = root.path();
    let text = on_files(&here.join("share"));
    let expected = {
        let mut runs = run_experiment(&experiment(&text, &[]), &context(&here.join("whole")));
        runs.as_mut().expect("it runs").remove(0).folder
    };

    let runs = here.join("runs");
    let (from, to) = (here.join("share"), here.join("elsewhere"));
    let vanish = move || fs::rename(&from, &to).expect("unmounted");
    let watched = with(Once::new("encode", 0, vanish), &runs);
    let error = run_experiment(&experiment(&text, &[]), &watched).expect_err("nothing to read");
    let said = error_chain(&error);
    let folder = here.join("share/some");
    assert!(said.contains(&folder.display().to_string()), "{said}");
    assert!(said.contains("network share") && said.contains("same command again"), "{said}");

    // While it is away, nothing is taken for another data set, and nothing is put aside.
    let stays = Context { existing: Existing::Replace, ..context(&runs) };
    run_experiment(&experiment(&text, &[]), &stays).expect_err("still away");
    assert!(!runs.join("smoke_apm/stale").exists());
    fs::rename(here.join("elsewhere"), here.join("share")).expect("mounted");
    let mut again = run_experiment(&experiment(&text, &[]), &context(&runs)).expect("it goes on");
    let folder = again.remove(0).folder;
    assert!(folder.read_record().expect("a record").skipped.is_empty());
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs] {
        let [a, b] = [&expected, &folder].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
}

/// `micro` with two numbers so large that their sum is infinite. (What is no number in the file itself is refused when
/// it is read.)
fn overflowing_weights(folder: &Path) -> PathBuf {
    /// They are added, channel by channel.
    const NAMES: [&str; 2] = ["image_encoder.patch_embed.proj.bias", "image_encoder.pos_embed"];

    let bytes = fs::read(MICRO).expect("the embedded weights");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let large = NAMES.map(|name| {
        let shape = tensors.tensor(name).expect("it is there").shape().to_vec();
        let mut values = vec![0; 4 * shape.iter().product::<usize>()];
        values[..4].copy_from_slice(&3e38_f32.to_le_bytes());
        (shape, values)
    });
    let views = tensors.tensors().into_iter().map(|(name, view)| {
        let at = NAMES.iter().position(|large| *large == name);
        let view = at.map_or(view, |at| {
            let (shape, values) = &large[at];
            TensorView::new(Dtype::F32, shape.clone(), values).expect("as long as its shape says")
        });
        (name, view)
    });
    let views: Vec<_> = views.collect();
    let path = folder.join("overflowing.safetensors");
    fs::write(&path, safetensors::serialize(views, None).expect("bytes")).expect("written");
    path
}

#[test]
fn weights_that_make_no_numbers_end_the_run_before_training_and_name_the_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights =
        format!("backbone.weights={:?}", overflowing_weights(folder.path()).display().to_string());
    for cache in ["\"f32\"", "\"off\""] {
        let runs = folder.path().join(format!("runs-{}", cache.trim_matches('"')));
        let settings = [weights.clone(), format!("data.feature_cache={cache}")];
        let error =
            run_experiment(&experiment(SMOKE, &settings), &context(&runs)).expect_err("broken");
        let said = error_chain(&error);
        assert!(said.contains("image encoder gives infinite values"), "{said}");
        assert!(said.contains("weights of the backbone"), "{said}");
        assert!(said.contains("of `phantom`"), "{said}");
        let run = RunFolder::of(&runs, "smoke_apm", "smoke_apm", 1);
        assert!(!run.epochs().exists() && !run.record().exists());
        // No number that is none was stored.
        let stored = runs.join("feature-cache/v1");
        assert_eq!(stored.exists(), cache == "\"f32\"", "the folder of the entries");
        assert!(!stored.exists() || fs::read_dir(stored).expect("a folder").count() == 0);
    }
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
fn a_loss_that_is_no_number_names_its_images_and_keeps_the_last_checkpoint() {
    let root = tempfile::tempdir().expect("a folder");
    let text = on_files(root.path()).replace("epochs = 2", "epochs = 4");
    let runs = root.path().join("runs");
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // 8 images to train on and 2 held out: in the middle of the third epoch.
    let halfway = Once::new("train", 22, move || flag.store(true, Ordering::Relaxed));
    let stopped = Context { stop, ..with(halfway, &runs) };
    let error = run_experiment(&experiment(&text, &[]), &stopped).expect_err("stopped");
    assert!(matches!(error, RunError::Interrupted), "{error}");
    let run = RunFolder::of(&runs, "smoke_apm", "smoke_apm", 1);
    let done = read_rows::<EpochRow>(&run.epochs()).expect("rows").len() / 2;
    assert!((1..4).contains(&done), "{done}");

    // A weight that is no number, as after a step that was far too long. (With its checksum, which would notice.)
    let model = run.checkpoint().join(format!("model-{done}.bpk"));
    let mut bytes = fs::read(&model).expect("a checkpoint");
    let end = bytes.len();
    for value in bytes[end - 64..].chunks_exact_mut(4) {
        value.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    let seal = run.checkpoint().join(format!("epoch-{done}.json"));
    let mut sums: BTreeMap<String, String> = read_json(&seal).expect("checksums");
    let sum = hex::encode(Sha256::digest(&bytes));
    sums.insert(format!("model-{done}.bpk"), sum).expect("it was there");
    write_json(&seal, &sums).expect("written");
    fs::write(&model, bytes).expect("written");
    let before = (fs::read(run.epochs()).expect("rows"), contents(&run.checkpoint()));

    let error = run_experiment(&experiment(&text, &[]), &context(&runs)).expect_err("no number");
    let said = error_chain(&error);
    assert!(said.contains("the loss is NaN") && said.contains("some/"), "{said}");
    assert!(said.contains(&format!("training stopped after epoch {done}")), "{said}");
    let after = (fs::read(run.epochs()).expect("rows"), contents(&run.checkpoint()));
    assert!(before == after, "what was finished is as it was");
    let reasons = fs::read_to_string(run.failure()).expect("recorded");
    assert!(reasons.contains("the loss is NaN"), "{reasons}");
}

#[test]
fn a_changed_bit_in_the_newest_checkpoint_costs_one_epoch() {
    let root = tempfile::tempdir().expect("a folder");
    let (plan, run, expected) = stopped_and_whole(root.path());
    let runs = root.path().join("runs");
    let done = read_rows::<EpochRow>(&run.epochs()).expect("rows").len() / 2;
    assert!(done >= 2, "{done}");
    let newest = run.checkpoint().join(format!("optim-{done}.bpk"));
    let mut bytes = fs::read(&newest).expect("a checkpoint");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&newest, bytes).expect("written");

    // Where training begins again, as its progress says: images of the epochs that are done.
    let first = Arc::new(Mutex::new(None));
    struct First(Arc<Mutex<Option<u64>>>, AtomicBool);
    impl Progress for First {
        fn start(&self, phase: &str, _total: u64) {
            self.1.store(phase.starts_with("train"), Ordering::Relaxed);
        }
        fn set(&self, done: u64) {
            if self.1.load(Ordering::Relaxed) {
                self.0.lock().expect("no panic").get_or_insert(done);
            }
        }
        fn note(&self, _text: &str) {}
        fn finish(&self) {}
    }
    let watched = with(First(first.clone(), AtomicBool::new(false)), &runs);
    run_experiment(&plan, &watched).expect("it goes on");
    let begun = first.lock().expect("no panic").expect("it trained");
    let epoch = 10;
    assert!(begun < epoch * done as u64, "epoch {done} is trained again: {begun}");
    assert!(begun >= epoch * (done as u64 - 1), "and no epoch before: {begun}");
    for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs, RunFolder::record] {
        let [a, b] = [&expected, &run].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }
}

/// The smoke experiment and its finished run.
fn finished(runs: &Path) -> (Experiment, RunFolder) {
    let plan = experiment(SMOKE, &[]);
    let folder = run_experiment(&plan, &context(runs)).expect("it runs").remove(0).folder;
    (plan, folder)
}

/// A run that was stopped after some of its four epochs, and the files of the same run without a stop.
fn stopped_and_whole(root: &Path) -> (Experiment, RunFolder, RunFolder) {
    let text = SMOKE.replace("epochs = 2", "epochs = 4");
    let plan = experiment(&text, &[]);
    let whole = run_experiment(&plan, &context(&root.join("whole"))).expect("it runs").remove(0);
    let runs = root.join("runs");
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let late = Once::new("train", 35, move || flag.store(true, Ordering::Relaxed));
    let stopped = Context { stop, ..with(late, &runs) };
    run_experiment(&plan, &stopped).expect_err("stopped");
    (plan, RunFolder::of(&runs, "smoke_apm", "smoke_apm", 1), whole.folder)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("one").path();
        let place = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &place),
            false => fs::copy(&path, &place).map(drop).expect("copied"),
        }
    }
}

#[test]
fn damaged_files_of_an_unfinished_run_cost_no_epoch_and_no_number() {
    let root = tempfile::tempdir().expect("a folder");
    let (plan, stopped, whole) = stopped_and_whole(root.path());
    let kept = root.path().join("kept");
    copy(stopped.root(), &kept);
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let digit = bytes.iter().rposition(u8::is_ascii_digit).expect("a number");
        bytes[digit] = if bytes[digit] == b'3' { b'4' } else { b'3' };
        bytes
    };
    type Damage<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let damages: [(&str, Damage<'_>); 3] =
        [("changed", &flip), ("cut", &|bytes| bytes[..30].to_vec()), ("empty", &|_| Vec::new())];
    for (what, damage) in damages {
        fs::remove_dir_all(stopped.root()).expect("removed");
        copy(&kept, stopped.root());
        let rows = fs::read(stopped.epochs()).expect("rows");
        fs::write(stopped.epochs(), damage(&rows)).expect("written");
        fs::write(stopped.environment(), damage(b"{ \"no\": 1, \"environment\": 2 } ----------"))
            .expect("written");
        fs::write(stopped.failure(), "{\"rea").expect("written");
        let runs = stopped.root().join("../..");
        let again = run_experiment(&plan, &context(&runs)).expect("it goes on").remove(0);
        assert!(!again.found, "{what}");
        read_json::<run_record::Environment>(&stopped.environment()).expect("written anew");
        for file in [RunFolder::adapters, RunFolder::cases, RunFolder::epochs, RunFolder::record] {
            let [a, b] = [&whole, &stopped].map(|folder| fs::read(file(folder)).expect("written"));
            assert!(a == b, "{what}: {}", file(&RunFolder::new("")).display());
        }
    }
}

#[test]
fn settings_that_cannot_be_read_are_told_with_what_to_do_and_fresh_does_it() {
    let root = tempfile::tempdir().expect("a folder");
    let runs = root.path().join("runs");
    let (plan, folder) = finished(&runs);
    let record = fs::read(folder.record()).expect("a record");
    for damaged in ["", "{ \"method\": ", "[]"] {
        fs::write(folder.resolved(), damaged).expect("written");
        let said = error_chain(&run_experiment(&plan, &context(&runs)).expect_err("damaged"));
        assert!(said.contains("`run --fresh`") && said.contains("resolved.json"), "{said}");
        assert!(fs::read(folder.record()).expect("a record") == record, "nothing was touched");
        let fresh = Context { existing: Existing::StartOver, ..context(&runs) };
        let again = run_experiment(&plan, &fresh).expect("it starts over").remove(0);
        assert!(!again.found);
        assert!(fs::read(folder.record()).expect("a record") == record);
    }
}

#[test]
fn adapters_that_are_not_those_of_the_run_are_refused_where_they_are_used() {
    let root = tempfile::tempdir().expect("a folder");
    let runs = root.path().join("runs");
    let (plan, folder) = finished(&runs);
    let device = burn::tensor::Device::flex();
    run::load_run(&folder, &device).map(drop).expect("whole");
    let mut bytes = fs::read(folder.adapters()).expect("adapters");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(folder.adapters(), bytes).expect("written");
    let error = run::load_run(&folder, &device).map(drop).expect_err("changed");
    assert!(
        matches!(error, RunError::Record(RunRecordError::Changed { ref path, .. }) if *path == folder.adapters()),
        "{error}"
    );
    // Tables and a second call do without.
    fs::remove_file(folder.adapters()).expect("removed");
    folder.read_record().expect("a record");
    assert!(run_experiment(&plan, &context(&runs)).expect("it is done").remove(0).found);
}

#[cfg(unix)]
#[test]
fn a_run_writes_nothing_where_links_in_its_folder_lead() {
    use std::os::unix::fs::symlink;

    let root = tempfile::tempdir().expect("a folder");
    let (plan, stopped, whole) = stopped_and_whole(root.path());
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let precious = elsewhere.join("precious");
    fs::write(&precious, "precious").expect("written");
    for name in [".epochs.csv.partial", ".record.json.partial", ".never.partial"] {
        symlink(&precious, stopped.root().join(name)).expect("made");
    }
    fs::remove_file(stopped.log()).ok();
    symlink(&precious, stopped.log()).expect("made");
    for folder in [stopped.panels_dir(), stopped.predictions_dir()] {
        symlink(&elsewhere, folder).expect("made");
    }
    let runs = stopped.root().join("../..");
    run_experiment(&plan, &context(&runs)).expect("it goes on");
    assert_eq!(fs::read_to_string(&precious).expect("there"), "precious");
    assert_eq!(fs::read_dir(&elsewhere).expect("a folder").count(), 1, "nothing was added");
    for file in [RunFolder::record, RunFolder::epochs, RunFolder::panels] {
        let found = fs::symlink_metadata(file(&stopped)).expect("there");
        assert!(found.is_file(), "{}", file(&stopped).display());
        let [a, b] = [&whole, &stopped].map(|folder| fs::read(file(folder)).expect("written"));
        assert!(a == b, "{}", file(&RunFolder::new("")).display());
    }

    // Checkpoints may be somebody's on another disk, so that they are not thrown away.
    let (_, unfinished, _) = stopped_and_whole(&root.path().join("second"));
    fs::rename(unfinished.checkpoint(), elsewhere.join("checkpoint")).expect("moved");
    symlink(elsewhere.join("checkpoint"), unfinished.checkpoint()).expect("made");
    let error = run_experiment(&plan, &context(&unfinished.root().join("../..")));
    let said = error_chain(&error.expect_err("a link"));
    assert!(said.contains("a link") && said.contains("checkpoint"), "{said}");
}

#[test]
fn a_folder_that_a_killed_process_was_removing_or_had_just_finished_is_cleared() {
    let root = tempfile::tempdir().expect("a folder");
    let runs = root.path().join("runs");
    let (plan, folder) = finished(&runs);
    // Killed after the record was written and before its checkpoints went.
    fs::create_dir(folder.checkpoint()).expect("a folder");
    fs::write(folder.checkpoint().join("model-1.bpk"), "left").expect("written");
    let found = run_experiment(&plan, &context(&runs)).expect("it is done").remove(0);
    assert!(found.found && !folder.checkpoint().exists());

    // Killed while `--fresh` removed it: half of it is under another name, so nothing looks finished.
    let record = fs::read(folder.record()).expect("a record");
    let half = folder.root().with_file_name(".removed-smoke_apm-seed1");
    fs::create_dir(&half).expect("a folder");
    fs::rename(folder.record(), half.join("record.json")).expect("moved");
    fs::remove_dir_all(folder.root()).expect("removed");
    let again = run_experiment(&plan, &context(&runs)).expect("it runs").remove(0);
    assert!(!again.found && !half.exists());
    assert!(fs::read(folder.record()).expect("a record") == record);
    run_folder::remove(&folder).expect("removed");
    assert!(!folder.root().exists() && !half.exists());
}
