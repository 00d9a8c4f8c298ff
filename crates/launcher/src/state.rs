//! What has become of a task, in one word.

use serde::Serialize;

use crate::ended::{Ended, How};

/// What has become of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The submission was interrupted before Slurm had it.
    NotSubmitted,
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// It is done.
    Done,
    /// It failed, and would again.
    Failed,
    /// It took more memory than it had asked for.
    OutOfMemory,
    /// The time was up.
    TimedOut,
    /// A signal killed its program.
    Killed,
    /// No room was left on a disk.
    DiskFull,
    /// Somebody cancelled it.
    Cancelled,
    /// It was stopped for another job.
    Preempted,
    /// Its machine failed.
    NodeFailed,
    /// It was stopped, and is not queued again.
    Interrupted,
    /// It is over and has left no word.
    Lost,
    /// Slurm does not answer, so nobody can say: it may wait or run.
    Unknown,
}

impl State {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotSubmitted => "not submitted",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::OutOfMemory => "out of memory",
            Self::TimedOut => "timed out",
            Self::Killed => "killed",
            Self::DiskFull => "disk full",
            Self::Cancelled => "cancelled",
            Self::Preempted => "preempted",
            Self::NodeFailed => "node failed",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// Whether Slurm has it and will go on with it.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Whether a task says no more: it has ended, or was never there.
    pub const fn is_over(self) -> bool {
        !self.is_active() && !matches!(self, Self::Unknown)
    }

    /// Whether the same would happen again, as far as one can tell; so it is tried again only if somebody says so.
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::OutOfMemory | Self::TimedOut | Self::Killed | Self::DiskFull
        )
    }
}

/// Makes one word of what is known about a task that Slurm was given.
///
/// - `slurm`: Slurm's word and reason, of its queue or else its accounts
/// - `ended`: what its last try left
/// - `logged`: how Slurm ended that try, by its own line in the log
pub fn judge(
    slurm: Option<(&str, &str)>,
    ended: Option<&Ended>,
    logged: Option<&(How, String)>,
) -> (State, String) {
    let left = || ended.map(|ended| ended.reasons.join(": ")).unwrap_or_default();
    let how = ended.map(|ended| ended.how);
    let word = slurm.map_or("", |(word, _)| word);
    let said = slurm.map_or("", |(_, said)| said);
    // The task's own reason, else what its state means; and Slurm's.
    let told = |meaning: &str| {
        let own = Some(left()).filter(|left| !left.is_empty());
        let own = own.unwrap_or_else(|| meaning.to_owned());
        if said.is_empty() { own } else { format!("{own} ({said})") }
    };
    match word {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT"
        | "RESV_DEL_HOLD" => {
            let again = if how == Some(How::Interrupted) { "queued again" } else { "" };
            let parts = [again, said].into_iter().filter(|part| !part.is_empty());
            return (State::Pending, parts.collect::<Vec<_>>().join(": "));
        }
        "RUNNING" | "CONFIGURING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING"
        | "STAGE_OUT" | "RESIZING" => {
            let said = if word == "RUNNING" { String::new() } else { word.to_lowercase() };
            return (State::Running, said);
        }
        _ => {}
    }
    if how == Some(How::Done) {
        return (State::Done, String::new());
    }
    match word {
        "OUT_OF_MEMORY" => {
            return (State::OutOfMemory, told("it took more memory than it had asked for"));
        }
        "NODE_FAIL" | "BOOT_FAIL" | "LAUNCH_FAILED" | "RECONFIG_FAIL" => {
            return (State::NodeFailed, told("Slurm says that its machine failed"));
        }
        _ => {}
    }
    // Of these Slurm may know by whom.
    let by_slurm = [How::Done, How::Killed, How::Interrupted];
    if let Some(own) = how.filter(|how| !by_slurm.contains(how)) {
        let line = logged.map(|(_, line)| line.clone()).unwrap_or_default();
        return (of(own), if left().is_empty() { line } else { left() });
    }
    let line = logged.map(|(_, line)| line.as_str());
    match word {
        "CANCELLED" | "REVOKED" => {
            let by = Some(said).filter(|said| !said.is_empty()).or(line);
            return (State::Cancelled, by.unwrap_or("somebody cancelled it").to_owned());
        }
        "TIMEOUT" | "DEADLINE" => {
            return (State::TimedOut, told("Slurm ended it at its time limit"));
        }
        "PREEMPTED" => return (State::Preempted, told("Slurm gave its place to another job")),
        _ => {}
    }
    if let Some((how, line)) = logged {
        return (of(*how), line.clone());
    }
    match word {
        "" | "FAILED" | "COMPLETED" if how == Some(How::Killed) => (State::Killed, left()),
        // It could not be queued again; that is the exit code by which it says so.
        "" | "FAILED" if how == Some(How::Interrupted) => (State::Interrupted, left()),
        "FAILED" => (State::Failed, told("Slurm says that it failed")),
        "COMPLETED" => (State::Done, String::new()),
        "" => (
            State::Lost,
            "Slurm does not know it any more, and it has left no word: its machine may have failed"
                .into(),
        ),
        // Of a later Slurm. It may be the word for something that goes on.
        word => (State::Unknown, told(&format!("Slurm says `{word}`"))),
    }
}

