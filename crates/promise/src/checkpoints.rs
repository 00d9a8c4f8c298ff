//! The checkpoints of a run: three files an epoch, written whole, beside them the rows of `epochs.csv` as of this epoch and
//! the checksums of all four, kept as long as anybody may go back to them.
//!
//! burn-train hands the parts of a checkpoint to a thread each and does not wait for them. So an epoch is recorded (in
//! `epochs.csv`) only after [`Checkpoints::seal`] has heard of all three, and only then older ones go: whatever
//! `epochs.csv` names is there at any moment.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use burn::{
    lr_scheduler::LrSchedulerRecord,
    optim::OptimizerRecord,
    store::ModuleRecord,
    train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError},
};
use run_record::{
    EpochRow, RunRecordError, csv_bytes, read_bytes, read_json, read_rows, write_bytes, write_json,
};
use sha2::{Digest as _, Sha256};

/// A part of a checkpoint, written by a thread of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Model,
    Optimizer,
    Scheduler,
}

impl Part {
    const ALL: [Self; 3] = [Self::Model, Self::Optimizer, Self::Scheduler];

    /// Names as burn-train gives them.
    fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Optimizer => "optim",
            Self::Scheduler => "scheduler",
        }
    }

    fn file(self, epoch: usize) -> String {
        format!("{}-{epoch}.bpk", self.name())
    }
}

/// The file with the SHA-256 of each part of an epoch and of its rows.
fn seal_file(epoch: usize) -> String {
    format!("epoch-{epoch}.json")
}

/// The file with the rows of all epochs up to this one: which epoch was the best is part of what training goes on from.
fn rows_file(epoch: usize) -> String {
    format!("epochs-{epoch}.csv")
}

/// Why an epoch has no checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// A file cannot be written or read.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// The store does not make bytes of a part, or none of its bytes a part.
    #[error("checkpoint ({message}): {}", path.display())]
    Store { path: PathBuf, message: String },
    /// A file has other bytes than it was written with.
    #[error("changed since it was written (SHA-256 {found}, written {sealed}): {}", path.display())]
    Changed { found: String, sealed: String, path: PathBuf },
    /// A checksum is missing.
    #[error("names no checksum of {name}: {}", path.display())]
    Unsealed { name: String, path: PathBuf },
    /// The rows are not those of the epoch.
    #[error("does not end with epoch {epoch}: {}", path.display())]
    OtherRows { epoch: usize, path: PathBuf },
    /// The thread that should have written it has ended.
    #[error("nobody wrote {}", path.display())]
    Unwritten { path: PathBuf },
}

/// The checkpoints in a folder. Clones share what they wait for.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    written: Arc<Written>,
}

/// What the writing threads have reported.
#[derive(Debug, Default)]
struct Written {
    parts: Mutex<BTreeMap<(usize, Part), Result<String, CheckpointError>>>,
    changed: Condvar,
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(usize, Part), Result<String, CheckpointError>>> {
        // Each report is one insertion.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, epoch: usize, part: Part, result: Result<String, CheckpointError>) {
        self.lock().insert((epoch, part), result);
        self.changed.notify_all();
    }

    /// Waits for a part and takes what was reported of it.
    fn wait(&self, epoch: usize, part: Part) -> Result<String, CheckpointError> {
        let mut parts = self
            .changed
            .wait_while(self.lock(), |parts| !parts.contains_key(&(epoch, part)))
            .unwrap_or_else(PoisonError::into_inner);
        parts.remove(&(epoch, part)).expect("it was waited for")
    }
}

