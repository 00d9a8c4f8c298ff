//! What a module that is fitted at once gets and says.

use std::{collections::BTreeMap, error::Error};

use crate::{PromptInput, TrainingTruth};

/// Why an example cannot be had.
pub type ExampleError = Box<dyn Error + Send + Sync>;

/// A training image, as a batch of one.
#[derive(Debug, Clone)]
pub struct Example {
    /// Its features, on the plain device.
    pub input: PromptInput,
    /// Its true mask.
    pub truth: TrainingTruth,
}

/// The training images that a module asked for, read one at a time: what they are together need not fit into
/// memory.
pub trait TrainingExamples {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them; the same one for the same place.
    ///
    /// # Errors
    ///
    /// If its features cannot be had.
    fn example(&self, place: usize) -> Result<Example, ExampleError>;
}

/// How a fit went, in numbers by name (snake_case): iterations, the value that was minimized. It becomes part of
/// the run's record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FitReport {
    /// Finite numbers.
    pub numbers: BTreeMap<String, f64>,
}

/// Why a module could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// An example cannot be had.
    #[error("the features of a training image cannot be had")]
    Example(#[source] ExampleError),
    /// The examples teach nothing, e.g. because all true masks are empty.
    #[error("the {examples} training images teach nothing: {reason}")]
    Examples {
        /// How many there were.
        examples: usize,
        /// What they lack.
        reason: String,
    },
    /// The computation did not come to its end.
    #[error("the fit did not converge: {reason}")]
    Diverged {
        /// How far it came.
        reason: String,
    },
}
