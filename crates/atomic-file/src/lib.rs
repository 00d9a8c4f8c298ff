//! Writing of files that are whole or not there, whatever happens meanwhile: a kill, a power cut, a full disk.
//!
//! [`write`] is the one way in which this workspace writes results: bytes go to a temporary name in the same folder, are
//! synced, and the file is renamed; then the folder is synced, so that the new name survives a power cut. A reader sees
//! the former file or the new one.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use file_watchdog::watched;

/// Beginning and end of temporary names: hidden, so that nobody who lists images takes the rest of a killed process for
/// one.
const PARTIAL: (&str, &str) = (".", ".partial");

/// A file system has names of up to 255 bytes; a longer one than this is shortened in the temporary name.
const LONGEST_NAME: usize = 200;

/// Writes a file so that neither a reader nor a crash ever sees half of it.
///
/// The temporary name depends on `path` alone: what a killed process left is overwritten by the next one that writes the
/// same file. Two that write it at once take turns, by a lock that ends with its process. Where no locks are asked for
/// ([`file_lock::has_system_locks`]), every process has a temporary name of its own, and the last one that renames wins.
/// A [watchdog](file_watchdog) sees it: a share that hangs keeps a writer waiting like a reader.
///
/// # Errors
///
/// What the system said, e.g. if the folder is missing; for a full disk and its like with what can be done about it (see
/// [`explained`]). A file that was there before is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    watched(path, || replace(path, bytes)).map_err(explained)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let writer = if file_lock::has_system_locks() { String::new() } else { own_name() };
    let partial = partial_path_of(path, &writer)?;
    let mut file = open_alone(&partial)?;
    let written = file
        .set_len(0)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        // While the lock is held: who waits for it finds another file under the name, or none.
        .and_then(|()| fs::rename(&partial, path));
    if let Err(error) = written {
        // The first error is the one to report. On a full disk the rest must not stay.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    sync_parent(path)
}

/// Whether a file name is one that [`write`] gives to unfinished files.
pub fn is_partial(name: &OsStr) -> bool {
    let (start, end) = PARTIAL;
    let name = name.as_encoded_bytes();
    name.starts_with(start.as_bytes()) && name.ends_with(end.as_bytes())
}

/// What no other thread of any machine is called.
fn own_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut hasher = DefaultHasher::new();
    file_lock::lease::host().hash(&mut hasher);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!(".{:08x}-{}-{number}", hasher.finish() as u32, std::process::id())
}

#[cfg(test)]
fn partial_path(path: &Path) -> io::Result<PathBuf> {
    partial_path_of(path, "")
}

/// - `writer`: part of the name that is the writer's own
fn partial_path_of(path: &Path, writer: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let (start, end) = PARTIAL;
    let mut partial = OsString::from(start);
    if name.len() <= LONGEST_NAME {
        partial.push(name);
    } else {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        partial.push(format!("{:016x}", hasher.finish()));
    }
    partial.push(writer);
    partial.push(end);
    Ok(path.with_file_name(partial))
}

/// Opens the temporary file for the only process and thread that has it.
fn open_alone(partial: &Path) -> io::Result<File> {
    loop {
        remove_link(partial)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(partial)?;
        if !file_lock::has_system_locks() {
            return Ok(file);
        }
        // Some file systems know no locks. Then two that write the same file at once may spoil it, as everywhere.
        if file.lock().is_err() || file_lock::is_still_there(&file, partial)? {
            return Ok(file);
        }
        // Whoever had it before us has renamed it between our opening and our locking.
    }
}

/// Removes a link of this name: opening it would write where it leads to, which may be outside of the folder. Nobody but a
/// stranger puts one there.
fn remove_link(partial: &Path) -> io::Result<()> {
    match fs::symlink_metadata(partial) {
        Ok(there) if there.is_symlink() => match fs::remove_file(partial) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        _ => Ok(()),
    }
}

/// Removes the temporary files in a folder whose process is gone; those of others at work stay.
///
/// For a file that will not be written again under the same name: the rest of any other is overwritten. Where no locks are
/// asked for, all of them go: the folder has to be the caller's own by a [lease](file_lock::lease).
///
/// # Errors
///
/// If the folder cannot be listed or a rest not be removed; a folder that is not there has none.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !is_partial(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        remove_link(&path)?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let removed = OpenOptions::new().write(true).open(&path).and_then(|file| {
            match file_lock::has_system_locks().then(|| file.try_lock()) {
                Some(Err(TryLockError::WouldBlock)) => Ok(()),
                // Locked, or on a file system that knows no locks.
                _ => fs::remove_file(&path),
            }
        });
        match removed {
            // Finished or removed by its owner meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Makes the names in the folder of `path` durable: a rename, or that it was made. Only Unix can open a folder as a file.
///
/// # Errors
///
/// What the system said.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// An error of the system with what can be done about it.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {advice}")]
struct Explained {
    source: io::Error,
    advice: &'static str,
}

/// Adds to an error of writing what can be done about it, if that is known: for a full disk, a quota, a limit on the size
/// of files, a read-only file system. Its kind stays.
pub fn explained(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        ErrorKind::StorageFull => {
            "free some space on that disk or name a folder on another one; what is finished is kept, and the same command \
             goes on from there"
        }
        ErrorKind::QuotaExceeded => {
            "your quota there is used up: remove some files or name a folder elsewhere; what is finished is kept, and the \
             same command goes on from there"
        }
        ErrorKind::FileTooLarge => {
            "a limit on the size of files is in force (`ulimit -f`, or the file system's own): raise it or name a folder \
             elsewhere; what is finished is kept, and the same command goes on from there"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "name a folder that can be written, or see whether the disk has failed"
        }
        _ if too_many_open(&error) => {
            "this program, or the machine, has as many files open as it may: raise the limit (`ulimit -n`); what is \
             finished is kept, and the same command goes on from there"
        }
        _ => return error,
    };
    // Not twice.
    if error.get_ref().is_some_and(|inner| inner.is::<Explained>()) {
        return error;
    }
    io::Error::new(error.kind(), Explained { source: error, advice })
}

