//! A data set: a name, a split, and a list of cases that are decoded when asked for.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bounded_read::MAX_LIST_BYTES;
use serde::Deserialize;

use crate::files::{self, FIRST_MISSING, FolderIndex, Scan};
use crate::{
    CardError, Case, Catalog, DataError, IMAGE_EXTENSIONS, Ignored, TruthMask, card, decode,
    synthetic,
};

/// The most splits that a message names: a file of another kind may have a new one on each of a million lines.
const MAX_KNOWN: usize = 50;

/// Name of the built-in synthetic data set.
pub(crate) const PHANTOM: &str = "phantom";

/// Seed of the built-in synthetic data set. Any number would do; another one is another data set.
pub(crate) const PHANTOM_SEED: u64 = 0x2403_0416;

/// Splits of the built-in data set `phantom` with their index ranges, see
/// [`synthetic::phantom`]. They are disjoint, so no image is in two splits. `extended` is for questions that `train` is
/// too small for, such as how many images a method needs.
pub const PHANTOM_SPLITS: [(&str, Range<u64>); 4] = [
    ("train", 0..200),
    ("valid", 10_000..10_050),
    ("test", 20_000..20_100),
    ("extended", 30_000..33_200),
];

/// A list of cases. Cheap to clone and to share between threads: it holds paths, not pixels.
#[derive(Debug, Clone)]
pub struct DataSet {
    name: String,
    split: String,
    pub(crate) entries: Arc<[Entry]>,
    /// Whether somebody was told about gray mask pixels; once per data set is enough.
    told_about_gray: Arc<AtomicBool>,
}

/// One case that was not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) data: Arc<str>,
    pub(crate) sequence: Option<String>,
    pub(crate) source: Source,
}

/// Where a case comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Files { image: PathBuf, mask: PathBuf },
    NoMask { image: PathBuf, expected: PathBuf },
    Phantom { index: u64 },
}

/// One row of the CSV format of the published code.
#[derive(Deserialize)]
struct CsvRow {
    image_name: String,
    train_type: String,
    mask_name: String,
}

/// Two sets are the same if they name the same files (or generated images) in the same order; the
/// pixels are not compared.
impl PartialEq for DataSet {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.split, &self.entries) == (&other.name, &other.split, &other.entries)
    }
}

