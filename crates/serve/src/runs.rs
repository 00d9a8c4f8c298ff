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

/// A link in a run that leads elsewhere. What it leads to is nobody's run, and is not shown.
#[derive(Debug, thiserror::Error)]
#[error(
    "a link in a run leads elsewhere, and is not followed; put the file itself in its place: {}", path.display()
)]
pub(crate) struct LeadsOut {
    path: PathBuf,
}

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

    /// Refuses a run of which any file leads elsewhere: whoever draws it reads them all, the pictures of its panels too.
    pub(crate) fn check(&self, folder: &RunFolder) -> Result<(), LeadsOut> {
        let root = self.root_of(folder);
        // The experiment's plan, which its runs share.
        check_link(&folder.outline(), &root)?;
        confined(folder.root(), &root, true)
    }

    /// The same for the files that lie in the run's folder itself: its tables and its record, but no pictures.
    pub(crate) fn check_tables(&self, folder: &RunFolder) -> Result<(), LeadsOut> {
        confined(folder.root(), &self.root_of(folder), false)
    }

    /// The folder below which the files of a run have to lie: that of all runs, or the experiment of one that was named.
    fn root_of(&self, folder: &RunFolder) -> PathBuf {
        let root = self.root();
        let real = folder.root().canonicalize().unwrap_or_else(|_| folder.root().to_owned());
        match real.parent() {
            Some(experiment) if !real.starts_with(&root) => experiment.to_owned(),
            _ => root,
        }
    }

    fn root(&self) -> PathBuf {
        self.root.canonicalize().unwrap_or_else(|_| self.root.clone())
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
        let root = self.root();
        for experiment in subfolders(&root, &root) {
            for path in subfolders(&experiment, &root) {
                let folder = RunFolder::new(path);
                let is_run = folder.resolved().is_file() || folder.record().is_file();
                if is_run && !named.contains(folder.root()) {
                    found.push(folder);
                }
            }
        }
        found.retain(|folder| self.check_tables(folder).is_ok());
        found.sort_by_key(names);
        found
    }
}

/// Refuses what is a link to anything but a file below `root`. A link to a folder would have to be walked, perhaps in circles.
fn check_link(path: &Path, root: &Path) -> Result<(), LeadsOut> {
    let is_link = path.symlink_metadata().is_ok_and(|entry| entry.is_symlink());
    let real = || path.canonicalize().is_ok_and(|real| real.starts_with(root) && real.is_file());
    match is_link && !real() {
        true => Err(LeadsOut { path: path.to_owned() }),
        false => Ok(()),
    }
}

/// Checks the links in a folder, and with `all` those in the folders below it.
fn confined(folder: &Path, root: &Path, all: bool) -> Result<(), LeadsOut> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && all => confined(&path, root, all)?,
            Ok(kind) if kind.is_dir() || kind.is_file() => {}
            _ => check_link(&path, root)?,
        }
    }
    Ok(())
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
        remaining(planned.saturating_sub(epochs), secs, since.unwrap_or_default())
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

