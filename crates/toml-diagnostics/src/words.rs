//! The parser's messages in plain words.

/// The name in backticks behind a beginning.
pub fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// What the parser says of a key, in the words of people who do not know Rust.
///
/// - `count`: the least and the largest number that make sense, where the key is a count
pub fn in_words(message: &str, count: Option<(usize, usize)>) -> String {
    if let Some(name) = quoted(message, "unknown field ") {
        let known = names_behind(message, "expected ");
        let near = nearest(name, &known)
            .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let known = match known.as_slice() {
            [] => "no key is accepted here".to_owned(),
            known => format!("expected one of {}", listed(known)),
        };
        return format!("unknown key `{name}`{near}; {known}");
    }
    if message == "wanted string or table" {
        return "must be a name in quotes".into();
    }
    if let Some(name) = quoted(message, "unknown variant ") {
        let known = names_behind(message, "expected ");
        return format!("unknown value `{name}`, expected one of {}", listed(&known));
    }
    let found = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = found.and_then(|found| found.rsplit_once(", expected ")) {
        return format!(
            "is {}, must be {}",
            found_in_words(found),
            expected_in_words(expected, count)
        );
    }
    message.to_owned()
}

fn found_in_words(found: &str) -> String {
    let number =
        |kind: &str| found.strip_prefix(kind).map(|rest| rest.trim_matches('`').to_owned());
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    number("integer ")
        .or_else(|| number("floating point "))
        .or_else(|| number("boolean "))
        .unwrap_or_else(|| match found {
            "map" => "a table".into(),
            "sequence" => "a list".into(),
            other => other.to_owned(),
        })
}

fn expected_in_words(expected: &str, count: Option<(usize, usize)>) -> String {
    if let Some((least, most)) = count {
        return count_in_words(least, most);
    }
    match expected {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number of at least 0".into(),
        "isize" | "i8" | "i16" | "i32" | "i64" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "`true` or `false`".into(),
        "a string" | "string or map" => "a text in quotes".into(),
        "path string" => "a path in quotes".into(),
        "a sequence" => "a list in square brackets".into(),
        "a map" => "a table".into(),
        other if other.starts_with("a nonzero ") => count_in_words(1, usize::MAX),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.starts_with("enum ") => "a name in quotes".into(),
        other => other.to_owned(),
    }
}

/// What numbers are accepted.
pub fn count_in_words(least: usize, most: usize) -> String {
    match most {
        usize::MAX => format!("a whole number of at least {least}"),
        most => format!("a whole number from {least} to {most}"),
    }
}

/// The names in backticks behind a part of a message of the parser.
pub fn names_behind(message: &str, part: &str) -> Vec<String> {
    let Some((_, rest)) = message.split_once(part) else { return Vec::new() };
    // Every second piece stands between backticks.
    rest.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The known name that a wrong one may stand for.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(name, other);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= 0.6).then_some(best)
}
