//! The results that tables and figures are made of: one entry per method, prompt source and data set,
//! over all its seeds.
//!
//! What must not be compared is refused here, for tables and figures alike, and what a reader has to know
//! is collected in [`Remarks`].

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Column, CurveMeasure, Measure, Protocol, Summary};
use run_record::{EpochChoice, MeasureSummary, ResultRow};

use crate::scores::{BOOTSTRAP_SEED, Scores, Subject, cases, mean_over_runs, scores};
use crate::table::{TableError, check_cases};
use crate::{MethodName, Run};

/// What of the runs is shown, and what may stand side by side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Prompt sources; all if none is named.
    pub prompts: Vec<String>,
    /// Data sets; all if none is named.
    pub data: Vec<String>,
    /// Show results of several protocols, splits or unlike prompt sources together, and say so.
    pub mix: bool,
}

impl Scope {
    /// The scope as options of the command line.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        if !self.prompts.is_empty() {
            options.push(("--prompts", self.prompts.join(",")));
        }
        if !self.data.is_empty() {
            options.push(("--data", self.data.join(",")));
        }
        if self.mix {
            options.push(("--mix", String::new()));
        }
        options
    }

    /// Whether results on this data set with these prompts are shown.
    pub(crate) fn shows(&self, data: &str, prompts: &str) -> bool {
        let named =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
        named(&self.prompts, prompts) && named(&self.data, data)
    }
}

/// The results of one method with one prompt source on one split, over its seeds.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) experiment: &'a str,
    pub(crate) method: &'a str,
    pub(crate) prompts: &'a str,
    pub(crate) data: &'a str,
    pub(crate) split: &'a str,
    pub(crate) protocol: &'a str,
    /// Whether the prompts are made from the truth.
    pub(crate) oracle: bool,
    /// Place of the method in its experiment's file; the last where no outline tells it.
    pub(crate) place: usize,
    /// Runs and their rows, in the order of their seeds; at least one.
    pub(crate) seeds: Vec<(&'a Run, &'a ResultRow)>,
}

/// One number of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number {
    /// Cases behind it.
    pub(crate) n: usize,
    pub(crate) mean: Option<f64>,
    /// Ends of the interval of the mean over cases.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Deviation over cases; nothing if the seeds are several.
    pub(crate) case_sd: Option<f64>,
    /// Deviation between the means of the seeds; nothing below two seeds.
    pub(crate) seed_sd: Option<f64>,
}

impl<'a> Entry<'a> {
    /// Whether this is the row of a method and prompt source.
    pub(crate) fn is(&self, name: &MethodName) -> bool {
        name.names(self.method, self.prompts)
    }

