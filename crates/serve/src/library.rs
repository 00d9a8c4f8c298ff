//! The images that the page shows: those of a gallery, and those that were dropped onto it.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use data_loaders::{
    Catalog, DataError, DataSet, IMAGE_EXTENSIONS, TruthMask, decode_image, decode_image_bytes,
};
use image::{
    ExtendedColorType, ImageEncoder as _, RgbImage,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
    imageops,
};
use run_record::{CaseRow, RunFolder, read_rows};
use sha2::{Digest as _, Sha256};

use crate::{
    lru::Lru,
    uploads::{Full, UPLOAD_REST, Uploads},
};

/// Longest side of a thumbnail in pixels: twice what the page shows, for dense screens.
const THUMBNAIL_SIDE: u32 = 224;
const THUMBNAIL_QUALITY: u8 = 82;
/// Bytes of thumbnails that are kept.
const THUMBNAIL_BYTES: u64 = 64 << 20;
/// Bytes of decoded images that are kept.
const PICTURE_BYTES: u64 = 768 << 20;
/// Bytes of the files of dropped images that are kept.
const UPLOAD_BYTES: u64 = 512 << 20;

/// Where the images of the gallery come from.
#[derive(Debug)]
pub enum Gallery {
    /// A data set, with truth.
    Set {
        /// Its cases.
        set: DataSet,
        /// The folders that were named, without links: its files lie below one of them.
        roots: Vec<PathBuf>,
    },
    /// A folder of images.
    Folder {
        /// Its name as the page shows it.
        name: String,
        /// Where it is, without links.
        root: PathBuf,
        /// The images in it, in the order of their names.
        files: Vec<PathBuf>,
    },
}

/// An image in memory.
#[derive(Debug)]
pub struct Picture {
    /// What it is called: a case, or the name of a file.
    pub name: String,
    /// The data set; empty for an image of one's own.
    pub data: String,
    /// The case, or the stem of the file.
    pub id: String,
    /// Its pixels.
    pub image: RgbImage,
    /// Its true mask, where it is known.
    pub truth: Option<TruthMask>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// No image has this name.
    #[error(
        "there is no image `{key}`; one that was dropped onto the page may have made room for others: drop it again"
    )]
    Unknown {
        /// The name.
        key: String,
    },
    /// The image cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The folder of images cannot be listed.
    #[error("cannot list the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no image in the folder.
    #[error("no image ({}) in {}", IMAGE_EXTENSIONS.join(", "), path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// The file is a link, or below one, that leaves the folders that were named.
    #[error(
        "a link leads out of {}, and is not followed; name the folder where the files lie: {}",
        folders(roots), path.display()
    )]
    Outside {
        /// The file.
        path: PathBuf,
        /// The folders.
        roots: Vec<PathBuf>,
    },
    /// Dropped images take all the room that they have.
    #[error(
        "images that were dropped in the last {} minutes take the {} MiB that there are for them; try again later, or \
         name their folder with `--images`",
        UPLOAD_REST.as_secs() / 60, limit >> 20
    )]
    Full {
        /// Bytes that there are.
        limit: u64,
    },
    /// A picture cannot be written.
    #[error("cannot encode a picture")]
    Encode(#[source] image::ImageError),
}

impl Gallery {
    /// A split of a data set of the catalog, or of `phantom`.
    ///
    /// # Errors
    ///
    /// [`LibraryError::Data`]; [`LibraryError::Outside`] if all its files are elsewhere.
    pub fn of_data(name: &str, split: &str, root: Option<&Path>) -> Result<Self, LibraryError> {
        let set = DataSet::open(name, split, root, &Catalog::built_in())?;
        Self::of_set(set, root.as_slice())
    }

