//! From an experiment file to the runs that it means: overrides, variants, seeds.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bounded_read::MAX_TOML_BYTES;
use data_loaders::Catalog;
use prompting::Learning;
use run_record::Outline;
use sam_backbone::Variant;
use sha2::{Digest, Sha256};
use toml_diagnostics::{Place, place_of, remove_key};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::{
    backbone,
    claim::{self, ClaimProblem, ClaimSpec},
    grid::{self, GridPoint},
    model::BuildError,
    no_prompt::NO_PROMPT,
    prompt_source::PromptSource,
    registry::{self, PromptEntry},
    schema::{self, Finding},
    sense,
    spec::{ExperimentSpec, FOLDER_NAMES, ShiftModule, VariantSpec, is_folder_name},
};

/// The most methods of a file, variants times points of the grid: each is a text of its own that is parsed and
/// checked before the first run, and a line in a table.
pub const MAX_METHODS: usize = 1_000;

/// The most runs of a file, methods times seeds.
pub const MAX_RUNS: usize = 10_000;

/// Why an experiment file cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No TOML at all; with line and column.
    #[error("not a valid experiment: {origin}")]
    Parse {
        /// The file, and what was set on top of it.
        origin: String,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Keys and values that cannot be used.
    #[error("not a valid experiment: {origin}")]
    Check {
        /// The file.
        origin: String,
        /// Every problem.
        source: CheckError,
    },
    /// A `--set` that is not `key=value`, or whose key cannot be set.
    #[error("`--set {setting}`: {reason}")]
    Setting {
        /// As given.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is wrong with an experiment, all of it at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", in_lines(problems))]
pub struct CheckError {
    /// Every problem found, in the order of the file.
    pub problems: Vec<Problem>,
}

fn in_lines(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        several => {
            let lines: String = several.iter().map(|problem| format!("\n    {problem}")).collect();
            format!("{} problems{lines}", several.len())
        }
    }
}

/// One key or value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written, or the nearest table above it; nothing if the file does not have it.
    pub place: Option<Place>,
    /// Dotted key.
    pub key: String,
    /// What is wrong, and what is accepted.
    pub reason: String,
    /// What sets it if that is not the base of the file: a variant, the grid, `--set`.
    pub set_by: Option<String>,
    /// The methods that have it; none if all do.
    pub methods: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, reason, set_by, methods } = self;
        if let Some(place) = place {
            write!(f, "{place}, ")?;
        }
        write!(f, "`{key}`: {reason}")?;
        if let Some(by) = set_by {
            write!(f, " (set by {by})")?;
        }
        match methods.as_slice() {
            [] => Ok(()),
            [one] => write!(f, " (in `{one}`)"),
            [one, two] => write!(f, " (in `{one}`, `{two}`)"),
            [one, .., last] => write!(f, " (in `{one}` to `{last}`, {} methods)", methods.len()),
        }
    }
}

/// An experiment: the file's bytes and the runs it means.
///
/// A method is a variant, or the file itself if it has none, at one point of the grid, if there is one. A variant
/// `apm` and a grid `"prompt.options.points" = [2, 4]` are the methods `apm+points-2` and `apm+points-4`; without
/// variants they are `points-2` and `points-4`. A variant with `grid = false` is one method, `apm`.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Name, and folder below `runs/`.
    pub name: String,
    /// The file, as the user wrote it.
    pub text: String,
    /// What the runs are meant to show, in the order of the file.
    pub claims: Vec<ClaimSpec>,
    /// Every method of the file by name, in its order.
    pub methods: Vec<String>,
    /// Every method with every seed, in the order of the file: variants outermost, then the grid, then seeds.
    pub runs: Vec<RunPlan>,
}

/// One run: one variant, one seed.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Name of the variant and of the point of the grid, or of the experiment if it has neither.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// Everything resolved.
    pub spec: ExperimentSpec,
    /// The TOML text that `spec` was parsed from: file, variant and settings together. A prompt
    /// module parses its options from it.
    pub text: String,
    /// Where `text` comes from, for messages.
    pub origin: String,
    /// Where each of its keys is written.
    pub(crate) set: Origins,
}

