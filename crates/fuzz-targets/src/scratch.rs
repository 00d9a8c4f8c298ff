//! A folder to put files into, one for each thread.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("the system has room for temporary files");
}

/// Writes `bytes` under `name` in this thread's folder; gives the path.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    write(&path, bytes);
    path
}

/// Writes a file anew. Some file systems wait for the disk when one is written over.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    // It may not be there.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("the system has room for temporary files");
}

/// An empty folder `name` in this thread's folder.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    if path.exists() {
        fs::remove_dir_all(&path).expect("only files of this thread are in it");
    }
    fs::create_dir(&path).expect("the system has room for temporary files");
    path
}

/// The names of what lies in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .filter_map(|item| Some(item.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}