    /// A folder of images, with a folder of masks of the same stems if one is named. Without masks, links that lead out
    /// of the folder are left out; with them, they are not followed.
    ///
    /// # Errors
    ///
    /// [`LibraryError::Folder`], [`LibraryError::NoImages`]; with masks [`LibraryError::Data`], and
    /// [`LibraryError::Outside`] if all images are elsewhere.
    pub fn of_folder(images: &Path, masks: Option<&Path>) -> Result<Self, LibraryError> {
        if let Some(masks) = masks {
            return Self::of_set(DataSet::from_folders(images, masks)?, &[images, masks]);
        }
        let root = real(images)?;
        let failed = |source| LibraryError::Folder { path: images.to_owned(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if IMAGE_EXTENSIONS.contains(&extension.as_str()) && inside(&root, &path).is_some() {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(LibraryError::NoImages { path: images.to_owned() });
        }
        files.sort();
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::Folder { name, root, files })
    }

    fn of_set(set: DataSet, named: &[&Path]) -> Result<Self, LibraryError> {
        if set.is_empty() || set.files(0).is_empty() {
            return Ok(Self::Set { set, roots: Vec::new() });
        }
        let roots = named.iter().map(|path| real(path)).collect::<Result<Vec<_>, _>>()?;
        let cases = || (0..set.len()).map(|index| confined(&set, index, &roots));
        let refused: Vec<LibraryError> = cases().filter_map(Result::err).collect();
        let count = refused.len();
        if let Some(first) = refused.into_iter().next() {
            if count == set.len() {
                return Err(first);
            }
            tracing::warn!("{count} of {} images are not shown: {first}", set.len());
        }
        Ok(Self::Set { set, roots })
    }

    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Self::Set { set, .. } => format!("{} {}", set.name(), set.split()),
            Self::Folder { name, .. } => name.clone(),
        }
    }

    /// The names of its images, in order.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Set { set, .. } => set.ids().map(str::to_owned).collect(),
            Self::Folder { files, .. } => files.iter().map(|path| file_name(path)).collect(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Set { set, .. } => set.len(),
            Self::Folder { files, .. } => files.len(),
        }
    }

    fn load(&self, index: usize) -> Result<Option<Picture>, LibraryError> {
        match self {
            Self::Set { set, roots } if index < set.len() => {
                // It may have become a link since it was listed.
                confined(set, index, roots)?;
                let id = set.id(index).to_owned();
                let (name, data) = (id.clone(), set.name().to_owned());
                let (image, truth) = match set.load(index) {
                    Ok(case) => (case.image, Some(case.truth)),
                    // It can be prompted all the same; only scores are missing.
                    Err(DataError::MaskMissing { image, .. }) => (decode_image(&image)?, None),
                    Err(error) => return Err(error.into()),
                };
                Ok(Some(Picture { name, data, id, image, truth }))
            }
            Self::Folder { root, files, .. } if index < files.len() => {
                let path = &files[index];
                // It may have become a link since it was listed.
                let outside =
                    || LibraryError::Outside { path: path.clone(), roots: vec![root.clone()] };
                let real = inside(root, path).ok_or_else(outside)?;
                let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let image = decode_image(&real)?;
                let data = String::new();
                Ok(Some(Picture { name: file_name(path), data, id, image, truth: None }))
            }
            Self::Set { .. } | Self::Folder { .. } => Ok(None),
        }
    }

    /// Dice of the cases of this gallery in a run, by the name of the image: with the run's own prompts, or else with the
    /// first that are no oracle. Empty where there are none.
    pub fn scores(&self, run: &RunFolder) -> HashMap<String, f64> {
        let Self::Set { set, .. } = self else { return HashMap::new() };
        let rows: Vec<CaseRow> = read_rows(&run.cases()).unwrap_or_default();
        let of_set = |row: &&CaseRow| row.data == set.name() && row.split == set.split();
        let honest: Vec<&CaseRow> = rows.iter().filter(of_set).filter(|row| !row.oracle).collect();
        let own = honest.iter().find(|row| row.prompts == "auto").or(honest.first());
        let Some(prompts) = own.map(|row| row.prompts.clone()) else { return HashMap::new() };
        honest
            .into_iter()
            .filter(|row| row.prompts == prompts)
            .filter_map(|row| Some((row.file.clone(), row.dice?)))
            .collect()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The same folder without links.
fn real(folder: &Path) -> Result<PathBuf, LibraryError> {
    let failed = |source| LibraryError::Folder { path: folder.to_owned(), source };
    folder.canonicalize().map_err(failed)
}

/// Refuses a case of which a file does not lie below one of the folders. One that is not there is for the loader to name.
fn confined(set: &DataSet, index: usize, roots: &[PathBuf]) -> Result<(), LibraryError> {
    let leaves = |path: &&Path| {
        let real = path.canonicalize();
        real.is_ok_and(|real| !roots.iter().any(|root| real.starts_with(root)))
    };
    match set.files(index).into_iter().find(leaves) {
        Some(path) => Err(LibraryError::Outside { path: path.to_owned(), roots: roots.to_owned() }),
        None => Ok(()),
    }
}

fn folders(roots: &[PathBuf]) -> String {
    let mut names: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    names.dedup();
    names.join(" and ")
}

/// Where a path really leads, if that is a file below `root`, which is free of links.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    (real.starts_with(root) && real.is_file()).then_some(real)
}

