//! Loads run folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use metrics::Measure;
use run_record::{
    CaseRow, ClickRow, CurveRow, Environment, EpochRow, Outline, Panel, RunFolder, RunRecord,
    RunRecordError, read_bytes, read_json, read_rows,
};
use serde::de::DeserializeOwned;
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
    pub outline: Option<Arc<Outline>>,
    /// The scores of its cases; empty if the file is gone.
    pub cases: Vec<CaseRow>,
    /// Its training curve; empty for a method that is not trained.
    pub epochs: Vec<EpochRow>,
    /// Its pictures; empty if none were written.
    pub panels: Vec<Panel>,
}

impl Run {
    /// Reads one run folder and checks that its backbone stayed frozen, that its scores are ones, and that its
    /// cases are those that its record counts.
    ///
    /// # Errors
    ///
    /// See [`load`].
    pub fn read(folder: RunFolder) -> Result<Self, LoadError> {
        let outline = if_present(&folder.outline(), Outline::read)?;
        Self::read_beside(folder, outline.map(Arc::new))
    }

    /// The same for a run whose outline has been read.
    fn read_beside(folder: RunFolder, outline: Option<Arc<Outline>>) -> Result<Self, LoadError> {
        let record = folder.read_record()?;
        let path = folder.record();
        let bytes = read_bytes(&path)?;
        let settings = if_present(&folder.resolved(), read_json)?;
        if !record.backbone_stayed_frozen() {
            return Err(LoadError::BackboneChanged {
                before: record.frozen_hash_before,
                after: record.frozen_hash_after,
                path: folder.root().into(),
            });
        }
        let environment = if_usable(&folder.environment());
        let cases = if_present(&folder.cases(), read_rows)?.unwrap_or_default();
        check_scores(&folder.cases(), &cases)?;
        check_counts(&folder.cases(), &record, &cases)?;
        let epochs = if_present(&folder.epochs(), read_rows)?.unwrap_or_default();
        check_epochs(&folder.epochs(), &record, &epochs)?;
        let panels: Vec<Panel> = if_usable(&folder.panels()).unwrap_or_default();
        check_pictures(&folder.panels(), &panels)?;
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

    /// What the clicks of a simulated user bring; empty if nobody has asked. Read only when asked for.
    ///
    /// # Errors
    ///
    /// Those of [`read_rows`], and [`LoadError::CaseScore`] for a score that no case can have.
    pub fn clicks(&self) -> Result<Vec<ClickRow>, LoadError> {
        let path = self.folder.clicks();
        let rows: Vec<ClickRow> = if_present(&path, read_rows)?.unwrap_or_default();
        for row in &rows {
            for measure in ClickRow::MEASURES {
                let Some(score) = row.get(measure) else { continue };
                if !(-ROUNDING..=1.0 + ROUNDING).contains(&score) {
                    let (measure, case, most) = (measure.name(), row.file.clone(), 1.0);
                    return Err(LoadError::CaseScore { measure, case, score, most, path });
                }
            }
        }
        Ok(rows)
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
    /// A score that no case can have.
    #[error(
        "{measure} of `{case}` is {score}, must be finite and 0 to {most}: {}",
        path.display()
    )]
    CaseScore {
        /// Name of the measure in files.
        measure: &'static str,
        /// The case.
        case: String,
        /// What was found.
        score: f64,
        /// The largest score that there is, infinite for a distance.
        most: f64,
        /// `cases.csv` or `clicks.csv`
        path: PathBuf,
    },
    /// The rows of a result are others than the record counts: one of the two files was changed.
    #[error(
        "{line}: the record counts {n} cases and {skipped_empty} without a score, there are {rows_n} and \
         {rows_skipped}: {}",
        path.display()
    )]
    CaseCount {
        /// Data set, split and prompts, in words.
        line: String,
        /// Cases with a score by the record.
        n: usize,
        /// Cases without one by the record.
        skipped_empty: usize,
        /// Rows with a score of Dice.
        rows_n: usize,
        /// Rows without one.
        rows_skipped: usize,
        /// `cases.csv`
        path: PathBuf,
    },
    /// A case that has two rows of one result.
    #[error("{line}: two rows of `{case}`: {}", path.display())]
    CaseTwice {
        /// Data set, split and prompts, in words.
        line: String,
        /// The case.
        case: String,
        /// `cases.csv`
        path: PathBuf,
    },
    /// A number of a training curve that no epoch can have. (Those of a diverged training are NaN.)
    #[error("{column} of epoch {epoch} is {number}, must be {expected}: {}", path.display())]
    EpochNumber {
        /// The column.
        column: &'static str,
        /// The epoch.
        epoch: usize,
        /// What was found.
        number: f64,
        /// What it can be.
        expected: &'static str,
        /// `epochs.csv`
        path: PathBuf,
    },
    /// A picture outside of the folder of pictures: no run writes such a name, and a report would copy the picture.
    #[error("the picture `{picture}` lies outside of its folder: {}", path.display())]
    PicturePlace {
        /// As `panels.json` names it.
        picture: String,
        /// `panels.json`
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
/// [`LoadError::BackboneChanged`] if a run is void, [`LoadError::CaseScore`], [`LoadError::CaseCount`],
/// [`LoadError::CaseTwice`], [`LoadError::EpochNumber`] and [`LoadError::PicturePlace`] if its files hold what no run writes,
/// [`LoadError::NoRun`] if a path holds no run,
/// [`LoadError::List`] if it is not there or cannot be listed, and [`LoadError::Record`] if a file is broken or a
/// run did not finish: leaving such a run out in silence would make a table that looks complete.
pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Run>, LoadError> {
    let mut folders = Vec::new();
    for path in paths {
        folders.append(&mut run_folders(path.as_ref())?);
    }
    folders.sort();
    folders.dedup();
    // Runs of one experiment come one after the other and share what is said about all of them: the names of a thousand
    // methods, once for each of ten thousand runs, would take most of the memory.
    let mut last: Option<(PathBuf, Option<Arc<Outline>>)> = None;
    let read = |folder: RunFolder| {
        let path = folder.outline();
        let outline = match last.take() {
            Some((known, outline)) if known == path => outline,
            _ => if_present(&path, Outline::read)?.map(Arc::new),
        };
        last = Some((path, outline.clone()));
        Run::read_beside(folder, outline)
    };
    folders.into_iter().map(read).collect()
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

/// Refuses pictures whose names lead out of the folder of `panels.json`.
fn check_pictures(path: &Path, panels: &[Panel]) -> Result<(), LoadError> {
    for picture in panels.iter().flat_map(|panel| [&panel.image, &panel.truth, &panel.prediction]) {
        let inside =
            Path::new(picture).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return Err(LoadError::PicturePlace { picture: picture.clone(), path: path.into() });
        }
    }
    Ok(())
}

/// What the order of additions may add to a score of 1.
const ROUNDING: f64 = 1e-9;

/// Refuses scores that are no numbers or lie outside of their bounds.
fn check_scores(path: &Path, cases: &[CaseRow]) -> Result<(), LoadError> {
    for row in cases {
        for &measure in Measure::ALL {
            // The error is there even where Dice is undefined.
            let score = match measure {
                Measure::Mae => Some(row.mae),
                _ => row.get(measure),
            };
            let Some(score) = score else { continue };
            let most = match measure {
                // The sum over n pixels is divided by n - 1, as published; of one pixel by almost nothing.
                Measure::EMeasure | Measure::EMeasureAdaptive => {
                    match row.width.saturating_mul(row.height) {
                        0 | 1 => f64::INFINITY,
                        // A protocol may score at another size than the file's, so the bound is that of any.
                        _ => 2.0,
                    }
                }
                _ if measure.unit().is_some() => f64::INFINITY,
                _ => 1.0,
            };
            if !score.is_finite() || !(-ROUNDING..=most + ROUNDING).contains(&score) {
                return Err(LoadError::CaseScore {
                    measure: measure.name(),
                    case: row.file.clone(),
                    score,
                    most,
                    path: path.into(),
                });
            }
        }
    }
    Ok(())
}

/// The rows of one result.
#[derive(Default, Clone, Copy)]
struct Group<'a> {
    /// Those with a score of Dice.
    rows_n: usize,
    /// Those without one.
    rows_skipped: usize,
    /// The first case that has two.
    twice: Option<&'a str>,
}

