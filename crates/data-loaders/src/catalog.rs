//! The cards that are known.

use std::path::Path;

use crate::{Card, CardError};

/// The cards that are known, in the order of their names.
///
/// The cards of `datasets/` are compiled in, so they work from any folder.
#[derive(Debug, Clone)]
pub struct Catalog {
    cards: Vec<Card>,
}

/// The text of a card and of its split files, compiled in.
struct BuiltIn {
    path: &'static str,
    text: &'static str,
    splits: &'static [(&'static str, &'static str)],
}

/// A card of `datasets/` with the names of its split files.
macro_rules! built_in {
    ($name:literal $(, $split:literal)*) => {
        BuiltIn {
            path: concat!("datasets/", $name, "/card.toml"),
            text: include_str!(concat!("../../../datasets/", $name, "/card.toml")),
            splits: &[$((
                concat!("splits/", $split, ".csv"),
                include_str!(concat!("../../../datasets/", $name, "/splits/", $split, ".csv")),
            )),*],
        }
    };
}

const BUILT_IN: &[BuiltIn] = &[
    built_in!("cvc-300", "pranet"),
    built_in!("cvc-clinicdb", "pranet"),
    built_in!("cvc-colondb", "pranet"),
    built_in!("etis-larib", "pranet"),
    built_in!("isic2018-task1", "sample-1100"),
    built_in!("kvasir-seg", "pranet"),
    built_in!("ph2", "all"),
    built_in!("polypgen"),
    // A new data set adds one line here.
];

impl Catalog {
    /// The cards of `datasets/`.
    pub fn built_in() -> Self {
        let parse = |built_in: &BuiltIn| {
            Card::parse(built_in.text, built_in.path.as_ref(), |file| {
                let found = built_in.splits.iter().find(|(name, _)| *name == file);
                found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| CardError::Read {
                    path: Path::new(built_in.path).with_file_name(file),
                    source: std::io::ErrorKind::NotFound.into(),
                })
            })
        };
        let cards = BUILT_IN.iter().map(|built_in| {
            // They cannot change after compilation, and a test parses them all.
            parse(built_in).expect("compiled-in cards are valid")
        });
        Self { cards: cards.collect() }
    }

    /// Adds a card from the disk, e.g. for a data set that cannot be published.
    ///
    /// # Errors
    ///
    /// Those of [`Card::from_path`], and [`CardError::SameName`].
    pub fn add(&mut self, path: &Path) -> Result<&Card, CardError> {
        let card = Card::from_path(path)?;
        match self.cards.binary_search_by(|known| known.name.cmp(&card.name)) {
            Ok(_) => Err(CardError::SameName { name: card.name, path: path.into() }),
            Err(position) => {
                self.cards.insert(position, card);
                Ok(&self.cards[position])
            }
        }
    }

    /// The card with this name.
    pub fn get(&self, name: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.name == name)
    }

    /// All cards, in the order of their names.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::built_in()
    }
}
