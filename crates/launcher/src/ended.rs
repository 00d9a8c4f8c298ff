//! What a task leaves when it ends, and what is found out about one that could not.

use std::{
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

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
    pub fn read(&self, task: &str) -> Option<Ended> {
        let said: Option<Ended> =
            fs::read(self.json(task)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let by_shell = fs::read_to_string(self.code(task)).ok().and_then(|text| of_code(&text));
        match (said, by_shell) {
            // The shell comes last, and knows less.
            (Some(said), Some(code)) if (&said.job, said.tries) != (&code.job, code.tries) => {
                Some(code)
            }
            (Some(said), _) => Some(said),
            (None, code) => code,
        }
    }
}

/// Codes that shells give programs that a signal ended.
const SIGNALS: i32 = 128;

/// What the shell left: number of the task, try, exit code.
fn of_code(text: &str) -> Option<Ended> {
    let mut words = text.split_whitespace();
    let (job, tries, code) =
        (words.next()?, words.next()?.parse().ok()?, words.next()?.parse::<i32>().ok()?);
    let (how, reason) = match code {
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
        assert_eq!(ended.read("runs-0"), None);
        fs::write(folder.path().join("runs-0.code"), "17 0 137\n").expect("written");
        let killed = ended.read("runs-0").expect("left");
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
        assert_eq!(ended.read("runs-0"), Some(said));
        // Of the next try only the shell could speak.
        fs::write(folder.path().join("runs-0.code"), "17 1 134\n").expect("written");
        assert_eq!(ended.read("runs-0").expect("left").tries, 1);
        ended.forget("runs-0").expect("removed");
        assert_eq!(ended.read("runs-0"), None);
    }
}
