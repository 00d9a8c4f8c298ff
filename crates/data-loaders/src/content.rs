//! What a data set is by content, so that a run can say what it was trained on.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use file_watchdog::watched;
use sha2::{Digest, Sha256};

use crate::data_set::{PHANTOM_SEED, Source};
use crate::error::is_storage_lost;
use crate::{DataError, DataSet};

/// Files up to this size are read as a whole.
const WHOLE: u64 = 1 << 20;

/// So much is read of a larger file, at its beginning and at its end.
const PIECE: u64 = 64 << 10;

/// What a data set holds, by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 over the names of the cases in order and the bytes of their files, in lower-case hexadecimal.
    pub sha256: String,
    /// SHA-256 of every image by itself, in the order of the cases: the same for the same bytes, wherever they lie and
    /// whatever they are called.
    pub images: Vec<[u8; 32]>,
}

impl DataSet {
    /// SHA-256 of what the set holds: [`Content::sha256`].
    ///
    /// # Errors
    ///
    /// As [`content`](Self::content).
    pub fn content_sha256(&self) -> Result<String, DataError> {
        Ok(self.content()?.sha256)
    }

    /// What the set holds, by hash.
    ///
    /// Copying files, moving them to another folder or touching them changes nothing; another image, another mask or
    /// another order does. Of a file above 1 MiB only its length and the first and last 64 KiB count, so that thousands
    /// of photographs need not be read as a whole: a change in the middle of such a file that keeps its length is
    /// missed. Masks are smaller than that. A file that is not there counts as such; it is
    /// [`load`](Self::load)'s to complain.
    ///
    /// # Errors
    ///
    /// [`DataError::NotAFile`] if a path is no regular file, [`DataError::Open`] if a file cannot be opened or read,
    /// or if its folder is not there any more: a share that is gone is no change of the set.
    pub fn content(&self) -> Result<Content, DataError> {
        let mut hasher = Sha256::new();
        let mut images = Vec::with_capacity(self.len());
        for entry in self.entries.iter() {
            text(&mut hasher, &entry.data);
            text(&mut hasher, &entry.id);
            let image = match &entry.source {
                Source::Files { image, mask } => {
                    let image = watched(image, || piece(image))?;
                    hasher.update(&image);
                    hasher.update(watched(mask, || piece(mask))?);
                    image
                }
                Source::NoMask { image, .. } => {
                    let image = watched(image, || piece(image))?;
                    hasher.update(&image);
                    text(&mut hasher, "no mask");
                    image
                }
                Source::Phantom { index } => {
                    let image = [PHANTOM_SEED.to_le_bytes(), index.to_le_bytes()].concat();
                    hasher.update(&image);
                    image
                }
            };
            images.push(Sha256::digest(&image).into());
        }
        Ok(Content { sha256: hex::encode(hasher.finalize()), images })
    }
}

/// A text with its length before it, so that two texts in a row cannot be taken for two others.
fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

