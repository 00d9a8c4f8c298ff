//! What options a module has, read off its type: names, types, defaults and the documentation of the fields. So
//! `cargo xtask list` and the book cannot say anything else than the code. `promise` describes the other keys of
//! experiment files with the same functions.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

/// One option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionDoc {
    /// The key.
    pub name: String,
    /// What it may be: `integer`, `number`, `boolean`, `text`, `list of integer`, or the accepted words.
    pub kind: String,
    /// The value it has if it is not written, as TOML; `None` if it then has none.
    pub default: Option<String>,
    /// What it means.
    pub doc: String,
}

impl OptionDoc {
    /// A key, by its schema and the value that it has if it is not written.
    pub fn of(name: &str, schema: &Value, default: Option<&Value>) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind(schema),
            default: default.and_then(toml),
            doc: doc(schema),
        }
    }
}

/// The words that a schema accepts and their meanings, as far as they have one.
pub fn word_docs(schema: &Value) -> Vec<(String, String)> {
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        let doc = doc(schema);
        return if doc.is_empty() { Vec::new() } else { vec![(word.to_owned(), doc)] };
    }
    let parts =
        ["oneOf", "anyOf"].iter().filter_map(|several| schema.get(*several)?.as_array()).flatten();
    parts.chain(schema.get("items")).flat_map(word_docs).collect()
}

/// The description of a schema as one line.
fn doc(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).map_or_else(String::new, plain)
}

/// What a type accepts, as a JSON schema without references.
pub fn schema_of<S: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<S>().to_value()
}

/// The options of a type that people write, in alphabetical order.
pub fn option_docs<S: JsonSchema + Serialize + Default>() -> Vec<OptionDoc> {
    let schema = schema_of::<S>();
    let defaults = serde_json::to_value(S::default()).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let option =
        |(name, schema): (&String, &Value)| OptionDoc::of(name, schema, defaults.get(name));
    let mut options: Vec<OptionDoc> = properties.into_iter().flatten().map(option).collect();
    options.sort_by(|a, b| a.name.cmp(&b.name));
    options
}

/// Options as a table of Markdown, or a line that says that there are none.
pub fn option_table(options: &[OptionDoc]) -> String {
    if options.is_empty() {
        return "No options.\n".into();
    }
    let mut table =
        String::from("| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for OptionDoc { name, kind, default, doc } in options {
        let default = default.as_ref().map_or("none".into(), |value| format!("`{value}`"));
        table.push_str(&format!("| `{name}` | {kind} | {default} | {doc} |\n"));
    }
    table
}

/// What a schema accepts, in words.
fn kind(schema: &Value) -> String {
    let words = |values: &[Value]| {
        let words = values.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        words.collect::<Vec<_>>().join(", ")
    };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return words(values);
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(parts) = schema.get(several).and_then(Value::as_array) {
            let null = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("null");
            let parts = parts.iter().filter(|part| !null(part)).map(kind);
            return parts.collect::<Vec<_>>().join(", ");
        }
    }
    if let Some(word) = schema.get("const") {
        return words(std::slice::from_ref(word));
    }
    let name = |name: &str| match name {
        "string" => "text".to_owned(),
        "array" => format!("list of {}", schema.get("items").map_or("values".into(), kind)),
        name => name.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(one)) => name(one),
        Some(Value::Array(several)) => {
            let several = several.iter().filter_map(Value::as_str).filter(|one| *one != "null");
            several.map(name).collect::<Vec<_>>().join(" or ")
        }
        _ => "value".into(),
    }
}

/// A value as TOML writes it. JSON's numbers, texts, truth values and lists are TOML's.
fn toml(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(values) => {
            let values: Option<Vec<String>> = values.iter().map(toml).collect();
            Some(format!("[{}]", values?.join(", ")))
        }
        value => Some(value.to_string()),
    }
}

/// Documentation as one line without links: ``[`Apm`](crate::Apm)`` becomes `` `Apm` ``.
fn plain(doc: &str) -> String {
    let line = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(start) = rest.find('[') {
        plain.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let Some(end) = after.find(']') else {
            plain.push_str(&rest[start..]);
            return plain;
        };
        let (text, target) = (&after[..end], &after[end + 1..]);
        let is_link = text.starts_with('`') || target.starts_with('(');
        if is_link {
            plain.push_str(text);
            rest = match target.strip_prefix('(').and_then(|target| target.split_once(')')) {
                Some((_, beyond)) => beyond,
                None => target,
            };
        } else {
            plain.push('[');
            rest = after;
        }
    }
    plain.push_str(rest);
    // A bar would end the cell of a table.
    plain.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        /// The first.
        First,
        /// The other.
        SecondOne,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Spec {
        /// How many, see [`Kind`](crate::Kind)
        /// and [0, 1].
        points: usize,
        /// What.
        kind: Kind,
        /// Perhaps.
        #[serde(skip_serializing_if = "Option::is_none")]
        heads: Option<usize>,
        /// Which.
        tokens: Vec<usize>,
        /// How much.
        share: f64,
        /// Whether.
        on: bool,
    }

    impl Default for Spec {
        fn default() -> Self {
            let (kind, tokens) = (Kind::SecondOne, vec![1, 2]);
            Self { points: 3, kind, heads: None, tokens, share: 0.5, on: true }
        }
    }

    #[test]
    fn options_are_what_the_type_says() {
        let table = option_table(&option_docs::<Spec>());
        let expected = "\
| option | type | default | meaning |
| --- | --- | --- | --- |
| `heads` | integer | none | Perhaps. |
| `kind` | `first`, `second_one` | `\"second_one\"` | What. |
| `on` | boolean | `true` | Whether. |
| `points` | integer | `3` | How many, see `Kind` and [0, 1]. |
| `share` | number | `0.5` | How much. |
| `tokens` | list of integer | `[1, 2]` | Which. |
";
        assert_eq!(table, expected);
    }
}
