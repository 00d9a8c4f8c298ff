//! Small files read whole: regular files only, up to a stated length.
//!
//! A settings file, a table or a record fits into memory many times over, so it is read at once. The path may lead
//! to anything, though: to a pipe that nobody writes to, to a device without an end, to the wrong file of
//! 100 GB. Those are refused before a byte is read, with the length and the limit.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::Path;

use file_watchdog::watched;

/// The longest TOML file that is read, 256 KiB: nearly fifty times the longest experiment or data set card here.
///
/// A TOML text takes many times its length while it is parsed, and an experiment is parsed once for each method.
pub const MAX_TOML_BYTES: u64 = 256 << 10;

/// The longest list of cases that is read (a split, the index of a set), 64 MiB: a million lines of 64 characters.
pub const MAX_LIST_BYTES: u64 = 64 << 20;

/// How much of the end of a log is looked at.
const LAST_BYTES: u64 = 16 << 10;

/// Why a file was not read. It is what is inside of the [`io::Error`], so that callers have one kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than anything of its kind.
    #[error("it has {bytes} bytes, at most {limit} are read")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A folder, pipe, socket or device: to open a pipe is to wait for somebody who writes.
    #[error("it is no regular file")]
    NotAFile,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::TooLong { .. } => ErrorKind::FileTooLarge,
            Refused::NotAFile => ErrorKind::InvalidInput,
        };
        Self::new(kind, refused)
    }
}

/// Reads a regular file of at most `limit` bytes, which a [watchdog](file_watchdog) sees.
///
/// # Errors
///
/// What the system says, or [`Refused`] as an [`io::Error`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    watched(path, || read_unwatched(path, limit))
}

fn read_unwatched(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: that may already wait.
    if !fs::metadata(path)?.is_file() {
        return Err(Refused::NotAFile.into());
    }
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > limit {
        return Err(Refused::TooLong { bytes, limit }.into());
    }
    let mut content = Vec::with_capacity(bytes as usize);
    // A file may grow while it is read. One byte more than allowed is enough to know.
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    match content.len() as u64 {
        bytes if bytes > limit => Err(Refused::TooLong { bytes, limit }.into()),
        _ => Ok(content),
    }
}

/// Reads a regular file of at most `limit` bytes as text.
///
/// # Errors
///
/// Those of [`read`], and [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// The last lines of a log that are not blank, at most `count`, of its last 16 KiB; none if it cannot be read. A
/// [watchdog](file_watchdog) sees it.
pub fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        if !fs::metadata(log)?.is_file() {
            return Err(Refused::NotAFile.into());
        }
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = watched(log, read).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|&line| line.to_owned()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert!(last_lines(&log, 3).is_empty());
        let text: String = (0..5000).map(|line| format!("line {line}\n\n")).collect();
        fs::write(&log, text).unwrap();
        assert_eq!(last_lines(&log, 2), ["line 4998", "line 4999"]);
        assert!(last_lines(folder.path(), 2).is_empty(), "a folder has no lines");
    }

    #[test]
    fn a_file_of_the_limit_is_read_and_one_byte_more_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_to_string(&path, 5).unwrap(), "12345");
        let error = read(&path, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has 5 bytes, at most 4 are read");
    }

    #[test]
    fn what_is_no_utf_8_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, [b'a', 0xff]).unwrap();
        assert_eq!(read_to_string(&path, 5).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn folders_and_devices_are_refused_and_absent_files_are_absent() {
        let folder = tempfile::tempdir().unwrap();
        let refused = read(folder.path(), 9).unwrap_err();
        assert_eq!(refused.to_string(), "it is no regular file");
        assert_eq!(read(&folder.path().join("a"), 9).unwrap_err().kind(), ErrorKind::NotFound);
    }

    // `/dev/zero` has no end, and `metadata` says that it has no bytes.
    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_not_read() {
        assert_eq!(
            read(Path::new("/dev/zero"), 9).unwrap_err().to_string(),
            "it is no regular file"
        );
    }
}
