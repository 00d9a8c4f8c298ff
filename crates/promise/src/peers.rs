//! Other implementations, run as programs: the Python that has them.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use sam_backbone::EncoderPrecision;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    device::DeviceKind,
    spread::{extremes, median},
};

/// Where and in which numbers an implementation computes, ours as well as a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arithmetic {
    /// Where tensors live.
    pub device: DeviceKind,
    /// In which numbers the image encoder computes.
    pub precision: EncoderPrecision,
}

impl Arithmetic {
    /// The options of `tools/peers/*.py` that say so.
    pub(crate) fn arguments(self) -> [String; 4] {
        [
            "--device".into(),
            self.device.torch_name(),
            "--precision".into(),
            self.precision.to_string(),
        ]
    }
}

/// A peer could not be run.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {message}")]
pub struct PeerError {
    /// The command line.
    pub command: String,
    /// Its last words.
    pub message: String,
}

/// The Python that has the packages of `tools/peers/requirements.txt`: `python` if there is one given, else
/// that of a virtual environment in `folder`, which is made unless it is there.
///
/// # Errors
///
/// [`PeerError`] if Python or pip fail.
pub fn python(
    workspace: &Path,
    folder: &Path,
    python: Option<&Path>,
) -> Result<PathBuf, PeerError> {
    if let Some(python) = python {
        return Ok(python.to_owned());
    }
    python_with(&workspace.join("tools/peers/requirements.txt"), folder)
}

/// The Python of a virtual environment in `folder` that has the packages of a requirements file. It is made unless it is
/// there.
///
/// # Errors
///
/// [`PeerError`] if Python or pip fail.
pub fn python_with(requirements: &Path, folder: &Path) -> Result<PathBuf, PeerError> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "-r"];
    call(Command::new(&python).args(pip).arg(requirements))?;
    Ok(python)
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
///
/// [`PeerError`] with the last line of its standard error.
pub fn call(command: &mut Command) -> Result<String, PeerError> {
    let failed =
        |command: &Command, message: String| PeerError { command: format!("{command:?}"), message };
    let output = command.output().map_err(|error| failed(command, error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(command, last_words(&String::from_utf8_lossy(&output.stderr))))
}

/// The last line that says something.
fn last_words(text: &str) -> String {
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("it ended without a word").to_owned()
}

/// Who does what is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Theirs,
}

/// Whose turn it is, for so many pairs. Who goes first changes, lest the second always meets a warmer machine.
pub(crate) fn turns(pairs: usize) -> impl Iterator<Item = Side> {
    let pair = |index| match index % 2 {
        0 => [Side::Ours, Side::Theirs],
        _ => [Side::Theirs, Side::Ours],
    };
    (0..pairs).flat_map(pair)
}

/// Times of a peer and of ours, taken in turns.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PairedTimes {
    /// The peer's seconds, pair by pair.
    pub secs: Vec<f64>,
    /// Our seconds, pair by pair.
    pub our_secs: Vec<f64>,
}

impl PairedTimes {
    /// Peer time over ours, the median over pairs.
    pub fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    /// The least and the largest ratio of a pair.
    pub fn spread(&self) -> [f64; 2] {
        extremes(&self.ratios())
    }

    fn ratios(&self) -> Vec<f64> {
        self.secs.iter().zip(&self.our_secs).map(|(theirs, ours)| theirs / ours).collect()
    }
}

/// Somebody's numbers are further from another's than rounding explains.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// Whose.
    pub who: String,
    /// What differs from what.
    pub what: &'static str,
    /// By how much, relatively; no number where there is none to compare.
    pub difference: f64,
    /// How much is rounding.
    pub bound: f64,
}

impl Disagreement {
    /// None within the bound.
    pub(crate) fn beyond(
        who: &str,
        what: &'static str,
        difference: f64,
        bound: f64,
    ) -> Option<Self> {
        // A difference that is no number is within nothing.
        let within = difference <= bound;
        (!within).then(|| Self { who: who.to_owned(), what, difference, bound })
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, what, difference, bound } = self;
        write!(f, "{who}: {what} is off by {difference:.1e}, expected at most {bound:.0e}")
    }
}

/// Implementations that do not compute the same; to compare what it costs them says nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("results do not agree: {}", listed(.0))]
pub struct DisagreeError(pub Vec<Disagreement>);

impl DisagreeError {
    /// All is well without any.
    pub(crate) fn of(found: impl IntoIterator<Item = Option<Disagreement>>) -> Result<(), Self> {
        let found: Vec<Disagreement> = found.into_iter().flatten().collect();
        match found.is_empty() {
            true => Ok(()),
            false => Err(Self(found)),
        }
    }
}

