//! Runs experiments: every plan into its folder, trained, evaluated, recorded.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::tensor::Device;
use data_loaders::{Catalog, DataError, DataSet};
use run_record::{
    BackboneRecord, CaseRow, FORMAT_VERSION, Panel, ParameterCounts, ResultRow, RunFolder,
    RunRecord, RunRecordError, SkippedCase, TrainingSummary, write_json, write_rows,
};
use sam_backbone::{UnknownVariantError, Variant};

use crate::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    evaluate::{EvaluateError, Evaluation, evaluate},
    features::{EncodeError, EncodedSet, Encoding},
    model::{Adapter, BuildError},
    plan::{Experiment, RunPlan, SpecError},
    progress::Progress,
    prompt_source::PromptSource,
    registry::{self, UnknownPromptError},
    run_folder::{self, Existing, Prepared, RunFolderError},
    spec::{ShiftModule, SourceSpec},
    train::{TrainError, TrainingSet, remove_checkpoints},
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
    /// How to treat run folders that exist.
    pub existing: Existing,
    /// Who is told how far the work is.
    pub progress: Arc<dyn Progress>,
    /// Set to stop at the next safe place.
    pub stop: Arc<AtomicBool>,
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
    /// A data set cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
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
    /// The user asked to stop.
    #[error("interrupted; the same command goes on from there")]
    Interrupted,
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

/// Runs every plan of an experiment, in order. Encoded data are shared between runs that need the
/// same features.
///
/// # Errors
///
/// The first failure; finished runs stay finished.
pub fn run_experiment(
    experiment: &Experiment,
    context: &Context,
) -> Result<Vec<FinishedRun>, RunError> {
    let device = context.device.device()?;
    let mut shared = Shared::default();
    let mut finished = Vec::with_capacity(experiment.runs.len());
    for plan in &experiment.runs {
        if context.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        let prepared =
            run_folder::prepare(&context.runs, experiment, plan, context.device, context.existing)?;
        match prepared {
            Prepared::Done(folder, record) => {
                tracing::info!("{} is done already", folder.root().display());
                finished.push(FinishedRun { folder, record: *record, found: true });
            }
            Prepared::ToDo(folder) => {
                let record = execute(experiment, plan, &folder, context, &device, &mut shared)?;
                finished.push(FinishedRun { folder, record, found: false });
            }
        }
    }
    Ok(finished)
}

/// What runs of one experiment have in common and need not compute again.
#[derive(Default)]
struct Shared {
    backbone: Option<(String, Backbone)>,
    sets: Vec<(SetKey, Arc<EncodedSet>)>,
}

/// Two plans with the same key need the same features of the same cases.
#[derive(Debug, Clone, PartialEq)]
struct SetKey {
    role: Role,
    data: String,
    settings: String,
    taps: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Valid,
    Test,
}

