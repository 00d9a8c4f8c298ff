//! Finding images and masks on the disk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use file_watchdog::watched;

use crate::card::{NAME, Split};
use crate::{Card, DataError, Ignored, Layout};

/// Extensions that count as images, in order of preference; case does not matter.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// How the stem of a mask is made of the stem of its image (`{name}`) in folders without a card, in
/// order of preference. The first is the same stem.
///
/// A mask is not taken from an image whose own stem it has: with the images `1` and `p1`, the mask
/// `p1` belongs to the second.
pub const MASK_NAMES: [&str; 5] =
    [NAME, "{name}_segmentation", "{name}_mask", "{name}_lesion", "p{name}"];

/// The files of one folder by stem.
#[derive(Default)]
pub(crate) struct FolderIndex {
    /// Paths of each stem, sorted.
    by_stem: HashMap<String, Vec<PathBuf>>,
}

impl FolderIndex {
    pub(crate) fn of(folder: &Path) -> Result<Self, DataError> {
        Ok(Self::of_files(Scan::of(folder)?.files))
    }

    /// The files of one folder, sorted by name.
    pub(crate) fn of_files(files: Vec<PathBuf>) -> Self {
        let mut by_stem: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for path in files {
            by_stem.entry(stem(&path)).or_default().push(path);
        }
        Self { by_stem }
    }

    /// The file with this stem and the first possible of the extensions.
    pub(crate) fn find(&self, stem: &str, extensions: &[impl AsRef<str>]) -> Option<PathBuf> {
        let paths = self.by_stem.get(stem)?;
        extensions.iter().find_map(|extension| {
            paths.iter().find(|path| has_extension(path, extension.as_ref())).cloned()
        })
    }

    /// The mask of an image with this stem, by [`MASK_NAMES`]; `images` has the stems of all
    /// images.
    pub(crate) fn mask_of(&self, stem: &str, images: &HashSet<String>) -> Option<PathBuf> {
        MASK_NAMES.iter().find_map(|name| {
            let mask = name.replace(NAME, stem);
            let is_anothers = mask != stem && images.contains(&mask);
            if is_anothers { None } else { self.find(&mask, &IMAGE_EXTENSIONS) }
        })
    }
}

/// File name without extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The images of a folder, sorted by name; what else lies there is added to `left_out`.
pub(crate) fn list_images(
    folder: &Path,
    left_out: &mut Vec<Ignored>,
) -> Result<Vec<PathBuf>, DataError> {
    let images = Scan::of(folder)?.into_images(&IMAGE_EXTENSIONS, left_out);
    if images.is_empty() {
        let extensions = IMAGE_EXTENSIONS.map(String::from).to_vec();
        return Err(DataError::NoImages { extensions, path: folder.into() });
    }
    Ok(images)
}

/// What lies in the folders of a layout and can be neither image nor mask: other formats, folders, links
/// that lead nowhere. Nothing of a folder that holds images *and* masks, or of folders of single cases:
/// there, what else lies beside a case belongs to it.
pub(crate) fn beside_pairs(layout: &Layout, root: &Path) -> Vec<Ignored> {
    let mut left_out = Vec::new();
    if layout.images == layout.masks || layout.has_folder_per_case() {
        return left_out;
    }
    let (images, masks) = (root.join(&layout.images), root.join(&layout.masks));
    for (folder, extensions) in
        [(&images, &layout.image_extensions), (&masks, &layout.mask_extensions)]
    {
        // A folder that cannot be listed was an error before, as its cases were looked for.
        if let Ok(scan) = Scan::of(folder) {
            scan.into_images(extensions, &mut left_out);
        }
    }
    // One may lie in the other.
    left_out.retain(|one| one.path != images && one.path != masks);
    left_out
}

/// Extensions of what archives bring along and nobody takes for an image: licenses, lists of names.
const TEXT_EXTENSIONS: [&str; 4] = ["txt", "md", "csv", "pdf"];

