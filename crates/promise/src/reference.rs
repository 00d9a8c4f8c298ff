//! Pages of the book that are made from the code: the prompt modules with their options, and the keys of experiment
//! files.

use std::{collections::BTreeMap, fmt::Write as _};

pub use prompting::OptionDoc;
use prompting::{Learning, option_docs, option_table, schema_of, word_docs};
use serde_json::Value;

use crate::{registry::PROMPT_MODULES, schema::COUNTS, spec::ExperimentSpec};

/// How a module learns, in words.
pub const fn learning_name(learning: Learning) -> &'static str {
    match learning {
        Learning::Gradient => "trained by gradient",
        Learning::Fitted { .. } => "fitted to a few training images",
        Learning::Fixed => "learns nothing",
    }
}

/// The options of `ips`, described.
pub fn shift_options() -> Vec<OptionDoc> {
    option_docs::<ips::IpsSpec>()
}

/// The page of prompt modules and their options, in Markdown.
pub fn prompt_options() -> String {
    let mut page = String::from(
        "# Prompt modules and their options\n\n\
         Made from the code by `cargo xtask reference`; a test fails when the two differ.\n\
         What stands under `[prompt.options]` of an experiment file is what the table of its module lists; \
         `none` as default means that the key may be left out and then has no value.\n",
    );
    for entry in PROMPT_MODULES {
        let table = option_table(&(entry.options)());
        // Writing into a text cannot fail.
        let _ = write!(
            page,
            "\n## `{}`\n\n{}. By default {}.\n\n{table}",
            entry.name,
            entry.summary,
            learning_name((entry.default_learning)()),
        );
    }
    let table = option_table(&shift_options());
    let _ = write!(
        page,
        "\n## Token shift `ips`\n\nIncremental Pattern Shifting; its options stand under \
         `[shift.options]`.\n\n{table}"
    );
    page
}

/// The page of every key of experiment files, in Markdown.
pub fn experiment_keys() -> String {
    let mut page = String::from(
        "# Keys of experiment files\n\n\
         Made from the code by `cargo xtask reference`; a test fails when the two differ.\n\n\
         A section is a table of the file. *required* as default means that the file is refused without the key, \
         `none` that the key may be left out and then has no value. How variants, grids, seeds and `--set` work together: \
         [experiments/README.md](../../../experiments/README.md#variants-grids-seeds---set). What is refused, and in which words: \
         [Reliability](reliability.md#bad-experiments).\n",
    );
    // What stands in `[prompt.options]` is the module's to say.
    let schema = schema_of::<ExperimentSpec<BTreeMap<String, Value>>>();
    Section { path: String::new(), heading: "At the top".into(), schema: &schema }.write(&mut page);
    page
}

/// A table of the file.
struct Section<'a> {
    /// Dotted, with a dot at its end; empty at the top.
    path: String,
    heading: String,
    schema: &'a Value,
}

impl Section<'_> {
    /// Writes the section, and those of the tables in it.
    fn write(&self, page: &mut String) {
        let _ = write!(page, "\n## {}\n\n", self.heading);
        if !self.path.is_empty()
            && let Some(doc) = self.schema.get("description")
            && let about = OptionDoc::of("", self.schema, None).doc
            // What only repeats the heading says nothing.
            && doc.as_str().is_some_and(|doc| !doc.trim().ends_with("]`"))
        {
            let _ = write!(page, "{about}\n\n");
        }
        page.push_str("| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        let mut tables = Vec::new();
        for (name, schema) in properties(self.schema) {
            let table = table_in(schema).map(|(kind, schema)| {
                let path = format!("{}{name}", self.path);
                let heading = match kind {
                    Kind::One => format!("`[{path}]`"),
                    Kind::Named => format!("`[{path}.NAME]`"),
                    Kind::Several => format!("`[[{path}]]`"),
                };
                (kind, Section { path: format!("{path}."), heading, schema })
            });
            let kind = table.as_ref().map(|(kind, _)| *kind);
            self.write_key(page, name, schema, kind);
            tables.extend(table.map(|(_, section)| section));
        }
        for table in tables {
            table.write(page);
        }
    }

    fn write_key(&self, page: &mut String, name: &str, schema: &Value, table: Option<Kind>) {
        let required = self.schema.get("required").and_then(Value::as_array);
        let is_required = required.is_some_and(|names| names.iter().any(|one| one == name));
        let OptionDoc { kind, default, doc, .. } =
            OptionDoc::of(name, schema, schema.get("default"));
        let path = format!("{}{name}", self.path);
        let kind = match (table, COUNTS.iter().find(|(key, ..)| *key == path)) {
            (Some(Kind::One), _) => "table".into(),
            (Some(Kind::Named), _) => "a table for each name".into(),
            (Some(Kind::Several), _) => "any number of tables".into(),
            (None, Some((_, least, usize::MAX))) => format!("integer from {least}"),
            (None, Some((_, least, most))) => format!("integer from {least} to {most}"),
            (None, None) if kind == "object" => "table".into(),
            (None, None) => kind,
        };
        let default = match (default, is_required) {
            (_, true) => "*required*".into(),
            (Some(value), _) if table.is_none() && !value.starts_with('{') => format!("`{value}`"),
            _ => "none".into(),
        };
        let words: String = match table {
            Some(_) => String::new(),
            None => {
                word_docs(schema).iter().map(|(word, doc)| format!("<br>`{word}`: {doc}")).collect()
            }
        };
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {doc}{words} |");
    }
}

