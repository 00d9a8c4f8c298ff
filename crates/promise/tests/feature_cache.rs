//! The feature cache in experiments: encoded once, the same numbers, damage repaired.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::context;
use promise::{
    encode::{EncodedData, Shard, encode_experiment},
    plan::Experiment,
    run::{CacheFolder, Context, RunError, run_experiment},
};
use run_record::{EpochRow, RunFolder, read_rows};

const SMOKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/smoke/apm.toml");

fn experiment(settings: &[&str]) -> Experiment {
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    Experiment::load(Path::new(SMOKE), &settings).expect("valid")
}

fn encode(context: &Context) -> Vec<EncodedData> {
    encode_experiment(&experiment(&[]), context, Shard::ALL, None).expect("it encodes")
}

fn sum(report: &[EncodedData], of: fn(&EncodedData) -> usize) -> usize {
    report.iter().map(of).sum()
}

/// 10 images to train and validate on, 2 to test on.
const IMAGES: usize = 12;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).expect("a folder") {
        let path = item.expect("readable").path();
        if path.is_dir() {
            files.extend(entries(&path));
        } else if path.extension().is_some_and(|extension| extension == "feature") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn an_image_is_encoded_once_for_ever() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let first = encode(&context);
    assert_eq!(sum(&first, |set| set.usage.computed), IMAGES);
    assert_eq!(sum(&first, |set| set.images), IMAGES);
    // The embedding and one block each.
    assert_eq!(entries(&context.feature_cache.root).len(), 2 * IMAGES);
    let second = encode(&context);
    assert_eq!(sum(&second, |set| set.usage.computed), 0);
    assert_eq!(sum(&second, |set| set.usage.found), IMAGES);
}

#[test]
fn shards_share_the_images_out_and_together_they_are_all() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let computed: Vec<usize> = ["0/5", "1/5", "2/5", "3/5", "4/5"]
        .iter()
        .map(|shard| {
            let shard: Shard = shard.parse().expect("a shard");
            let report = encode_experiment(&experiment(&[]), &context, shard, None);
            sum(&report.expect("it encodes"), |set| set.usage.computed)
        })
        .collect();
    // Of 8, 2 and 2 images: shards beyond the second have none of the small sets.
    assert_eq!(computed.iter().sum::<usize>(), IMAGES, "{computed:?}");
    assert!(computed.iter().all(|&images| images > 0), "{computed:?}");
    assert_eq!(sum(&encode(&context), |set| set.usage.found), IMAGES);
    for text in ["5/5", "1", "a/b", "0/0", "-1/2"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn training_images_are_encoded_once_per_view_and_no_others_are() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let report = encode_experiment(&experiment(&["train.views=3"]), &context, Shard::ALL, None)
        .expect("encoded");
    let rows: Vec<_> =
        report.iter().map(|set| (set.split.as_str(), set.view.as_str(), set.images)).collect();
    let expected = [
        ("train", "identity", 8),
        ("train", "flip_x", 8),
        ("train", "flip_y", 8),
        ("valid", "identity", 2),
        ("test", "identity", 2),
    ];
    assert_eq!(rows, expected);
    // What one view has is there for all experiments.
    assert_eq!(sum(&encode(&context), |set| set.usage.computed), 0);
    let cache = context.feature_cache;
    let other = tempfile::tempdir().expect("a folder");
    let plain = results(runs.path(), &cache, &[]);
    assert!(results(other.path(), &cache, &["train.views=3"]) != plain);
}

#[test]
fn a_damaged_entry_is_computed_again_and_has_the_same_bytes() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    encode(&context);
    let victim = entries(&context.feature_cache.root).swap_remove(3);
    let whole = fs::read(&victim).expect("readable");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    fs::write(&victim, damaged).expect("written");
    let report = encode(&context);
    assert_eq!(sum(&report, |set| set.usage.damaged), 1);
    assert_eq!(sum(&report, |set| set.usage.computed), 1);
    assert!(fs::read(&victim).expect("readable") == whole);
}

#[test]
fn several_at_once_share_the_work() {
    let runs = tempfile::tempdir().expect("a folder");
    let context = context(runs.path());
    let reports: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| encode(&context))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let computed: usize = reports.iter().map(|one| sum(one, |set| set.usage.computed)).sum();
    assert_eq!(computed, IMAGES);
    for report in &reports {
        assert_eq!(sum(report, |set| set.images), IMAGES);
    }
}

/// The files of a run that hold numbers.
fn results(runs: &Path, cache: &CacheFolder, settings: &[&str]) -> Vec<Vec<u8>> {
    let context = Context { feature_cache: cache.clone(), ..context(runs) };
    let finished = run_experiment(&experiment(settings), &context).expect("it runs");
    let folder = &finished[0].folder;
    [RunFolder::adapters, RunFolder::cases, RunFolder::epochs]
        .map(|file| fs::read(file(folder)).expect("written"))
        .to_vec()
}

#[test]
fn a_run_sees_the_same_numbers_whether_it_computes_or_finds_them() {
    let [one, two, three, four, cache] = [0; 5].map(|_| tempfile::tempdir().expect("a folder"));
    let folder = CacheFolder { root: cache.path().to_owned(), limit: 1 << 30 };
    // Nothing is kept in memory, so every epoch reads the disk.
    let on_disk = ["data.feature_memory_gib=0"];
    let computed = results(one.path(), &folder, &[]);
    assert!(computed == results(two.path(), &folder, &on_disk));
    // Rounding is visible, and only rounding.
    let exact = results(three.path(), &folder, &["data.feature_cache=\"f32\""]);
    assert!(exact != computed);
    assert!(exact == results(four.path(), &folder, &["data.feature_cache=\"off\""]));
}