/// The word for how a task ended.
const fn of(how: How) -> State {
    match how {
        How::Done => State::Done,
        How::Failed => State::Failed,
        How::Interrupted => State::Interrupted,
        How::Cancelled => State::Cancelled,
        How::TimedOut => State::TimedOut,
        How::OutOfMemory => State::OutOfMemory,
        How::Preempted => State::Preempted,
        How::NodeFailed => State::NodeFailed,
        How::Killed => State::Killed,
        How::DiskFull => State::DiskFull,
    }
}

/// What is worth keeping of a state that only Slurm knows, and soon forgets.
pub(crate) fn worth_keeping(state: State) -> Option<How> {
    match state {
        State::Cancelled => Some(How::Cancelled),
        State::TimedOut => Some(How::TimedOut),
        State::OutOfMemory => Some(How::OutOfMemory),
        State::Preempted => Some(How::Preempted),
        State::NodeFailed => Some(How::NodeFailed),
        State::Failed => Some(How::Failed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(how: How) -> Ended {
        Ended { job: "1".into(), tries: 0, node: "n".into(), how, reasons: vec!["why".into()] }
    }

    #[test]
    fn the_queue_counts_while_a_task_is_in_it_and_then_what_it_left() {
        let state = |slurm: &str, how: Option<How>| {
            let ended = how.map(ended);
            judge((!slurm.is_empty()).then_some((slurm, "")), ended.as_ref(), None).0
        };
        let expected = [
            ("PENDING", None, State::Pending),
            // What is there is of the try before.
            ("PENDING", Some(How::Failed), State::Pending),
            ("COMPLETING", Some(How::Done), State::Running),
            ("COMPLETED", Some(How::Done), State::Done),
            ("", Some(How::Done), State::Done),
            ("FAILED", Some(How::Failed), State::Failed),
            ("FAILED", Some(How::DiskFull), State::DiskFull),
            ("FAILED", Some(How::Killed), State::Killed),
            ("FAILED", Some(How::Interrupted), State::Interrupted),
            ("FAILED", None, State::Failed),
            ("OUT_OF_MEMORY", Some(How::Killed), State::OutOfMemory),
            ("OUT_OF_MEMORY", None, State::OutOfMemory),
            ("CANCELLED", Some(How::Interrupted), State::Cancelled),
            ("CANCELLED", Some(How::Killed), State::Cancelled),
            ("TIMEOUT", Some(How::Interrupted), State::TimedOut),
            ("PREEMPTED", None, State::Preempted),
            ("NODE_FAIL", None, State::NodeFailed),
            ("", Some(How::Interrupted), State::Interrupted),
            ("", None, State::Lost),
        ];
        for (slurm, how, expected) in expected {
            assert_eq!(state(slurm, how), expected, "{slurm} {how:?}");
        }
    }

    #[test]
    fn a_task_that_was_queued_again_says_so() {
        let again = judge(Some(("PENDING", "BeginTime")), Some(&ended(How::Interrupted)), None);
        assert_eq!(again, (State::Pending, "queued again: BeginTime".into()));
    }

    #[test]
    fn a_task_that_slurm_ended_has_a_reason_from_wherever_there_is_one() {
        let state = |slurm: Option<(&str, &str)>, how: Option<How>, logged: Option<How>| {
            let ended = how.map(ended);
            let logged = logged.map(|how| (how, "the line".to_owned()));
            let (state, reason) = judge(slurm, ended.as_ref(), logged.as_ref());
            (state, reason)
        };
        let of_memory = Some(("OUT_OF_MEMORY", "OutOfMemory"));
        let alone = state(of_memory, None, None);
        assert_eq!(alone.0, State::OutOfMemory);
        assert_eq!(alone.1, "it took more memory than it had asked for (OutOfMemory)");
        let killed = state(of_memory, Some(How::Killed), None);
        assert_eq!(killed, (State::OutOfMemory, "why (OutOfMemory)".into()));
        // Forgotten, and there are no accounts: the log has a line of Slurm's.
        let of_log = |how| state(None, Some(How::Killed), Some(how));
        assert_eq!(of_log(How::OutOfMemory), (State::OutOfMemory, "the line".into()));
        assert_eq!(of_log(How::TimedOut), (State::TimedOut, "the line".into()));
        let cancelled = state(None, Some(How::Interrupted), Some(How::Cancelled));
        assert_eq!(cancelled, (State::Cancelled, "the line".into()));
        let cancelled = state(Some(("CANCELLED", "")), None, Some(How::Cancelled));
        assert_eq!(cancelled, (State::Cancelled, "the line".into()));
        let by = state(Some(("CANCELLED", "by 1000")), Some(How::Killed), None);
        assert_eq!(by, (State::Cancelled, "by 1000".into()));
        let up = state(Some(("TIMEOUT", "TimeLimit")), None, Some(How::TimedOut));
        assert_eq!(up, (State::TimedOut, "Slurm ended it at its time limit (TimeLimit)".into()));
        let nobody = state(Some(("CANCELLED", "")), None, None);
        assert_eq!(nobody, (State::Cancelled, "somebody cancelled it".into()));
        let later = state(Some(("EXPEDITING", "")), Some(How::Interrupted), None);
        assert_eq!(later.0, State::Unknown, "{}", later.1);
        // It is queued again: what the log says is of the try before.
        let again = state(Some(("PENDING", "")), None, Some(How::TimedOut));
        assert_eq!(again.0, State::Pending);
    }
}
