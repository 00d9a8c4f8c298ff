//! The run folder: what is in it, and whether it may be gone on with.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use data_loaders::{DataError, reasons};
use run_record::{
    ADAPTERS_FILE, CaseRow, CurveRow, Environment, EpochRow, Failure, Panel, PanelPart, RunFolder,
    RunRecord, RunRecordError, Timing, read_json, read_rows, write_bytes, write_json, write_rows,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    device::DeviceKind,
    environment::{environment, program_sha256},
    evaluate::{Evaluated, Picture},
    features::EncodedSet,
    plan::{Experiment, Origins, RunPlan},
    png,
    spec::ExperimentSpec,
};

/// Why a run folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// The folder holds a run with other settings.
    #[error("the folder holds a run with other settings ({changed}); choose another `name` or `--runs`, or start over with `--fresh`: {}", path.display())]
    OtherRun {
        /// The keys that differ.
        changed: String,
        /// The folder.
        path: PathBuf,
    },
    /// `--resume` was asked for, and there is nothing to resume.
    #[error("nothing to resume in {}", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made or emptied.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that says what the run is cannot be understood.
    #[error("cannot tell what the folder holds; bring the file back, start the run over with `run --fresh`, or move the folder away: {}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// The file, and what is wrong with it.
        source: RunRecordError,
    },
    /// A link lies in the place of a folder of the run.
    #[error("a link, and a run writes nothing outside of its own folder; remove it: {}", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A picture cannot be written.
    #[error("cannot write {}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: image::ImageError,
    },
    /// The image of a picture cannot be read: its disk or network share has failed or is gone.
    #[error("an image cannot be read any more; see whether its disk or network share is there")]
    Image(#[source] DataError),
    /// A file of the folder cannot be read or written.
    #[error(transparent)]
    Record(#[from] RunRecordError),
}

/// Where runs go that were put aside, beside the run folders.
const STALE_DIR: &str = "stale";

/// Beginning of the name of a folder that is about to be removed, beside the run folders.
const REMOVED: &str = ".removed-";

/// How to treat a folder that exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// Go on with it, or skip it if it is finished.
    #[default]
    GoOn,
    /// Go on with it; refuse to start from nothing.
    Resume,
    /// Delete it.
    StartOver,
    /// Go on with it; put a run with other settings, data or weights aside, below `stale/`, and run it anew.
    Replace,
}

/// What a run depends on besides its settings, by content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// SHA-256 of SAM's weights file: a path alone does not say what is in it.
    pub weights_sha256: String,
    /// SHA-256 of every data set, by `<data set> <split>`. Empty in folders that are older than this field.
    #[serde(default)]
    pub data_sha256: BTreeMap<String, String>,
}

/// What a run folder says about its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Nothing was begun.
    ToDo,
    /// Begun and not finished: it goes on from there.
    Unfinished {
        /// Epochs that are done.
        epochs: usize,
    },
    /// The last try failed; it is tried again.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Finished.
    Done {
        /// Whether by this very program, by its bytes; nothing if the run does not say.
        same_program: Option<bool>,
    },
    /// The folder holds a run with other settings, data or weights.
    Stale {
        /// What differs.
        changed: Vec<Change>,
    },
}

/// One thing in which a run differs from the one that its folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// A dotted key, or in words what it is: `contents of data mine test`.
    pub what: String,
    /// Value of the key in the run of the folder; nothing if it was not set there, or if this is no key.
    pub former: Option<Value>,
    /// The same for the run that is planned.
    pub now: Option<Value>,
}

impl Change {
    /// A change that has no values to show.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), former: None, now: None }
    }

    /// Several in one line.
    pub fn list(changes: &[Self]) -> String {
        let texts: Vec<String> = changes.iter().map(Self::to_string).collect();
        texts.join(", ")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None | Some(Value::Null) => "nothing".into(),
            Some(value) => value.to_string(),
        };
        f.write_str(&self.what)?;
        if self.former.is_some() || self.now.is_some() {
            write!(f, " from {} to {}", shown(&self.former), shown(&self.now))?;
        }
        Ok(())
    }
}

/// What `resolved.json` holds: all that is needed to build the model again.
#[derive(Debug, Serialize, Deserialize)]
struct Resolved {
    method: String,
    seed: u64,
    #[serde(flatten)]
    inputs: Inputs,
    spec: ExperimentSpec,
    /// The TOML that `spec` was parsed from; a prompt module parses its options from it.
    toml: String,
}

impl Resolved {
    fn new(plan: &RunPlan, inputs: &Inputs) -> Self {
        Self {
            method: plan.method.clone(),
            seed: plan.seed,
            inputs: inputs.clone(),
            spec: plan.spec.clone(),
            toml: plan.text.clone(),
        }
    }
}