/// The loss of every step of a short training.
fn losses(cache: &CacheFolder, settings: &[&str]) -> Vec<f64> {
    let runs = tempfile::tempdir().expect("a folder");
    let context = Context { feature_cache: cache.clone(), ..context(runs.path()) };
    // All training images in one batch, so an epoch is a step.
    let settings = [settings, &["train.epochs=8", "train.batch_size=8"]].concat();
    let finished = run_experiment(&experiment(&settings), &context).expect("it runs");
    let rows: Vec<EpochRow> = read_rows(&finished[0].folder.epochs()).expect("epochs");
    rows.iter().filter(|row| row.split == EpochRow::TRAIN).map(|row| row.loss).collect()
}

#[test]
fn half_precision_moves_the_losses_of_a_training_by_its_rounding() {
    let cache = tempfile::tempdir().expect("a folder");
    let cache = CacheFolder { root: cache.path().to_owned(), limit: 1 << 30 };
    // Half precision keeps 11 bits, so a feature moves by at most 2^-11 = 4.9e-4 of itself, and a loss is an
    // average over very many: measured, 1.6e-4 at most. In later steps the weights differ, too: the first step of Adam
    // is the learning rate times the *sign* of the gradient, and rounding turns the signs of the smallest. With
    // the token shift alone that is not seen at a rate of 1e-3; with APM, whose batch norms see eight images, the rate
    // must be small (measured: 2e-3 apart at 1e-4, 6e-2 at 1e-3).
    const ROUNDING: f64 = 1.0 / 2048.0;
    let token_shift = [
        "prompt={module=\"none\"}",
        "evaluate.prompts=[\"ground_truth\"]",
        "train.learning_rate=1e-3",
    ];
    for settings in [&token_shift[..], &["train.learning_rate=1e-5"]] {
        let stored = losses(&cache, settings);
        let computed = losses(&cache, &[settings, &["data.feature_cache=\"off\""]].concat());
        assert_eq!((stored.len(), computed.len()), (8, 8));
        assert!(stored != computed, "nothing was rounded");
        for (step, (stored, computed)) in stored.iter().zip(&computed).enumerate() {
            let moved = (stored - computed).abs() / computed;
            assert!(moved <= ROUNDING, "{settings:?}, step {step}: {stored} {computed}");
        }
        // The weights moved meanwhile, and the loss with them, much more than the bound. At these rates it need not
        // fall from every step to the next, so the lowest counts.
        let lowest = computed.iter().copied().fold(f64::INFINITY, f64::min);
        let learned = (computed[0] - lowest) / computed[0];
        assert!(learned > 50.0 * ROUNDING, "{settings:?}: {computed:?}");
    }
}

#[test]
fn augmented_images_are_in_no_cache_and_the_same_experiment_gives_the_same_bytes() {
    let augmented = ["train.augmentation={}"];
    let [one, two] = [0; 2].map(|_| tempfile::tempdir().expect("a folder"));
    let context = context(one.path());
    let report =
        encode_experiment(&experiment(&augmented), &context, Shard::ALL, None).expect("it encodes");
    let splits: Vec<_> = report.iter().map(|set| (set.split.as_str(), set.images)).collect();
    assert_eq!(splits, [("valid", 2), ("test", 2)]);
    let cache = &context.feature_cache;
    let first = results(one.path(), cache, &augmented);
    assert_eq!(entries(&cache.root).len(), 2 * (2 + 2));
    assert!(first == results(two.path(), cache, &augmented));
    let other = tempfile::tempdir().expect("a folder");
    assert!(first != results(other.path(), cache, &[]), "nothing was augmented");
}

#[test]
fn a_cache_that_takes_nothing_costs_a_run_time_and_an_encode_its_purpose() {
    let [runs, more, cache] = [0; 3].map(|_| tempfile::tempdir().expect("a folder"));
    let none = CacheFolder { root: cache.path().to_owned(), limit: 1_000 };
    let some = CacheFolder { root: more.path().join("feature-cache"), limit: 1 << 30 };
    assert!(results(runs.path(), &none, &[]) == results(more.path(), &some, &[]));
    let context = Context { feature_cache: none, ..context(runs.path()) };
    let error = encode_experiment(&experiment(&[]), &context, Shard::ALL, None).expect_err("full");
    assert!(error.to_string().contains("limit of 1000 bytes"), "{error}");
    assert!(entries(cache.path()).is_empty());
}

#[test]
fn a_folder_of_other_things_is_refused_and_left_alone() {
    let runs = tempfile::tempdir().expect("a folder");
    let thesis = runs.path().join("thesis.tex");
    fs::write(&thesis, "years of work").expect("written");
    let cache = CacheFolder { root: runs.path().to_owned(), limit: 1 << 30 };
    let context = Context { feature_cache: cache, ..context(&runs.path().join("runs")) };
    for result in [
        run_experiment(&experiment(&[]), &context).map(drop),
        encode_experiment(&experiment(&[]), &context, Shard::ALL, None).map(drop),
    ] {
        let error = result.expect_err("refused");
        assert!(matches!(error, RunError::Cache(_)), "{error}");
    }
    assert_eq!(fs::read_to_string(thesis).expect("there"), "years of work");
}
