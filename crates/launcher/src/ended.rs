//! What a task leaves when it ends, and what is found out about one that could not.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use bounded_read::last_lines;
use serde::{Deserialize, Serialize};

/// How a try of a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Slurm's number of the task.
    pub job: String,
    /// How often Slurm had queued it again before.
    pub tries: u32,
    /// Name of the machine.
    pub node: String,
    /// How.
    pub how: How,
    /// Why, one cause after the other.
    pub reasons: Vec<String>,
}

/// Beginning of the line on standard error by which a task says how it ended if no file can be written, because the disk is
/// full or gone: its log may be elsewhere, or have room for a line.
const LAST_WORD: &str = "slurm-task ended: ";

/// The same of its shell: number of the task, try, exit code, and perhaps [`BEFORE`].
pub(crate) const LAST_CODE: &str = "slurm-task code: ";

/// Beginning of the line by which every try begins, with number of the task and try.
pub(crate) const BEGINS: &str = "slurm-task begins: ";

/// What the shell adds to an exit code if it ended before the program began.
pub(crate) const BEFORE: &str = "before";

/// Lines of a log that are looked at.
const LINES: usize = 200;

impl Ended {
    /// The line by which a task says how it ended where that cannot be kept in a file.
    pub fn last_word(&self) -> String {
        // Of texts and numbers this does not fail.
        format!("{LAST_WORD}{}", serde_json::to_string(self).unwrap_or_default())
    }
}

/// What the end of a log says about the last try.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logged {
    /// How it ended, of a task that could not write a file.
    said: Option<Ended>,
    /// The same of its shell.
    code: Option<Ended>,
    /// How and why Slurm ended it, in Slurm's own words.
    pub slurm: Option<(How, String)>,
}

impl Logged {
    /// Reads the end of a log; nothing is in one that is absent or cannot be read.
    pub fn read(log: &Path) -> Self {
        let mut logged = Self::default();
        for line in last_lines(log, LINES) {
            if line.starts_with(BEGINS) {
                logged = Self::default();
            } else if let Some(word) = line.strip_prefix(LAST_WORD) {
                logged.said = serde_json::from_str(word).ok();
            } else if let Some(code) = line.strip_prefix(LAST_CODE) {
                logged.code = of_code(code);
            } else if let Some(how) = of_slurm(&line) {
                logged.slurm = Some((how, line));
            }
        }
        logged
    }
}

/// How a task ended by a line of the log that is Slurm's own.
fn of_slurm(line: &str) -> Option<How> {
    // `slurmstepd: error: *** JOB 5 ON n7 CANCELLED AT 2026-11-26T18:23:53 DUE TO TIME LIMIT ***`
    let (said_by, said) = line.split_once(": ")?;
    if !said_by.starts_with("slurmstepd") {
        return None;
    }
    let has = |text: &str| said.contains(text);
    if has("oom-kill") || has("oom_kill") || has("memory limit") {
        Some(How::OutOfMemory)
    } else if has("DUE TO TIME LIMIT") {
        Some(How::TimedOut)
    } else if has("DUE TO PREEMPTION") {
        Some(How::Preempted)
    } else if has("DUE TO NODE FAILURE") {
        Some(How::NodeFailed)
    } else {
        // To be queued again is no end.
        (has("CANCELLED AT") && !has("DUE TO")).then_some(How::Cancelled)
    }
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The work is done.
    Done,
    /// The work failed, and would again.
    Failed,
    /// It was stopped and is to be queued again.
    Interrupted,
    /// Somebody cancelled it.
    Cancelled,
    /// The time was up, and it had not come further than before.
    TimedOut,
    /// It took more memory than it had asked for.
    OutOfMemory,
    /// It was stopped for another job, and not queued again.
    Preempted,
    /// Its machine failed.
    NodeFailed,
    /// A signal killed its program.
    Killed,
    /// No room was left on a disk, or in a quota.
    DiskFull,
}