    fn subject(&self) -> Subject<'a> {
        Subject { data: self.data, split: self.split, prompts: self.prompts }
    }

    /// The scores of every seed by case.
    pub(crate) fn scores(&self, measure: Measure) -> Vec<Scores<'a>> {
        let of = |&(run, _): &(&'a Run, _)| scores(run, self.subject(), |row| row.get(measure));
        self.seeds.iter().map(of).collect()
    }

    /// The score of every case, averaged over the seeds.
    ///
    /// # Errors
    ///
    /// [`TableError::NoCases`] if a run has lost its case rows.
    pub(crate) fn case_scores(
        &self,
        measure: Measure,
    ) -> Result<BTreeMap<&'a str, Option<f64>>, TableError> {
        for (run, row) in &self.seeds {
            check_cases(run, row)?;
        }
        let by_seed = self.scores(measure);
        Ok(cases(&by_seed).into_iter().map(|case| (case, mean_over_runs(&by_seed, case))).collect())
    }

    /// The mean of every seed.
    pub(crate) fn seed_means(&self, measure: Measure) -> Vec<Option<f64>> {
        self.seeds.iter().map(|(_, row)| row.mean(measure)).collect()
    }

    /// The number of one column: the recorded one of a single seed, and of several seeds one over
    /// cases that are averaged over the seeds first.
    ///
    /// # Errors
    ///
    /// [`TableError::NoCases`] if there are several seeds and a run has lost its case rows.
    pub(crate) fn number(&self, column: Column) -> Result<Number, TableError> {
        match column {
            Column::Max(curve) => Ok(self.maximum(curve)),
            Column::Mean(measure) => self.mean(measure),
        }
    }

    fn mean(&self, measure: Measure) -> Result<Number, TableError> {
        if let [(_, row)] = self.seeds[..] {
            let none =
                MeasureSummary { n: 0, mean: None, sd: None, median: None, low: None, high: None };
            let MeasureSummary { n, mean, low, high, sd, .. } =
                row.summary(measure).unwrap_or(none);
            return Ok(Number { n, mean, low, high, case_sd: sd, seed_sd: None });
        }
        let scores: Vec<Option<f64>> = self.case_scores(measure)?.into_values().collect();
        let Summary { n, mean, low, high, .. } = Summary::of(&scores, BOOTSTRAP_SEED);
        let seed_sd = Summary::of(&self.seed_means(measure), BOOTSTRAP_SEED).sd;
        Ok(Number { n, mean, low, high, case_sd: None, seed_sd })
    }

    /// The maximum of a mean curve belongs to a whole set and has no cases of its own: over several
    /// seeds it is the mean of their maxima.
    fn maximum(&self, curve: CurveMeasure) -> Number {
        let maxima: Vec<Option<f64>> =
            self.seeds.iter().map(|(_, row)| row.maxima.get(&curve).copied()).collect();
        let over_seeds = Summary::of(&maxima, BOOTSTRAP_SEED);
        let (n, mean) = (self.seeds[0].1.n, over_seeds.mean);
        let seed_sd = over_seeds.sd;
        Number { n, mean, low: None, high: None, case_sd: None, seed_sd }
    }

    /// What chose the epoch of the runs behind it.
    pub(crate) fn selection(&self) -> Selection {
        let of = |&(run, row): &(&Run, &ResultRow)| Selection::of(run, row);
        self.seeds.iter().map(of).max().unwrap_or(Selection::Clean)
    }
}

/// Whether the kept checkpoint has seen the images that it is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Selection {
    /// Nothing was trained, or the epoch was chosen on other images.
    Clean,
    /// The record does not say enough.
    Unknown,
    /// Epoch chosen, or adapters trained, on images of the tested split.
    OnTest,
}

impl Selection {
    /// The worst that the record of a run says about any of its results.
    pub(crate) fn of_run(run: &Run) -> Self {
        run.record.rows.iter().map(|row| Self::of(run, row)).max().unwrap_or(Self::Clean)
    }

    /// What the record of a run says about one of its results.
    ///
    /// If the split that was trained on is the split that is tested, held-out images are test images. Where
    /// `data.allow_overlap` names the set, some of its images were trained on.
    pub(crate) fn of(run: &Run, row: &ResultRow) -> Self {
        let selection = run.record.training.as_ref().map(|training| &training.selection);
        if selection.is_none() && run.record.fit.is_none() {
            return Self::Clean;
        }
        if selection == Some(&EpochChoice::Test) {
            return Self::OnTest;
        }
        let Some(settings) = &run.settings else {
            return Self::Unknown;
        };
        let trained_on_it = (settings.texts("data.train").contains(&row.data.as_str())
            && settings.text("data.train_split") == Some(&row.split))
            || settings.texts("data.allow_overlap").contains(&row.data.as_str());
        match selection {
            _ if trained_on_it => Self::OnTest,
            // What is fitted at once has no epoch to choose.
            None | Some(EpochChoice::HeldOut) => Self::Clean,
            Some(EpochChoice::Test) => Self::OnTest,
            Some(EpochChoice::Other(_)) => Self::Unknown,
        }
    }
}

/// What a reader of a table or figure has to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Remarks {
    /// What is mixed, in words: e.g. ``protocols `default` and `pranet` ``.
    pub(crate) mixed: Vec<String>,
    /// Whether any result is an oracle's.
    pub(crate) oracle: bool,
    /// Whether the checkpoint of any result was chosen on test data.
    pub(crate) on_test: bool,
    /// Runs whose record does not say what chose the checkpoint.
    pub(crate) unknown: Vec<String>,
}

