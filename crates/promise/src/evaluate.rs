//! Scores of a method: every test case, every prompt source, one protocol.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use burn::tensor::{Int, Tensor, TensorData, activation};
use data_loaders::{TruthMask, prefetch};
use metrics::{Mask, MetricsError, Protocol, SoftMap};
use prompting::{PromptInput, Prompts, Proposal};
use run_record::{CaseRow, CurveRow, PanelPoint, ResultRow};
use sam_backbone::{Frame, FrozenSam, ImageSize, ResizeMode, masks_in_image};
use scoring::{
    PredictionError, ScoredCase, prediction_file, score_case, summarize, write_prediction,
};

use crate::{
    features::{EncodedCase, EncodedSet, FeatureError},
    hypotheses::decode_best,
    model::{Adapter, USED_MASK},
    progress::Progress,
    prompt_source::{
        HostPrompt, PromptSource, case_generator, fixed_prompt, ground_truth_points, prompt_seed,
    },
};

/// What is scored, and how.
#[derive(Debug, Clone)]
pub struct Evaluation<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// Name of the method.
    pub method: &'a str,
    /// Seed of the run; oracle points and bootstrap intervals depend on it.
    pub seed: u64,
    /// Where prompts come from.
    pub source: PromptSource,
    /// How masks are scored.
    pub protocol: Protocol,
    /// Points of `ground_truth` and `grid`.
    pub n_points: usize,
    /// Pictures to keep, evenly spaced over the cases.
    pub panels: usize,
    /// Folder for the soft maps of all cases, one PNG each, if they are to be kept.
    pub predictions: Option<&'a Path>,
}

/// The scores of one data set with one prompt source.
#[derive(Debug)]
pub struct Evaluated {
    /// One row a case.
    pub cases: Vec<CaseRow>,
    /// What curves over thresholds are made of, one row a case; none if the protocol has no curves.
    pub curves: Vec<CurveRow>,
    /// Their mean.
    pub row: ResultRow,
    /// Pictures of some cases.
    pub pictures: Vec<Picture>,
    /// Seconds that each case took from its features to its scores, added up.
    pub case_secs: f64,
    /// The part of them that the prompt module took to propose; none where it does not.
    pub prompt_secs: Option<f64>,
}

