//! What a name stands for that can be downloaded, on what terms, and where it goes.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use data_loaders::{Card, Catalog, DataError, DataSet, Download};
use download::{
    Event, FetchError, Fetched, InstallError, Installed, Limits, MAX_SIZE, Package,
    ParseSha256Error, Request, Settings, Sha256, fetch, install,
};
use sam_backbone::{KNOWN_CHECKPOINTS, KnownCheckpoint};

/// Something that a user may ask for by name.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A data set.
    Data(&'a Card),
    /// Published weights of SAM or of a model like it.
    Checkpoint(&'static KnownCheckpoint),
}

/// On what terms an item is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms<'a> {
    /// What it is.
    pub title: String,
    /// Where to read more.
    pub home_page: &'a str,
    /// Licence or conditions.
    pub terms: &'a str,
    /// What to cite.
    pub citation: &'a str,
    /// Files that can be downloaded.
    pub downloads: Vec<Source>,
    /// What a person has to do, if there is something.
    pub how_to_get: Option<&'a str>,
}

/// A file that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its address.
    pub url: String,
    /// Its size in bytes, if known.
    pub bytes: Option<u64>,
    /// Whether its checksum is known.
    pub has_checksum: bool,
}

/// A file or folder that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Where it is.
    pub path: PathBuf,
    /// How it came; nothing for a folder that was there before.
    pub fetched: Option<Fetched>,
    /// Files of the archive, if it is a folder that was unpacked now.
    pub unpacked: Option<usize>,
}

/// A data set that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataArrived {
    /// What was downloaded; nothing if all was there before.
    pub files: Vec<Arrived>,
    /// Images with masks of every split.
    pub splits: Vec<(String, usize)>,
}

/// Why something is not there.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// No such name.
    #[error("nothing to download is called `{name}`; known are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What could have been.
        known: Vec<String>,
    },
    /// A checksum in a card or in the list of checkpoints is none.
    #[error("the checksum that is known of {name} is none")]
    Checksum {
        /// The item.
        name: String,
        /// Why.
        source: ParseSha256Error,
    },
    /// A file did not come.
    #[error("cannot fetch {name}")]
    Fetch {
        /// The item.
        name: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// An archive did not come or cannot be unpacked.
    #[error("cannot fetch {name}")]
    Install {
        /// The item.
        name: String,
        /// Why.
        source: Box<InstallError>,
    },
    /// All files came, and yet the data set cannot be opened.
    #[error(
        "{name} is not complete; a folder of its that was there before was left alone, so move it away and fetch again ({})",
        splits.iter().map(|(split, error)| format!("{split}: {error}")).collect::<Vec<_>>().join("; ")
    )]
    Incomplete {
        /// The data set.
        name: String,
        /// The splits that cannot be opened.
        splits: Vec<(String, DataError)>,
    },
}

/// Hears the name of a file and what happens to it.
pub type OnEvent<'a> = &'a mut dyn FnMut(&str, Event<'_>);

impl<'a> Item<'a> {
    /// A data set of the catalog, or published weights.
    ///
    /// # Errors
    ///
    /// [`ItemError::Unknown`] with all known names.
    pub fn find(name: &str, catalog: &'a Catalog) -> Result<Self, ItemError> {
        if let Some(card) = catalog.get(name) {
            return Ok(Self::Data(card));
        }
        if let Some(known) = KnownCheckpoint::named(name) {
            return Ok(Self::Checkpoint(known));
        }
        let data = catalog.cards().iter().map(|card| card.name.clone());
        let checkpoints = KNOWN_CHECKPOINTS.iter().map(|known| known.name.to_owned());
        Err(ItemError::Unknown { name: name.to_owned(), known: data.chain(checkpoints).collect() })
    }

    /// What has to be read and agreed to.
    pub fn terms(&self) -> Terms<'a> {
        match *self {
            Self::Data(card) => Terms {
                title: card.title.clone(),
                home_page: &card.home_page,
                terms: &card.terms,
                citation: &card.citation,
                downloads: card
                    .downloads
                    .iter()
                    .map(|download| Source {
                        url: download.url.clone(),
                        bytes: download.bytes,
                        has_checksum: download.sha256.is_some(),
                    })
                    .collect(),
                how_to_get: card.how_to_get.as_deref(),
            },
            Self::Checkpoint(known) => Terms {
                title: format!("{}, {}", known.origin.title, known.variant),
                home_page: known.origin.home_page,
                terms: known.origin.terms,
                citation: known.origin.citation,
                downloads: vec![Source {
                    url: known.url.to_owned(),
                    bytes: known.size,
                    has_checksum: known.sha256.is_some(),
                }],
                how_to_get: None,
            },
        }
    }

    /// Whether it can be downloaded from here.
    pub fn can_be_fetched(&self) -> bool {
        match self {
            Self::Data(card) => !card.downloads.is_empty(),
            Self::Checkpoint(_) => true,
        }
    }
}

