//! Fills the feature cache for an experiment, before or without training.

use std::sync::{Arc, atomic::Ordering};

use data_loaders::{DataSet, augment::View};
use feature_cache::{FeatureCache, Precision};
use sam_backbone::ResizeMode;
use serde::Serialize;

pub use crate::features::Shard;
use crate::{
    feature_store::{Computing, FeatureStore, StoreUse},
    features::{Encoding, Filled, fill_store},
    memory::{Demand, Reading, TooLittle},
    plan::{Experiment, RunPlan},
    registry,
    run::{Context, RunError, Shared, Sources},
};

/// What was done for one data set.
#[derive(Debug, Clone, Serialize)]
pub struct EncodedData {
    /// Name of the data set.
    pub data: String,
    /// Its split.
    pub split: String,
    /// Which view of its images.
    pub view: String,
    /// Images whose features are in the cache now.
    pub images: usize,
    /// Images that cannot be read, with the reason.
    pub skipped: Vec<run_record::SkippedCase>,
    /// How the cache was used.
    #[serde(flatten)]
    pub usage: StoreUse,
}

/// Encodes every image that an experiment trains (unless it augments them), validates and tests on, once per backbone,
/// way of preparing and precision, with all blocks that any of its methods reads.
///
/// Safe to kill at any moment and to run in several processes at once. Processes with the shards of one number share the
/// images out among them without asking each other.
///
/// # Errors
///
/// See [`RunError`]. Unlike in a run, a cache that cannot be written is an error.
pub fn encode_experiment(
    experiment: &Experiment,
    context: &Context,
    shard: Shard,
    computing: Option<Computing>,
) -> Result<Vec<EncodedData>, RunError> {
    let device = context.device.device()?;
    let cache = FeatureCache::open(&context.feature_cache.root, context.feature_cache.limit)
        .map_err(RunError::Cache)?;
    let mut shared = Shared::default();
    let mut passes: Vec<Pass> = Vec::new();
    for plan in &experiment.runs {
        let Some(precision) = plan.spec.data.feature_cache.precision() else {
            tracing::info!("{}: data.feature_cache is \"off\"", plan.method);
            continue;
        };
        let backbone = shared.backbone(plan, &device)?;
        let taps = (registry::find(&plan.spec.prompt.module)?.taps)(plan, &backbone.info())?;
        let sources = Sources::open(plan, context)?;
        let trains = plan.trains();
        // Augmented images are never seen twice.
        let stored = trains && plan.spec.train.augmentation.is_none();
        if trains && !stored {
            tracing::info!("{}: training images are augmented and not stored", plan.method);
        }
        let views = if stored { plan.spec.train.views } else { 0 };
        for view in View::first(views) {
            Pass::add(&mut passes, plan, precision, view, sources.train.clone(), &taps);
        }
        if let (Some(images), 0) = (plan.fitted_to(), views) {
            let data = sources.examples(plan, images)?;
            Pass::add(&mut passes, plan, precision, View::IDENTITY, data, &taps);
        }
        for data in [sources.valid].into_iter().filter(|_| trains).chain(sources.test) {
            Pass::add(&mut passes, plan, precision, View::IDENTITY, data, &taps);
        }
    }
    let mut report = Vec::with_capacity(passes.len());
    for pass in passes {
        let backbone = shared.backbone(pass.plan, &device)?;
        let encoder = format!("{} {}", backbone.variant, context.device.name());
        let mut store =
            FeatureStore::new(cache.clone(), pass.precision, &backbone.sam, &encoder).must_store();
        if let Some(computing) = &computing {
            store = store.telling(computing.clone());
        }
        let store = Arc::new(store);
        let encoding = Encoding {
            sam: backbone.sam.clone(),
            taps: pass.taps,
            resize: pass.resize,
            view: pass.view,
            store: Some(store.clone()),
            reading: reading(&pass.data, context)?,
        };
        let (name, split) = (pass.data.name().to_owned(), pass.data.split().to_owned());
        let strict = pass.plan.spec.data.strict;
        let (progress, stop) = (context.progress.as_ref(), &context.stop);
        let Filled { images, skipped } =
            fill_store(&encoding, &pass.data, shard, strict, progress, stop)?;
        report.push(EncodedData {
            data: name,
            split,
            view: pass.view.id(),
            images,
            skipped,
            usage: store.usage(),
        });
        if context.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
    }
    Ok(report)
}

/// How far ahead images are decoded for the encoder.
fn reading(data: &DataSet, context: &Context) -> Result<Reading, RunError> {
    // Nothing is kept in memory, and of nothing there are batches.
    let largest_image = context.memory.map_or(0, |_| data.largest_image());
    let demand = Demand { batch: 0, per_image: 0, largest_image };
    match demand.share(context.memory, 0) {
        Ok((reading, _)) => Ok(reading),
        Err(TooLittle { needed }) => {
            Err(RunError::Memory { needed, budget: context.memory.unwrap_or_default() })
        }
    }
}

/// One walk over a data set.
struct Pass<'a> {
    /// A plan with the backbone.
    plan: &'a RunPlan,
    precision: Precision,
    resize: ResizeMode,
    view: View,
    data: DataSet,
    taps: Vec<usize>,
}

impl<'a> Pass<'a> {
    /// Adds what a plan needs of a data set to the pass over it, or a new pass.
    fn add(
        passes: &mut Vec<Self>,
        plan: &'a RunPlan,
        precision: Precision,
        view: View,
        data: DataSet,
        taps: &[usize],
    ) {
        let resize = plan.spec.backbone.resize;
        let same = passes.iter_mut().find(|pass| {
            pass.plan.spec.backbone.is_same_encoder(&plan.spec.backbone)
                && (pass.precision, pass.resize, pass.view) == (precision, resize, view)
                && pass.data == data
        });
        match same {
            Some(pass) => {
                pass.taps.extend(taps);
                pass.taps.sort_unstable();
                pass.taps.dedup();
            }
            None => passes.push(Self { plan, precision, resize, view, data, taps: taps.to_vec() }),
        }
    }
}
