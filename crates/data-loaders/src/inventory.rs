//! What lies on the disk of a data set, good or bad: for somebody who wants to know what is wrong.
//!
//! [`DataSet::open`](crate::DataSet::open) gives all cases of a split or an error; an [`Inventory`]
//! gives what there is, and names everything else. It lists folders and decodes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::card::{NAME, Split};
use crate::data_set::PHANTOM;
use crate::files::{self, FolderIndex, Found, Scan};
use crate::{Card, Catalog, DataError, DataSet, IMAGE_EXTENSIONS, Layout, MASK_NAMES};

/// What lies on the disk of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The name of the data set; `folder` for two folders without a card.
    pub data: String,
    /// The splits, in the order of the card; one named `all` for two folders.
    pub splits: Vec<FoundSplit>,
    /// Every image with a mask that belongs to a split, once, whatever splits it belongs to.
    pub pairs: Vec<FilePair>,
    /// Images without mask, masks without image, and names of split files without either.
    pub unpaired: Vec<Unpaired>,
    /// What lies in the folders and is not read, by path.
    pub ignored: Vec<Ignored>,
    /// Images with a mask in the folders that no split names.
    pub unlisted: usize,
    /// Why [`DataSet::from_folders`](crate::DataSet::from_folders) refuses the folders as a whole; nothing if it does
    /// not. A card has one reading for each split, and [`splits`](Self::splits) says what lacks.
    pub refusal: Option<String>,
}

/// How much of a split was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSplit {
    /// The name of [`Card::split_names`], or `all`.
    pub name: String,
    /// The way of splitting that it belongs to; an image should be in one split of each.
    pub split_by: String,
    /// The layout that lacks least; `None` if no layout is there.
    pub layout: Option<String>,
    /// How many cases the card says; `None` without a card.
    pub expected: Option<usize>,
    /// How many cases have image and mask.
    pub found: usize,
}

/// An image file and its mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePair {
    /// Stem of the image.
    pub id: String,
    /// The image.
    pub image: PathBuf,
    /// The mask.
    pub mask: PathBuf,
    /// The splits that it belongs to.
    pub memberships: Vec<Membership>,
}

/// That a case belongs to a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Index into [`Inventory::splits`].
    pub split: usize,
    /// The video sequence, if the split file says one.
    pub sequence: Option<String>,
}

/// A file without its partner, or a name without files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaired {
    /// Stem of the image, or of the mask if there is no image.
    pub id: String,
    /// The image, if it is there.
    pub image: Option<PathBuf>,
    /// The mask, if it is there.
    pub mask: Option<PathBuf>,
    /// What was looked for in vain.
    pub expected: String,
}

/// Something in a folder that is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it is not read.
    pub reason: String,
}

impl Inventory {
    /// What lies on the disk for the data set of a name, as [`of_card`](Self::of_card) says.
    ///
    /// # Errors
    ///
    /// [`DataError::Generated`] for `phantom`, [`DataError::UnknownData`], [`DataError::NoRoot`], and those of
    /// [`of_card`](Self::of_card).
    pub fn open(name: &str, root: Option<&Path>, catalog: &Catalog) -> Result<Self, DataError> {
        let names = || catalog.cards().iter().map(|card| card.name.clone()).collect();
        let Some(card) = catalog.get(name) else {
            return Err(match name {
                PHANTOM => DataError::Generated { data: name.into(), with_files: names() },
                _ => DataError::UnknownData { name: name.into(), known: names() },
            });
        };
        Self::of_card(card, root.ok_or_else(|| DataError::NoRoot { data: name.into() })?)
    }

    /// What lies on the disk for a card, each split in the layout that lacks least.
    ///
    /// # Errors
    ///
    /// [`DataError::RootMissing`], [`DataError::LayoutMissing`] if no folder of any layout is
    /// there, and [`DataError::Folder`] if of none can be said that it is there, but of some not that it is not,
    /// for want of rights.
    pub fn of_card(card: &Card, root: &Path) -> Result<Self, DataError> {
        let mut inventory = Self::new(&card.name);
        let mut known: HashMap<PathBuf, usize> = HashMap::new();
        let mut used: Vec<&Layout> = Vec::new();
        let mut absent = BTreeSet::new();
        let mut unreadable = None;
        for split in card.all_splits() {
            let chosen = inventory.choose(card, &split, root, &mut unreadable)?;
            let index = inventory.splits.len();
            let (layout, found) = match chosen {
                Some((layout, found)) => (Some(layout), found),
                None => (None, Found::default()),
            };
            inventory.splits.push(FoundSplit {
                name: split.name.clone(),
                split_by: split.by.name.clone(),
                layout: layout.map(|layout| layout.name.clone()),
                expected: Some(split.expected()),
                found: found.pairs.len(),
            });
            for case in found.pairs {
                let position = *known.entry(case.image.clone()).or_insert_with(|| {
                    let (id, image, mask) = (case.id, case.image, case.mask);
                    inventory.pairs.push(FilePair { id, image, mask, memberships: Vec::new() });
                    inventory.pairs.len() - 1
                });
                let membership = Membership { split: index, sequence: case.sequence };
                inventory.pairs[position].memberships.push(membership);
            }
            for one in found.absent {
                if absent.insert(one.expected.clone()) {
                    let (id, image, mask) = (one.id, one.image, one.mask);
                    inventory.unpaired.push(Unpaired { id, image, mask, expected: one.expected });
                }
            }
            used.extend(layout);
        }
        if inventory.splits.iter().all(|split| split.layout.is_none()) {
            if let Some(error) = unreadable {
                return Err(error);
            }
            let mut looked_for: Vec<String> = Vec::new();
            for layout in &card.layouts {
                if !looked_for.contains(&layout.images) {
                    looked_for.push(layout.images.clone());
                }
            }
            let data = card.name.clone();
            return Err(DataError::LayoutMissing { data, looked_for, root: root.into() });
        }
        inventory.add_rest(&used, root);
        Ok(inventory.sorted())
    }