/// Downloads weights into `folder`, unless they are there.
///
/// # Errors
///
/// See [`ItemError`].
pub fn fetch_checkpoint(
    known: &KnownCheckpoint,
    folder: &Path,
    stop: &AtomicBool,
    on_event: OnEvent<'_>,
) -> Result<Arrived, ItemError> {
    let name = known.name.to_owned();
    let path = folder.join(known.file_name);
    let request = Request {
        url: known.url.to_owned(),
        sha256: checksum(&name, known.sha256)?,
        size: known.size,
        max_size: known.size.unwrap_or(MAX_SIZE),
        target: path.clone(),
    };
    let mut show = |event: Event<'_>| on_event(known.file_name, event);
    let fetched = fetch(&request, &Settings::default(), stop, &mut show)
        .map_err(|source| ItemError::Fetch { name, source: Box::new(source) })?;
    Ok(Arrived { path, fetched: Some(fetched), unpacked: None })
}

/// Downloads a data set below `root`, unless it is there and complete.
///
/// # Errors
///
/// See [`ItemError`].
pub fn fetch_data(
    card: &Card,
    root: &Path,
    catalog: &Catalog,
    stop: &AtomicBool,
    on_event: OnEvent<'_>,
) -> Result<DataArrived, ItemError> {
    let open = || -> Vec<(String, Result<DataSet, DataError>)> {
        let split = |split: String| {
            let set = DataSet::open(&card.name, &split, Some(root), catalog);
            (split, set)
        };
        card.split_names().into_iter().map(split).collect()
    };
    let mut files = Vec::new();
    if !open().iter().all(|(_, set)| set.is_ok()) {
        for download in &card.downloads {
            files.push(one_download(&card.name, download, root, stop, on_event)?);
        }
    }
    let (mut splits, mut incomplete) = (Vec::new(), Vec::new());
    for (split, set) in open() {
        match set {
            Ok(set) => splits.push((split, set.len())),
            Err(error) => incomplete.push((split, error)),
        }
    }
    if !incomplete.is_empty() {
        return Err(ItemError::Incomplete { name: card.name.clone(), splits: incomplete });
    }
    Ok(DataArrived { files, splits })
}

/// One file of a card, unpacked if it is an archive.
fn one_download(
    name: &str,
    download: &Download,
    root: &Path,
    stop: &AtomicBool,
    on_event: OnEvent<'_>,
) -> Result<Arrived, ItemError> {
    let path = root.join(&download.into);
    let file = download.file_name();
    let request = Request {
        url: download.url.clone(),
        sha256: checksum(name, download.sha256.as_deref())?,
        size: download.bytes,
        max_size: MAX_SIZE,
        target: if download.unpack { root.join(file) } else { path.clone() },
    };
    let settings = Settings::default();
    let mut show = |event: Event<'_>| on_event(file, event);
    let name = name.to_owned();
    if !download.unpack {
        let fetched = fetch(&request, &settings, stop, &mut show)
            .map_err(|source| ItemError::Fetch { name, source: Box::new(source) })?;
        return Ok(Arrived { path, fetched: Some(fetched), unpacked: None });
    }
    let package = Package { archive: request, folder: path.clone(), limits: Limits::default() };
    let installed = install(&package, &settings, stop, &mut show)
        .map_err(|source| ItemError::Install { name, source: Box::new(source) })?;
    Ok(match installed {
        Installed::AlreadyThere => Arrived { path, fetched: None, unpacked: None },
        Installed::Now { fetched, unpacked } => {
            Arrived { path, fetched: Some(fetched), unpacked: Some(unpacked.files) }
        }
    })
}

fn checksum(name: &str, text: Option<&str>) -> Result<Option<Sha256>, ItemError> {
    let wrong = |source| ItemError::Checksum { name: name.to_owned(), source };
    text.map(str::parse).transpose().map_err(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_and_says_its_terms() {
        let catalog = Catalog::built_in();
        let Err(ItemError::Unknown { known, .. }) = Item::find("nobody", &catalog) else {
            panic!("nobody was found")
        };
        assert!(known.contains(&"kvasir-seg".to_owned()) && known.contains(&"vit_h".to_owned()));
        for name in known {
            let item = Item::find(&name, &catalog).unwrap();
            let terms = item.terms();
            for text in [&*terms.title, terms.home_page, terms.terms, terms.citation] {
                assert!(!text.is_empty(), "{name}");
            }
            assert_eq!(item.can_be_fetched(), !terms.downloads.is_empty(), "{name}");
            // What cannot be downloaded needs a person.
            assert!(item.can_be_fetched() || terms.how_to_get.is_some(), "{name}");
        }
    }

    #[test]
    fn all_known_checksums_are_checksums() {
        let catalog = Catalog::built_in();
        let cards = catalog.cards().iter().flat_map(|card| &card.downloads);
        let of_cards = cards.filter_map(|download| download.sha256.as_deref());
        let all = of_cards.chain(KNOWN_CHECKPOINTS.iter().filter_map(|known| known.sha256));
        let all: Vec<_> = all.map(|text| checksum("", Some(text)).unwrap().unwrap()).collect();
        assert!(all.len() > KNOWN_CHECKPOINTS.len(), "no card has a checksum");
    }
}
