//! `[launcher]`: what a job of a cluster looks like. It stands in a file of its own, so that experiments stay portable.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use bounded_read::MAX_TOML_BYTES;
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Value};

use crate::{
    problem::{self, Problem, Problems},
    script::OWN_NAMES,
};

/// What jobs ask for, and how they are handed over.
///
/// What is not set is left to the cluster's own defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Partition (queue): `--partition`.
    pub partition: Option<String>,
    /// Account that pays: `--account`.
    pub account: Option<String>,
    /// Quality of service: `--qos`.
    pub qos: Option<String>,
    /// Features that a node must have: `--constraint`.
    pub constraint: Option<String>,
    /// Time limit of a task, as Slurm writes it: minutes, `hours:minutes:seconds` or `days-hours`.
    pub time: Option<String>,
    /// Memory of a task: a number with `K`, `M`, `G` or `T`.
    pub memory: Option<String>,
    /// Processors of a task, and its threads.
    pub cpus: Option<NonZeroU32>,
    /// GPUs of a task; 0 for none.
    pub gpus: u32,
    /// Modules to load, in order.
    pub modules: Vec<String>,
    /// Commands of the shell before the program, in order; if one fails, so does the task.
    pub pre_commands: Vec<String>,
    /// Variables for the program.
    pub environment: BTreeMap<String, String>,
    /// More options of `sbatch`, each as it would stand on a line `#SBATCH`.
    pub options: Vec<String>,
    /// Tasks at a time, of all that one command hands over; nothing for as many as the cluster likes.
    pub max_tasks: Option<NonZeroU32>,
    /// Tasks of one job array; at most what the cluster takes (`MaxArraySize`).
    pub chunk: NonZeroU32,
    /// Seconds before the time limit at which a task stops, so that it can be queued again and go on. Slurm may be up to a
    /// minute early.
    pub signal_lead: u32,
    /// How often a task that was interrupted is queued again by itself.
    pub max_requeues: u32,
    /// Tasks that the images are shared out to before the runs begin; 0 to leave encoding to the runs.
    pub encode_tasks: u32,
    /// What encoding asks for instead.
    pub encode: Resources,
}

/// What one kind of task asks for instead of what the profile says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// See [`Profile::partition`].
    pub partition: Option<String>,
    /// See [`Profile::time`].
    pub time: Option<String>,
    /// See [`Profile::memory`].
    pub memory: Option<String>,
    /// See [`Profile::cpus`].
    pub cpus: Option<NonZeroU32>,
    /// See [`Profile::gpus`].
    pub gpus: Option<u32>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            constraint: None,
            time: None,
            memory: None,
            cpus: None,
            gpus: 0,
            modules: Vec::new(),
            pre_commands: Vec::new(),
            environment: BTreeMap::new(),
            options: Vec::new(),
            max_tasks: None,
            chunk: NonZeroU32::new(1000).expect("not zero"),
            signal_lead: 120,
            max_requeues: 100,
            encode_tasks: 1,
            encode: Resources::default(),
        }
    }
}

