//! Where a key stands in a TOML text.

use std::fmt;

use toml_edit::Document;

/// 1-based line and column of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
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
pub(crate) fn place_of(text: &str, path: &[&str]) -> Option<Place> {
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
    let before = text.get(..span?.start)?;
    let line = before.rsplit('\n').next().unwrap_or_default();
    Some(Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

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
