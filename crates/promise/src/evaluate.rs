//! Scores of a method: every test case, every prompt source, one protocol.

use std::{
    fmt, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use burn::tensor::{Int, Tensor, TensorData, activation};
use data_loaders::{TruthMask, prefetch};
use metrics::{Mask, MetricsError, Protocol, SoftMap};
use prompting::{PromptInput, Prompts};
use run_record::{CaseRow, CurveRow, PanelPoint, ResultRow};
use sam_backbone::{Frame, FrozenSam, ImageSize, ResizeMode, masks_in_image};
use scoring::{
    PredictionError, ScoredCase, prediction_file, score_case, summarize, write_prediction,
};

use crate::{
    dialogue::{Dialogue, MaskChoice, MaskInput},
    features::{EncodedCase, EncodedSet, FeatureError},
    model::Adapter,
    person::{Combine, ImagePrompt, OutsideError, PromptFile, UserPrompt},
    predict::{Wanting, answer},
    progress::Progress,
    prompt_source::{
        HostPrompt, PromptSource, case_generator, fixed_prompt, ground_truth_points, prompt_seed,
    },
};

/// Where the prompts of a row come from: a source that knows what to say about any case, or a person who has said
/// something about some.
#[derive(Debug, Clone, Copy)]
pub enum CasePrompts<'a> {
    /// A source.
    Source(PromptSource),
    /// A person, by a file. Only the cases that it names are scored.
    Person {
        /// The prompts.
        file: &'a PromptFile,
        /// How they go together with the run's, for every image; by default as the file says.
        combine: Option<Combine>,
    },
}

impl From<PromptSource> for CasePrompts<'_> {
    fn from(source: PromptSource) -> Self {
        Self::Source(source)
    }
}

impl CasePrompts<'_> {
    /// Whether the prompts are made from the truth.
    pub fn is_oracle(&self) -> bool {
        matches!(self, Self::Source(source) if source.is_oracle())
    }

    /// Whether every image gets a prompt, of a run with a prompt module or without one.
    ///
    /// # Errors
    ///
    /// What is wanting, and what can be asked for instead.
    pub(crate) fn check(&self, method: &str, proposes: bool) -> Result<(), EvaluateError> {
        match *self {
            Self::Source(PromptSource::Auto) if !proposes => {
                Err(EvaluateError::NoModule { method: method.to_owned() })
            }
            Self::Source(_) => Ok(()),
            Self::Person { file, combine } => file.images.iter().try_for_each(|(image, prompt)| {
                let prompt = combined(prompt, combine, image)?;
                match prompt.wanting(proposes) {
                    None => Ok(()),
                    Some(wanting) => Err(wanting_of(wanting, method, image, combine)),
                }
            }),
        }
    }

    /// Whether the run's prompt module may be asked.
    fn may_propose(&self) -> bool {
        matches!(self, Self::Source(PromptSource::Auto) | Self::Person { .. })
    }
}

