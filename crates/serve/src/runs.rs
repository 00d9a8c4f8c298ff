//! Run folders, finished and under way, read as they lie on the disk.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bounded_read::last_lines;
use promise::run_folder::read_plan;
use run_record::{EpochRow, Failure, ResultRow, RunFolder, read_json, read_rows};
use serde::Serialize;

/// Folders of one kind that are looked at, at most.
const MAX_FOLDERS: usize = 1000;
/// Lines of a log that are shown.
const LOG_TAIL_LINES: usize = 12;
/// A run in which nothing was written for so long, and for several epochs, is said to stand still.
const SILENCE: Duration = Duration::from_secs(300);
/// Epochs that a run may be silent for.
const SILENT_EPOCHS: f64 = 3.0;

/// The runs that the page shows.
#[derive(Debug)]
pub struct RunList {
    /// Folder of the experiments' folders.
    root: PathBuf,
    /// Runs that were named one by one.
    named: Vec<RunFolder>,
    /// Results that were read, by folder, with the time of the file that they are from.
    results: Mutex<HashMap<PathBuf, (SystemTime, Vec<ResultRow>)>>,
}

/// How a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It has its record.
    Finished,
    /// Something was written in it not long ago.
    Running,
    /// Unfinished, and nothing was written for a while: it was interrupted, or it waits.
    Stopped,
    /// It says why it failed.
    Failed,
}

/// A run in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its experiment.
    pub experiment: String,
    /// Its folder there.
    pub run: String,
    /// How it is.
    pub state: RunState,
    /// Epochs that are done.
    pub epochs: usize,
    /// Epochs that are planned; nothing where nothing is trained, or it cannot be said.
    pub epochs_planned: Option<usize>,
    /// Seconds that remain of training, by the pace of the last epoch.
    pub remaining_secs: Option<f64>,
    /// Best Dice on held-out images so far.
    pub best_dice: Option<f64>,
}

/// A run with all that the page shows of it.
#[derive(Debug, Clone, Serialize)]
pub struct RunDetails {
    /// In a line.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its training curve.
    pub curve: Vec<EpochRow>,
    /// Its results.
    pub results: Vec<ResultRow>,
    /// The last lines of its log.
    pub log: Vec<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl RunList {
    /// The runs below `root` and some others.
    pub fn new(root: PathBuf, named: Vec<RunFolder>) -> Self {
        Self { root, named, results: Mutex::default() }
    }

    /// All runs, by experiment and name.
    pub fn all(&self) -> Vec<RunSummary> {
        self.folders().iter().map(summary).collect()
    }

    /// The results of all finished runs with the experiment of each.
    pub fn results(&self) -> Vec<(String, ResultRow)> {
        let mut all = Vec::new();
        for folder in self.folders() {
            let Some(rows) = self.results_of(&folder) else { continue };
            let (experiment, _) = names(&folder);
            all.extend(rows.into_iter().map(|row| (experiment.clone(), row)));
        }
        all
    }

    /// A run by its names, which are looked for among those that there are.
    pub fn find(&self, experiment: &str, run: &str) -> Option<RunFolder> {
        let wanted = (experiment.to_owned(), run.to_owned());
        self.folders().into_iter().find(|folder| names(folder) == wanted)
    }

    /// Finished runs of an experiment.
    pub fn finished(&self, experiment: &str) -> Vec<RunFolder> {
        let of = |folder: &RunFolder| names(folder).0 == experiment && folder.record().is_file();
        self.folders().into_iter().filter(of).collect()
    }

    /// A run with all that the page shows of it.
    pub fn details(&self, folder: &RunFolder) -> RunDetails {
        let failure: Option<Failure> = read_json(&folder.failure()).ok();
        RunDetails {
            summary: summary(folder),
            curve: curve(folder),
            results: self.results_of(folder).unwrap_or_default(),
            log: log_tail(&folder.log()),
            failure: failure.map(|failure| failure.to_string()),
        }
    }

    fn results_of(&self, folder: &RunFolder) -> Option<Vec<ResultRow>> {
        let written = modified(&folder.record())?;
        let mut known = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, rows)) = known.get(folder.root())
            && *then == written
        {
            return Some(rows.clone());
        }
        let rows = folder.read_record().ok()?.rows;
        known.insert(folder.root().to_owned(), (written, rows.clone()));
        Some(rows)
    }

    fn folders(&self) -> Vec<RunFolder> {
        let mut found: Vec<RunFolder> = self.named.clone();
        let named: HashSet<PathBuf> =
            self.named.iter().filter_map(|one| one.root().canonicalize().ok()).collect();
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        for experiment in subfolders(&root, &root) {
            for path in subfolders(&experiment, &root) {
                let folder = RunFolder::new(path);
                let is_run = folder.resolved().is_file() || folder.record().is_file();
                if is_run && !named.contains(folder.root()) {
                    found.push(folder);
                }
            }
        }
        found.sort_by_key(names);
        found
    }
}

