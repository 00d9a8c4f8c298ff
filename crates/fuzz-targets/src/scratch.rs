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
    fs::write(&path, bytes).expect("the system has room for temporary files");
    path
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
