//! `cargo xtask eval`

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context as _, bail};
use clap::Args;
use metrics::Measure;
use promise::{
    dialogue::{MaskChoice, MaskInput},
    evaluate::CasePrompts,
    person::{Combine, PromptFile},
    prompt_source::PromptSource,
    run::{Context, RunError, evaluate_run, simulate_run},
    run_folder::Existing,
    simulated_user::{Simulation, Start, keep},
};
use reporting::{ClickCurve, ResultTable, Run, Scope, click_table};
use run_record::RunFolder;
use serde_json::json;

use super::{CacheOptions, Common, MemoryOptions};
use crate::{outln, output::print_json};

/// Evaluate finished runs again, on other data or with other prompts. Writes nothing, but `clicks.csv` into the folder of
/// a run with `--prompts simulated`.
#[derive(Args)]
pub struct Eval {
    /// Run folders, e.g. `runs/quickstart/apm_ips-seed1`.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Data set, instead of those of the run.
    #[arg(long)]
    data: Option<String>,
    /// Prompts, instead of those of the run: a source (`auto`, `ground_truth`, `grid`, `center`, `box_full`), a person's
    /// file of prompts (`FILE.json`), or `simulated`, a user who clicks where the error is largest. May be given several
    /// times, a file once and `simulated` alone.
    #[arg(long, value_name = "PROMPTS")]
    prompts: Vec<Asked>,
    /// How a person's prompts and the run's go together, for every image of the file: `replace`, `add` or `correct` (in
    /// rounds, beginning with the run's). By default they are added where the file says `automatic`, and else replace
    /// them.
    #[arg(long)]
    combine: Option<Combine>,
    /// Clicks of the simulated user for each image, 1 to 1000; 5 if nothing is said.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// What there is before the simulated user's first click: `auto`, the run's own prompts, or `click`, nothing. By
    /// default the run's own prompts, if it makes any.
    #[arg(long)]
    start: Option<Start>,
    /// What SAM gets as mask input after the first answer to the simulated user: `previous`, the logits of the answer
    /// before, as in its training, or `none`; `previous` if nothing is said.
    #[arg(long)]
    mask_input: Option<MaskInput>,
    /// Which of SAM's three masks the simulated user sees: `used`, the one that runs are trained for, or `best`, the one
    /// with the highest predicted IoU; `used` if nothing is said.
    #[arg(long)]
    mask_choice: Option<MaskChoice>,
    /// Protocol, instead of that of the run.
    #[arg(long)]
    protocol: Option<metrics::Protocol>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// Clicks of the simulated user if nothing is said.
const ROUNDS: u16 = 5;

/// What `--prompts` may name.
#[derive(Clone, PartialEq)]
enum Asked {
    Source(PromptSource),
    File(PathBuf),
    Simulated,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "simulated" {
            return Ok(Self::Simulated);
        }
        let path = PathBuf::from(text);
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            return Ok(Self::File(path));
        }
        let source = text.parse().map(Self::Source);
        source.map_err(|error| format!("{error}; or `simulated`, or a file `*.json`"))
    }
}

