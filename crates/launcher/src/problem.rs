//! What is wrong with a profile, all of it at once, with line and column.

use std::{fmt, ops::Range};

use serde::de::DeserializeOwned;
use toml_edit::{Document, DocumentMut, Item, TableLike};

/// More problems than that are not worth a list.
const MOST: usize = 50;

/// One key or value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line and column in characters, from 1; nothing if the text does not have the key.
    pub place: Option<(usize, usize)>,
    /// Dotted key.
    pub key: String,
    /// What is wrong, and what is accepted.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}, ")?;
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
        let without = path.as_ref().and_then(|path| without(&rest, path));
        let (Some(path), Some(without)) = (path, without) else {
            let key = "the file".to_owned();
            let reason = format!("cannot be read: {}", error.message().trim_end());
            let place = error.span().map(|span| line_and_column(&rest, span.start));
            // Places are those of the text as it was given only if nothing was taken out.
            problems.push(Problem { place: place.filter(|_| problems.is_empty()), key, reason });
            return Err(problems);
        };
        problems.push(at(text, &path, in_words(error.message().trim_end())));
        if problems.len() == MOST {
            return Err(problems);
        }
        rest = without;
    }
}

/// A problem with a key, at its place.
pub(crate) fn at(text: &str, path: &[String], reason: String) -> Problem {
    Problem { place: place_of(text, path), key: path.join("."), reason }
}

/// What the parser says, in the words of people who do not know Rust.
fn in_words(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut names = rest.split('`').skip(1).step_by(2);
        let name = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let likeness = |other: &&str| strsim::normalized_damerau_levenshtein(name, other);
        let near = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let near = near
            .filter(|near| likeness(near) >= 0.6)
            .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        return format!("unknown key `{name}`{near}; expected one of {}", known.join(", "));
    }
    let found = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    let Some((found, expected)) = found.and_then(|found| found.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let found = found.replace("string ", "the text ").replace("integer ", "").replace('`', "");
    let expected = match expected {
        "a string" | "string" => "a text in quotes",
        "a sequence" => "a list in square brackets",
        "a map" => "a table",
        "u32" | "u64" | "usize" => "a whole number of at least 0",
        other if other.starts_with("a nonzero ") => "a whole number of at least 1",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("is {found}, must be {expected}")
}

/// Where a key is written, or the nearest table above it.
pub(crate) fn place_of(text: &str, path: &[String]) -> Option<(usize, usize)> {
    let document = Document::parse(text).ok()?;
    let (mut item, mut span) = (document.as_item(), None);
    for part in path {
        let Some((key, value)) = item.as_table_like().and_then(|table| table.get_key_value(part))
        else {
            break;
        };
        span = key.span().or(value.span()).or(span);
        item = value;
    }
    Some(line_and_column(text, span?.start))
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The key that a range of bytes belongs to.
fn path_at(text: &str, span: &Range<usize>) -> Option<Vec<String>> {
    fn search(item: &Item, span: &Range<usize>, path: &mut Vec<String>) {
        let Some(table) = item.as_table_like() else { return };
        let holds = |known: Option<Range<usize>>| {
            known.is_some_and(|known| known.start <= span.start && span.end <= known.end)
        };
        for (name, value) in table.iter() {
            let key = table.get_key_value(name).and_then(|(key, _)| key.span());
            // A table that is written out in parts (`[a]`, `[a.b]`) has no range that holds all of it.
            let mut below = vec![name.to_owned()];
            search(value, span, &mut below);
            if below.len() > 1 || holds(key) || holds(value.span()) {
                path.append(&mut below);
                return;
            }
        }
    }
    let document = Document::parse(text).ok()?;
    let mut path = Vec::new();
    search(document.as_item(), span, &mut path);
    Some(path)
}

fn without(text: &str, path: &[String]) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let (last, tables) = path.split_last()?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in tables {
        table = table.get_mut(part)?.as_table_like_mut()?;
    }
    table.remove(last)?;
    Some(document.to_string())
}