/// A case to look at.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Place among the cases of the set.
    pub index: usize,
    /// Predicted mask at the image's size, row-major.
    pub prediction: Vec<bool>,
    /// Points in image pixels.
    pub points: Vec<PanelPoint>,
    /// Box in image pixels.
    pub box_xyxy: Option<[f32; 4]>,
    /// Dice, if defined.
    pub dice: Option<f64>,
    /// IoU, if defined.
    pub iou: Option<f64>,
}

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// `auto` was asked for, but the method has no prompt module.
    #[error(
        "`{method}` has no prompt module, so it cannot be evaluated with `auto`; expected one of `ground_truth`, `grid`, `center`, `box_full`"
    )]
    NoModule {
        /// The method.
        method: String,
    },
    /// Features of an image cannot be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The prediction cannot be scored, e.g. because it is no number.
    #[error("`{method}` on {case}: the prediction cannot be scored")]
    Score {
        /// The method.
        method: String,
        /// Data set and case.
        case: String,
        /// Why.
        source: MetricsError,
    },
    /// A prediction cannot be kept.
    #[error(transparent)]
    Prediction(#[from] PredictionError),
    /// The folder of the predictions cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Scores every case of `set`.
///
/// # Errors
///
/// See [`EvaluateError`].
pub fn evaluate(
    evaluation: &Evaluation<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    set: &EncodedSet,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Evaluated, EvaluateError> {
    let data = set.cases.first().map_or("", |case| &case.data).to_owned();
    let Evaluation { source, seed, .. } = *evaluation;
    progress.start(
        &format!("evaluate {} on {data} with {source}", evaluation.method),
        set.cases.len() as u64,
    );
    if let Some(folder) = evaluation.predictions {
        let failed = |source| EvaluateError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let wanted = evenly_spaced(evaluation.panels, set.cases.len());
    let n = set.cases.len();
    let mut rows = Vec::with_capacity(n);
    let (mut curves, mut levels, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut case_secs, mut prompt_secs) = (0.0, None::<f64>);
    // One case at a time leaves threads idle: many of its operations are too small to be shared out.
    let workers = set.reading().workers;
    let score_case = |index: usize| {
        let case = &set.cases[index];
        let scored = score(evaluation, adapter, sam, set, case)?;
        let picture = wanted.contains(&index).then(|| scored.picture(index));
        Ok((scored.case, picture, scored.secs, scored.prompt_secs))
    };
    let outcome = prefetch(n, workers, 2 * workers, score_case, |index, scored| {
        if stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(EvaluateError::Interrupted);
        }
        match scored {
            Ok((case, picture, secs, proposing)) => {
                case_secs += secs;
                if let Some(secs) = proposing {
                    prompt_secs = Some(prompt_secs.unwrap_or(0.0) + secs);
                }
                curves.extend(case.curve());
                levels.extend(case.levels);
                rows.push(case.row);
                pictures.extend(picture);
            }
            Err(error) => return ControlFlow::Break(error),
        }
        progress.set(index as u64 + 1);
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(error) = outcome {
        return Err(error);
    }
    progress.finish();
    let row = summarize(evaluation.protocol, &rows, &levels, seed);
    Ok(Evaluated { row, cases: rows, curves, pictures, case_secs, prompt_secs })
}

/// A case that was predicted and scored.
struct Scored {
    case: ScoredCase,
    /// At the image's size.
    map: SoftMap,
    points: Vec<PanelPoint>,
    box_xyxy: Option<[f32; 4]>,
    /// Seconds from features to scores.
    secs: f64,
    /// Seconds of the prompt module.
    prompt_secs: Option<f64>,
}

impl Scored {
    fn picture(&self, index: usize) -> Picture {
        Picture {
            index,
            prediction: self.map.above(0.5).pixels().to_vec(),
            points: self.points.clone(),
            box_xyxy: self.box_xyxy,
            dice: self.case.row.dice,
            iou: self.case.row.iou,
        }
    }
}

fn score(
    evaluation: &Evaluation<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    set: &EncodedSet,
    case: &EncodedCase,
) -> Result<Scored, EvaluateError> {
    // The image itself is at hand too: it is read for the module alone.
    let image = adapter.needs_image() && evaluation.source == PromptSource::Auto;
    let seed = prompt_seed(evaluation.seed, 0, &case.data, &case.id);
    let input = set.prompt_input(case, &adapter.taps(), image, seed, sam.device())?;
    let start = Instant::now();
    let prediction = predict_case(evaluation, adapter, sam, case, input)?;
    let failed = |source| EvaluateError::Score {
        method: evaluation.method.to_owned(),
        case: format!("{}/{}", case.data, case.id),
        source,
    };
    let TruthMask { width, height, values } = case.truth.mask();
    let (width, height) = (width as usize, height as usize);
    let truth = Mask::new(width, height, values).map_err(failed)?;
    let map = SoftMap::from_f32(width, height, &prediction.probabilities).map_err(failed)?;
    let named = CaseRow {
        experiment: evaluation.experiment.to_owned(),
        method: evaluation.method.to_owned(),
        seed: evaluation.seed,
        data: case.data.clone(),
        split: set.data().split().to_owned(),
        prompts: evaluation.source.to_string(),
        oracle: evaluation.source.is_oracle(),
        file: case.id.clone(),
        ..CaseRow::default()
    };
    let compared = match prediction.compared {
        Some(ImageMap { size, probabilities }) => {
            Some(SoftMap::from_f32(size.width, size.height, &probabilities).map_err(failed)?)
        }
        None => None,
    };
    let compared = compared.as_ref().unwrap_or(&map);
    let scored = score_case(evaluation.protocol, compared, &truth, named).map_err(failed)?;
    let secs = start.elapsed().as_secs_f64();
    if let Some(folder) = evaluation.predictions {
        write_prediction(&folder.join(prediction_file(&case.id)), &map)?;
    }
    let Prediction { points, box_xyxy, prompt_secs, .. } = prediction;
    Ok(Scored { case: scored, map, points, box_xyxy, secs, prompt_secs })
}

struct Prediction {
    /// At the image's size, row-major.
    probabilities: Vec<f32>,
    /// At the size that the protocol compares at, straight from the decoder, where that is another one and
    /// possible.
    compared: Option<ImageMap>,
    points: Vec<PanelPoint>,
    box_xyxy: Option<[f32; 4]>,
    prompt_secs: Option<f64>,
}

/// Probabilities of a size, row-major.
struct ImageMap {
    size: ImageSize,
    probabilities: Vec<f32>,
}

fn predict_case(
    evaluation: &Evaluation<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    case: &EncodedCase,
    input: PromptInput,
) -> Result<Prediction, EvaluateError> {
    let embedding = input.image_embedding.clone();
    let mut prompt_secs = None;
    let proposal: Proposal = match evaluation.source {
        PromptSource::Auto => {
            let start = Instant::now();
            let proposal = adapter
                .propose(input)
                .ok_or_else(|| EvaluateError::NoModule { method: evaluation.method.to_owned() })?;
            // A device may still be at it. If it cannot say so, reading the prompts will.
            let _ = sam.device().sync();
            prompt_secs = Some(start.elapsed().as_secs_f64());
            proposal
        }
        PromptSource::GroundTruth => {
            let mut rng = case_generator(evaluation.seed, 0, &case.data, &case.id);
            let points =
                ground_truth_points(&case.truth.mask(), &case.frame, evaluation.n_points, &mut rng);
            host_prompts(&points, sam).into()
        }
        source => {
            let fixed = fixed_prompt(source, &case.frame, evaluation.n_points).unwrap_or_default();
            host_prompts(&fixed, sam).into()
        }
    };
    let shift = adapter.token_shift(embedding.clone());
    let (prompts, output) = decode_best(sam, &embedding, proposal, shift.as_ref());
    let (points, box_xyxy) = prompts_in_image(&prompts, &case.frame);
    let logits = output.low_res_logits.slice_dim(1, USED_MASK..USED_MASK + 1);
    let at = |frame: &Frame| floats(activation::sigmoid(masks_in_image(logits.clone(), frame)));
    let compared = compared_frame(evaluation.protocol, &case.frame)
        .map(|frame| ImageMap { size: frame.image, probabilities: at(&frame) });
    Ok(Prediction { probabilities: at(&case.frame), compared, points, box_xyxy, prompt_secs })
}

/// The frame that brings logits straight to the size that a protocol compares at: there and back by way of the image
/// would blur them twice. Nothing where that is the image's own size, or where the input shows more or less than the
/// image, so that the way leads over it.
fn compared_frame(protocol: Protocol, frame: &Frame) -> Option<Frame> {
    let (width, height) = protocol.size(frame.image.width, frame.image.height);
    let size = ImageSize { height, width };
    let fills_input = matches!(frame.mode, ResizeMode::Plain | ResizeMode::MedSam);
    let straight = fills_input && size != frame.image;
    straight.then(|| Frame::new(size, frame.mode, frame.input_size))
}

/// A prompt of the host as tensors of a batch of one.
pub fn host_prompts(prompt: &HostPrompt, sam: &FrozenSam) -> Prompts {
    let device = sam.device();
    let points = (!prompt.points.is_empty()).then(|| {
        let coords: Vec<f32> = prompt.points.iter().flat_map(|(at, _)| *at).collect();
        let labels: Vec<i32> = prompt.points.iter().map(|(_, label)| label.value()).collect();
        let n = labels.len();
        (
            Tensor::from_data(TensorData::new(coords, [1, n, 2]), device),
            Tensor::<2, Int>::from_data(TensorData::new(labels, [1, n]), device),
        )
    });
    let boxes = prompt
        .box_xyxy
        .map(|corners| Tensor::from_data(TensorData::new(corners.to_vec(), [1, 4]), device));
    Prompts { points, boxes, mask_input: None }
}

/// Points and box of a batch of one, in image pixels; padding points are left out.
pub fn prompts_in_image(prompts: &Prompts, frame: &Frame) -> (Vec<PanelPoint>, Option<[f32; 4]>) {
    let points = prompts.points.iter().flat_map(|(coords, labels)| {
        let coords = floats(coords.clone());
        let labels =
            labels.clone().into_data().try_into_vec_as::<i32>().expect("an integer tensor");
        coords
            .chunks_exact(2)
            .zip(labels)
            .filter(|(_, label)| *label >= 0)
            .map(|(at, label)| {
                let [x, y] = frame.image_from_input([at[0], at[1]]);
                PanelPoint { x, y, label }
            })
            .collect::<Vec<_>>()
    });
    let box_xyxy = prompts.boxes.as_ref().and_then(|boxes| {
        let corners = floats(boxes.clone());
        let &[x0, y0, x1, y1] = corners.first_chunk::<4>()?;
        Some(frame.image_box_from_input([x0, y0, x1, y1]))
    });
    (points.collect(), box_xyxy)
}

/// `count` places spread evenly over `n`.
fn evenly_spaced(count: usize, n: usize) -> Vec<usize> {
    let count = count.min(n);
    (0..count).map(|index| (2 * index + 1) * n / (2 * count)).collect()
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().expect("a float tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_spread_over_the_set() {
        assert_eq!(evenly_spaced(4, 100), [12, 37, 62, 87]);
        assert_eq!(evenly_spaced(3, 2), [0, 1]);
        assert_eq!(evenly_spaced(0, 5), [0_usize; 0]);
    }

    #[test]
    fn a_protocol_of_its_own_size_gets_the_logits_unless_the_input_is_cut_or_padded() {
        let image = ImageSize { height: 480, width: 640 };
        let square = ImageSize { height: 256, width: 256 };
        let plain = Frame::new(image, ResizeMode::Plain, 1024);
        let frame = compared_frame(Protocol::PromiseReference, &plain).expect("another size");
        assert_eq!((frame.image, frame.input_size), (square, 1024));
        assert!(compared_frame(Protocol::Pranet, &plain).is_none());
        let same = Frame::new(square, ResizeMode::Plain, 1024);
        assert!(compared_frame(Protocol::PromiseReference, &same).is_none());
        let padded = Frame::new(image, ResizeMode::LongestSide, 1024);
        assert!(compared_frame(Protocol::PromiseReference, &padded).is_none());
    }
}
