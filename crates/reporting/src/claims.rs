//! Whether the cases bear out what an experiment claims.

use std::collections::BTreeSet;
use std::fmt;

use metrics::{PairedComparison, holm};
use polars::prelude::*;
use run_record::{Claim, Side};
use serde::Serialize;

use crate::entries::{Selection, marked_method, marked_prompts, unlike_seeds};
use crate::scores::{BOOTSTRAP_SEED, Scores, Subject, cases, mean, mean_over_runs, scores};
use crate::table::{check_cases, escape, one_protocol, optional};
use crate::{Run, Scope, TableError};

/// Corrected p values below it are significant.
const LEVEL: f64 = 0.05;

/// Cases that a verdict takes at least. With fewer, the exact test cannot reach [`LEVEL`] (p is at least
/// 2 / 2^n), and the bootstrap interval of so few differences is too narrow to decide anything: that of
/// two cases reaches from one difference to the other, and misses about every second mean.
const FEWEST_CASES: usize = 6;

/// The claims of one experiment, each on every test set, computed from case rows.
///
/// A case's score is its mean over the seeds, and the two sides of a claim are compared case by case
/// ([`PairedComparison`]): mean difference with its bootstrap interval, Wilcoxon's signed-rank test, and
/// Holm's correction over all the tests of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReport {
    /// Name of the experiment.
    pub experiment: String,
    /// The protocol that all scores were computed by.
    pub protocol: String,
    /// Seeds that every score is averaged over.
    pub seeds: Vec<u64>,
    /// Tests that p values are corrected for.
    pub tests: usize,
    /// Runs on a side of a claim whose record does not say what their checkpoint was chosen on.
    pub unknown: Vec<String>,
    /// Claims in the order of the file, test sets in the order of evaluation.
    pub results: Vec<ClaimResult>,
}

/// One claim on one test set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimResult {
    /// The claim.
    pub claim: Claim,
    /// Name of the data set; empty if no run has a result.
    pub data: String,
    /// Name of the split; empty if no run has a result.
    pub split: String,
    /// What the cases say.
    pub verdict: Verdict,
    /// What lacks results, e.g. `ips on ground_truth with seed 2`; empty unless the verdict is `not_run`.
    pub missing: Vec<String>,
    /// The numbers behind the verdict, `null` if it is `not_run`.
    pub numbers: Option<ClaimNumbers>,
}

impl ClaimResult {
    /// A claim that nothing can be said of.
    fn not_run(claim: &Claim, (data, split): (&str, &str), missing: Vec<String>) -> Self {
        Self {
            claim: claim.clone(),
            data: data.to_owned(),
            split: split.to_owned(),
            verdict: Verdict::NotRun,
            missing,
            numbers: None,
        }
    }
}

/// What the cases say of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The difference is above 0 and significant; with a margin, the whole interval lies above
    /// `-margin`.
    Holds,
    /// The difference is below 0 and significant; with a margin, the whole interval lies below
    /// `-margin`.
    Fails,
    /// Neither, or fewer than six cases.
    Open,
    /// A side has no result with one of the seeds: the run is missing, or was not evaluated with these
    /// prompts. Or results of several protocols stand side by side.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Open => "open",
            Self::NotRun => "not run",
        })
    }
}

/// Numbers of a claim on one test set. Differences are `better` minus `than`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimNumbers {
    /// Whether the prompts of `better` were made from the ground truth.
    pub better_is_oracle: bool,
    /// Whether the prompts of `than` were made from the ground truth.
    pub than_is_oracle: bool,
    /// Whether the checkpoint of `better` has seen the tested images with any of the seeds.
    pub better_on_test: bool,
    /// Whether the checkpoint of `than` has seen the tested images with any of the seeds.
    pub than_on_test: bool,
    /// Cases with a score on both sides with every seed.
    pub n: usize,
    /// Cases left out because a score is undefined or missing.
    pub left_out: usize,
    /// Mean score of the side called better.
    pub better: Option<f64>,
    /// Mean score of the other side.
    pub than: Option<f64>,
    /// Mean difference.
    pub difference: Option<f64>,
    /// Lower end of the 95 % bootstrap interval of the mean difference.
    pub difference_low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval of the mean difference.
    pub difference_high: Option<f64>,
    /// Cases on which `better` is better.
    pub wins: usize,
    /// Cases on which both score the same.
    pub ties: usize,
    /// Cases on which `than` is better.
    pub losses: usize,
    /// Two-sided p value of Wilcoxon's signed-rank test.
    pub p_value: f64,
    /// The p value after Holm's correction.
    pub p_holm: f64,
    /// Matched-pairs rank-biserial correlation, from -1 to 1.
    pub rank_biserial: Option<f64>,
    /// Mean difference of every single seed.
    pub by_seed: Vec<SeedDifference>,
}

/// The mean difference of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeedDifference {
    /// The seed.
    pub seed: u64,
    /// Mean difference over the same cases as that of all seeds.
    pub difference: Option<f64>,
}