/// The folders in a folder that really lie below `root`, by name; none that are hidden, nor those that were put aside.
fn subfolders(folder: &Path, root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let shown = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let real = path.canonicalize().is_ok_and(|real| real.starts_with(root) && real.is_dir());
        real && !name.starts_with('.') && name != "stale"
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(shown).collect();
    found.sort();
    found.truncate(MAX_FOLDERS);
    found
}

/// Experiment and name of a run, as its path says.
fn names(folder: &RunFolder) -> (String, String) {
    let path = folder.root().canonicalize().unwrap_or_else(|_| folder.root().to_owned());
    let name = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    (name(path.parent()), name(Some(&path)))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// The training curve so far. While a run is under way its last line may be half written, and is left out.
fn curve(folder: &RunFolder) -> Vec<EpochRow> {
    read_rows(&folder.epochs()).unwrap_or_default()
}

fn summary(folder: &RunFolder) -> RunSummary {
    let (experiment, run) = names(folder);
    let curve = curve(folder);
    let epochs = curve.iter().map(|row| row.epoch).max().unwrap_or(0);
    let held_out = curve.iter().filter(|row| row.split == EpochRow::VALID);
    let best_dice = held_out.map(|row| row.dice).filter(|dice| dice.is_finite()).reduce(f64::max);
    let planned = read_plan(folder).ok().map(|plan| plan.spec.train.epochs);
    let epoch_secs = epoch_secs(folder, epochs);
    let state = state(folder, epoch_secs);
    let running = state == RunState::Running;
    let remaining_secs = planned.zip(epoch_secs).filter(|_| running).map(|(planned, secs)| {
        let since = modified(&folder.epochs()).and_then(|then| then.elapsed().ok());
        let left = planned.saturating_sub(epochs) as f64 * secs;
        (left - since.unwrap_or_default().as_secs_f64()).max(0.0)
    });
    RunSummary {
        experiment,
        run,
        state,
        epochs,
        epochs_planned: planned,
        remaining_secs,
        best_dice,
    }
}

fn state(folder: &RunFolder, epoch_secs: Option<f64>) -> RunState {
    if folder.record().is_file() {
        return RunState::Finished;
    }
    if folder.failure().is_file() {
        return RunState::Failed;
    }
    let written = [folder.log(), folder.epochs(), folder.environment(), folder.resolved()];
    let latest = written.iter().filter_map(|path| modified(path)).max();
    let silent = latest.and_then(|then| then.elapsed().ok()).unwrap_or_default();
    let patience = SILENCE.as_secs_f64().max(SILENT_EPOCHS * epoch_secs.unwrap_or(0.0));
    match silent.as_secs_f64() <= patience {
        true => RunState::Running,
        false => RunState::Stopped,
    }
}

/// Seconds of the last epoch: between its checkpoint and the one before it, or since the run began.
fn epoch_secs(folder: &RunFolder, epochs: usize) -> Option<f64> {
    let checkpoint =
        |epoch: usize| modified(&folder.checkpoint().join(format!("epoch-{epoch}.json")));
    let last = checkpoint(epochs).or_else(|| modified(&folder.epochs()))?;
    let (before, of) = match checkpoint(epochs.checked_sub(1)?) {
        Some(before) => (before, 1),
        None => (modified(&folder.environment())?, epochs),
    };
    let secs = last.duration_since(before).ok()?.as_secs_f64() / of.max(1) as f64;
    (secs > 0.0).then_some(secs)
}

/// The last lines of a log. A link may lead to any file of this machine, and nobody's run writes one.
fn log_tail(path: &Path) -> Vec<String> {
    let is_link = path.symlink_metadata().is_ok_and(|entry| entry.is_symlink());
    if is_link { Vec::new() } else { last_lines(path, LOG_TAIL_LINES) }
}
