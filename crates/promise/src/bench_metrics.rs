//! What scoring a case by protocol `pranet` costs, and what it costs with `pysodmetrics`: the same pictures, one thread.
//!
//! Decoding is left out on both sides. Every case is timed several times and its least time counts, since whatever
//! disturbs a machine only adds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use data_loaders::{DataError, decode_gray_map, pair_predictions};
use image::{GrayImage, Luma};
use metrics::{Column, Mask, Measure, MetricsError, Protocol};
use run_record::CaseRow;
use scoring::{read_prediction, score_case, summarize};
use serde::{Deserialize, Serialize};

use crate::{
    peers::{PeerError, call},
    progress::Progress,
    spread::{extremes, median},
};

/// Cases that are made if no folder is given.
const MADE_CASES: u32 = 12;
/// Side of the made pictures in pixels: the size that polyps are evaluated at.
const MADE_SIDE: u32 = 352;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct MetricsBench {
    /// Cases.
    pub n: usize,
    /// Timed repeats of each.
    pub repeats: usize,
    /// Seconds of each case.
    pub secs: Vec<f64>,
    /// The median of them.
    pub median_secs: f64,
    /// `pysodmetrics`, if it was asked for.
    pub peer: Option<MetricsPeer>,
}

/// `pysodmetrics`, and how we compare with it.
#[derive(Debug, Clone, Serialize)]
pub struct MetricsPeer {
    /// Versions of the packages.
    pub versions: serde_json::Value,
    /// Seconds of each case.
    pub secs: Vec<f64>,
    /// The median of them.
    pub median_secs: f64,
    /// Their time over ours, case by case: the median.
    pub ratio: f64,
    /// The least and the largest of these ratios.
    pub ratio_range: [f64; 2],
    /// Numbers compared: measures of cases, and means and maxima over all.
    pub compared: usize,
    /// Numbers that are undefined there.
    pub undefined: usize,
    /// The largest absolute difference.
    pub largest_difference: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MetricsBenchError {
    /// `pysodmetrics` could not be run.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It printed something else than expected.
    #[error("cannot read the peer's report: {0}")]
    Report(#[from] serde_json::Error),
    /// It scored other cases.
    #[error("the peer scored {theirs} cases, this program {ours}")]
    OtherCases {
        /// Cases of the peer.
        theirs: usize,
        /// Our cases.
        ours: usize,
    },
    /// A folder or picture cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A case cannot be scored.
    #[error("cannot score {}", path.display())]
    Metrics {
        /// The prediction.
        path: PathBuf,
        /// Why.
        source: MetricsError,
    },
    /// A made picture cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
}

/// Predictions and truths of 8 bits and equal sizes.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// Folder of predictions.
    pub predictions: PathBuf,
    /// Folder of truths.
    pub truths: PathBuf,
}

/// Times every case of `pictures`, and with `python` also that of `pysodmetrics`, and compares all numbers.
///
/// # Errors
///
/// See [`MetricsBenchError`].
pub fn bench_metrics(
    workspace: &Path,
    pictures: &Pictures,
    python: Option<&Path>,
    repeats: usize,
    progress: &dyn Progress,
) -> Result<MetricsBench, MetricsBenchError> {
    let (pairs, _) = pair_predictions(&pictures.predictions, &pictures.truths)?;
    progress.start("score", pairs.len() as u64);
    let (mut secs, mut rows, mut levels) = (Vec::new(), Vec::new(), Vec::new());
    for (done, pair) in pairs.iter().enumerate() {
        let Some(truth) = &pair.truth else { continue };
        let failed = |source| MetricsBenchError::Metrics { path: pair.prediction.clone(), source };
        let map = read_prediction(&pair.prediction)?;
        let picture = decode_gray_map(truth)?;
        let above = u16::from(Protocol::Pranet.truth_threshold());
        let pixels = picture.levels.iter().map(|&level| level > above).collect();
        let truth =
            Mask::new(picture.width as usize, picture.height as usize, pixels).map_err(failed)?;
        let mut least = f64::INFINITY;
        for _ in 0..repeats {
            let start = Instant::now();
            let scores = Protocol::Pranet.score(&map, &truth).map_err(failed)?;
            least = least.min(start.elapsed().as_secs_f64());
            std::hint::black_box(scores);
        }
        secs.push(least);
        let named = CaseRow { file: pair.id.clone(), ..CaseRow::default() };
        let case = score_case(Protocol::Pranet, &map, &truth, named).map_err(failed)?;
        rows.push(case.row);
        levels.extend(case.levels);
        progress.set(done as u64 + 1);
    }
    progress.finish();
    let median_secs = median(&secs);
    let mut bench = MetricsBench { n: rows.len(), repeats, secs, median_secs, peer: None };
    let Some(python) = python else { return Ok(bench) };

    progress.start("pysodmetrics", 1);
    let report = call(
        Command::new(python)
            .arg(workspace.join("tools/peers/metrics/score_folder.py"))
            .arg("--pred")
            .arg(&pictures.predictions)
            .arg("--truth")
            .arg(&pictures.truths)
            .args(["--repeats", &repeats.to_string()])
            .envs(ONE_THREAD.map(|name| (name, "1"))),
    )?;
    progress.finish();
    let report: Report = serde_json::from_str(&report)?;
    if report.secs.len() != bench.n || rows.iter().any(|row| !report.cases.contains_key(&row.file))
    {
        return Err(MetricsBenchError::OtherCases { theirs: report.secs.len(), ours: bench.n });
    }

    let mut differences = Differences::default();
    for row in &rows {
        for (name, &theirs) in &report.cases[&row.file] {
            // Maxima of a single case are no numbers of ours.
            if let Ok(measure) = name.parse::<Measure>() {
                differences.add(row.get(measure), theirs);
            }
        }
    }
    let mean = summarize(Protocol::Pranet, &rows, &levels, 0);
    for &measure in Protocol::Pranet.measures() {
        if let Some(&theirs) = report.mean.get(measure.name()) {
            differences.add(mean.mean(measure), theirs);
        }
    }
    for (curve, &ours) in &mean.maxima {
        if let Some(&theirs) = report.mean.get(&format!("max_{}", curve.name())) {
            differences.add(Some(ours), theirs);
        }
    }
    let ratios: Vec<f64> =
        report.secs.iter().zip(&bench.secs).map(|(theirs, ours)| theirs / ours).collect();
    bench.peer = Some(MetricsPeer {
        versions: report.versions,
        median_secs: median(&report.secs),
        secs: report.secs,
        ratio: median(&ratios),
        ratio_range: extremes(&ratios),
        compared: differences.compared,
        undefined: differences.undefined,
        largest_difference: differences.largest,
    });
    Ok(bench)
}

/// What keeps the libraries below NumPy to one thread.
const ONE_THREAD: [&str; 3] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];