/// What the columns of [`ClaimReport::csv`] mean: name, unit or range, meaning.
pub(crate) const CLAIM_COLUMNS: [(&str, &str, &str); 31] = [
    ("experiment", "", "name of the experiment"),
    ("claim", "", "the claim in words"),
    ("data", "", "data set that it is decided on"),
    ("split", "", "its split"),
    ("protocol", "", "name of the evaluation protocol"),
    ("measure", "", "what is compared"),
    ("better_method", "", "method of the side that is called better"),
    ("better_prompts", "", "its prompt source"),
    ("than_method", "", "method of the other side"),
    ("than_prompts", "", "its prompt source"),
    ("margin", "the measure's", "what `better` may be worse by; empty for a claim of superiority"),
    ("verdict", "", "`holds`, `fails`, `open` or `not run`"),
    ("missing", "", "results that are not there, separated by `;`"),
    ("n", "cases", "cases that are compared"),
    ("left_out", "cases", "cases without a score on a side"),
    ("better", "the measure's", "mean of the side that is called better"),
    ("than", "the measure's", "mean of the other side"),
    ("difference", "the measure's", "mean difference, `better` less `than`"),
    ("difference_low", "the measure's", "lower end of its 95 % bootstrap interval"),
    ("difference_high", "the measure's", "upper end of it"),
    ("wins", "cases", "cases on which `better` is better"),
    ("ties", "cases", "cases on which both are equal"),
    ("losses", "cases", "cases on which `better` is worse"),
    ("p_value", "0 to 1", "two-sided Wilcoxon signed-rank test"),
    (
        "p_holm",
        "0 to 1",
        "the same after Holm's correction for all claims and test sets of the experiment",
    ),
    ("rank_biserial", "-1 to 1", "matched-pairs rank-biserial correlation"),
    (
        "difference_by_seed",
        "the measure's",
        "`seed: difference` for each seed alone, separated by `;`",
    ),
    ("better_oracle", "", "whether the prompts of `better` were made from the ground truth"),
    ("than_oracle", "", "the same of `than`"),
    ("better_on_test", "", "whether the checkpoint of `better` has seen images that are tested"),
    ("than_on_test", "", "the same of `than`"),
];