/// What the folder of a run says about it. Nothing is written.
///
/// # Errors
///
/// [`RunFolderError::Unreadable`] if the settings cannot be read.
pub fn state(
    folder: &RunFolder,
    plan: &RunPlan,
    inputs: &Inputs,
) -> Result<RunState, RunFolderError> {
    if !folder.resolved().exists() {
        // It may have failed before there was anything to resolve.
        return Ok(match failure(folder) {
            Some(failure) => RunState::Failed { failure },
            None => RunState::ToDo,
        });
    }
    let former: Resolved = read_json(&folder.resolved())
        .map_err(|source| RunFolderError::Unreadable { path: folder.root().to_owned(), source })?;
    let changed = changes(&former, &Resolved::new(plan, inputs));
    if !changed.is_empty() {
        return Ok(RunState::Stale { changed });
    }
    if folder.record().exists() {
        // No result depends on it, so that its damage is no reason to stop.
        let environment = read_json::<Environment>(&folder.environment()).ok();
        let then = environment.and_then(|environment| environment.program_sha256);
        let same_program = then.zip(program_sha256()).map(|(then, now)| then == now);
        return Ok(RunState::Done { same_program });
    }
    if let Some(failure) = failure(folder) {
        return Ok(RunState::Failed { failure });
    }
    // Training goes on from the checkpoints, which have copies of these rows.
    let rows = read_rows::<EpochRow>(&folder.epochs()).unwrap_or_default();
    Ok(RunState::Unfinished { epochs: rows.last().map_or(0, |row| row.epoch) })
}

/// Why the last try failed; a file that cannot be read says that it did.
fn failure(folder: &RunFolder) -> Option<Failure> {
    let path = folder.failure();
    path.exists().then(|| read_json(&path).unwrap_or_else(|error| failure_of(&error)))
}

/// Writes into the folder of a run why it failed.
///
/// # Errors
///
/// If the folder cannot be made or the file not be written.
pub fn write_failure(
    folder: &RunFolder,
    error: &dyn std::error::Error,
) -> Result<(), RunFolderError> {
    make(folder.root())?;
    Ok(write_json(&folder.failure(), &failure_of(error))?)
}

/// An error and its causes.
pub(crate) fn failure_of(error: &dyn std::error::Error) -> Failure {
    Failure { reasons: reasons(error) }
}

/// Makes the folder around a run folder.
pub(crate) fn make_parent(folder: &RunFolder) -> Result<(), RunFolderError> {
    folder.root().parent().map_or(Ok(()), make)
}

fn make(path: &Path) -> Result<(), RunFolderError> {
    fs::create_dir_all(path)
        .map_err(|source| RunFolderError::Prepare { path: path.to_owned(), source })
}

/// Whether a run may use its folder: it has none yet, or one with the same settings, data and weights.
///
/// # Errors
///
/// [`RunFolderError::OtherRun`], and [`RunFolderError::Record`] if a file cannot be read. Nothing is
/// written.
pub fn check(folder: &RunFolder, plan: &RunPlan, inputs: &Inputs) -> Result<(), RunFolderError> {
    match state(folder, plan, inputs)? {
        RunState::Stale { changed } => {
            let path = folder.root().to_owned();
            Err(RunFolderError::OtherRun { changed: Change::list(&changed), path })
        }
        _ => Ok(()),
    }
}

/// Prepares the folder of a run and writes what is known before the first step. Returns the record
/// if the run is done already.
///
/// # Errors
///
/// See [`RunFolderError`]. Nothing of another run is touched.
pub fn prepare(
    folder: &RunFolder,
    experiment: &Experiment,
    plan: &RunPlan,
    inputs: &Inputs,
    device: DeviceKind,
) -> Result<Option<RunRecord>, RunFolderError> {
    check(folder, plan, inputs)?;
    let checkpoint = folder.checkpoint();
    if fs::symlink_metadata(&checkpoint).is_ok_and(|there| there.is_symlink()) {
        return Err(RunFolderError::Link { path: checkpoint });
    }
    if folder.resolved().exists() {
        if folder.record().exists() {
            let record = folder.read_record()?;
            if record.files.contains_key(ADAPTERS_FILE) && !folder.adapters().exists() {
                tracing::warn!(
                    "the adapters of a finished run are gone; its tables and figures can be made, and nothing be predicted: {}",
                    folder.root().display()
                );
            }
            // Its process may have been killed just before.
            remove_checkpoints(folder);
            return Ok(Some(record));
        }
        // It is tried again.
        remove_file(&folder.failure())?;
        remove_leftovers(folder)?;
        if read_json::<Environment>(&folder.environment()).is_err() {
            write_json(&folder.environment(), &environment(device, plan.seed))?;
        }
        return Ok(None);
    }
    make(folder.root())?;
    remove_file(&folder.failure())?;
    remove_leftovers(folder)?;
    // Epochs without the settings that they were trained with cannot be gone on from.
    remove_file(&folder.epochs())?;
    remove_checkpoints(folder);
    write_bytes(&folder.experiment(), experiment.text.as_bytes())?;
    write_json(&folder.environment(), &environment(device, plan.seed))?;
    // Last, since its presence says that the others are there.
    write_json(&folder.resolved(), &Resolved::new(plan, inputs))?;
    Ok(None)
}

