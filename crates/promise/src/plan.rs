//! From an experiment file to the runs that it means: overrides, variants, seeds.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use prompting::Learning;
use run_record::Outline;
use sam_backbone::Variant;
use sha2::{Digest, Sha256};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use crate::{
    backbone,
    claim::{self, ClaimProblem, ClaimSpec},
    grid::{self, GridPoint},
    model::BuildError,
    place::{Place, place_of},
    registry::{self, PromptEntry},
    spec::{CheckError, ExperimentSpec, Problem, ShiftModule, is_folder_name},
};

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
    /// Unknown key, missing key, wrong type, or no TOML at all; with line, column and the accepted
    /// keys.
    #[error("not a valid experiment: {origin}")]
    Parse {
        /// The file, and what was set on top of it.
        origin: String,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Values that do not make sense together.
    #[error("not a valid experiment: {origin}")]
    Check {
        /// The file, and what was set on top of it.
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
    /// What a variant or the grid sets cannot be set.
    #[error("{change}; in {}", path.display())]
    Change {
        /// What, by whom, and why not.
        change: Box<RefusedChange>,
        /// The file.
        path: PathBuf,
    },
    /// A variant's name is used twice or is no folder name.
    #[error("variant `{name}`: {reason}; in {}", path.display())]
    Variant {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// A key that a variant or the grid cannot set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedChange {
    /// Where it is written.
    pub place: Option<Place>,
    /// Who sets it: a variant by name, or the grid.
    pub by: String,
    /// Dotted key.
    pub key: String,
    /// What is wrong, and what is accepted.
    pub reason: String,
}

impl fmt::Display for RefusedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, by, key, reason } = self;
        if let Some(place) = place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{by} sets `{key}`: {reason}")
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
}

impl RunPlan {
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
        let text = std::fs::read_to_string(path)
            .map_err(|source| SpecError::Read { path: path.into(), source })?;
        // The file by itself first: its errors then have the lines that the user sees. What only
        // the settings can mend (a missing weights file) is checked after they are applied.
        let base: ExperimentSpec = parse(&text, &path.display().to_string())?;
        if let Ok(module) = registry::find(&base.prompt.module) {
            (module.check_options)(&text, &path.display().to_string())?;
        }
        check_variant_names(path, &base)?;
        let methods = Method::all(path, &text, &base, settings)?;
        for (place, method) in methods.iter().enumerate() {
            if methods[..place].iter().any(|other| other.name == method.name) {
                let (name, reason) = (method.name.clone(), "the name is used twice");
                return Err(SpecError::Variant { name, reason, path: path.into() });
            }
            method.check()?;
        }
        check_claims(path, &text, &base, settings, &methods)?;
        let runs: Vec<RunPlan> = methods.into_iter().flat_map(Method::runs).collect();
        // A setting may have renamed it.
        let name = runs.first().map_or(base.name, |run| run.spec.name.clone());
        Ok(Self { name, text, claims: base.claims, methods: claim::methods(&runs), runs })
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

/// One method with all its seeds.
pub(crate) struct Method {
    /// See [`RunPlan::method`].
    pub(crate) name: String,
    /// Everything resolved.
    pub(crate) spec: ExperimentSpec,
    /// See [`RunPlan::text`].
    text: String,
    /// See [`RunPlan::origin`].
    origin: String,
    /// What is set on top of the file.
    changes: Vec<Change>,
    /// Keys that the command line sets.
    settings: Vec<String>,
    /// The file, and what the user wrote in it.
    written: (PathBuf, String),
}

/// A key that a variant or the grid sets on top of the file.
#[derive(Debug, Clone)]
struct Change {
    /// Dotted key.
    key: String,
    value: Item,
    /// Who: `variant `a`` or `the grid`.
    by: String,
    /// Where in the file.
    place: Option<Place>,
}

impl Change {
    /// Whether it sets `key`, a table around it or something inside it.
    fn touches(&self, key: &str) -> bool {
        touches(&self.key, key)
    }