impl ClaimReport {
    /// The claims of every experiment among the runs; mixed protocols are refused.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn from_runs(runs: &[Run]) -> Result<Vec<Self>, TableError> {
        Self::new(runs, &Scope::default())
    }

    /// Computes the claims of every experiment among the runs; experiments without claims are left out. Of the scope
    /// only [`mix`](Scope::mix) counts, since a claim names its prompts and is about every test set.
    ///
    /// With `mix`, claims of an experiment whose results have two protocols are `not run`: no verdict compares across
    /// them.
    ///
    /// Runs belong to one experiment if they lie in the same folder; the outline in it has the claims.
    /// The seeds are those of any of its runs: a side that lacks one of them is `not run`, since
    /// verdicts on some of the seeds would invite a choice of seeds.
    ///
    /// # Errors
    ///
    /// [`TableError::MixedProtocols`] if the results of an experiment have two protocols and may not be mixed,
    /// [`TableError::NoCases`] if a run that a claim is about has lost its case rows.
    pub fn new(runs: &[Run], scope: &Scope) -> Result<Vec<Self>, TableError> {
        let mut sorted: Vec<&Run> = runs.iter().collect();
        sorted.sort_by_key(|run| &run.folder);
        sorted
            .chunk_by(|a, b| a.folder.root().parent() == b.folder.root().parent())
            .filter_map(|runs| {
                let claims = &runs[0].outline.as_ref()?.claims;
                (!claims.is_empty()).then(|| Self::of_experiment(claims, runs, scope.mix))
            })
            .collect()
    }

    fn of_experiment(claims: &[Claim], runs: &[&Run], mix: bool) -> Result<Self, TableError> {
        let (protocol, undecidable) = match one_protocol(runs.iter().copied()) {
            Err(TableError::NoResults { .. }) => (String::new(), None),
            Err(TableError::MixedProtocols { first, second, .. }) if mix => {
                let missing = format!("results of one protocol (there are {first} and {second})");
                (format!("{first}, {second}"), Some(missing))
            }
            protocol => (protocol?.to_owned(), None),
        };
        let seeds: BTreeSet<u64> = runs.iter().map(|run| run.record.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let mut sets: Vec<(&str, &str)> = Vec::new();
        for row in runs.iter().flat_map(|run| &run.record.rows) {
            let set = (row.data.as_str(), row.split.as_str());
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        if sets.is_empty() {
            sets.push(("", ""));
        }
        let mut results: Vec<ClaimResult> = claims
            .iter()
            .flat_map(|claim| {
                sets.iter().map(|&set| match &undecidable {
                    None => compare(claim, set, runs, &seeds),
                    Some(missing) => Ok(ClaimResult::not_run(claim, set, vec![missing.clone()])),
                })
            })
            .collect::<Result<_, _>>()?;

        let tested = |result: &&mut ClaimResult| result.numbers.is_some();
        let numbers = results.iter().filter_map(|result| result.numbers.as_ref());
        let p_values: Vec<f64> = numbers.map(|numbers| numbers.p_value).collect();
        for (result, p_holm) in results.iter_mut().filter(tested).zip(holm(&p_values)) {
            if let Some(numbers) = &mut result.numbers {
                numbers.p_holm = p_holm;
                result.verdict = verdict(&result.claim, numbers);
            }
        }
        let on_a_side = |run: &&&Run| {
            let mut sides = claims.iter().flat_map(|claim| [&claim.better, &claim.than]);
            sides.any(|side| side.method == run.record.method)
        };
        let unknown: BTreeSet<String> = runs
            .iter()
            .filter(on_a_side)
            .filter(|run| Selection::of_run(run) == Selection::Unknown)
            .map(|run| run.id())
            .collect();
        Ok(Self {
            experiment: runs[0].record.experiment.clone(),
            protocol,
            seeds,
            tests: p_values.len(),
            unknown: unknown.into_iter().collect(),
            results,
        })
    }

    /// The claims as Markdown, with a caption that says how they were decided.
    pub fn markdown(&self) -> String {
        let splits: BTreeSet<&str> =
            self.results.iter().map(|result| result.split.as_str()).collect();
        let mut text = format!(
            "Claims of experiment {}, protocol `{}`",
            escape(&self.experiment),
            self.protocol
        );
        if let [split] = splits.iter().collect::<Vec<_>>()[..] {
            text.push_str(&format!(", split {}", escape(split)));
        }
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        text.push_str(&match &seeds[..] {
            [seed] => format!(", seed {seed}. "),
            _ => {
                format!(", seeds {}. A case's score is its mean over the seeds. ", seeds.join(", "))
            }
        });
        text.push_str(&format!(
            "Differences are by case, with the 95 % bootstrap interval of their mean over n cases; p: \
             two-sided Wilcoxon signed-rank test, after Holm's correction for {} tests; effect: \
             rank-biserial correlation. A claim holds if mean difference and effect are above 0 and \
             p < {LEVEL}, fails if they are below 0 and p < {LEVEL}, and is open otherwise; one with a \
             margin holds if the interval lies above -margin and fails if it lies below",
            self.tests
        ));
        let numbers = || self.results.iter().filter_map(|result| result.numbers.as_ref());
        let few = |result: &ClaimResult| {
            let numbers = result.numbers.as_ref();
            result.claim.margin.is_some() && numbers.is_some_and(|numbers| numbers.n < FEWEST_CASES)
        };
        if self.results.iter().any(few) {
            text.push_str(&format!(", unless n is below {FEWEST_CASES}"));
        }
        if numbers().any(|numbers| numbers.left_out > 0) {
            text.push_str("; (+k): k more cases lack a score on a side and are left out");
        }
        if numbers().any(|numbers| numbers.better_is_oracle || numbers.than_is_oracle) {
            text.push_str("; (oracle): prompts are made from the ground truth");
        }
        if numbers().any(|numbers| numbers.better_on_test || numbers.than_on_test) {
            text.push_str("; (chosen on test data): the checkpoint has seen the tested images");
        }
        if !self.unknown.is_empty() {
            text.push_str(&format!(
                "; the records of {} do not say what the checkpoint was chosen on",
                self.unknown.join(", ")
            ));
        }
        text.push_str(
            ".\n\n| claim | data | verdict | better | than | difference [95 % interval] | p | \
             wins / ties / losses | effect | seeds above 0 | n |\n\
             | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for result in &self.results {
            text.push_str(&line(result, splits.len() > 1));
        }
        text
    }

    /// The claims as CSV at full precision, one line per claim and test set.
    ///
    /// # Errors
    ///
    /// [`TableError::Frame`] if the data frame cannot be written.
    pub fn csv(&self) -> Result<String, TableError> {
        let text = |cell: &dyn Fn(&ClaimResult) -> String| -> Vec<String> {
            self.results.iter().map(cell).collect()
        };
        let count = |cell: fn(&ClaimNumbers) -> usize| -> Vec<Option<u64>> {
            let cell = |result: &ClaimResult| result.numbers.as_ref().map(|n| cell(n) as u64);
            self.results.iter().map(cell).collect()
        };
        let number = |cell: fn(&ClaimNumbers) -> Option<f64>| -> Vec<Option<f64>> {
            let cell = |result: &ClaimResult| result.numbers.as_ref().and_then(cell);
            self.results.iter().map(cell).collect()
        };
        let flag = |cell: fn(&ClaimNumbers) -> bool| -> Vec<Option<bool>> {
            self.results.iter().map(|result| result.numbers.as_ref().map(cell)).collect()
        };
        let margins: Vec<Option<f64>> =
            self.results.iter().map(|result| result.claim.margin).collect();
        // An empty list is an empty cell, not an empty string in quotes.
        let if_any = |list: &dyn Fn(&ClaimResult) -> Vec<String>| -> Vec<Option<String>> {
            let joined = self.results.iter().map(|result| list(result).join("; "));
            joined.map(|text| (!text.is_empty()).then_some(text)).collect()
        };
        let by_seed = |result: &ClaimResult| -> Vec<String> {
            let seeds = result.numbers.iter().flat_map(|numbers| &numbers.by_seed);
            seeds
                .filter_map(|one| one.difference.map(|number| format!("{}: {number}", one.seed)))
                .collect()
        };
        let mut frame = df!(
            "experiment" => text(&|_| self.experiment.clone()),
            "claim" => text(&|result| result.claim.name.clone()),
            "data" => text(&|result| result.data.clone()),
            "split" => text(&|result| result.split.clone()),
            "protocol" => text(&|_| self.protocol.clone()),
            "measure" => text(&|result| result.claim.measure.to_string()),
            "better_method" => text(&|result| result.claim.better.method.clone()),
            "better_prompts" => text(&|result| result.claim.better.prompts.clone()),
            "than_method" => text(&|result| result.claim.than.method.clone()),
            "than_prompts" => text(&|result| result.claim.than.prompts.clone()),
            "margin" => margins,
            "verdict" => text(&|result| result.verdict.to_string()),
            "missing" => if_any(&|result| result.missing.clone()),
            "n" => count(|numbers| numbers.n),
            "left_out" => count(|numbers| numbers.left_out),
            "better" => number(|numbers| numbers.better),
            "than" => number(|numbers| numbers.than),
            "difference" => number(|numbers| numbers.difference),
            "difference_low" => number(|numbers| numbers.difference_low),
            "difference_high" => number(|numbers| numbers.difference_high),
            "wins" => count(|numbers| numbers.wins),
            "ties" => count(|numbers| numbers.ties),
            "losses" => count(|numbers| numbers.losses),
            "p_value" => number(|numbers| Some(numbers.p_value)),
            "p_holm" => number(|numbers| Some(numbers.p_holm)),
            "rank_biserial" => number(|numbers| numbers.rank_biserial),
            "difference_by_seed" => if_any(&by_seed),
            "better_oracle" => flag(|numbers| numbers.better_is_oracle),
            "than_oracle" => flag(|numbers| numbers.than_is_oracle),
            "better_on_test" => flag(|numbers| numbers.better_on_test),
            "than_on_test" => flag(|numbers| numbers.than_on_test),
        )?;
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes).finish(&mut frame)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// One claim on one set; p values are corrected, and the verdict found, when all are known.
///
/// # Errors
///
/// [`TableError::NoCases`]: a run without case rows was run all the same.
fn compare(
    claim: &Claim,
    (data, split): (&str, &str),
    runs: &[&Run],
    seeds: &[u64],
) -> Result<ClaimResult, TableError> {
    let mut missing = Vec::new();
    let mut by_seed = |side: &Side| -> Result<Vec<Scores<'_>>, TableError> {
        let subject = Subject { data, split, prompts: &side.prompts };
        let of_seed = |&seed: &u64| -> Result<Scores<'_>, TableError> {
            let run = runs
                .iter()
                .find(|run| (&run.record.method, run.record.seed) == (&side.method, seed));
            let Some(run) = run else { return Ok(Scores::new()) };
            let rows = run.record.rows.iter();
            for row in rows.filter(|row| subject == Subject::of(row)) {
                check_cases(run, row)?;
            }
            Ok(scores(run, subject, |row| row.get(claim.measure)))
        };
        let found: Vec<Scores<'_>> = seeds.iter().map(of_seed).collect::<Result<_, _>>()?;
        for (seed, _) in seeds.iter().zip(&found).filter(|(_, scores)| scores.is_empty()) {
            let name = format!("{} on {} with seed {seed}", side.method, side.prompts);
            if !missing.contains(&name) {
                missing.push(name);
            }
        }
        Ok(found)
    };
    let (better, than) = (by_seed(&claim.better)?, by_seed(&claim.than)?);
    for side in [&claim.better, &claim.than] {
        let of_side: Vec<&Run> =
            runs.iter().copied().filter(|run| run.record.method == side.method).collect();
        if let Some((first, second, what)) = unlike_seeds(&of_side) {
            let name = format!(
                "seeds of {} that can be averaged ({} and {} differ in {})",
                side.method,
                first.record.seed,
                second.record.seed,
                what.join(", ")
            );
            if !missing.contains(&name) {
                missing.push(name);
            }
        }
    }
    let on_test = |side: &Side| {
        let subject = Subject { data, split, prompts: &side.prompts };
        runs.iter().filter(|run| run.record.method == side.method).any(|run| {
            let mut rows = run.record.rows.iter().filter(|row| subject == Subject::of(row));
            rows.any(|row| Selection::of(run, row) == Selection::OnTest)
        })
    };
    let rows = runs.iter().flat_map(|run| &run.record.rows);
    let is_oracle = |side: &Side| rows.clone().any(|row| row.oracle && row.prompts == side.prompts);
    if !missing.is_empty() {
        return Ok(ClaimResult::not_run(claim, (data, split), missing));
    }
    let numbers = ClaimNumbers {
        better_is_oracle: is_oracle(&claim.better),
        than_is_oracle: is_oracle(&claim.than),
        better_on_test: on_test(&claim.better),
        than_on_test: on_test(&claim.than),
        ..numbers(&better, &than, seeds)
    };
    Ok(ClaimResult {
        claim: claim.clone(),
        data: data.to_owned(),
        split: split.to_owned(),
        verdict: Verdict::Open,
        missing,
        numbers: Some(numbers),
    })
}

