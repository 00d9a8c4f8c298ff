//! `failure.json`: why a run did not finish.

use serde::{Deserialize, Serialize};

/// What `failure.json` holds. It is there from the failure of a run until the run is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, and then one cause after the other.
    pub reasons: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reasons.join(": "))
    }
}
