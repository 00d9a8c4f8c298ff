//! What lies where in one run folder.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use file_watchdog::watched;
use sha2::{Digest as _, Sha256};

use crate::error::RunRecordError;
use crate::record::RunRecord;

/// The bytes of the experiment file that the user wrote.
pub const EXPERIMENT_FILE: &str = "experiment.toml";
/// The settings after defaults and checks.
pub const RESOLVED_FILE: &str = "resolved.json";
/// An [`Environment`](crate::Environment).
pub const ENVIRONMENT_FILE: &str = "environment.json";
/// A [`Timing`](crate::Timing).
pub const TIMING_FILE: &str = "timing.json";
/// What happened in the run, a line each with its time; no part of the result, and different in every run.
pub const LOG_FILE: &str = "run.log";
/// A [`Failure`](crate::Failure); there while a run has failed and was not tried again.
pub const FAILURE_FILE: &str = "failure.json";
/// A [`RunRecord`]; written last.
pub const RECORD_FILE: &str = "record.json";
/// Lines of [`EpochRow`](crate::EpochRow); absent for a method that is not trained.
pub const EPOCHS_FILE: &str = "epochs.csv";
/// Lines of [`CaseRow`](crate::CaseRow).
pub const CASES_FILE: &str = "cases.csv";
/// Lines of [`CurveRow`](crate::CurveRow): what curves over thresholds are made of.
pub const CURVES_FILE: &str = "curves.csv";
/// Lines of [`ClickRow`](crate::ClickRow): what a simulated user's clicks bring; absent until somebody asks for it.
pub const CLICKS_FILE: &str = "clicks.csv";
/// Predictions as pictures, if the experiment asked for them.
pub const PREDICTIONS_DIR: &str = "predictions";
/// The trained tensors; absent for a method that is not trained.
pub const ADAPTERS_FILE: &str = "adapters.safetensors";
/// What training can be resumed from.
pub const CHECKPOINT_DIR: &str = "checkpoint";
/// Pictures and [`PANELS_FILE`].
pub const PANELS_DIR: &str = "panels";
/// An [`Outline`](crate::Outline), beside the run folders of an experiment.
pub const OUTLINE_FILE: &str = "outline.json";
/// A list of [`Panel`](crate::Panel)s, inside [`PANELS_DIR`].
pub const PANELS_FILE: &str = "panels.json";

/// What a file or folder is, for the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDoc {
    /// Its name; of a folder with a `/` at its end.
    pub name: &'static str,
    /// When it is there, in words.
    pub when: &'static str,
    /// What it holds.
    pub what: &'static str,
}

const fn file(name: &'static str, when: &'static str, what: &'static str) -> FileDoc {
    FileDoc { name, when, what }
}

/// What lies in a run folder.
pub const FILES: [FileDoc; 15] = [
    file(EXPERIMENT_FILE, "always", "the bytes of the file that the user wrote"),
    file(
        RESOLVED_FILE,
        "always",
        "the settings of this run after variant, grid, `--set` and defaults, the TOML they came from, and hashes of weights and data",
    ),
    file(
        ENVIRONMENT_FILE,
        "always",
        "revision, whether it had changes, hash of the program, versions, device, threads, system, processor, GPU, seed, command",
    ),
    file(
        LOG_FILE,
        "always",
        "what happened, line by line with time and level, appended to by every try: differs between runs, and no result depends on it",
    ),
    file(
        EPOCHS_FILE,
        "if it is trained step by step",
        "loss, Dice, IoU by epoch, training and held-out images",
    ),
    file(
        ADAPTERS_FILE,
        "if it learns anything",
        "the adapters of the best epoch, linear layers in PyTorch's layout; no tensor of SAM",
    ),
    file(
        CASES_FILE,
        "when it is evaluated",
        "one row per test image and prompt source, every measure of the protocol: any table can be made again without the model",
    ),
    file(
        CURVES_FILE,
        "when it is evaluated, but not by `promise_reference`",
        "the same rows' pixels by level and truth: curves over thresholds and their maxima",
    ),
    file(
        CLICKS_FILE,
        "once `eval RUN --prompts simulated` was called",
        "one row per test image and number of [clicks](clicks.md); no part of the record",
    ),
    file(
        "predictions/",
        "with `evaluate.save_predictions`",
        "`<data>-<prompts>/<case>.png`, the soft maps in 16 bits",
    ),
    file(
        "panels/",
        "unless `evaluate.panels` is 0",
        "pictures of a few cases, and `panels.json` that describes them",
    ),
    file(
        TIMING_FILE,
        "when it is evaluated",
        "seconds of each evaluation, of proposing, of a fit: the only numbers that differ when a run is made again",
    ),
    file(
        RECORD_FILE,
        "when it has finished",
        "written last, so its presence means that the run finished. Results, parameter counts, hashes, skipped cases",
    ),
    file(
        "checkpoint/",
        "while it is unfinished",
        "the last two epochs and the best as of each, with the rows of `epochs.csv` as of then and checksums (`epoch-<n>.json`)",
    ),
    file(FAILURE_FILE, "while it has failed and was not tried again", "why"),
];

