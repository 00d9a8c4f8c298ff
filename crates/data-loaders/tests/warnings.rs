//! What is worth a warning.
//!
//! Alone in its program: `tracing` remembers for the whole process whether anybody listens to a place in
//! the code, and another test that gets there at the same moment may decide it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_loaders::DataSet;
use image::{GrayImage, Luma, RgbImage};

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
    let warnings = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Counter(Arc::clone(&warnings)), || {
        for _ in 0..3 {
            set.load(0).unwrap();
            set.limit(2).load(1).unwrap();
        }
    });
    assert_eq!(warnings.load(Ordering::Relaxed), 1);
}

/// Counts warnings.
struct Counter(Arc<AtomicUsize>);

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