impl Eval {
    /// Evaluates and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let simulates = self.simulates()?;
        let context =
            self.common.context(&self.cache, &self.memory, PathBuf::new(), Existing::GoOn)?;
        if simulates { self.simulate(&context) } else { self.evaluate(&context) }
    }

    /// Whether a simulated user is asked for. Refuses what contradicts itself, and options that would do nothing.
    fn simulates(&self) -> anyhow::Result<bool> {
        let simulates = self.prompts.contains(&Asked::Simulated);
        if simulates && self.prompts.len() > 1 {
            bail!("`--prompts simulated` stands alone: its numbers are a curve, not a row");
        }
        let twice = |(place, asked)| self.prompts[..place].contains(asked);
        if self.prompts.iter().enumerate().any(twice) {
            bail!("the same `--prompts` is given twice: their rows could not be told apart");
        }
        let files = self.prompts.iter().filter(|asked| matches!(asked, Asked::File(_))).count();
        if files > 1 {
            bail!("two files of prompts: the rows of both would be called `person`; give one");
        }
        let of_user = [
            ("--rounds", self.rounds.is_some()),
            ("--start", self.start.is_some()),
            ("--mask-input", self.mask_input.is_some()),
            ("--mask-choice", self.mask_choice.is_some()),
        ];
        if let Some((option, _)) = of_user.iter().find(|(_, given)| *given && !simulates) {
            bail!("`{option}` is about the simulated user: give `--prompts simulated` with it");
        }
        if self.combine.is_some() && files == 0 {
            bail!("`--combine` is about a person's prompts: give `--prompts FILE.json` with it");
        }
        Ok(simulates)
    }

    fn evaluate(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut files = Vec::new();
        for asked in &self.prompts {
            if let Asked::File(path) = asked {
                files.push(PromptFile::read(path)?);
            }
        }
        let mut read = files.iter();
        let prompts: Vec<CasePrompts<'_>> = self
            .prompts
            .iter()
            .filter_map(|asked| match asked {
                Asked::Source(source) => Some((*source).into()),
                Asked::File(_) => {
                    read.next().map(|file| CasePrompts::Person { file, combine: self.combine })
                }
                Asked::Simulated => None,
            })
            .collect();
        let mut documents = Vec::new();
        for path in &self.runs {
            let folder = RunFolder::new(path);
            let (data, protocol) = (self.data.as_deref(), self.protocol);
            let record = evaluate_run(&folder, data, &prompts, protocol, context)
                .map_err(|error| failed(error, path, "its scores"))?;
            if self.json {
                documents.push(json!({
                    "experiment": record.experiment,
                    "rows": record.rows,
                    "frozen_hash_before": record.frozen_hash_before,
                    "frozen_hash_after": record.frozen_hash_after,
                    "skipped_cases": record.skipped,
                }));
                continue;
            }
            let mut run = Run::read(folder)?;
            run.record = record;
            // Those of the run may be of other data or another protocol.
            run.cases.clear();
            for case in &run.record.skipped {
                outln!("skipped {} {} {}: {}", case.data, case.split, case.file, case.reason);
            }
            outln!("{}", ResultTable::from_runs(&[run])?.markdown());
        }
        match documents.as_slice() {
            [] => {}
            [one] => print_json(one)?,
            several => print_json(&several)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn simulate(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let rounds = NonZeroUsize::new(self.rounds.unwrap_or(ROUNDS).into());
        let simulation = Simulation {
            rounds: rounds.context("`--rounds` is 0")?,
            start: self.start,
            mask_input: self.mask_input.unwrap_or_default(),
            mask_choice: self.mask_choice.unwrap_or_default(),
        };
        let mut written = Vec::new();
        for path in &self.runs {
            let folder = RunFolder::new(path);
            let (data, protocol) = (self.data.as_deref(), self.protocol);
            let rows = simulate_run(&folder, data, protocol, simulation, context)
                .map_err(|error| failed(error, path, "its clicks"))?;
            keep(&folder, rows)?;
            written.push(folder.clicks());
        }
        let scope = Scope { data: self.data.iter().cloned().collect(), ..Scope::default() };
        let measure = Measure::default();
        let curves = ClickCurve::of(&reporting::load(&self.runs)?, &scope, measure)?;
        if self.json {
            print_json(
                &json!({ "measure": measure.name(), "curves": curves, "written": written }),
            )?;
        } else {
            outln!("{}", click_table(&curves, measure)?);
            for path in written {
                outln!("wrote {}", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What failed. `lost` is what an interruption costs: rows are written when a run is through, and only those of clicks.
fn failed(error: RunError, run: &Path, lost: &str) -> anyhow::Error {
    if matches!(error, RunError::Interrupted) {
        let run = run.display();
        tracing::warn!(
            "{run}: {lost} are not kept, but its encoded images are; the same command begins with the first run again"
        );
    }
    anyhow::Error::new(error).context(format!("cannot evaluate {}", run.display()))
}
