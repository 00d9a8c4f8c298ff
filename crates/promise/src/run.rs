//! One run: trained, evaluated, recorded. Which runs there are to do, and in which order, is the business of
//! [`campaign`](crate::campaign).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use burn::tensor::Device;
use data_loaders::{DataError, DataSet, augment::View};
use feature_cache::{CacheError, FeatureCache};
use run_record::{
    BackboneRecord, CaseRow, ClickRow, CurveRow, EvaluationTiming, FORMAT_VERSION, Failure, Panel,
    ParameterCounts, ResultRow, RunFolder, RunRecord, RunRecordError, SkippedCase, Timing,
};
use sam_backbone::{ResizeMode, UnknownVariantError};

pub(crate) use crate::sources::Sources;
use crate::{
    backbone::{Backbone, BackboneError},
    campaign::{Campaign, OnFailure},
    device::{DeviceError, DeviceKind},
    evaluate::{CasePrompts, EvaluateError, Evaluated, Evaluation, evaluate},
    feature_store::FeatureStore,
    features::{EncodeError, EncodedSet, Encoding},
    memory::{Demand, TooLittle, feature_bytes, gib},
    memory_limit::MemoryLimit,
    memory_need::MemoryNeed,
    model::{Adapter, BuildError},
    no_prompt::NO_PROMPT,
    person::{PromptFile, named, stem},
    plan::{CheckError, Experiment, RunPlan, SpecError},
    progress::{OneAtATime, Progress},
    prompt_source::PromptSource,
    registry::{self, UnknownPromptError},
    run_folder::{self, Existing, RunFolderError},
    simulated_user::{Simulated, Simulation, simulate},
    sources::open,
    train::{StepImages, TrainError, TrainingSet},
    viewed_set::ViewedSet,
};

/// What runs share: devices, folders, the one who waits.
#[derive(Clone)]
pub struct Context {
    /// Where tensors live.
    pub device: DeviceKind,
    /// Folder below which data sets are looked for.
    pub data_root: Option<PathBuf>,
    /// Folder of the run folders.
    pub runs: PathBuf,
    /// Where encoder features are kept, for experiments that want it.
    pub feature_cache: CacheFolder,
    /// Bytes that reading ahead and kept features may take together; nothing for as much as the experiment says.
    pub memory: Option<u64>,
    /// How to treat run folders that exist.
    pub existing: Existing,
    /// Who is told how far the work is.
    pub progress: Arc<dyn Progress>,
    /// Set to stop at the next safe place.
    pub stop: Arc<AtomicBool>,
}

/// The folder of a feature cache.
#[derive(Debug, Clone)]
pub struct CacheFolder {
    /// The folder; made if there is none.
    pub root: PathBuf,
    /// Bytes that it may grow to.
    pub limit: u64,
}

