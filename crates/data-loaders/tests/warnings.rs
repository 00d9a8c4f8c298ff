//! What is worth a warning.
//!
//! Alone in its program: `tracing` remembers for the whole process whether anybody listens to a place in
//! the code, and another test that gets there at the same moment may decide it.

#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, Mutex};

use data_loaders::{Catalog, DataSet, pair_predictions};
use image::{GrayImage, Luma, RgbImage};

/// One test at a time listens.
static LISTENER: Mutex<()> = Mutex::new(());

/// The fields of every warning while something is done, as text.
fn warnings(work: impl FnOnce()) -> Vec<String> {
    let _alone = LISTENER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let heard = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Listener(Arc::clone(&heard)), work);
    let heard = heard.lock().unwrap();
    heard.clone()
}

#[test]
fn gray_masks_are_worth_one_warning_per_data_set() {
    let root = tempfile::tempdir().unwrap();
    let (images, masks) = (root.path().join("images"), root.path().join("masks"));
    fs::create_dir(&images).unwrap();
    fs::create_dir(&masks).unwrap();
    for name in ["a.png", "b.png"] {
        RgbImage::new(6, 4).save(images.join(name)).unwrap();
        GrayImage::from_pixel(6, 4, Luma([200])).save(masks.join(name)).unwrap();
    }
    let set = DataSet::from_folders(&images, &masks).unwrap();
    let heard = warnings(|| {
        for _ in 0..3 {
            set.load(0).unwrap();
            set.limit(2).load(1).unwrap();
        }
    });
    assert_eq!(heard.len(), 1, "{heard:?}");
}

#[cfg(unix)]
#[test]
fn what_is_not_read_in_folders_is_worth_one_warning_that_names_it() {
    use std::os::unix::fs::symlink;

    let root = tempfile::tempdir().unwrap();
    let (images, masks) = (root.path().join("images"), root.path().join("images/masks"));
    fs::create_dir_all(&masks).unwrap();
    RgbImage::new(6, 4).save(images.join("a.png")).unwrap();
    GrayImage::new(6, 4).save(masks.join("a.png")).unwrap();
    let both = || {
        DataSet::from_folders(&images, &masks).unwrap();
        DataSet::from_folders(&images, &masks).unwrap();
    };
    fs::write(images.join(".hidden"), "").unwrap();
    assert_eq!(warnings(both), Vec::<String>::new(), "the folder of the masks is read");

    symlink("loop.png", images.join("loop.png")).unwrap();
    symlink("nowhere.png", images.join("dangling.png")).unwrap();
    fs::write(images.join("b.webp"), "").unwrap();
    fs::create_dir(masks.join("more")).unwrap();
    let heard = warnings(both);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("left_out=4"), "{heard:?}");
    for (name, reason) in [
        ("images/loop.png", "cannot be opened"),
        ("images/dangling.png", "cannot be opened"),
        ("images/b.webp", "its extension is not one of png"),
        ("images/masks/more", "folders in folders are not read"),
    ] {
        let named = heard[0].split_once(name).unwrap_or_else(|| panic!("{name}: {heard:?}")).1;
        assert!(named.contains(reason), "{name}: {heard:?}");
    }
}

#[test]
fn what_is_not_read_of_a_set_with_a_card_is_worth_one_warning() {
    let root = tempfile::tempdir().unwrap();
    let [images, masks] = ["images", "masks"].map(|name| root.path().join("cvc-300").join(name));
    for folder in [&images, &masks] {
        fs::create_dir_all(folder).unwrap();
        for number in 149..=208 {
            GrayImage::new(6, 4).save(folder.join(format!("{number}.png"))).unwrap();
        }
    }
    let catalog = Catalog::built_in();
    let open = || {
        for _ in 0..2 {
            DataSet::open("cvc-300", "test", Some(root.path()), &catalog).unwrap();
        }
    };
    // What comes along in an archive.
    fs::write(images.join("LICENSE.txt"), "").unwrap();
    assert_eq!(warnings(open), Vec::<String>::new());
    fs::write(images.join("209.webp"), "").unwrap();
    fs::create_dir(masks.join("more")).unwrap();
    let heard = warnings(open);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("left_out=2"), "{heard:?}");
    for (name, reason) in [
        ("cvc-300/images/209.webp", "its extension is not one of jpg"),
        ("cvc-300/masks/more", "folders in folders are not read"),
    ] {
        let named = heard[0].split_once(name).unwrap_or_else(|| panic!("{name}: {heard:?}")).1;
        assert!(named.contains(reason), "{name}: {heard:?}");
    }
}

#[test]
fn what_is_not_read_among_predictions_is_worth_one_warning() {
    let root = tempfile::tempdir().unwrap();
    let [predictions, truths] = ["predictions", "truths"].map(|name| root.path().join(name));
    for folder in [&predictions, &truths] {
        fs::create_dir(folder).unwrap();
        GrayImage::new(6, 4).save(folder.join("a.png")).unwrap();
    }
    fs::write(predictions.join("b.npy"), "").unwrap();
    let heard = warnings(|| {
        pair_predictions(&predictions, &truths).unwrap();
    });
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("left_out=1") && heard[0].contains("b.npy"), "{heard:?}");
}

/// Keeps the fields of warnings.
struct Listener(Arc<Mutex<Vec<String>>>);

/// The fields of one event, each as `name=value`.
struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