impl DataSet {
    /// Opens a data set of the catalog, or the built-in `phantom`.
    ///
    /// `split` is one of [`Card::split_names`](crate::Card::split_names), or of
    /// [`PHANTOM_SPLITS`]. `root` is the folder under which the files lie in one of the layouts of
    /// the card; the first layout that is complete is used. `phantom` needs none. Nothing is
    /// decoded yet, but every file must be there. What else lies in the folders is worth one warning, as of
    /// [`from_folders`](Self::from_folders).
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownData`], [`DataError::UnknownSplit`], [`DataError::NoRoot`],
    /// [`DataError::RootMissing`], [`DataError::LayoutMissing`], [`DataError::Folder`],
    /// [`DataError::FilesMissing`], or, for a split that is every pair of its folder,
    /// [`DataError::NoImages`] or [`DataError::FolderCount`].
    pub fn open(
        name: &str,
        split: &str,
        root: Option<&Path>,
        catalog: &Catalog,
    ) -> Result<Self, DataError> {
        if name == PHANTOM {
            return Self::open_phantom(split);
        }
        let Some(card) = catalog.get(name) else {
            let mut known: Vec<_> = catalog.cards().iter().map(|card| card.name.clone()).collect();
            known.push(PHANTOM.into());
            known.sort();
            return Err(DataError::UnknownData { name: name.into(), known });
        };
        let found = card.split(split).ok_or_else(|| DataError::UnknownSplit {
            data: name.into(),
            split: split.into(),
            known: card.split_names(),
        })?;
        let root = root.ok_or_else(|| DataError::NoRoot { data: name.into() })?;
        let (layout, cases) = files::find_split(card, &found, root)?;
        files::warn_left_out(&root.join(&layout.images), files::beside_pairs(layout, root));
        let data: Arc<str> = name.into();
        let entries = cases.into_iter().map(|case| Entry {
            id: case.id,
            data: Arc::clone(&data),
            sequence: case.sequence,
            source: Source::Files { image: case.image, mask: case.mask },
        });
        Ok(Self::new(name, split, entries.collect()))
    }

    fn open_phantom(split: &str) -> Result<Self, DataError> {
        let Some((_, range)) = PHANTOM_SPLITS.into_iter().find(|(name, _)| *name == split) else {
            return Err(DataError::UnknownSplit {
                data: PHANTOM.into(),
                split: split.into(),
                known: PHANTOM_SPLITS.iter().map(|(name, _)| (*name).into()).collect(),
            });
        };
        let data: Arc<str> = PHANTOM.into();
        let entries = range.map(|index| Entry {
            id: format!("{PHANTOM}_{index:05}"),
            data: Arc::clone(&data),
            sequence: None,
            source: Source::Phantom { index },
        });
        Ok(Self::new(PHANTOM, split, entries.collect()))
    }

    /// Takes every image of a folder, with the mask of the same stem in another folder.
    ///
    /// Images are the files with one of the [`IMAGE_EXTENSIONS`](crate::IMAGE_EXTENSIONS), in
    /// the order of their names. The stem of a mask is one of the
    /// [`MASK_NAMES`](crate::MASK_NAMES). An image without a mask is a bad case that
    /// [`load`](Self::load) reports; if no image has one, the folder is most likely wrong, and
    /// this function says so. What else lies in the folders (other files but texts, folders, links that lead nowhere) is
    /// worth one warning: what is not there cannot be a bad case, and a list of what should be there is what a card
    /// or a CSV file has. The set is named `folder`, its split `all`.
    ///
    /// # Errors
    ///
    /// [`DataError::Folder`], [`DataError::NoImages`], [`DataError::NoPairs`] or
    /// [`DataError::DuplicateId`] (`a.png` beside `a.jpg`).
    pub fn from_folders(images: &Path, masks: &Path) -> Result<Self, DataError> {
        let (entries, left_out) = Self::pair_folders(images, masks)?;
        files::warn_left_out(images, left_out);
        Ok(Self::new("folder", "all", entries))
    }

    /// The cases of two folders, and what else lies in them.
    pub(crate) fn pair_folders(
        images: &Path,
        masks: &Path,
    ) -> Result<(Vec<Entry>, Vec<Ignored>), DataError> {
        let mut left_out = Vec::new();
        let image_files = files::list_images(images, &mut left_out)?;
        let first = image_files.first().cloned().unwrap_or_default();
        let mask_files = Scan::of(masks)?.into_images(&IMAGE_EXTENSIONS, &mut left_out);
        let mask_index = FolderIndex::of_files(mask_files);
        let data: Arc<str> = "folder".into();
        let mut entries: Vec<Entry> = Vec::with_capacity(image_files.len());
        let stems: HashSet<String> = image_files.iter().map(|image| files::stem(image)).collect();
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        let mut pairs = 0;
        for image in image_files {
            let id = files::stem(&image);
            if let Some(first) = seen.insert(id.clone(), image.clone()) {
                return Err(DataError::DuplicateId { id, first, second: image });
            }
            let source = match mask_index.mask_of(&id, &stems) {
                Some(mask) => {
                    pairs += 1;
                    Source::Files { image, mask }
                }
                None => Source::NoMask { image, expected: masks.join(format!("{id}.*")) },
            };
            entries.push(Entry { id, data: Arc::clone(&data), sequence: None, source });
        }
        if pairs == 0 {
            let masks = masks.to_owned();
            return Err(DataError::NoPairs { images: entries.len(), first, masks });
        }
        // `data` and `data/masks` are a usual pair.
        left_out.retain(|one| one.path != images && one.path != masks);
        Ok((entries, left_out))
    }

    /// Takes the rows of a CSV file whose `train_type` is `split`.
    ///
    /// The format is that of the published code: a header with the columns `image_name`,
    /// `train_type`, `mask_name` in any order, and one row per image. Relative paths are relative
    /// to `root`. Ids are the stems of the images or, if two images share a stem, the image
    /// names as written. The set has the stem of the CSV file as its name.
    ///
    /// # Errors
    ///
    /// [`DataError::Csv`] (with the line), [`DataError::UnknownSplit`] (with the ones that there
    /// are), [`DataError::FilesMissing`], [`DataError::Open`] if it cannot be said whether a file is there, or
    /// [`DataError::DuplicateId`].
    pub fn from_csv(path: &Path, split: &str, root: &Path) -> Result<Self, DataError> {
        let name = files::stem(path);
        let csv_error = |source| DataError::Csv { path: path.into(), source };
        let bytes =
            bounded_read::read(path, MAX_LIST_BYTES).map_err(|source| csv_error(source.into()))?;
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
        let mut rows: Vec<CsvRow> = Vec::new();
        let mut known: Vec<String> = Vec::new();
        for row in reader.deserialize() {
            let row: CsvRow = row.map_err(csv_error)?;
            if row.train_type == split {
                rows.push(row);
            } else if known.len() < MAX_KNOWN && !known.contains(&row.train_type) {
                known.push(row.train_type);
            }
        }
        if rows.is_empty() {
            return Err(DataError::UnknownSplit { data: name, split: split.into(), known });
        }

        let mut absent: Vec<&str> = Vec::new();
        for row in &rows {
            for file in [&row.image_name, &row.mask_name] {
                let path = root.join(file);
                let is_there = files::is_file(&path);
                if !is_there.map_err(|source| DataError::Open { path, source })? {
                    absent.push(file);
                    break;
                }
            }
        }
        if !absent.is_empty() {
            return Err(DataError::FilesMissing {
                data: name,
                missing: absent.len(),
                total: rows.len(),
                first: absent.iter().take(FIRST_MISSING).map(|&file| file.into()).collect(),
                folder: root.into(),
            });
        }

        let stems: HashSet<_> =
            rows.iter().map(|row| files::stem(Path::new(&row.image_name))).collect();
        let stems_are_unique = stems.len() == rows.len();
        let data: Arc<str> = name.as_str().into();
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let image = root.join(&row.image_name);
            let id = if stems_are_unique { files::stem(&image) } else { row.image_name };
            if let Some(first) = seen.insert(id.clone(), image.clone()) {
                return Err(DataError::DuplicateId { id, first, second: image });
            }
            let source = Source::Files { image, mask: root.join(row.mask_name) };
            entries.push(Entry { id, data: Arc::clone(&data), sequence: None, source });
        }
        Ok(Self::new(&name, split, entries))
    }

    /// All cases of several data sets, one set after the other; ids stay as they are, so a case
    /// is named by [`Case::data`] and [`Case::id`] together.
    ///
    /// The name is that of the parts, joined with `+`.
    pub fn join(sets: &[Self]) -> Self {
        let joined = |of: fn(&Self) -> &str| {
            let mut parts: Vec<&str> = sets.iter().map(of).collect();
            parts.dedup();
            parts.join("+")
        };
        let entries = sets.iter().flat_map(|set| set.entries.iter().cloned()).collect();
        Self::new(&joined(Self::name), &joined(Self::split), entries)
    }

    /// The cases that a split file gives to `split`, in the order of the file, under the name `name`.
    ///
    /// The file has the columns `name,split[,sequence]`, like those of the cards; a name is a stem.
    ///
    /// # Errors
    ///
    /// [`DataError::Card`] if the file cannot be read or is malformed, [`DataError::UnknownSplit`] if it has no
    /// such split, [`DataError::NotInSet`] if it names cases that this set does not have.
    pub fn split_by(&self, path: &Path, split: &str, name: &str) -> Result<Self, DataError> {
        let text = bounded_read::read_to_string(path, MAX_LIST_BYTES)
            .map_err(|source| CardError::Read { path: path.into(), source })?;
        let members = card::members(&text, path)?;
        let mut known: Vec<String> = members.iter().map(|member| member.split.clone()).collect();
        known.sort_unstable();
        known.dedup();
        if !known.iter().any(|other| other == split) {
            known.truncate(MAX_KNOWN);
            return Err(DataError::UnknownSplit { data: name.into(), split: split.into(), known });
        }
        let by_id: HashMap<&str, &Entry> =
            self.entries.iter().map(|entry| (entry.id.as_str(), entry)).collect();
        let wanted: Vec<_> = members.iter().filter(|member| member.split == split).collect();
        let absent: Vec<&str> = wanted
            .iter()
            .map(|member| member.name.as_str())
            .filter(|name| !by_id.contains_key(name))
            .collect();
        if !absent.is_empty() {
            return Err(DataError::NotInSet {
                missing: absent.len(),
                total: wanted.len(),
                first: absent.iter().take(3).map(|&name| name.to_owned()).collect(),
                path: path.into(),
            });
        }
        let entries = wanted
            .iter()
            .filter_map(|member| {
                let entry = by_id.get(member.name.as_str())?;
                Some(Entry { sequence: member.sequence.clone(), ..(*entry).clone() })
            })
            .collect();
        Ok(self.part(split, entries).renamed(name))
    }

    /// The same cases as a set of another name.
    pub fn renamed(&self, name: &str) -> Self {
        let data: Arc<str> = name.into();
        let rename = |entry: &Entry| Entry { data: Arc::clone(&data), ..entry.clone() };
        let entries = self.entries.iter().map(rename).collect();
        Self { name: name.to_owned(), ..self.part(&self.split, entries) }
    }

    fn new(name: &str, split: &str, entries: Vec<Entry>) -> Self {
        Self {
            name: name.into(),
            split: split.into(),
            entries: entries.into(),
            told_about_gray: Arc::default(),
        }
    }

    /// A part of this set; `split` names it.
    pub(crate) fn part(&self, split: &str, entries: Vec<Entry>) -> Self {
        let told_about_gray = Arc::clone(&self.told_about_gray);
        let (name, split) = (self.name.clone(), split.to_owned());
        Self { name, split, entries: entries.into(), told_about_gray }
    }

    /// Name of the data set, e.g. `kvasir-seg`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of the split, e.g. `train`; `valid` for a held-out part.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The ids of all cases, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|entry| entry.id.as_str())
    }

    /// The id of a case.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below [`len`](Self::len): a bug in the caller.
    pub fn id(&self, index: usize) -> &str {
        &self.entries[index].id
    }

    /// The files that a case is read from, the image first; none if it is generated, and no mask if it has none.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below [`len`](Self::len): a bug in the caller.
    pub fn files(&self, index: usize) -> Vec<&Path> {
        match &self.entries[index].source {
            Source::Files { image, mask } => vec![image, mask],
            Source::NoMask { image, .. } => vec![image],
            Source::Phantom { .. } => Vec::new(),
        }
    }

    /// The first `n` cases, or all if there are fewer.
    pub fn limit(&self, n: usize) -> Self {
        self.part(&self.split, self.entries.iter().take(n).cloned().collect())
    }

    /// Decodes one case.
    ///
    /// Mask pixels that are neither 0 nor 255 are thresholded and counted in
    /// [`Case::mask_gray_pixels`]; the first such mask of a data set is worth a warning.
    ///
    /// # Errors
    ///
    /// [`DataError::MaskMissing`], [`DataError::SizeMismatch`], [`DataError::Orientation`],
    /// [`DataError::DimMask`] or what
    /// [`decode_image`](crate::decode_image) says of either file.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below [`len`](Self::len): a bug in the caller.
    pub fn load(&self, index: usize) -> Result<Case, DataError> {
        let entry = &self.entries[index];
        let (image, truth, mask_gray_pixels) = match &entry.source {
            Source::Files { image, mask } => self.decode_pair(image, mask)?,
            Source::NoMask { image, expected } => {
                let (image, mask) = (image.clone(), expected.clone());
                return Err(DataError::MaskMissing { image, mask });
            }
            Source::Phantom { index } => {
                let (image, truth) =
                    synthetic::phantom(PHANTOM_SEED, *index, synthetic::DEFAULT_SIZE);
                (image, truth, 0)
            }
        };
        let (id, data) = (entry.id.clone(), entry.data.to_string());
        Ok(Case { id, data, image, truth, mask_gray_pixels })
    }

    fn decode_pair(
        &self,
        image_path: &Path,
        mask_path: &Path,
    ) -> Result<(image::RgbImage, TruthMask, usize), DataError> {
        let (image, mask) = decode::decode_pair(image_path, mask_path)?;
        if mask.gray_pixels + mask.colored_pixels > 0
            && !self.told_about_gray.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                data = self.name,
                gray_pixels = mask.gray_pixels,
                colored_pixels = mask.colored_pixels,
                mask = %mask_path.display(),
                "masks have values besides 0 and 255, or colors; above 127 is foreground (said once)"
            );
        }
        Ok((image, mask.truth, mask.gray_pixels))
    }
}