/// Where the keys of a method are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    /// The file as the user wrote it.
    text: Arc<str>,
    changes: Arc<[Change]>,
    /// Keys that the command line sets, with the whole `key=value`.
    settings: Arc<[(String, String)]>,
}

impl Origins {
    /// What sets a key on top of the file's base: the last change, or a setting.
    fn of(&self, key: &str) -> (Option<&Change>, Option<&str>) {
        let setting = self.settings.iter().rev().find(|(set, _)| touches(set, key));
        let change = self.changes.iter().rev().find(|change| touches(&change.key, key));
        (change, setting.map(|(_, setting)| setting.as_str()))
    }

    /// A problem with a key.
    fn problem(&self, finding: &Finding) -> Problem {
        let (change, setting) = self.of(&finding.key());
        located(&self.text, finding, change, setting)
    }
}

impl RunPlan {
    /// A problem of this run alone with a key, where it is written.
    pub(crate) fn problem(&self, key: &str, reason: impl Into<String>) -> Problem {
        self.set.problem(&Finding::at(key, reason))
    }

    /// Whether a key is written, or left to its default.
    pub(crate) fn is_written(&self, key: &str) -> bool {
        let Ok(document) = self.text.parse::<DocumentMut>() else { return false };
        let mut item = Some(document.as_item());
        for part in key.split('.') {
            item = item.and_then(|item| item.as_table_like()?.get(part));
        }
        item.is_some()
    }

    /// The name of its folder: `<method>-seed<seed>`.
    pub fn name(&self) -> String {
        format!("{}-seed{}", self.method, self.seed)
    }

    /// SHA-256 of the settings: file, variant and `--set` together.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.text.as_bytes()))
    }

    /// How the prompt module learns.
    pub fn learning(&self) -> Learning {
        // Both were found out when the file was read.
        let module = registry::find(&self.spec.prompt.module).ok();
        module.and_then(|module| (module.learning)(self).ok()).unwrap_or(Learning::Fixed)
    }

    /// Whether anything is trained step by step.
    pub fn trains(&self) -> bool {
        self.learning() == Learning::Gradient || self.spec.shift.module != ShiftModule::None
    }

    /// Training images that the prompt module is fitted to, nothing if it is not.
    pub fn fitted_to(&self) -> Option<usize> {
        match self.learning() {
            Learning::Fitted { images } => Some(images),
            Learning::Gradient | Learning::Fixed => None,
        }
    }

    /// Whether training images are needed at all.
    pub fn learns(&self) -> bool {
        self.trains() || self.fitted_to().is_some()
    }
}

