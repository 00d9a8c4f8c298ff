//! Training of the adapters with burn-train's learner.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::{
    data::dataloader::DataLoader,
    lr_scheduler::{
        constant::ConstantLr, cosine::CosineAnnealingLrSchedulerConfig,
        module_lr_scheduler::ModuleLrScheduler,
    },
    module::Module,
    optim::{AdamConfig, AdamWConfig, ModuleOptimizer},
    store::ModuleRecord,
    tensor::Device,
    train::{
        EarlyStoppingStrategy, ExecutionStrategy, Interrupter, Learner, SupervisedTraining,
        TrainingError,
        checkpoint::{CheckpointingAction, CheckpointingStrategy},
        logger::{EvaluationProgressLogger, TrainingProgressLogger},
        metric::{
            MetricDefinition, MetricId, MetricName,
            store::{Aggregate, EventStoreClient, Split},
        },
        renderer::{
            EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
            MetricsRendererTraining,
        },
    },
};
use data_loaders::error_chain;
use prompting::{FitError, PromptModule};
use run_record::{
    EpochChoice, EpochRow, RunFolder, RunRecordError, TrainingSummary, csv_bytes, read_bytes,
    write_bytes, write_rows,
};

use crate::{
    backbone::Backbone,
    checkpoints::{CheckpointError, Checkpoints, Part},
    epoch_metrics::EpochMetrics,
    features::EncodedSet,
    fit::{Fit, fit},
    learner::{Batch, CaseMean, DICE, IOU, LOSS},
    loader::{Batching, FeatureLoader},
    model::{Adapter, BuildError, Promise},
    plan::RunPlan,
    progress::Progress,
    prompt_source::PromptSource,
    spec::{Optimizer, Schedule, TrainSpec},
    viewed_set::ViewedSet,
};

/// PyTorch's. Burn's own default, 1e-5, is larger than many a gradient of the adapters and would hold
/// their steps back.
const ADAM_EPSILON: f32 = 1e-8;
/// Weight decay of [`Optimizer::AdamW`].
const WEIGHT_DECAY: f32 = 1e-4;

/// What training needs besides the plan.
pub(crate) struct TrainingSet<'a> {
    /// What is trained on step by step, if anything is.
    pub steps: Option<StepImages>,
    /// What the prompt module is fitted to, if it is.
    pub examples: Option<Arc<EncodedSet>>,
    pub folder: &'a RunFolder,
    pub device: &'a Device,
    pub progress: Arc<dyn Progress>,
    pub stop: Arc<AtomicBool>,
}

/// The images of training step by step.
pub(crate) struct StepImages {
    pub train: Arc<ViewedSet>,
    /// Held-out training images; they pick the epoch.
    pub valid: Arc<ViewedSet>,
}

/// The best adapters and how they were found.
pub(crate) struct Trained {
    pub adapter: Box<dyn Adapter>,
    /// How the prompt module was fitted, if it was.
    pub fit: Option<Fit>,
    /// How training went, if anything was trained step by step.
    pub summary: Option<TrainingSummary>,
}

/// Why training ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The adapters cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The prompt module cannot be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A file of the run folder cannot be read or written.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// Training failed; the checkpoint of the last finished epoch is kept.
    #[error("training stopped after epoch {epoch}: {message}")]
    Failed {
        /// Epochs finished.
        epoch: usize,
        /// What burn-train said.
        message: String,
    },
    /// A checkpoint cannot be read.
    #[error("checkpoint does not load ({message}): {}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the store said.
        message: String,
    },
    /// The user asked to stop; the same command goes on after the last finished epoch.
    #[error("interrupted after epoch {epoch}; the same command goes on from there")]
    Interrupted {
        /// Epochs finished.
        epoch: usize,
    },
}