/// Writes the settings of a run, and nothing else of it: for folders that are made up.
pub(crate) fn write_resolved(
    folder: &RunFolder,
    plan: &RunPlan,
    inputs: &Inputs,
) -> Result<(), RunFolderError> {
    Ok(write_json(&folder.resolved(), &Resolved::new(plan, inputs))?)
}

/// Removes what a killed process was writing or removing, and pictures, which are all made again. Links go, and not what they
/// lead to.
fn remove_leftovers(folder: &RunFolder) -> Result<(), RunFolderError> {
    remove_tree(&folder.panels_dir())?;
    remove_tree(&folder.predictions_dir())?;
    atomic_file::remove_leftovers(folder.root())
        .map_err(|source| RunFolderError::Prepare { path: folder.root().to_owned(), source })?;
    remove_tree(&on_its_way_out(folder))
}

/// Removes what resuming needed, once the result is safe.
pub(crate) fn remove_checkpoints(folder: &RunFolder) {
    // Left-over checkpoints cost disk only.
    let _ = fs::remove_dir_all(folder.checkpoint());
}

fn remove_file(path: &Path) -> Result<(), RunFolderError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RunFolderError::Prepare { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Puts the folder of a run aside, to `stale/<run>-<number>` beside it, and says where.
///
/// # Errors
///
/// [`RunFolderError::Prepare`]
pub fn put_aside(folder: &RunFolder) -> Result<PathBuf, RunFolderError> {
    let name = folder.root().file_name().unwrap_or_default().to_string_lossy();
    let stale = folder.root().with_file_name(STALE_DIR);
    make(&stale)?;
    let free = (1_usize..)
        .map(|number| stale.join(format!("{name}-{number}")))
        .find(|path| !path.exists())
        .expect("a folder has a free name");
    fs::rename(folder.root(), &free)
        .and_then(|()| atomic_file::sync_parent(&free))
        .and_then(|()| atomic_file::sync_parent(folder.root()))
        .map_err(|source| RunFolderError::Prepare { path: free.clone(), source })?;
    Ok(free)
}

/// Removes the folder of a run, if there is one.
///
/// It gets another name first: who is killed while files go leaves no folder that looks finished and is not.
///
/// # Errors
///
/// [`RunFolderError::Prepare`]
pub fn remove(folder: &RunFolder) -> Result<(), RunFolderError> {
    let out = on_its_way_out(folder);
    remove_tree(&out)?;
    match fs::rename(folder.root(), &out) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed
            .and_then(|()| atomic_file::sync_parent(&out))
            .map_err(|source| RunFolderError::Prepare { path: folder.root().to_owned(), source })?,
    }
    remove_tree(&out)
}

/// The name of a run folder that is being removed.
fn on_its_way_out(folder: &RunFolder) -> PathBuf {
    let name = folder.root().file_name().unwrap_or_default().to_string_lossy();
    folder.root().with_file_name(format!("{REMOVED}{name}"))
}

fn remove_tree(path: &Path) -> Result<(), RunFolderError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RunFolderError::Prepare { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Writes what a run found out; the record last, since its presence says that all is there. Gives the
/// record with the checksums of the other files.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_result(
    folder: &RunFolder,
    record: RunRecord,
    cases: &[CaseRow],
    curves: &[CurveRow],
    panels: &[Panel],
    timing: &Timing,
) -> Result<RunRecord, RunFolderError> {
    let pictures = folder.panels_dir();
    fs::create_dir_all(&pictures)
        .map_err(|source| RunFolderError::Prepare { path: pictures, source })?;
    write_json(&folder.panels(), &panels)?;
    write_rows(&folder.cases(), cases)?;
    // Some protocols have no curves.
    if !curves.is_empty() {
        write_rows(&folder.curves(), curves)?;
    }
    write_json(&folder.timing(), timing)?;
    let mut files = folder.checksums()?;
    files.extend(folder.adapters_checksum()?.map(|sum| (ADAPTERS_FILE.to_owned(), sum)));
    let record = RunRecord { files, ..record };
    record.write(&folder.record())?;
    Ok(record)
}

