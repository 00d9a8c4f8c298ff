//! One image, one prompt, one mask.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use data_loaders::{DataError, decode_image};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use prompting::{PromptInput, Proposal};
use run_record::PanelPoint;
use safetensors::{Dtype, tensor::TensorView};
use sam_backbone::{FrozenSam, MaskDecoderOutput, ResizeMode, input_tensor, masks_in_image};

use crate::{
    backbone::Backbone,
    dialogue::{Dialogue, MaskChoice, MaskInput, Reply, with_proposal},
    evaluate::{host_prompts, prompts_in_image},
    frame::frame_of,
    model::Adapter,
    person::{Combine, OutsideError, UserPrompt},
    png,
    prompt_source::{HostPrompt, prompt_seed},
};

/// A prediction.
#[derive(Debug)]
pub struct Prediction {
    /// Mask at the image's own size, 0 or 255.
    pub mask: GrayImage,
    /// The image.
    pub image: RgbImage,
    /// Prompts that were used, in image pixels.
    pub points: Vec<PanelPoint>,
    /// Box that was used, in image pixels.
    pub box_xyxy: Option<[f32; 4]>,
    /// Which of the three masks it is.
    pub used_mask: usize,
    /// Predicted IoU of that mask.
    pub iou_prediction: f32,
    /// `[1, C, H, W]`
    image_embedding: Tensor<4>,
    output: MaskDecoderOutput,
}

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] DataError),
    /// Neither a person nor a module prompts.
    #[error(
        "no prompt: there is neither a point nor a box, and no prompt module to propose any; give --point x,y,label, --box \
         x0,y0,x1,y1 or a file with some, or a run with a prompt module"
    )]
    NoPrompt,
    /// Prompts are to be added to those of a module, and there is none.
    #[error("there is no prompt module, so there are no automatic prompts to add to")]
    NoModule,
    /// A point or box lies outside of the image.
    #[error("{place}: {}", path.display())]
    Outside {
        /// The place, and the size of the image.
        place: OutsideError,
        /// The image.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Predicts the mask of one image.
///
/// With a run, its token shift is applied, its prompt module proposes if the person does not or as
/// [`UserPrompt::combine`] says, and the mask is the one that the run was trained for. Without a run, the mask with the
/// highest predicted IoU is taken, as SAM's own predictor does.
///
/// # Errors
///
/// See [`PredictError`].
pub fn predict(
    path: &Path,
    backbone: &Backbone,
    adapter: Option<&dyn Adapter>,
    resize: ResizeMode,
    prompt: &UserPrompt,
) -> Result<Prediction, PredictError> {
    let image = decode_image(path)?;
    let (width, height) = image.dimensions();
    let frame = frame_of(&image, resize, backbone.sam.config().image_encoder.image_size);
    let given = prompt
        .in_input(&frame)
        .map_err(|place| PredictError::Outside { place, path: path.to_owned() })?;
    let taps = adapter.map_or_else(Vec::new, Adapter::taps);
    let device = backbone.sam.device();
    let input = input_tensor(&image, &frame, device);
    let encoded = backbone.sam.encode(input.clone(), &taps);
    let embedding = encoded.image_embedding.clone();

    let propose = || {
        // Whatever a module draws, it draws by the name of the file.
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let input = PromptInput {
            image_embedding: embedding.clone(),
            block_features: encoded.block_features,
            image: adapter.is_some_and(Adapter::needs_image).then_some(input),
            seeds: vec![prompt_seed(0, 0, "", &name)],
        };
        adapter.and_then(|adapter| adapter.propose(input))
    };
    let shift = adapter.and_then(|adapter| adapter.token_shift(embedding.clone()));
    let choice = MaskChoice::for_prediction(adapter.is_some());
    let sam = &backbone.sam;
    let mut dialogue = Dialogue::new(sam, embedding.clone(), shift, MaskInput::Previous, choice);
    let reply = answer(&mut dialogue, sam, prompt, &given, propose)?;
    let (points, box_xyxy) = prompts_in_image(&dialogue.into_prompts(), &frame);
    let mask = floats(masks_in_image(reply.logits(), &frame))
        .into_iter()
        .map(|logit| if logit > 0.0 { 255 } else { 0 })
        .collect();
    let Reply { output, used_mask, iou_prediction } = reply;
    Ok(Prediction {
        mask: GrayImage::from_raw(width, height, mask).expect("one logit per pixel"),
        image,
        points,
        box_xyxy,
        used_mask,
        iou_prediction,
        image_embedding: embedding,
        output,
    })
}

/// Why a person's prompts and a run's cannot be combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanting {
    /// Nobody prompts.
    Prompt,
    /// There is no prompt module to add to.
    Module,
}

impl From<Wanting> for PredictError {
    fn from(wanting: Wanting) -> Self {
        match wanting {
            Wanting::Prompt => Self::NoPrompt,
            Wanting::Module => Self::NoModule,
        }
    }
}

impl UserPrompt {
    /// What is wanting of a run that proposes or does not; nothing with a prompt module.
    pub(crate) fn wanting(&self, proposes: bool) -> Option<Wanting> {
        match self.combine {
            _ if proposes => None,
            _ if self.is_empty() => Some(Wanting::Prompt),
            Combine::Add => Some(Wanting::Module),
            Combine::Replace | Combine::Correct => None,
        }
    }
}