/// Trains the adapters of a plan, going on after the last epoch that its folder holds.
pub(crate) fn train<M: PromptModule>(
    plan: &RunPlan,
    backbone: &Backbone,
    set: &TrainingSet<'_>,
) -> Result<Trained, TrainError> {
    let spec = &plan.spec.train;
    let device = set.device.clone().autodiff();
    let mut model = Promise::<M>::new(plan, backbone, &device)?;
    let fit = match &set.examples {
        None => None,
        Some(examples) => {
            let (n, progress) = (examples.cases.len(), &set.progress);
            progress.start(&format!("fit {} to {n} images", plan.method), 1);
            let fit = fit(&mut model, plan, examples, &device)?;
            progress.finish();
            Some(fit)
        }
    };
    let Some(StepImages { train, valid }) = &set.steps else {
        return Ok(Trained { adapter: Box::new(model.valid()), fit, summary: None });
    };
    let settings = model.settings.clone();
    let interrupter = settings.interrupter.clone();

    let checkpoints = Checkpoints::new(set.folder.checkpoint());
    let history = History::restore(set.folder, &checkpoints)?;
    let done = history.epochs();
    let over = done >= spec.epochs || history.is_stale(spec.patience);
    let history = Arc::new(Mutex::new(history));

    if !over {
        let oracle = uses_oracle::<M>(spec);
        let batching = |shuffle| Batching {
            batch_size: spec.batch_size,
            seed: plan.seed,
            shuffle,
            taps: model.needed_taps(),
            image: model.prompts_need_image(),
            oracle_points: oracle.then_some(plan.spec.evaluate.points),
            // Validation sees images as they are.
            augmentation: spec.augmentation.clone().filter(|_| shuffle),
            workers: train.reading().workers,
        };
        let loader = |cases: &Arc<ViewedSet>, shuffle| -> Arc<dyn DataLoader<Batch>> {
            Arc::new(FeatureLoader::new(cases.clone(), batching(shuffle), done, &device))
        };
        let watcher = StopWatcher::new(set.stop.clone(), interrupter.clone());
        let mut training = SupervisedTraining::<Promise<M>>::new(
            set.folder.root(),
            loader(train, true),
            loader(valid, false),
        )
        .metrics((CaseMean::loss(), CaseMean::dice(), CaseMean::iou()))
        .with_metric_logger(EpochMetrics::default())
        .with_application_logger(None)
        .with_custom_checkpointers(
            checkpoints.part(Part::Model),
            checkpoints.part(Part::Optimizer),
            checkpoints.part(Part::Scheduler),
        )
        .with_checkpointing_strategy(EveryEpoch)
        .early_stopping(EpochRecorder {
            history: history.clone(),
            folder: set.folder.clone(),
            checkpoints: checkpoints.clone(),
            patience: spec.patience,
            spec: spec.clone(),
            batches: train.len().div_ceil(spec.batch_size),
            interrupter: interrupter.clone(),
        })
        .renderer(Box::new(ProgressRenderer::new(
            set.progress.clone(),
            &plan.method,
            spec.epochs,
            [train.len(), valid.len()],
        )))
        .with_training_strategy(ExecutionStrategy::single(device.clone()).into())
        .with_interrupter(interrupter)
        .num_epochs(spec.epochs);
        if done > 0 {
            tracing::info!("{}: going on after epoch {done} of {}", plan.method, spec.epochs);
            training = training.checkpoint(done);
        }
        let learner = Learner::new(model.clone(), optimizer(spec), scheduler(spec, train));
        let result = training.launch(learner);
        drop(watcher);
        set.progress.finish();
        let epoch = lock(&history).epochs();
        if let Some(error) = result.error {
            return Err(TrainError::Failed { epoch, message: message(&error) });
        }
        if set.stop.load(Ordering::Relaxed) {
            return Err(TrainError::Interrupted { epoch });
        }
    }

    let history = lock(&history);
    let best = history.best_epoch();
    if history.epochs() < spec.epochs {
        tracing::info!(
            target: "run_log",
            "training stopped after epoch {} of {}: none was better than epoch {best} since (train.patience)",
            history.epochs(),
            spec.epochs
        );
    }
    let path = checkpoints.path(Part::Model, best);
    let failed = |message: String| TrainError::Checkpoint { path: path.clone(), message };
    let record = ModuleRecord::load(&path).map_err(|error| failed(error.to_string()))?;
    let model = model.load_record(record).valid();
    Ok(Trained {
        adapter: Box::new(model),
        fit,
        summary: Some(TrainingSummary {
            epochs_run: history.epochs(),
            epochs_planned: spec.epochs,
            best_epoch: best,
            selection: EpochChoice::HeldOut,
            stopped_early: history.epochs() < spec.epochs,
            train_cases: train.len(),
            valid_cases: valid.len(),
        }),
    })
}

/// What stopped training. burn-train calls everything that comes from outside an error of the data set; the cause says
/// what it is.
fn message(error: &TrainingError) -> String {
    let cause = match error {
        TrainingError::Dataset(error) => std::error::Error::source(error),
        _ => None,
    };
    error_chain(cause.unwrap_or(error))
}

/// Whether training prompts come from the truth: when asked for, or when nothing else is there.
fn uses_oracle<M: PromptModule>(spec: &TrainSpec) -> bool {
    let source = spec.prompts.unwrap_or(match M::PROPOSES {
        true => PromptSource::Auto,
        false => PromptSource::GroundTruth,
    });
    source == PromptSource::GroundTruth
}

