//! One image, one prompt, one mask.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use data_loaders::{DataError, decode_image};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use prompting::PromptInput;
use run_record::PanelPoint;
use safetensors::{Dtype, tensor::TensorView};
use sam_backbone::{MaskDecoderOutput, PointLabel, ResizeMode, input_tensor, masks_in_image};

use crate::{
    backbone::Backbone,
    evaluate::{host_prompts, prompts_in_image},
    frame::frame_of,
    hypotheses::decode_best,
    model::{Adapter, USED_MASK},
    png,
    prompt_source::{HostPrompt, prompt_seed},
};

/// A person's prompt, in pixels of the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserPrompt {
    /// `(x, y)` and label, 1 foreground, 0 background.
    pub points: Vec<([f32; 2], PointLabel)>,
    /// `(x0, y0, x1, y1)`.
    pub box_xyxy: Option<[f32; 4]>,
}

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
        "no prompt: give --point x,y,label or --box x0,y0,x1,y1, or a run with a prompt module"
    )]
    NoPrompt,
    /// A point or box lies outside of the image.
    #[error("({x}, {y}) lies outside of the image, which is {width} x {height}: {}", path.display())]
    Outside {
        /// Column.
        x: f32,
        /// Row.
        y: f32,
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
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
/// With a run, its token shift is applied, and its prompt module proposes if the person does not;
/// the mask is the one that the run was trained for. Without a run, the mask with the highest
/// predicted IoU is taken, as SAM's own predictor does.
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
    let corners = prompt.box_xyxy.iter().flat_map(|&[x0, y0, x1, y1]| [[x0, y0], [x1, y1]]);
    for [x, y] in prompt.points.iter().map(|(at, _)| *at).chain(corners) {
        if !(0.0..=width as f32).contains(&x) || !(0.0..=height as f32).contains(&y) {
            return Err(PredictError::Outside { x, y, width, height, path: path.to_owned() });
        }
    }
    let frame = frame_of(&image, resize, backbone.sam.config().image_encoder.image_size);
    let taps = adapter.map_or_else(Vec::new, Adapter::taps);
    let device = backbone.sam.device();
    let input = input_tensor(&image, &frame, device);
    let encoded = backbone.sam.encode(input.clone(), &taps);
    let embedding = encoded.image_embedding.clone();

    // What lies on a border that was cropped away moves to the edge of what is shown.
    let in_input = |at| frame.input_from_image(frame.nearest_shown(at));
    let given = HostPrompt {
        points: prompt.points.iter().map(|(at, label)| (in_input(*at), *label)).collect(),
        box_xyxy: prompt.box_xyxy.map(|[x0, y0, x1, y1]| {
            let [[x0, y0], [x1, y1]] = [in_input([x0, y0]), in_input([x1, y1])];
            [x0, y0, x1, y1]
        }),
    };
    let proposal = if given == HostPrompt::default() {
        // Whatever a module draws, it draws by the name of the file.
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let input = PromptInput {
            image_embedding: embedding.clone(),
            block_features: encoded.block_features,
            image: adapter.is_some_and(Adapter::needs_image).then_some(input),
            seeds: vec![prompt_seed(0, 0, "", &name)],
        };
        adapter.and_then(|adapter| adapter.propose(input)).ok_or(PredictError::NoPrompt)?
    } else {
        host_prompts(&given, &backbone.sam).into()
    };
    let shift = adapter.and_then(|adapter| adapter.token_shift(embedding.clone()));
    let (prompts, output) = decode_best(&backbone.sam, &embedding, proposal, shift.as_ref());
    let (points, box_xyxy) = prompts_in_image(&prompts, &frame);

    let iou = floats(output.iou_predictions.clone());
    let best = (0..iou.len()).max_by(|&a, &b| iou[a].total_cmp(&iou[b])).unwrap_or(USED_MASK);
    let used_mask = if adapter.is_some() { USED_MASK } else { best };
    let logits = output.low_res_logits.clone().slice_dim(1, used_mask..used_mask + 1);
    let mask = floats(masks_in_image(logits, &frame))
        .into_iter()
        .map(|logit| if logit > 0.0 { 255 } else { 0 })
        .collect();
    Ok(Prediction {
        mask: GrayImage::from_raw(width, height, mask).expect("one logit per pixel"),
        image,
        points,
        box_xyxy,
        used_mask,
        iou_prediction: iou[used_mask],
        image_embedding: embedding,
        output,
    })
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
