//! Data set cards: where a set comes from, how its files lie, and which case is in which split.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::CardError;

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
    /// How the files may lie under the data root; the first one found is used.
    pub layouts: Vec<Layout>,
    /// Split files; the first one is the default.
    pub splits: Vec<SplitFile>,
}

/// One way in which the files of a data set may lie under the data root.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Name of the layout, e.g. `official`.
    pub name: String,
    /// Folder of the images, relative to the data root.
    pub images: String,
    /// Folder of the masks, relative to the data root.
    pub masks: String,
    /// Accepted extensions of images, in order of preference, without dot; case does not matter.
    pub image_extensions: Vec<String>,
    /// Accepted extensions of masks, in order of preference, without dot; case does not matter.
    pub mask_extensions: Vec<String>,
    /// What the stem of a mask has in addition to the stem of its image, e.g. `_segmentation`.
    #[serde(default)]
    pub mask_suffix: String,
}

/// A named way of splitting a data set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// Name of the way of splitting, e.g. `pranet`.
    pub name: String,
    /// CSV file with the columns `name,split` and perhaps `sequence`, relative to the card.
    pub file: String,
    /// Who made the split and where it was taken from.
    pub source: String,
    /// Expected number of names of each split.
    pub counts: BTreeMap<String, usize>,
    /// The rows of the file.
    #[serde(skip)]
    pub members: Vec<Member>,
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
        Self::parse(&read(path)?, path, |file| read(&folder.join(file)))
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
        for split in &mut card.splits {
            let file = path.with_file_name(&split.file);
            split.members = members(&split_file(&split.file)?, &file)?;
            check_counts(split, &file)?;
        }
        Ok(card)
    }

    /// What can be opened: the splits of the default split file by their plain names, those of
    /// the others as `FILE/SPLIT`, e.g. `effisegnet/train`.
    pub fn split_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (position, file) in self.splits.iter().enumerate() {
            for split in file.counts.keys() {
                names.push(match position {
                    0 => split.clone(),
                    _ => format!("{}/{split}", file.name),
                });
            }
        }
        names
    }

    /// The members of a split in the order of its file, or `None` if there is no such split.
    ///
    /// `split` is a name of [`split_names`](Self::split_names); the default split file may be
    /// named too (`pranet/train`).
    pub fn members(&self, split: &str) -> Option<Vec<&Member>> {
        let (file, part) = match split.split_once('/') {
            Some((file, part)) => (self.splits.iter().find(|one| one.name == file)?, part),
            None => (self.splits.first()?, split),
        };
        file.counts
            .contains_key(part)
            .then(|| file.members.iter().filter(|member| member.split == part).collect())
    }
}

fn read(path: &Path) -> Result<String, CardError> {
    std::fs::read_to_string(path).map_err(|source| CardError::Read { path: path.into(), source })
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