impl Checkpoints {
    /// The checkpoints in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, written: Arc::default() }
    }

    /// What burn-train writes and reads a part with.
    pub fn part(&self, part: Part) -> PartFiles {
        PartFiles { checkpoints: self.clone(), part }
    }

    /// Where a part of an epoch lies.
    pub fn path(&self, part: Part, epoch: usize) -> PathBuf {
        self.folder.join(part.file(epoch))
    }

    /// Waits until every part of an epoch is written, then writes the rows, then the checksums.
    ///
    /// - `rows`: of all epochs up to this one
    ///
    /// # Errors
    ///
    /// Why a part, the rows or the checksums could not be written.
    pub fn seal(&self, epoch: usize, rows: &[EpochRow]) -> Result<(), CheckpointError> {
        // All are waited for, so that none is taken for one of a later try.
        let parts = Part::ALL.map(|part| (part, self.written.wait(epoch, part)));
        let mut sums = BTreeMap::new();
        for (part, sum) in parts {
            sums.insert(part.file(epoch), sum?);
        }
        let path = self.folder.join(rows_file(epoch));
        let bytes = csv_bytes(&path, rows)?;
        write_bytes(&path, &bytes)?;
        sums.insert(rows_file(epoch), sha256(&bytes));
        Ok(write_json(&self.folder.join(seal_file(epoch)), &sums)?)
    }

    /// The epochs that were sealed, newest first.
    pub fn sealed(&self) -> Vec<usize> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut epochs: Vec<usize> = paths
            .filter_map(|path| epoch_of(&path).filter(|epoch| path.ends_with(seal_file(*epoch))))
            .collect();
        epochs.sort_unstable_by(|a, b| b.cmp(a));
        epochs
    }

    /// The rows of all epochs up to this one, as they were when it was sealed.
    ///
    /// # Errors
    ///
    /// If they are not there, or others.
    pub fn rows(&self, epoch: usize) -> Result<Vec<EpochRow>, CheckpointError> {
        let path = self.folder.join(rows_file(epoch));
        self.compare(&self.seals(epoch)?, epoch, &rows_file(epoch))?;
        let rows: Vec<EpochRow> = read_rows(&path)?;
        match rows.last() {
            Some(last) if last.epoch == epoch => Ok(rows),
            _ => Err(CheckpointError::OtherRows { epoch, path }),
        }
    }

    fn seals(&self, epoch: usize) -> Result<BTreeMap<String, String>, CheckpointError> {
        Ok(read_json(&self.folder.join(seal_file(epoch)))?)
    }

    /// Compares a file of an epoch with its checksum.
    fn compare(
        &self,
        sums: &BTreeMap<String, String>,
        epoch: usize,
        name: &str,
    ) -> Result<(), CheckpointError> {
        let Some(sealed) = sums.get(name) else {
            let path = self.folder.join(seal_file(epoch));
            return Err(CheckpointError::Unsealed { name: name.to_owned(), path });
        };
        let path = self.folder.join(name);
        let found = sha256(&read_bytes(&path)?);
        match found == *sealed {
            true => Ok(()),
            false => Err(CheckpointError::Changed { found, sealed: sealed.clone(), path }),
        }
    }

    /// Whether an epoch can be gone on from: every part has the bytes that it was written with and can be loaded.
    /// burn-train panics at a checkpoint that it cannot read.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, epoch: usize) -> Result<(), CheckpointError> {
        let sums = self.seals(epoch)?;
        for part in Part::ALL {
            self.compare(&sums, epoch, &part.file(epoch))?;
            let path = self.path(part, epoch);
            let loaded = match part {
                Part::Model => ModuleRecord::load(&path).map(drop),
                Part::Optimizer => OptimizerRecord::load(&path).map(drop),
                Part::Scheduler => LrSchedulerRecord::load(&path).map(drop),
            };
            loaded.map_err(|error| CheckpointError::Store { path, message: error.to_string() })?;
        }
        Ok(())
    }

    /// Removes the checkpoints of all other epochs.
    pub fn keep(&self, epochs: &[usize]) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if epoch_of(&path).is_some_and(|epoch| !epochs.contains(&epoch)) {
                // What is left behind costs disk only.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The epoch that a file is of, `None` for any other file.
fn epoch_of(path: &Path) -> Option<usize> {
    let (kind, epoch) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let epoch = epoch.parse().ok()?;
    let name = path.file_name()?.to_str()?;
    let ours = Part::ALL.iter().any(|part| part.name() == kind && part.file(epoch) == name)
        || name == seal_file(epoch)
        || name == rows_file(epoch);
    ours.then_some(epoch)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// One part of every checkpoint, for burn-train.
pub(crate) struct PartFiles {
    checkpoints: Checkpoints,
    part: Part,
}

impl PartFiles {
    fn write(&self, epoch: usize, record: impl Checkpoint) -> Result<String, CheckpointError> {
        let path = self.checkpoints.path(self.part, epoch);
        let bytes = record.checkpoint_into_bytes().map_err(|error| CheckpointError::Store {
            path: path.clone(),
            message: error.to_string(),
        })?;
        fs::create_dir_all(&self.checkpoints.folder)
            .map_err(|source| RunRecordError::Write { path: path.clone(), source })?;
        write_bytes(&path, &bytes)?;
        Ok(sha256(&bytes))
    }
}

/// Reports that a part was not written, unless it is told otherwise before it is dropped: a panic of the store must not
/// leave training waiting for ever.
struct Unwritten<'a> {
    files: &'a PartFiles,
    epoch: usize,
    result: Option<Result<String, CheckpointError>>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        let PartFiles { checkpoints, part } = self.files;
        let result = self.result.take().unwrap_or_else(|| {
            Err(CheckpointError::Unwritten { path: checkpoints.path(*part, self.epoch) })
        });
        checkpoints.written.report(self.epoch, *part, result);
    }
}

