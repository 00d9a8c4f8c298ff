//! `[grid]`: methods that differ in every combination of some values.
//!
//! ```toml
//! [grid]
//! "prompt.options.points" = [2, 4, 8]
//! "shift.options.hidden_ratio" = [1, 4]
//! ```
//!
//! is six methods, `points-2+hidden_ratio-1` to `points-8+hidden_ratio-4`; the last key changes fastest. Two keys
//! behind one comma take the same value: `"prompt.options.points, evaluate.points" = [2, 4]`.

use toml_edit::{Item, TableLike, Value};

use crate::{plan::MAX_METHODS, spec::is_folder_name};

/// Keys that say which runs there are; a grid that sets them would plan itself.
const NOT_SETTINGS: [&str; 5] = ["name", "seeds", "variant", "grid", "claim"];

/// What is wrong with a key of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GridProblem {
    /// The key as written.
    pub(crate) key: String,
    /// What is wrong, and what is accepted.
    pub(crate) reason: String,
}

/// One combination of values.
#[derive(Debug, Clone)]
pub(crate) struct GridPoint {
    /// `points-2+taps-9_12`.
    pub(crate) name: String,
    /// The keys to set, dotted, with the key of the grid that they come from.
    pub(crate) settings: Vec<GridSetting>,
}

/// One key that a combination sets.
#[derive(Debug, Clone)]
pub(crate) struct GridSetting {
    /// Dotted key of the experiment.
    pub(crate) key: String,
    /// The key of the grid as written, for messages.
    pub(crate) written: String,
    /// What it is set to.
    pub(crate) value: Value,
}

/// One key of the grid, or several that go together.
struct Axis {
    written: String,
    keys: Vec<String>,
    values: Vec<Value>,
}

/// Every combination of a grid's values, in the order of the file; none of an empty grid.
///
/// # Errors
///
/// Every problem of the grid.
pub(crate) fn points(grid: &dyn TableLike) -> Result<Vec<GridPoint>, Vec<GridProblem>> {
    let mut problems = Vec::new();
    let mut axes: Vec<Axis> = Vec::new();
    for (written, item) in grid.iter() {
        match axis(written, item) {
            Ok(axis) => axes.push(axis),
            Err(reason) => problems.push(GridProblem { key: written.to_owned(), reason }),
        }
    }
    let keys: Vec<(&String, &String)> =
        axes.iter().flat_map(|axis| axis.keys.iter().map(|key| (&axis.written, key))).collect();
    for (place, (written, key)) in keys.iter().enumerate() {
        if keys[..place].iter().any(|(_, other)| other == key) {
            let reason = format!("`{key}` is set twice");
            problems.push(GridProblem { key: (*written).clone(), reason });
        }
    }
    let product = axes.iter().try_fold(1_usize, |n, axis| n.checked_mul(axis.values.len()));
    if product.is_none_or(|n| n > MAX_METHODS)
        && let Some(last) = axes.last()
    {
        let n = product.map_or_else(|| "more than can be counted".into(), |n| n.to_string());
        let reason =
            format!("with it the grid has {n} combinations, at most {MAX_METHODS} are run");
        problems.push(GridProblem { key: last.written.clone(), reason });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let labels = labels(&axes);
    let mut points: Vec<GridPoint> = Vec::new();
    for (axis, label) in axes.iter().zip(&labels) {
        let values = axis.values.iter().map(|value| {
            let name = format!("{label}-{}", value_name(value).expect("checked with the axis"));
            let setting = |key: &String| GridSetting {
                key: key.clone(),
                written: axis.written.clone(),
                value: value.clone(),
            };
            GridPoint { name, settings: axis.keys.iter().map(setting).collect() }
        });
        points = match points.as_slice() {
            [] => values.collect(),
            former => {
                let values: Vec<_> = values.collect();
                former
                    .iter()
                    .flat_map(|point| values.iter().map(|value| point.and(value)))
                    .collect()
            }
        };
    }
    Ok(points)
}

impl GridPoint {
    fn and(&self, other: &Self) -> Self {
        Self {
            name: format!("{}+{}", self.name, other.name),
            settings: self.settings.iter().chain(&other.settings).cloned().collect(),
        }
    }
}

fn axis(written: &str, item: &Item) -> Result<Axis, String> {
    let keys: Vec<String> = written.split(',').map(|key| key.trim().to_owned()).collect();
    for key in &keys {
        let parts: Vec<&str> = key.split('.').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("`{key}` is no dotted key, e.g. `prompt.options.points`"));
        }
        if NOT_SETTINGS.contains(&parts[0]) {
            return Err(format!("a grid cannot set `{}`", parts[0]));
        }
    }
    let Some(list) = item.as_array() else {
        return Err(
            "expected a list of values, e.g. `[2, 4, 8]`; a dotted key stands in quotes".into()
        );
    };
    let mut values: Vec<Value> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for value in list {
        let name = value_name(value)?;
        if names.contains(&name) {
            return Err(format!("`{name}` stands there twice"));
        }
        names.push(name);
        // Without the spaces and comments that the list has around it.
        values.push(value.clone().decorated("", ""));
    }
    if values.is_empty() {
        return Err("the list is empty".into());
    }
    Ok(Axis { written: written.to_owned(), keys, values })
}