/// Why an experiment stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The experiment file cannot be run.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No such backbone.
    #[error(transparent)]
    Variant(#[from] UnknownVariantError),
    /// No such prompt module.
    #[error(transparent)]
    Prompt(#[from] UnknownPromptError),
    /// The backbone cannot be loaded.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A data set cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The feature cache cannot be used.
    #[error(
        "the feature cache cannot be used; `--cache FOLDER` names another, `data.feature_cache = \"off\"` does without"
    )]
    Cache(#[source] CacheError),
    /// A data set cannot be encoded.
    #[error(transparent)]
    Encode(EncodeError),
    /// The adapters cannot be built, loaded or saved.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Training failed.
    #[error("`{method}` could not be trained")]
    Train {
        /// The method.
        method: String,
        /// Why.
        source: TrainError,
    },
    /// Evaluation failed.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A person prompts images that are in none of the evaluated sets.
    #[error(
        "there are prompts for {}, which {} not have; one set is named by `--data`",
        named(unknown),
        match data.as_slice() {
            [one] => format!("`{one}` does"),
            several => format!("{} do", named(several)),
        }
    )]
    NoSuchCase {
        /// Names without a case.
        unknown: Vec<String>,
        /// The sets.
        data: Vec<String>,
    },
    /// The run folder cannot be used.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// A file of the run folder cannot be written.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// SAM changed during a run: a defect of this program. The run is not recorded.
    #[error(
        "the frozen SAM changed during `{method}` (hash {before}, then {after}); the run is void"
    )]
    Thawed {
        /// The method.
        method: String,
        /// Hash before.
        before: String,
        /// Hash after.
        after: String,
    },
    /// The weights of SAM are not those that the adapters of the run were trained beside.
    #[error(
        "the weights `{weights}` have SHA-256 {now}, but the run was made with {then}; \
         run it again with `--fresh`: {}",
        run.display()
    )]
    OtherWeights {
        /// SHA-256 now.
        now: String,
        /// SHA-256 in the record.
        then: String,
        /// Path or name of the weights.
        weights: String,
        /// The run folder.
        run: PathBuf,
    },
    /// What the experiment asks for does not fit its data or this machine.
    #[error("the experiment does not fit its data or this machine")]
    Misfit(#[source] CheckError),
    /// Several runs cannot begin, for several reasons.
    #[error("{failed} of {runs} runs cannot begin{}", reasons.iter().map(|reason| format!("\n    {reason}")).collect::<String>())]
    Several {
        /// Runs that cannot.
        failed: usize,
        /// All runs.
        runs: usize,
        /// Why, each reason once.
        reasons: Vec<String>,
    },
    /// The memory budget does not suffice.
    #[error(
        "at least {} are needed to read one image at a time, and the budget is {} (`--memory-gib`)",
        gib(*needed), gib(*budget)
    )]
    Memory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are allowed.
        budget: u64,
    },
    /// Images are both trained and tested on.
    #[error(
        "{count} of the {total} test images of `{data}` are training images too (by their bytes), first: {}; split the \
         sets anew, or allow it by name with `data.allow_overlap = [\"{data}\"]`, which tables mark",
        first.join(", ")
    )]
    Overlap {
        /// The tested data set.
        data: String,
        /// Images of it that are trained on.
        count: usize,
        /// All images of it.
        total: usize,
        /// The first few, each with the training image that it is.
        first: Vec<String>,
    },
    /// A prompt module is to be fitted to more images than are trained on.
    #[error(
        "`{module}` is to be fitted to {asked} images (`prompt.options`), but there are {cases} training images left in \
         `{data}` besides the {held_out} that are held out (`data.validation_fraction`)"
    )]
    TooFewToFit {
        /// The prompt module.
        module: String,
        /// Images that its options ask for.
        asked: usize,
        /// Training images.
        cases: usize,
        /// The data sets.
        data: String,
        /// Images of them that are held out.
        held_out: usize,
    },
    /// Two experiments would share their folder.
    #[error("two files name their experiment `{name}`, and would share a folder")]
    TwoExperiments {
        /// The name.
        name: String,
    },
    /// The run needs more memory than there is. Nothing was begun.
    #[error(
        "`{method}` needs at least {} of memory ({need}), but {limit}; lower data.feature_memory_gib (the feature cache on the \
         disk keeps what is beyond it) or train.batch_size, or choose a smaller backbone", gib(need.bytes())
    )]
    BeyondMachine {
        /// The method.
        method: String,
        /// What it needs.
        need: MemoryNeed,
        /// What it may have.
        limit: MemoryLimit,
    },
    /// A defect of this program, or of a library, ended the run.
    #[error("`{method}` panicked: {message}")]
    Panicked {
        /// The method.
        method: String,
        /// What was said.
        message: String,
    },
    /// The experiment has no such run.
    #[error("the experiment has no run `{run}`")]
    UnknownRun {
        /// The name of its folder.
        run: String,
    },
    /// The run failed in a process of its own.
    #[error("{failure}")]
    Worker {
        /// What it said.
        failure: Failure,
    },
    /// The process of a run cannot be started, or what it says is not understood.
    #[error("cannot run in a process of its own")]
    Process(#[source] std::io::Error),
    /// What a run depends on is not what it was when it was handed over to a cluster.
    #[error(
        "{changed} is not what it was when the run was handed over: expected {expected}, found {found}; `ablate --launcher slurm --retry failed` hands it over with that of now"
    )]
    InputsChanged {
        /// The weights, or a data set.
        changed: String,
        /// SHA-256 then.
        expected: String,
        /// SHA-256 now.
        found: String,
    },
    /// It is not known which weights and data a run was handed over with.
    #[error(
        "cannot tell which weights and data {run} was handed over with ({reason}), so it is not known whether they are the same; \
         `ablate --launcher slurm --retry failed` hands it over with those of now"
    )]
    InputsUnreadable {
        /// The run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// Runs cannot be handed over to a cluster, or it does not answer.
    #[error(transparent)]
    Cluster(#[from] launcher::submission::SubmissionError),
    /// The user asked to stop. What is kept is for the command to say: of an evaluation nothing is.
    #[error("interrupted")]
    Interrupted,
}

impl From<EncodeError> for RunError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Interrupted => Self::Interrupted,
            error => Self::Encode(error),
        }
    }
}

