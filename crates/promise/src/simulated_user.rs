//! A simulated user who corrects a mask click by click: how much does a click bring?
//!
//! As in the interactive evaluation of RITM and SAM ([`error_center`]): the next click goes to the wrong pixel that lies
//! deepest inside of what is wrong in the same way, and tells the truth about it. Nothing is drawn.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    sync::atomic::{AtomicBool, Ordering},
};

use data_loaders::prefetch;
use metrics::{ErrorCenter, Mask, Protocol, SoftMap, error_center};
use run_record::{CaseRow, ClickRow, RunFolder, RunRecordError, read_rows, write_rows};
use sam_backbone::{Frame, FrozenSam, PointLabel};

use crate::{
    dialogue::{Dialogue, MaskChoice, MaskInput, Reply},
    evaluate::{EvaluateError, case_name, score_logits, true_mask},
    features::{EncodedCase, EncodedSet},
    model::Adapter,
    progress::Progress,
    prompt_source::{HostPrompt, prompt_seed},
    words::{UnknownWordError, Word},
};

/// What there is before the first click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The run's automatic prompts and the mask that they give.
    Auto,
    /// Nothing: the first click goes to the middle of the object.
    Click,
}

impl Word for Start {
    const WHAT: &'static str = "start";
    const ALL: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("click", Self::Click)];
}

impl std::str::FromStr for Start {
    type Err = UnknownWordError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name)
    }
}

/// What the user does, and what SAM gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulation {
    /// Clicks for each image, at least one; every one costs a pass of the decoder and a row.
    pub rounds: NonZeroUsize,
    /// What there is before the first click; by default the automatic prompts of a run that makes some.
    pub start: Option<Start>,
    /// The mask input of further rounds.
    pub mask_input: MaskInput,
    /// Which of SAM's masks is looked at and scored.
    pub mask_choice: MaskChoice,
}

/// What is simulated, by name.
#[derive(Debug, Clone, Copy)]
pub struct Simulated<'a> {
    /// Name of the experiment.
    pub experiment: &'a str,
    /// Name of the method.
    pub method: &'a str,
    /// Seed of the run.
    pub seed: u64,
    /// How masks are scored.
    pub protocol: Protocol,
    /// What the user does.
    pub simulation: Simulation,
}

