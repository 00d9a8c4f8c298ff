//! Where a table or a figure comes from, and the command that makes it again.

use std::collections::BTreeMap;
use std::path::Path;

use run_record::{RunRecordError, read_bytes};
use sha2::{Digest as _, Sha256};

use crate::Run;
use crate::load::run_folders;

/// The runs behind a table or a figure, and the command that makes it again, byte for byte.
///
/// Runs are named by experiment and folder below `runs/`, wherever they lie, so that the same runs give
/// the same bytes on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    sources: Vec<Source>,
    command: String,
}

/// One run behind a table or a figure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Experiment and folder of the run, e.g. `quickstart/apm-seed1`.
    pub id: String,
    /// SHA-256 of its `record.json`, in lower-case hexadecimal.
    pub record_sha256: String,
    /// SHA-256 of its settings.
    pub settings_sha256: String,
    /// SHA-256 of its `timing.json`, where what is made shows durations.
    pub timing_sha256: Option<String>,
    /// Revision of the source tree, with a word about changes; nothing where it is not known.
    pub revision: Option<String>,
}

impl Source {
    fn of(run: &Run) -> Self {
        let environment = run.environment.as_ref();
        let revision = environment.and_then(|environment| {
            let revision: String = environment.revision.as_ref()?.chars().take(12).collect();
            let dirty = if environment.dirty == Some(true) { " with changes" } else { "" };
            Some(format!("{revision}{dirty}"))
        });
        Self {
            id: run.id(),
            record_sha256: run.record_sha256.clone(),
            settings_sha256: run.record.experiment_sha256.clone(),
            timing_sha256: None,
            revision,
        }
    }
}

impl Provenance {
    /// The provenance of what `command` makes of these runs, e.g. `table` or `figure boxes`.
    /// `options` follow the runs on the command line: only those that differ from their defaults.
    pub(crate) fn new(runs: &[&Run], command: &str, options: &[(&str, String)]) -> Self {
        let mut sources: Vec<Source> = runs.iter().map(|run| Source::of(run)).collect();
        sources.sort();
        sources.dedup();
        let mut words = vec![format!("cargo xtask {command}")];
        words.extend(arguments(runs).iter().map(|path| quote(&format!("runs/{path}"))));
        for (name, value) in options {
            words.push((*name).to_owned());
            if !value.is_empty() {
                words.push(quote(value));
            }
        }
        Self { sources, command: words.join(" ") }
    }

    /// What a person made by hand of these runs with `command`, the whole of it: it cannot be made again by it alone.
    pub(crate) fn by_hand(runs: &[&Run], command: String) -> Self {
        let mut sources: Vec<Source> = runs.iter().map(|run| Source::of(run)).collect();
        sources.sort();
        sources.dedup();
        Self { sources, command }
    }

    /// The same runs with one more option of the command.
    pub(crate) fn with(&self, option: &str, value: &str) -> Self {
        let command = format!("{} {option} {}", self.command, quote(value));
        Self { sources: self.sources.clone(), command }
    }

    /// The same with the durations of these runs, which are all of its runs, as sources too.
    pub(crate) fn with_timing(mut self, runs: &[&Run]) -> Result<Self, RunRecordError> {
        for source in &mut self.sources {
            if let Some(run) = runs.iter().find(|run| run.id() == source.id) {
                let bytes = read_bytes(&run.folder.timing())?;
                source.timing_sha256 = Some(hex::encode(Sha256::digest(bytes)));
            }
        }
        Ok(self)
    }

    /// The runs, sorted by name.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The command that makes it again.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// One line per run, then the command: what the metadata of figures hold.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for source in &self.sources {
            text.push_str(&format!("{}: record.json sha256 {}", source.id, source.record_sha256));
            if let Some(sha256) = &source.timing_sha256 {
                text.push_str(&format!(", timing.json sha256 {sha256}"));
            }
            text.push('\n');
        }
        text.push_str(&self.command);
        text
    }

    /// A Markdown list of the runs, and the command.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("Runs (SHA-256 of `record.json`):\n\n");
        for source in &self.sources {
            let settings: String = source.settings_sha256.chars().take(12).collect();
            text.push_str(&format!(
                "- `{}`: {}, settings {settings}",
                source.id, source.record_sha256
            ));
            if let Some(revision) = &source.revision {
                text.push_str(&format!(", revision {revision}"));
            }
            text.push('\n');
        }
        text.push_str(&format!("\nMade by `{}`.\n", self.command));
        text
    }
}

/// The runs as arguments: a whole experiment by its folder, else each run.
fn arguments(runs: &[&Run]) -> Vec<String> {
    let mut by_experiment: BTreeMap<&Path, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let folder = run.folder.root();
        by_experiment.entry(folder.parent().unwrap_or(folder)).or_default().push(run);
    }
    let mut arguments = Vec::new();
    for (folder, runs) in by_experiment {
        // Other runs in the folder would be in the table, too.
        let complete = run_folders(folder).map_or(true, |found| {
            found.iter().all(|one| runs.iter().any(|run| run.folder == *one))
        });
        match (complete, folder.file_name()) {
            (true, Some(name)) => arguments.push(name.to_string_lossy().into_owned()),
            _ => arguments.extend(runs.iter().map(|run| run.id())),
        }
    }
    arguments.sort();
    arguments.dedup();
    arguments
}

/// Keeps a shell from taking a word apart.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::load;
    use crate::testing::{record, write};

    #[test]
    fn a_whole_experiment_is_named_by_its_folder_and_a_part_of_it_by_its_runs() {
        let folder = tempfile::tempdir().unwrap();
        for seed in [1, 2] {
            write(folder.path(), &record("apm", seed));
        }
        let runs = load(&[folder.path().join("polyps")]).unwrap();
        let all: Vec<&Run> = runs.iter().collect();
        let whole = Provenance::new(&all, "table", &[("--format", "latex".into())]);
        assert_eq!(whole.command(), "cargo xtask table runs/polyps --format latex");
        let part = Provenance::new(&all[..1], "figure boxes", &[("--mix", String::new())]);
        assert_eq!(part.command(), "cargo xtask figure boxes runs/polyps/apm-seed1 --mix");
    }

    #[test]
    fn the_source_is_the_hash_of_the_file_as_it_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path(), &record("apm", 1));
        let runs = load(&[written.root()]).unwrap();
        let provenance = Provenance::new(&[&runs[0]], "table", &[]);
        let bytes = std::fs::read(written.record()).unwrap();
        let expected = hex::encode(Sha256::digest(&bytes));
        assert_eq!(provenance.sources()[0].record_sha256, expected);
        assert!(
            provenance
                .text()
                .starts_with(&format!("polyps/apm-seed1: record.json sha256 {expected}\n"))
        );
        // One byte more in the file is another source.
        let mut changed = bytes;
        changed.push(b'\n');
        std::fs::write(written.record(), changed).unwrap();
        assert_ne!(load(&[written.root()]).unwrap()[0].record_sha256, expected);
    }

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(quote("apm:auto"), "apm:auto");
        assert_eq!(quote("my runs"), "'my runs'");
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}