/// A finished run: its folder and record, and whether it had been done before.
#[derive(Debug)]
pub struct FinishedRun {
    /// The folder.
    pub folder: RunFolder,
    /// What is in it.
    pub record: RunRecord,
    /// Whether it was found finished.
    pub found: bool,
}

/// Runs every plan of an experiment, in order, up to the first failure.
///
/// Everything that the file, the data folders, the weights and run folders that exist can be wrong
/// about is found out for all plans before the first folder is made. Encoded data are shared between
/// runs.
///
/// # Errors
///
/// The first failure; finished runs stay finished.
pub fn run_experiment(
    experiment: &Experiment,
    context: &Context,
) -> Result<Vec<FinishedRun>, RunError> {
    let experiments = std::slice::from_ref(experiment);
    let watch = OneAtATime(context.progress.clone());
    let runs = Campaign::open(experiments, context)?.run(OnFailure::Stop, &watch)?;
    runs.into_iter().map(|run| run.result).collect()
}

/// What runs of one experiment have in common and need not compute again.
#[derive(Default)]
pub(crate) struct Shared {
    backbone: Option<(String, Backbone)>,
    store: Option<Arc<FeatureStore>>,
    sets: Vec<(ResizeMode, Arc<EncodedSet>)>,
    /// Bytes that the features of `sets` may take.
    features: u64,
}

/// A run that is about to be executed.
pub(crate) struct Execution<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    pub plan: &'a RunPlan,
    pub sources: &'a Sources,
    /// Its folder, prepared.
    pub folder: &'a RunFolder,
    /// Blocks to encode with: the plan's own and those that later runs want.
    pub taps: Vec<usize>,
    /// Pixels of the largest image, where it is of interest.
    pub largest_image: u64,
}