/// Seconds that so many epochs take, of which the first has been under way for a while.
fn remaining(epochs: usize, secs: f64, since: Duration) -> f64 {
    (epochs as f64 * secs - since.as_secs_f64()).max(0.0)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Writes a file as if that had been so many seconds ago.
    fn written(path: &Path, ago: u64) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(ago)).unwrap();
    }

    fn run() -> (tempfile::TempDir, RunFolder) {
        let outer = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(outer.path().join("e/run-seed1"));
        (outer, folder)
    }

    fn checkpoint(folder: &RunFolder, epoch: usize) -> PathBuf {
        folder.checkpoint().join(format!("epoch-{epoch}.json"))
    }

    fn about(secs: Option<f64>, expected: f64) -> bool {
        secs.is_some_and(|secs| (secs - expected).abs() < 1.0)
    }

    #[test]
    fn an_epoch_lasts_as_long_as_between_its_checkpoint_and_the_one_before() {
        let (_outer, folder) = run();
        assert_eq!(epoch_secs(&folder, 0), None, "nothing is known of it");
        written(&folder.environment(), 1000);
        assert_eq!(epoch_secs(&folder, 0), None, "no epoch is done");
        written(&folder.epochs(), 100);
        assert!(about(epoch_secs(&folder, 3), 300.0), "900 s for three, by the table");
        written(&checkpoint(&folder, 3), 700);
        assert!(about(epoch_secs(&folder, 3), 100.0), "300 s for three");
        written(&checkpoint(&folder, 2), 750);
        assert!(about(epoch_secs(&folder, 3), 50.0), "the last one alone");
        written(&checkpoint(&folder, 2), 600);
        assert_eq!(epoch_secs(&folder, 3), None, "a clock that was set back");
    }

    #[test]
    fn a_run_that_was_silent_for_long_and_for_several_epochs_is_stopped() {
        let (_outer, folder) = run();
        written(&folder.resolved(), 400);
        assert_eq!(state(&folder, None), RunState::Stopped);
        assert_eq!(state(&folder, Some(60.0)), RunState::Stopped);
        assert_eq!(state(&folder, Some(200.0)), RunState::Running, "its epochs are long");
        written(&folder.log(), 200);
        assert_eq!(state(&folder, None), RunState::Running);
        written(&folder.failure(), 0);
        assert_eq!(state(&folder, None), RunState::Failed);
        written(&folder.record(), 0);
        assert_eq!(state(&folder, None), RunState::Finished);
    }

    #[test]
    fn what_remains_is_less_by_what_has_passed_and_never_less_than_nothing() {
        let since = Duration::from_secs(7);
        assert_eq!(remaining(3, 20.0, since), 53.0);
        assert_eq!(remaining(0, 20.0, since), 0.0);
        let (outer, folder) = run();
        written(&folder.resolved(), 10);
        let list = RunList::new(outer.path().to_owned(), Vec::new());
        let stopped = || list.all().remove(0);
        assert_eq!(stopped().state, RunState::Running);
        written(&folder.resolved(), 4000);
        assert_eq!((stopped().state, stopped().remaining_secs), (RunState::Stopped, None));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_a_run_that_leads_elsewhere_is_refused() {
        use std::os::unix::fs::symlink;
        let (outer, folder) = run();
        let secret = tempfile::tempdir().unwrap();
        written(&secret.path().join("file"), 0);
        written(&folder.record(), 0);
        written(&folder.panels(), 0);
        let list = RunList::new(outer.path().to_owned(), Vec::new());
        let named = RunList::new("no-runs".into(), vec![folder.clone()]);
        let listed = || [list.all().len(), named.all().len()];
        let picture = folder.panels_dir().join("a/000-image.png");
        written(&picture, 0);
        assert!(list.check(&folder).is_ok() && named.check(&folder).is_ok());
        // One that leads to another file of the runs is none.
        let own = folder.panels_dir().join("own.png");
        symlink(&picture, &own).unwrap();
        assert!(list.check(&folder).is_ok() && named.check(&folder).is_ok());
        std::fs::remove_file(&picture).unwrap();
        symlink(secret.path().join("file"), &picture).unwrap();
        for list in [&list, &named] {
            let refused = list.check(&folder).unwrap_err().to_string();
            assert!(refused.contains(".png") && refused.contains("not followed"), "{refused}");
        }
        assert_eq!(listed(), [1, 1], "its tables are shown");
        std::fs::remove_dir_all(folder.panels_dir()).unwrap();
        assert!(list.check(&folder).is_ok());
        symlink(secret.path(), folder.panels_dir()).unwrap();
        assert!(list.check(&folder).is_err(), "a folder elsewhere");
        std::fs::remove_file(folder.panels_dir()).unwrap();
        for file in [folder.epochs(), folder.cases(), folder.log(), folder.failure()] {
            assert_eq!(listed(), [1, 1]);
            symlink(secret.path().join("file"), &file).unwrap();
            assert_eq!(listed(), [0, 0], "{}", file.display());
            assert!(list.find("e", "run-seed1").is_none());
            std::fs::remove_file(&file).unwrap();
        }
        symlink(secret.path().join("file"), folder.outline()).unwrap();
        assert!(list.check(&folder).is_err(), "the experiment's plan");
    }
}
