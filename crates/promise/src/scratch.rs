//! Folders that a benchmark has for itself.

use std::{fs, io, path::Path};

/// An empty folder where one may have been, with whatever was in it.
pub(crate) fn empty_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/cache");
        empty_folder(&path).expect("made");
        fs::write(path.join("old"), "old").expect("written");
        empty_folder(&path).expect("emptied");
        assert_eq!(fs::read_dir(&path).expect("readable").count(), 0);
    }
}