/// Trains and evaluates a plan, and writes the result into its folder.
pub(crate) fn execute(
    run: Execution<'_>,
    context: &Context,
    device: &Device,
    shared: &mut Shared,
) -> Result<RunRecord, RunError> {
    let Execution { experiment, plan, sources, folder, taps, largest_image } = run;
    let spec = &plan.spec;
    let entry = registry::find(&spec.prompt.module)?;
    let backbone = shared.backbone(plan, device)?;
    let before = backbone.sam.hash();
    let has_module = entry.name != NO_PROMPT;

    shared.keep_only(sources);
    let batch = if plan.trains() { spec.train.batch_size } else { 0 };
    let encoding = shared.encoding(plan, &backbone, taps, batch, largest_image, context)?;
    let mut skipped = Vec::new();
    let mut encode = |data: &DataSet, view: View| {
        let encoding = Encoding { view, ..encoding.clone() };
        shared.encode(data, plan, &encoding, context)
    };

    let mut timing = Timing { evaluations: Vec::new(), fit_secs: None };
    let examples = match plan.fitted_to() {
        Some(images) => Some(encode(&sources.examples(plan, images)?, View::IDENTITY)?),
        None => None,
    };
    skipped.extend(examples.iter().flat_map(|set| set.skipped.iter().cloned()));
    let steps = if plan.trains() {
        let views = match spec.train.augmentation {
            None => View::first(spec.train.views)
                .into_iter()
                .map(|view| encode(&sources.train, view))
                .collect::<Result<Vec<_>, _>>()?,
            // Every epoch encodes its own.
            Some(_) => vec![Arc::new(EncodedSet::new(
                Encoding { store: None, ..encoding.clone() },
                sources.train.clone(),
                spec.data.strict,
                None,
                context.progress.as_ref(),
                &context.stop,
            )?)],
        };
        let valid = encode(&sources.valid, View::IDENTITY)?;
        skipped.extend(views.iter().chain([&valid]).flat_map(|set| set.skipped.iter().cloned()));
        let train = Arc::new(ViewedSet::new(views)?);
        Some(StepImages { train, valid: Arc::new(ViewedSet::of(valid)) })
    } else {
        None
    };
    let (mut fit, mut training) = (None, None);
    let adapter: Box<dyn Adapter> = if plan.learns() {
        let set = TrainingSet {
            steps,
            examples,
            folder,
            device,
            progress: context.progress.clone(),
            stop: context.stop.clone(),
        };
        let trained = (entry.train)(plan, &backbone, &set).map_err(|source| match source {
            TrainError::Interrupted { .. } => RunError::Interrupted,
            source => RunError::Train { method: plan.method.clone(), source },
        })?;
        trained.adapter.save(&folder.adapters())?;
        training = trained.summary;
        timing.fit_secs = trained.fit.as_ref().map(|fit| fit.secs);
        fit = trained.fit.map(|fit| fit.summary);
        trained.adapter
    } else {
        (entry.build)(plan, &backbone, device)?
    };

    let mut cases: Vec<CaseRow> = Vec::new();
    let mut curves: Vec<CurveRow> = Vec::new();
    let mut rows: Vec<ResultRow> = Vec::new();
    let mut panels: Vec<Panel> = Vec::new();
    for data in &sources.test {
        let set = encode(data, View::IDENTITY)?;
        skipped.extend(set.skipped.iter().cloned());
        for &source in &spec.evaluate.prompts {
            if source == PromptSource::Auto && !has_module {
                continue;
            }
            let predictions = spec
                .evaluate
                .save_predictions
                .then(|| folder.predictions(data.name(), &source.to_string()));
            let evaluation = Evaluation {
                experiment,
                method: &plan.method,
                seed: plan.seed,
                prompts: source.into(),
                protocol: spec.evaluate.protocol.0,
                n_points: spec.evaluate.points,
                panels: spec.evaluate.panels,
                predictions: predictions.as_deref(),
            };
            let evaluated = score(&evaluation, adapter.as_ref(), &backbone, &set, context)?;
            timing.evaluations.push(EvaluationTiming {
                data: evaluated.row.data.clone(),
                split: evaluated.row.split.clone(),
                prompts: evaluated.row.prompts.clone(),
                cases: evaluated.cases.len(),
                case_secs: evaluated.case_secs,
                prompt_secs: evaluated.prompt_secs,
            });
            panels.extend(run_folder::write_pictures(folder, &set, &evaluated)?);
            cases.extend(evaluated.cases);
            curves.extend(evaluated.curves);
            rows.push(evaluated.row);
        }
    }

    let after = unchanged(&plan.method, before.clone(), &backbone)?;
    let parameters = adapter.parameters();
    let record = RunRecord {
        format_version: FORMAT_VERSION,
        experiment: experiment.to_owned(),
        method: plan.method.clone(),
        seed: plan.seed,
        experiment_sha256: plan.sha256(),
        backbone: BackboneRecord {
            variant: backbone.variant.to_string(),
            weights_source: backbone.weights_source.clone(),
            weights_sha256: backbone.report.sha256.clone(),
        },
        parameters: ParameterCounts {
            trainable: parameters.prompt + parameters.shift,
            prompt: parameters.prompt,
            shift: parameters.shift,
            frozen: backbone.sam.num_params(),
        },
        frozen_hash_before: before,
        frozen_hash_after: after,
        training,
        fit,
        skipped: distinct(skipped),
        rows,
        files: BTreeMap::new(),
    };
    let record = run_folder::write_result(folder, record, &cases, &curves, &panels, &timing)?;
    run_folder::remove_checkpoints(folder);
    Ok(record)
}

/// Scores a set; a wish to stop is an interruption of the run.
fn score(
    evaluation: &Evaluation<'_>,
    adapter: &dyn Adapter,
    backbone: &Backbone,
    set: &EncodedSet,
    context: &Context,
) -> Result<Evaluated, RunError> {
    let (progress, stop) = (context.progress.as_ref(), &context.stop);
    evaluate(evaluation, adapter, &backbone.sam, set, progress, stop).map_err(|error| match error {
        EvaluateError::Interrupted => RunError::Interrupted,
        error => error.into(),
    })
}

