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
    /// SHA-256 of what the data sets held, by data set and split; empty if the run did not keep it.
    #[serde(default)]
    data_sha256: BTreeMap<String, String>,
}

/// Settings that change no number: which runs there are, what is kept of them, how much memory they may take.
const WITHOUT_EFFECT: [&str; 5] =
    ["seeds", "variant", "evaluate.panels", "evaluate.save_predictions", "data.feature_memory_gib"];

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

    /// The dotted keys in which these settings make another method of a run than `other`, and the data sets
    /// whose contents differ.
    ///
    /// Seeds are no setting of a method, and neither is what changes no number. Data that one of the two says
    /// nothing about are taken to be the same.
    pub(crate) fn unlike(&self, other: &Self) -> Vec<String> {
        let effective = |settings: &Self| {
            let mut flat = settings.flat();
            let idle = |key: &str| {
                WITHOUT_EFFECT.iter().any(|name| {
                    key.strip_prefix(name)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            flat.retain(|key, _| !idle(key));
            flat
        };
        let mut unlike = differing(&[effective(self), effective(other)]);
        let contents = self.data_sha256.iter().filter(|(set, sha256)| {
            other.data_sha256.get(*set).is_some_and(|other| other != *sha256)
        });
        unlike.extend(contents.map(|(set, _)| format!("contents of data {set}")));
        unlike
    }

    /// Settings for tests.
    #[cfg(test)]
    pub(crate) fn of(spec: Value) -> Self {
        Self { spec, toml: String::new(), data_sha256: BTreeMap::new() }
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
    fn seeds_and_what_is_kept_make_no_other_method_and_data_do() {
        let with = |seeds: &[u64], panels: u32, sha256: &str| Settings {
            spec: json!({
                "seeds": seeds, "evaluate": { "panels": panels, "points": 4 },
                "train": { "learning_rate": 0.1 },
            }),
            toml: String::new(),
            data_sha256: [("kvasir test".to_owned(), sha256.to_owned())].into(),
        };
        let one = with(&[1], 0, "ab");
        assert_eq!(one.unlike(&with(&[1, 2], 8, "ab")), Vec::<String>::new());
        assert_eq!(one.unlike(&with(&[1], 0, "cd")), ["contents of data kvasir test"]);
        let mut other = with(&[2], 0, "ab");
        other.data_sha256.clear();
        other.spec["train"]["learning_rate"] = json!(0.2);
        assert_eq!(one.unlike(&other), ["train.learning_rate"]);
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
