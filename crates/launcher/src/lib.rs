//! Hands runs to a Slurm cluster and tells what became of them.
//!
//! A [`Profile`](profile::Profile) says what a job of this cluster looks like. A [`Submission`](submission::Submission) is
//! one hand-over: the runs, the copies of program and experiment that they use, the [`Script`](script::Script)s and the
//! numbers of their jobs. What became of each task comes from three places: Slurm's queue
//! ([`Scheduler`](scheduler::Scheduler)), what the task itself left ([`Ended`](ended::Ended)), and Slurm's accounting where
//! there is one; [`state`] makes one word of them.
//!
//! The crate knows no experiment, no run folder and no Burn: a task has a name and a number. What a task does is the
//! business of whoever wrote the command into the script.

pub mod ended;
pub mod fake;
mod problem;
pub mod profile;
pub mod scheduler;
pub mod script;
pub mod state;
pub mod submission;

pub use problem::{Problem, Problems};