impl Experiment {
    /// Reads an experiment file and plans its runs.
    ///
    /// `settings` are `key=value` pairs with dotted keys and TOML values (a bare word is a string);
    /// they are applied last, after the variants.
    ///
    /// A claim about results that the file has and a setting takes away stays, with a warning: it is
    /// `not run` with these settings, but not wrong.
    ///
    /// # Errors
    ///
    /// See [`SpecError`].
    pub fn load(path: &Path, settings: &[String]) -> Result<Self, SpecError> {
        let text = bounded_read::read_to_string(path, MAX_TOML_BYTES)
            .map_err(|source| SpecError::Read { path: path.into(), source })?;
        let failed = |source| SpecError::Parse { origin: path.display().to_string(), source };
        let (text, too_long) = schema::within_64_bits(text);
        // The file by itself first. What the settings can mend (a missing weights file) is judged after they are
        // applied, but a name that is no key stays none.
        let base = schema::read::<ExperimentSpec>(&text).map_err(failed)?;
        let mut problems = Problems::of(&text);
        for finding in base.findings.iter().chain(&too_long) {
            problems.bad.push(finding.key());
            problems.written(finding);
        }
        let base_spec = base.value;
        let variants = variant_findings(&base_spec);
        let named = variants.is_empty();
        problems.extend(variants);
        let document: DocumentMut = document(&base.text)?;
        let points = grid_points(&document).unwrap_or_else(|findings| {
            problems.extend(findings);
            Vec::new()
        });
        let n_methods = base_spec.variants.len().max(1).saturating_mul(points.len().max(1));
        let too_many = beyond("variant", "methods", n_methods, MAX_METHODS);
        if too_many.is_some() {
            // Not even to be checked one by one.
            problems.extend(too_many);
            return Err(problems.into_error(path, n_methods));
        }
        let methods = Method::all(&text, &document, &base_spec, points.clone(), settings)?;
        let catalog = Catalog::built_in();
        for (place, method) in methods.iter().enumerate() {
            if named && methods[..place].iter().any(|other| other.name == method.name) {
                let reason = format!("two methods are named `{}`", method.name);
                problems.written(&Finding::at("variant", reason));
            } else if named && method.name != base_spec.name && !is_folder_name(&method.name) {
                let reason = format!("`{}` is no folder name; {FOLDER_NAMES}", method.name);
                problems.written(&Finding::at("variant", reason));
            }
            for (finding, change) in &method.refused {
                problems.add(finding, Some(change), None, Some(&method.name));
            }
            for finding in method.findings(&catalog, &problems.bad) {
                let (change, setting) = method.set.of(&finding.key());
                problems.add(&finding, change, setting, Some(&method.name));
            }
        }
        if problems.is_empty() {
            problems.extend(unused_prompts(&base_spec, settings, &methods));
            let as_written = match settings {
                [] => None,
                _ => Some(Method::all(&text, &document, &base_spec, points, &[])?),
            };
            let claims = claim_findings(&base_spec, settings, &methods, as_written.as_deref());
            problems.extend(claims);
        }
        let n_runs = methods.iter().map(|method| method.spec.seeds.len()).sum();
        problems.extend(beyond("seeds", "runs", n_runs, MAX_RUNS));
        problems.into_result(path, methods.len())?;
        let runs: Vec<RunPlan> = methods.into_iter().flat_map(|method| method.runs(path)).collect();
        // A setting may have renamed it.
        let name = runs.first().map_or(base_spec.name, |run| run.spec.name.clone());
        Ok(Self { name, text, claims: base_spec.claims, methods: claim::methods(&runs), runs })
    }

    /// What is kept beside the run folders.
    pub fn outline(&self) -> Outline {
        let claims = self.claims.iter().map(ClaimSpec::claim).collect();
        Outline::new(self.methods.clone(), claims)
    }

    /// The same experiment with one of its runs, by the name of its folder; nothing if it has no such run.
    pub fn only(&self, run: &str) -> Option<Self> {
        let runs: Vec<RunPlan> =
            self.runs.iter().filter(|plan| plan.name() == run).cloned().collect();
        (!runs.is_empty()).then(|| Self { runs, ..self.clone() })
    }
}

/// A finding with its place in the text that the user wrote.
fn located(
    text: &str,
    finding: &Finding,
    change: Option<&Change>,
    setting: Option<&str>,
) -> Problem {
    let (place, set_by) = match (change, setting) {
        (_, Some(setting)) => (None, Some(format!("--set {setting}"))),
        (Some(change), None) => (change.place_of(text, &finding.path), Some(change.by.clone())),
        (None, None) => {
            let path: Vec<&str> = finding.path.iter().map(String::as_str).collect();
            (place_of(text, &path), None)
        }
    };
    let mut reason = finding.reason.clone();
    if let (Some(setting), true) = (setting, reason.ends_with("in quotes")) {
        // What looks like a number is one: `3_12` is 312.
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        reason = format!("{reason}: --set '{key}=\"{value}\"'");
    }
    // Which one of a list is a matter of the place.
    let is_name = |part: &&String| part.parse::<usize>().is_err();
    let key = finding.path.iter().filter(is_name).cloned().collect::<Vec<_>>().join(".");
    Problem { place, key, reason, set_by, methods: Vec::new() }
}

/// What was found wrong, with places in the text that the user wrote.
struct Problems<'a> {
    text: &'a str,
    /// Keys that the parser refused: what stands there now stands in for them.
    bad: Vec<String>,
    /// With the methods that have it, for problems of methods.
    found: Vec<(Problem, Option<Vec<String>>)>,
}