impl Remarks {
    /// The remarks as sentences, without those about rows that carry a mark of their own.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.mixed.is_empty() {
            sentences.push(format!(
                "MIXED: {}; such numbers cannot be compared with each other",
                self.mixed.join("; ")
            ));
        }
        if !self.unknown.is_empty() {
            sentences.push(format!(
                "the records of {} do not say what the checkpoint was chosen on",
                self.unknown.join(", ")
            ));
        }
        sentences
    }
}

/// Entries in the order of tables, and what has to be said about them.
pub(crate) struct Entries<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) remarks: Remarks,
}

impl<'a> Entries<'a> {
    /// Collects the results of all runs that are in the scope.
    ///
    /// # Errors
    ///
    /// [`TableError::NoResults`] if there is none, [`TableError::Duplicate`] if two runs claim the same
    /// entry and seed, and unless the scope allows to mix: [`TableError::MixedProtocols`],
    /// [`TableError::MixedSplits`] if a data set comes with two splits, [`TableError::MixedPrompts`] if
    /// two experiments have other prompt sources on a data set, [`TableError::MixedSeeds`] if seeds of one
    /// entry ran with other settings, weights or data. (The sources of one experiment stand
    /// side by side because its file says so.)
    pub(crate) fn of(
        runs: impl IntoIterator<Item = &'a Run>,
        scope: &Scope,
    ) -> Result<Self, TableError> {
        let runs: Vec<&Run> = runs.into_iter().collect();
        let mut rows: Vec<(&Run, &ResultRow)> = runs
            .iter()
            .flat_map(|&run| run.record.rows.iter().map(move |row| (run, row)))
            .filter(|(_, row)| scope.shows(&row.data, &row.prompts))
            .collect();
        if rows.is_empty() {
            return Err(TableError::NoResults { runs: runs.len() });
        }
        let mut mixed = mixed(&rows, scope.mix)?;

        rows.sort_by_cached_key(|&(run, row)| key(run, row));
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut last = None;
        for (run, row) in rows {
            let group = group(run, row);
            match entries.last_mut() {
                Some(entry) if last == Some(group) => {
                    if let Some((first, _)) =
                        entry.seeds.iter().find(|(_, other)| other.seed == row.seed)
                    {
                        return Err(duplicate(first, run, row));
                    }
                    entry.seeds.push((run, row));
                }
                _ => entries.push(Entry {
                    experiment: &run.record.experiment,
                    method: &row.method,
                    prompts: &row.prompts,
                    data: &row.data,
                    split: &row.split,
                    protocol: &row.protocol,
                    oracle: row.oracle,
                    place: place(run, row),
                    seeds: vec![(run, row)],
                }),
            }
            last = Some(group);
        }

        for entry in &entries {
            let Some((first, second, what)) =
                unlike_seeds(&entry.seeds.iter().map(|&(run, _)| run).collect::<Vec<_>>())
            else {
                continue;
            };
            if !scope.mix {
                return Err(TableError::MixedSeeds {
                    line: format!("experiment `{}`, method `{}`", entry.experiment, entry.method),
                    what,
                    first_path: first.folder.root().into(),
                    second_path: second.folder.root().into(),
                });
            }
            let words = format!("seeds of `{}` that differ in {}", entry.method, what.join(", "));
            if !mixed.contains(&words) {
                mixed.push(words);
            }
        }

        let unknown: BTreeSet<String> = entries
            .iter()
            .flat_map(|entry| &entry.seeds)
            .filter(|(run, row)| Selection::of(run, row) == Selection::Unknown)
            .map(|(run, _)| run.id())
            .collect();
        let remarks = Remarks {
            mixed,
            oracle: entries.iter().any(|entry| entry.oracle),
            on_test: entries.iter().any(|entry| entry.selection() == Selection::OnTest),
            unknown: unknown.into_iter().collect(),
        };
        Ok(Self { entries, remarks })
    }