    fn refused(&self, reason: &str, path: &Path) -> SpecError {
        let change = RefusedChange {
            place: self.place,
            by: self.by.clone(),
            key: self.key.clone(),
            reason: reason.trim_end().to_owned(),
        };
        SpecError::Change { change: Box::new(change), path: path.to_owned() }
    }
}

impl Method {
    /// The methods of a file, in its order, with settings applied but not checked.
    fn all(
        path: &Path,
        text: &str,
        base: &ExperimentSpec,
        settings: &[String],
    ) -> Result<Vec<Self>, SpecError> {
        let document: DocumentMut = document(text)?;
        let points = grid_points(path, text, &document)?;
        let resolve =
            |name: &str, changes: Vec<Change>| Self::resolve(path, text, name, changes, settings);
        let set_by_grid = |point: &GridPoint| -> Vec<Change> {
            let change = |setting: &grid::GridSetting| Change {
                key: setting.key.clone(),
                value: Item::Value(setting.value.clone()),
                by: "the grid".into(),
                place: place_of(text, &["grid", &setting.written]),
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
            let changes = set_by_variant(text, &document, place, &variant.name);
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
        path: &Path,
        text: &str,
        name: &str,
        changes: Vec<Change>,
        settings: &[String],
    ) -> Result<Self, SpecError> {
        let mut origin = path.display().to_string();
        let mut document = document(text)?;
        // Claims are no settings: a run is the same whatever it is meant to show.
        let beside = ["variant", "grid", "claim"].map(|key| document.remove(key));
        let changed = beside.iter().any(Option::is_some) || !settings.is_empty();
        if !changes.is_empty() {
            origin = format!("{origin} with `{name}` applied");
        }
        for change in &changes {
            set_key(document.as_table_mut(), &change.key, change.value.clone())
                .map_err(|reason| change.refused(&reason, path))?;
        }
        let mut keys = Vec::new();
        for setting in settings {
            let failed = |reason: String| SpecError::Setting { setting: setting.clone(), reason };
            let (key, value) =
                setting.split_once('=').ok_or_else(|| failed("expected key=value".into()))?;
            // `--set backbone.weights=FILE` shall not need quotes.
            let value: Value = value.parse().unwrap_or_else(|_| value.into());
            set_key(document.as_table_mut(), key.trim(), Item::Value(value)).map_err(failed)?;
            origin = format!("{origin}, --set {setting}");
            keys.push(key.trim().to_owned());
        }
        // Without a change the user's own text keeps the user's own lines in later messages.
        let resolved = if changed { document.to_string() } else { text.to_owned() };
        let spec = parse(&resolved, &origin)
            .map_err(|error| first_wrong_change(text, &changes, path).unwrap_or(error))?;
        Ok(Self {
            name: name.to_owned(),
            spec,
            text: resolved,
            origin,
            changes,
            settings: keys,
            written: (path.to_owned(), text.to_owned()),
        })
    }

    /// Checks what types cannot check, the options of the prompt module and of the shift too.
    fn check(&self) -> Result<(), SpecError> {
        let mut problems = self.spec.check().err().map_or_else(Vec::new, |error| error.problems);
        let module = registry::find(&self.spec.prompt.module);
        if let Err(error) = &module {
            problems.push(Problem {
                key: "prompt.module".into(),
                reason: error.to_string(),
                line: None,
            });
        }
        if let (Ok(module), true) = (&module, problems.is_empty()) {
            if let Err(error) = (module.check_options)(&self.text, &self.origin) {
                return Err(self.blame_options(error));
            }
            problems.extend(self.option_problems(module));
        }
        if problems.is_empty() {
            return Ok(());
        }
        for problem in &mut problems {
            self.locate(problem);
        }
        Err(SpecError::Check { origin: self.origin.clone(), source: CheckError { problems } })
    }

    /// What the parts say about their options beside this backbone. Nothing large is built for it.
    fn option_problems(&self, module: &PromptEntry) -> Vec<Problem> {
        let Ok(variant) = self.spec.backbone.variant.parse::<Variant>() else { return Vec::new() };
        let sam = variant.config();
        let problem = |key: String, reason: String| Problem { key, reason, line: None };
        let mut problems = Vec::new();
        if let Err(BuildError::Option(error)) = (module.taps)(&self.plan(0), &backbone::info(&sam))
        {
            problems.push(problem(format!("prompt.options.{}", error.option), error.reason));
        }
        if let Some(shift) = self.spec.shift.ips()
            && let Err(error) = shift.config(sam.image_encoder.embed_dim, sam.n_mask_tokens())
        {
            problems.push(problem(format!("shift.options.{}", error.option), error.reason));
        }
        problems
    }

    /// Finds the line of a problem in the file that the user wrote, and who set it.
    fn locate(&self, problem: &mut Problem) {
        if self.settings.iter().any(|key| touches(key, &problem.key)) {
            return;
        }
        let change = self.changes.iter().rev().find(|change| change.touches(&problem.key));
        problem.line = match change {
            Some(change) => {
                problem.reason = format!("{} (set by {})", problem.reason, change.by);
                change.place.map(|place| place.line)
            }
            None => line_of(&self.written.1, &problem.key),
        };
    }

    /// The error of the prompt module's options, with the place of what is to blame for it.
    fn blame_options(&self, error: SpecError) -> SpecError {
        let SpecError::Parse { source, .. } = &error else { return error };
        if self.settings.iter().any(|key| touches(key, "prompt")) {
            return error;
        }
        let change = self.changes.iter().rev().find(|change| change.touches("prompt"));
        match change {
            Some(change) => change.refused(source.message(), &self.written.0),
            None => error,
        }
    }

    fn plan(&self, seed: u64) -> RunPlan {
        RunPlan {
            method: self.name.clone(),
            seed,
            spec: self.spec.clone(),
            text: self.text.clone(),
            origin: self.origin.clone(),
        }
    }

    /// A run for each seed.
    fn runs(self) -> Vec<RunPlan> {
        self.spec.seeds.iter().map(|seed| self.plan(*seed)).collect()
    }
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

/// The points of the file's grid.
fn grid_points(
    path: &Path,
    text: &str,
    document: &DocumentMut,
) -> Result<Vec<GridPoint>, SpecError> {
    let Some(table) = document.get("grid").and_then(Item::as_table_like) else {
        return Ok(Vec::new());
    };
    let refused = |problems| {
        let origin = path.display().to_string();
        Err(SpecError::Check { origin, source: CheckError { problems } })
    };
    let line = |key: &str| place_of(text, &["grid", key]).map(|place| place.line);
    let points = match grid::points(table) {
        Ok(points) => points,
        Err(problems) => {
            let problem = |problem: grid::GridProblem| Problem {
                line: line(&problem.key),
                key: format!("grid.{}", problem.key),
                reason: problem.reason,
            };
            return refused(problems.into_iter().map(problem).collect());
        }
    };
    let variants = document.get("variant").and_then(Item::as_array_of_tables);
    let outside = |variant: &Table| variant.get("grid").and_then(Item::as_bool) == Some(false);
    if !points.is_empty() && variants.is_some_and(|variants| variants.iter().all(outside)) {
        let reason = "every variant has `grid = false`, so nothing uses it".into();
        return refused(vec![Problem { key: "grid".into(), reason, line: line("") }]);
    }
    Ok(points)
}

/// What the variant at a place of the file sets.
fn set_by_variant(text: &str, document: &DocumentMut, place: usize, name: &str) -> Vec<Change> {
    let set = document
        .get("variant")
        .and_then(|variants| variants.get(place))
        .and_then(|variant| variant.get("set"))
        .and_then(Item::as_table_like);
    let index = place.to_string();
    let change = |(key, value): (&str, &Item)| Change {
        key: key.to_owned(),
        value: value.clone(),
        by: format!("variant `{name}`"),
        place: place_of(text, &["variant", &index, "set", key]),
    };
    set.into_iter().flat_map(TableLike::iter).map(change).collect()
}

/// The first change after which the file is no experiment any more, as an error; nothing if it is not a change
/// that does it.
fn first_wrong_change(text: &str, changes: &[Change], path: &Path) -> Option<SpecError> {
    let mut document = document(text).ok()?;
    for change in changes {
        set_key(document.as_table_mut(), &change.key, change.value.clone()).ok()?;
        if let Err(error) = toml::from_str::<ExperimentSpec>(&document.to_string()) {
            return Some(change.refused(error.message(), path));
        }
    }
    None
}

/// Variants become folders, so each needs a name of its own that can be one.
fn check_variant_names(path: &Path, base: &ExperimentSpec) -> Result<(), SpecError> {
    for (index, variant) in base.variants.iter().enumerate() {
        let refuse =
            |reason| SpecError::Variant { name: variant.name.clone(), reason, path: path.into() };
        if !is_folder_name(&variant.name) {
            return Err(refuse("no folder name; use letters, digits, `-`, `_`, `+`, `.`"));
        }
        if base.variants[..index].iter().any(|other| other.name == variant.name) {
            return Err(refuse("the name is used twice"));
        }
    }
    Ok(())
}

/// Refuses claims that the file itself gets wrong, and warns of those that are about something that a
/// setting took away.
fn check_claims(
    path: &Path,
    text: &str,
    base: &ExperimentSpec,
    settings: &[String],
    methods: &[Method],
) -> Result<(), SpecError> {
    let as_set = claim::problems(&base.claims, methods);
    if as_set.is_empty() {
        return Ok(());
    }
    let as_written = match settings {
        [] => as_set.clone(),
        _ => claim::problems(&base.claims, &Method::all(path, text, base, &[])?),
    };
    let stands_in = |problems: &[ClaimProblem], problem: &ClaimProblem| {
        problems.iter().any(|other| (other.claim, other.key) == (problem.claim, problem.key))
    };
    let problems: Vec<Problem> = as_written
        .iter()
        // As with weights: what the settings mend is right.
        .filter(|problem| stands_in(&as_set, problem))
        .map(|ClaimProblem { claim, key, reason }| Problem {
            key: "claim".into(),
            reason: format!("`{key}` of `{}`: {reason}", base.claims[*claim].name),
            line: line_of(text, &format!("claim.{claim}.{key}")),
        })
        .collect();
    if !problems.is_empty() {
        let origin = path.display().to_string();
        return Err(SpecError::Check { origin, source: CheckError { problems } });
    }
    for ClaimProblem { claim, key, reason } in &as_set {
        tracing::warn!(
            "with --set {} the claim `{}` is not run: `{key}`: {reason}",
            settings.join(", --set "),
            base.claims[*claim].name
        );
    }
    Ok(())
}

/// Parses a text, generic over the type of the prompt module's options.
pub(crate) fn parse<O>(text: &str, origin: &str) -> Result<ExperimentSpec<O>, SpecError>
where
    ExperimentSpec<O>: serde::de::DeserializeOwned,
{
    toml::from_str(text)
        .map_err(|source| SpecError::Parse { origin: origin.to_owned(), source: Box::new(source) })
}

/// The 1-based line on which a dotted key stands, or the nearest table above it that is written out.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let path: Vec<&str> = key.split('.').collect();
    place_of(text, &path).map(|place| place.line)
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
