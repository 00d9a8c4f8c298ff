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
        }
    }

    /// Whether Slurm has it and will go on with it.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
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
pub fn judge(slurm: Option<(&str, &str)>, ended: Option<&Ended>) -> (State, String) {
    let left = || ended.map(|ended| ended.reasons.join(": ")).unwrap_or_default();
    let reason = |said: &str| match (left(), said) {
        (left, "") => left,
        (left, said) if left.is_empty() => said.to_owned(),
        (left, said) => format!("{left} ({said})"),
    };
    let how = ended.map(|ended| ended.how);
    let word = slurm.map_or("", |(word, _)| word);
    let said = slurm.map_or("", |(_, said)| said);
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
            let text = reason(said);
            return (
                State::OutOfMemory,
                if text.is_empty() { "more memory than it asked for".into() } else { text },
            );
        }
        "NODE_FAIL" | "BOOT_FAIL" => return (State::NodeFailed, reason(said)),
        _ => {}
    }
    let own = match how {
        Some(How::Failed) => Some(State::Failed),
        Some(How::Cancelled) => Some(State::Cancelled),
        Some(How::TimedOut) => Some(State::TimedOut),
        Some(How::OutOfMemory) => Some(State::OutOfMemory),
        Some(How::Preempted) => Some(State::Preempted),
        Some(How::NodeFailed) => Some(State::NodeFailed),
        Some(How::DiskFull) => Some(State::DiskFull),
        // Slurm may know by whom.
        Some(How::Done | How::Killed | How::Interrupted) | None => None,
    };
    if let Some(own) = own {
        return (own, left());
    }
    match word {
        "CANCELLED" | "REVOKED" => (State::Cancelled, said.to_owned()),
        "TIMEOUT" | "DEADLINE" => (State::TimedOut, reason(said)),
        "PREEMPTED" => (State::Preempted, said.to_owned()),
        _ if how == Some(How::Killed) => (State::Killed, left()),
        "FAILED" => (State::Failed, reason(said)),
        "COMPLETED" => (State::Done, String::new()),
        _ if how == Some(How::Interrupted) => (State::Interrupted, left()),
        _ => (
            State::Lost,
            "Slurm does not know it any more, and it has left no word: its machine may have failed"
                .into(),
        ),
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
            judge((!slurm.is_empty()).then_some((slurm, "")), ended.as_ref()).0
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
        let again = judge(Some(("PENDING", "BeginTime")), Some(&ended(How::Interrupted)));
        assert_eq!(again, (State::Pending, "queued again: BeginTime".into()));
    }
}
