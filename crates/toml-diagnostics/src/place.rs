//! Where a key stands in a TOML text.

use std::{fmt, ops::Range};

use toml_edit::{Document, DocumentMut, Item, TableLike};

/// 1-based line and column of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// Where a byte of a text stands; nothing beyond its end or inside of a character.
    pub fn of_byte(text: &str, at: usize) -> Option<Self> {
        let before = text.get(..at)?;
        let line = before.rsplit('\n').next().unwrap_or_default();
        Some(Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The place of a key, or of the nearest table above it that is written out.
///
/// - `path`: names of tables and the key, from the top; a number is a place in an array of tables. A name may be
///   dotted where the text has it in quotes.
pub fn place_of(text: &str, path: &[&str]) -> Option<Place> {
    let document = Document::parse(text).ok()?;
    let mut item = document.as_item();
    let mut span = None;
    for part in path {
        let element = part.parse::<usize>().ok().and_then(|place| item.get(place));
        let named = item.as_table_like().and_then(|table| table.get_key_value(part));
        (item, span) = match (named, element) {
            (Some((name, value)), _) => (value, name.span().or(value.span()).or(span)),
            (None, Some(value)) => (value, value.span().or(span)),
            (None, None) => break,
        };
    }
    Place::of_byte(text, span?.start)
}

/// The text without a key; nothing if it does not have it.
pub fn remove_key(text: &str, path: &[String]) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let (last, tables) = path.split_last()?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in tables {
        table = table.get_mut(part)?.as_table_like_mut()?;
    }
    table.remove(last)?;
    Some(document.to_string())
}

/// The key that a range of bytes belongs to, from the top, as [`place_of`] takes it; empty for the text as a whole.
/// Nothing if the text is no TOML.
pub fn path_at(text: &str, span: &Range<usize>) -> Option<Vec<String>> {
    let document = Document::parse(text).ok()?;
    let (mut all, mut path) = (Vec::new(), Vec::new());
    collect(document.as_item(), &mut path, &mut all);
    let exact = all.iter().find(|(known, _)| known == span);
    let around = || {
        let holds = |known: &Range<usize>| known.start <= span.start && span.end <= known.end;
        all.iter().filter(|(known, _)| holds(known)).min_by_key(|(known, _)| known.len())
    };
    Some(exact.or_else(around).map_or_else(Vec::new, |(_, path)| path.clone()))
}

/// Every range of a name or a value below an item, with its path.
fn collect(item: &Item, path: &mut Vec<String>, all: &mut Vec<(Range<usize>, Vec<String>)>) {
    let mut add = |part: String, spans: [Option<Range<usize>>; 2], value: &Item| {
        path.push(part);
        all.extend(spans.into_iter().flatten().map(|span| (span, path.clone())));
        collect(value, path, all);
        path.pop();
    };
    if let Some(table) = item.as_table_like() {
        for (name, value) in table.iter() {
            let key = table.get_key_value(name).and_then(|(key, _)| key.span());
            add(name.to_owned(), [key, value.span()], value);
        }
    } else if let Some(tables) = item.as_array_of_tables() {
        for (place, table) in tables.iter().enumerate() {
            add(place.to_string(), [table.span(), None], &Item::Table(table.clone()));
        }
    } else if let Some(values) = item.as_array() {
        for (place, value) in values.iter().enumerate() {
            add(place.to_string(), [value.span(), None], &Item::Value(value.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_the_text_is_traced_to_its_key() {
        let path = |part: &str| {
            let start = TEXT.find(part).expect("a part");
            path_at(TEXT, &(start..start + part.len())).expect("TOML").join("/")
        };
        assert_eq!(path("d = 2"), "b/c");
        assert_eq!(path("d"), "b/c/d");
        assert_eq!(path("[b]"), "b");
        assert_eq!(path("\"b.c\""), "e/0/set/b.c");
        assert_eq!(path_at(TEXT, &(0..TEXT.len())), Some(Vec::new()));
        assert_eq!(path_at("a = ", &(0..1)), None);
    }

    const TEXT: &str = "a = 1\n\n[b]\nc = { d = 2 }\n\n[[e]]\nset = { x = 1, \"b.c\" = 2 }\n";

    fn at(path: &[&str]) -> Option<(usize, usize)> {
        place_of(TEXT, path).map(|place| (place.line, place.column))
    }

    #[test]
    fn keys_are_found_in_tables_inline_tables_and_arrays_of_tables() {
        assert_eq!(at(&["a"]), Some((1, 1)));
        assert_eq!(at(&["b", "c"]), Some((4, 1)));
        assert_eq!(at(&["b", "c", "d"]), Some((4, 7)));
        assert_eq!(at(&["e", "0", "set", "b.c"]), Some((7, 16)));
    }

    #[test]
    fn what_is_not_there_is_at_the_nearest_table_above() {
        assert_eq!(at(&["b", "c", "z"]), Some((4, 1)));
        assert_eq!(at(&["b", "z"]), Some((3, 2)));
        assert_eq!(at(&["z"]), None);
    }
}
