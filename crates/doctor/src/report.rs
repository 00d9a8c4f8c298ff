//! What was found, line by line.

use std::fmt;

use serde::Serialize;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// How the program was built.
    Build,
    /// Processor or GPU.
    Device,
    /// Threads.
    Threads,
    /// Memory.
    Memory,
    /// Folders that are written to.
    Disk,
    /// Data sets.
    Data,
    /// Weights of SAM.
    Weights,
    /// The feature cache.
    Cache,
    /// The experiment file.
    Experiment,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Build => "build",
            Self::Device => "device",
            Self::Threads => "threads",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Cache => "cache",
            Self::Experiment => "experiment",
        })
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, slowly or not in every way.
    Warning,
    /// It will not work.
    Problem,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        })
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it is worth reading.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// How many findings have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    pub(crate) fn ok(&mut self, area: Area, says: impl Into<String>) {
        let says = says.into();
        self.findings.push(Finding { area, verdict: Verdict::Ok, says, advice: None });
    }

    pub(crate) fn warn(&mut self, area: Area, says: impl Into<String>, advice: impl Into<String>) {
        self.push(area, Verdict::Warning, says.into(), advice.into());
    }

    pub(crate) fn problem(
        &mut self,
        area: Area,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(area, Verdict::Problem, says.into(), advice.into());
    }

    fn push(&mut self, area: Area, verdict: Verdict, says: String, advice: String) {
        self.findings.push(Finding { area, verdict, says, advice: Some(advice) });
    }
}