/// All images that there are. A name is `g` with a number in the gallery and the mark of the library, or `u` with the
/// beginning of the hash of what was dropped.
pub struct Library {
    gallery: Gallery,
    /// What stands behind the number, so that a page of a former server does not take another image for its own.
    mark: String,
    uploads: Mutex<Uploads>,
    pictures: Mutex<Lru<String, Arc<Picture>>>,
    thumbnails: Mutex<Lru<String, Arc<Vec<u8>>>>,
}

impl Library {
    /// The images of a gallery; others may be dropped.
    pub fn new(gallery: Gallery) -> Self {
        Self {
            gallery,
            mark: String::new(),
            uploads: Mutex::new(Uploads::new(UPLOAD_BYTES)),
            pictures: Mutex::new(Lru::new(PICTURE_BYTES)),
            thumbnails: Mutex::new(Lru::new(THUMBNAIL_BYTES)),
        }
    }

    /// The same with room for so many bytes of dropped images.
    #[must_use]
    pub fn with_upload_bytes(self, bytes: u64) -> Self {
        Self { uploads: Mutex::new(Uploads::new(bytes)), ..self }
    }

    /// The same with names that no other library has had.
    #[must_use]
    pub fn with_mark(self) -> Self {
        // The keys of a hash map are random, and so is the hash of nothing.
        let number = RandomState::new().build_hasher().finish();
        Self { mark: format!("-{number:016x}"), ..self }
    }

    /// What its names end with.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The name of an image of the gallery.
    pub(crate) fn key(&self, index: usize) -> String {
        format!("g{index}{}", self.mark)
    }

    /// The number of an image of the gallery in its name.
    fn index(&self, key: &str) -> Option<usize> {
        key.strip_prefix('g')?.strip_suffix(&self.mark)?.parse().ok()
    }

    /// The gallery.
    pub fn gallery(&self) -> &Gallery {
        &self.gallery
    }

    /// An image by its name.
    ///
    /// # Errors
    ///
    /// See [`LibraryError`].
    pub fn picture(&self, key: &str) -> Result<Arc<Picture>, LibraryError> {
        if let Some(kept) = self.kept(key) {
            return Ok(kept);
        }
        let picture = self.load(key)?;
        self.keep(key.to_owned(), picture.clone());
        Ok(picture)
    }

    /// An image by its name if it lies in memory.
    pub(crate) fn kept(&self, key: &str) -> Option<Arc<Picture>> {
        // Whoever works with a dropped image keeps its file, too.
        lock(&self.uploads).get(key, Instant::now());
        lock(&self.pictures).get(&key.to_owned())
    }

    /// Whether an image has this name.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.index(key).is_some_and(|index| index < self.gallery.len())
            || lock(&self.uploads).contains(key)
    }

    fn load(&self, key: &str) -> Result<Arc<Picture>, LibraryError> {
        let upload = lock(&self.uploads).get(key, Instant::now());
        let picture = match (upload, self.index(key)) {
            (Some((name, bytes)), _) => Some(uploaded(name, &bytes)?),
            (None, Some(index)) => self.gallery.load(index)?,
            (None, None) => None,
        };
        picture.map(Arc::new).ok_or_else(|| LibraryError::Unknown { key: key.to_owned() })
    }

    /// Takes an image that somebody dropped, and says its name here.
    ///
    /// # Errors
    ///
    /// [`LibraryError::Data`] if it is none that can be read, [`LibraryError::Full`] if there is no room for it.
    pub fn add(&self, name: &str, bytes: &[u8]) -> Result<(String, Arc<Picture>), LibraryError> {
        let name = display_name(name);
        let picture = Arc::new(uploaded(name.clone(), bytes)?);
        let key = format!("u{}", &hex::encode(Sha256::digest(bytes))[..24]);
        lock(&self.uploads)
            .insert(key.clone(), name, bytes, Instant::now())
            .map_err(|Full { limit }| LibraryError::Full { limit })?;
        self.keep(key.clone(), picture.clone());
        Ok((key, picture))
    }

    fn keep(&self, key: String, picture: Arc<Picture>) {
        let truth = picture.truth.as_ref().map_or(0, |truth| truth.values.len());
        let bytes = (picture.image.as_raw().len() + truth) as u64;
        lock(&self.pictures).insert(key, picture, bytes);
    }

    /// A small picture of an image, as JPEG.
    ///
    /// # Errors
    ///
    /// See [`LibraryError`].
    pub fn thumbnail(&self, key: &str) -> Result<Arc<Vec<u8>>, LibraryError> {
        if let Some(kept) = lock(&self.thumbnails).get(&key.to_owned()) {
            return Ok(kept);
        }
        let kept = lock(&self.pictures).get(&key.to_owned());
        // Looking through a gallery shall not drop the images that somebody works with.
        let picture = kept.map_or_else(|| self.load(key), Ok)?;
        let (width, height) = picture.image.dimensions();
        let scale = f64::from(THUMBNAIL_SIDE) / f64::from(width.max(height));
        let side = |length: u32| ((f64::from(length) * scale.min(1.0)).round() as u32).max(1);
        let small = imageops::thumbnail(&picture.image, side(width), side(height));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY)
            .encode_image(&small)
            .map_err(LibraryError::Encode)?;
        let jpeg = Arc::new(jpeg);
        let bytes = jpeg.len() as u64;
        lock(&self.thumbnails).insert(key.to_owned(), jpeg.clone(), bytes);
        Ok(jpeg)
    }
}

