//! Reads a TOML text as a type and finds everything in it that does not fit, not only the first.
//!
//! A parser stops at the first mistake. So the mistake is noted, what it is about is replaced by something valid, and
//! the text is read again, until nothing is left. What comes out is good for looking for more problems, not for
//! running.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml_diagnostics::{count_in_words, in_words, path_at, quoted};
use toml_edit::{DocumentMut, Item, TableLike};

/// Stands in for what is missing or wrong, so that the rest can be looked at.
const STAND_IN: &str = r#"
name = "experiment"
backbone = { variant = "micro" }
data = { train = ["phantom"], test = ["phantom"] }
prompt = { module = "none" }
shift = { module = "none" }
train = { epochs = 1 }
evaluate = { prompts = ["ground_truth"] }
variant = { name = "variant" }
claim = { name = "claim", better = { method = "a", prompts = "center" }, than = { method = "b", prompts = "center" } }
"#;

/// More mistakes than that are not worth a list.
const MOST: usize = 50;

/// Numbers that are counts, with the least and the largest that make sense.
pub(crate) const COUNTS: [(&str, usize, usize); 8] = [
    ("train.epochs", 1, 1_000_000),
    ("train.batch_size", 1, 4096),
    ("train.views", 1, 64),
    ("train.patience", 1, 1_000_000),
    ("evaluate.points", 1, 4096),
    ("data.train_limit", 1, usize::MAX),
    ("data.train_images", 1, usize::MAX),
    ("data.test_limit", 1, usize::MAX),
];

/// Something that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Names of tables and the key, from the top; a number is a place in a list of tables.
    pub path: Vec<String>,
    /// What is wrong, and what is accepted.
    pub reason: String,
    /// Other keys that it is about: where one of them is wrong itself, nothing is known.
    pub with: &'static [&'static str],
}

impl Finding {
    /// About a dotted key.
    pub fn at(key: &str, reason: impl Into<String>) -> Self {
        Self::under(&key.split('.').collect::<Vec<_>>(), reason)
    }

    /// About a key that may have dots in its parts.
    pub fn under(path: &[&str], reason: impl Into<String>) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self { path, reason: reason.into(), with: &[] }
    }

    /// The key with its tables, dotted.
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

/// A text as a type, with what had to be replaced to read it.
pub(crate) struct Mended<T> {
    pub value: T,
    /// The text as given if nothing is wrong with it.
    pub text: String,
    pub findings: Vec<Finding>,
}

/// Reads a text.
///
/// # Errors
///
/// If it is no TOML, or something is wrong with it that nothing can stand in for.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<Mended<T>, Box<toml::de::Error>> {
    let mut text = text.to_owned();
    let mut findings: Vec<Finding> = Vec::new();
    loop {
        let error = match toml::from_str(&text) {
            Ok(value) => return Ok(Mended { value, text, findings }),
            Err(error) => Box::new(error),
        };
        let known = |finding: &Finding| findings.contains(finding);
        let Some(finding) = finding_of(&text, &error).filter(|finding| !known(finding)) else {
            return Err(error);
        };
        let Some(mended) = mend(&text, &finding).filter(|_| findings.len() < MOST) else {
            return Err(error);
        };
        findings.push(finding);
        text = mended;
    }
}

/// The text with a 1 and spaces in the place of each whole number that TOML's 64 bits do not hold, and what is wrong with
/// these: the parser stops at one, whatever else there is to say.
pub(crate) fn within_64_bits(text: String) -> (String, Vec<Finding>) {
    let (given, mut text, mut numbers) = (text.clone(), text, Vec::new());
    while numbers.len() < MOST
        && let Err(error) = text.parse::<DocumentMut>()
        && let Some(span) = error.span().and_then(|span| long_number(&text, span.start))
    {
        let number = text[span.clone()].to_owned();
        text.replace_range(span.clone(), &format!("{:<1$}", 1, span.len()));
        numbers.push((span.start, number));
    }
    let finding = |(start, number): (usize, String)| {
        let path = path_at(&text, &(start..start + 1)).filter(|path| !path.is_empty())?;
        let key = path.join(".");
        let accepted = match COUNTS.iter().find(|(count, ..)| *count == key) {
            Some(&(_, least, most)) => count_in_words(least, most.min(i64::MAX as usize)),
            None => format!("at most {}", i64::MAX),
        };
        Some(Finding { path, reason: format!("is {number}, must be {accepted}"), with: &[] })
    };
    match numbers.into_iter().map(finding).collect() {
        Some(findings) => (text, findings),
        // A number that cannot be named must not be replaced in silence.
        None => (given, Vec::new()),
    }
}

