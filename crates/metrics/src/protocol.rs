//! Evaluation protocols: how one case is scored, by name.
//!
//! Numbers of two protocols must never meet in one table, so the name travels with every number.
//! A protocol is one file in `protocol/` with a `score` function, one variant of [`Protocol`] and
//! one entry of [`Protocol::ALL`].

mod default;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Mask, MetricsError, SoftMap};

/// How one case is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// At the ground truth's size, one cut at 0.5, cases with two empty masks skipped and counted.
    Default,
}

impl Protocol {
    /// Every protocol, in the order in which help texts list them.
    pub const ALL: &'static [Self] = &[Self::Default];

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
        }
    }

    /// Scores one case. The soft map has the ground truth's own size.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Size`] if the two differ in size.
    pub fn score(self, prediction: &SoftMap, truth: &Mask) -> Result<CaseScores, MetricsError> {
        match self {
            Self::Default => default::score(prediction, truth),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| UnknownProtocol { name: name.to_owned() })
    }
}

/// There is no protocol of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol `{name}`, known: {}", known())]
pub struct UnknownProtocol {
    /// The name looked for.
    pub name: String,
}

fn known() -> String {
    let names: Vec<_> =
        Protocol::ALL.iter().map(|protocol| format!("`{}`", protocol.name())).collect();
    names.join(", ")
}

/// The scores of one case. A measure is missing where the protocol leaves it undefined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaseScores {
    /// Dice, in `[0, 1]`.
    pub dice: Option<f64>,
    /// Intersection over union, in `[0, 1]`.
    pub iou: Option<f64>,
    /// Mean absolute error of the soft map, in `[0, 1]`.
    pub mae: f64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_its_own_protocol_in_text_and_in_files() {
        for &protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            let json = serde_json::to_string(&protocol).unwrap();
            assert_eq!(json, format!("\"{protocol}\""));
            assert_eq!(serde_json::from_str::<Protocol>(&json).unwrap(), protocol);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "Default".parse::<Protocol>().unwrap_err();
        assert_eq!(error.to_string(), "unknown protocol `Default`, known: `default`");
    }
}