impl<'a> Problems<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, bad: Vec::new(), found: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            self.written(&finding);
        }
    }

    /// Something that stands in the file as it is.
    fn written(&mut self, finding: &Finding) {
        self.add(finding, None, None, None);
    }

    fn add(
        &mut self,
        finding: &Finding,
        change: Option<&Change>,
        setting: Option<&str>,
        method: Option<&str>,
    ) {
        let problem = located(self.text, finding, change, setting);
        match self.found.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, Some(methods))) => methods.extend(method.map(str::to_owned)),
            Some((_, None)) => {}
            None => self.found.push((problem, method.map(|method| vec![method.to_owned()]))),
        }
    }

    /// Nothing, if nothing was found.
    fn into_result(self, path: &Path, methods: usize) -> Result<(), SpecError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(self.into_error(path, methods)),
        }
    }

    /// All that was found.
    fn into_error(self, path: &Path, methods: usize) -> SpecError {
        let mut problems: Vec<Problem> = self
            .found
            .into_iter()
            .map(|(problem, names)| {
                let some = names.filter(|names| names.len() < methods);
                // A variant that sets it is named already.
                let by_variant =
                    problem.set_by.as_ref().is_some_and(|by| by.starts_with("variant "));
                let some = some.filter(|_| !by_variant);
                Problem { methods: some.unwrap_or_default(), ..problem }
            })
            .collect();
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        SpecError::Check { origin: path.display().to_string(), source: CheckError { problems } }
    }
}

/// One method with all its seeds.
pub(crate) struct Method {
    /// See [`RunPlan::method`].
    pub(crate) name: String,
    /// Everything resolved.
    pub(crate) spec: ExperimentSpec,
    /// See [`RunPlan::text`].
    text: String,
    /// What is set on top of the file, and where.
    set: Origins,
    /// Changes that could not be made.
    refused: Vec<(Finding, Change)>,
    /// What the parser refused.
    schema: Vec<Finding>,
}

/// A key that a variant or the grid sets on top of the file.
#[derive(Debug, Clone)]
struct Change {
    /// Dotted key.
    key: String,
    value: Item,
    /// Who: `variant `a`` or `the grid`.
    by: String,
    /// Where it is written, from the top of the file.
    written: Vec<String>,
}

impl Change {
    /// Where something below the key that it sets is written.
    fn place_of(&self, text: &str, path: &[String]) -> Option<Place> {
        let inside = path.iter().skip(self.key.split('.').count());
        let path: Vec<&str> = self.written.iter().chain(inside).map(String::as_str).collect();
        place_of(text, &path)
    }
}

impl Method {
    /// The methods of a file, in its order, with settings applied but not checked.
    ///
    /// - `text`: as the user wrote it; `document`: the same, mended
    fn all(
        text: &str,
        document: &DocumentMut,
        base: &ExperimentSpec,
        points: Vec<GridPoint>,
        settings: &[String],
    ) -> Result<Vec<Self>, SpecError> {
        let resolve = |name: &str, changes: Vec<Change>| {
            Self::resolve(text, document, name, changes, settings)
        };
        let set_by_grid = |point: &GridPoint| -> Vec<Change> {
            let change = |setting: &grid::GridSetting| Change {
                key: setting.key.clone(),
                value: Item::Value(setting.value.clone()),
                by: "the grid".into(),
                written: vec!["grid".into(), setting.written.clone()],
            };
            point.settings.iter().map(change).collect()
        };
        if base.variants.is_empty() {
            return match points.as_slice() {
                [] => Ok(vec![resolve(&base.name, Vec::new())?]),
                points => points.iter().map(|at| resolve(&at.name, set_by_grid(at))).collect(),
            };
        }
        let mut methods = Vec::new();
        for (place, variant) in base.variants.iter().enumerate() {
            let changes = set_by_variant(document, place, &variant.name);
            if points.is_empty() || !variant.grid {
                methods.push(resolve(&variant.name, changes)?);
                continue;
            }
            for point in &points {
                let name = format!("{}+{}", variant.name, point.name);
                let all = changes.iter().cloned().chain(set_by_grid(point)).collect();
                methods.push(resolve(&name, all)?);
            }
        }
        Ok(methods)
    }