/// EMFILE and ENFILE, which have no kind of their own.
fn too_many_open(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"a long first text").unwrap();
        write(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn what_a_killed_process_left_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(partial_path(&path).unwrap(), "half of a longer text of a process that is gone")
            .unwrap();
        write(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_under_the_temporary_name_leads_nowhere() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("a.txt");
        let (partial, target) = (partial_path(&path).unwrap(), elsewhere.path().join("precious"));
        let untouched = |there: bool| {
            assert_eq!(fs::read(&target).ok(), there.then(|| b"precious".to_vec()));
        };
        for there in [true, false] {
            let _ = fs::remove_file(&target);
            if there {
                fs::write(&target, "precious").unwrap();
            }
            std::os::unix::fs::symlink(&target, &partial).unwrap();
            write(&path, b"text").unwrap();
            untouched(there);
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "it became the file");
            assert_eq!(fs::read(&path).unwrap(), b"text");

            std::os::unix::fs::symlink(&target, &partial).unwrap();
            remove_leftovers(folder.path()).unwrap();
            untouched(there);
            assert_eq!(names(folder.path()), ["a.txt"]);
        }
    }

    #[test]
    fn too_many_open_files_are_told_with_the_limit() {
        let error = explained(io::Error::from_raw_os_error(24));
        assert_eq!(error.to_string().contains("ulimit -n"), cfg!(unix), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_the_former_file_and_no_rest() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that is not empty cannot be replaced by a file.
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a"), "").unwrap();
        write(&path, b"text").unwrap_err();
        assert_eq!(names(folder.path()), ["taken"]);
        let absent = folder.path().join("no/such/folder/a.txt");
        assert_eq!(write(&absent, b"").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(write(Path::new(""), b"").is_err());
    }

    #[test]
    fn the_longest_name_that_a_file_system_has_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(255));
        write(&path, b"text").unwrap();
        assert_eq!(names(folder.path()), ["n".repeat(255).as_str()]);
    }

    #[test]
    fn of_many_writers_the_file_is_always_that_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, &[0; 10_000]).unwrap();
        std::thread::scope(|scope| {
            for writer in 1..=4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write(path, &vec![writer; 10_000 * usize::from(writer)]).unwrap();
                        let read = fs::read(path).unwrap();
                        let first = read[0];
                        assert_eq!(read.len(), 10_000 * usize::from(first));
                        assert!(read.iter().all(|&byte| byte == first));
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn leftovers_go_and_the_file_of_a_writer_at_work_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [dead, alive] = ["dead", "alive"].map(|name| folder.path().join(name));
        fs::write(partial_path(&dead).unwrap(), "half").unwrap();
        fs::write(folder.path().join(".notes"), "a person's").unwrap();
        let _writer = open_alone(&partial_path(&alive).unwrap()).unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [".alive.partial", ".notes"]);
        remove_leftovers(&folder.path().join("absent")).unwrap();
    }

    #[test]
    fn a_full_disk_says_what_to_do_and_stays_what_it_is() {
        let error = explained(explained(ErrorKind::StorageFull.into()));
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let text = error.to_string();
        assert_eq!(text.matches("free some space").count(), 1, "{text}");
        assert_eq!(
            explained(ErrorKind::NotFound.into()).to_string(),
            io::Error::from(ErrorKind::NotFound).to_string()
        );
    }

    #[test]
    fn writers_without_locks_have_names_of_their_own() {
        let path = Path::new("x/a.csv");
        let [one, two] = [own_name(), own_name()].map(|name| partial_path_of(path, &name).unwrap());
        assert_ne!(one, two);
        assert!([one, two].iter().all(|path| is_partial(path.file_name().unwrap())));
    }

    #[test]
    fn temporary_names_are_known_as_such() {
        assert!(is_partial(partial_path(Path::new("x/a.csv")).unwrap().file_name().unwrap()));
        assert!(!is_partial(OsStr::new("a.partial")) && !is_partial(OsStr::new(".a.csv")));
    }
}