/// Keys whose values are texts.
const TEXTS: [&str; 6] = ["partition", "account", "qos", "constraint", "time", "memory"];

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    launcher: Profile,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file is not there or cannot be read.
    #[error("cannot read the profile {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Keys or values that cannot be used.
    #[error("not a valid profile: {origin}")]
    Check {
        /// The file, and what was set on top of it.
        origin: String,
        /// Every problem, in the order of the file.
        source: Problems,
    },
    /// A setting of the command line that is not `key=value`.
    #[error("`{setting}` is no setting of a profile: {reason}")]
    Setting {
        /// As given.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Profile {
    /// Reads a profile and applies settings of the command line, `key=value` with keys of `[launcher]`.
    ///
    /// - `path`: nothing for a profile that says nothing
    ///
    /// # Errors
    ///
    /// See [`ProfileError`].
    pub fn load(path: Option<&Path>, settings: &[String]) -> Result<Self, ProfileError> {
        let text = match path {
            Some(path) => bounded_read::read_to_string(path, MAX_TOML_BYTES)
                .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        let mut origin = path.map_or_else(|| "no file".into(), |path| path.display().to_string());
        if settings.is_empty() {
            return Self::parse(&text, &origin);
        }
        // The file by itself first, so that its lines are the user's own.
        Self::parse(&text, &origin)?;
        let mut document: DocumentMut = text.parse().unwrap_or_default();
        for setting in settings {
            let failed = |reason: &str| ProfileError::Setting {
                setting: setting.clone(),
                reason: reason.into(),
            };
            let (key, value) =
                setting.split_once('=').ok_or_else(|| failed("expected key=value"))?;
            // A shell takes quotes away, and `02:00:00` would be a time of the day.
            let is_text = TEXTS.contains(&key.rsplit('.').next().unwrap_or_default().trim());
            let parsed = value.parse().ok().filter(|_| !is_text || value.starts_with(['"', '\'']));
            let value: Value = parsed.unwrap_or_else(|| value.into());
            let mut table = document.as_table_mut() as &mut dyn toml_edit::TableLike;
            let mut parts: Vec<&str> =
                ["launcher"].into_iter().chain(key.trim().split('.')).collect();
            let last =
                parts.pop().filter(|last| !last.is_empty()).ok_or_else(|| failed("no key"))?;
            for part in parts {
                table = table
                    .entry(part)
                    .or_insert_with(toml_edit::table)
                    .as_table_like_mut()
                    .ok_or_else(|| failed("a part of the key is a value, not a table"))?;
            }
            table.insert(last, Item::Value(value));
        }
        origin = format!("{origin} with {}", settings.join(", "));
        Self::parse(&document.to_string(), &origin)
    }

    fn parse(text: &str, origin: &str) -> Result<Self, ProfileError> {
        let failed = |mut problems: Vec<Problem>| {
            problems.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
            ProfileError::Check { source: Problems(problems), origin: origin.to_owned() }
        };
        let profile = problem::read::<File>(text).map_err(failed)?.launcher;
        let problems = profile.problems(text);
        if problems.is_empty() { Ok(profile) } else { Err(failed(problems)) }
    }

    /// Values that make no sense, or that a line of a script cannot hold.
    fn problems(&self, text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, reason: String| {
            let path: Vec<String> =
                ["launcher"].into_iter().chain(key.split('.')).map(Into::into).collect();
            problems.push(problem::at(text, &path, reason));
        };
        let words = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
            ("encode.partition", &self.encode.partition),
        ];
        for (key, word) in words {
            if let Some(word) = word.as_ref().filter(|word| !is_word(word)) {
                wrong(key, format!("is the text {word:?}, must be one word"));
            }
        }
        for (key, time) in [("time", &self.time), ("encode.time", &self.encode.time)] {
            if let Some(time) = time {
                match seconds(time) {
                    None => wrong(
                        key,
                        format!(
                            "is the text {time:?}, must be minutes, minutes:seconds, hours:minutes:seconds, days-hours, \
                         days-hours:minutes or days-hours:minutes:seconds"
                        ),
                    ),
                    Some(limit) if limit <= u64::from(self.signal_lead) => wrong(
                        key,
                        format!(
                            "is {limit} seconds, which `signal_lead` ({} seconds) leaves nothing of",
                            self.signal_lead
                        ),
                    ),
                    Some(_) => {}
                }
            }
        }
        for (key, memory) in [("memory", &self.memory), ("encode.memory", &self.encode.memory)] {
            if let Some(memory) = memory.as_ref().filter(|memory| !is_memory(memory)) {
                wrong(key, format!("is the text {memory:?}, must be a number with K, M, G or T"));
            }
        }
        for module in self.modules.iter().filter(|module| !is_word(module)) {
            wrong("modules", format!("{module:?} is not one word"));
        }
        for name in self.environment.keys().filter(|name| !is_variable(name)) {
            wrong("environment", format!("{name:?} cannot be the name of a variable"));
        }
        for name in self.environment.keys().filter(|name| name.starts_with(OWN_NAMES)) {
            let reason =
                format!("{name:?} begins with `{OWN_NAMES}`, as the script's own variables do");
            wrong("environment", reason);
        }
        for option in &self.options {
            if !option.starts_with('-') || option.contains(['\n', '\r']) {
                wrong("options", format!("{option:?} is no option of one line, as `--exclusive`"));
            } else if option.starts_with("-M") || option.starts_with("--cluster") {
                let reason = "gives jobs to another cluster, where nobody would ask for them";
                wrong("options", format!("{option:?} {reason}"));
            }
        }
        // Of Slurm: more is not taken.
        if self.signal_lead > 65_535 {
            wrong("signal_lead", format!("is {}, must be at most 65535 seconds", self.signal_lead));
        }
        problems
    }

    /// What encoding asks for.
    pub fn for_encoding(&self) -> Self {
        let Resources { partition, time, memory, cpus, gpus } = self.encode.clone();
        Self {
            partition: partition.or(self.partition.clone()),
            time: time.or(self.time.clone()),
            memory: memory.or(self.memory.clone()),
            cpus: cpus.or(self.cpus),
            gpus: gpus.unwrap_or(self.gpus),
            ..self.clone()
        }
    }
}