    /// The runs behind the entries, each once, sorted by folder.
    pub(crate) fn runs(&self) -> Vec<&'a Run> {
        let mut runs: Vec<&Run> =
            self.entries.iter().flat_map(|entry| &entry.seeds).map(|&(run, _)| run).collect();
        runs.sort_by_key(|run| &run.folder);
        runs.dedup_by_key(|run| &run.folder);
        runs
    }

    /// The columns that the protocols of the entries print, in their order.
    pub(crate) fn default_columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        for entry in &self.entries {
            // A record of a later version may name a protocol that this one does not know.
            let of = protocol(entry.protocol).map_or(PLAIN, Protocol::columns);
            for column in of {
                // Records that are older than a measure lack it, and so would the whole column.
                let known = |entry: &Entry<'_>| {
                    entry.seeds.iter().any(|(_, row)| match column {
                        Column::Mean(measure) => row.summary(*measure).is_some(),
                        Column::Max(curve) => row.maxima.contains_key(curve),
                    })
                };
                if !columns.contains(column) && self.entries.iter().any(known) {
                    columns.push(*column);
                }
            }
        }
        columns
    }
}

/// The columns of a protocol that this version does not know.
const PLAIN: &[Column] =
    &[Column::Mean(Measure::Dice), Column::Mean(Measure::Iou), Column::Mean(Measure::Mae)];

/// A protocol by its name in a record.
pub(crate) fn protocol(name: &str) -> Option<Protocol> {
    name.parse().ok()
}

/// What a protocol calls a column.
pub(crate) fn label(protocol_name: &str, column: Column) -> &'static str {
    match (protocol(protocol_name), column) {
        (Some(protocol), column) => protocol.label(column),
        (None, Column::Mean(measure)) => measure.label(),
        (None, Column::Max(curve)) => curve.max_label(),
    }
}

/// What rows have in common that differ in their seed only.
fn group<'a>(run: &'a Run, row: &'a ResultRow) -> [&'a str; 6] {
    [&run.record.experiment, &row.data, &row.split, &row.protocol, &row.method, &row.prompts]
}

/// The first run, another one that is no further seed of it, and in what the two differ: settings by their
/// dotted keys, weights, data. Nothing if the runs differ in their seeds alone.
///
/// The hash of the settings covers the text that they were written as, with its comments and its list of
/// seeds. So where hashes differ the settings themselves are compared, and only if a run did not keep them the
/// hash decides.
pub(crate) fn unlike_seeds<'a>(runs: &[&'a Run]) -> Option<(&'a Run, &'a Run, Vec<String>)> {
    let (first, others) = runs.split_first()?;
    others.iter().find_map(|other| {
        let mut what = Vec::new();
        if first.record.experiment_sha256 != other.record.experiment_sha256 {
            match (&first.settings, &other.settings) {
                (Some(one), Some(two)) => what.extend(one.unlike(two)),
                _ => what.push("experiment_sha256".to_owned()),
            }
        } else if let (Some(one), Some(two)) = (&first.settings, &other.settings) {
            // The same text on other data.
            what.extend(one.unlike(two));
        }
        if first.record.backbone.weights_sha256 != other.record.backbone.weights_sha256 {
            what.push("weights_sha256".to_owned());
        }
        (!what.is_empty()).then_some((*first, *other, what))
    })
}

/// A method with what a reader must know of its checkpoint.
pub(crate) fn marked_method(method: &str, selection: Selection) -> String {
    match selection {
        Selection::OnTest => format!("{method} (chosen on test data)"),
        Selection::Clean | Selection::Unknown => method.to_owned(),
    }
}

/// A prompt source, marked if its prompts are made from the truth.
pub(crate) fn marked_prompts(prompts: &str, oracle: bool) -> String {
    if oracle { format!("{prompts} (oracle)") } else { prompts.to_owned() }
}