/// What counts of a file: its length and its bytes, or those at its beginning and its end.
fn piece(path: &Path) -> Result<Vec<u8>, DataError> {
    let read_error = |source| DataError::Open { path: path.into(), source };
    // Asked before opening: a pipe would wait for somebody who writes.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(DataError::NotAFile { path: path.into() }),
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && !is_storage_lost(path, &error) =>
        {
            let absent = b"no file";
            return Ok([&(absent.len() as u64).to_le_bytes()[..], absent].concat());
        }
        Err(source) => return Err(DataError::Open { path: path.into(), source }),
    }
    let mut file = File::open(path).map_err(read_error)?;
    let length = file.metadata().map_err(read_error)?.len();
    let mut bytes = length.to_le_bytes().to_vec();
    if length <= WHOLE {
        file.read_to_end(&mut bytes).map_err(read_error)?;
    } else {
        file.by_ref().take(PIECE).read_to_end(&mut bytes).map_err(read_error)?;
        file.seek(SeekFrom::End(-(PIECE as i64))).map_err(read_error)?;
        file.take(PIECE).read_to_end(&mut bytes).map_err(read_error)?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Catalog;

    /// Two cases, `a` and `b`; `image` is the image file of `b`.
    fn written(folder: &Path, image: &[u8]) -> DataSet {
        let (images, masks) = (folder.join("images"), folder.join("masks"));
        for sub in [&images, &masks] {
            fs::create_dir_all(sub).unwrap();
        }
        for (path, bytes) in
            [("images/a.png", &b"first"[..]), ("masks/a.png", b"mask"), ("masks/b.png", b"other")]
        {
            fs::write(folder.join(path), bytes).unwrap();
        }
        fs::write(images.join("b.png"), image).unwrap();
        DataSet::from_folders(&images, &masks).unwrap()
    }

    fn content(set: &DataSet) -> String {
        set.content_sha256().unwrap()
    }

    #[test]
    fn content_counts_and_place_and_time_do_not() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = content(&written(here.path(), b"image"));
        assert_eq!(first.len(), 64);
        assert_eq!(content(&written(there.path(), b"image")), first, "a copy");
        let later = File::options().write(true).open(here.path().join("images/a.png")).unwrap();
        later.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(content(&written(here.path(), b"image")), first, "touched");
        assert_ne!(content(&written(here.path(), b"imagf")), first, "another image");

        let set = written(here.path(), b"image");
        fs::write(here.path().join("masks/a.png"), b"msak").unwrap();
        assert_ne!(content(&set), first, "another mask of the same length");
        fs::remove_file(here.path().join("masks/a.png")).unwrap();
        assert_ne!(content(&set), first, "no mask");
    }

    #[test]
    fn the_same_image_has_the_same_hash_under_any_name() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = written(here.path(), b"first").content().unwrap();
        assert_eq!(one.images[0], one.images[1], "two names, one picture");
        let two = written(there.path(), b"other").content().unwrap();
        assert_eq!(two.images[0], one.images[0]);
        assert_ne!(two.images[1], one.images[0]);
        let phantoms = DataSet::open("phantom", "test", None, &Catalog::built_in()).unwrap();
        let mut images = phantoms.content().unwrap().images;
        images.sort_unstable();
        images.dedup();
        assert_eq!(images.len(), phantoms.len());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_instead_of_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let set = written(folder.path(), b"image");
        let image = folder.path().join("images/b.png");
        fs::remove_file(&image).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&image).status().unwrap().success());
        let error = set.content_sha256().unwrap_err();
        assert!(matches!(&error, DataError::NotAFile { path } if *path == image), "{error}");
    }

    #[test]
    fn of_large_files_beginning_end_and_length_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut image = vec![0_u8; (WHOLE + 1) as usize];
        let same = content(&written(folder.path(), &image));
        for at in [0, (PIECE - 1) as usize, (WHOLE + 1 - PIECE) as usize, WHOLE as usize] {
            image[at] = 1;
            assert_ne!(content(&written(folder.path(), &image)), same, "byte {at}");
            image[at] = 0;
        }
        image[(PIECE) as usize] = 1;
        assert_eq!(content(&written(folder.path(), &image)), same, "the middle is not read");
        image.push(0);
        assert_ne!(content(&written(folder.path(), &image)), same, "the length counts");
    }

    #[test]
    fn generated_sets_differ_by_their_cases_and_their_order() {
        let catalog = Catalog::built_in();
        let train = DataSet::open("phantom", "train", None, &catalog).unwrap();
        let test = DataSet::open("phantom", "test", None, &catalog).unwrap();
        let contents = [
            content(&train),
            content(&test),
            content(&train.limit(10)),
            content(&DataSet::join(&[train.clone(), test.clone()])),
            content(&DataSet::join(&[test, train.clone()])),
        ];
        for (place, one) in contents.iter().enumerate() {
            assert!(!contents[..place].contains(one), "{place}");
        }
        assert_eq!(content(&train.limit(200)), contents[0]);
    }
}
