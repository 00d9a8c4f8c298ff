//! From an experiment file to the runs that it means: overrides, variants, seeds.

use std::path::{Path, PathBuf};

use run_record::Outline;
use sha2::{Digest, Sha256};
use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value};

use crate::{
    claim::{self, ClaimProblem, ClaimSpec},
    hex::hex,
    no_prompt::NO_PROMPT,
    registry,
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

/// An experiment: the file's bytes and the runs it means.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Name, and folder below `runs/`.
    pub name: String,
    /// The file, as the user wrote it.
    pub text: String,
    /// What the runs are meant to show, in the order of the file.
    pub claims: Vec<ClaimSpec>,
    /// Every variant with every seed, variants outermost, in the order of the file.
    pub runs: Vec<RunPlan>,
}

/// One run: one variant, one seed.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Name of the variant, or of the experiment if it has none.
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
    /// SHA-256 of the settings: file, variant and `--set` together.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }

    /// Whether there is anything to train.
    pub fn trains(&self) -> bool {
        self.spec.prompt.module != NO_PROMPT || self.spec.shift.module != ShiftModule::None
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
        for method in &methods {
            method.check()?;
        }
        check_claims(path, &text, &base, settings, &methods)?;
        let runs: Vec<RunPlan> = methods.into_iter().flat_map(Method::runs).collect();
        // A setting may have renamed it.
        let name = runs.first().map_or(base.name, |run| run.spec.name.clone());
        Ok(Self { name, text, claims: base.claims, runs })
    }

    /// What is kept beside the run folders.
    pub fn outline(&self) -> Outline {
        let claims = self.claims.iter().map(ClaimSpec::claim).collect();
        Outline::new(claim::methods(&self.runs), claims)
    }
}

/// One variant, or the file itself if it has none, with all its seeds.
pub(crate) struct Method {
    /// Name of the variant, or of the experiment.
    pub(crate) name: String,
    /// Everything resolved.
    pub(crate) spec: ExperimentSpec,
    /// See [`RunPlan::text`].
    text: String,
    /// See [`RunPlan::origin`].
    origin: String,
}

impl Method {
    /// The methods of a file, in its order, with settings applied but not checked.
    fn all(
        path: &Path,
        text: &str,
        base: &ExperimentSpec,
        settings: &[String],
    ) -> Result<Vec<Self>, SpecError> {
        if base.variants.is_empty() {
            return Ok(vec![Self::resolve(path, text, &base.name, None, settings)?]);
        }
        let variants = base.variants.iter().enumerate();
        variants
            .map(|(place, variant)| Self::resolve(path, text, &variant.name, Some(place), settings))
            .collect()
    }

    /// Applies a variant (by its place in the file) and settings.
    fn resolve(
        path: &Path,
        text: &str,
        name: &str,
        variant: Option<usize>,
        settings: &[String],
    ) -> Result<Self, SpecError> {
        let mut origin = path.display().to_string();
        let mut document: DocumentMut = text.parse().map_err(|_| SpecError::Setting {
            setting: String::new(),
            reason: "the file is no TOML".into(),
        })?;
        let variants = document.remove("variant");
        // Claims are no settings: a run is the same whatever it is meant to show.
        let claims = document.remove("claim");
        let mut changed = variants.is_some() || claims.is_some();
        if let Some(index) = variant {
            let set = variants
                .as_ref()
                .and_then(|item| item.get(index))
                .and_then(|variant| variant.get("set"))
                .and_then(Item::as_table_like);
            for (key, value) in set.into_iter().flat_map(TableLike::iter) {
                let failed = |reason| SpecError::Setting { setting: key.to_owned(), reason };
                set_key(document.as_table_mut(), key, value.clone()).map_err(failed)?;
                changed = true;
            }
            origin = format!("{origin} with variant `{name}` applied");
        }
        for setting in settings {
            let failed = |reason: String| SpecError::Setting { setting: setting.clone(), reason };
            let (key, value) =
                setting.split_once('=').ok_or_else(|| failed("expected key=value".into()))?;
            // `--set backbone.weights=FILE` shall not need quotes.
            let value: Value = value.parse().unwrap_or_else(|_| value.into());
            set_key(document.as_table_mut(), key.trim(), Item::Value(value)).map_err(failed)?;
            origin = format!("{origin}, --set {setting}");
            changed = true;
        }
        // Without a change the user's own text keeps the user's own lines in later messages.
        let text = if changed { document.to_string() } else { text.to_owned() };
        let spec = parse(&text, &origin)?;
        Ok(Self { name: name.to_owned(), spec, text, origin })
    }

    /// Checks what types cannot check, the options of the prompt module too.
    fn check(&self) -> Result<(), SpecError> {
        let mut problems = self.spec.check().err().map_or_else(Vec::new, |error| error.problems);
        let module = registry::find(&self.spec.prompt.module);
        if let Err(error) = &module {
            let (key, reason) = ("prompt.module", error.to_string());
            problems.push(Problem { key, reason, line: None });
        }
        match module {
            Ok(module) if problems.is_empty() => (module.check_options)(&self.text, &self.origin),
            _ => {
                for problem in &mut problems {
                    problem.line = line_of(&self.text, problem.key);
                }
                let origin = self.origin.clone();
                Err(SpecError::Check { origin, source: CheckError { problems } })
            }
        }
    }

    /// A run for each seed.
    fn runs(self) -> Vec<RunPlan> {
        let Self { name, spec, text, origin } = self;
        let seeds = spec.seeds.clone();
        let run = |seed| RunPlan {
            method: name.clone(),
            seed,
            spec: spec.clone(),
            text: text.clone(),
            origin: origin.clone(),
        };
        seeds.into_iter().map(run).collect()
    }
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
            key: "claim",
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
/// A number is a place in an array of tables.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let mut item = document.as_item();
    let mut span = None;
    for part in key.split('.') {
        let element = part.parse::<usize>().ok().and_then(|place| item.get(place));
        let named = item.as_table_like().and_then(|table| table.get_key_value(part));
        (item, span) = match (named, element) {
            (Some((name, value)), _) => (value, name.span().or(value.span()).or(span)),
            (None, Some(value)) => (value, value.span().or(span)),
            (None, None) => break,
        };
    }
    let before = text.get(..span?.start)?;
    Some(before.matches('\n').count() + 1)
}

/// Sets a dotted key, making tables on the way. A table replaces what was there as a whole.
fn set_key(root: &mut Table, key: &str, value: Item) -> Result<(), String> {
    let mut parts: Vec<&str> = key.split('.').map(str::trim).collect();
    if matches!(parts.first(), Some(&("variant" | "claim"))) {
        return Err("variants and claims stand in the file and cannot be set".into());
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
