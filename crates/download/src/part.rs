//! The part of a file that is there already, and the note about where it came from.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::paths::remove_file;

/// Where the bytes of a part came from. Only the same file is gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The address asked for (not the one that it redirects to, which may be made for the moment).
    pub url: String,
    /// A strong entity tag.
    pub etag: Option<String>,
    /// The date of the last change, as the server wrote it.
    pub last_modified: Option<String>,
    /// Bytes of the whole file, if the server said so.
    pub total: Option<u64>,
}

impl Origin {
    /// What `If-Range` must say so that the server goes on with the same file only.
    pub fn validator(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Whether `now` can be the same file: nothing that both say differs.
    pub fn agrees_with(&self, now: &Self) -> bool {
        fn agree<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        agree(&self.etag, &now.etag)
            && agree(&self.last_modified, &now.last_modified)
            && agree(&self.total, &now.total)
    }
}

/// The longest note that is read: an address and two lines of a server's answer.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// A file that is being received.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    note: PathBuf,
    len: u64,
    origin: Option<Origin>,
}

impl Part {
    /// Opens what an earlier attempt left, or begins an empty part.
    pub fn open(path: PathBuf, note: PathBuf) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        let len = file.seek(SeekFrom::End(0))?;
        // A note that cannot be read is no note: the download starts over.
        let origin = bounded_read::read(&note, MAX_NOTE_BYTES)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self { file, path, note, len, origin })
    }

    /// Bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where the bytes came from.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives up all bytes. The note goes first: bytes without a note are never gone on with, but a
    /// note must not meet bytes of another file.
    pub fn clear(&mut self) -> io::Result<()> {
        remove_file(&self.note)?;
        self.origin = None;
        if self.len > 0 {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.len = 0;
        }
        Ok(())
    }

    /// Notes where the bytes that follow come from.
    pub fn begin(&mut self, origin: Origin) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&origin).map_err(io::Error::other)?;
        fs::write(&self.note, text)?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Appends.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.len += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the bytes are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Removes the part and its note.
    pub fn remove(self) -> io::Result<()> {
        let Self { file, path, note, .. } = self;
        drop(file);
        remove_file(&note)?;
        remove_file(&path)
    }

    /// Gives the part its final name.
    pub fn finish(self, target: &Path) -> io::Result<()> {
        let Self { file, path, note, .. } = self;
        drop(file);
        fs::rename(&path, target)?;
        remove_file(&note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            url: "http://host/file".into(),
            etag: Some("\"a\"".into()),
            last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".into()),
            total: Some(10),
        }
    }

    #[test]
    fn a_part_that_is_opened_again_has_its_bytes_and_its_note() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || Part::open(folder.path().join("p"), folder.path().join("n"));
        let mut part = open().expect("can be made");
        part.begin(origin()).expect("can be written");
        part.append(b"abc").expect("can be written");
        drop(part);

        let mut part = open().expect("can be opened");
        assert_eq!((part.len(), part.origin()), (3, Some(&origin())));
        part.append(b"de").expect("can be written");
        part.finish(&folder.path().join("target")).expect("can be renamed");

        assert_eq!(fs::read(folder.path().join("target")).expect("is there"), b"abcde");
        assert_eq!(fs::read_dir(folder.path()).expect("is there").count(), 1);
    }

    #[test]
    fn a_cleared_part_has_neither_bytes_nor_note() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || Part::open(folder.path().join("p"), folder.path().join("n"));
        let mut part = open().expect("can be made");
        part.begin(origin()).expect("can be written");
        part.append(b"abc").expect("can be written");
        part.clear().expect("can be cleared");
        part.append(b"x").expect("can be written");
        drop(part);

        let part = open().expect("can be opened");
        assert_eq!((part.len(), part.origin()), (1, None));
    }

    #[test]
    fn a_damaged_note_is_no_note() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("p"), "abc").expect("can be written");
        fs::write(folder.path().join("n"), "{\"url\": \"htt").expect("can be written");
        let part = Part::open(folder.path().join("p"), folder.path().join("n")).expect("opens");
        assert_eq!((part.len(), part.origin()), (3, None));
    }

    #[test]
    fn only_what_both_say_can_differ() {
        let silent = Origin { etag: None, last_modified: None, total: None, ..origin() };
        assert!(origin().agrees_with(&silent) && silent.agrees_with(&origin()));
        assert!(!origin().agrees_with(&Origin { etag: Some("\"b\"".into()), ..origin() }));
        assert!(!origin().agrees_with(&Origin { total: Some(11), ..origin() }));
    }
}
