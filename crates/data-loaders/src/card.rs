//! Data set cards: where a set comes from, how its files lie, and which case is in which split.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bounded_read::{MAX_LIST_BYTES, MAX_TOML_BYTES};
use serde::Deserialize;

use crate::{CardError, Download};

/// A data set's card, `datasets/<name>/card.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name in experiments and tables, e.g. `kvasir-seg`; also the folder of the card.
    pub name: String,
    /// Name for people, e.g. `Kvasir-SEG`.
    pub title: String,
    /// What the images are, e.g. `colonoscopy`.
    pub modality: String,
    /// Where the data set is published.
    pub home_page: String,
    /// What the data set may be used for, in a sentence or two.
    pub terms: String,
    /// What to cite when the data set is used.
    pub citation: String,
    /// Notes that a user of the numbers should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What has to be done to get the images, where it takes more than a download.
    #[serde(default)]
    pub how_to_get: Option<String>,
    /// What can be downloaded without asking anybody. Together they make the `official` layout.
    #[serde(default)]
    pub downloads: Vec<Download>,
    /// How the files may lie under the data root; the first one found is used.
    pub layouts: Vec<Layout>,
    /// Split files; the first one is the default.
    pub splits: Vec<SplitFile>,
}

/// One way in which the files of a data set may lie under the data root.
///
/// `{name}` stands for the name of a case. In `images` and `masks` it makes a folder per case
/// (`PH2 Dataset images/{name}/{name}_lesion`), in `mask_names` it says how a mask is called.
/// Where splits lie in different folders, there is a layout for each, under one name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Name of the layout, e.g. `official`.
    pub name: String,
    /// The splits that lie here, as [`Card::split_names`] calls them; all if there is none.
    #[serde(default)]
    pub splits: Vec<String>,
    /// Folder of the images, relative to the data root.
    pub images: String,
    /// Folder of the masks, relative to the data root.
    pub masks: String,
    /// Accepted extensions of images, in order of preference, without dot; case does not matter.
    pub image_extensions: Vec<String>,
    /// Accepted extensions of masks, in order of preference, without dot; case does not matter.
    pub mask_extensions: Vec<String>,
    /// Stems that the mask of a case may have, in order of preference, e.g.
    /// `{name}_segmentation`; the stem of the image if nothing is said.
    #[serde(default = "same_name")]
    pub mask_names: Vec<String>,
}

/// Stands for the name of a case.
pub(crate) const NAME: &str = "{name}";

fn same_name() -> Vec<String> {
    vec![NAME.into()]
}

impl Layout {
    /// Whether a split lies here.
    pub(crate) fn holds(&self, split: &str) -> bool {
        self.splits.is_empty() || self.splits.iter().any(|one| one == split)
    }

    /// Whether every case has folders of its own.
    pub(crate) fn has_folder_per_case(&self) -> bool {
        self.images.contains(NAME) || self.masks.contains(NAME)
    }
}

/// A named way of splitting a data set: by a file of names, or by the folders that images lie in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Name of the way of splitting, e.g. `pranet`.
    pub name: String,
    /// CSV file with the columns `name,split` and perhaps `sequence`, relative to the card.
    #[serde(default)]
    pub file: Option<String>,
    /// Whether a split is every pair of its folder (of the layouts whose `splits` name it), for
    /// sets whose names nobody has listed. Exactly one of `file` and `folder` is given.
    #[serde(default)]
    pub folder: bool,
    /// Who made the split and where it was taken from.
    pub source: String,
    /// Expected number of cases of each split.
    pub counts: BTreeMap<String, usize>,
    /// The rows of the file; none if the split is by folder.
    #[serde(skip)]
    pub members: Vec<Member>,
}

/// A split of a card: which cases it has.
#[derive(Debug, Clone)]
pub(crate) struct Split<'a> {
    /// The name of [`Card::split_names`].
    pub name: String,
    /// The way of splitting that it belongs to.
    pub by: &'a SplitFile,
    /// Its name there.
    pub part: &'a str,
}

impl<'a> Split<'a> {
    /// How many cases the card says there are.
    pub fn expected(&self) -> usize {
        self.by.counts.get(self.part).copied().unwrap_or(0)
    }

    /// The members in the order of the file, or `None` if the split is every pair of its folder.
    pub fn members(&self) -> Option<Vec<&'a Member>> {
        let part = |member: &&Member| member.split == self.part;
        (!self.by.folder).then(|| self.by.members.iter().filter(part).collect())
    }
}

/// One row of a split file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Stem of the image file.
    pub name: String,
    /// The split that it belongs to, e.g. `train`.
    pub split: String,
    /// The video sequence that it was taken from; frames of one sequence look alike.
    #[serde(default)]
    pub sequence: Option<String>,
}