/// The hash of SAM, if it is still `before`.
fn unchanged(method: &str, before: String, backbone: &Backbone) -> Result<String, RunError> {
    let after = backbone.sam.hash();
    if before == after {
        Ok(after)
    } else {
        Err(RunError::Thawed { method: method.to_owned(), before, after })
    }
}

/// A case can be skipped in several evaluations; it is listed once.
fn distinct(skipped: Vec<SkippedCase>) -> Vec<SkippedCase> {
    let mut distinct: Vec<SkippedCase> = Vec::new();
    for case in skipped {
        if !distinct.contains(&case) {
            distinct.push(case);
        }
    }
    distinct
}

impl Shared {
    pub fn backbone(&mut self, plan: &RunPlan, device: &Device) -> Result<Backbone, RunError> {
        let spec = &plan.spec.backbone;
        let key = format!("{} {:?} {:?}", spec.variant, spec.weights, spec.precision);
        if let Some((_, backbone)) = self.backbone.as_ref().filter(|(known, _)| *known == key) {
            return Ok(backbone.clone());
        }
        let backbone = Backbone::of(spec, device)?;
        // Features of another backbone are of no use any more.
        self.sets.clear();
        self.store = None;
        self.backbone = Some((key, backbone.clone()));
        Ok(backbone)
    }

    /// How the images of a plan are encoded.
    fn encoding(
        &mut self,
        plan: &RunPlan,
        backbone: &Backbone,
        taps: Vec<usize>,
        batch: usize,
        largest_image: u64,
        context: &Context,
    ) -> Result<Encoding, RunError> {
        let per_image = feature_bytes(backbone.sam.config(), &taps);
        let wanted = plan.spec.data.feature_memory();
        let demand = Demand { batch, per_image, largest_image };
        let (reading, features) =
            demand.share(context.memory, wanted).map_err(|TooLittle { needed }| {
                RunError::Memory { needed, budget: context.memory.unwrap_or_default() }
            })?;
        tracing::debug!("{reading:?}, {} for features", gib(features));
        self.features = features;
        if self.sets.iter().map(|(_, set)| set.bytes()).sum::<u64>() > features {
            // A former run with smaller batches had more room.
            self.sets.clear();
        }
        let precision = plan.spec.data.feature_cache.precision();
        if self.store.as_ref().map(|store| store.precision()) != precision {
            self.store = match precision {
                None => None,
                Some(precision) => {
                    let CacheFolder { root, limit } = &context.feature_cache;
                    let cache = FeatureCache::open(root, *limit).map_err(RunError::Cache)?;
                    let encoder = format!("{} {}", backbone.variant, context.device.name());
                    Some(Arc::new(FeatureStore::new(cache, precision, &backbone.sam, &encoder)))
                }
            };
        }
        Ok(Encoding {
            sam: backbone.sam.clone(),
            taps,
            resize: plan.spec.backbone.resize,
            view: View::IDENTITY,
            store: self.store.clone(),
            reading,
        })
    }

    /// Forgets the sets that a run with these sources does not use.
    fn keep_only(&mut self, sources: &Sources) {
        self.sets.retain(|(_, set)| {
            let data = set.data();
            *data == sources.train || *data == sources.valid || sources.test.contains(data)
        });
    }

    /// The encoded set, computed unless it is there with all the blocks that are wanted.
    fn encode(
        &mut self,
        data: &DataSet,
        plan: &RunPlan,
        encoding: &Encoding,
        context: &Context,
    ) -> Result<Arc<EncodedSet>, RunError> {
        let spec = &plan.spec.data;
        let fits = |(resize, set): &&(ResizeMode, Arc<EncodedSet>)| {
            *resize == encoding.resize
                && set.data() == data
                && set.view() == encoding.view
                && set.precision() == encoding.precision()
                && encoding.taps.iter().all(|tap| set.has_tap(*tap))
                && (set.skipped.is_empty() || !spec.strict)
        };
        if let Some((_, set)) = self.sets.iter().find(fits) {
            return Ok(set.clone());
        }
        self.sets.retain(|(_, set)| set.data() != data || set.view() != encoding.view);
        let budget = self.features;
        let used: u64 = self.sets.iter().map(|(_, set)| set.bytes()).sum();
        let set = EncodedSet::new(
            encoding.clone(),
            data.clone(),
            spec.strict,
            Some(budget.saturating_sub(used)),
            context.progress.as_ref(),
            &context.stop,
        )?;
        let set = Arc::new(set);
        self.sets.push((encoding.resize, set.clone()));
        Ok(set)
    }
}

