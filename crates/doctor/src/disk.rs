//! Folders that are written to: room, rights, locks, mapped files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use data_loaders::error_chain;
use feature_cache::{FeatureCache, FeatureKey, Lookup, Precision};
use file_lock::{Lock, LockError};
use promise::memory::gib;

use crate::{Area, Question, Report};

/// Less than that and a run ends for want of room.
const NO_ROOM: u64 = 1 << 30;

/// Less than that is soon full of features.
const LITTLE_ROOM: u64 = 10 << 30;

/// File systems of other machines.
const REMOTE: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.sshfs",
];

pub(crate) fn examine(question: &Question, report: &mut Report) {
    let folders = [
        ("runs", &question.runs),
        ("feature cache", &question.cache.root),
        ("weights", &question.weights),
    ];
    for (what, folder) in folders {
        folder_of(what, folder, report);
    }
}

fn folder_of(what: &str, folder: &Path, report: &mut Report) {
    let Some(there) = existing(folder) else {
        report.problem(
            Area::Disk,
            format!("{what}: no part of the path is a folder: {}", folder.display()),
            "name another folder",
        );
        return;
    };
    let name = match there == folder {
        true => format!("{what} ({})", folder.display()),
        false => format!("{what} ({}, to be made in {})", folder.display(), there.display()),
    };
    let tried = match tempfile::Builder::new().prefix(".doctor-").tempdir_in(&there) {
        Ok(tried) => tried,
        Err(error) => {
            report.problem(
                Area::Disk,
                format!("{name}: nothing can be written ({error})"),
                "give yourself the right to write, make room, or name another folder",
            );
            return;
        }
    };
    let system = file_system(&there);
    let on = system.as_ref().map_or_else(String::new, |system| format!(" on {system}"));
    match fs4::available_space(&there) {
        Ok(free) if free < NO_ROOM => report.problem(
            Area::Disk,
            format!("{name}: {} free{on}", gib(free)),
            "make room, or name another folder",
        ),
        Ok(free) if free < LITTLE_ROOM => report.warn(
            Area::Disk,
            format!("{name}: writable, {} free{on}", gib(free)),
            "features of a thousand ViT-B images take 20 GiB: make room, or bound the cache with `--cache-limit`",
        ),
        Ok(free) => report.ok(Area::Disk, format!("{name}: writable, {} free{on}", gib(free))),
        Err(error) => report.warn(
            Area::Disk,
            format!("{name}: writable, but the system does not say how much is free ({error})"),
            "look yourself",
        ),
    }
    if let Some(system) = system.filter(|system| REMOTE.contains(&system.as_str())) {
        report.warn(
            Area::Disk,
            format!("{name}: lies on another machine ({system})"),
            "every image's features are read in every epoch: a local disk is faster",
        );
    }
    if let Err(why) = locks(tried.path()) {
        report.warn(
            Area::Disk,
            format!("{name}: files cannot be locked ({why})"),
            "work with one process at a time there: a second one would not be kept out",
        );
    }
    if let Err(why) = maps(&tried.path().join("cache")) {
        report.problem(
            Area::Disk,
            format!("{name}: what is written does not come back as a mapped file ({why})"),
            "name a folder on a local disk",
        );
    }
}

/// The folder itself, or the nearest one around it that is there.
fn existing(folder: &Path) -> Option<PathBuf> {
    let here = Path::new(".");
    let mut candidates = folder.ancestors().map(|path| match path.as_os_str().is_empty() {
        true => here,
        false => path,
    });
    // Nothing can be made below a file.
    let first = candidates.find(|path| fs::symlink_metadata(path).is_ok())?;
    first.is_dir().then(|| first.to_owned())
}

/// Whether a lock keeps a second one out.
fn locks(folder: &Path) -> Result<(), String> {
    let path = folder.join("lock");
    let _first = Lock::take(&path).map_err(|error| error_chain(&error))?;
    match Lock::take(&path) {
        Err(LockError::Busy { .. }) => Ok(()),
        Err(error) => Err(error_chain(&error)),
        Ok(_) => Err("a second lock was given beside the first".into()),
    }
}

/// Whether a feature comes back as it was stored.
fn maps(folder: &Path) -> Result<(), String> {
    let cache = FeatureCache::open(folder, 1 << 20).map_err(|error| error_chain(&error))?;
    let text = || "doctor".to_owned();
    let key = FeatureKey {
        image: text(),
        preparation: text(),
        view: text(),
        weights: text(),
        encoder: text(),
        tensor: text(),
        precision: Precision::F32,
    };
    let values = [1.0, -2.5, 0.0, 1e-3];
    let shape = [1, 2, 2];
    cache.put(&key, &shape, &values).map_err(|error| error_chain(&error))?;
    match cache.get(&key, &shape).map_err(|error| error_chain(&error))? {
        Lookup::Found(found) if found.values == values => Ok(()),
        Lookup::Found(_) => Err("other numbers".into()),
        Lookup::Absent => Err("nothing is there".into()),
        Lookup::Damaged { damage, .. } => Err(damage.to_string()),
    }
}

/// The kind of the file system, where the system says it (Linux).
fn file_system(folder: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    kind_of(&mounts, &real(folder).ok()?)
}

fn real(folder: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(folder)
}

/// The kind of the innermost mount that holds a path. Of two at one place the later one is seen.
fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            // Spaces are written in octal.
            let (point, kind) = (words.next()?.replace("\\040", " "), words.next()?);
            path.starts_with(&point)
                .then(|| (Path::new(&point).components().count(), kind.to_owned()))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n\
                      tmpfs /home/my\\040data tmpfs rw 0 0\n/dev/sdb /homes xfs rw 0 0\n";
        for (path, kind) in [
            ("/usr/lib", "ext4"),
            ("/home/someone/runs", "nfs4"),
            ("/home/my data/runs", "tmpfs"),
            ("/homes/a", "xfs"),
        ] {
            assert_eq!(kind_of(mounts, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
    }

    #[test]
    fn locks_and_mapped_files_work_in_a_temporary_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(locks(folder.path()), Ok(()));
        assert_eq!(maps(&folder.path().join("cache")), Ok(()));
    }
}