fn listed(found: &[Disagreement]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A peer that waits for its turn.
///
/// The program prints a JSON document on a line of its own once it is ready, then its seconds for every line on
/// its standard input, and a last document when that ends. `tools/peers/turns.py` is its half of it.
pub(crate) struct WaitingPeer {
    command: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it says on standard error.
    log: PathBuf,
}

impl WaitingPeer {
    /// Returns when the peer is ready, with its first document.
    ///
    /// - `log`: a file for what it says on standard error
    pub(crate) fn start<T: DeserializeOwned>(
        mut command: Command,
        log: PathBuf,
    ) -> Result<(Self, T), PeerError> {
        let line = format!("{command:?}");
        let failed = |message: String| PeerError { command: line.clone(), message };
        let file = File::create(&log)
            .map_err(|error| failed(format!("cannot write {}: {error}", log.display())))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no standard input or output".to_owned()));
        };
        let answers = BufReader::new(answers);
        let mut peer = Self { command: line, child, requests, answers, log };
        let ready = peer.answer()?;
        Ok((peer, ready))
    }

    /// Does its work once, and says in how many seconds.
    pub(crate) fn work(&mut self) -> Result<f64, PeerError> {
        writeln!(self.requests).map_err(|_| self.failed(&NoAnswer::Ended))?;
        self.answer()
    }

    /// Nothing more is asked for; its last document.
    pub(crate) fn end<T: DeserializeOwned>(self) -> Result<T, PeerError> {
        let Self { command, mut child, requests, mut answers, log } = self;
        drop(requests);
        let last = read_answer(&mut answers);
        child.wait().ok();
        last.map_err(|no_answer| PeerError { command, message: no_answer.message(&log) })
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, PeerError> {
        read_answer(&mut self.answers).map_err(|no_answer| self.failed(&no_answer))
    }

    fn failed(&mut self, why: &NoAnswer) -> PeerError {
        // Its last words are complete when it has ended; it does so without requests or answers.
        self.child.kill().ok();
        self.child.wait().ok();
        PeerError { command: self.command.clone(), message: why.message(&self.log) }
    }
}

/// What a peer did instead of answering.
enum NoAnswer {
    /// It ended.
    Ended,
    /// It wrote a line that is no answer.
    Other { line: String, error: serde_json::Error },
}

impl NoAnswer {
    /// With the last words of a peer that ended.
    fn message(&self, log: &Path) -> String {
        match self {
            Self::Ended => last_words(&fs::read_to_string(log).unwrap_or_default()),
            Self::Other { line, error } => format!("it wrote `{}`: {error}", line.trim_end()),
        }
    }
}

fn read_answer<T: DeserializeOwned>(answers: &mut impl BufRead) -> Result<T, NoAnswer> {
    let mut line = String::new();
    match answers.read_line(&mut line) {
        Ok(0) | Err(_) => Err(NoAnswer::Ended),
        Ok(_) => serde_json::from_str(&line).map_err(|error| NoAnswer::Other { line, error }),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Said {
        n: usize,
    }

    fn start(script: &str, folder: &Path) -> Result<(WaitingPeer, Said), PeerError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        WaitingPeer::start(command, folder.join("log"))
    }

    const READY: &str = r#"echo '{"n": 3}'"#;

    #[test]
    fn a_peer_answers_when_it_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            r#"{READY}; n=0; while read line; do n=$((n + 1)); echo "$n.5"; done; echo '{{"n": 7}}'"#
        );
        let (mut peer, ready) = start(&script, folder.path()).expect("ready");
        assert_eq!(ready, Said { n: 3 });
        assert_eq!([(); 2].map(|()| peer.work().expect("an answer")), [1.5, 2.5]);
        assert_eq!(peer.end::<Said>().expect("a last answer"), Said { n: 7 });
    }

    #[test]
    fn the_last_words_of_a_peer_that_dies_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let Err(error) = start("echo 'no module named onnx' >&2; exit 1", folder.path()) else {
            panic!("it was not ready")
        };
        assert_eq!(error.message, "no module named onnx");
        let script = format!("{READY}; read line; echo 'out of memory' >&2; exit 1");
        let (mut peer, _) = start(&script, folder.path()).expect("ready");
        assert_eq!(peer.work().expect_err("it died").message, "out of memory");
    }

    #[test]
    fn a_peer_that_says_something_else_is_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("{READY}; echo 'FutureWarning: x' >&2; read line; echo 'soon'");
        let (mut peer, _) = start(&script, folder.path()).expect("ready");
        let message = peer.work().expect_err("no number").message;
        assert!(message.starts_with("it wrote `soon`: expected"), "{message}");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let Err(error) = start(READY, &folder.path().join("missing")) else {
            panic!("it was started")
        };
        assert!(error.message.contains("missing/log"), "{error}");
    }

    #[test]
    fn who_is_beyond_the_bound_is_named_with_both_numbers() {
        let beyond = |who, difference| Disagreement::beyond(who, "the loss", difference, 1e-5);
        assert_eq!(DisagreeError::of([beyond("ours", 1e-5), beyond("torch", 0.0)]), Ok(()));
        let found = [beyond("ours", 1e-6), beyond("torch", 0.25), beyond("onnx", f64::NAN)];
        assert_eq!(
            DisagreeError::of(found).expect_err("two of three").to_string(),
            "results do not agree: torch: the loss is off by 2.5e-1, expected at most 1e-5; \
             onnx: the loss is off by NaN, expected at most 1e-5"
        );
    }

    #[test]
    fn each_is_first_in_every_other_pair() {
        use Side::{Ours, Theirs};
        let order: Vec<Side> = turns(3).collect();
        assert_eq!(order, [Ours, Theirs, Theirs, Ours, Ours, Theirs]);
    }

    #[test]
    fn the_ratio_is_of_pairs_and_not_of_medians() {
        let times = PairedTimes { secs: vec![2.0, 6.0, 9.0], our_secs: vec![1.0, 2.0, 9.0] };
        assert_eq!((times.ratio(), times.spread()), (2.0, [1.0, 3.0]));
    }

    #[test]
    fn the_last_words_of_a_program_are_kept() {
        let script = "echo early >&2; echo 'no module named torch' >&2; exit 3";
        let error = call(Command::new("sh").args(["-c", script])).expect_err("it failed");
        assert_eq!(error.message, "no module named torch");
        assert_eq!(call(Command::new("sh").args(["-c", "echo 7"])).expect("it works"), "7\n");
        let error = call(&mut Command::new("/no/such/program")).expect_err("not there");
        assert!(error.command.contains("/no/such/program"), "{error}");
    }
}
