//! What the runs of a campaign need, before the first one begins.

use data_loaders::DataSet;
use feature_cache::Precision;

use crate::{
    campaign::Campaign,
    memory::{Demand, feature_bytes},
};

/// What runs that are to do need at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Needs {
    /// Images that go through the encoder, views counted by themselves.
    pub images: usize,
    /// Bytes of their features on the disk, if nothing of them is there.
    pub stored_bytes: u64,
    /// Bytes of the largest model's parameters.
    pub model_bytes: u64,
    /// Bytes of the features of the batches that are in memory at a time.
    pub batch_bytes: u64,
    /// Bytes of features that are kept in memory, in the run that keeps most.
    pub kept_bytes: u64,
}

impl Needs {
    /// Bytes of memory that a run cannot do without: features need not be kept.
    pub fn memory(&self) -> u64 {
        self.model_bytes + self.batch_bytes
    }
}

impl Campaign<'_> {
    /// What the runs need that are to do. Those that cannot be run count nothing.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        let mut seen: Vec<(String, DataSet)> = Vec::new();
        for (place, job) in self.jobs.iter().enumerate() {
            let Some(ready) = job.ready().filter(|_| job.planned.is_to_do()) else { continue };
            let (spec, sources) = (&job.plan.spec, &ready.sources);
            let per_image = feature_bytes(&ready.sam, &self.all_taps(place));
            let (train, views) = match (job.plan.trains(), &spec.train.augmentation) {
                (true, None) => (Some(&sources.train), spec.train.views),
                _ => (None, 0),
            };
            let valid = job.plan.trains().then_some(&sources.valid);
            let others = valid.into_iter().chain(&sources.test).map(|set| (set, 1));
            let sets = train.into_iter().map(|set| (set, views)).chain(others);
            let precision = spec.data.feature_cache.precision();
            let encoding = format!(
                "{} {:?} {:?} {} {precision:?}",
                spec.backbone.variant,
                spec.backbone.weights,
                spec.backbone.precision,
                spec.backbone.resize
            );
            let mut kept = 0_u64;
            for (set, views) in sets {
                let images = views * set.len();
                kept += images as u64 * per_image;
                let known = |(other, data): &(String, DataSet)| *other == encoding && data == set;
                if seen.iter().any(known) {
                    continue;
                }
                seen.push((encoding.clone(), set.clone()));
                needs.images += images;
                // In memory a number takes four bytes.
                let stored = match precision {
                    None => 0,
                    Some(Precision::F32) => per_image,
                    Some(Precision::F16) => per_image / 2,
                    Some(Precision::Int8) => per_image / 4,
                };
                needs.stored_bytes += images as u64 * stored;
            }
            let most = (spec.data.feature_memory_gib * f64::from(1 << 30)) as u64;
            let batch = if job.plan.trains() { spec.train.batch_size } else { 1 };
            let demand =
                Demand { batch: batch.min(sources.train.len()), per_image, largest_image: 0 };
            needs.kept_bytes = needs.kept_bytes.max(kept.min(most));
            needs.batch_bytes = needs.batch_bytes.max(demand.batches());
            needs.model_bytes = needs.model_bytes.max(4 * ready.parameters as u64);
        }
        needs
    }
}