/// What tasks leave lies in one folder: `<kind>-<number>.json`, or `.code` from the shell if the program could not.
#[derive(Debug, Clone)]
pub struct EndedFolder {
    root: PathBuf,
}

impl EndedFolder {
    /// The folder of a submission.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn json(&self, task: &str) -> PathBuf {
        self.root.join(format!("{task}.json"))
    }

    fn code(&self, task: &str) -> PathBuf {
        self.root.join(format!("{task}.code"))
    }

    /// Keeps how a task ended.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, task: &str, ended: &Ended) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(ended).map_err(io::Error::from)?;
        atomic_file::write(&self.json(task), &bytes)
    }

    /// Forgets how a former try ended.
    ///
    /// # Errors
    ///
    /// If a file is there and cannot be removed.
    pub fn forget(&self, task: &str) -> io::Result<()> {
        for path in [self.json(task), self.code(task)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// How a task ended, as far as it could say so; nothing if it left nothing.
    ///
    /// A file that cannot be read counts as none: a full disk may have left half of one.
    pub fn read(&self, task: &str, logged: &Logged) -> Option<Ended> {
        let said = fs::read(self.json(task)).ok();
        let said = said.and_then(|bytes| serde_json::from_slice::<Ended>(&bytes).ok());
        let code = fs::read_to_string(self.code(task)).ok().and_then(|text| of_code(&text));
        let code = latest(code, logged.code.clone());
        match (latest(said, logged.said.clone()), code) {
            // The shell comes last, and knows less.
            (Some(said), Some(code)) if (&said.job, said.tries) != (&code.job, code.tries) => {
                Some(code)
            }
            (Some(said), _) => Some(said),
            (None, code) => code,
        }
    }
}

/// Of two words the one about the later try. That in the log is there because the file could not be written, so what the
/// file says is older.
fn latest(in_file: Option<Ended>, in_log: Option<Ended>) -> Option<Ended> {
    match (in_file, in_log) {
        (Some(file), Some(log)) if file.tries > log.tries => Some(file),
        (file, log) => log.or(file),
    }
}

/// Codes that shells give programs that a signal ended.
const SIGNALS: i32 = 128;

/// What the shell left: number of the task, try, exit code, and whether that was before the program.
fn of_code(text: &str) -> Option<Ended> {
    let mut words = text.split_whitespace();
    let (job, tries, code) =
        (words.next()?, words.next()?.parse().ok()?, words.next()?.parse::<i32>().ok()?);
    let before = words.next() == Some(BEFORE);
    let (how, reason) = match code {
        code if before && code != SIGNALS + 15 && code != SIGNALS + 10 => (
            How::Failed,
            format!(
                "exit code {code} before the program began, in `modules` or `pre_commands`; its log has more"
            ),
        ),
        0 => (How::Done, "its program ended without a word".to_owned()),
        // SIGTERM, or SIGUSR1, by which the time limit is announced, before the program listened.
        code if code == SIGNALS + 15 || code == SIGNALS + 10 => {
            (How::Interrupted, "stopped before the program could say so".to_owned())
        }
        code if code > SIGNALS => {
            let memory = if code == SIGNALS + 9 || code == SIGNALS + 6 {
                "; perhaps memory ran out"
            } else {
                ""
            };
            (How::Killed, format!("its program was killed by signal {}{memory}", code - SIGNALS))
        }
        code => (How::Failed, format!("exit code {code}, before the program could say why")),
    };
    Some(Ended { job: job.to_owned(), tries, node: String::new(), how, reasons: vec![reason] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_says_counts_and_the_shell_speaks_for_one_that_cannot() {
        let folder = tempfile::tempdir().expect("a folder");
        let ended = EndedFolder::new(folder.path().to_owned());
        let read = || ended.read("runs-0", &Logged::default());
        assert_eq!(read(), None);
        fs::write(folder.path().join("runs-0.code"), "17 0 137\n").expect("written");
        let killed = read().expect("left");
        assert_eq!(killed.how, How::Killed);
        assert!(killed.reasons[0].contains("signal 9; perhaps memory"), "{:?}", killed.reasons);
        let said = Ended {
            job: "17".into(),
            tries: 0,
            node: "n1".into(),
            how: How::Failed,
            reasons: vec!["why".into()],
        };
        ended.write("runs-0", &said).expect("written");
        assert_eq!(read(), Some(said));
        // Of the next try only the shell could speak.
        fs::write(folder.path().join("runs-0.code"), "17 1 134\n").expect("written");
        assert_eq!(read().expect("left").tries, 1);
        ended.forget("runs-0").expect("removed");
        assert_eq!(read(), None);
    }

    #[test]
    fn what_could_not_be_written_is_read_from_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let ended = EndedFolder::new(folder.path().to_owned());
        let log = folder.path().join("runs-1_0.log");
        let said = Ended {
            job: "17".into(),
            tries: 1,
            node: "n1".into(),
            how: How::DiskFull,
            reasons: vec!["cannot write a\nb".into()],
        };
        let text = format!(
            "{BEGINS}17 0\n{LAST_CODE}17 0 137\n{BEGINS}17 1\ncase 3\n{}\n{LAST_CODE}17 1 1\n",
            said.last_word()
        );
        fs::write(&log, text).expect("written");
        // Of the try before there is a file, and of a full disk an empty one.
        let former = Ended { tries: 0, how: How::Interrupted, ..said.clone() };
        ended.write("runs-0", &former).expect("written");
        fs::write(folder.path().join("runs-0.code"), "").expect("written");
        assert_eq!(ended.read("runs-0", &Logged::read(&log)), Some(said));
        // The program was killed, and only its shell could speak.
        fs::write(&log, format!("{BEGINS}17 2\n{LAST_CODE}17 2 137\n")).expect("written");
        let killed = ended.read("runs-0", &Logged::read(&log)).expect("left");
        assert_eq!((killed.how, killed.tries), (How::Killed, 2));
        // Of a try that goes on nothing is known yet.
        fs::write(&log, format!("{LAST_CODE}17 2 137\n{BEGINS}17 3\n")).expect("written");
        assert_eq!(Logged::read(&log), Logged::default());
    }

    /// Lines as Slurm writes them into logs.
    #[test]
    fn slurm_says_in_the_log_why_it_ended_a_task() {
        let cancelled = "slurmstepd-vm: error: *** JOB 2 ON vm CANCELLED AT 2026-11-26T18:23:53";
        let expected = [
            (format!("{cancelled} ***"), Some(How::Cancelled)),
            (format!("{cancelled} DUE TO TIME LIMIT ***"), Some(How::TimedOut)),
            (format!("{cancelled} DUE TO PREEMPTION ***"), Some(How::Preempted)),
            (
                format!("{cancelled} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***"),
                Some(How::NodeFailed),
            ),
            (format!("{cancelled} DUE TO JOB REQUEUE ***"), None),
            (
                "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=5.batch. Some of your processes may have been \
                 killed by the cgroup out-of-memory handler."
                    .into(),
                Some(How::OutOfMemory),
            ),
            (
                "slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch. Some of the step tasks have been OOM Killed."
                    .into(),
                Some(How::OutOfMemory),
            ),
            ("a program that says CANCELLED AT once".into(), None),
        ];
        for (line, how) in expected {
            assert_eq!(of_slurm(&line), how, "{line}");
        }
    }

    #[test]
    fn what_ends_before_the_program_began_has_failed_whatever_its_code_is() {
        for code in ["0", "3", "137"] {
            let ended = of_code(&format!("17 0 {code} {BEFORE}")).expect("a code");
            assert_eq!(ended.how, How::Failed);
            assert!(ended.reasons[0].contains("pre_commands"), "{:?}", ended.reasons);
        }
        let stopped = of_code(&format!("17 0 143 {BEFORE}")).expect("a code");
        assert_eq!(stopped.how, How::Interrupted);
    }
}
