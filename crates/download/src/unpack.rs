//! Zip archives from strangers.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use file_lock::{Lock, LockError};
use zip::ZipArchive;

use crate::{
    Event, MAX_SIZE, UnpackError,
    paths::{beside, folder_of, is_full, remove_folder, sync_folder},
};

/// What an archive may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries, files and folders.
    pub files: usize,
    /// Most bytes of all files together.
    pub bytes: u64,
}

impl Default for Limits {
    /// Far above any set of medical images that is published as an archive, far below what it takes
    /// to fill a disk unnoticed.
    fn default() -> Self {
        Self { files: 200_000, bytes: MAX_SIZE }
    }
}

/// The longest name of an entry: a quarter of what Linux takes as a path. A zip archive may have 64 KiB, and what
/// is done with a name grows with the square of its folders.
const MAX_NAME_BYTES: usize = 1024;

/// The most parts of a name: 32 folders and the file.
const MAX_DEPTH: usize = 33;

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Files that were written.
    pub files: usize,
    /// Bytes that were written.
    pub bytes: u64,
    /// Files that were left out: copies of macOS's file attributes (`__MACOSX`, `.DS_Store`).
    pub left_out: usize,
}

/// An entry that was found to be harmless.
#[derive(Debug)]
struct Entry {
    index: usize,
    name: String,
    /// Below the folder that is unpacked to.
    path: PathBuf,
    is_folder: bool,
    size: u64,
}

/// Unpacks a zip archive to a folder that is not there yet.
///
/// An archive in which everything lies in one folder of the target's own name unpacks *as* the
/// target, not to a second folder of that name inside of it.
///
/// All entries are looked at before the first is written. The archive is refused if one of them
/// would land outside of the folder, is a link or a device, is encrypted, or if there are more of
/// them than `limits` allow. While unpacking, bytes are counted: what the archive says about their
/// number is not trusted. Files are written to a hidden folder beside the target, which gets the
/// target's name when everything is on the disk.
///
/// # Errors
///
/// [`UnpackError`]; the target is then not there.
pub fn unpack(
    archive: &Path,
    folder: &Path,
    limits: &Limits,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Unpacked, UnpackError> {
    let target_error = || UnpackError::Target { path: folder.to_owned() };
    let name = folder.file_name().ok_or_else(target_error)?;
    let staging = beside(folder, ".", ".unpacking").ok_or_else(target_error)?;
    let lock_path = beside(folder, ".", ".unpacking.lock").ok_or_else(target_error)?;

    let mut zip = open(archive)?;
    let (entries, left_out) = entries(&mut zip, archive, name, limits)?;

    let parent = folder_of(folder);
    fs::create_dir_all(parent).map_err(file_error(parent))?;
    let _lock = Lock::take(&lock_path).map_err(|error| match error {
        LockError::Busy { .. } => UnpackError::Busy { path: folder.to_owned() },
        LockError::Io { path, source } => UnpackError::File { path, source },
    })?;
    if folder.symlink_metadata().is_ok() {
        return Err(UnpackError::Exists { path: folder.to_owned() });
    }
    // What a killed attempt left.
    remove_folder(&staging).map_err(file_error(&staging))?;
    let work = Work { archive, folder, staging: &staging, limits, cancel };
    let result = work.write_all(&mut zip, &entries, on_event).and_then(|bytes| {
        fs::rename(&staging, folder)
            .and_then(|()| sync_folder(parent))
            .map_err(file_error(folder))?;
        let files = entries.iter().filter(|entry| !entry.is_folder).count();
        Ok(Unpacked { files, bytes, left_out })
    });
    if result.is_err() {
        // The first error is the one to report; a leftover is removed by the next attempt.
        let _ = remove_folder(&staging);
    }
    result
}

type Archive = ZipArchive<BufReader<File>>;

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    move |source| UnpackError::File { path: path.to_owned(), source }
}

fn open(archive: &Path) -> Result<Archive, UnpackError> {
    let file = File::open(archive).map_err(file_error(archive))?;
    ZipArchive::new(BufReader::new(file))
        .map_err(|source| UnpackError::Archive { path: archive.to_owned(), source })
}

/// All entries that are to be written and the number of those that are not, or why the archive is
/// refused.
fn entries(
    zip: &mut Archive,
    archive: &Path,
    folder: &OsStr,
    limits: &Limits,
) -> Result<(Vec<Entry>, usize), UnpackError> {
    let path = || archive.to_owned();
    if zip.len() > limits.files {
        return Err(UnpackError::TooManyFiles {
            files: zip.len(),
            limit: limits.files,
            path: path(),
        });
    }
    let mut entries = Vec::with_capacity(zip.len());
    let (mut left_out, mut total) = (0, 0_u64);
    for index in 0..zip.len() {
        let damaged = |source| UnpackError::Archive { path: path(), source };
        let entry = zip.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        let below = safe_path(&name).map_err(|reason| UnpackError::UnsafeName {
            // It may be as long as 64 KiB.
            name: name.chars().take(MAX_NAME_BYTES).collect(),
            reason,
            path: path(),
        })?;
        if entry.encrypted() {
            return Err(UnpackError::Encrypted { name, path: path() });
        }
        // The kind of file in a Unix mode; 0 where an archive comes from a system without.
        let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
        if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(UnpackError::Special { name, path: path() });
        }
        let is_folder = entry.is_dir();
        if below.starts_with("__MACOSX") || below.file_name() == Some(OsStr::new(".DS_Store")) {
            left_out += usize::from(!is_folder);
            continue;
        }
        total = total.saturating_add(entry.size());
        if total > limits.bytes {
            return Err(UnpackError::TooLarge { limit: limits.bytes, path: path() });
        }
        entries.push(Entry { index, name, path: below, is_folder, size: entry.size() });
    }
    if zip.has_duplicate_names() {
        return Err(UnpackError::SameNames { path: path() });
    }
    let alone = entries.iter().all(|entry| {
        entry.path.starts_with(folder) && (entry.is_folder || entry.path != Path::new(folder))
    });
    if alone {
        for entry in &mut entries {
            entry.path = entry.path.iter().skip(1).collect();
        }
    }
    let mut files: HashSet<&Path> = HashSet::new();
    let twice = |entry: &Entry| UnpackError::Twice { name: entry.name.clone(), path: path() };
    for entry in entries.iter().filter(|entry| !entry.is_folder) {
        if !files.insert(entry.path.as_path()) {
            return Err(twice(entry));
        }
    }
    for entry in &entries {
        let mut folders = entry.path.ancestors().skip(usize::from(!entry.is_folder));
        if folders.any(|folder| files.contains(folder)) {
            return Err(twice(entry));
        }
    }
    Ok((entries, left_out))
}