impl Card {
    /// Reads a card and its split files from the disk.
    ///
    /// # Errors
    ///
    /// [`CardError`]: an unreadable file, an unknown or missing key (with line and column), a
    /// name that stands twice in a split file, or other counts than the card says.
    pub fn from_path(path: &Path) -> Result<Self, CardError> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let text = read(path, MAX_TOML_BYTES)?;
        Self::parse(&text, path, |file| read(&folder.join(file), MAX_LIST_BYTES))
    }

    /// Parses a card; `split_file` gives the text of a split file by its name in the card.
    pub(crate) fn parse(
        text: &str,
        path: &Path,
        split_file: impl Fn(&str) -> Result<String, CardError>,
    ) -> Result<Self, CardError> {
        let mut card: Self = toml::from_str(text)
            .map_err(|source| CardError::Parse { path: path.into(), source: Box::new(source) })?;
        for (key, is_empty) in
            [("layouts", card.layouts.is_empty()), ("splits", card.splits.is_empty())]
        {
            if is_empty {
                return Err(CardError::Empty { key, path: path.into() });
            }
        }
        for download in &card.downloads {
            download.check(path)?;
        }
        for split in &mut card.splits {
            match (&split.file, split.folder) {
                (Some(name), false) => {
                    let file = path.with_file_name(name);
                    split.members = members(&split_file(name)?, &file)?;
                    check_counts(split, &file)?;
                }
                (None, true) => {}
                _ => {
                    let reason = "a way of splitting has either `file` or `folder = true`";
                    return Err(invalid(&split.name, reason, path));
                }
            }
        }
        card.check_layouts(path)?;
        Ok(card)
    }

    fn check_layouts(&self, path: &Path) -> Result<(), CardError> {
        let known = self.split_names();
        for layout in &self.layouts {
            if !layout.splits.iter().all(|split| known.contains(split)) {
                let reason = "`splits` of a layout names a split that the card does not have";
                return Err(invalid(&layout.name, reason, path));
            }
            if layout.mask_names.is_empty()
                || !layout.mask_names.iter().all(|name| name.contains(NAME))
            {
                return Err(invalid(&layout.name, "`mask_names` must contain `{name}`", path));
            }
            let of_folder = |split: &Split<'_>| split.by.folder && layout.holds(&split.name);
            if self.all_splits().any(|split| of_folder(&split))
                && (layout.has_folder_per_case() || layout.images == layout.masks)
            {
                let reason = "a split that is every pair of its folder needs one folder of images \
                              and another one of masks";
                return Err(invalid(&layout.name, reason, path));
            }
        }
        Ok(())
    }

    /// All splits, in the order of the card, those of one way of splitting by name.
    pub(crate) fn all_splits(&self) -> impl Iterator<Item = Split<'_>> {
        self.splits.iter().enumerate().flat_map(move |(position, by)| {
            by.counts.keys().map(move |part| {
                let taken = self.splits[..position].iter().any(|one| one.counts.contains_key(part));
                let name = if taken { format!("{}/{part}", by.name) } else { part.clone() };
                Split { name, by, part }
            })
        })
    }

    /// What can be opened: a split by its plain name, or as `FILE/SPLIT` (e.g.
    /// `effisegnet/train`) if an earlier way of splitting has one of the same name.
    pub fn split_names(&self) -> Vec<String> {
        self.all_splits().map(|split| split.name).collect()
    }

    /// The split with this name; `FILE/SPLIT` is always understood.
    pub(crate) fn split(&self, name: &str) -> Option<Split<'_>> {
        self.all_splits().find(|split| {
            let full = name.split_once('/');
            split.name == name || full == Some((split.by.name.as_str(), split.part))
        })
    }

    /// Whether [`DataSet::open`](crate::DataSet::open) knows a split of this name.
    pub fn has_split(&self, name: &str) -> bool {
        self.split(name).is_some()
    }

    /// The members of a split in the order of its file, or `None` if there is no such split, or
    /// if it is every pair of its folder.
    ///
    /// `split` is a name of [`split_names`](Self::split_names), or `FILE/SPLIT` (`pranet/train`).
    pub fn members(&self, split: &str) -> Option<Vec<&Member>> {
        self.split(split)?.members()
    }

    /// Number of cases that the most complete way of splitting has.
    pub fn cases(&self) -> usize {
        let sum =
            |by: &SplitFile| by.counts.values().fold(0, |sum: usize, n| sum.saturating_add(*n));
        self.splits.iter().map(sum).max().unwrap_or(0)
    }

    /// The first sentence of the terms, for lists.
    pub fn short_terms(&self) -> &str {
        let terms = self.terms.trim();
        terms.split_once(". ").map_or(terms, |(first, _)| first)
    }
}

fn invalid(name: &str, reason: &'static str, path: &Path) -> CardError {
    CardError::Invalid { name: name.into(), reason, path: path.into() }
}

fn read(path: &Path, limit: u64) -> Result<String, CardError> {
    bounded_read::read_to_string(path, limit)
        .map_err(|source| CardError::Read { path: path.into(), source })
}

pub(crate) fn members(text: &str, path: &Path) -> Result<Vec<Member>, CardError> {
    let mut members: Vec<Member> = Vec::new();
    let mut seen = HashSet::new();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    for row in reader.deserialize() {
        let member: Member =
            row.map_err(|source| CardError::SplitFile { path: path.into(), source })?;
        if !seen.insert(member.name.clone()) {
            return Err(CardError::Duplicate { name: member.name, path: path.into() });
        }
        members.push(member);
    }
    Ok(members)
}

fn check_counts(split: &SplitFile, path: &Path) -> Result<(), CardError> {
    let mut actual: BTreeMap<&str, usize> =
        split.counts.keys().map(|name| (name.as_str(), 0)).collect();
    for member in &split.members {
        *actual.entry(&member.split).or_default() += 1;
    }
    for (name, actual) in actual {
        // A split that the card does not mention is expected to have no names.
        let expected = split.counts.get(name).copied().unwrap_or(0);
        if actual != expected {
            let path = PathBuf::from(path);
            return Err(CardError::Count { split: name.into(), expected, actual, path });
        }
    }
    Ok(())
}
