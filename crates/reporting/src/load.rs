//! Loads run folders.

use std::fs;
use std::path::{Path, PathBuf};

use run_record::{
    CaseRow, CurveRow, Environment, EpochRow, Outline, Panel, RunFolder, RunRecord, RunRecordError,
    read_json, read_rows,
};
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// A run as it was found on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Where it lies.
    pub folder: RunFolder,
    /// Its result.
    pub record: RunRecord,
    /// SHA-256 of `record.json` as it lies there, in lower-case hexadecimal: what tables and figures
    /// name as their source.
    pub record_sha256: String,
    /// The settings that it ran with; nothing if the file is gone.
    pub settings: Option<Settings>,
    /// Where and how it was made; nothing if the file is gone.
    pub environment: Option<Environment>,
    /// What its experiment says about all its runs; nothing if the file is not there.
    pub outline: Option<Outline>,
    /// The scores of its cases; empty if the file is gone.
    pub cases: Vec<CaseRow>,
    /// Its training curve; empty for a method that is not trained.
    pub epochs: Vec<EpochRow>,
    /// Its pictures; empty if none were written.
    pub panels: Vec<Panel>,
}

impl Run {
    /// Reads one run folder and checks that its backbone stayed frozen.
    ///
    /// # Errors
    ///
    /// See [`load`].
    pub fn read(folder: RunFolder) -> Result<Self, LoadError> {
        let record = folder.read_record()?;
        let path = folder.record();
        let bytes = fs::read(&path)
            .map_err(|source| RunRecordError::Read { path: path.clone(), source })?;
        let settings = if_present(&folder.resolved(), read_json)?;
        if !record.backbone_stayed_frozen() {
            return Err(LoadError::BackboneChanged {
                before: record.frozen_hash_before,
                after: record.frozen_hash_after,
                path: folder.root().into(),
            });
        }
        let environment = if_present(&folder.environment(), read_json)?;
        let outline = if_present(&folder.outline(), Outline::read)?;
        let cases = if_present(&folder.cases(), read_rows)?.unwrap_or_default();
        let epochs = if_present(&folder.epochs(), read_rows)?.unwrap_or_default();
        let panels = if_present(&folder.panels(), read_json)?.unwrap_or_default();
        let record_sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self {
            folder,
            record,
            record_sha256,
            settings,
            environment,
            outline,
            cases,
            epochs,
            panels,
        })
    }

    /// The name of the run: its experiment's folder and its own, e.g. `quickstart/apm-seed1`. The same
    /// on every machine, which the whole path is not.
    pub fn id(&self) -> String {
        let names: Vec<_> = self
            .folder
            .root()
            .components()
            .map(|component| component.as_os_str().to_string_lossy())
            .collect();
        names[names.len().saturating_sub(2)..].join("/")
    }

    /// What its curves over thresholds are made of; empty if the file is not there. Read only when asked
    /// for: it is the largest file of a run.
    ///
    /// # Errors
    ///
    /// Those of [`read_rows`].
    pub fn curves(&self) -> Result<Vec<CurveRow>, RunRecordError> {
        Ok(if_present(&self.folder.curves(), read_rows)?.unwrap_or_default())
    }
}

/// Why runs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The frozen tensors changed during the run, so its numbers are those of another method.
    #[error(
        "the frozen backbone changed during the run (hash {before} before, {after} after), \
         so its results are void: {}",
        path.display()
    )]
    BackboneChanged {
        /// Hash before the run.
        before: String,
        /// Hash after the run.
        after: String,
        /// The run folder.
        path: PathBuf,
    },
    /// The folder is no run and holds none.
    #[error("no run and no folder of runs: {}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is not there or cannot be listed.
    #[error("cannot list {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a run folder cannot be read.
    #[error(transparent)]
    Record(#[from] RunRecordError),
}

/// Loads runs. Each path is one run folder or a folder of run folders, e.g. that of an experiment.
///
/// The runs come sorted by path and each only once, in whatever order the paths are given. Folders
/// inside an experiment that no run wrote are ignored. Paths are made absolute, so that what lies
/// beside a run folder is found from within it too.
///
/// # Errors
///
/// [`LoadError::BackboneChanged`] if a run is void, [`LoadError::NoRun`] if a path holds no run,
/// [`LoadError::List`] if it is not there or cannot be listed, and [`LoadError::Record`] if a file is broken or a
/// run did not finish: leaving such a run out in silence would make a table that looks complete.
pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Run>, LoadError> {
    let mut folders = Vec::new();
    for path in paths {
        folders.append(&mut run_folders(path.as_ref())?);
    }
    folders.sort();
    folders.dedup();
    folders.into_iter().map(Run::read).collect()
}

