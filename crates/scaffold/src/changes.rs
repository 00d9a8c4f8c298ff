//! Files to be made and changed: all or none of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::ScaffoldError;

/// What is to be written into a workspace.
pub(crate) struct Changes {
    workspace: PathBuf,
    /// Path, text before (nothing if the file is new), text after.
    files: Vec<(PathBuf, Option<String>, String)>,
}

impl Changes {
    pub fn new(workspace: &Path) -> Self {
        Self { workspace: workspace.to_owned(), files: Vec::new() }
    }

    /// The text of a file as it is.
    pub fn read(&self, path: &str) -> Result<String, ScaffoldError> {
        let path = self.workspace.join(path);
        fs::read_to_string(&path).map_err(|source| ScaffoldError::File {
            what: "read",
            path,
            source,
        })
    }

    pub fn make(&mut self, path: &str, text: String) {
        self.files.push((path.into(), None, text));
    }

    pub fn change(&mut self, path: &str, before: String, after: String) {
        self.files.push((path.into(), Some(before), after));
    }

    /// Writes everything, new files first, and says which files were made and which changed. If one cannot be
    /// written, the others are brought back to what they were.
    pub fn write(self) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ScaffoldError> {
        let mut folders = Vec::new();
        for (done, (path, before, after)) in self.files.iter().enumerate() {
            let path = self.workspace.join(path);
            if let Err(source) = write(&path, before.is_none(), after, &mut folders) {
                // A file that was there may be half written; a new one is gone already, or is not ours.
                self.undo(done + usize::from(before.is_some()), &folders);
                return Err(ScaffoldError::File { what: "write", path, source });
            }
        }
        let (mut made, mut changed) = (Vec::new(), Vec::new());
        for (path, before, _) in self.files {
            if before.is_none() { made.push(path) } else { changed.push(path) }
        }
        Ok((made, changed))
    }

    fn undo(&self, written: usize, folders: &[PathBuf]) {
        for (path, before, _) in &self.files[..written] {
            let path = self.workspace.join(path);
            // Nothing better can be done with what cannot be restored either.
            let _ = match before {
                Some(before) => fs::write(&path, before),
                None => fs::remove_file(&path),
            };
        }
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Writes a file; a new one must not be there. Folders that were made on the way are added to `folders`.
fn write(path: &Path, new: bool, text: &str, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    if !new {
        return fs::write(path, text);
    }
    let missing: Vec<&Path> =
        path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder)?;
        folders.push(folder.to_owned());
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = io::Write::write_all(&mut file, text.as_bytes());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_a_file_cannot_be_written_everything_is_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::write(root.join("known"), "before").expect("written");
        fs::write(root.join("in_the_way"), "somebody's").expect("written");
        let mut changes = Changes::new(root);
        changes.make("a/b/new", "new".into());
        changes.change("known", "before".into(), "after".into());
        // No folder can be made where a file is.
        changes.make("in_the_way/new", "new".into());
        assert!(matches!(changes.write(), Err(ScaffoldError::File { what: "write", .. })));
        assert!(!root.join("a").exists());
        assert_eq!(fs::read_to_string(root.join("known")).expect("read"), "before");
        assert_eq!(fs::read_to_string(root.join("in_the_way")).expect("read"), "somebody's");
        let mut changes = Changes::new(root);
        changes.make("in_the_way", "new".into());
        assert!(changes.write().is_err());
        assert_eq!(fs::read_to_string(root.join("in_the_way")).expect("read"), "somebody's");
    }
}
