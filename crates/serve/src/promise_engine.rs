//! Finished runs and frozen SAM as an [`Engine`].

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_loaders::error_chain;
use image::RgbImage;
use promise::{
    backbone::{Backbone, BackboneError},
    device::{DeviceError, DeviceKind},
    interactive::{
        Answer, EncodedImage, Interactive, InteractiveError, Question, QuestionError, Subject,
    },
};
use run_record::RunFolder;
use sam_backbone::{ResizeMode, Variant};

use crate::engine::{Embedding, Engine, MethodInfo};

/// The experiment that the README begins with.
const QUICKSTART: &str = "quickstart";

/// What is to answer.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// Finished runs.
    pub runs: Vec<RunFolder>,
    /// Whether a run that cannot be loaded is left out, with a warning: nobody asked for it by name.
    pub leave_out_broken: bool,
    /// Plain SAM with these weights, besides or alone.
    pub backbone: Option<(Variant, Option<PathBuf>)>,
    /// Where tensors live.
    pub device: DeviceKind,
}

/// Why nothing can answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The backbone cannot be loaded.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A run cannot be loaded.
    #[error(transparent)]
    Interactive(#[from] InteractiveError),
}

/// The finished runs of the quickstart below `runs`, in the order of their names; none if it was not run.
pub fn default_runs(runs: &Path) -> Vec<RunFolder> {
    let Ok(entries) = std::fs::read_dir(runs.join(QUICKSTART)) else { return Vec::new() };
    let folders = entries.filter_map(Result::ok).map(|entry| RunFolder::new(entry.path()));
    let mut found: Vec<RunFolder> = folders.filter(|folder| folder.record().is_file()).collect();
    // Frozen SAM, each adapter alone, both: what is added comes after what it is added to.
    let rank = |folder: &RunFolder| {
        let name = folder.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.matches('_').count(), !name.starts_with("frozen"), name)
    };
    found.sort_by_key(rank);
    found
}

/// See [`Models`].
pub struct PromiseEngine {
    interactive: Arc<Interactive>,
}

impl PromiseEngine {
    /// Loads what is to answer: the runs with the frozen SAM of each, or `micro` alone if nothing is named.
    ///
    /// # Errors
    ///
    /// See [`ModelsError`].
    pub fn load(models: &Models) -> Result<Self, ModelsError> {
        let device = models.device.device()?;
        let mut interactive = Interactive::new(device.clone())?;
        for folder in &models.runs {
            match interactive.add_run(folder.clone()) {
                Err(error) if models.leave_out_broken => {
                    tracing::warn!(
                        "{} is left out: {}",
                        folder.root().display(),
                        error_chain(&error)
                    );
                }
                added => added?,
            }
        }
        interactive.add_frozen_of_runs();
        let alone = interactive.methods().is_empty().then_some((Variant::Micro, None));
        if let Some((variant, weights)) = models.backbone.clone().or(alone) {
            let backbone = Backbone::load(variant, weights.as_deref(), &device)?;
            interactive.add_frozen(backbone, ResizeMode::LongestSide);
        }
        Ok(Self { interactive: Arc::new(interactive) })
    }

    /// The same methods, made ready by somebody else.
    pub fn of(interactive: Interactive) -> Self {
        Self { interactive: Arc::new(interactive) }
    }
}

impl Engine for PromiseEngine {
    fn methods(&self) -> Vec<MethodInfo> {
        let info = |method: &promise::interactive::Method| MethodInfo {
            name: method.name().to_owned(),
            proposes: method.proposes(),
            shifts: method.shifts(),
            folder: method.folder().cloned(),
        };
        self.interactive.methods().iter().map(info).collect()
    }

    fn encode(
        &self,
        image: &RgbImage,
        subject: Subject<'_>,
        watch: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
    ) -> Option<Arc<dyn Embedding>> {
        let image = self.interactive.encode(image, subject, watch)?;
        Some(Arc::new(PromiseEmbedding { interactive: self.interactive.clone(), image }))
    }
}

struct PromiseEmbedding {
    interactive: Arc<Interactive>,
    image: EncodedImage,
}

impl Embedding for PromiseEmbedding {
    fn bytes(&self) -> u64 {
        self.image.bytes()
    }

    fn answer(&self, method: usize, question: &Question) -> Result<Answer, QuestionError> {
        self.interactive.answer(&self.image, method, question)
    }
}