    /// Applies changes and settings to the file.
    fn resolve(
        text: &str,
        document: &DocumentMut,
        name: &str,
        changes: Vec<Change>,
        settings: &[String],
    ) -> Result<Self, SpecError> {
        let mut document = document.clone();
        // Claims are no settings: a run is the same whatever it is meant to show.
        let beside = ["variant", "grid", "claim"].map(|key| document.remove(key));
        let changed = beside.iter().any(Option::is_some) || !settings.is_empty();
        let mut refused = Vec::new();
        for change in &changes {
            if let Err(reason) = set_key(document.as_table_mut(), &change.key, change.value.clone())
            {
                refused.push((Finding::at(&change.key, reason), change.clone()));
            }
        }
        let mut keys = Vec::new();
        for setting in settings {
            let failed = |reason: String| SpecError::Setting { setting: setting.clone(), reason };
            let (key, value) =
                setting.split_once('=').ok_or_else(|| failed("expected key=value".into()))?;
            // `--set backbone.weights=FILE` shall not need quotes.
            let value: Value = value.parse().unwrap_or_else(|_| value.into());
            set_key(document.as_table_mut(), key.trim(), Item::Value(value)).map_err(failed)?;
            keys.push((key.trim().to_owned(), setting.clone()));
        }
        // Without a change the user's own text keeps the user's own lines in later messages.
        let resolved = if changed { document.to_string() } else { text.to_owned() };
        let origin = || match keys.as_slice() {
            [] => format!("`{name}`"),
            _ => format!("`{name}` with --set {}", settings.join(", --set ")),
        };
        let mended = schema::read::<ExperimentSpec>(&resolved)
            .map_err(|source| SpecError::Parse { origin: origin(), source })?;
        Ok(Self {
            name: name.to_owned(),
            spec: mended.value,
            text: mended.text,
            set: Origins { text: text.into(), changes: changes.into(), settings: keys.into() },
            refused,
            schema: mended.findings,
        })
    }

    /// Everything that is wrong with it: for the parser, for the prompt module, beside the backbone, and what makes no
    /// sense.
    ///
    /// - `bad`: keys of the file that something else stands in for
    fn findings(&self, catalog: &Catalog, bad: &[String]) -> Vec<Finding> {
        let mut findings = self.schema.clone();
        let module = registry::find(&self.spec.prompt.module).ok();
        let mut text = self.text.clone();
        if let Some(module) = module {
            match (module.check_options)(&text) {
                Ok((mended, more)) => {
                    text = mended;
                    findings.extend(more);
                }
                Err(error) => findings.push(Finding::at("prompt.options", error.message())),
            }
        }
        let bad: Vec<String> =
            bad.iter().cloned().chain(findings.iter().map(Finding::key)).collect();
        let mut judged = sense::findings(&self.spec, catalog);
        judged.extend(
            module.into_iter().flat_map(|module| self.option_findings(module, text.clone())),
        );
        let known = |finding: &Finding| {
            let key = finding.key();
            let keys = finding.with.iter().copied().chain([key.as_str()]);
            keys.into_iter().all(|key| !bad.iter().any(|bad| touches(bad, key)))
        };
        findings.extend(judged.into_iter().filter(known));
        findings
    }

    /// What the parts say about their options beside this backbone. Nothing large is built for it.
    ///
    /// A part says one thing at a time: what it refuses is left out, and it is asked again.
    fn option_findings(&self, module: &PromptEntry, mut text: String) -> Vec<Finding> {
        let Ok(variant) = self.spec.backbone.variant.parse::<Variant>() else { return Vec::new() };
        let sam = variant.config();
        let mut findings: Vec<Finding> = Vec::new();
        loop {
            let plan = RunPlan { text: text.clone(), ..self.plan(0, Path::new("")) };
            let Err(BuildError::Option(error)) = (module.taps)(&plan, &backbone::info(&sam)) else {
                break;
            };
            let finding = Finding {
                with: &["backbone.variant", "prompt.module"],
                ..Finding::at(&format!("prompt.options.{}", error.option), error.reason)
            };
            let without = remove_key(&text, &finding.path);
            findings.push(finding);
            match without {
                Some(without) => text = without,
                // A default that does not fit.
                None => break,
            }
        }
        if let Some(shift) = self.spec.shift.ips()
            && let Err(error) = shift.config(sam.image_encoder.embed_dim, sam.n_mask_tokens())
        {
            findings.push(Finding {
                with: &["backbone.variant", "shift.module"],
                ..Finding::at(&format!("shift.options.{}", error.option), error.reason)
            });
        }
        findings
    }

