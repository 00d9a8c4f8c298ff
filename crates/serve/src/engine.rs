//! What the page asks of a model.

use std::{ops::ControlFlow, sync::Arc};

use image::RgbImage;
use promise::interactive::{Answer, Question, QuestionError, Subject};
use run_record::RunFolder;
use serde::Serialize;

/// Methods that answer prompts. Behind a trait so that requests, limits and the page can be tested without a model.
pub trait Engine: Send + Sync + 'static {
    /// The methods, in the order in which [`Embedding::answer`] numbers them.
    fn methods(&self) -> Vec<MethodInfo>;

    /// Encodes an image for all methods; takes seconds, and is never called twice at once. `watch` is told how far it is, and
    /// if it breaks off, there is nothing.
    fn encode(
        &self,
        image: &RgbImage,
        subject: Subject<'_>,
        watch: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
    ) -> Option<Arc<dyn Embedding>>;
}

/// An encoded image, which answers prompts.
pub trait Embedding: Send + Sync {
    /// Bytes that it takes in memory.
    fn bytes(&self) -> u64;

    /// Answers a prompt with a method. Called while another image is encoded.
    ///
    /// # Errors
    ///
    /// See [`QuestionError`].
    fn answer(&self, method: usize, question: &Question) -> Result<Answer, QuestionError>;
}

/// One method, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MethodInfo {
    /// Experiment and folder of the run, or `frozen SAM (micro)`.
    pub name: String,
    /// Whether it prompts itself.
    pub proposes: bool,
    /// Whether it shifts the mask tokens.
    pub shifts: bool,
    /// Its run.
    #[serde(skip)]
    pub folder: Option<RunFolder>,
}
