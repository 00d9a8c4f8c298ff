//! The scores of a folder as text and as a document.

use metrics::{Column, Measure};
use run_record::{CaseRow, MeasureSummary};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::FolderScores;

impl FolderScores {
    /// What the protocol reports: first what its tables show, then the rest.
    fn columns(&self) -> Vec<Column> {
        let means = self.protocol.measures().iter().map(|&measure| Column::Mean(measure));
        let maxima = self.protocol.maxima().iter().map(|&curve| Column::Max(curve));
        let mut columns = self.protocol.columns().to_vec();
        columns
            .extend(means.chain(maxima).filter(|column| !self.protocol.columns().contains(column)));
        columns
    }

    /// The number of a column over all cases; nothing where no case has one.
    pub fn value(&self, column: Column) -> Option<f64> {
        match column {
            Column::Mean(measure) => self.mean.mean(measure),
            Column::Max(curve) => self.mean.maxima.get(&curve).copied(),
        }
    }

    /// The means as a Markdown table, with what was left out or changed above it.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "Protocol `{}`: {} predictions of `{}` against `{}`.",
            self.protocol,
            self.cases.len(),
            self.mean.method,
            self.mean.data,
        );
        let mut remark = |count: usize, what: &str| {
            if count > 0 {
                let end = if what.ends_with('?') { "" } else { "." };
                text.push_str(&format!(" {count} {what}{end}"));
            }
        };
        remark(
            self.mean.skipped_empty,
            "cases without foreground in prediction and truth are in no mean",
        );
        remark(self.resized, "predictions were resized to their truth");
        remark(self.unpredicted.len(), "truths have no prediction");
        remark(
            self.nearly_black.len(),
            "predictions have no level above 1 and count as black: stored as 0/1 instead of 0/255?",
        );
        text.push_str(
            "\n\n| measure | value | 95 % interval | sd | median | n |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for column in self.columns() {
            let label = self.protocol.label(column);
            let summary = match column {
                Column::Mean(measure) => self.mean.summary(measure),
                Column::Max(_) => None,
            };
            let number =
                |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
            let value = number(self.value(column));
            let rest = match summary {
                Some(MeasureSummary { n, sd, median, low, high, .. }) => {
                    let interval = low
                        .zip(high)
                        .map_or("–".into(), |(low, high)| format!("[{low:.4}, {high:.4}]"));
                    format!("{interval} | {} | {} | {n}", number(sd), number(median))
                }
                None => format!("– | – | – | {}", self.cases.len()),
            };
            text.push_str(&format!("| {label} | {value} | {rest} |\n"));
        }
        text
    }
}

/// `protocol`, `n`, `skipped_empty`, `resized`, `unpredicted`, `nearly_black`, then `mean` by label, `summary` (mean, deviation, interval)
/// of each measure by its name in files, and `cases` with `file`, size and scores by label.
impl Serialize for FolderScores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("FolderScores", 9)?;
        document.serialize_field("protocol", self.protocol.name())?;
        document.serialize_field("n", &self.mean.n)?;
        document.serialize_field("skipped_empty", &self.mean.skipped_empty)?;
        document.serialize_field("resized", &self.resized)?;
        document.serialize_field("unpredicted", &self.unpredicted)?;
        document.serialize_field("nearly_black", &self.nearly_black)?;
        document.serialize_field("mean", &Means(self))?;
        document.serialize_field("summary", &self.mean.measures)?;
        let cases: Vec<Case<'_>> =
            self.cases.iter().map(|row| Case { scores: self, row }).collect();
        document.serialize_field("cases", &cases)?;
        document.end()
    }
}

/// Numbers of the whole folder by label.
struct Means<'a>(&'a FolderScores);

impl Serialize for Means<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.columns();
        let mut map = serializer.serialize_map(Some(columns.len()))?;
        for column in columns {
            map.serialize_entry(self.0.protocol.label(column), &self.0.value(column))?;
        }
        map.end()
    }
}

/// One case.
struct Case<'a> {
    scores: &'a FolderScores,
    row: &'a CaseRow,
}

impl Serialize for Case<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", &self.row.file)?;
        map.serialize_entry("width", &self.row.width)?;
        map.serialize_entry("height", &self.row.height)?;
        for column in self.scores.columns() {
            if let Column::Mean(measure) = column {
                // The error of a case is known even where it is in no mean.
                let score = match measure {
                    Measure::Mae => Some(self.row.mae),
                    _ => self.row.get(measure),
                };
                map.serialize_entry(self.scores.protocol.label(column), &score)?;
            }
        }
        map.end()
    }
}