/// The numbers of two sides, each a list of scores by seed.
fn numbers(better: &[Scores<'_>], than: &[Scores<'_>], seeds: &[u64]) -> ClaimNumbers {
    let all = cases(&[better, than].concat());
    let paired: Vec<(&str, (f64, f64))> = all
        .iter()
        .filter_map(|&case| {
            Some((case, (mean_over_runs(better, case)?, mean_over_runs(than, case)?)))
        })
        .collect();
    let pairs: Vec<(f64, f64)> = paired.iter().map(|(_, pair)| *pair).collect();
    let (firsts, seconds): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let by_seed = seeds.iter().zip(better.iter().zip(than)).map(|(&seed, (better, than))| {
        let differences: Vec<f64> = paired
            .iter()
            .filter_map(|(case, _)| Some(better.get(case)?.as_ref()? - than.get(case)?.as_ref()?))
            .collect();
        SeedDifference { seed, difference: mean(&differences) }
    });
    let compared = PairedComparison::of(&pairs, BOOTSTRAP_SEED);
    ClaimNumbers {
        better_is_oracle: false,
        than_is_oracle: false,
        better_on_test: false,
        than_on_test: false,
        n: compared.n,
        left_out: all.len() - compared.n,
        better: mean(&firsts),
        than: mean(&seconds),
        difference: compared.mean_difference,
        difference_low: compared.low,
        difference_high: compared.high,
        wins: compared.wins,
        ties: compared.ties,
        losses: compared.losses,
        p_value: compared.test.p_value,
        p_holm: compared.test.p_value,
        rank_biserial: compared.test.rank_biserial(),
        by_seed: by_seed.collect(),
    }
}

