//! What is wrong with a profile, all of it at once, with line and column.

use std::fmt;

use serde::de::DeserializeOwned;
use toml_diagnostics::{Place, in_words, path_at, place_of, remove_key};

/// More problems than that are not worth a list.
const MOST: usize = 50;

/// One key or value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; nothing if the text does not have the key.
    pub place: Option<Place>,
    /// Dotted key.
    pub key: String,
    /// What is wrong, and what is accepted.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}, ")?;
        }
        write!(f, "`{}`: {}", self.key, self.reason)
    }
}

/// What is wrong with a text, all of it at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_lines(.0))]
pub struct Problems(pub Vec<Problem>);

/// Problems one below the other.
fn in_lines(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        several => {
            let lines: String = several.iter().map(|problem| format!("\n    {problem}")).collect();
            format!("{} problems{lines}", several.len())
        }
    }
}

/// Reads a text as a type all of whose keys may be missing. What is wrong is taken out and the text read again, so that
/// everything is found.
///
/// # Errors
///
/// Every problem; one without a key if the text is no TOML.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut rest = text.to_owned();
    loop {
        let error = match toml::from_str(&rest) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path =
            error.span().and_then(|span| path_at(&rest, &span)).filter(|path| !path.is_empty());
        let without = path.as_ref().and_then(|path| remove_key(&rest, path));
        let (Some(path), Some(without)) = (path, without) else {
            let key = "the file".to_owned();
            let reason = format!("cannot be read: {}", error.message().trim_end());
            let place = error.span().and_then(|span| Place::of_byte(&rest, span.start));
            // Places are those of the text as it was given only if nothing was taken out.
            problems.push(Problem { place: place.filter(|_| problems.is_empty()), key, reason });
            return Err(problems);
        };
        problems.push(at(text, &path, in_words(error.message().trim_end(), None)));
        if problems.len() == MOST {
            return Err(problems);
        }
        rest = without;
    }
}

/// A problem with a key, at its place.
pub(crate) fn at(text: &str, path: &[String], reason: String) -> Problem {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    Problem { place: place_of(text, &parts), key: path.join("."), reason }
}