    /// What lies in a folder of images and one of masks, paired as
    /// [`DataSet::from_folders`](crate::DataSet::from_folders) does; one split `all`.
    ///
    /// # Errors
    ///
    /// [`DataError::Folder`] if one of them cannot be listed, [`DataError::NoImages`].
    pub fn of_folders(images: &Path, masks: &Path) -> Result<Self, DataError> {
        let mut inventory = Self::new("folder");
        inventory.refusal =
            DataSet::pair_folders(images, masks).err().map(|error| error.to_string());
        let image_files = Scan::of(images)?.into_images(&IMAGE_EXTENSIONS, &mut inventory.ignored);
        if image_files.is_empty() {
            let extensions = IMAGE_EXTENSIONS.map(String::from).to_vec();
            return Err(DataError::NoImages { extensions, path: images.into() });
        }
        let mask_files = Scan::of(masks)?.into_images(&IMAGE_EXTENSIONS, &mut inventory.ignored);
        let index = FolderIndex::of(masks)?;
        let stems: HashSet<String> = image_files.iter().map(|path| files::stem(path)).collect();
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        let mut taken: HashSet<PathBuf> = HashSet::new();
        for image in image_files {
            let id = files::stem(&image);
            if let Some(first) = seen.get(&id) {
                inventory.ignored.push(refused_stem(image, first));
                continue;
            }
            seen.insert(id.clone(), image.clone());
            match index.mask_of(&id, &stems) {
                Some(mask) => {
                    taken.insert(mask.clone());
                    let memberships = vec![Membership { split: 0, sequence: None }];
                    inventory.pairs.push(FilePair { id, image, mask, memberships });
                }
                None => {
                    let expected = masks.join(format!("{id}.*")).display().to_string();
                    let image = Some(image);
                    inventory.unpaired.push(Unpaired { id, image, mask: None, expected });
                }
            }
        }
        for mask in mask_files.into_iter().filter(|mask| !taken.contains(mask)) {
            let id = files::stem(&mask);
            let names = MASK_NAMES.map(str::to_owned);
            let image = images_of_mask(&id, &names).find(|name| seen.contains_key(name));
            match image {
                Some(name) => inventory.ignored.push(second_mask(mask, &name)),
                None => {
                    let expected = images.join(format!("{id}.*")).display().to_string();
                    let mask = Some(mask);
                    inventory.unpaired.push(Unpaired { id, image: None, mask, expected });
                }
            }
        }
        inventory.splits.push(FoundSplit {
            name: "all".into(),
            split_by: "folder".into(),
            layout: None,
            expected: None,
            found: inventory.pairs.len(),
        });
        Ok(inventory.sorted())
    }