/// A finished run with its test sets, ready to be evaluated again.
struct Reopened {
    record: RunRecord,
    plan: RunPlan,
    backbone: Backbone,
    adapter: Box<dyn Adapter>,
    /// Hash of SAM before anything was done.
    before: String,
    sets: Vec<Arc<EncodedSet>>,
}

impl Reopened {
    /// The test sets of the run keep its `test_limit`; a set named by `data` is used as a whole.
    ///
    /// - `check`: whether what is asked fits the plan and its prompt module, which proposes or does not; before any image
    ///   is encoded
    fn new(
        folder: &RunFolder,
        data: Option<&str>,
        context: &Context,
        check: impl FnOnce(&RunPlan, bool) -> Result<(), EvaluateError>,
    ) -> Result<Self, RunError> {
        let device = context.device.device()?;
        let record = folder.read_record()?;
        let (plan, backbone, adapter) = load_run(folder, &device)?;
        check(&plan, registry::find(&plan.spec.prompt.module)?.proposes)?;
        let before = backbone.sam.hash();
        let root = context.data_root.as_deref();
        let sets = match data {
            Some(name) => vec![open(&plan, name, &plan.spec.data.test_split, root)?],
            None => Sources::open_test(&plan, context)?,
        };
        let mut shared = Shared::default();
        let largest =
            sets.iter().filter(|_| context.memory.is_some()).map(DataSet::largest_image).max();
        let (taps, largest) = (adapter.taps(), largest.unwrap_or(0));
        let encoding = shared.encoding(&plan, &backbone, taps, 0, largest, context)?;
        let sets = sets
            .iter()
            .map(|data| shared.encode(data, &plan, &encoding, context))
            .collect::<Result<_, _>>()?;
        Ok(Self { record, plan, backbone, adapter, before, sets })
    }
}