    fn plan(&self, seed: u64, path: &Path) -> RunPlan {
        let mut origin = path.display().to_string();
        if !self.set.changes.is_empty() {
            origin = format!("{origin} with `{}` applied", self.name);
        }
        for (_, setting) in self.set.settings.iter() {
            origin = format!("{origin}, --set {setting}");
        }
        RunPlan {
            method: self.name.clone(),
            seed,
            spec: self.spec.clone(),
            text: self.text.clone(),
            origin,
            set: self.set.clone(),
        }
    }

    /// A run for each seed, with every option written out.
    fn runs(mut self, path: &Path) -> Vec<RunPlan> {
        if let Some(text) = with_explicit_options(&mut self.spec, &self.text) {
            self.text = text;
        }
        self.spec.seeds.iter().map(|seed| self.plan(*seed, path)).collect()
    }
}

/// The text with all options of prompt module and shift written out, and the same in `spec`: a run records what it was made
/// with, and another default of a later build changes neither what `eval` computes of it nor whether it is the same run.
/// Nothing if there is nothing to write, or the text was not checked.
fn with_explicit_options(spec: &mut ExperimentSpec, text: &str) -> Option<String> {
    let module = registry::find(&spec.prompt.module).ok()?;
    let prompt = (module.explicit_options)(text).filter(|options| !options.is_empty());
    let shift = spec.shift.ips();
    let mut document: DocumentMut = text.parse().ok()?;
    let mut write = |table: &str, options: String| -> Option<()> {
        let options: DocumentMut = options.parse().ok()?;
        let options = options.as_table().clone().into_inline_table();
        let table = document.get_mut(table)?.as_table_like_mut()?;
        table.insert("options", toml_edit::value(options));
        Some(())
    };
    if let Some(options) = &prompt {
        write("prompt", toml::to_string(options).ok()?)?;
    }
    if let Some(options) = &shift {
        write("shift", toml::to_string(options).ok()?)?;
    }
    spec.prompt.options = prompt.or_else(|| spec.prompt.options.take());
    spec.shift.options = shift;
    Some(document.to_string())
}

/// Whether one dotted key is the other or a table around it.
fn touches(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    inside(one, other) || inside(other, one)
}

/// The text as something that can be changed. It was parsed before, so this does not fail.
fn document(text: &str) -> Result<DocumentMut, SpecError> {
    text.parse().map_err(|_| SpecError::Setting {
        setting: String::new(),
        reason: "the file is no TOML".into(),
    })
}

/// A file that means more than can be planned.
fn beyond(key: &str, what: &str, n: usize, limit: usize) -> Option<Finding> {
    let reason = || format!("{n} {what} are planned, at most {limit} can be");
    (n > limit).then(|| Finding::at(key, reason()))
}

/// The points of the file's grid.
fn grid_points(document: &DocumentMut) -> Result<Vec<GridPoint>, Vec<Finding>> {
    let Some(table) = document.get("grid").and_then(Item::as_table_like) else {
        return Ok(Vec::new());
    };
    let finding =
        |problem: grid::GridProblem| Finding::under(&["grid", &problem.key], problem.reason);
    let points = grid::points(table)
        .map_err(|problems| problems.into_iter().map(finding).collect::<Vec<_>>())?;
    let variants = document.get("variant").and_then(Item::as_array_of_tables);
    let outside = |variant: &Table| variant.get("grid").and_then(Item::as_bool) == Some(false);
    if !points.is_empty() && variants.is_some_and(|variants| variants.iter().all(outside)) {
        let reason = "every variant has `grid = false`, so nothing uses it";
        return Err(vec![Finding::at("grid", reason)]);
    }
    Ok(points)
}

/// What the variant at a place of the file sets.
fn set_by_variant(document: &DocumentMut, place: usize, name: &str) -> Vec<Change> {
    let set = document
        .get("variant")
        .and_then(|variants| variants.get(place))
        .and_then(|variant| variant.get("set"))
        .and_then(Item::as_table_like);
    let change = |(key, value): (&str, &Item)| Change {
        key: key.to_owned(),
        value: value.clone(),
        by: format!("variant `{name}`"),
        written: ["variant".into(), place.to_string(), "set".into(), key.to_owned()].into(),
    };
    set.into_iter().flat_map(TableLike::iter).map(change).collect()
}