/// The last answer of a dialogue about a person's prompt and a run's, combined as the person says. `given` is the
/// prompt in input pixels; `propose` gives the run's, `None` without a prompt module.
pub(crate) fn answer(
    dialogue: &mut Dialogue<'_>,
    sam: &FrozenSam,
    prompt: &UserPrompt,
    given: &HostPrompt,
    propose: impl FnOnce() -> Option<Proposal>,
) -> Result<Reply, Wanting> {
    if prompt.is_empty() {
        return Ok(dialogue.begin(propose().ok_or(Wanting::Prompt)?));
    }
    match prompt.combine {
        Combine::Replace => Ok(dialogue.begin(host_prompts(given, sam).into())),
        Combine::Add => {
            let proposal = propose().ok_or(Wanting::Module)?;
            Ok(dialogue.begin(with_proposal(proposal, given, sam)))
        }
        Combine::Correct => {
            let first = propose().map(|proposal| dialogue.begin(proposal));
            let corners = given
                .box_xyxy
                .map(|corners| HostPrompt { box_xyxy: Some(corners), ..HostPrompt::default() });
            let points = given
                .points
                .iter()
                .map(|&point| HostPrompt { points: vec![point], box_xyxy: None });
            let rounds = corners.into_iter().chain(points);
            rounds.fold(first, |_, round| Some(dialogue.add(&round))).ok_or(Wanting::Prompt)
        }
    }
}

impl Prediction {
    /// Writes the mask as PNG.
    ///
    /// # Errors
    ///
    /// [`PredictError::Write`]
    pub fn save_mask(&self, path: &Path) -> Result<(), PredictError> {
        save_png(self.mask.clone().into(), path)
    }

    /// Writes the image with the mask in orange, foreground points in green, background points in
    /// red and the box in white.
    ///
    /// # Errors
    ///
    /// [`PredictError::Write`]
    pub fn save_overlay(&self, path: &Path) -> Result<(), PredictError> {
        let mut picture = self.image.clone();
        for (pixel, mask) in picture.pixels_mut().zip(self.mask.pixels()) {
            if mask.0[0] > 0 {
                for (value, tint) in pixel.0.iter_mut().zip([230_u16, 159, 0]) {
                    *value = ((u16::from(*value) + tint) / 2) as u8;
                }
            }
        }
        let radius = (picture.width().min(picture.height()) / 60).max(2) as i64;
        if let Some([x0, y0, x1, y1]) = self.box_xyxy {
            for along in x0 as i64..=x1 as i64 {
                dot(&mut picture, [along, y0 as i64], 1, Rgb([255, 255, 255]));
                dot(&mut picture, [along, y1 as i64], 1, Rgb([255, 255, 255]));
            }
            for along in y0 as i64..=y1 as i64 {
                dot(&mut picture, [x0 as i64, along], 1, Rgb([255, 255, 255]));
                dot(&mut picture, [x1 as i64, along], 1, Rgb([255, 255, 255]));
            }
        }
        for point in &self.points {
            let at = [point.x as i64, point.y as i64];
            let color = if point.label == 1 { Rgb([0, 158, 115]) } else { Rgb([213, 40, 0]) };
            dot(&mut picture, at, radius + 1, Rgb([255, 255, 255]));
            dot(&mut picture, at, radius, color);
        }
        save_png(picture.into(), path)
    }

    /// Writes `image_embedding`, `low_res_logits` (all three masks) and `iou_predictions` as
    /// safetensors, `f32`.
    ///
    /// # Errors
    ///
    /// [`PredictError::Write`]
    pub fn save_tensors(&self, path: &Path) -> Result<(), PredictError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| PredictError::Write {
            path: path.to_owned(),
            source,
        };
        let tensors = [
            ("image_embedding", bytes(self.image_embedding.clone())),
            ("low_res_logits", bytes(self.output.low_res_logits.clone())),
            ("iou_predictions", bytes(self.output.iou_predictions.clone())),
        ];
        let mut views = Vec::new();
        for (name, (shape, bytes)) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)
                .map_err(|error| failed(error.into()))?;
            views.push((*name, view));
        }
        let bytes = safetensors::serialize(views, None).map_err(|error| failed(error.into()))?;
        atomic_file::write(path, &bytes).map_err(|error| failed(error.into()))
    }
}

fn dot(picture: &mut RgbImage, [x, y]: [i64; 2], radius: i64, color: Rgb<u8>) {
    for dy in -radius..=radius {
        for dx in -radius..=radius {
            let inside = dx * dx + dy * dy <= radius * radius;
            let (Ok(x), Ok(y)) = (u32::try_from(x + dx), u32::try_from(y + dy)) else { continue };
            if inside && x < picture.width() && y < picture.height() {
                picture.put_pixel(x, y, color);
            }
        }
    }
}

fn save_png(picture: DynamicImage, path: &Path) -> Result<(), PredictError> {
    png::save(&picture, path)
        .map_err(|error| PredictError::Write { path: path.to_owned(), source: error.into() })
}

fn bytes<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<u8>) {
    let shape = tensor.dims().to_vec();
    (shape, floats(tensor).into_iter().flat_map(f32::to_le_bytes).collect())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}
