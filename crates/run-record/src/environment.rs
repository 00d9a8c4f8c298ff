//! Where and how a run was made.

use serde::{Deserialize, Serialize};

/// What `environment.json` holds: written before the first step, so that a run that failed can
/// still say where it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Revision of the source tree, or nothing outside a checkout.
    pub revision: Option<String>,
    /// Whether the source tree had changes that `revision` does not hold.
    pub dirty: Option<bool>,
    /// SHA-256 of the program that ran, in lower-case hexadecimal: `revision` is that of the source tree, which
    /// may have changed since the program was built. Missing in files that are older than this field.
    #[serde(default)]
    pub program_sha256: Option<String>,
    /// Version of this workspace's packages.
    pub package_version: String,
    /// Version of Burn.
    pub burn_version: String,
    /// Name of the device that the model ran on.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Operating system and architecture.
    pub os: String,
    /// Processor model, where the system tells it.
    pub cpu: Option<String>,
    /// Model and driver of the GPU that the model ran on, where there is one and the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// The command line, program first.
    pub command: Vec<String>,
}
