//! A folder of predictions.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use data_loaders::{
    DataError, PredictionPair, decode_gray_map, decode_truth_map, pair_predictions,
};
use metrics::{LevelCounts, Mask, MetricsError, Protocol};
use rayon::prelude::*;
use run_record::{CaseRow, CurveRow, ResultRow};

use crate::prediction::soft_map;
use crate::{ScoredCase, score_case, summarize};

/// Seed of the bootstrap intervals. Any number would do; the same one gives the same file.
const SEED: u64 = 0;

/// The scores of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderScores {
    /// The protocol.
    pub protocol: Protocol,
    /// One row a prediction, sorted by name.
    pub cases: Vec<CaseRow>,
    /// What curves over thresholds are made of, case by case; empty where the protocol has none.
    pub curves: Vec<CurveRow>,
    /// The means.
    pub mean: ResultRow,
    /// Truths that nothing was predicted for, sorted. They are in no mean.
    pub unpredicted: Vec<PathBuf>,
    /// Predictions whose size was not that of their truth.
    pub resized: usize,
    /// Predictions whose largest level is 1 (of 255, or of 65,535), sorted: most likely masks that were stored as 0 and
    /// 1, which are scored as black.
    pub nearly_black: Vec<PathBuf>,
}

/// Why a folder was not scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file or folder cannot be read, or nothing fits together.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A prediction is about no truth: most likely the folders do not belong together.
    #[error(
        "{count} of {all} predictions have no truth of their name, first: {}; truths folder: {}",
        first.display(), truths.display()
    )]
    NoTruth {
        /// Predictions without a truth.
        count: usize,
        /// All predictions.
        all: usize,
        /// The first of them.
        first: PathBuf,
        /// Where truths were looked for.
        truths: PathBuf,
    },
    /// A case has pixels that cannot be compared.
    #[error("cannot score the prediction {}", path.display())]
    Metrics {
        /// The prediction.
        path: PathBuf,
        /// Why.
        source: MetricsError,
    },
}

/// Scores every prediction of a folder against the truth of its name.
///
/// Predictions are gray pictures of 8 or 16 bits, of whatever program; white is 1. One of another size than its truth
/// is brought to it bilinearly and counted. A truth is foreground above the level that the
/// [protocol](Protocol::truth_threshold) says; one that is neither all black nor above half of white anywhere is an
/// error ([`DataError::DimMask`]), since it would count as empty. Several cases are scored at a time; `progress` gets the number of
/// cases done and of all: first 0, then, from any thread, one more after each.
///
/// # Errors
///
/// See [`ScoreError`]; of several broken files the first by name is reported.
pub fn score_folder(
    predictions: &Path,
    truths: &Path,
    protocol: Protocol,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<FolderScores, ScoreError> {
    let (pairs, unpredicted) = pair_predictions(predictions, truths)?;
    let without: Vec<&PredictionPair> = pairs.iter().filter(|pair| pair.truth.is_none()).collect();
    if let Some(first) = without.first() {
        return Err(ScoreError::NoTruth {
            count: without.len(),
            all: pairs.len(),
            first: first.prediction.clone(),
            truths: truths.into(),
        });
    }
    let named = CaseRow { method: name(predictions), data: name(truths), ..CaseRow::default() };
    let done = AtomicUsize::new(0);
    progress(0, pairs.len());
    let results: Vec<Result<ScoredPair, ScoreError>> = pairs
        .par_iter()
        .map(|pair| {
            let scored = score_pair(pair, protocol, &named);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, pairs.len());
            scored
        })
        .collect();

    let (mut cases, mut curves, mut levels) = (Vec::new(), Vec::new(), Vec::<LevelCounts>::new());
    let (mut resized, mut nearly_black) = (0, Vec::new());
    for (result, pair) in results.into_iter().zip(&pairs) {
        let scored = result?;
        resized += usize::from(scored.resized);
        if scored.nearly_black {
            nearly_black.push(pair.prediction.clone());
        }
        curves.extend(scored.case.curve());
        levels.extend(scored.case.levels);
        cases.push(scored.case.row);
    }
    let mean = summarize(protocol, &cases, &levels, SEED);
    Ok(FolderScores { protocol, cases, curves, mean, unpredicted, resized, nearly_black })
}

/// The name of a folder, as it stands in the rows.
fn name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A prediction that was scored.
struct ScoredPair {
    case: ScoredCase,
    /// Whether it had another size than its truth.
    resized: bool,
    /// Whether its largest level is 1.
    nearly_black: bool,
}

fn score_pair(
    pair: &PredictionPair,
    protocol: Protocol,
    named: &CaseRow,
) -> Result<ScoredPair, ScoreError> {
    let truth = pair.truth.as_deref().expect("predictions without a truth were refused");
    let truth = read_truth(truth, protocol)?;
    let picture = decode_gray_map(&pair.prediction)?;
    let nearly_black = picture.levels.iter().max() == Some(&1);
    let map = soft_map(picture);
    let resized = (map.width(), map.height()) != (truth.width(), truth.height());
    let named = CaseRow { file: pair.id.clone(), ..named.clone() };
    let case = score_case(protocol, &map, &truth, named)
        .map_err(|source| ScoreError::Metrics { path: pair.prediction.clone(), source })?;
    Ok(ScoredPair { case, resized, nearly_black })
}

/// Reads a truth as the protocol cuts it.
fn read_truth(path: &Path, protocol: Protocol) -> Result<Mask, DataError> {
    let truth = decode_truth_map(path)?;
    let most = f64::from(truth.white);
    // In levels of 8 bits, whatever the depth of the file.
    let above = f64::from(protocol.truth_threshold()) / 255.0;
    let pixels = truth.levels.iter().map(|&level| f64::from(level) / most > above).collect();
    Ok(Mask::new(truth.width as usize, truth.height as usize, pixels)
        .expect("a picture has pixels"))
}
