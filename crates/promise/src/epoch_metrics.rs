//! The numbers of the epoch under way, of which burn-train makes means.

use std::collections::HashMap;

use burn::train::{
    logger::MetricLogger,
    metric::{
        MetricDefinition, MetricId, MetricName, NumericEntry,
        store::{EpochSummary, MetricsUpdate, Split},
    },
};

/// Keeps the numbers of the last epoch that something was reported of, in memory.
///
/// burn-train's own logger writes them into files and reads the files to make a mean. On a full disk a file would end in
/// the middle of a number, or the thread that writes it panic; finished epochs stand in `epochs.csv` anyway.
#[derive(Default)]
pub(crate) struct EpochMetrics {
    names: HashMap<MetricId, MetricName>,
    epoch: usize,
    entries: HashMap<(String, Split), Vec<String>>,
}

impl MetricLogger for EpochMetrics {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        if self.epoch != epoch {
            self.entries.clear();
            self.epoch = epoch;
        }
        for numeric in update.entries_numeric {
            let Some(name) = self.names.get(&numeric.entry.metric_id) else { continue };
            if numeric.entry.serialized_entry.is_not_available() {
                continue;
            }
            let key = (name.as_str().to_owned(), split.clone());
            let text = numeric.entry.serialized_entry.serialized;
            self.entries.entry(key).or_default().push(text);
        }
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        if epoch != self.epoch {
            return Ok(Vec::new());
        }
        let entries = self.entries.get(&(name.to_owned(), split.clone()));
        entries.into_iter().flatten().map(|text| NumericEntry::deserialize(text)).collect()
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