fn execute(
    experiment: &Experiment,
    plan: &RunPlan,
    folder: &RunFolder,
    context: &Context,
    device: &Device,
    shared: &mut Shared,
) -> Result<RunRecord, RunError> {
    let spec = &plan.spec;
    let entry = registry::find(&spec.prompt.module)?;
    let backbone = shared.backbone(plan, device)?;
    let before = backbone.sam.hash();
    let taps = (entry.taps)(plan, &backbone.info())?;
    let trains =
        entry.name != crate::no_prompt::NO_PROMPT || spec.shift.module != ShiftModule::None;

    // Which data there are is found out before the first hour of work, not after it.
    let sources = Sources::open(plan, context)?;
    let mut memory = (spec.data.feature_memory_gib * f64::from(1 << 30)) as u64;
    let mut skipped = Vec::new();
    let mut encode = |shared: &mut Shared, role, data: &DataSet| {
        shared.encode(role, data, plan, &backbone, &taps, &mut memory, context)
    };

    let (adapter, training): (Box<dyn Adapter>, Option<TrainingSummary>) = if trains {
        let train = encode(shared, Role::Train, &sources.train)?;
        let valid = encode(shared, Role::Valid, &sources.valid)?;
        skipped.extend(train.skipped.iter().chain(&valid.skipped).cloned());
        let set = TrainingSet {
            train,
            valid,
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
        (trained.adapter, Some(trained.summary))
    } else {
        ((entry.build)(plan, &backbone, device)?, None)
    };

    let mut cases: Vec<CaseRow> = Vec::new();
    let mut rows: Vec<ResultRow> = Vec::new();
    let mut panels: Vec<Panel> = Vec::new();
    for data in &sources.test {
        let set = encode(shared, Role::Test, data)?;
        skipped.extend(set.skipped.iter().cloned());
        for &source in &spec.evaluate.prompts {
            if source == PromptSource::Auto && entry.name == crate::no_prompt::NO_PROMPT {
                continue;
            }
            let evaluation = Evaluation {
                experiment: &experiment.name,
                method: &plan.method,
                seed: plan.seed,
                source,
                protocol: spec.evaluate.protocol.0,
                n_points: spec.evaluate.points,
                panels: spec.evaluate.panels,
            };
            let evaluated = evaluate(
                &evaluation,
                adapter.as_ref(),
                &backbone.sam,
                &set,
                data.split(),
                context.progress.as_ref(),
                &context.stop,
            )
            .map_err(|error| match error {
                EvaluateError::Interrupted => RunError::Interrupted,
                error => error.into(),
            })?;
            panels.extend(run_folder::write_pictures(folder, &set, &evaluated)?);
            cases.extend(evaluated.cases);
            rows.push(evaluated.row);
        }
    }

    let after = backbone.sam.hash();
    if before != after {
        return Err(RunError::Thawed { method: plan.method.clone(), before, after });
    }
    let parameters = adapter.parameters();
    let record = RunRecord {
        format_version: FORMAT_VERSION,
        experiment: experiment.name.clone(),
        method: plan.method.clone(),
        seed: plan.seed,
        experiment_sha256: experiment.sha256.clone(),
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
        skipped: distinct(skipped),
        rows,
    };
    write_rows(&folder.cases(), &cases)?;
    write_json(&folder.panels(), &panels)?;
    record.write(&folder.record())?;
    remove_checkpoints(folder);
    Ok(record)
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
    fn backbone(&mut self, plan: &RunPlan, device: &Device) -> Result<Backbone, RunError> {
        let spec = &plan.spec.backbone;
        let key = format!("{} {:?}", spec.variant, spec.weights);
        if let Some((_, backbone)) = self.backbone.as_ref().filter(|(known, _)| *known == key) {
            return Ok(backbone.clone());
        }
        let variant: Variant = spec.variant.parse()?;
        let backbone = Backbone::load(variant, spec.weights.as_deref(), device)?;
        // Features of another backbone are of no use any more.
        self.sets.clear();
        self.backbone = Some((key, backbone.clone()));
        Ok(backbone)
    }

    #[allow(clippy::too_many_arguments)]
    fn encode(
        &mut self,
        role: Role,
        data: &DataSet,
        plan: &RunPlan,
        backbone: &Backbone,
        taps: &[usize],
        memory: &mut u64,
        context: &Context,
    ) -> Result<Arc<EncodedSet>, RunError> {
        let spec = &plan.spec;
        let ids: Vec<&str> = data.ids().collect();
        let settings = format!(
            "{:?} {} {} {}",
            spec.backbone.resize,
            spec.data.strict,
            data.split(),
            ids.join("/")
        );
        let key = SetKey { role, data: data.name().to_owned(), settings, taps: taps.to_vec() };
        if let Some((_, set)) = self.sets.iter().find(|(known, _)| *known == key) {
            return Ok(set.clone());
        }
        // Sets with other taps will not be asked for again soon; their memory is wanted.
        self.sets.retain(|(known, _)| known.taps == key.taps);
        let encoding = Encoding {
            sam: backbone.sam.clone(),
            taps: taps.to_vec(),
            resize: spec.backbone.resize,
        };
        let set = EncodedSet::new(
            encoding,
            data.clone(),
            spec.data.strict,
            memory,
            context.progress.as_ref(),
            &context.stop,
        )
        .map_err(|error| match error {
            EncodeError::Interrupted => RunError::Interrupted,
            error => error.into(),
        })?;
        let set = Arc::new(set);
        self.sets.push((key, set.clone()));
        Ok(set)
    }
}

/// Seed of the choice of held-out images.
const VALIDATION_SEED: u64 = 0;

/// The data sets of a plan, opened but not read.
pub(crate) struct Sources {
    pub train: DataSet,
    pub valid: DataSet,
    pub test: Vec<DataSet>,
}

impl Sources {
    fn open(plan: &RunPlan, context: &Context) -> Result<Self, RunError> {
        let spec = &plan.spec.data;
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        for name in &spec.train {
            let mut set = open(plan, name, &spec.train_split, context.data_root.as_deref())?;
            if let Some(limit) = spec.train_limit {
                set = set.limit(limit);
            }
            // Every set gives its share, and the same images whatever the seed of the run, so that
            // seeds can be compared.
            let (rest, held_out) =
                set.split_off_validation(spec.validation_fraction, VALIDATION_SEED)?;
            train.push(rest);
            valid.push(held_out);
        }
        let (train, valid) = (DataSet::join(&train), DataSet::join(&valid));
        let mut test = Vec::new();
        for name in &spec.test {
            test.push(open_test(plan, name, context.data_root.as_deref())?);
        }
        Ok(Self { train, valid, test })
    }
}

/// Opens a test set of a plan, with the plan's limit.
pub(crate) fn open_test(
    plan: &RunPlan,
    name: &str,
    root: Option<&Path>,
) -> Result<DataSet, RunError> {
    let set = open(plan, name, &plan.spec.data.test_split, root)?;
    Ok(match plan.spec.data.test_limit {
        Some(limit) => set.limit(limit),
        None => set,
    })
}

fn open(plan: &RunPlan, name: &str, split: &str, root: Option<&Path>) -> Result<DataSet, RunError> {
    let Some(source) = plan.spec.data.sources.get(name) else {
        return Ok(DataSet::open(name, split, root, &Catalog::built_in())?);
    };
    let set = match source {
        SourceSpec { images: Some(images), masks: Some(masks), splits, .. } => {
            let all = DataSet::from_folders(images, masks)?;
            match splits {
                Some(splits) => all.split_by(splits, split, name)?,
                None => all,
            }
        }
        SourceSpec { csv: Some(csv), root, .. } => {
            let folder = csv.parent().unwrap_or(Path::new("."));
            DataSet::from_csv(csv, split, root.as_deref().unwrap_or(folder))?
        }
        // Refused when the file was read.
        _ => DataSet::open(name, split, root, &Catalog::built_in())?,
    };
    Ok(set.renamed(name))
}

/// Evaluates a finished run again, on other data or with other prompts. Nothing is written.
///
/// # Errors
///
/// See [`RunError`].
pub fn evaluate_run(
    folder: &RunFolder,
    data: Option<&str>,
    sources: &[PromptSource],
    protocol: Option<metrics::Protocol>,
    context: &Context,
) -> Result<RunRecord, RunError> {
    let device = context.device.device()?;
    let mut record = folder.read_record()?;
    let (plan, backbone, adapter) = load_run(folder, &device)?;
    let before = backbone.sam.hash();
    let names: Vec<String> = match data {
        Some(name) => vec![name.to_owned()],
        None => plan.spec.data.test.clone(),
    };
    let sources = if sources.is_empty() { &plan.spec.evaluate.prompts } else { sources };
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    let mut memory = (plan.spec.data.feature_memory_gib * f64::from(1 << 30)) as u64;
    for name in &names {
        let data = open_test(&plan, name, context.data_root.as_deref())?;
        let split = data.split().to_owned();
        let encoding = Encoding {
            sam: backbone.sam.clone(),
            taps: adapter.taps(),
            resize: plan.spec.backbone.resize,
        };
        let set = EncodedSet::new(
            encoding,
            data,
            plan.spec.data.strict,
            &mut memory,
            context.progress.as_ref(),
            &context.stop,
        )?;
        skipped.extend(set.skipped.iter().cloned());
        for &source in sources {
            let evaluation = Evaluation {
                experiment: &record.experiment,
                method: &plan.method,
                seed: plan.seed,
                source,
                protocol: protocol.unwrap_or(plan.spec.evaluate.protocol.0),
                n_points: plan.spec.evaluate.points,
                panels: 0,
            };
            let evaluated = evaluate(
                &evaluation,
                adapter.as_ref(),
                &backbone.sam,
                &set,
                &split,
                context.progress.as_ref(),
                &context.stop,
            )?;
            rows.push(evaluated.row);
        }
    }
    record.frozen_hash_before = before;
    record.frozen_hash_after = backbone.sam.hash();
    record.rows = rows;
    record.skipped = skipped;
    Ok(record)
}

/// Builds the model of a finished run.
///
/// # Errors
///
/// See [`RunError`].
pub fn load_run(
    folder: &RunFolder,
    device: &Device,
) -> Result<(RunPlan, Backbone, Box<dyn Adapter>), RunError> {
    let plan = run_folder::read_plan(folder)?;
    let variant: Variant = plan.spec.backbone.variant.parse()?;
    let backbone = Backbone::load(variant, plan.spec.backbone.weights.as_deref(), device)?;
    let entry = registry::find(&plan.spec.prompt.module)?;
    let mut adapter = (entry.build)(&plan, &backbone, device)?;
    if folder.adapters().exists() {
        adapter.load(&folder.adapters())?;
    }
    Ok((plan, backbone, adapter))
}