fn verdict(claim: &Claim, numbers: &ClaimNumbers) -> Verdict {
    if numbers.n < FEWEST_CASES {
        return Verdict::Open;
    }
    if let Some(margin) = claim.margin {
        return match (numbers.difference_low, numbers.difference_high) {
            (Some(low), _) if low > -margin => Verdict::Holds,
            (_, Some(high)) if high < -margin => Verdict::Fails,
            _ => Verdict::Open,
        };
    }
    // The test is about ranks and the claim about means: both must point the same way, or a few
    // large differences against many small ones would pass for a significant mean.
    let directions = [numbers.difference, numbers.rank_biserial];
    let all = |is: fn(f64) -> bool| directions.into_iter().all(|number| number.is_some_and(is));
    match numbers.p_holm < LEVEL {
        true if all(|number| number > 0.0) => Verdict::Holds,
        true if all(|number| number < 0.0) => Verdict::Fails,
        _ => Verdict::Open,
    }
}

/// A claim on one set as a line of Markdown.
fn line(result: &ClaimResult, with_split: bool) -> String {
    let ClaimResult { claim, data, split, verdict, missing, numbers } = result;
    let margin = claim.margin.map_or_else(String::new, |margin| format!(" (margin {margin})"));
    let set = match data.as_str() {
        "" => "\u{2013}".to_owned(),
        data if with_split => format!("{data}, {split}"),
        data => data.to_owned(),
    };
    let start = format!("| {}{margin} | {} | {verdict} |", escape(&claim.name), escape(&set));
    let Some(numbers) = numbers else {
        let missing = escape(&missing.join("; "));
        return format!("{start} missing: {missing} | | | | | | | |\n");
    };
    let side = |side: &Side, is_oracle: bool, on_test: bool, score| {
        let selection = if on_test { Selection::OnTest } else { Selection::Clean };
        let method = marked_method(&escape(&side.method), selection);
        let prompts = marked_prompts(&escape(&side.prompts), is_oracle);
        format!("{method}, {prompts}: {} {}", claim.measure, optional(score))
    };
    let signed = |number: Option<f64>| {
        number.map_or_else(|| optional(None), |number| format!("{number:+.3}"))
    };
    let difference = match (numbers.difference_low, numbers.difference_high) {
        (Some(low), Some(high)) => {
            format!("{} [{low:+.3}, {high:+.3}]", signed(numbers.difference))
        }
        _ => signed(numbers.difference),
    };
    let p = match numbers.p_holm {
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("{p:.3}"),
    };
    let above = numbers.by_seed.iter().filter(|seed| seed.difference.is_some_and(|d| d > 0.0));
    let left_out = match numbers.left_out {
        0 => String::new(),
        left_out => format!(" (+{left_out})"),
    };
    format!(
        "{start} {} | {} | {difference} | {p} | {} / {} / {} | {} | {} of {} | {}{left_out} |\n",
        side(&claim.better, numbers.better_is_oracle, numbers.better_on_test, numbers.better),
        side(&claim.than, numbers.than_is_oracle, numbers.than_on_test, numbers.than),
        numbers.wins,
        numbers.ties,
        numbers.losses,
        signed(numbers.rank_biserial),
        above.count(),
        numbers.by_seed.len(),
        numbers.n,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use insta::assert_snapshot;
    use metrics::Measure;
    use run_record::{Outline, write_rows};

    use super::*;
    use crate::load;
    use crate::testing::{with_cases, write};

    fn side(method: &str, prompts: &str) -> Side {
        Side { method: method.into(), prompts: prompts.into() }
    }

    fn claim(better: &str, than: &str, margin: Option<f64>) -> Claim {
        let side = |method| side(method, "auto");
        let name = format!("{better} beats {than}");
        let (better, than) = (side(better), side(than));
        Claim { name, better, than, measure: Measure::Dice, margin }
    }

    /// A run of a method on `kvasir` with the prompts `auto`.
    fn scored(method: &str, seed: u64, dice: &[Option<f64>]) -> Run {
        with_cases(method, seed, &[("kvasir", "auto", dice)])
    }

    fn defined(dice: &[f64]) -> Vec<Option<f64>> {
        dice.iter().copied().map(Some).collect()
    }

    /// The report of the only experiment.
    fn report(mut runs: Vec<Run>, claims: &[Claim]) -> ClaimReport {
        for run in &mut runs {
            run.outline = Some(Outline::new(vec![], claims.to_vec()).into());
        }
        let mut reports = ClaimReport::from_runs(&runs).unwrap();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    /// `low` scores 0.2, `high` that and another tenth, twentieth, ... more.
    fn low_and_high(n: usize) -> Vec<Run> {
        let low = vec![0.2; n];
        let high: Vec<f64> = (1..=n).map(|i| 0.2 + 0.1 / i as f64).collect();
        vec![scored("high", 1, &defined(&high)), scored("low", 1, &defined(&low))]
    }

    #[test]
    fn a_significant_difference_holds_one_way_and_fails_the_other() {
        let claims = [claim("high", "low", None), claim("low", "high", None)];
        let report = report(low_and_high(8), &claims);
        let [first, second] = [0, 1].map(|i| report.results[i].numbers.clone().unwrap());
        assert_eq!(
            [report.results[0].verdict, report.results[1].verdict],
            [Verdict::Holds, Verdict::Fails]
        );
        // 2 of the 256 choices of signs are as far out, and there are two tests.
        assert_eq!((first.p_value, first.p_holm), (2.0 / 256.0, 4.0 / 256.0));
        assert_eq!((first.wins, first.ties, first.losses, first.n), (8, 0, 0, 8));
        assert_eq!((first.rank_biserial, second.rank_biserial), (Some(1.0), Some(-1.0)));
        let harmonic: f64 = (1..=8).map(|i| 0.1 / f64::from(i)).sum();
        assert!((first.difference.unwrap() - harmonic / 8.0).abs() < 1e-12);
        assert!((first.difference.unwrap() + second.difference.unwrap()).abs() < 1e-12);
        assert!((first.better.unwrap() - second.than.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn every_test_of_the_experiment_counts_in_the_correction() {
        // 2 of 64: significant alone, not among two.
        let alone = report(low_and_high(6), &[claim("high", "low", None)]);
        assert_eq!((alone.tests, alone.results[0].verdict), (1, Verdict::Holds));
        let claims = [claim("high", "low", None), claim("high", "low", Some(0.5))];
        let two = report(low_and_high(6), &claims);
        assert_eq!((two.tests, two.results[0].verdict), (2, Verdict::Open));
        assert_eq!(two.results[0].numbers.as_ref().unwrap().p_holm, 2.0 * 2.0 / 64.0);
    }

    #[test]
    fn test_sets_are_decided_one_by_one() {
        let sets = |kvasir: f64, isic: f64| {
            let scores = |high: f64| defined(&[high, high + 0.01, high + 0.02, high + 0.04]);
            [scores(kvasir), scores(isic)]
        };
        let runs = [("high", sets(0.5, 0.25)), ("low", sets(0.25, 0.5))].map(|(method, sets)| {
            with_cases(method, 1, &[("kvasir", "auto", &sets[0]), ("isic", "auto", &sets[1])])
        });
        let report = report(runs.into(), &[claim("high", "low", None)]);
        let differences: Vec<_> = report
            .results
            .iter()
            .map(|result| (&*result.data, result.numbers.as_ref().unwrap().difference.unwrap()))
            .collect();
        assert_eq!(differences, [("kvasir", 0.25), ("isic", -0.25)], "in the order of evaluation");
    }

    #[test]
    fn with_a_margin_the_interval_decides() {
        let base = [0.2, 0.3, 0.4, 0.6, 0.7, 0.8];
        let moved = |by: [f64; 6]| -> Vec<Option<f64>> {
            base.iter().zip(by).map(|(score, by)| Some(score + by)).collect()
        };
        for (by, verdict) in [
            ([-0.005; 6], Verdict::Holds),
            ([-0.02; 6], Verdict::Fails),
            ([-0.02, 0.02, -0.02, 0.02, -0.02, 0.02], Verdict::Open),
        ] {
            let runs = vec![scored("base", 1, &defined(&base)), scored("other", 1, &moved(by))];
            let report = report(runs, &[claim("other", "base", Some(0.01))]);
            assert_eq!(report.results[0].verdict, verdict, "{by:?}");
        }
    }

    #[test]
    fn with_fewer_than_six_cases_nothing_is_decided() {
        let claims = [
            claim("high", "low", None),
            claim("high", "low", Some(0.01)),
            claim("low", "high", Some(0.01)),
        ];
        // `high` is better by 0.017 and more on every case, so the intervals are far from the margin.
        for n in [2, 3, 5] {
            let report = report(low_and_high(n), &claims);
            let verdicts = [0, 1, 2].map(|i| report.results[i].verdict);
            assert_eq!(verdicts, [Verdict::Open; 3], "{n}");
            assert!(report.markdown().contains("lies below, unless n is below 6."), "{n}");
        }
        let report = report(low_and_high(6), &claims[1..]);
        let verdicts = [0, 1].map(|i| report.results[i].verdict);
        assert_eq!(verdicts, [Verdict::Holds, Verdict::Fails]);
        assert!(!report.markdown().contains("unless"), "{}", report.markdown());
    }

    #[test]
    fn a_few_large_differences_against_many_small_ones_stay_open() {
        // Mean above 0, while eighteen of twenty ranks are negative with p about 0.01.
        let dice: Vec<f64> =
            (0..20).map(|i| if i < 18 { 0.4 - 0.001 * f64::from(i + 1) } else { 0.9 }).collect();
        let runs = vec![scored("base", 1, &defined(&[0.4; 20])), scored("odd", 1, &defined(&dice))];
        let report = report(runs, &[claim("odd", "base", None)]);
        let numbers = report.results[0].numbers.as_ref().unwrap();
        assert!(numbers.difference.unwrap() > 0.0 && numbers.p_holm < LEVEL);
        assert!(numbers.rank_biserial.unwrap() < 0.0);
        assert_eq!(report.results[0].verdict, Verdict::Open);
    }

    #[test]
    fn scores_are_averaged_over_seeds_and_seeds_are_shown() {
        let runs = vec![
            scored("high", 1, &defined(&[0.5, 0.75])),
            scored("high", 2, &defined(&[0.75, 1.0])),
            scored("low", 1, &defined(&[0.75, 0.75])),
            scored("low", 2, &defined(&[0.25, 0.25])),
        ];
        let report = report(runs, &[claim("high", "low", None)]);
        assert_eq!(report.seeds, [1, 2]);
        let numbers = report.results[0].numbers.as_ref().unwrap();
        // Averages 0.625, 0.875 against 0.5, 0.5: two cases, not four.
        assert_eq!((numbers.n, numbers.wins), (2, 2));
        assert_eq!((numbers.better, numbers.than), (Some(0.75), Some(0.5)));
        assert_eq!(numbers.difference, Some(0.25));
        let by_seed: Vec<_> =
            numbers.by_seed.iter().map(|one| (one.seed, one.difference.unwrap())).collect();
        assert_eq!(by_seed, [(1, -0.125), (2, 0.625)]);
        assert!(report.markdown().contains("| 1 of 2 | 2 |"), "{}", report.markdown());
    }

    #[test]
    fn cases_without_a_score_on_a_side_are_left_out_and_counted() {
        let runs = vec![
            scored("high", 1, &[Some(0.5), None, Some(0.75), Some(0.5)]),
            scored("low", 1, &[Some(0.25), Some(0.5), None]),
        ];
        let report = report(runs, &[claim("high", "low", None)]);
        let numbers = report.results[0].numbers.as_ref().unwrap();
        assert_eq!((numbers.n, numbers.left_out), (1, 3));
        assert_eq!((numbers.better, numbers.than), (Some(0.5), Some(0.25)));
        assert_eq!(numbers.difference_low, None, "no interval of one case");
        assert!(report.markdown().contains("| 1 (+3) |"), "{}", report.markdown());
    }

    #[test]
    fn a_missing_run_is_named_and_no_test() {
        let mut runs = low_and_high(8);
        runs.push(scored("high", 2, &defined(&[0.5; 8])));
        let claims = [
            claim("high", "low", None),
            Claim { than: side("high", "grid"), ..claim("high", "low", None) },
        ];
        let report = report(runs, &claims);
        assert_eq!(report.tests, 0);
        let verdicts = [0, 1].map(|i| report.results[i].verdict);
        assert_eq!(verdicts, [Verdict::NotRun; 2]);
        assert_eq!(report.results[0].missing, ["low on auto with seed 2"]);
        assert_eq!(
            report.results[1].missing,
            ["high on grid with seed 1", "high on grid with seed 2"]
        );
        assert!(report.markdown().contains("| not run | missing: low on auto with seed 2 |"));
        assert!(report.csv().unwrap().contains("not run,low on auto with seed 2,,"));
    }

    #[test]
    fn claims_across_two_protocols_are_refused_or_left_undecided() {
        let mut runs = low_and_high(8);
        for run in &mut runs {
            run.outline = Some(Outline::new(vec![], vec![claim("high", "low", None)]).into());
        }
        for row in &mut runs[1].record.rows {
            row.protocol = "pranet".into();
        }
        let error = ClaimReport::from_runs(&runs).unwrap_err();
        assert!(matches!(error, TableError::MixedProtocols { .. }), "{error}");
        assert!(error.to_string().contains("`--mix` allows it"));
        let mix = Scope { mix: true, ..Scope::default() };
        let reports = ClaimReport::new(&runs, &mix).unwrap();
        let [result] = &reports[0].results[..] else { panic!("one claim on one set") };
        assert_eq!((result.verdict, result.numbers.is_none()), (Verdict::NotRun, true));
        assert_eq!(result.missing, ["results of one protocol (there are default and pranet)"]);
        assert_eq!(reports[0].tests, 0);
    }

    #[test]
    fn a_run_whose_cases_are_gone_is_not_called_missing() {
        let mut runs = low_and_high(8);
        runs[1].cases.clear();
        for run in &mut runs {
            run.outline = Some(Outline::new(vec![], vec![claim("high", "low", None)]).into());
        }
        let error = ClaimReport::from_runs(&runs).unwrap_err();
        assert!(matches!(error, TableError::NoCases { .. }));
        let text = error.to_string();
        assert!(text.contains("method `low`") && text.ends_with("runs/polyps/low-seed1"), "{text}");
        // What no claim is about is not needed.
        for run in &mut runs {
            let claim = claim("high", "high", None);
            let than = side("high", "grid");
            run.outline = Some(Outline::new(vec![], vec![Claim { than, ..claim }]).into());
        }
        let reports = ClaimReport::from_runs(&runs).unwrap();
        assert_eq!(reports[0].results[0].missing, ["high on grid with seed 1"]);
    }

    #[test]
    fn the_measure_of_the_claim_is_compared() {
        let claims = [Claim { measure: Measure::Iou, ..claim("high", "low", None) }];
        let report = report(low_and_high(6), &claims);
        // Dice 0.2 is IoU 0.2 / 1.8.
        let than = report.results[0].numbers.as_ref().unwrap().than.unwrap();
        assert!((than - 1.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn run_folders_of_an_experiment_with_claims_are_reported_and_others_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for run in low_and_high(6) {
            let on_disk = write(folder.path(), &run.record);
            write_rows(&on_disk.cases(), &run.cases).unwrap();
        }
        let experiment = folder.path().join("polyps");
        let before = load(&[&experiment]).unwrap();
        assert_eq!(ClaimReport::from_runs(&before).unwrap(), []);

        let outline = Outline::new(vec![], vec![claim("high", "low", None)]);
        outline.write(&before[0].folder.outline()).unwrap();
        let mut runs = load(&[&experiment]).unwrap();
        let mut lonely = scored("high", 7, &defined(&[0.5]));
        lonely.folder = run_record::RunFolder::of(folder.path(), "lesions", "high", 7);
        runs.push(lonely);
        let reports = ClaimReport::from_runs(&runs).unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(
            (reports[0].experiment.as_str(), reports[0].seeds.as_slice()),
            ("polyps", &[1][..])
        );
        assert_eq!(reports[0].results[0].verdict, Verdict::Holds);
        // Once more in another order: the same bytes.
        runs.reverse();
        assert_eq!(ClaimReport::from_runs(&runs).unwrap(), reports);
    }

    #[test]
    fn scores_of_two_protocols_are_not_compared() {
        let mut runs = low_and_high(6);
        runs[1].record.rows[0].protocol = "pranet".into();
        for run in &mut runs {
            run.outline = Some(Outline::new(vec![], vec![claim("high", "low", None)]).into());
        }
        let error = ClaimReport::from_runs(&runs).unwrap_err();
        assert!(matches!(error, TableError::MixedProtocols { .. }));
    }

    #[test]
    fn a_side_whose_checkpoint_has_seen_the_tested_images_is_marked() {
        let mut runs = low_and_high(8);
        runs[0].record.training = crate::testing::trained("high", 1, 2, 0.5).record.training;
        let claims = [claim("high", "low", None), claim("low", "high", None)];
        // Held out, but no settings that say of which split: unknown.
        let unknown = report(runs.clone(), &claims);
        assert_eq!(unknown.unknown, ["polyps/high-seed1"]);
        assert!(unknown.markdown().contains("the records of polyps/high-seed1 do not say"));
        if let Some(training) = &mut runs[0].record.training {
            training.selection = run_record::EpochChoice::Test;
        }
        let report = report(runs, &claims);
        let marks = [0, 1].map(|i| {
            let numbers = report.results[i].numbers.as_ref().unwrap();
            (numbers.better_on_test, numbers.than_on_test)
        });
        assert_eq!(marks, [(true, false), (false, true)]);
        let markdown = report.markdown();
        assert!(markdown.contains("| high (chosen on test data), auto: Dice"), "{markdown}");
        assert!(
            markdown.contains("; (chosen on test data): the checkpoint has seen"),
            "{markdown}"
        );
        assert!(!markdown.contains("low (chosen"), "{markdown}");
    }

    #[test]
    fn seeds_that_ran_with_other_settings_decide_nothing() {
        let mut runs = low_and_high(8);
        let mut second = low_and_high(8);
        for run in &mut second {
            run.record.seed = 2;
            run.folder =
                run_record::RunFolder::new(format!("runs/polyps/{}-seed2", run.record.method));
        }
        runs.extend(second);
        runs[2].record.experiment_sha256 = "ff".repeat(32);
        let report = report(runs, &[claim("high", "low", None), claim("low", "low", None)]);
        let verdicts = [0, 1].map(|i| report.results[i].verdict);
        assert_eq!(verdicts, [Verdict::NotRun, Verdict::Open]);
        assert_eq!(
            report.results[0].missing,
            ["seeds of high that can be averaged (1 and 2 differ in experiment_sha256)"]
        );
    }

    #[test]
    fn the_report_says_how_claims_were_decided() {
        let mut runs = low_and_high(8);
        let oracle = defined(&[0.3; 8]);
        runs.push(with_cases("clicks", 1, &[("kvasir", "ground_truth", &oracle)]));
        let claims = [
            claim("high", "low", None),
            claim("low", "high", Some(0.01)),
            Claim { better: side("clicks", "ground_truth"), ..claim("clicks", "low", None) },
        ];
        let report = report(runs, &claims);
        assert_snapshot!(report.markdown(), @r"
        Claims of experiment polyps, protocol `default`, split test, seed 1. Differences are by case, with the 95 % bootstrap interval of their mean over n cases; p: two-sided Wilcoxon signed-rank test, after Holm's correction for 3 tests; effect: rank-biserial correlation. A claim holds if mean difference and effect are above 0 and p < 0.05, fails if they are below 0 and p < 0.05, and is open otherwise; one with a margin holds if the interval lies above -margin and fails if it lies below; (oracle): prompts are made from the ground truth.

        | claim | data | verdict | better | than | difference [95 % interval] | p | wins / ties / losses | effect | seeds above 0 | n |
        | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | high beats low | kvasir | holds | high, auto: Dice 0.234 | low, auto: Dice 0.200 | +0.034 [+0.018, +0.056] | 0.023 | 8 / 0 / 0 | +1.000 | 1 of 1 | 8 |
        | low beats high (margin 0.01) | kvasir | fails | low, auto: Dice 0.200 | high, auto: Dice 0.234 | -0.034 [-0.056, -0.019] | 0.023 | 0 / 0 / 8 | -1.000 | 0 of 1 | 8 |
        | clicks beats low | kvasir | holds | clicks, ground_truth (oracle): Dice 0.300 | low, auto: Dice 0.200 | +0.100 [+0.100, +0.100] | 0.023 | 8 / 0 / 0 | +1.000 | 1 of 1 | 8 |
        ");
        let csv = report.csv().unwrap();
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        assert_eq!(header, CLAIM_COLUMNS.map(|(name, ..)| name));
        assert_eq!(csv.lines().count(), 1 + report.results.len());
        let start = "experiment,claim,data,split,protocol,measure,better_method,better_prompts,than_method,\
                     than_prompts,margin,verdict,missing,n,left_out,better,than,difference,";
        assert!(csv.starts_with(start), "{csv}");
        let second = csv.lines().nth(2).unwrap();
        let start =
            "polyps,low beats high,kvasir,test,default,Dice,low,auto,high,auto,0.01,fails,,8,0,";
        assert!(second.starts_with(start), "{second}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["results"][0]["verdict"], "holds");
        assert_eq!(json["results"][0]["numbers"]["n"], 8);
        assert_eq!(json["results"][0]["claim"]["better"]["method"], "high");
    }
}