/// A value as a part of a folder's name.
fn value_name(value: &Value) -> Result<String, String> {
    let name = match value {
        Value::String(text) => text.value().clone(),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => number.value().to_string(),
        Value::Boolean(flag) => flag.value().to_string(),
        Value::Array(list) => list.iter().map(value_name).collect::<Result<Vec<_>, _>>()?.join("_"),
        Value::Datetime(_) | Value::InlineTable(_) => {
            return Err("numbers, strings, booleans and lists of them can be part of a method's \
                        name; use a `[[variant]]` for anything else"
                .into());
        }
    };
    // A leading dot would be the label's business.
    if name.is_empty() || !is_folder_name(&format!("x{name}")) {
        return Err(format!(
            "`{name}` cannot be part of a method's name (letters, digits, `-`, `_`, `+`, `.`); use a \
             `[[variant]]`"
        ));
    }
    Ok(name)
}

/// A short name for each axis: the last part of its first key, or more of it where two would be the same.
fn labels(axes: &[Axis]) -> Vec<String> {
    let last = |axis: &Axis, parts: usize| -> String {
        let key = axis.keys.first().map_or("", String::as_str);
        let all: Vec<&str> = key.split('.').map(str::trim).collect();
        all[all.len().saturating_sub(parts)..].join(".")
    };
    let unique = |axis: &Axis, parts: usize| {
        axes.iter().filter(|other| last(other, parts) == last(axis, parts)).count() == 1
    };
    let label = |axis: &Axis| {
        let parts = (1..=axis.keys[0].split('.').count()).find(|parts| unique(axis, *parts));
        last(axis, parts.unwrap_or(usize::MAX))
    };
    axes.iter().map(label).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use toml_edit::DocumentMut;

    use super::*;

    fn of(text: &str) -> Result<Vec<GridPoint>, Vec<GridProblem>> {
        points(text.parse::<DocumentMut>().unwrap().as_table())
    }

    fn names(text: &str) -> Vec<String> {
        of(text).unwrap().into_iter().map(|point| point.name).collect()
    }

    fn refused(text: &str) -> String {
        let problems = of(text).unwrap_err();
        problems.into_iter().map(|problem| format!("{}: {}", problem.key, problem.reason)).collect()
    }

    #[test]
    fn a_grid_is_the_product_of_its_keys_in_the_order_of_the_file() {
        let text =
            "\"prompt.options.points\" = [8, 2]\n\"prompt.options.taps\" = [\"12\", \"9_12\"]\n";
        let expected =
            ["points-8+taps-12", "points-8+taps-9_12", "points-2+taps-12", "points-2+taps-9_12"];
        assert_eq!(names(text), expected);
        let points = of(text).unwrap();
        let set: Vec<_> = points[1]
            .settings
            .iter()
            .map(|setting| (setting.key.as_str(), setting.value.to_string()))
            .collect();
        let expected =
            [("prompt.options.points", "8".into()), ("prompt.options.taps", "\"9_12\"".into())];
        assert_eq!(set, expected);
        assert!(of("").unwrap().is_empty());
    }

    #[test]
    fn keys_behind_a_comma_take_the_same_value() {
        let points = of("\"prompt.options.points, evaluate.points\" = [4, 2]").unwrap();
        assert_eq!(points.len(), 2);
        assert_eq!(points[0].name, "points-4");
        let keys: Vec<_> = points[0].settings.iter().map(|setting| setting.key.as_str()).collect();
        assert_eq!(keys, ["prompt.options.points", "evaluate.points"]);
    }

    #[test]
    fn a_grid_beyond_all_memory_is_refused_before_it_is_made() {
        let values: Vec<String> = (0..20).map(|value| value.to_string()).collect();
        let axis = |key: usize| format!("\"a.b{key}\" = [{}]\n", values.join(", "));
        // 20 ** 12 points.
        let text: String = (0..12).map(axis).collect();
        assert_eq!(
            refused(&text),
            "a.b11: with it the grid has 4096000000000000 combinations, at most 1000 are run"
        );
    }

    #[test]
    fn labels_are_as_long_as_they_must_be() {
        let text =
            "\"prompt.options.points\" = [1]\n\"evaluate.points\" = [2]\n\"train.epochs\" = [3]";
        assert_eq!(names(text), ["options.points-1+evaluate.points-2+epochs-3"]);
    }

    #[test]
    fn every_kind_of_value_has_a_name() {
        let text = "\"a.b\" = [1e-5, true, -3, \"x\", [0, 2]]";
        assert_eq!(names(text), ["b-0.00001", "b-true", "b--3", "b-x", "b-0_2"]);
    }

    #[test]
    fn what_cannot_be_a_grid_is_refused_with_its_key() {
        for (text, part) in [
            ("\"a.b\" = 3", "a.b: expected a list"),
            ("\"a.b\" = []", "a.b: the list is empty"),
            ("\"a.b\" = [1, 1]", "a.b: `1` stands there twice"),
            ("\"a.b\" = [\"x/y\"]", "`x/y` cannot be part"),
            ("\"a.b\" = [\"\"]", "`` cannot be part"),
            ("\"a.b\" = [{ c = 1 }]", "use a `[[variant]]`"),
            ("\"a..b\" = [1]", "`a..b` is no dotted key"),
            ("seeds = [1, 2]", "cannot set `seeds`"),
            ("\"claim.0\" = [1, 2]", "cannot set `claim`"),
            ("\"a.b\" = [1]\n\"c, a.b\" = [2]", "c, a.b: `a.b` is set twice"),
            ("a = { b = [1] }", "a: expected a list"),
        ] {
            let problems = refused(text);
            assert!(problems.contains(part), "{text}: {problems}");
        }
        let many: Vec<String> = (0..9).map(|key| format!("k{key} = [1, 2, 3]")).collect();
        let problems = refused(&many.join("\n"));
        assert!(problems.contains("k8: with it the grid has 19683 combinations"), "{problems}");
        let both = of("\"a.b\" = 3\n\"c.d\" = []").unwrap_err();
        assert_eq!(both.len(), 2, "all at once");
    }
}