/// What `score_folder.py` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    versions: serde_json::Value,
    secs: Vec<f64>,
    cases: Numbers<Numbers<Option<f64>>>,
    mean: Numbers<Option<f64>>,
}

type Numbers<T> = std::collections::BTreeMap<String, T>;

#[derive(Default)]
struct Differences {
    compared: usize,
    undefined: usize,
    largest: f64,
}

impl Differences {
    fn add(&mut self, ours: Option<f64>, theirs: Option<f64>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                self.compared += 1;
                self.largest = self.largest.max((ours - theirs).abs());
            }
            // A number that we lack is as wrong as can be.
            (None, Some(_)) => self.largest = f64::INFINITY,
            (_, None) => self.undefined += 1,
        }
    }
}

/// Writes made-up predictions and truths of 352 x 352 pixels below `folder`: ellipses, found more or less, with soft
/// outlines and noise.
///
/// # Errors
///
/// [`MetricsBenchError::Write`]
pub fn make_pictures(folder: &Path) -> Result<Pictures, MetricsBenchError> {
    let pictures =
        Pictures { predictions: folder.join("predictions"), truths: folder.join("truths") };
    for path in [&pictures.predictions, &pictures.truths] {
        fs::create_dir_all(path).map_err(|source| MetricsBenchError::Write {
            path: path.clone(),
            source: image::ImageError::IoError(source),
        })?;
    }
    for number in 0..MADE_CASES {
        let number_f = f64::from(number);
        let center = [150.0 + 7.0 * number_f, 190.0 - 5.0 * number_f];
        let radii = [40.0 + 6.0 * number_f, 30.0 + 4.0 * number_f];
        // Distance from the center; 1 at the outline, which `shift` moves.
        let distance = |x: u32, y: u32, shift: f64| {
            let (dx, dy) = (f64::from(x) - center[0] - shift, f64::from(y) - center[1]);
            (dx / radii[0]).hypot(dy / radii[1])
        };
        let truth = GrayImage::from_fn(MADE_SIDE, MADE_SIDE, |x, y| {
            Luma([if distance(x, y, 0.0) <= 1.0 { 255 } else { 0 }])
        });
        let prediction = GrayImage::from_fn(MADE_SIDE, MADE_SIDE, |x, y| {
            let soft = 1.0 / (1.0 + (8.0 * (distance(x, y, 2.0 * number_f) - 1.0)).exp());
            let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 8 & 15;
            Luma([(240.0 * soft) as u8 + noise as u8])
        });
        let name = format!("{number:02}.png");
        for (folder, picture) in [(&pictures.truths, truth), (&pictures.predictions, prediction)] {
            let path = folder.join(&name);
            picture.save(&path).map_err(|source| MetricsBenchError::Write { path, source })?;
        }
    }
    Ok(pictures)
}