impl Picture {
    /// The image as PNG: what the model sees, whatever the file was.
    ///
    /// # Errors
    ///
    /// [`LibraryError::Encode`]
    pub fn png(&self) -> Result<Vec<u8>, LibraryError> {
        let (width, height) = self.image.dimensions();
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
            .write_image(self.image.as_raw(), width, height, ExtendedColorType::Rgb8)
            .map_err(LibraryError::Encode)?;
        Ok(png)
    }
}

/// A dropped image.
fn uploaded(name: String, bytes: &[u8]) -> Result<Picture, LibraryError> {
    let path = Path::new(&name);
    let image = decode_image_bytes(bytes, path)?;
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Picture { name, data: String::new(), id, image, truth: None })
}

/// The last part of what a browser says a file is called, without what no name has, of a length that can be shown.
fn display_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(120).collect();
    match clean.trim_matches('.').is_empty() {
        true => "image".to_owned(),
        false => clean,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Insertions and look-ups are complete before the lock is given back.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn image(path: &Path) {
        RgbImage::new(8, 6).save(path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn links_out_of_the_folder_are_neither_listed_nor_followed() {
        use std::os::unix::fs::symlink;
        let (inner, outer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        image(&outer.path().join("secret.png"));
        image(&inner.path().join("b.png"));
        image(&inner.path().join("a.png"));
        symlink(outer.path().join("secret.png"), inner.path().join("c.png")).unwrap();
        symlink(inner.path().join("a.png"), inner.path().join("d.png")).unwrap();
        std::fs::write(inner.path().join("notes.txt"), "no image").unwrap();
        let gallery = Gallery::of_folder(inner.path(), None).unwrap();
        assert_eq!(gallery.names(), ["a.png", "b.png", "d.png"]);

        // A file that becomes a link after it was listed.
        std::fs::remove_file(inner.path().join("b.png")).unwrap();
        symlink(outer.path().join("secret.png"), inner.path().join("b.png")).unwrap();
        let library = Library::new(gallery);
        assert!(library.picture("g0").is_ok());
        assert!(matches!(library.picture("g1"), Err(LibraryError::Outside { .. })));
        assert!(matches!(library.thumbnail("g1"), Err(LibraryError::Outside { .. })));
        assert!(matches!(library.picture("g3"), Err(LibraryError::Unknown { .. })));
    }

    #[test]
    fn a_name_of_a_former_server_is_no_image_of_this_one() {
        let library =
            || Library::new(Gallery::of_data("phantom", "test", None).unwrap()).with_mark();
        let (former, now) = (library(), library());
        assert!(now.picture(&now.key(3)).is_ok() && now.contains(&now.key(3)));
        for other in [former.key(3), "g3".into(), "g3-".into()] {
            assert!(matches!(now.picture(&other), Err(LibraryError::Unknown { .. })), "{other}");
            assert!(!now.contains(&other), "{other}");
        }
    }

    #[test]
    fn a_name_from_a_browser_is_no_path() {
        assert_eq!(display_name("../../etc/passwd"), "passwd");
        assert_eq!(display_name("C:\\a\\b.png"), "b.png");
        assert_eq!(display_name(".."), "image");
        assert_eq!(display_name("a\nb.png"), "ab.png");
    }

    #[test]
    fn a_phantom_image_has_a_truth_and_a_small_picture() {
        let library = Library::new(Gallery::of_data("phantom", "test", None).unwrap());
        let picture = library.picture("g0").unwrap();
        assert_eq!(picture.data, "phantom");
        let truth = picture.truth.as_ref().unwrap();
        assert_eq!((truth.width, truth.height), picture.image.dimensions());
        let small = image::load_from_memory(&library.thumbnail("g0").unwrap()).unwrap();
        assert_eq!(small.width().max(small.height()), THUMBNAIL_SIDE.min(picture.image.width()));
        let same = image::load_from_memory(&picture.png().unwrap()).unwrap().to_rgb8();
        assert_eq!(same, picture.image);
    }
}