/// Warns of what lies in the folders of a set and is not read, but for texts.
///
/// A link that leads nowhere is among it, not among the cases that cannot be read: there is no file. Where
/// a list says which files there must be (a split file, a CSV file, the count of a card), its absence is
/// an error; two folders say nothing but what is in them.
///
/// Once for each folder: a set is opened for every split and every run, and the same warning again
/// would hide others.
pub(crate) fn warn_left_out(folder: &Path, mut left_out: Vec<Ignored>) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

    // Images and masks may lie in one folder.
    left_out.retain(|one| !TEXT_EXTENSIONS.iter().any(|text| has_extension(&one.path, text)));
    left_out.sort();
    left_out.dedup();
    let is_new = || TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.into());
    if left_out.is_empty() || !is_new() {
        return;
    }
    let first = left_out.iter().take(FIRST_MISSING);
    let first: Vec<String> =
        first.map(|one| format!("{} ({})", one.path.display(), one.reason)).collect();
    tracing::warn!(
        folder = %folder.display(),
        left_out = left_out.len(),
        first = first.join(", "),
        "not everything in the folders of images and masks is read (said once; `data check` lists it)"
    );
}

/// Whether a folder is there; `path` is not one if a file lies there.
///
/// # Errors
///
/// What the system says if it does not tell, e.g. for want of rights: that is not the same as absent.
fn is_folder(path: &Path) -> io::Result<bool> {
    match watched(path, || std::fs::metadata(path)) {
        Ok(what) => Ok(what.is_dir()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file is there that is neither a folder nor a pipe.
///
/// # Errors
///
/// As of [`is_folder`].
pub(crate) fn is_file(path: &Path) -> io::Result<bool> {
    match watched(path, || std::fs::metadata(path)) {
        Ok(what) => Ok(what.is_file()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What a split has on the disk, in one layout.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Cases with both files, in the order of the split.
    pub pairs: Vec<FoundCase>,
    /// Cases that lack a file, in the order of the split.
    pub absent: Vec<Absent>,
}

/// A case with both files.
#[derive(Debug)]
pub(crate) struct FoundCase {
    pub id: String,
    pub sequence: Option<String>,
    pub image: PathBuf,
    pub mask: PathBuf,
}

/// A case that lacks its image, its mask, or both.
#[derive(Debug)]
pub(crate) struct Absent {
    pub id: String,
    pub image: Option<PathBuf>,
    pub mask: Option<PathBuf>,
    /// The first file that was looked for in vain, relative to the root.
    pub expected: String,
}

impl Found {
    /// Whether the layout has all that the card says, or what is wrong otherwise.
    fn complete(&self, card: &Card, split: &Split<'_>, folder: &Path) -> Result<(), Wrong> {
        let missing = self.absent.len();
        let by_folder = split.by.folder;
        if missing > 0 {
            let error = DataError::FilesMissing {
                data: card.name.clone(),
                missing,
                total: self.pairs.len() + missing,
                first: self
                    .absent
                    .iter()
                    .take(FIRST_MISSING)
                    .map(|one| one.expected.clone())
                    .collect(),
                folder: folder.into(),
            };
            return Err(Wrong { missing, error });
        }
        let (expected, actual) = (split.expected(), self.pairs.len());
        if by_folder && actual != expected {
            let error = DataError::FolderCount {
                data: card.name.clone(),
                split: split.name.clone(),
                expected,
                actual,
                folder: folder.into(),
            };
            return Err(Wrong { missing: expected.abs_diff(actual), error });
        }
        Ok(())
    }
}

/// Why a layout is not complete.
struct Wrong {
    missing: usize,
    error: DataError,
}

/// How many missing files an error names.
pub(crate) const FIRST_MISSING: usize = 5;

/// The cases of a split, in the first layout that has them all, which is returned with them.
///
/// If no layout is complete, the error is about one of which cannot be said whether it is there, or
/// else about the one that lacks least.
pub(crate) fn find_split<'a>(
    card: &'a Card,
    split: &Split<'_>,
    root: &Path,
) -> Result<(&'a Layout, Vec<FoundCase>), DataError> {
    let mut best: Option<Wrong> = None;
    let present = present_layouts(card, split, root)?;
    for layout in present.layouts {
        let found = find_in_layout(layout, split, root)?;
        // A list of names may be looked for in many folders; what was counted lies in one.
        let folder = if split.by.folder { root.join(&layout.images) } else { root.into() };
        match found.complete(card, split, &folder) {
            Ok(()) => return Ok((layout, found.pairs)),
            Err(wrong) if best.as_ref().is_none_or(|best| wrong.missing < best.missing) => {
                best = Some(wrong);
            }
            Err(_) => {}
        }
    }
    if let Some((path, source)) = present.unreadable.into_iter().next() {
        return Err(DataError::Folder { path, source });
    }
    Err(best.map_or_else(|| layout_missing(card, split, root), |wrong| wrong.error))
}

/// The layouts that a split may have.
#[derive(Default)]
pub(crate) struct Present<'a> {
    /// Those whose image folder is there.
    pub(crate) layouts: Vec<&'a Layout>,
    /// Image folders of which the system does not say whether they are there, and what it says.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// Looks for the layouts that a split may have.
///
/// # Errors
///
/// [`DataError::RootMissing`], or [`DataError::Folder`] if the root cannot be looked at.
pub(crate) fn present_layouts<'a>(
    card: &'a Card,
    split: &Split<'_>,
    root: &Path,
) -> Result<Present<'a>, DataError> {
    let root_error = |source| DataError::Folder { path: root.into(), source };
    if !is_folder(root).map_err(root_error)? {
        return Err(DataError::RootMissing { root: root.into() });
    }
    let mut present = Present::default();
    for layout in card.layouts.iter().filter(|layout| layout.holds(&split.name)) {
        let images = root.join(fixed_part(&layout.images));
        match is_folder(&images) {
            Ok(true) => present.layouts.push(layout),
            Ok(false) => {}
            Err(source) => present.unreadable.push((images, source)),
        }
    }
    Ok(present)
}

fn layout_missing(card: &Card, split: &Split<'_>, root: &Path) -> DataError {
    let layouts = card.layouts.iter().filter(|layout| layout.holds(&split.name));
    DataError::LayoutMissing {
        data: card.name.clone(),
        looked_for: layouts.map(|layout| layout.images.clone()).collect(),
        root: root.into(),
    }
}

/// The folders above the first one that is named after a case.
fn fixed_part(folder: &str) -> PathBuf {
    Path::new(folder)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(NAME))
        .collect()
}

/// The cases of a split in one layout, complete or not.
///
/// # Errors
///
/// [`DataError::Folder`] if a folder that is not named after a case cannot be listed, and
/// [`DataError::NoImages`] if a split is every pair of a folder without images.
pub(crate) fn find_in_layout(
    layout: &Layout,
    split: &Split<'_>,
    root: &Path,
) -> Result<Found, DataError> {
    let mut folders = Folders { root, listed: HashMap::new() };
    let mut found = Found::default();
    let Some(members) = split.members() else {
        let folder = root.join(&layout.images);
        let mut seen = HashSet::new();
        let stems: Vec<String> = Scan::of(&folder)?
            .files
            .iter()
            .filter(|path| layout.image_extensions.iter().any(|one| has_extension(path, one)))
            .map(|path| stem(path))
            .filter(|stem| seen.insert(stem.clone()))
            .collect();
        if stems.is_empty() {
            let extensions = layout.image_extensions.clone();
            return Err(DataError::NoImages { extensions, path: folder });
        }
        for id in stems {
            found.add(layout, &mut folders, &id, None)?;
        }
        return Ok(found);
    };
    for member in members {
        found.add(layout, &mut folders, &member.name, member.sequence.clone())?;
    }
    Ok(found)
}

impl Found {
    fn add(
        &mut self,
        layout: &Layout,
        folders: &mut Folders<'_>,
        id: &str,
        sequence: Option<String>,
    ) -> Result<(), DataError> {
        let in_folder = |folder: &str| folder.replace(NAME, id);
        let (images, masks) = (in_folder(&layout.images), in_folder(&layout.masks));
        let optional = layout.has_folder_per_case();
        let image = folders.of(&images, optional)?.find(id, &layout.image_extensions);
        let mask_index = folders.of(&masks, optional)?;
        let mask = layout
            .mask_names
            .iter()
            .find_map(|name| mask_index.find(&name.replace(NAME, id), &layout.mask_extensions));
        let expected_mask =
            || expected(&masks, &layout.mask_names[0].replace(NAME, id), &layout.mask_extensions);
        let id = id.to_owned();
        match (image, mask) {
            (Some(image), Some(mask)) => {
                self.pairs.push(FoundCase { id, sequence, image, mask });
            }
            (None, mask) => {
                let expected = expected(&images, &id, &layout.image_extensions);
                self.absent.push(Absent { id, image: None, mask, expected });
            }
            (image, None) => {
                let expected = expected_mask();
                self.absent.push(Absent { id, image, mask: None, expected });
            }
        }
        Ok(())
    }
}

/// Folders that were listed already.
struct Folders<'a> {
    root: &'a Path,
    listed: HashMap<String, FolderIndex>,
}