/// Paths inside one run folder, `runs/<experiment>/<variant>-seed<seed>/`.
///
/// Only [`read_record`](Self::read_record) and [`checksums`](Self::checksums) touch the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// The run folder at `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of one run below `runs`.
    ///
    /// `experiment` and `variant` become folder names: the caller has checked that they are.
    pub fn of(runs: &Path, experiment: &str, variant: &str, seed: u64) -> Self {
        Self::new(runs.join(experiment).join(format!("{variant}-seed{seed}")))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of [`EXPERIMENT_FILE`].
    pub fn experiment(&self) -> PathBuf {
        self.root.join(EXPERIMENT_FILE)
    }

    /// Path of [`RESOLVED_FILE`].
    pub fn resolved(&self) -> PathBuf {
        self.root.join(RESOLVED_FILE)
    }

    /// Path of [`ENVIRONMENT_FILE`].
    pub fn environment(&self) -> PathBuf {
        self.root.join(ENVIRONMENT_FILE)
    }

    /// Path of [`TIMING_FILE`].
    pub fn timing(&self) -> PathBuf {
        self.root.join(TIMING_FILE)
    }

    /// Path of [`LOG_FILE`].
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG_FILE)
    }

    /// Path of [`FAILURE_FILE`].
    pub fn failure(&self) -> PathBuf {
        self.root.join(FAILURE_FILE)
    }

    /// Path of [`RECORD_FILE`].
    pub fn record(&self) -> PathBuf {
        self.root.join(RECORD_FILE)
    }

    /// Path of [`EPOCHS_FILE`].
    pub fn epochs(&self) -> PathBuf {
        self.root.join(EPOCHS_FILE)
    }

    /// Path of [`CASES_FILE`].
    pub fn cases(&self) -> PathBuf {
        self.root.join(CASES_FILE)
    }

    /// Path of [`CURVES_FILE`].
    pub fn curves(&self) -> PathBuf {
        self.root.join(CURVES_FILE)
    }

    /// Path of [`CLICKS_FILE`].
    pub fn clicks(&self) -> PathBuf {
        self.root.join(CLICKS_FILE)
    }

    /// Path of [`PREDICTIONS_DIR`].
    pub fn predictions_dir(&self) -> PathBuf {
        self.root.join(PREDICTIONS_DIR)
    }

    /// The folder of the predictions on one data set with one prompt source:
    /// `predictions/<data>-<prompts>/`, with a picture `<case>.png` each.
    pub fn predictions(&self, data: &str, prompts: &str) -> PathBuf {
        self.predictions_dir().join(format!("{data}-{prompts}"))
    }

    /// Path of [`ADAPTERS_FILE`].
    pub fn adapters(&self) -> PathBuf {
        self.root.join(ADAPTERS_FILE)
    }

    /// Path of [`CHECKPOINT_DIR`].
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join(CHECKPOINT_DIR)
    }

    /// Path of [`PANELS_DIR`]; the paths in [`Panel`](crate::Panel) start here.
    pub fn panels_dir(&self) -> PathBuf {
        self.root.join(PANELS_DIR)
    }

    /// Path of [`PANELS_FILE`].
    pub fn panels(&self) -> PathBuf {
        self.panels_dir().join(PANELS_FILE)
    }

    /// Path of [`OUTLINE_FILE`], which the runs of an experiment share: beside this folder.
    ///
    /// The root must end in the folder's name: nothing can be put beside `.` or `..` without asking
    /// the disk what they are.
    pub fn outline(&self) -> PathBuf {
        self.root.with_file_name(OUTLINE_FILE)
    }

    /// Reads [`RECORD_FILE`].
    ///
    /// # Errors
    ///
    /// [`RunRecordError::NotARunFolder`] if there is neither a record nor an experiment,
    /// [`RunRecordError::Unfinished`] if there is only an experiment, [`RunRecordError::Changed`] if a
    /// CSV file is another one than the record says, and those of [`RunRecord::read`]. A file that is
    /// gone is no error: what needs it says so.
    pub fn read_record(&self) -> Result<RunRecord, RunRecordError> {
        let record = self.record();
        if record.is_file() {
            let record = RunRecord::read(&record)?;
            for (name, found) in self.checksums()? {
                if let Some(recorded) = record.files.get(&name)
                    && *recorded != found
                {
                    let (recorded, path) = (recorded.clone(), self.root.join(name));
                    return Err(RunRecordError::Changed { found, recorded, path });
                }
            }
            return Ok(record);
        }
        let path = self.root.clone();
        Err(if self.experiment().is_file() {
            RunRecordError::Unfinished { path }
        } else {
            RunRecordError::NotARunFolder { path }
        })
    }

    /// SHA-256 of the CSV files that are there, by name: what [`RunRecord::files`] holds besides that of the adapters.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::NotAFile`] if one is no regular file, [`RunRecordError::Read`] if it cannot be read.
    pub fn checksums(&self) -> Result<BTreeMap<String, String>, RunRecordError> {
        let mut all = BTreeMap::new();
        for name in [CASES_FILE, CURVES_FILE, EPOCHS_FILE] {
            all.extend(sha256(&self.root.join(name))?.map(|sum| (name.to_owned(), sum)));
        }
        Ok(all)
    }

    /// SHA-256 of [`ADAPTERS_FILE`], if it is there.
    ///
    /// # Errors
    ///
    /// Those of [`checksums`](Self::checksums).
    pub fn adapters_checksum(&self) -> Result<Option<String>, RunRecordError> {
        sha256(&self.adapters())
    }

    /// Whether the adapters are those that the run wrote, as far as its record says. Apart from
    /// [`read_record`](Self::read_record), since they are large, and tables do without.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::Changed`], and those of [`checksums`](Self::checksums). A file that is gone is none.
    pub fn check_adapters(&self, record: &RunRecord) -> Result<(), RunRecordError> {
        let recorded = record.files.get(ADAPTERS_FILE);
        match self.adapters_checksum()?.zip(recorded.cloned()) {
            Some((found, recorded)) if found != recorded => {
                Err(RunRecordError::Changed { found, recorded, path: self.adapters() })
            }
            _ => Ok(()),
        }
    }
}

fn sha256(path: &Path) -> Result<Option<String>, RunRecordError> {
    let failed = |source| RunRecordError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => {
            return Err(RunRecordError::NotAFile { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    watched(path, || {
        let (mut hasher, mut reader) = (Sha256::new(), BufReader::new(File::open(path)?));
        loop {
            let bytes = reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(Some(hex::encode(hasher.finalize())));
            }
            hasher.update(bytes);
            let n = bytes.len();
            reader.consume(n);
        }
    })
    .map_err(failed)
}
