//! The settings of a run, as it recorded them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// What `resolved.json` holds, as far as tables and figures ask for it.
///
/// Keys are dotted, as in an experiment file and as `--set` takes them: `prompt.options.points`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Settings {
    /// The settings after variant, overrides and defaults.
    spec: Value,
    /// The TOML that they came from, with variant and overrides applied.
    #[serde(default)]
    toml: String,
}

impl Settings {
    /// The value at a dotted key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.spec, |value, part| value.get(part))
    }

    /// The number at a dotted key.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// The text at a dotted key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The texts in the list at a dotted key; none if there is no such list.
    pub fn texts(&self, key: &str) -> Vec<&str> {
        let list = self.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The TOML that the settings came from; empty if the run did not keep it.
    pub fn toml(&self) -> &str {
        &self.toml
    }

    /// Every setting by its dotted key, lists and texts as JSON writes them.
    pub fn flat(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        flatten("", &self.spec, &mut flat);
        flat
    }

    /// Settings for tests.
    #[cfg(test)]
    pub(crate) fn of(spec: Value) -> Self {
        Self { spec, toml: String::new() }
    }
}

fn flatten(prefix: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&key, value, flat);
            }
        }
        Value::String(text) => {
            flat.insert(prefix.to_owned(), text.clone());
        }
        other => {
            flat.insert(prefix.to_owned(), other.to_string());
        }
    }
}

/// The keys that not all of these settings agree on. A key that some lack differs.
pub(crate) fn differing(all: &[BTreeMap<String, String>]) -> Vec<String> {
    let keys: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    keys.into_iter()
        .filter(|key| all.windows(2).any(|pair| pair[0].get(*key) != pair[1].get(*key)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(points: u32) -> Settings {
        Settings::of(json!({
            "name": "points",
            "data": { "train": ["kvasir", "cvc"] },
            "prompt": { "module": "apm", "options": { "points": points } },
        }))
    }

    #[test]
    fn values_are_found_by_their_dotted_keys() {
        let settings = settings(16);
        assert_eq!(settings.number("prompt.options.points"), Some(16.0));
        assert_eq!(settings.text("prompt.module"), Some("apm"));
        assert_eq!(settings.texts("data.train"), ["kvasir", "cvc"]);
        assert_eq!(settings.number("prompt.options"), None);
        assert_eq!(settings.get("prompt.options.taps"), None);
    }

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let all = [settings(4).flat(), settings(16).flat()];
        assert_eq!(differing(&all), ["prompt.options.points"]);
        assert!(differing(&all[..1]).is_empty());
        let without = Settings::of(json!({ "name": "points" })).flat();
        assert!(differing(&[all[0].clone(), without]).contains(&"prompt.module".to_owned()));
    }
}
