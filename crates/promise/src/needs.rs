//! What the runs of a campaign need, before the first one begins.

use data_loaders::DataSet;
use feature_cache::Precision;

use crate::{campaign::Campaign, memory::feature_bytes, memory_need::MemoryNeed};

/// What runs that are to do need at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Images that go through the encoder, views counted by themselves.
    pub images: usize,
    /// Bytes of their features on the disk, if nothing of them is there.
    pub stored_bytes: u64,
    /// Memory of the run that needs most; nothing if none is to do.
    pub memory: Option<MemoryNeed>,
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
            for (set, views) in sets {
                let images = views * set.len();
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
            let more = |most: MemoryNeed| ready.memory.bytes() > most.bytes();
            if needs.memory.is_none_or(more) {
                needs.memory = Some(ready.memory);
            }
        }
        needs
    }
}