/// Reads the plan that a run folder was made from.
///
/// # Errors
///
/// If the folder is no run folder.
pub fn read_plan(folder: &RunFolder) -> Result<RunPlan, RunFolderError> {
    let path = folder.resolved();
    let resolved: Resolved = read_json(&path)?;
    Ok(RunPlan {
        method: resolved.method,
        seed: resolved.seed,
        spec: resolved.spec,
        text: resolved.toml,
        origin: path.display().to_string(),
        set: Origins::default(),
    })
}

/// What differs, sorted by name. `seeds` and `variant` only say which runs there are. Data that the former run
/// says nothing about are taken to be the same.
fn changes(former: &Resolved, now: &Resolved) -> Vec<Change> {
    let settings = |resolved: &Resolved| {
        let mut keys = BTreeMap::new();
        let value = serde_json::to_value(&resolved.spec).unwrap_or_default();
        flatten("", &value, &mut keys);
        keys.retain(|key, _| !key.starts_with("seeds") && !key.starts_with("variant"));
        keys
    };
    let contents = |resolved: &Resolved| {
        let mut hashes = BTreeMap::new();
        let inputs = &resolved.inputs;
        hashes.insert("contents of backbone.weights".to_owned(), inputs.weights_sha256.clone());
        if !former.inputs.data_sha256.is_empty() {
            let data = inputs.data_sha256.iter();
            hashes.extend(
                data.map(|(set, sha256)| (format!("contents of data {set}"), sha256.clone())),
            );
        }
        hashes
    };
    let changed_settings = differing(settings(former), settings(now));
    let changed_contents = differing(contents(former), contents(now));
    let mut changes: Vec<Change> = changed_contents
        .map(|(what, ..)| Change::of(what))
        .chain(changed_settings.map(|(what, former, now)| Change { what, former, now }))
        .collect();
    changes.sort_unstable_by(|a, b| a.what.cmp(&b.what));
    changes
}

/// Keys whose values differ, with both.
fn differing<V: PartialEq>(
    mut former: BTreeMap<String, V>,
    now: BTreeMap<String, V>,
) -> impl Iterator<Item = (String, Option<V>, Option<V>)> {
    let of_now: Vec<_> = now
        .into_iter()
        .map(|(key, now)| {
            let former = former.remove(&key);
            (key, former, Some(now))
        })
        .collect();
    let gone = former.into_iter().map(|(key, former)| (key, Some(former), None));
    of_now.into_iter().chain(gone).filter(|(_, former, now)| former != now)
}

fn flatten(prefix: &str, value: &Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, keys);
            }
        }
        _ => {
            keys.insert(prefix.to_owned(), value.clone());
        }
    }
}

/// Writes the pictures of an evaluation and describes them.
///
/// # Errors
///
/// If a picture cannot be written, or the disk of the images is gone. Cases whose image alone cannot be read any more are
/// left out.
pub fn write_pictures(
    folder: &RunFolder,
    set: &EncodedSet,
    evaluated: &Evaluated,
) -> Result<Vec<Panel>, RunFolderError> {
    let mut panels = Vec::new();
    for picture in &evaluated.pictures {
        let Picture { index, prediction, points, box_xyxy, dice, iou } = picture;
        let case = &set.cases[*index];
        let image = match set.image(case) {
            Ok(image) => image,
            Err(error) if error.lost_storage().is_some() => {
                return Err(RunFolderError::Image(error));
            }
            Err(_) => continue,
        };
        let row = &evaluated.row;
        let name = |part| Panel::picture(&row.data, &row.prompts, *index, part);
        let mask = |values: &[bool]| {
            let bytes = values.iter().map(|&on| if on { 255 } else { 0 }).collect();
            image::GrayImage::from_raw(case.truth.width(), case.truth.height(), bytes)
                .expect("a mask has its case's size")
        };
        let save = |part: PanelPart, picture: image::DynamicImage| {
            let path = folder.panels_dir().join(name(part));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|source| RunFolderError::Prepare {
                    path: parent.to_owned(),
                    source,
                })?;
            }
            png::save(&picture, &path).map_err(|source| RunFolderError::Picture { path, source })
        };
        save(PanelPart::Image, image.into())?;
        save(PanelPart::Truth, mask(&case.truth.mask().values).into())?;
        save(PanelPart::Prediction, mask(prediction).into())?;
        panels.push(Panel {
            data: row.data.clone(),
            split: row.split.clone(),
            prompts: row.prompts.clone(),
            file: case.id.clone(),
            dice: *dice,
            iou: *iou,
            image: name(PanelPart::Image),
            truth: name(PanelPart::Truth),
            prediction: name(PanelPart::Prediction),
            points: points.clone(),
            box_xyxy: *box_xyxy,
        });
    }
    Ok(panels)
}