/// Where a row stands: data set, split, protocol, experiment, place in its file, name, prompts, seed.
#[allow(clippy::type_complexity)]
fn key(run: &Run, row: &ResultRow) -> (String, String, String, String, usize, String, String, u64) {
    (
        row.data.clone(),
        row.split.clone(),
        row.protocol.clone(),
        run.record.experiment.clone(),
        place(run, row),
        row.method.clone(),
        row.prompts.clone(),
        row.seed,
    )
}

fn place(run: &Run, row: &ResultRow) -> usize {
    let methods = run.outline.as_ref().map_or(&[][..], |outline| &outline.methods);
    methods.iter().position(|method| *method == row.method).unwrap_or(usize::MAX)
}

fn duplicate(first: &Run, second: &Run, row: &ResultRow) -> TableError {
    let line = format!(
        "experiment `{}`, method `{}`, data `{}`, split `{}`, prompts `{}`, seed {}",
        second.record.experiment, row.method, row.data, row.split, row.prompts, row.seed
    );
    TableError::Duplicate {
        line,
        first_path: first.folder.root().into(),
        second_path: second.folder.root().into(),
    }
}

/// What rows mix, in words; an error unless they may.
fn mixed(rows: &[(&Run, &ResultRow)], allowed: bool) -> Result<Vec<String>, TableError> {
    let mut words = Vec::new();
    let (first_run, first) = rows[0];
    if let Some((run, row)) = rows.iter().find(|(_, row)| row.protocol != first.protocol) {
        if !allowed {
            return Err(TableError::MixedProtocols {
                first: first.protocol.clone(),
                second: row.protocol.clone(),
                first_path: first_run.folder.root().into(),
                second_path: run.folder.root().into(),
            });
        }
        let names: BTreeSet<&str> = rows.iter().map(|(_, row)| row.protocol.as_str()).collect();
        words.push(format!("protocols {}", list(&names)));
    }

    let mut splits: BTreeMap<&str, (&str, &Run)> = BTreeMap::new();
    let mut sources: BTreeMap<&str, BTreeMap<&str, (BTreeSet<&str>, &Run)>> = BTreeMap::new();
    for (run, row) in rows {
        let (split, first) = splits.entry(&row.data).or_insert((&row.split, run));
        if *split != row.split {
            if !allowed {
                return Err(TableError::MixedSplits {
                    data: row.data.clone(),
                    first: (*split).to_owned(),
                    second: row.split.clone(),
                    first_path: first.folder.root().into(),
                    second_path: run.folder.root().into(),
                });
            }
            let names: BTreeSet<&str> = rows
                .iter()
                .filter(|(_, other)| other.data == row.data)
                .map(|(_, row)| row.split.as_str())
                .collect();
            words.push(format!("splits {} of `{}`", list(&names), row.data));
        }
        let experiments = sources.entry(&row.data).or_default();
        let of = experiments.entry(&run.record.experiment).or_insert((BTreeSet::new(), run));
        of.0.insert(&row.prompts);
    }
    for (data, experiments) in sources {
        let mut experiments = experiments.into_values();
        let Some((first, first_run)) = experiments.next() else { continue };
        let Some((second, second_run)) = experiments.find(|(other, _)| *other != first) else {
            continue;
        };
        if !allowed {
            return Err(TableError::MixedPrompts {
                data: data.to_owned(),
                first: list(&first),
                second: list(&second),
                first_path: first_run.folder.root().into(),
                second_path: second_run.folder.root().into(),
            });
        }
        words.push(format!("prompt sources {} and {} on `{data}`", list(&first), list(&second)));
    }
    words.sort();
    words.dedup();
    Ok(words)
}