/// Compares the rows with the numbers of cases in the record. A run that has lost all its rows is left to
/// those who need them.
fn check_counts(path: &Path, record: &RunRecord, cases: &[CaseRow]) -> Result<(), LoadError> {
    if cases.is_empty() {
        return Ok(());
    }
    // Counted once: neither the rows nor the results of somebody else's run are few.
    let of = |data, split, prompts| -> [&str; 3] { [data, split, prompts] };
    let mut groups: BTreeMap<[&str; 3], Group<'_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for case in cases {
        let key = of(&case.data, &case.split, &case.prompts);
        let group = groups.entry(key).or_default();
        if !seen.insert((key, case.file.as_str())) {
            group.twice = group.twice.or(Some(&case.file));
        }
        match case.dice {
            Some(_) => group.rows_n += 1,
            None => group.rows_skipped += 1,
        }
    }
    for row in &record.rows {
        let line =
            || format!("data `{}`, split `{}`, prompts `{}`", row.data, row.split, row.prompts);
        let Group { rows_n, rows_skipped, twice } =
            groups.get(&of(&row.data, &row.split, &row.prompts)).copied().unwrap_or_default();
        if let Some(case) = twice {
            return Err(LoadError::CaseTwice {
                line: line(),
                case: case.into(),
                path: path.into(),
            });
        }
        if (rows_n, rows_skipped) != (row.n, row.skipped_empty) {
            return Err(LoadError::CaseCount {
                line: line(),
                n: row.n,
                skipped_empty: row.skipped_empty,
                rows_n,
                rows_skipped,
                path: path.into(),
            });
        }
    }
    Ok(())
}