/// The whole number around a byte, if it has more digits than 64 bits hold for sure.
fn long_number(text: &str, at: usize) -> Option<Range<usize>> {
    let part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'+');
    let bytes = text.as_bytes();
    let before = bytes.get(..at)?.iter().rev().take_while(|byte| part(byte)).count();
    let behind = bytes[at..].iter().take_while(|byte| part(byte)).count();
    let span = at - before..at + behind;
    let digits = bytes[span.clone()].iter().filter(|byte| byte.is_ascii_digit()).count();
    (digits > 18).then_some(span)
}

/// What an error is about, in words. Nothing if it is about no key: the text is no TOML.
pub(crate) fn finding_of(text: &str, error: &toml::de::Error) -> Option<Finding> {
    let message = error.message().trim_end();
    let mut path = match error.span() {
        // Of a text as a whole nothing but a key can be missing.
        None => Vec::new(),
        Some(span) if span.start == 0 && (span.is_empty() || span.end >= text.len()) => Vec::new(),
        Some(span) => path_at(text, &span)?,
    };
    if let Some(missing) = quoted(message, "missing field ") {
        let reason = match path.is_empty() {
            _ if is_table(missing) => format!("the table `[{missing}]` is missing"),
            true => "is missing".into(),
            false => format!("is missing in `{}`", path.join(".")),
        };
        path.push(missing.to_owned());
        return Some(Finding { path, reason, with: &[] });
    }
    if path.is_empty() {
        return None;
    }
    let key = path.join(".");
    let count = COUNTS.iter().find(|(count, ..)| *count == key);
    let reason = in_words(message, count.map(|&(_, least, most)| (least, most)));
    Some(Finding { path, reason, with: &[] })
}

/// Whether a key at the top is a table.
fn is_table(key: &str) -> bool {
    stand_in(&[key.to_owned()]).is_some_and(|item| item.is_table_like())
}

/// What can stand at a path.
fn stand_in(path: &[String]) -> Option<Item> {
    let document: DocumentMut = STAND_IN.parse().expect("the stand-in is TOML");
    let mut item = document.as_item();
    for part in path.iter().filter(|part| part.parse::<usize>().is_err()) {
        item = item.as_table_like()?.get(part)?;
    }
    Some(item.clone())
}

/// The text without the mistake; nothing if that cannot be done.
fn mend(text: &str, finding: &Finding) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let mut path = finding.path.clone();
    // Of a list only the whole can be replaced, but of a list of tables each one.
    while let Some(at) = path.iter().rposition(|part| part.parse::<usize>().is_ok()) {
        let list = at > 0 && {
            let mut item = Some(document.as_item());
            for part in &path[..at] {
                item = item.and_then(|item| child(item, part));
            }
            !item.is_some_and(Item::is_array_of_tables)
        };
        if !list {
            break;
        }
        path.truncate(at);
    }
    if path.first().is_some_and(|first| first == "claim") && path.len() > 2 {
        // Half of a claim is of no use.
        path.truncate(2);
    }
    let (last, tables) = path.split_last()?;
    let mut item = document.as_item_mut();
    for part in tables {
        item = match part.parse::<usize>() {
            Ok(place) if item.is_array_of_tables() || item.is_array() => item.get_mut(place)?,
            _ => {
                let table = item.as_table_like_mut()?;
                table.get_mut(part)?
            }
        };
    }
    if let (Ok(place), Some(list)) = (last.parse::<usize>(), item.as_array_of_tables_mut()) {
        let Item::Value(value) = stand_in(&path)? else { return None };
        *list.get_mut(place)? = value.as_inline_table()?.clone().into_table();
        return Some(document.to_string());
    }
    let table: &mut dyn TableLike = item.as_table_like_mut()?;
    // A name of a variant or a claim has to be its own.
    let item = stand_in(&path).map(|item| match (&path[..], item.as_str()) {
        ([_, place, name], Some(text)) if name == "name" => {
            toml_edit::value(format!("{text}-{place}"))
        }
        _ => item,
    });
    match item {
        Some(item) => {
            table.insert(last, item);
        }
        None => {
            table.remove(last)?;
        }
    }
    Some(document.to_string())
}