impl fmt::Display for CasePrompts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Source(source) => source.name(),
            Self::Person { combine, .. } => match combine {
                None => "person",
                Some(Combine::Replace) => "person_replace",
                Some(Combine::Add) => "person_add",
                Some(Combine::Correct) => "person_correct",
            },
        })
    }
}

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
    pub prompts: CasePrompts<'a>,
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
    /// A simulated user is to begin with automatic prompts, and there is no module.
    #[error(
        "`{method}` has no prompt module, so there are no automatic prompts to start from; `--start click` begins with the \
         first click"
    )]
    NothingToStartFrom {
        /// The method.
        method: String,
    },
    /// Prompts are to be added to those of a module, and there is none.
    #[error(
        "`{method}` has no prompt module, so there are no automatic prompts to add those of `{image}` to, as {by} has it; \
         `--combine replace` takes them alone"
    )]
    NothingToAddTo {
        /// The method.
        method: String,
        /// The image, as the file of prompts calls it.
        image: String,
        /// Who asks for it.
        by: &'static str,
    },
    /// A file of prompts has nothing but automatic prompts for an image, and there is no module.
    #[error(
        "`{method}` has no prompt module, and automatic prompts are all that the file has for `{image}`; give it a point or \
         a box, or leave it out"
    )]
    OnlyAutomatic {
        /// The method.
        method: String,
        /// The image, as the file of prompts calls it.
        image: String,
    },
    /// A file of prompts has nothing but automatic prompts for an image, and these are not wanted.
    #[error("`{image}` has automatic prompts only, which `--combine replace` leaves out")]
    NothingLeft {
        /// The image, as the file of prompts calls it.
        image: String,
    },
    /// A person's prompt lies outside of the image.
    #[error("{place}: {case}")]
    Outside {
        /// The place, and the size of the image.
        place: OutsideError,
        /// Data set and case.
        case: String,
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

/// The prompt of an image of a file.
fn combined(
    prompt: &ImagePrompt,
    combine: Option<Combine>,
    image: &str,
) -> Result<UserPrompt, EvaluateError> {
    let left = prompt.user_prompt(combine);
    left.ok_or_else(|| EvaluateError::NothingLeft { image: image.to_owned() })
}

/// What is wanting of an image of a file, in words.
fn wanting_of(
    wanting: Wanting,
    method: &str,
    image: &str,
    combine: Option<Combine>,
) -> EvaluateError {
    let (method, image) = (method.to_owned(), image.to_owned());
    match wanting {
        Wanting::Prompt => EvaluateError::OnlyAutomatic { method, image },
        Wanting::Module => {
            let by = if combine.is_some() { "`--combine add`" } else { "`automatic` of the file" };
            EvaluateError::NothingToAddTo { method, image, by }
        }
    }
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
    let Evaluation { prompts, seed, .. } = *evaluation;
    let asked: Vec<usize> = (0..set.cases.len())
        .filter(|&index| match prompts {
            CasePrompts::Source(_) => true,
            CasePrompts::Person { file, .. } => file.of(&set.cases[index].id).is_some(),
        })
        .collect();
    let n = asked.len();
    progress.start(&format!("evaluate {} on {data} with {prompts}", evaluation.method), n as u64);
    if let Some(folder) = evaluation.predictions {
        let failed = |source| EvaluateError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let wanted = evenly_spaced(evaluation.panels, n);
    let mut rows = Vec::with_capacity(n);
    let (mut curves, mut levels, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut case_secs, mut prompt_secs) = (0.0, None::<f64>);
    // One case at a time leaves threads idle: many of its operations are too small to be shared out.
    let workers = set.reading().workers;
    let score_case = |place: usize| {
        let index = asked[place];
        let scored = score(evaluation, adapter, sam, set, &set.cases[index])?;
        let picture = wanted.contains(&place).then(|| scored.picture(index));
        Ok((scored.case, picture, scored.secs, scored.prompt_secs))
    };
    let outcome = prefetch(n, workers, 2 * workers, score_case, |place, scored| {
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
        progress.set(place as u64 + 1);
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
    let image = adapter.needs_image() && evaluation.prompts.may_propose();
    let seed = prompt_seed(evaluation.seed, 0, &case.data, &case.id);
    let input = set.prompt_input(case, &adapter.taps(), image, seed, sam.device())?;
    let start = Instant::now();
    let Predicted { logits, points, box_xyxy, prompt_secs } =
        predict_case(evaluation, adapter, sam, case, input)?;
    let failed = |source| EvaluateError::Score {
        method: evaluation.method.to_owned(),
        case: case_name(case),
        source,
    };
    let truth = true_mask(case).map_err(failed)?;
    let named = CaseRow {
        experiment: evaluation.experiment.to_owned(),
        method: evaluation.method.to_owned(),
        seed: evaluation.seed,
        data: case.data.clone(),
        split: set.data().split().to_owned(),
        prompts: evaluation.prompts.to_string(),
        oracle: evaluation.prompts.is_oracle(),
        file: case.id.clone(),
        ..CaseRow::default()
    };
    let (scored, map) =
        score_logits(evaluation.protocol, logits, &case.frame, &truth, named).map_err(failed)?;
    let secs = start.elapsed().as_secs_f64();
    if let Some(folder) = evaluation.predictions {
        write_prediction(&folder.join(prediction_file(&case.id)), &map)?;
    }
    Ok(Scored { case: scored, map, points, box_xyxy, secs, prompt_secs })
}

/// Data set and case, for messages.
pub(crate) fn case_name(case: &EncodedCase) -> String {
    format!("{}/{}", case.data, case.id)
}

/// The true mask at the image's own size.
pub(crate) fn true_mask(case: &EncodedCase) -> Result<Mask, MetricsError> {
    let TruthMask { width, height, values } = case.truth.mask();
    Mask::new(width as usize, height as usize, values)
}

/// The scores of an answer by a protocol, and its soft map at the image's own size.
///
/// - `logits`: `[1, 1, h, w]`
pub(crate) fn score_logits(
    protocol: Protocol,
    logits: Tensor<4>,
    frame: &Frame,
    truth: &Mask,
    named: CaseRow,
) -> Result<(ScoredCase, SoftMap), MetricsError> {
    let at = |frame: &Frame| {
        let ImageSize { width, height } = frame.image;
        let probabilities = floats(activation::sigmoid(masks_in_image(logits.clone(), frame)));
        SoftMap::from_f32(width, height, &probabilities)
    };
    let map = at(frame)?;
    // At the size that the protocol compares at, straight from the decoder, where that is another one and possible.
    let compared = compared_frame(protocol, frame).map(|frame| at(&frame)).transpose()?;
    let scored = score_case(protocol, compared.as_ref().unwrap_or(&map), truth, named)?;
    Ok((scored, map))
}

struct Predicted {
    /// `[1, 1, h, w]`
    logits: Tensor<4>,
    points: Vec<PanelPoint>,
    box_xyxy: Option<[f32; 4]>,
    prompt_secs: Option<f64>,
}

fn predict_case(
    evaluation: &Evaluation<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    case: &EncodedCase,
    input: PromptInput,
) -> Result<Predicted, EvaluateError> {
    let embedding = input.image_embedding.clone();
    let mut prompt_secs = None;
    let no_module = || EvaluateError::NoModule { method: evaluation.method.to_owned() };
    let propose = || {
        let start = Instant::now();
        let proposal = adapter.propose(input)?;
        // A device may still be at it. If it cannot say so, reading the prompts will.
        let _ = sam.device().sync();
        prompt_secs = Some(start.elapsed().as_secs_f64());
        Some(proposal)
    };
    let shift = adapter.token_shift(embedding.clone());
    let (mask_input, choice) = (MaskInput::Previous, MaskChoice::Used);
    let mut dialogue = Dialogue::new(sam, embedding, shift, mask_input, choice);
    let reply = match evaluation.prompts {
        CasePrompts::Source(PromptSource::Auto) => dialogue.begin(propose().ok_or_else(no_module)?),
        CasePrompts::Source(PromptSource::GroundTruth) => {
            let mut rng = case_generator(evaluation.seed, 0, &case.data, &case.id);
            let points =
                ground_truth_points(&case.truth.mask(), &case.frame, evaluation.n_points, &mut rng);
            dialogue.begin(host_prompts(&points, sam).into())
        }
        CasePrompts::Source(source) => {
            let fixed = fixed_prompt(source, &case.frame, evaluation.n_points).unwrap_or_default();
            dialogue.begin(host_prompts(&fixed, sam).into())
        }
        CasePrompts::Person { file, combine } => {
            let prompt =
                combined(&file.of(&case.id).cloned().unwrap_or_default(), combine, &case.id)?;
            let given = prompt
                .in_input(&case.frame)
                .map_err(|place| EvaluateError::Outside { place, case: case_name(case) })?;
            answer(&mut dialogue, sam, &prompt, &given, propose)
                .map_err(|wanting| wanting_of(wanting, evaluation.method, &case.id, combine))?
        }
    };
    let (points, box_xyxy) = prompts_in_image(&dialogue.into_prompts(), &case.frame);
    Ok(Predicted { logits: reply.logits(), points, box_xyxy, prompt_secs })
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
