//! The run folder: what is in it, and whether it may be gone on with.

use std::{fs, path::PathBuf};

use run_record::{
    CaseRow, Panel, PanelPart, RunFolder, RunRecord, RunRecordError, read_json, write_bytes,
    write_json, write_rows,
};
use serde::{Deserialize, Serialize};

use crate::{
    device::DeviceKind,
    environment::environment,
    evaluate::{Evaluated, Picture},
    features::EncodedSet,
    plan::{Experiment, RunPlan},
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
    /// A picture cannot be written.
    #[error("cannot write {}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: image::ImageError,
    },
    /// A file of the folder cannot be read or written.
    #[error(transparent)]
    Record(#[from] RunRecordError),
}

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
}

/// What `resolved.json` holds: all that is needed to build the model again.
#[derive(Debug, Serialize, Deserialize)]
struct Resolved {
    method: String,
    seed: u64,
    /// SHA-256 of SAM's weights file: a path alone does not say what is in it.
    weights_sha256: String,
    spec: ExperimentSpec,
    /// The TOML that `spec` was parsed from; a prompt module parses its options from it.
    toml: String,
}

impl Resolved {
    fn new(plan: &RunPlan, weights_sha256: &str) -> Self {
        Self {
            method: plan.method.clone(),
            seed: plan.seed,
            weights_sha256: weights_sha256.to_owned(),
            spec: plan.spec.clone(),
            toml: plan.text.clone(),
        }
    }
}

/// Whether a run may use its folder: it has none yet, or one with the same settings and weights.
///
/// # Errors
///
/// [`RunFolderError::OtherRun`], and [`RunFolderError::Record`] if a file cannot be read. Nothing is
/// written.
pub fn check(
    folder: &RunFolder,
    plan: &RunPlan,
    weights_sha256: &str,
) -> Result<(), RunFolderError> {
    if !folder.resolved().exists() {
        return Ok(());
    }
    let former: Resolved = read_json(&folder.resolved())?;
    let changed = changed_keys(&former, &Resolved::new(plan, weights_sha256));
    if changed.is_empty() {
        Ok(())
    } else {
        let path = folder.root().to_owned();
        Err(RunFolderError::OtherRun { changed: changed.join(", "), path })
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
    weights_sha256: &str,
    device: DeviceKind,
) -> Result<Option<RunRecord>, RunFolderError> {
    check(folder, plan, weights_sha256)?;
    if folder.resolved().exists() {
        return match folder.record().exists() {
            true => Ok(Some(folder.read_record()?)),
            false => Ok(None),
        };
    }
    let path = folder.root().to_owned();
    fs::create_dir_all(&path).map_err(|source| RunFolderError::Prepare { path, source })?;
    write_bytes(&folder.experiment(), experiment.text.as_bytes())?;
    write_json(&folder.environment(), &environment(device, plan.seed))?;
    // Last, since its presence says that the others are there.
    write_json(&folder.resolved(), &Resolved::new(plan, weights_sha256))?;
    Ok(None)
}

/// Removes the folder of a run, if there is one.
///
/// # Errors
///
/// [`RunFolderError::Prepare`]
pub fn remove(folder: &RunFolder) -> Result<(), RunFolderError> {
    match fs::remove_dir_all(folder.root()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RunFolderError::Prepare { path: folder.root().to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Writes what a run found out; the record last, since its presence says that all is there.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_result(
    folder: &RunFolder,
    record: &RunRecord,
    cases: &[CaseRow],
    panels: &[Panel],
) -> Result<(), RunFolderError> {
    let pictures = folder.panels_dir();
    fs::create_dir_all(&pictures)
        .map_err(|source| RunFolderError::Prepare { path: pictures, source })?;
    write_json(&folder.panels(), &panels)?;
    write_rows(&folder.cases(), cases)?;
    record.write(&folder.record())?;
    Ok(())
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
    })
}

/// Dotted keys whose values differ. `seeds` and `variant` only say which runs there are.
fn changed_keys(former: &Resolved, now: &Resolved) -> Vec<String> {
    let flat = |resolved: &Resolved| {
        let mut keys = std::collections::BTreeMap::new();
        let value = serde_json::to_value(&resolved.spec).unwrap_or_default();
        flatten("", &value, &mut keys);
        keys.insert("contents of backbone.weights".into(), resolved.weights_sha256.clone().into());
        keys.retain(|key, _| !key.starts_with("seeds") && !key.starts_with("variant"));
        keys
    };
    let (former, now) = (flat(former), flat(now));
    let mut changed: Vec<String> = former
        .keys()
        .chain(now.keys())
        .filter(|key| former.get(*key) != now.get(*key))
        .cloned()
        .collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

fn flatten(
    prefix: &str,
    value: &serde_json::Value,
    keys: &mut std::collections::BTreeMap<String, serde_json::Value>,
) {
    match value {
        serde_json::Value::Object(fields) => {
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
/// If a picture cannot be written. Cases whose image cannot be read any more are left out.
pub fn write_pictures(
    folder: &RunFolder,
    set: &EncodedSet,
    evaluated: &Evaluated,
) -> Result<Vec<Panel>, RunFolderError> {
    let mut panels = Vec::new();
    for picture in &evaluated.pictures {
        let Picture { index, prediction, points, box_xyxy, dice, iou } = picture;
        let case = &set.cases[*index];
        let Ok(image) = set.image(case) else { continue };
        let row = &evaluated.row;
        let name = |part| Panel::picture(&row.data, &row.prompts, *index, part);
        let mask = |values: &[bool]| {
            let bytes = values.iter().map(|&on| if on { 255 } else { 0 }).collect();
            image::GrayImage::from_raw(case.truth.width, case.truth.height, bytes)
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
            picture.save(&path).map_err(|source| RunFolderError::Picture { path, source })
        };
        save(PanelPart::Image, image.into())?;
        save(PanelPart::Truth, mask(&case.truth.values).into())?;
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
