//! What the columns of CSV files mean, read off the types of their lines.

use metrics::Measure;
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::rows::CsvRow;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// Its name in the header.
    pub name: String,
    /// What a cell may be: `text`, `integer`, `number`, `boolean`; with `or empty`, if it may be missing.
    pub kind: String,
    /// The unit, or the range of a number that has none.
    pub unit: String,
    /// What it means.
    pub doc: String,
}

/// The columns of a file, from left to right.
pub fn column_docs<R: CsvRow + JsonSchema>() -> Vec<ColumnDoc> {
    let schema = schema_for!(R).to_value();
    R::COLUMNS.iter().map(|name| column(name, &schema["properties"][name])).collect()
}

fn column(name: &str, schema: &Value) -> ColumnDoc {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, optional) = match &schema["type"] {
        Value::Array(kinds) => (kinds[0].as_str().unwrap_or_default(), true),
        kind => (kind.as_str().unwrap_or_default(), false),
    };
    let kind = if kind == "string" { "text" } else { kind };
    // Scores have their unit from their measure, and lie between 0 and 1 without one.
    let of_measure = Measure::ALL.iter().find(|measure| measure.name() == name);
    let of_measure = of_measure.map(|measure| match measure.unit() {
        Some("px") => "pixels",
        Some(unit) => unit,
        None => "0 to 1",
    });
    ColumnDoc {
        name: name.to_owned(),
        kind: if optional { format!("{kind} or empty") } else { kind.to_owned() },
        unit: of_measure.unwrap_or(text("unit")).to_owned(),
        doc: text("description").split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CaseRow, ClickRow, CurveRow, EpochRow};

    #[test]
    fn every_column_is_described() {
        let all = [
            column_docs::<EpochRow>(),
            column_docs::<CaseRow>(),
            column_docs::<CurveRow>(),
            column_docs::<ClickRow>(),
        ];
        for column in all.iter().flatten() {
            assert!(!column.doc.is_empty() && !column.kind.is_empty(), "{column:?}");
        }
        let find = |name: &str| all[1].iter().find(|column| column.name == name).expect("a column");
        assert_eq!(
            (find("hd95").unit.as_str(), find("hd95").kind.as_str()),
            ("pixels", "number or empty")
        );
        assert_eq!((find("dice").unit.as_str(), find("width").unit.as_str()), ("0 to 1", "pixels"));
        assert_eq!((find("mae").kind.as_str(), find("file").kind.as_str()), ("number", "text"));
    }
}