impl Folders<'_> {
    /// The files of a folder; `optional` makes an absent one an empty one.
    fn of(&mut self, folder: &str, optional: bool) -> Result<&FolderIndex, DataError> {
        if !self.listed.contains_key(folder) {
            let path = self.root.join(folder);
            let folder_error = |source| DataError::Folder { path: path.clone(), source };
            let index = match optional && !is_folder(&path).map_err(folder_error)? {
                true => FolderIndex::default(),
                false => FolderIndex::of(&path)?,
            };
            self.listed.insert(folder.into(), index);
        }
        Ok(&self.listed[folder])
    }
}

/// The name of an absent file: `folder/stem.png`, or `folder/stem.{tif,png}`.
fn expected(folder: &str, stem: &str, extensions: &[String]) -> String {
    match extensions {
        [one] => format!("{folder}/{stem}.{one}"),
        many => format!("{folder}/{stem}.{{{}}}", many.join(",")),
    }
}

pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|one| one.eq_ignore_ascii_case(extension))
}

/// Everything in one folder but hidden files, sorted by name. Folders inside it are not entered, so
/// a loop of links is no danger.
pub(crate) struct Scan {
    pub(crate) files: Vec<PathBuf>,
    ignored: Vec<Ignored>,
}

impl Scan {
    pub(crate) fn of(folder: &Path) -> Result<Self, DataError> {
        watched(folder, || Self::list(folder))
    }

