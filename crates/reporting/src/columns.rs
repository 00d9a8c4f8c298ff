//! Columns of tables by name, as the command line names them.

use std::str::FromStr;

use metrics::{Column, CurveMeasure, Measure};

/// A column of a table by its name in files: a measure (`dice`, `weighted_f`) or the maximum of a mean
/// curve (`max_dice`, `max_e_measure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnName(pub Column);

/// What the maximum of a curve is called: this and the curve's name.
const MAX: &str = "max_";

/// The name of a column, as [`ColumnName`] reads it.
pub(crate) fn column_name(column: Column) -> String {
    match column {
        Column::Mean(measure) => measure.name().to_owned(),
        Column::Max(curve) => format!("{MAX}{}", curve.name()),
    }
}

impl FromStr for ColumnName {
    type Err = UnknownColumn;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        every()
            .find(|&column| column_name(column) == name)
            .map(Self)
            .ok_or_else(|| UnknownColumn { name: name.to_owned() })
    }
}

fn every() -> impl Iterator<Item = Column> {
    let means = Measure::ALL.iter().copied().map(Column::Mean);
    means.chain(CurveMeasure::ALL.iter().copied().map(Column::Max))
}

/// There is no column of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown measure `{name}`, known: {}", known())]
pub struct UnknownColumn {
    /// The name looked for.
    pub name: String,
}

fn known() -> String {
    every().map(|column| format!("`{}`", column_name(column))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_reads_as_itself_and_names_are_unique() {
        let mut names: Vec<String> = every().map(column_name).collect();
        for column in every() {
            assert_eq!(column_name(column).parse(), Ok(ColumnName(column)));
        }
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        let error = "Dice".parse::<ColumnName>().expect_err("names are lower case").to_string();
        assert!(error.contains("`dice`") && error.contains("`max_e_measure`"), "{error}");
    }
}