impl<R: Checkpoint> Checkpointer<R> for PartFiles {
    /// An error is reported to who seals the epoch, with its type.
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let mut report = Unwritten { files: self, epoch, result: None };
        report.result = Some(self.write(epoch, record));
        Ok(())
    }

    /// Nothing: see [`Checkpoints::keep`].
    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        R::load(self.checkpoints.path(self.part, epoch))
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        lr_scheduler::{constant::ConstantLr, module_lr_scheduler::ModuleLrScheduler},
        module::Module,
        nn::LinearConfig,
        tensor::Device,
    };

    use super::*;
    use crate::train::adam;

    fn save(checkpoints: &Checkpoints, epoch: usize) {
        let layer = LinearConfig::new(2, 2).init(&Device::flex());
        let scheduler = ModuleLrScheduler::from(ConstantLr::new(0.1));
        Checkpointer::<ModuleRecord>::save(
            &checkpoints.part(Part::Model),
            epoch,
            layer.into_record(),
        )
        .expect("reported elsewhere");
        Checkpointer::<OptimizerRecord>::save(
            &checkpoints.part(Part::Optimizer),
            epoch,
            adam().to_record(),
        )
        .expect("reported elsewhere");
        Checkpointer::<LrSchedulerRecord>::save(
            &checkpoints.part(Part::Scheduler),
            epoch,
            scheduler.to_record(),
        )
        .expect("reported elsewhere");
    }

    fn rows(epochs: usize) -> Vec<EpochRow> {
        (1..=epochs)
            .map(|epoch| EpochRow {
                epoch,
                split: EpochRow::VALID.to_owned(),
                loss: 1.0,
                dice: 0.5,
                iou: 0.25,
                learning_rate: None,
            })
            .collect()
    }

    #[test]
    fn any_changed_missing_or_cut_file_is_noticed_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
        for epoch in [1, 2] {
            save(&checkpoints, epoch);
            checkpoints.seal(epoch, &rows(epoch)).expect("sealed");
            checkpoints.check(epoch).expect("whole");
            assert_eq!(checkpoints.rows(epoch).expect("whole"), rows(epoch));
        }
        assert_eq!(checkpoints.sealed(), [2, 1]);
        let refused = |path: &Path| {
            let text = data_loaders::error_chain(&checkpoints.check(1).expect_err("damaged"));
            assert!(text.contains(&path.display().to_string()), "{text}");
            checkpoints.check(2).expect("the other is whole");
        };
        for part in Part::ALL {
            let path = checkpoints.path(part, 1);
            let whole = fs::read(&path).expect("written");
            // One bit of the last byte: a file that loads, with another number in it.
            let mut changed = whole.clone();
            *changed.last_mut().expect("bytes") ^= 1;
            for damaged in [&changed[..], &whole[..whole.len() / 2], &[], &vec![0; whole.len()]] {
                fs::write(&path, damaged).expect("written");
                refused(&path);
            }
            fs::remove_file(&path).expect("removed");
            refused(&path);
            fs::write(&path, whole).expect("written");
        }
        let path = folder.path().join("checkpoint").join(rows_file(1));
        let whole = fs::read_to_string(&path).expect("written");
        for damaged in [whole.replace("0.5", "0.7"), String::new(), whole[..20].to_owned()] {
            fs::write(&path, damaged).expect("written");
            let text = data_loaders::error_chain(&checkpoints.rows(1).expect_err("damaged"));
            assert!(text.contains(&path.display().to_string()), "{text}");
            checkpoints.rows(2).expect("the other is whole");
        }
        let seal = folder.path().join("checkpoint").join(seal_file(1));
        for damaged in ["{\"model-1", "{}"] {
            fs::write(&seal, damaged).expect("written");
            refused(&seal);
        }
        fs::remove_file(&seal).expect("removed");
        refused(&seal);
        assert_eq!(checkpoints.sealed(), [2]);
        checkpoints.keep(&[]);
        let left = fs::read_dir(folder.path().join("checkpoint")).expect("there").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_part_that_cannot_be_written_or_is_never_written_is_an_error_and_no_hang() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("checkpoint");
        fs::write(&taken, "a file where the folder should be").expect("written");
        let checkpoints = Checkpoints::new(taken);
        save(&checkpoints, 1);
        let text =
            data_loaders::error_chain(&checkpoints.seal(1, &rows(1)).expect_err("no folder"));
        assert!(text.contains("cannot write") && text.contains("model-1.bpk"), "{text}");

        let files = checkpoints.part(Part::Scheduler);
        drop(Unwritten { files: &files, epoch: 2, result: None });
        let lost = checkpoints.written.wait(2, Part::Scheduler).expect_err("nobody wrote it");
        assert!(lost.to_string().contains("scheduler-2.bpk"), "{lost}");
    }

    #[test]
    fn only_checkpoints_of_other_epochs_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["model-1.bpk", "epoch-1.json", "optim-12.bpk", "notes-1.bpk", "model-x.bpk"];
        for name in names {
            fs::write(folder.path().join(name), "").expect("written");
        }
        Checkpoints::new(folder.path().to_owned()).keep(&[12]);
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["model-x.bpk", "notes-1.bpk", "optim-12.bpk"]);
    }
}