/// The run folders that a path names: itself, or those in it.
pub(crate) fn run_folders(path: &Path) -> Result<Vec<RunFolder>, LoadError> {
    let list_error = |source| LoadError::List { path: path.into(), source };
    // `.` and `..` have no name that another could take the place of; see `RunFolder::outline`.
    let absolute = fs::canonicalize(path).map_err(list_error)?;
    let here = RunFolder::new(&absolute);
    if is_run(&here) {
        return Ok(vec![here]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&absolute).map_err(list_error)? {
        let folder = RunFolder::new(entry.map_err(list_error)?.path());
        if is_run(&folder) {
            found.push(folder);
        }
    }
    if found.is_empty() {
        return Err(LoadError::NoRun { path: path.into() });
    }
    Ok(found)
}

/// Whether a run was started here. Whether it finished is [`RunFolder::read_record`]'s question.
fn is_run(folder: &RunFolder) -> bool {
    folder.record().is_file() || folder.experiment().is_file()
}

fn if_present<T>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, RunRecordError>,
) -> Result<Option<T>, RunRecordError> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use run_record::write_bytes;

    use super::*;
    use crate::testing;

    #[test]
    fn an_experiment_folder_gives_its_runs_sorted_and_once() {
        let runs = tempfile::tempdir().unwrap();
        // Some systems keep temporary folders behind a link.
        let runs = fs::canonicalize(runs.path()).unwrap();
        let second = testing::write(&runs, &testing::record("b", 0));
        let first = testing::write(&runs, &testing::record("a", 1));
        fs::create_dir(runs.join("polyps/notes")).unwrap();

        let experiment = runs.join("polyps");
        let loaded = load(&[second.root(), &experiment]).unwrap();
        let folders: Vec<_> = loaded.iter().map(|run| run.folder.clone()).collect();
        assert_eq!(folders, [first.clone(), second]);
        assert_eq!(loaded[0].record, testing::record("a", 1));
        assert_eq!(loaded[0].epochs, []);
        assert_eq!(loaded[0].environment, None);

        assert_eq!(load(&[first.root()]).unwrap(), loaded[..1]);
    }

    #[test]
    fn the_outline_is_found_however_a_run_folder_is_named() {
        let runs = tempfile::tempdir().unwrap();
        let folder = testing::write(runs.path(), &testing::record("a", 1));
        let outline = Outline::new(vec!["a".into()], vec![]);
        outline.write(&folder.outline()).unwrap();
        fs::create_dir(folder.panels_dir()).unwrap();
        // As `..` is named from within a folder of the run.
        let paths =
            [folder.root().to_owned(), folder.root().join("."), folder.panels_dir().join("..")];
        for path in &paths {
            let loaded = load(&[path]).unwrap();
            assert_eq!(loaded[0].outline.as_ref(), Some(&outline), "{}", path.display());
        }
        assert_eq!(load(&paths).unwrap().len(), 1, "one run by three names");
    }

    #[test]
    fn a_run_whose_backbone_changed_is_refused() {
        let runs = tempfile::tempdir().unwrap();
        let mut record = testing::record("apm", 0);
        record.frozen_hash_after = "beef".into();
        let folder = testing::write(runs.path(), &record);
        let error = load(&[folder.root()]).unwrap_err();
        assert!(matches!(error, LoadError::BackboneChanged { .. }));
        let text = error.to_string();
        assert!(text.contains("beef") && text.contains("void"), "{text}");
        assert!(text.ends_with("apm-seed0"), "{text}");
    }

    #[test]
    fn an_unfinished_run_is_named_and_not_left_out() {
        let runs = tempfile::tempdir().unwrap();
        testing::write(runs.path(), &testing::record("a", 0));
        let stopped = runs.path().join("polyps/b-seed0");
        fs::create_dir(&stopped).unwrap();
        write_bytes(&RunFolder::new(&stopped).experiment(), b"").unwrap();
        let error = load(&[runs.path().join("polyps")]).unwrap_err();
        assert!(matches!(error, LoadError::Record(RunRecordError::Unfinished { .. })));
        assert!(error.to_string().contains("b-seed0"), "{error}");
    }

    #[test]
    fn a_folder_without_runs_and_a_missing_one_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&[folder.path()]).unwrap_err();
        assert!(matches!(error, LoadError::NoRun { .. }));
        let error = load(&[folder.path().join("gone")]).unwrap_err();
        assert!(matches!(error, LoadError::List { .. }));
        assert!(error.to_string().ends_with("gone"), "{error}");
    }

    #[test]
    fn a_broken_training_curve_is_an_error_and_not_an_empty_one() {
        let runs = tempfile::tempdir().unwrap();
        let folder = testing::write(runs.path(), &testing::record("a", 0));
        fs::write(folder.epochs(), "epoch,split,loss\n1,train,0.5\n").unwrap();
        let error = load(&[folder.root()]).unwrap_err();
        assert!(matches!(
            error,
            LoadError::Record(RunRecordError::MissingColumn { column: "dice", .. })
        ));
    }
}