/// Whether a text is one word that neither a shell nor `sbatch` reads anything into.
fn is_word(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@+=&|[]*()".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(known)
}

fn is_memory(text: &str) -> bool {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    text.len() - digits.len() <= 1 && digits.parse::<u64>().is_ok_and(|number| number > 0)
}

fn is_variable(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Seconds of a time limit as Slurm writes it.
pub fn seconds(time: &str) -> Option<u64> {
    let (days, rest) = match time.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, time),
    };
    let parts = rest.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let (hours, minutes, seconds) = match (days.is_some(), parts.as_slice()) {
        (true, [hours]) => (*hours, 0, 0),
        (true, [hours, minutes]) => (*hours, *minutes, 0),
        (false, [minutes]) => (0, *minutes, 0),
        (false, [minutes, seconds]) => (0, *minutes, *seconds),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        in_full(&Profile::parse(text, "cluster.toml").expect_err("it is wrong"))
    }

    fn in_full(error: &ProfileError) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place_and_what_is_accepted() {
        insta::assert_snapshot!(problems(
            "[launcher]\npartitions = \"gpu\"\ntime = 30\ncpus = 0\n\n[launcher.encode]\ngpu = 1\n\n[slurm]\n"
        ));
        insta::assert_snapshot!(problems(
            "[launcher]\npartition = \"a b\"\ntime = \"1 hour\"\nmemory = \"8 GB\"\nmodules = [\"cuda 12\"]\n\
             options = [\"exclusive\"]\nenvironment = { \"A-B\" = \"1\" }\nencode = { time = \"1\" }\n"
        ));
        insta::assert_snapshot!(problems("[launcher\n"));
    }

    #[test]
    fn names_of_the_script_and_other_clusters_are_refused() {
        let text = problems(
            "[launcher]\noptions = [\"--clusters=other\", \"-Mother\", \"--cluster-constraint=a\", \"--mail-type=END\"]\n\
             environment = { promise_task = \"1\", PROMISE_DATA = \"/data\" }\n",
        );
        for said in [
            "\"promise_task\" begins with `promise_`",
            "\"--clusters=other\" gives",
            "\"-Mother\" gives",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains("PROMISE_DATA") && !text.contains("mail-type"), "{text}");
    }

    #[test]
    fn settings_of_the_command_line_come_last_and_are_checked_the_same() {
        let load = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&setting| setting.into()).collect();
            Profile::load(None, &settings)
        };
        let profile = load(&["partition=gpu", "time=02:00:00", "encode.cpus=4", "max_tasks=7"])
            .expect("good");
        assert_eq!(profile.partition.as_deref(), Some("gpu"));
        assert_eq!(profile.max_tasks.map(NonZeroU32::get), Some(7));
        let encoding = profile.for_encoding();
        assert_eq!(encoding.cpus.map(NonZeroU32::get), Some(4));
        assert_eq!(encoding.time.as_deref(), Some("02:00:00"));
        let profile = load(&["time=30", "memory='4G'"]).expect("good");
        assert_eq!((profile.time.as_deref(), profile.memory.as_deref()), (Some("30"), Some("4G")));
        let unknown = in_full(&load(&["partitin=gpu"]).expect_err("no such key"));
        assert!(unknown.contains("did you mean `partition`?"), "{unknown}");
        assert!(
            load(&["partition"]).expect_err("no value").to_string().contains("expected key=value")
        );
    }

    #[test]
    fn times_are_read_as_slurm_does() {
        let expected = [
            ("90", 5400),
            ("1:30", 90),
            ("02:00:00", 7200),
            ("1-12", 129_600),
            ("1-0:30", 88_200),
            ("2-01:02:03", 176_523),
        ];
        for (text, time) in expected {
            assert_eq!(seconds(text), Some(time), "{text}");
        }
        for text in ["", "1h", "-1", "1:2:3:4", "1-", "18446744073709551615-0"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