/// The path of an entry below the folder, or what is wrong with its name. It is refused rather than
/// repaired: a repaired name would be another file than the archive means.
fn safe_path(name: &str) -> Result<PathBuf, &'static str> {
    if name.len() > MAX_NAME_BYTES {
        return Err("it has more than 1,024 bytes");
    }
    if name.contains('\0') {
        return Err("it has a zero byte");
    }
    if name.contains('\\') {
        return Err("it has a backslash, which separates folders on some systems only");
    }
    if name.starts_with('/') {
        return Err("it is absolute");
    }
    let mut path = PathBuf::new();
    for component in name.split('/') {
        match component {
            "" | "." => {}
            ".." => return Err("it leaves the folder"),
            // `C:` is a drive and `name:stream` a hidden part of a file, on Windows.
            _ if component.contains(':') => return Err("it has a colon"),
            _ => path.push(component),
        }
    }
    if path.iter().count() > MAX_DEPTH {
        return Err("it lies in more than 32 folders");
    }
    if path.as_os_str().is_empty() { Err("it is empty") } else { Ok(path) }
}

/// An archive on its way to a folder.
struct Work<'a> {
    archive: &'a Path,
    folder: &'a Path,
    staging: &'a Path,
    limits: &'a Limits,
    cancel: &'a AtomicBool,
}

impl Work<'_> {
    /// Writes all entries to the hidden folder; gives the number of bytes.
    fn write_all(
        &self,
        zip: &mut Archive,
        entries: &[Entry],
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<u64, UnpackError> {
        let total = entries.iter().map(|entry| entry.size).sum();
        let mut done = 0;
        on_event(Event::Unpacking { done, total });
        fs::create_dir(self.staging).map_err(|error| self.write_error(self.staging, error))?;
        let mut folders = HashSet::from([self.staging.to_owned()]);
        for entry in entries {
            let path = self.staging.join(&entry.path);
            let folder = if entry.is_folder { &path } else { folder_of(&path) };
            if !folders.contains(folder) {
                fs::create_dir_all(folder).map_err(|error| self.write_error(folder, error))?;
                folders.extend(
                    folder.ancestors().take_while(|one| *one != self.staging).map(Path::to_owned),
                );
            }
            if !entry.is_folder {
                done = self.write(zip, entry, &path, done, total, on_event)?;
            }
        }
        for folder in &folders {
            sync_folder(folder).map_err(|error| self.write_error(folder, error))?;
        }
        Ok(done)
    }

    /// Writes one file; gives the number of bytes so far.
    fn write(
        &self,
        zip: &mut Archive,
        entry: &Entry,
        path: &Path,
        mut done: u64,
        total: u64,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<u64, UnpackError> {
        let mut content = zip.by_index(entry.index).map_err(|error| self.damaged(entry, error))?;
        // Two names that differ only in case are one file on some systems.
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(
            |error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    UnpackError::Twice { name: entry.name.clone(), path: self.archive.to_owned() }
                }
                _ => self.write_error(path, error),
            },
        )?;
        // One byte more than announced is enough to know that the archive lies.
        let mut content = content.by_ref().take(entry.size.saturating_add(1));
        let mut left = entry.size;
        let mut buffer = vec![0; 1 << 16];
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled { path: self.folder.to_owned() });
            }
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(entry, error)),
            };
            left = left.checked_sub(count as u64).ok_or_else(|| UnpackError::TooLarge {
                limit: self.limits.bytes.min(total),
                path: self.archive.to_owned(),
            })?;
            file.write_all(&buffer[..count]).map_err(|error| self.write_error(path, error))?;
            done += count as u64;
            on_event(Event::Unpacking { done, total });
        }
        if left > 0 {
            let message = format!("{left} of {} bytes are missing", entry.size);
            return Err(self.damaged(entry, io::Error::other(message)));
        }
        file.sync_all().map_err(|error| self.write_error(path, error))?;
        Ok(done)
    }

    fn damaged(
        &self,
        entry: &Entry,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> UnpackError {
        UnpackError::Entry {
            name: entry.name.clone(),
            path: self.archive.to_owned(),
            source: Box::new(source),
        }
    }

    fn write_error(&self, path: &Path, source: io::Error) -> UnpackError {
        if is_full(&source) {
            UnpackError::DiskFull { path: self.folder.to_owned(), source }
        } else {
            UnpackError::File { path: path.to_owned(), source }
        }
    }
}
