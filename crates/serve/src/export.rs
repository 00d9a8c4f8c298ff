//! What a person takes away: as a download, or into the folder that the program was allowed to write into.

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Files of one name, at most.
const LAST_NUMBER: u32 = 9999;

/// Folder that exports may be written into.
#[derive(Debug, Clone)]
pub(crate) struct ExportFolder {
    root: PathBuf,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// There is no folder.
    #[error("no folder to write into was named (`--export DIR`); download the file instead")]
    NoFolder,
    /// All numbers are taken.
    #[error(
        "{} has {name} and its numbers up to {last} already; move some away, or download the file instead",
        root.display()
    )]
    NoName {
        /// The folder.
        root: PathBuf,
        /// The name.
        name: String,
        /// The last number.
        last: u32,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ExportFolder {
    /// The folder, which is made if it is not there.
    pub(crate) fn open(root: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(root)?;
        Ok(Self { root: root.canonicalize()? })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of this name, and says where. What has the name already is kept: the new one gets a number.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, ExportError> {
        let path = self.claim(&safe_name(name), LAST_NUMBER)?;
        let written = atomic_file::write(&path, bytes);
        match written {
            Ok(()) => Ok(path),
            Err(source) => {
                // The name shall be free again; that it could not be written is what counts.
                let _ = std::fs::remove_file(&path);
                Err(ExportError::Write { path, source })
            }
        }
    }

    /// Makes an empty file of this name, or of the name with the next number: nobody else can have it then.
    fn claim(&self, name: &str, last: u32) -> Result<PathBuf, ExportError> {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
        for number in 1..=last {
            let path = match number {
                1 => self.root.join(name),
                number => self.root.join(format!("{stem}-{number}.{ending}")),
            };
            match File::create_new(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ExportError::Write { path, source }),
            }
        }
        Err(ExportError::NoName { root: self.root.clone(), name: name.to_owned(), last })
    }
}

/// A name that is one on every system: letters, digits, `.`, `-` and `_`, not hidden, not long.
pub(crate) fn safe_name(name: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c,
        '.' | '-' | '_' => c,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    let skip = name.len().saturating_sub(120);
    match name[skip..].trim_start_matches('.') {
        "" => "export".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_name_the_file_lies_in_the_folder_and_nothing_is_replaced() {
        let outer = tempfile::tempdir().unwrap();
        let folder = ExportFolder::open(&outer.path().join("export")).unwrap();
        for name in ["../../evil.png", "/etc/passwd", "..", "a/b\\c.png", "a.png", "a.png", "\0"] {
            let path = folder.write(name, b"x").unwrap();
            assert_eq!(path.parent(), Some(folder.root()), "{name:?}");
        }
        let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!(count(folder.root()), 7, "the second `a.png` has a name of its own");
        assert_eq!(count(outer.path()), 1);
        assert!(folder.root().join("a-2.png").is_file());
    }

    #[test]
    fn saves_at_once_have_a_name_each() {
        let outer = tempfile::tempdir().unwrap();
        let folder = ExportFolder::open(outer.path()).unwrap();
        let save = |content: u8| folder.write("a.png", &[content]).unwrap();
        let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|content| scope.spawn(move || save(content))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (content, path) in paths.iter().enumerate() {
            assert_eq!(std::fs::read(path).unwrap(), [content as u8]);
        }
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 16);
    }

    #[test]
    fn when_all_numbers_are_taken_nothing_is_replaced() {
        let outer = tempfile::tempdir().unwrap();
        let folder = ExportFolder::open(outer.path()).unwrap();
        for _ in 0..3 {
            folder.claim("a.png", 3).unwrap();
        }
        let refused = folder.claim("a.png", 3).unwrap_err().to_string();
        assert!(refused.contains("a.png and its numbers up to 3"), "{refused}");
        assert!(folder.claim("b.png", 3).is_ok());
    }
}