/// Refuses what no training can have: numbers that are infinite, shares outside of 0 to 1, epochs beyond the
/// last.
fn check_epochs(path: &Path, record: &RunRecord, epochs: &[EpochRow]) -> Result<(), LoadError> {
    let planned = record.training.as_ref().map(|t| t.epochs_planned.max(t.epochs_run));
    for row in epochs {
        let refused = |column, number, expected| {
            Err(LoadError::EpochNumber {
                column,
                epoch: row.epoch,
                number,
                expected,
                path: path.into(),
            })
        };
        if row.epoch == 0 || planned.is_some_and(|planned| row.epoch > planned) {
            return refused("epoch", row.epoch as f64, "1 to the epochs of the record");
        }
        for (column, number) in [("loss", Some(row.loss)), ("learning_rate", row.learning_rate)] {
            if let Some(number) = number.filter(|number| number.is_infinite()) {
                return refused(column, number, "finite or NaN");
            }
        }
        for (column, number) in [("dice", row.dice), ("iou", row.iou)] {
            if !number.is_nan() && !(-ROUNDING..=1.0 + ROUNDING).contains(&number) {
                return refused(column, number, "0 to 1 or NaN");
            }
        }
    }
    Ok(())
}

fn if_present<T>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, RunRecordError>,
) -> Result<Option<T>, RunRecordError> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

