//! What a person takes away: as a download, or into the folder that the program was allowed to write into.

use std::path::{Path, PathBuf};

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
        let name = safe_name(name);
        let (stem, ending) = name.rsplit_once('.').unwrap_or((name.as_str(), ""));
        let numbered = |number: u32| match number {
            1 => name.clone(),
            number => format!("{stem}-{number}.{ending}"),
        };
        let free = (1..10_000).map(numbered).map(|name| self.root.join(name));
        let path = free
            .into_iter()
            .find(|path| path.symlink_metadata().is_err())
            .unwrap_or_else(|| self.root.join(&name));
        let failed = |source| ExportError::Write { path: path.clone(), source };
        atomic_file::write(&path, bytes).map_err(failed)?;
        Ok(path)
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
}