/// How often a table may be there.
#[derive(Clone, Copy)]
enum Kind {
    One,
    Named,
    Several,
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The table or tables with known keys that a key stands for.
fn table_in(schema: &Value) -> Option<(Kind, &Value)> {
    let has_keys = |schema: &Value| properties(schema).next().is_some();
    if has_keys(schema) {
        return Some((Kind::One, schema));
    }
    let of = |key: &str, kind| Some((kind, schema.get(key).filter(|inner| has_keys(inner))?));
    let optional = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    of("items", Kind::Several)
        .or_else(|| of("additionalProperties", Kind::Named))
        .or_else(|| optional.into_iter().find_map(table_in))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ShiftModule;

    #[test]
    fn every_module_says_something_about_every_option() {
        for entry in PROMPT_MODULES {
            for option in (entry.options)() {
                assert!(!option.doc.is_empty(), "{}.{}", entry.name, option.name);
            }
        }
        let page = prompt_options();
        assert!(page.contains("`fusion_channels`") && page.contains("`hidden_ratio`"));
    }

    #[test]
    fn every_token_shift_is_known_by_the_name_that_files_have() {
        let unknown = serde_json::from_value::<ShiftModule>("?".into()).expect_err("no such shift");
        let known = unknown.to_string();
        assert_eq!(known.matches('`').count(), 2 * (1 + ShiftModule::ALL.len()), "{known}");
        for module in ShiftModule::ALL {
            let name = serde_json::to_value(module).expect("a word");
            assert_eq!(name, module.name());
        }
    }

    /// Lines of tables, by the heading that they stand below.
    fn keys() -> Vec<(String, Vec<String>)> {
        let page = experiment_keys();
        let mut heading = String::new();
        let mut keys = Vec::new();
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                heading = title.trim_matches(['`', '[', ']']).to_owned();
            } else if line.starts_with("| `") {
                let cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
                keys.push((heading.clone(), cells.collect()));
            }
        }
        keys
    }

    #[test]
    fn every_key_has_a_type_a_default_and_a_meaning() {
        let keys = keys();
        for (heading, cells) in &keys {
            assert_eq!(cells.len(), 4, "{heading}: {cells:?}");
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{heading}: {cells:?}");
            assert_ne!(cells[1], "value", "{heading}: {cells:?}");
        }
        for key in COUNTS.map(|(key, ..)| key) {
            let (table, name) = key.split_once('.').expect("in a table");
            let is = |(heading, cells): &(String, Vec<String>)| {
                heading == table && cells[0] == format!("`{name}`")
            };
            let (_, cells) = keys.iter().find(|key| is(key)).expect(key);
            assert!(cells[1].starts_with("integer from "), "{cells:?}");
        }
    }

    /// The defaults on the page are those that a file gets which leaves out all that may be left out.
    #[test]
    fn defaults_are_those_of_the_parser() {
        let text = "name = \"a\"\nbackbone = { variant = \"micro\" }\ndata = { train = [\"a\"], test = [\"a\"] }\n\
                    prompt = { module = \"none\" }\nshift = { module = \"none\" }\ntrain = { epochs = 1 }\n\
                    evaluate = { prompts = [\"center\"] }\n";
        let spec: ExperimentSpec = toml::from_str(text).expect("everything that is required");
        let spec = serde_json::to_value(&spec).expect("plain values");
        let mut compared = 0;
        for (heading, cells) in keys() {
            let key = cells[0].trim_matches('`');
            let table = if heading == "At the top" { Some(&spec) } else { spec.get(&heading) };
            let Some(value) = table.and_then(|table| table.get(key)) else { continue };
            if cells[2] == "*required*" || value.is_object() {
                continue;
            }
            let written: toml::Table =
                format!("x = {}", cells[2].trim_matches('`')).parse().expect("TOML");
            assert_eq!(
                serde_json::to_value(&written["x"]).expect("plain"),
                *value,
                "{heading}.{key}"
            );
            compared += 1;
        }
        // So many that the loop cannot have passed over most of them.
        assert!(compared >= 15, "{compared}");
    }
}
