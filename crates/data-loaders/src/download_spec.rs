//! What of a data set can be downloaded, and where it goes.

use std::path::{Component, Path};

use serde::Deserialize;

use crate::CardError;

/// `[[downloads]]` of a card: a file that anybody may download without registration.
///
/// This crate downloads nothing; it only knows what the card says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where the file is.
    pub url: String,
    /// SHA-256 of the file, 64 hexadecimal digits; nothing if nobody has published or measured it.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Size of the file in bytes, if known.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Whether the file is a zip archive that is to be unpacked.
    #[serde(default)]
    pub unpack: bool,
    /// The folder (of an archive) or the file that it becomes, relative to the data root. When all
    /// downloads of a card are in place, its `official` layout is complete.
    pub into: String,
}

impl Download {
    /// The name of the file on the server, e.g. `kvasir-seg.zip`.
    pub fn file_name(&self) -> &str {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Refuses what would be written to somewhere else than below the data root.
    ///
    /// # Errors
    ///
    /// [`CardError::Download`].
    pub(crate) fn check(&self, card: &Path) -> Result<(), CardError> {
        let error = |key, value: &str, reason| {
            Err(CardError::Download { key, value: value.into(), reason, path: card.into() })
        };
        let has_host = ["https://", "http://"].iter().any(|scheme| {
            let rest = self.url.strip_prefix(scheme).and_then(|rest| rest.split_once('/'));
            rest.is_some_and(|(host, _)| !host.is_empty())
        });
        if !has_host || !is_plain_name(self.file_name()) {
            return error("url", &self.url, "not the address of a file (https:// or http://)");
        }
        if let Some(sha256) = &self.sha256
            && (sha256.len() != 64 || !sha256.bytes().all(|digit| digit.is_ascii_hexdigit()))
        {
            return error("sha256", sha256, "not 64 hexadecimal digits");
        }
        let mut parts = Path::new(&self.into).components().peekable();
        if parts.peek().is_none() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return error("into", &self.into, "not a path below the data root");
        }
        Ok(())
    }
}

/// Whether a text can be the name of a file on every system.
fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download() -> Download {
        Download {
            url: "https://host/folder/set.zip".into(),
            sha256: Some("0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdef0123".into()),
            bytes: None,
            unpack: true,
            into: "Set/images".into(),
        }
    }

    #[test]
    fn a_file_is_called_as_on_the_server() {
        let named = |url: &str| Download { url: url.into(), ..download() }.file_name().to_owned();
        assert_eq!(named("https://host/folder/set.zip"), "set.zip");
        assert_eq!(named("https://host/set.zip?version=2#top"), "set.zip");
    }

    #[test]
    fn a_download_is_refused_if_it_could_land_elsewhere() {
        let card = Path::new("card.toml");
        download().check(card).expect("it is fine");
        type Change = fn(&mut Download);
        let changes: [(&str, Change); 13] = [
            ("url", |it| it.url = "ftp://host/set.zip".into()),
            ("url", |it| it.url = "https://host/".into()),
            ("url", |it| it.url = "https://host".into()),
            ("url", |it| it.url = "https:///set.zip".into()),
            ("url", |it| it.url = "https://host/..".into()),
            ("url", |it| it.url = "https://host/a%2F..%2Fb".into()),
            ("sha256", |it| it.sha256 = Some("abc".into())),
            ("sha256", |it| it.sha256 = Some("g".repeat(64))),
            ("into", |it| it.into = String::new()),
            ("into", |it| it.into = ".".into()),
            ("into", |it| it.into = "/Set".into()),
            ("into", |it| it.into = "../Set".into()),
            ("into", |it| it.into = "Set/../../x".into()),
        ];
        for (expected, change) in changes {
            let mut one = download();
            change(&mut one);
            let error = one.check(card).expect_err("it is not");
            assert!(
                matches!(error, CardError::Download { key, .. } if key == expected),
                "{one:?}: {error}"
            );
        }
    }

    #[test]
    fn a_card_says_what_can_be_downloaded() {
        let catalog = crate::Catalog::built_in();
        let downloads = |name| &catalog.get(name).expect("there is a card").downloads;
        let [kvasir] = &downloads("kvasir-seg")[..] else { panic!("one archive") };
        assert_eq!((kvasir.file_name(), kvasir.unpack), ("kvasir-seg.zip", true));
        assert_eq!(downloads("isic2018-task1").len(), 6);
    }

    #[test]
    fn what_is_downloaded_is_where_the_official_layout_looks_for_it() {
        for card in crate::Catalog::built_in().cards() {
            for download in &card.downloads {
                let used =
                    card.layouts.iter().filter(|layout| layout.name == "official").any(|layout| {
                        [&layout.images, &layout.masks]
                            .iter()
                            .any(|folder| Path::new(folder).starts_with(&download.into))
                    });
                assert!(used, "{}: {}", card.name, download.into);
            }
        }
    }

    #[test]
    fn a_card_without_downloads_says_how_to_get_the_images() {
        for card in crate::Catalog::built_in().cards() {
            assert!(
                !card.downloads.is_empty() || card.how_to_get.is_some(),
                "{} says neither where to download nor what to do instead",
                card.name
            );
        }
    }
}