fn child<'a>(item: &'a Item, part: &str) -> Option<&'a Item> {
    let named = item.as_table_like().and_then(|table| table.get(part));
    named.or_else(|| part.parse::<usize>().ok().and_then(|place| item.get(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ExperimentSpec;

    const GOOD: &str = r#"
name = "a"
[backbone]
variant = "micro"
[data]
train = ["phantom"]
test = ["phantom"]
[prompt]
module = "none"
[shift]
module = "ips"
[train]
epochs = 2
[evaluate]
prompts = ["center"]
"#;

    fn findings(text: &str) -> Vec<(String, String)> {
        let mended = read::<ExperimentSpec>(text).expect("it can be mended");
        assert!(toml::from_str::<ExperimentSpec>(&mended.text).is_ok());
        mended.findings.iter().map(|finding| (finding.key(), finding.reason.clone())).collect()
    }

    fn pair(key: &str, reason: &str) -> (String, String) {
        (key.into(), reason.into())
    }

    #[test]
    fn a_good_text_stays_as_it_is() {
        let mended = read::<ExperimentSpec>(GOOD).expect("TOML");
        assert_eq!((mended.text.as_str(), mended.findings.len()), (GOOD, 0));
    }

    #[test]
    fn all_mistakes_of_a_text_are_found_in_one_go() {
        let bad = GOOD
            .replace("epochs = 2", "epochs = \"two\"\nlearning_rat = 1e-3")
            .replace("variant = \"micro\"", "variant = 3")
            .replace("[evaluate]\nprompts = [\"center\"]\n", "")
            .replace("module = \"ips\"", "module = \"isp\"");
        let found = findings(&bad);
        let expected = [
            pair("backbone.variant", "is 3, must be a text in quotes"),
            pair("train.epochs", "is the text \"two\", must be a whole number from 1 to 1000000"),
            pair("shift.module", "unknown value `isp`, expected one of `none`, `ips`"),
            pair("evaluate", "the table `[evaluate]` is missing"),
        ];
        for one in expected {
            assert!(found.contains(&one), "{one:?} is not in {found:?}");
        }
        let typo = found.iter().find(|(key, _)| key == "train.learning_rat").expect("found");
        assert!(typo.1.starts_with("unknown key `learning_rat` (did you mean `learning_rate`?)"));
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn mistakes_in_lists_and_in_lists_of_tables_are_found() {
        let bad = GOOD.replace("[\"center\"]", "[\"center\", \"centre\"]");
        let more = "[[variant]]\nset = {}\n[[variant]]\nname = \"b\"\nsets = {}\n\
                    [[claim]]\nname = \"c\"\nbetter = { method = \"a\" }\n";
        let found = findings(&format!("{bad}{more}"));
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), 4, "{found:?}");
        for key in ["evaluate.prompts.1", "variant.0.name", "variant.1.sets"] {
            assert!(keys.contains(&key), "{key} is not in {keys:?}");
        }
        assert!(keys.iter().any(|key| key.starts_with("claim.0")), "{keys:?}");
    }

    #[test]
    fn what_is_no_toml_is_an_error() {
        assert!(read::<ExperimentSpec>("name = ").is_err());
    }
}