/// Names in a row: `` `a`, `b` ``.
fn list(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::with_cases;

    #[test]
    fn several_seeds_are_averaged_by_case_and_their_means_deviate() {
        let runs = [(1, [Some(0.5), Some(0.75)]), (2, [Some(0.75), Some(1.0)])]
            .map(|(seed, dice)| with_cases("apm", seed, &[("kvasir", "auto", &dice)]));
        let all = Entries::of(&runs, &Scope::default()).unwrap();
        let [entry] = &all.entries[..] else { panic!("one entry for both seeds") };
        let number = entry.number(Column::Mean(Measure::Dice)).unwrap();
        assert_eq!((number.n, number.mean), (2, Some(0.75)));
        assert!((number.seed_sd.unwrap() - 0.25 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(number.case_sd, None);
        assert_eq!(entry.case_scores(Measure::Dice).unwrap()["a"], Some(0.625));
    }

    #[test]
    fn a_maximum_of_a_curve_has_no_interval_and_is_averaged_over_seeds() {
        let mut runs =
            [1, 2].map(|seed| with_cases("apm", seed, &[("kvasir", "auto", &[Some(0.5)])]));
        for (run, maximum) in runs.iter_mut().zip([0.75, 0.5]) {
            run.record.rows[0].maxima.insert(CurveMeasure::EMeasure, maximum);
        }
        let all = Entries::of(&runs, &Scope::default()).unwrap();
        let number = all.entries[0].number(Column::Max(CurveMeasure::EMeasure)).unwrap();
        assert_eq!((number.mean, number.low, number.n), (Some(0.625), None, 1));
        let missing = all.entries[0].number(Column::Max(CurveMeasure::Dice)).unwrap();
        assert_eq!(missing.mean, None);
    }

    #[test]
    fn columns_that_no_record_has_are_left_out() {
        // An old record: Dice, IoU and MAE only, of a protocol that prints more.
        let run = with_cases("apm", 1, &[("kvasir", "auto", &[Some(0.5)])]);
        let all = [run];
        let entries = Entries::of(&all, &Scope::default()).unwrap();
        let columns = entries.default_columns();
        assert!(columns.contains(&Column::Mean(Measure::Dice)));
        assert!(!columns.contains(&Column::Mean(Measure::Hd95)), "{columns:?}");
    }

    #[test]
    fn seeds_with_other_settings_or_weights_are_no_seeds_of_one_entry() {
        let pair =
            || [1, 2].map(|seed| with_cases("apm", seed, &[("kvasir", "auto", &[Some(0.5)])]));
        let settings = |rate: f64, seeds: &[u64]| {
            Some(crate::Settings::of(serde_json::json!({
                "seeds": seeds, "train": { "learning_rate": rate },
            })))
        };
        let refused =
            |runs: &[Run]| Entries::of(runs, &Scope::default()).err().unwrap().to_string();
        Entries::of(&pair(), &Scope::default()).unwrap();

        // Another hash, and nothing that says why.
        let mut runs = pair();
        runs[1].record.experiment_sha256 = "ff".repeat(32);
        let error = refused(&runs);
        assert!(error.contains("experiment_sha256"), "{error}");
        assert!(error.ends_with("runs/polyps/apm-seed1 and runs/polyps/apm-seed2"), "{error}");
        // The list of seeds alone is another text of the same settings.
        (runs[0].settings, runs[1].settings) = (settings(0.1, &[1]), settings(0.1, &[2]));
        Entries::of(&runs, &Scope::default()).unwrap();
        runs[1].settings = settings(0.2, &[2]);
        assert!(refused(&runs).contains("train.learning_rate"));

        let mut runs = pair();
        runs[1].record.backbone.weights_sha256 = "ff".repeat(32);
        assert!(refused(&runs).contains("weights_sha256"));
        let mixed = Entries::of(&runs, &Scope { mix: true, ..Scope::default() }).unwrap();
        let sentences = mixed.remarks.sentences();
        assert!(
            sentences[0].starts_with("MIXED: seeds of `apm` that differ in weights_sha256"),
            "{sentences:?}"
        );
    }

    #[test]
    fn seeds_of_one_entry_that_two_runs_claim_are_refused() {
        let run = || with_cases("apm", 1, &[("kvasir", "auto", &[Some(0.5)])]);
        let error = Entries::of(&[run(), run()], &Scope::default()).err().unwrap();
        assert!(matches!(error, TableError::Duplicate { .. }), "{error}");
    }
}