    fn list(folder: &Path) -> Result<Self, DataError> {
        let folder_error = |source| DataError::Folder { path: folder.into(), source };
        let mut scan = Self { files: Vec::new(), ignored: Vec::new() };
        for item in std::fs::read_dir(folder).map_err(folder_error)? {
            let item = item.map_err(folder_error)?;
            // `._a.jpg` beside `a.jpg` is what macOS leaves in archives.
            if item.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = item.path();
            let reason = match std::fs::metadata(&path) {
                Ok(what) if what.is_file() => {
                    scan.files.push(path);
                    continue;
                }
                Ok(what) if what.is_dir() => "a folder; folders in folders are not read".into(),
                Ok(_) => "neither a file nor a folder".into(),
                Err(error) => format!("cannot be opened: {error}"),
            };
            scan.ignored.push(Ignored { path, reason });
        }
        scan.files.sort();
        Ok(scan)
    }

    /// The files with one of the extensions; the others are noted.
    pub(crate) fn into_images(
        self,
        extensions: &[impl AsRef<str>],
        ignored: &mut Vec<Ignored>,
    ) -> Vec<PathBuf> {
        ignored.extend(self.ignored);
        let (images, others): (Vec<_>, Vec<_>) = self
            .files
            .into_iter()
            .partition(|path| extensions.iter().any(|one| has_extension(path, one.as_ref())));
        let known: Vec<&str> = extensions.iter().map(AsRef::as_ref).collect();
        let reason = format!("its extension is not one of {}", known.join(", "));
        ignored.extend(others.into_iter().map(|path| Ignored { path, reason: reason.clone() }));
        images
    }
}