    /// The inventories of all cards but one that have at least one pair under a root.
    ///
    /// # Errors
    ///
    /// [`DataError::RootMissing`] and [`DataError::Folder`], as of [`of_card`](Self::of_card).
    pub fn others(catalog: &Catalog, root: &Path, except: &str) -> Result<Vec<Self>, DataError> {
        let mut found = Vec::new();
        for card in catalog.cards().iter().filter(|card| card.name != except) {
            match Self::of_card(card, root) {
                Ok(inventory) if !inventory.pairs.is_empty() => found.push(inventory),
                Ok(_) | Err(DataError::LayoutMissing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn new(data: &str) -> Self {
        Self {
            data: data.into(),
            splits: Vec::new(),
            pairs: Vec::new(),
            unpaired: Vec::new(),
            ignored: Vec::new(),
            unlisted: 0,
            refusal: None,
        }
    }

    /// The layout of a split that lacks least, with what it has. A folder that cannot be listed is
    /// noted, and the first of which not even that it is there can be said is kept in `unreadable`.
    fn choose<'a>(
        &mut self,
        card: &'a Card,
        split: &Split<'_>,
        root: &Path,
        unreadable: &mut Option<DataError>,
    ) -> Result<Option<(&'a Layout, Found)>, DataError> {
        let mut best: Option<(usize, &Layout, Found)> = None;
        let present = files::present_layouts(card, split, root)?;
        for (path, source) in present.unreadable {
            self.ignored.push(unlistable(path.clone(), &source));
            unreadable.get_or_insert(DataError::Folder { path, source });
        }
        for layout in present.layouts {
            let found = match files::find_in_layout(layout, split, root) {
                Ok(found) => found,
                Err(DataError::NoImages { .. }) => Found::default(),
                Err(DataError::Folder { path, source }) => {
                    self.ignored.push(unlistable(path, &source));
                    Found::default()
                }
                Err(error) => return Err(error),
            };
            let lacking = split.expected().abs_diff(found.pairs.len());
            if best.as_ref().is_none_or(|(least, ..)| lacking < *least) {
                best = Some((lacking, layout, found));
            }
        }
        Ok(best.map(|(_, layout, found)| (layout, found)))
    }

    /// What else lies in the folders of the layouts that are used. A folder with images *and* masks
    /// in it is not looked through, nor are folders of single cases: what is left there is not
    /// known to be either.
    fn add_rest(&mut self, used: &[&Layout], root: &Path) {
        let mut done: HashSet<(&str, &str)> = HashSet::new();
        let taken: HashSet<PathBuf> =
            self.pairs.iter().flat_map(|pair| [pair.image.clone(), pair.mask.clone()]).collect();
        let reported: HashSet<PathBuf> = self
            .unpaired
            .iter()
            .flat_map(|one| [one.image.clone(), one.mask.clone()])
            .flatten()
            .collect();
        let ids: HashSet<String> = self.pairs.iter().map(|pair| pair.id.clone()).collect();
        for layout in used {
            let folders = (layout.images.as_str(), layout.masks.as_str());
            if layout.images == layout.masks
                || layout.has_folder_per_case()
                || !done.insert(folders)
            {
                continue;
            }
            let mut scan = |folder: &str, extensions: &[String]| {
                let folder = root.join(folder);
                match Scan::of(&folder) {
                    Ok(scan) => scan.into_images(extensions, &mut self.ignored),
                    Err(DataError::Folder { path, source }) => {
                        self.ignored.push(unlistable(path, &source));
                        Vec::new()
                    }
                    Err(_) => Vec::new(),
                }
            };
            let images = scan(&layout.images, &layout.image_extensions);
            let masks = scan(&layout.masks, &layout.mask_extensions);
            let image_of: BTreeMap<String, &PathBuf> =
                images.iter().rev().map(|path| (files::stem(path), path)).collect();
            let mask_stems: HashSet<String> = masks.iter().map(|path| files::stem(path)).collect();
            for image in images.iter().filter(|path| !taken.contains(*path)) {
                let id = files::stem(image);
                let mut names = layout.mask_names.iter().map(|name| name.replace(NAME, &id));
                if names.any(|name| mask_stems.contains(&name)) {
                    match image_of.get(&id) {
                        Some(&first) if first != image || ids.contains(&id) => {
                            self.ignored.push(same_stem(image.clone(), first));
                        }
                        _ => self.unlisted += 1,
                    }
                } else if !reported.contains(image) {
                    let expected = layout.mask_names[0].replace(NAME, &id);
                    self.unpaired.push(Unpaired {
                        id,
                        image: Some(image.clone()),
                        mask: None,
                        expected: format!("{}/{expected}.*", layout.masks),
                    });
                }
            }
            for mask in masks.iter().filter(|path| !taken.contains(*path)) {
                let id = files::stem(mask);
                let image = images_of_mask(&id, &layout.mask_names)
                    .find(|name| image_of.contains_key(name));
                match image {
                    Some(name) if ids.contains(&name) => {
                        self.ignored.push(second_mask(mask.clone(), &name));
                    }
                    Some(_) => {}
                    None if reported.contains(mask) => {}
                    None => self.unpaired.push(Unpaired {
                        expected: format!("{}/{id}.*", layout.images),
                        id,
                        image: None,
                        mask: Some(mask.clone()),
                    }),
                }
            }
        }
    }

    fn sorted(mut self) -> Self {
        self.ignored.sort();
        self.ignored.dedup();
        self
    }
}

/// The stems that the image of a mask may have.
fn images_of_mask<'a>(mask: &'a str, names: &'a [String]) -> impl Iterator<Item = String> + 'a {
    names.iter().filter_map(move |name| {
        let (before, after) = name.split_once(NAME)?;
        mask.strip_prefix(before)?.strip_suffix(after).map(str::to_owned)
    })
}

fn same_stem(path: PathBuf, first: &Path) -> Ignored {
    let first = first.file_name().unwrap_or_default().to_string_lossy();
    Ignored { path, reason: format!("has the stem of {first}, which is used") }
}

fn refused_stem(path: PathBuf, first: &Path) -> Ignored {
    let first = first.file_name().unwrap_or_default().to_string_lossy();
    let reason = format!("has the stem of {first}: folders with such a pair are refused");
    Ignored { path, reason }
}

fn second_mask(path: PathBuf, id: &str) -> Ignored {
    Ignored { path, reason: format!("{id} has another mask, which is used") }
}

fn unlistable(path: PathBuf, source: &std::io::Error) -> Ignored {
    Ignored { path, reason: format!("a folder that cannot be listed: {source}") }
}