impl MetricsBench {
    /// The times as a Markdown table.
    pub fn markdown(&self) -> String {
        let columns = Protocol::Pranet.columns();
        let labels: Vec<&str> =
            columns.iter().map(|&column: &Column| Protocol::Pranet.label(column)).collect();
        let mut text = format!(
            "One case by `pranet` ({} and more), one thread, median over {} cases of the least of {} times\n\n\
             | | ms a case |\n| --- | ---: |\n| ours | {:.2} |\n",
            labels.join(", "),
            self.n,
            self.repeats,
            1e3 * self.median_secs,
        );
        if let Some(peer) = &self.peer {
            let [low, high] = peer.ratio_range;
            text.push_str(&format!(
                "| pysodmetrics | {:.2} |\n\nratio {:.1}, from {low:.1} to {high:.1}; {} numbers compared, {} undefined \
                 there, largest difference {:.1e}\n",
                1e3 * peer.median_secs,
                peer.ratio,
                peer.compared,
                peer.undefined,
                peer.largest_difference,
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn made_pictures_are_scored_and_timed_without_a_peer() {
        let folder = tempfile::tempdir().expect("a folder");
        let pictures = make_pictures(folder.path()).expect("written");
        let bench = bench_metrics(Path::new("."), &pictures, None, 1, &Silent).expect("measured");
        assert_eq!((bench.n, bench.secs.len()), (12, 12));
        assert!(bench.secs.iter().all(|&secs| secs > 0.0) && bench.peer.is_none());
        assert!(bench.markdown().contains("| ours |"), "{}", bench.markdown());
    }

    #[test]
    fn a_number_that_only_the_peer_has_is_a_difference() {
        let mut differences = Differences::default();
        differences.add(Some(0.5), Some(0.25));
        differences.add(Some(0.5), None);
        assert_eq!(
            (differences.compared, differences.undefined, differences.largest),
            (1, 1, 0.25)
        );
        differences.add(None, Some(0.25));
        assert_eq!(differences.largest, f64::INFINITY);
    }
}
