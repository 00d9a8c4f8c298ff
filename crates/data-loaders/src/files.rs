//! Finding images and masks on the disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Card, DataError, Layout, Member};

/// Extensions that count as images, in order of preference; case does not matter.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

/// What the stem of a mask may have in addition to the stem of its image, in order of preference.
/// The first is nothing: the same stem.
pub const MASK_SUFFIXES: [&str; 3] = ["", "_segmentation", "_mask"];

/// The files of one folder by stem.
pub(crate) struct FolderIndex {
    /// Paths of each stem, sorted.
    by_stem: HashMap<String, Vec<PathBuf>>,
}

impl FolderIndex {
    pub(crate) fn of(folder: &Path) -> Result<Self, DataError> {
        let mut by_stem: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for path in list(folder)? {
            by_stem.entry(stem(&path)).or_default().push(path);
        }
        Ok(Self { by_stem })
    }

    /// The file with this stem and the first possible of the extensions.
    fn find(&self, stem: &str, extensions: &[impl AsRef<str>]) -> Option<PathBuf> {
        let paths = self.by_stem.get(stem)?;
        extensions.iter().find_map(|extension| {
            paths.iter().find(|path| has_extension(path, extension.as_ref())).cloned()
        })
    }

    /// The mask of an image with this stem.
    pub(crate) fn mask_of(&self, stem: &str) -> Option<PathBuf> {
        MASK_SUFFIXES
            .iter()
            .find_map(|suffix| self.find(&format!("{stem}{suffix}"), &IMAGE_EXTENSIONS))
    }
}

/// File name without extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The images of a folder, sorted by name.
pub(crate) fn list_images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = list(folder)?;
    images.retain(|path| IMAGE_EXTENSIONS.iter().any(|one| has_extension(path, one)));
    if images.is_empty() {
        let extensions = IMAGE_EXTENSIONS.map(String::from).to_vec();
        return Err(DataError::NoImages { extensions, path: folder.into() });
    }
    Ok(images)
}

/// The image and mask of every member, in the first layout that has them all.
///
/// If no layout is complete, the error is about the one that lacks least.
pub(crate) fn find_members(
    card: &Card,
    members: &[&Member],
    root: &Path,
    named: usize,
) -> Result<Vec<Pair>, DataError> {
    if !root.is_dir() {
        return Err(DataError::RootMissing { root: root.into() });
    }
    let mut best: Option<(usize, DataError)> = None;
    for layout in &card.layouts {
        let folder = root.join(&layout.images);
        if !folder.is_dir() {
            continue;
        }
        let (pairs, absent) = find_in_layout(layout, members, root)?;
        if absent.is_empty() {
            return Ok(pairs);
        }
        let missing = absent.len();
        if best.as_ref().is_none_or(|(fewest, _)| missing < *fewest) {
            let error = DataError::FilesMissing {
                data: card.name.clone(),
                missing,
                total: members.len(),
                first: absent.into_iter().take(named).collect(),
                folder: root.into(),
            };
            best = Some((missing, error));
        }
    }
    Err(best.map(|(_, error)| error).unwrap_or_else(|| DataError::LayoutMissing {
        data: card.name.clone(),
        looked_for: card.layouts.iter().map(|layout| layout.images.clone()).collect(),
        root: root.into(),
    }))
}

/// An image and its mask.
pub(crate) type Pair = (PathBuf, PathBuf);

/// Pairs of the members that have both files, and the first absent file of each other member.
fn find_in_layout(
    layout: &Layout,
    members: &[&Member],
    root: &Path,
) -> Result<(Vec<Pair>, Vec<String>), DataError> {
    let images = FolderIndex::of(&root.join(&layout.images))?;
    let masks = FolderIndex::of(&root.join(&layout.masks))?;
    let mut pairs = Vec::with_capacity(members.len());
    let mut absent = Vec::new();
    for member in members {
        let mask_stem = format!("{}{}", member.name, layout.mask_suffix);
        let image = images.find(&member.name, &layout.image_extensions);
        let mask = masks.find(&mask_stem, &layout.mask_extensions);
        match (image, mask) {
            (Some(image), Some(mask)) => pairs.push((image, mask)),
            (None, _) => {
                absent.push(expected(&layout.images, &member.name, &layout.image_extensions))
            }
            (_, None) => absent.push(expected(&layout.masks, &mask_stem, &layout.mask_extensions)),
        }
    }
    Ok((pairs, absent))
}

/// The name of an absent file: `folder/stem.png`, or `folder/stem.{tif,png}`.
fn expected(folder: &str, stem: &str, extensions: &[String]) -> String {
    match extensions {
        [one] => format!("{folder}/{stem}.{one}"),
        many => format!("{folder}/{stem}.{{{}}}", many.join(",")),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|one| one.eq_ignore_ascii_case(extension))
}

/// All files of a folder but hidden ones, sorted by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let folder_error = |source| DataError::Folder { path: folder.into(), source };
    let mut paths = Vec::new();
    for item in std::fs::read_dir(folder).map_err(folder_error)? {
        let item = item.map_err(folder_error)?;
        let path = item.path();
        // `._a.jpg` beside `a.jpg` is what macOS leaves in archives.
        let hidden = item.file_name().to_string_lossy().starts_with('.');
        if !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