/// Variants become folders, so each needs a name of its own that can be one.
fn variant_findings(base: &ExperimentSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, variant) in base.variants.iter().enumerate() {
        let name = &variant.name;
        let mut wrong = |reason: String| {
            findings.push(Finding::under(&["variant", &index.to_string(), "name"], reason));
        };
        if !is_folder_name(name) {
            wrong(format!("`{name}` is no folder name; {FOLDER_NAMES}"));
        }
        let alike = |other: &&VariantSpec| other.name.eq_ignore_ascii_case(name);
        match base.variants[..index].iter().find(alike) {
            Some(other) if other.name == *name => wrong(format!("`{name}` is used twice")),
            Some(other) => wrong(format!(
                "`{name}` and `{}` differ in case alone, and some systems have one folder for both",
                other.name
            )),
            None => {}
        }
    }
    findings
}

/// A prompt source that no method can be evaluated with, unless a setting makes it so.
fn unused_prompts(
    base: &ExperimentSpec,
    settings: &[String],
    methods: &[Method],
) -> Option<Finding> {
    let has_module = methods.iter().any(|method| method.spec.prompt.module != NO_PROMPT);
    let named = base.evaluate.prompts.contains(&PromptSource::Auto);
    let reason = "`auto` is of no use: no method has a prompt module (`prompt.module`)";
    let about_it = |setting: &String| {
        let key = setting.split('=').next().unwrap_or_default().trim();
        touches(key, "prompt.module") || touches(key, "evaluate.prompts")
    };
    (named && !has_module && !settings.iter().any(about_it))
        .then(|| Finding::at("evaluate.prompts", reason))
}

/// What is wrong with claims that the file itself gets wrong. Of those that are about something that a setting took
/// away it is only warned.
///
/// - `as_written`: the methods without settings, if there are settings
fn claim_findings(
    base: &ExperimentSpec,
    settings: &[String],
    methods: &[Method],
    as_written: Option<&[Method]>,
) -> Vec<Finding> {
    let as_set = claim::problems(&base.claims, methods);
    let as_written = match as_written {
        Some(methods) => claim::problems(&base.claims, methods),
        None => as_set.clone(),
    };
    let stands_in = |problems: &[ClaimProblem], problem: &ClaimProblem| {
        problems.iter().any(|other| (other.claim, other.key) == (problem.claim, problem.key))
    };
    let findings: Vec<Finding> = as_written
        .iter()
        // As with weights: what the settings mend is right.
        .filter(|problem| stands_in(&as_set, problem))
        .map(|ClaimProblem { claim, key, reason }| {
            let path = ["claim", &claim.to_string(), key];
            Finding::under(&path, format!("of `{}`: {reason}", base.claims[*claim].name))
        })
        .collect();
    if findings.is_empty() {
        for ClaimProblem { claim, key, reason } in &as_set {
            tracing::warn!(
                "with --set {} the claim `{}` is not run: `{key}`: {reason}",
                settings.join(", --set "),
                base.claims[*claim].name
            );
        }
    }
    findings
}

/// Parses a text, generic over the type of the prompt module's options.
pub(crate) fn parse<O>(text: &str, origin: &str) -> Result<ExperimentSpec<O>, SpecError>
where
    ExperimentSpec<O>: serde::de::DeserializeOwned,
{
    toml::from_str(text)
        .map_err(|source| SpecError::Parse { origin: origin.to_owned(), source: Box::new(source) })
}

/// Sets a dotted key, making tables on the way. A table replaces what was there as a whole.
fn set_key(root: &mut Table, key: &str, value: Item) -> Result<(), String> {
    let mut parts: Vec<&str> = key.split('.').map(str::trim).collect();
    if matches!(parts.first(), Some(&("variant" | "grid" | "claim"))) {
        return Err("variants, grid and claims stand in the file and cannot be set".into());
    }
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or("the key is empty")?;
    let mut table: &mut dyn TableLike = root;
    for part in parts {
        let item = table.entry(part).or_insert_with(toml_edit::table);
        table =
            item.as_table_like_mut().ok_or_else(|| format!("`{part}` is a value, not a table"))?;
    }
    table.insert(last, value);
    Ok(())
}