/// Reads a file that no number depends on: one that cannot be read is said, and missed where it is needed.
fn if_usable<T: DeserializeOwned>(path: &Path) -> Option<T> {
    match if_present(path, read_json) {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!("{error}; nothing of it is used");
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use run_record::{write_bytes, write_rows};

    use super::*;
    use crate::testing;

    #[test]
    fn damaged_files_that_no_number_depends_on_are_left_out() {
        let runs = tempfile::tempdir().unwrap();
        let run = testing::with_panels(runs.path(), &testing::record("apm", 1), &[(4, 4)]);
        write_bytes(&run.folder.environment(), b"{ \"revision\"").unwrap();
        write_bytes(&run.folder.panels(), b"").unwrap();
        let loaded = Run::read(run.folder.clone()).unwrap();
        assert_eq!((loaded.environment, loaded.panels.len()), (None, 0));
        assert_eq!(loaded.cases, run.cases);
    }

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
            assert_eq!(loaded[0].outline.as_deref(), Some(&outline), "{}", path.display());
        }
        assert_eq!(load(&paths).unwrap().len(), 1, "one run by three names");
    }

    #[test]
    fn a_picture_outside_of_its_folder_is_refused() {
        let runs = tempfile::tempdir().unwrap();
        let run = testing::with_panels(runs.path(), &testing::record("apm", 1), &[(4, 4)]);
        let path = run.folder.panels();
        for picture in ["../../../secret.png", "/etc/secret.png", "a/../../b.png"] {
            let mut panels = run.panels.clone();
            panels[0].truth = picture.into();
            run_record::write_json(&path, &panels).unwrap();
            let error = load(&[run.folder.root()]).unwrap_err();
            assert!(
                matches!(&error, LoadError::PicturePlace { picture: found, .. } if found == picture),
                "{error}"
            );
            assert!(error.to_string().ends_with("panels.json"), "{error}");
        }
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
    fn scores_that_no_case_can_have_are_refused_with_their_file() {
        let runs = tempfile::tempdir().unwrap();
        let run = testing::with_cases("a", 0, &[("kvasir", "auto", &[Some(0.5), None])]);
        let folder = testing::write(runs.path(), &run.record);
        let load_with = |change: &dyn Fn(&mut Vec<CaseRow>)| {
            let mut cases = run.cases.clone();
            change(&mut cases);
            write_rows(&folder.cases(), &cases).unwrap();
            load(&[folder.root()])
        };
        load_with(&|_| {}).unwrap();
        load_with(&|cases| cases[0].e_measure = Some(32.0 / 31.0)).unwrap();
        load_with(&|cases| cases[0].hd95 = Some(700.0)).unwrap();
        type Damage<'a> = (&'a dyn Fn(&mut Vec<CaseRow>), &'a str);
        let bad: [Damage<'_>; 5] = [
            (&|cases| cases[0].dice = Some(1.5), "dice of `a` is 1.5"),
            (&|cases| cases[0].iou = Some(f64::NAN), "iou of `a` is NaN"),
            (&|cases| cases[1].mae = -0.25, "mae of `b` is -0.25"),
            (&|cases| cases[0].hd95 = Some(f64::INFINITY), "hd95 of `a` is inf"),
            (&|cases| cases[0].e_measure = Some(2.5), "e_measure of `a` is 2.5"),
        ];
        for (change, said) in bad {
            let error = load_with(change).unwrap_err();
            assert!(matches!(error, LoadError::CaseScore { .. }), "{error}");
            let text = error.to_string();
            assert!(text.starts_with(said) && text.ends_with("cases.csv"), "{text}");
        }
    }

    #[test]
    fn cases_that_the_record_does_not_count_are_refused() {
        let runs = tempfile::tempdir().unwrap();
        let scores = [Some(0.5), Some(0.75), None];
        let run = testing::with_cases("a", 0, &[("kvasir", "auto", &scores)]);
        let folder = testing::write(runs.path(), &run.record);
        let error_with = |cases: &[CaseRow]| {
            write_rows(&folder.cases(), cases).unwrap();
            load(&[folder.root()]).unwrap_err()
        };
        let error = error_with(&run.cases[1..]);
        assert!(
            matches!(error, LoadError::CaseCount { n: 2, rows_n: 1, rows_skipped: 1, .. }),
            "{error}"
        );
        let mut emptied = run.cases.clone();
        emptied[0].dice = None;
        let error = error_with(&emptied);
        assert!(matches!(error, LoadError::CaseCount { skipped_empty: 1, rows_skipped: 2, .. }));
        let mut twice = run.cases.clone();
        twice[1].file = twice[0].file.clone();
        let error = error_with(&twice);
        assert!(matches!(error, LoadError::CaseTwice { .. }), "{error}");
    }

    #[test]
    fn numbers_that_no_epoch_can_have_are_refused_with_their_file() {
        let runs = tempfile::tempdir().unwrap();
        let run = testing::trained("a", 0, 3, 0.8);
        let folder = testing::write(runs.path(), &run.record);
        let load_with = |change: &dyn Fn(&mut EpochRow)| {
            let mut epochs = run.epochs.clone();
            change(&mut epochs[1]);
            write_rows(&folder.epochs(), &epochs).unwrap();
            load(&[folder.root()])
        };
        load_with(&|row| (row.loss, row.dice) = (f64::NAN, f64::NAN)).unwrap();
        type Damage<'a> = (&'a dyn Fn(&mut EpochRow), &'a str);
        let bad: [Damage<'_>; 4] = [
            (&|row| row.loss = f64::INFINITY, "loss of epoch 1 is inf"),
            (&|row| row.dice = 1.25, "dice of epoch 1 is 1.25"),
            (&|row| row.epoch = 4, "epoch of epoch 4 is 4"),
            (
                &|row| row.learning_rate = Some(f64::NEG_INFINITY),
                "learning_rate of epoch 1 is -inf",
            ),
        ];
        for (change, said) in bad {
            let error = load_with(change).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(said) && text.ends_with("epochs.csv"), "{text}");
        }
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