impl Simulation {
    /// Whether a run with a prompt module or without one can be started so.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::NothingToStartFrom`]
    pub(crate) fn check(&self, method: &str, proposes: bool) -> Result<(), EvaluateError> {
        match self.start {
            Some(Start::Auto) if !proposes => {
                Err(EvaluateError::NothingToStartFrom { method: method.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Clicks through every case of `set`: for each case a row for each number of clicks.
///
/// # Errors
///
/// See [`EvaluateError`]; [`EvaluateError::NothingToStartFrom`] if there are no automatic prompts to start from.
pub fn simulate(
    simulated: &Simulated<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    set: &EncodedSet,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<ClickRow>, EvaluateError> {
    let data = set.cases.first().map_or("", |case| &case.data);
    let n = set.cases.len();
    progress.start(&format!("click through {data} with {}", simulated.method), n as u64);
    let workers = set.reading().workers;
    let mut rows = Vec::new();
    let click = |index: usize| click_through(simulated, adapter, sam, set, &set.cases[index], stop);
    let outcome = prefetch(n, workers, 2 * workers, click, |index, case: Result<Vec<_>, _>| {
        match case {
            Ok(case) => rows.extend(case),
            Err(error) => return ControlFlow::Break(error),
        }
        progress.set(index as u64 + 1);
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(error) = outcome {
        return Err(error);
    }
    progress.finish();
    Ok(rows)
}

fn click_through(
    simulated: &Simulated<'_>,
    adapter: &dyn Adapter,
    sam: &FrozenSam,
    set: &EncodedSet,
    case: &EncodedCase,
    stop: &AtomicBool,
) -> Result<Vec<ClickRow>, EvaluateError> {
    let Simulated { experiment, method, seed, protocol, simulation } = *simulated;
    let Simulation { rounds, start, mask_input, mask_choice } = simulation;
    let failed =
        |source| EvaluateError::Score { method: method.to_owned(), case: case_name(case), source };
    let truth = true_mask(case).map_err(failed)?;
    let image = adapter.needs_image() && start != Some(Start::Click);
    let prompt_seed = prompt_seed(seed, 0, &case.data, &case.id);
    let input = set.prompt_input(case, &adapter.taps(), image, prompt_seed, sam.device())?;
    let embedding = input.image_embedding.clone();
    let proposal = match start {
        Some(Start::Click) => None,
        Some(Start::Auto) => {
            let missing = || EvaluateError::NothingToStartFrom { method: method.to_owned() };
            Some(adapter.propose(input).ok_or_else(missing)?)
        }
        None => adapter.propose(input),
    };
    let started = if proposal.is_some() { Start::Auto } else { Start::Click };
    let shift = adapter.token_shift(embedding.clone());
    let mut dialogue = Dialogue::new(sam, embedding, shift, mask_input, mask_choice);

    let row = |clicks: usize, click: Option<ErrorCenter>| ClickRow {
        experiment: experiment.to_owned(),
        method: method.to_owned(),
        seed,
        data: case.data.clone(),
        split: set.data().split().to_owned(),
        protocol: protocol.name().to_owned(),
        start: started.name().to_owned(),
        mask_input: mask_input.name().to_owned(),
        mask_choice: mask_choice.name().to_owned(),
        file: case.id.clone(),
        clicks,
        x: click.map(|click| click.x as u32),
        y: click.map(|click| click.y as u32),
        label: click.map(|click| i32::from(click.missed)),
        ..ClickRow::default()
    };
    let scored = |row: ClickRow, reply: &Reply| -> Result<(ClickRow, Mask), EvaluateError> {
        let (scored, map) =
            score_logits(protocol, reply.logits(), &case.frame, &truth, CaseRow::default())
                .map_err(failed)?;
        let (dice, iou) = (scored.row.dice, scored.row.iou);
        let iou_prediction = Some(f64::from(reply.iou_prediction));
        Ok((ClickRow { dice, iou, iou_prediction, ..row }, seen(&map, &truth, &case.frame)))
    };

    let mut rows: Vec<ClickRow> = Vec::new();
    let nothing = vec![false; truth.pixels().len()];
    let mut prediction = Mask::new(truth.width(), truth.height(), nothing).map_err(failed)?;
    prediction = right_where_unseen(prediction.pixels().to_vec(), &truth, &case.frame);
    if let Some(proposal) = proposal {
        let (first, mask) = scored(row(0, None), &dialogue.begin(proposal))?;
        rows.push(first);
        prediction = mask;
    }
    let mut clicked = Vec::new();
    for clicks in 1..=rounds.get() {
        if stop.load(Ordering::Relaxed) {
            return Err(EvaluateError::Interrupted);
        }
        let center = error_center(&prediction, &truth, &clicked).map_err(failed)?;
        match (center, rows.last()) {
            (Some(center), _) => {
                clicked.push((center.x, center.y));
                let label =
                    if center.missed { PointLabel::Foreground } else { PointLabel::Background };
                // A pixel by its number, as SAM's predictor and our oracle points have it.
                let at = case.frame.input_from_image([center.x as f32, center.y as f32]);
                let click = HostPrompt { points: vec![(at, label)], box_xyxy: None };
                let (next, mask) = scored(row(clicks, Some(center)), &dialogue.add(&click))?;
                rows.push(next);
                prediction = mask;
            }
            // Nothing is left to be clicked: the answer stays.
            (None, Some(last)) => {
                let ClickRow { dice, iou, iou_prediction, .. } = *last;
                rows.push(ClickRow { dice, iou, iou_prediction, ..row(clicks, None) });
            }
            // An empty truth, and nothing predicted yet: that nothing is there is what nobody needs to click.
            (None, None) => {
                let empty = SoftMap::of_mask(&prediction);
                let named = CaseRow::default();
                let scored =
                    scoring::score_case(protocol, &empty, &truth, named).map_err(failed)?;
                let (dice, iou) = (scored.row.dice, scored.row.iou);
                rows.push(ClickRow { dice, iou, ..row(clicks, None) });
            }
        }
    }
    Ok(rows)
}

/// The mask as the user sees it, at the image's own size.
fn seen(map: &SoftMap, truth: &Mask, frame: &Frame) -> Mask {
    right_where_unseen(map.above(0.5).pixels().to_vec(), truth, frame)
}

/// A mask that is right where the image was cropped away: nobody clicks what the network does not see.
fn right_where_unseen(mut pixels: Vec<bool>, truth: &Mask, frame: &Frame) -> Mask {
    let (width, height) = (truth.width(), truth.height());
    for (at, (pixel, &right)) in pixels.iter_mut().zip(truth.pixels()).enumerate() {
        if !frame.shows(at % width, at / width) {
            *pixel = right;
        }
    }
    Mask::new(width, height, pixels).expect("it is as large as the truth")
}

/// Keeps rows in `clicks.csv` of a run. Those of earlier calls stay, but for evaluations that are made again: the same
/// data set, split, protocol, start, mask input and choice of the mask.
///
/// # Errors
///
/// [`RunRecordError`] if the file cannot be read or written.
pub fn keep(folder: &RunFolder, rows: Vec<ClickRow>) -> Result<(), RunRecordError> {
    let path = folder.clicks();
    let mut all: Vec<ClickRow> = if path.exists() { read_rows(&path)? } else { Vec::new() };
    all.retain(|row| !rows.iter().any(|new| new.evaluation() == row.evaluation()));
    all.extend(rows);
    let key = |row: &ClickRow| (row.evaluation().map(str::to_owned), row.file.clone(), row.clicks);
    all.sort_by_cached_key(key);
    write_rows(&path, &all)
}