/// Evaluates a finished run again, on other data or with other prompts. Nothing is written.
///
/// The test sets of the run keep its `test_limit`; a set named by `data` is used as a whole. Of a set, only the cases
/// that a file of prompts names are scored with it.
///
/// # Errors
///
/// See [`RunError`]; [`RunError::NoSuchCase`] if a file of prompts names an image that no set has.
pub fn evaluate_run(
    folder: &RunFolder,
    data: Option<&str>,
    prompts: &[CasePrompts<'_>],
    protocol: Option<metrics::Protocol>,
    context: &Context,
) -> Result<RunRecord, RunError> {
    let check = |plan: &RunPlan, proposes| {
        prompts.iter().try_for_each(|prompts| prompts.check(&plan.method, proposes))
    };
    let Reopened { mut record, plan, backbone, adapter, before, sets } =
        Reopened::new(folder, data, context, check)?;
    let spec = &plan.spec;
    let own: Vec<CasePrompts<'_>> = spec.evaluate.prompts.iter().map(|&own| own.into()).collect();
    let prompts = if prompts.is_empty() { &own } else { prompts };
    for prompts in prompts {
        if let CasePrompts::Person { file, .. } = prompts {
            check_names(file, &sets)?;
        }
    }
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    for set in &sets {
        skipped.extend(set.skipped.iter().cloned());
        for &prompts in prompts {
            let evaluation = Evaluation {
                experiment: &record.experiment,
                method: &plan.method,
                seed: plan.seed,
                prompts,
                protocol: protocol.unwrap_or(spec.evaluate.protocol.0),
                n_points: spec.evaluate.points,
                panels: 0,
                predictions: None,
            };
            let evaluated = score(&evaluation, adapter.as_ref(), &backbone, set, context)?;
            // A person may have looked at another set only.
            if !evaluated.cases.is_empty() {
                rows.push(evaluated.row);
            }
        }
    }
    record.frozen_hash_after = unchanged(&plan.method, before.clone(), &backbone)?;
    record.frozen_hash_before = before;
    record.rows = rows;
    record.skipped = skipped;
    Ok(record)
}

/// Refuses prompts for images that no set has: most likely a mistyped name, and left out they would be missed by nobody.
fn check_names(file: &PromptFile, sets: &[Arc<EncodedSet>]) -> Result<(), RunError> {
    let cases: BTreeSet<&str> =
        sets.iter().flat_map(|set| &set.cases).map(|case| stem(&case.id)).collect();
    let has = |name: &String| cases.contains(stem(name));
    let unknown: Vec<String> = file.images.keys().filter(|name| !has(name)).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let data = sets.iter().map(|set| set.data().name().to_owned()).collect();
    Err(RunError::NoSuchCase { unknown, data })
}

/// Lets a simulated user click through the test sets of a finished run, or another one. The rows are not written;
/// [`simulated_user::keep`](crate::simulated_user::keep) does that.
///
/// # Errors
///
/// See [`RunError`].
pub fn simulate_run(
    folder: &RunFolder,
    data: Option<&str>,
    protocol: Option<metrics::Protocol>,
    simulation: Simulation,
    context: &Context,
) -> Result<Vec<ClickRow>, RunError> {
    let check = |plan: &RunPlan, proposes| simulation.check(&plan.method, proposes);
    let Reopened { record, plan, backbone, adapter, before, sets } =
        Reopened::new(folder, data, context, check)?;
    let mut rows = Vec::new();
    for set in &sets {
        let simulated = Simulated {
            experiment: &record.experiment,
            method: &plan.method,
            seed: plan.seed,
            protocol: protocol.unwrap_or(plan.spec.evaluate.protocol.0),
            simulation,
        };
        let (progress, stop) = (context.progress.as_ref(), &context.stop);
        let adapter = adapter.as_ref();
        let of_set = simulate(&simulated, adapter, &backbone.sam, set, progress, stop);
        rows.extend(of_set.map_err(|error| match error {
            EvaluateError::Interrupted => RunError::Interrupted,
            error => error.into(),
        })?);
    }
    unchanged(&plan.method, before, &backbone)?;
    Ok(rows)
}

/// Builds the model of a finished run.
///
/// # Errors
///
/// See [`RunError`]: a run that did not finish, adapters that are not there, or weights of SAM other
/// than those that the adapters were trained beside.
pub fn load_run(
    folder: &RunFolder,
    device: &Device,
) -> Result<(RunPlan, Backbone, Box<dyn Adapter>), RunError> {
    load_run_beside(folder, device, &[])
}

/// The same where some backbones are in memory already: one with the weights that the run was made with is shared instead
/// of loaded once more.
///
/// # Errors
///
/// Those of [`load_run`].
pub fn load_run_beside(
    folder: &RunFolder,
    device: &Device,
    known: &[Backbone],
) -> Result<(RunPlan, Backbone, Box<dyn Adapter>), RunError> {
    let record = folder.read_record()?;
    let plan = run_folder::read_plan(folder)?;
    let spec = &plan.spec.backbone;
    let variant = spec.variant.parse()?;
    let same = |one: &&Backbone| {
        one.variant == variant
            && one.sam.encoder_precision() == spec.precision
            && one.report.sha256 == record.backbone.weights_sha256
    };
    let backbone = match known.iter().find(same) {
        Some(known) => known.clone(),
        None => Backbone::of(spec, device)?,
    };
    if backbone.report.sha256 != record.backbone.weights_sha256 {
        return Err(RunError::OtherWeights {
            now: backbone.report.sha256,
            then: record.backbone.weights_sha256,
            weights: backbone.weights_source,
            run: folder.root().to_owned(),
        });
    }
    let entry = registry::find(&plan.spec.prompt.module)?;
    let mut adapter = (entry.build)(&plan, &backbone, device)?;
    if record.training.is_some() || record.fit.is_some() {
        folder.check_adapters(&record)?;
        adapter.load(&folder.adapters())?;
    }
    Ok((plan, backbone, adapter))
}