fn optimizer(spec: &TrainSpec) -> ModuleOptimizer {
    match spec.optimizer {
        Optimizer::Adam => adam(),
        Optimizer::AdamW => {
            let config = AdamWConfig::new().with_epsilon(ADAM_EPSILON);
            config.with_weight_decay(WEIGHT_DECAY).init()
        }
    }
}

/// Adam with PyTorch's settings.
pub(crate) fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_epsilon(ADAM_EPSILON).init()
}

fn scheduler(spec: &TrainSpec, train: &ViewedSet) -> ModuleLrScheduler {
    match spec.schedule {
        Schedule::Constant => ConstantLr::new(spec.learning_rate).into(),
        Schedule::Cosine => {
            let steps = spec.epochs * train.len().div_ceil(spec.batch_size);
            CosineAnnealingLrSchedulerConfig::new(spec.learning_rate, steps)
                .init()
                .expect("the rate was checked to be positive")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A poisoned history is still a list of finished epochs.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The finished epochs of a run, as `epochs.csv` holds them: two rows each.
#[derive(Debug, Default)]
struct History {
    rows: Vec<EpochRow>,
}

impl History {
    /// The finished epochs as of the last whole checkpoint, which `epochs.csv` then says too.
    fn restore(folder: &RunFolder, checkpoints: &Checkpoints) -> Result<Self, RunRecordError> {
        let path = folder.epochs();
        for epoch in checkpoints.sealed() {
            match Self::as_of(epoch, checkpoints) {
                Ok(history) => {
                    history.write_again(&path)?;
                    return Ok(history);
                }
                Err(error) => tracing::warn!(
                    "the checkpoint of epoch {epoch} cannot be used, going back by one: {}",
                    error_chain(&error)
                ),
            }
        }
        if path.exists() {
            tracing::warn!("no checkpoint is left, training begins anew: {}", path.display());
        }
        Ok(Self::default())
    }

    fn as_of(epoch: usize, checkpoints: &Checkpoints) -> Result<Self, CheckpointError> {
        let history = Self { rows: checkpoints.rows(epoch)? };
        history.needed().into_iter().try_for_each(|epoch| checkpoints.check(epoch))?;
        Ok(history)
    }

    /// Writes the rows to `epochs.csv` if it has others: its process was killed before it wrote the last ones, an epoch was
    /// taken back, or the file was damaged.
    fn write_again(&self, path: &Path) -> Result<(), RunRecordError> {
        let bytes = csv_bytes(path, &self.rows)?;
        let there = read_bytes(path).unwrap_or_default();
        if there == bytes {
            return Ok(());
        }
        if !there.is_empty() && !bytes.starts_with(&there) && !there.starts_with(&bytes) {
            tracing::warn!(
                "changed since it was written, and written again from the checkpoint: {}",
                path.display()
            );
        }
        write_bytes(path, &bytes)
    }

    /// The epochs whose checkpoints are needed to go on from here: the last and the best.
    fn needed(&self) -> [usize; 2] {
        [self.epochs(), self.best_epoch()]
    }

    fn epochs(&self) -> usize {
        self.rows.last().map_or(0, |row| row.epoch)
    }

    fn valid(&self) -> impl Iterator<Item = &EpochRow> {
        self.rows.iter().filter(|row| row.split == EpochRow::VALID)
    }

    /// The first epoch with the highest validation Dice.
    fn best_epoch(&self) -> usize {
        self.valid()
            .fold((0, f64::NEG_INFINITY), |best, row| {
                if row.dice > best.1 { (row.epoch, row.dice) } else { best }
            })
            .0
            .max(1)
    }

    fn is_stale(&self, patience: Option<usize>) -> bool {
        patience.is_some_and(|patience| self.epochs() >= self.best_epoch() + patience)
    }
}

/// Saves every epoch. Which of them stay is decided when an epoch is recorded.
struct EveryEpoch;

impl CheckpointingStrategy for EveryEpoch {
    fn checkpointing(
        &mut self,
        _epoch: usize,
        _store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// Writes the rows of a finished epoch, and stops when nothing gets better any more.
#[derive(Clone)]
struct EpochRecorder {
    history: Arc<Mutex<History>>,
    folder: RunFolder,
    checkpoints: Checkpoints,
    patience: Option<usize>,
    spec: TrainSpec,
    batches: usize,
    interrupter: Interrupter,
}

impl EarlyStoppingStrategy for EpochRecorder {
    fn should_stop(&mut self, epoch: usize, store: &EventStoreClient) -> bool {
        let row = |split: Split, name: &str, learning_rate| EpochRow {
            epoch,
            split: name.to_owned(),
            loss: find(store, LOSS, epoch, split.clone()),
            dice: find(store, DICE, epoch, split.clone()),
            iou: find(store, IOU, epoch, split),
            learning_rate,
        };
        let rate = last_learning_rate(&self.spec, epoch * self.batches, self.batches);
        let trained = row(Split::Train, EpochRow::TRAIN, Some(rate));
        let held_out = row(Split::Valid, EpochRow::VALID, None);
        let mut history = lock(&self.history);
        let recorded = self.record(epoch, [trained.clone(), held_out.clone()], &mut history);
        if recorded.is_ok() {
            tracing::info!(
                target: "run_log",
                "epoch {epoch} of {}: training loss {:.4}, Dice {:.4}; held-out loss {:.4}, Dice {:.4}; learning rate {rate:e}; best epoch {}",
                self.spec.epochs,
                trained.loss,
                trained.dice,
                held_out.loss,
                held_out.dice,
                history.best_epoch()
            );
        }
        if let Err(error) = recorded {
            self.interrupter.fail(burn::data::dataset::DatasetError::new(error));
            return true;
        }
        history.is_stale(self.patience)
    }
}

impl EpochRecorder {
    /// Adds an epoch to the history once its checkpoint is whole, then removes the checkpoints that nobody may go back
    /// to: those of the last two epochs, and of the best as of either, stay. So a checkpoint that turns out to be damaged
    /// costs its epoch and no more.
    fn record(
        &self,
        epoch: usize,
        rows: [EpochRow; 2],
        history: &mut History,
    ) -> Result<(), CheckpointError> {
        let mut all = history.rows.clone();
        all.extend(rows);
        self.checkpoints.seal(epoch, &all)?;
        write_rows(&self.folder.epochs(), &all)?;
        let former = history.needed();
        history.rows = all;
        self.checkpoints.keep(&[history.needed(), former].concat());
        Ok(())
    }
}

/// Learning rate of the last step of an epoch; the schedule as burn computes it.
fn last_learning_rate(spec: &TrainSpec, steps_done: usize, batches: usize) -> f64 {
    match spec.schedule {
        Schedule::Constant => spec.learning_rate,
        Schedule::Cosine => {
            let share = (steps_done - 1) as f64 / (spec.epochs * batches) as f64;
            spec.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
        }
    }
}

fn find(store: &EventStoreClient, name: &str, epoch: usize, split: Split) -> f64 {
    store.find_metric(name, epoch, Aggregate::Mean, &split).unwrap_or(f64::NAN)
}

/// Passes a stop request on to burn-train while it runs.
struct StopWatcher {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StopWatcher {
    fn new(stop: Arc<AtomicBool>, interrupter: Interrupter) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watched = over.clone();
        let thread = std::thread::spawn(move || {
            while !watched.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    interrupter.stop(Some("stop requested"));
                    return;
                }
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for StopWatcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread cannot panic; if it did, training is over anyway.
            let _ = thread.join();
        }
    }
}

/// Shows burn-train's progress through ours.
struct ProgressRenderer {
    progress: Arc<dyn Progress>,
    method: String,
    epochs: usize,
    epoch: usize,
    training: bool,
    /// Images to train and to validate on.
    images: [usize; 2],
    /// Names of the metrics that burn-train reports by number.
    names: Vec<(MetricId, MetricName)>,
    /// Last loss of a training batch, last Dice of a validation batch.
    loss: f64,
    dice: f64,
}

impl ProgressRenderer {
    fn new(progress: Arc<dyn Progress>, method: &str, epochs: usize, images: [usize; 2]) -> Self {
        Self {
            progress,
            method: method.to_owned(),
            epochs,
            epoch: 0,
            training: true,
            images,
            names: Vec::new(),
            loss: f64::NAN,
            dice: f64::NAN,
        }
    }

    /// The value of the metric called `name`, if this is it.
    fn value(&self, state: &MetricState, name: &str) -> Option<f64> {
        let MetricState::Numeric(entry, Some(value)) = state else { return None };
        let (_, known) = self.names.iter().find(|(id, _)| *id == entry.metric_id)?;
        (known.as_str() == name).then(|| value.current())
    }

    /// Images seen after so many epochs.
    fn seen(&self, epochs: usize) -> u64 {
        (epochs * self.images.iter().sum::<usize>()) as u64
    }

    fn note(&self) {
        self.progress.note(&format!(
            "epoch {}/{}, loss {:.3}, valid Dice {:.3}",
            self.epoch, self.epochs, self.loss, self.dice
        ));
    }
}

impl MetricsRendererTraining for ProgressRenderer {
    fn update_train(&mut self, state: MetricState) {
        if let Some(loss) = self.value(&state, LOSS) {
            self.loss = loss;
            self.note();
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        if let Some(dice) = self.value(&state, DICE) {
            self.dice = dice;
            self.note();
        }
    }

    fn on_train_end(
        &mut self,
        _summary: Option<burn::train::LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl MetricsRendererEvaluation for ProgressRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl TrainingProgressLogger for ProgressRenderer {
    fn start(
        &mut self,
        _total_epochs: usize,
        starting_epoch: usize,
        _total_items: Option<usize>,
        _label: Option<&str>,
    ) {
        self.epoch = starting_epoch;
        let what = format!("train {}, images of {} epochs", self.method, self.epochs);
        self.progress.start(&what, self.seen(self.epochs));
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.epoch = epoch + 1;
        self.progress.set(self.seen(epoch));
        self.progress.milestone(&format!(
            "{} epoch {epoch}/{}: last batch loss {:.3}, valid Dice {:.3}",
            self.method, self.epochs, self.loss, self.dice
        ));
    }

    fn start_split(&mut self, split: &str, _total_items: usize) {
        self.training = split == "train";
    }

    fn update_split(&mut self, items_processed: usize) {
        let trained = if self.training { 0 } else { self.images[0] };
        let before = self.seen(self.epoch.saturating_sub(1));
        self.progress.set(before + (trained + items_processed) as u64);
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl EvaluationProgressLogger for ProgressRenderer {
    fn start_global_progress(&mut self, _total_tests: usize) {}
    fn start_test(&mut self, _name: &str, _total_items: usize) {}
    fn update_test_progress(&mut self, _items_processed: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for ProgressRenderer {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.push((definition.metric_id, definition.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_learning_rate_is_the_one_that_burn_used() {
        let spec: TrainSpec =
            toml::from_str("epochs = 3\nlearning_rate = 0.01\nschedule = \"cosine\"")
                .expect("valid");
        let batches = 4;
        let mut burn =
            CosineAnnealingLrSchedulerConfig::new(0.01, 3 * batches).init().expect("valid");
        for epoch in 1..=3 {
            let used = (0..batches).map(|_| burn.step().base()).last().expect("four steps");
            let recorded = last_learning_rate(&spec, epoch * batches, batches);
            assert!((used - recorded).abs() < 1e-12, "epoch {epoch}: {used} {recorded}");
        }
    }

    /// After one step, Adam has moved a value by `rate * gradient / (|gradient| + epsilon)`. PyTorch's
    /// epsilon is 1e-8, so a gradient of 1e-6 moves it by 1 / 1.01 of the rate; Burn's default would
    /// make it 1 / 11.
    #[test]
    fn small_gradients_move_as_in_pytorch() {
        let device = Device::flex().autodiff();
        for name in ["adam", "adam_w"] {
            let spec: TrainSpec =
                toml::from_str(&format!("epochs = 1\noptimizer = \"{name}\"")).expect("valid");
            let layer = burn::nn::LinearConfig::new(1, 1)
                .with_bias(false)
                .with_initializer(burn::nn::Initializer::Zeros)
                .init(&device);
            let loss = layer.weight.val().sum().mul_scalar(1e-6);
            let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &layer);
            let layer = optimizer(&spec).step(0.5, layer, gradients);
            let moved = layer.weight.val().into_scalar::<f32>();
            assert!((moved + 0.5 / 1.01).abs() < 1e-5, "{name}: {moved}");
        }
    }

    fn history(dice: &[f64]) -> History {
        let row = |(index, &dice): (usize, &f64)| EpochRow {
            epoch: index + 1,
            split: EpochRow::VALID.to_owned(),
            loss: 1.0,
            dice,
            iou: dice,
            learning_rate: None,
        };
        History { rows: dice.iter().enumerate().map(row).collect() }
    }

    #[test]
    fn the_first_of_equally_good_epochs_is_the_best() {
        assert_eq!(history(&[0.1, 0.5, 0.3, 0.5]).best_epoch(), 2);
        assert_eq!(history(&[f64::NAN, 0.2]).best_epoch(), 2);
        assert_eq!(history(&[f64::NAN]).best_epoch(), 1);
    }

    #[test]
    fn patience_counts_epochs_after_the_best() {
        assert!(!history(&[0.5, 0.4]).is_stale(Some(2)));
        assert!(history(&[0.5, 0.4, 0.5]).is_stale(Some(2)));
        assert!(!history(&[0.5, 0.4, 0.3, 0.2]).is_stale(None));
    }
}
