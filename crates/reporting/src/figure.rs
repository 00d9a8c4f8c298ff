//! Figures: what can be drawn, by name.
//!
//! A kind of figure is one file in `figure/` that turns runs into a [`canvas::Sketch`], one variant of
//! [`FigureKind`] and one entry of [`FigureKind::ALL`]. A sketch is drawn once, as SVG; PNG and PDF are made
//! of that drawing.

mod ablation_bars;
mod axes;
mod boxes;
mod by_turns;
mod canvas;
mod clicks_vs_dice;
mod cost_vs_dice;
mod encode;
mod font;
mod legend;
mod lines;
mod marks;
mod overlay;
mod paired_scatter;
mod palette;
mod points_vs_dice;
mod prompt_heatmap;
mod qualitative;
mod qualitative_grid;
mod rows;
mod sample;
mod screen;
mod threshold_curves;
mod training_curves;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use metrics::Measure;
use run_record::{BadLevels, Panel, RunRecordError, write_bytes};

use self::canvas::{Area, DrawResult, Drawing, POINTS_PER_MM, Picture, Sketch};
use self::cost_vs_dice::{Cost, CostVsDice};
use self::legend::Footer;
use crate::entries::{Entries, Remarks, Scope};
use crate::load::LoadError;
use crate::provenance::Provenance;
use crate::{MethodName, Run, TableError};

pub(crate) use self::font::style_sheet;
pub(crate) use self::sample::{Sample, samples};
pub use self::screen::{Screen, ScreenCell, ScreenFigure};

/// Width of one column of a two-column paper, in millimeters.
pub const ONE_COLUMN_MM: f64 = 84.0;
/// Width of both columns, in millimeters.
pub const TWO_COLUMNS_MM: f64 = 174.0;
/// Widths that a figure may have, in millimeters: below it labels have no room, above it is a poster.
pub const WIDTHS_MM: (f64, f64) = (60.0, 500.0);

/// Height that a figure has at most where its cells can be made smaller, in millimeters: a page with its caption.
const HIGHEST_MM: f64 = 240.0;

/// What can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FigureKind {
    /// Loss and Dice by epoch, on the training and the validation cases, a look per method.
    TrainingCurves,
    /// Cases side by side: image, ground truth, prediction with its prompts.
    Qualitative,
    /// A bar per method with the 95 % interval over cases, a plot per data set.
    AblationBars,
    /// A method's score against the baseline's, case by case.
    PairedScatter,
    /// The spread of scores over cases: a box per method, a plot per data set.
    Boxes,
    /// A measure by the threshold that the soft map is cut at.
    ThresholdCurves,
    /// The score by the number of point prompts that a run was configured with.
    PointsVsDice,
    /// The score by the number of trained parameters.
    ParametersVsDice,
    /// The score by the time that an image takes.
    TimeVsDice,
    /// The same cases with every method: rows are cases chosen by rule, columns are methods.
    QualitativeGrid,
    /// Where point prompts lie in the image.
    PromptHeatmap,
    /// The score by the number of clicks of a simulated user.
    ClicksVsDice,
}

impl FigureKind {
    /// Every kind, in the order in which help texts list them.
    pub const ALL: &'static [Self] = &[
        Self::TrainingCurves,
        Self::Qualitative,
        Self::AblationBars,
        Self::PairedScatter,
        Self::Boxes,
        Self::ThresholdCurves,
        Self::PointsVsDice,
        Self::ParametersVsDice,
        Self::TimeVsDice,
        Self::QualitativeGrid,
        Self::PromptHeatmap,
        Self::ClicksVsDice,
    ];

    /// The name used on the command line and in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrainingCurves => "training-curves",
            Self::Qualitative => "qualitative",
            Self::AblationBars => "ablation-bars",
            Self::PairedScatter => "paired-scatter",
            Self::Boxes => "boxes",
            Self::ThresholdCurves => "threshold-curves",
            Self::PointsVsDice => "points-vs-dice",
            Self::ParametersVsDice => "parameters-vs-dice",
            Self::TimeVsDice => "time-vs-dice",
            Self::QualitativeGrid => "qualitative-grid",
            Self::PromptHeatmap => "prompt-heatmap",
            Self::ClicksVsDice => "clicks-vs-dice",
        }
    }

    /// One line for help texts.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::TrainingCurves => "loss and Dice by epoch",
            Self::Qualitative => {
                "cases side by side: image, ground truth, prediction with its prompts"
            }
            Self::AblationBars => "a bar per method with the 95 % interval over cases",
            Self::PairedScatter => "a method's score against the baseline's, case by case",
            Self::Boxes => "the spread of scores over cases, a box per method",
            Self::ThresholdCurves => "a measure by the threshold that the soft map is cut at",
            Self::PointsVsDice => "the score by the number of point prompts",
            Self::ParametersVsDice => "the score by the number of trained parameters",
            Self::TimeVsDice => "the score by the time that an image takes, without the encoder",
            Self::QualitativeGrid => {
                "the same cases with every method: best, median, worst, random"
            }
            Self::PromptHeatmap => "where point prompts lie in the image",
            Self::ClicksVsDice => "the score by the number of clicks of a simulated user",
        }
    }

    /// The width if none is asked for, in millimeters.
    pub const fn default_width_mm(self) -> f64 {
        match self {
            Self::TrainingCurves
            | Self::Qualitative
            | Self::PairedScatter
            | Self::QualitativeGrid => TWO_COLUMNS_MM,
            Self::AblationBars
            | Self::Boxes
            | Self::ThresholdCurves
            | Self::PointsVsDice
            | Self::ParametersVsDice
            | Self::TimeVsDice
            | Self::PromptHeatmap
            | Self::ClicksVsDice => ONE_COLUMN_MM,
        }
    }

    /// Whether a figure of these runs shows more than the table says, so that it is drawn without being asked for.
    ///
    /// [`TimeVsDice`](Self::TimeVsDice) never is: durations differ from run to run, and what is written beside the
    /// runs is the same whenever they are made again.
    pub fn belongs_to(self, runs: &[Run]) -> bool {
        let distinct =
            |numbers: &mut dyn Iterator<Item = usize>| numbers.collect::<BTreeSet<_>>().len() > 1;
        let with_panels = || runs.iter().filter(|run| !run.panels.is_empty());
        match self {
            Self::TrainingCurves => runs.iter().any(|run| !run.epochs.is_empty()),
            Self::AblationBars => runs.iter().any(|run| !run.record.rows.is_empty()),
            Self::Boxes => runs.iter().any(|run| !run.cases.is_empty()),
            Self::ThresholdCurves => runs.iter().any(|run| run.folder.curves().is_file()),
            Self::ClicksVsDice => runs.iter().any(|run| run.folder.clicks().is_file()),
            Self::Qualitative => with_panels().next().is_some(),
            Self::PromptHeatmap => {
                with_panels().flat_map(|run| &run.panels).any(|panel| !panel.points.is_empty())
            }
            // A grid of one method is `qualitative`, and a method alone is compared with nothing.
            Self::QualitativeGrid => methods(with_panels()) > 1,
            // Nobody compares with an oracle who has not asked for it.
            Self::PairedScatter => {
                let rows = runs.iter().flat_map(|run| &run.record.rows);
                methods(runs.iter()) > 1 && rows.into_iter().any(|row| !row.oracle)
            }
            Self::PointsVsDice => points_vs_dice::are_swept(runs),
            Self::ParametersVsDice => {
                let trained = runs.iter().map(|run| run.record.parameters.trainable);
                distinct(&mut trained.filter(|&parameters| parameters > 0))
            }
            Self::TimeVsDice => false,
        }
    }

    /// Draws the figure of these runs with the default options.
    ///
    /// # Errors
    ///
    /// Those of [`draw_with`](Self::draw_with).
    pub fn draw(self, runs: &[Run]) -> Result<Figure, FigureError> {
        self.draw_with(runs, &FigureOptions::default())
    }

    /// Draws the figure of these runs.
    ///
    /// # Errors
    ///
    /// [`FigureError::NothingToDraw`] if no run has what the figure shows,
    /// [`FigureError::TooManyMethods`] if looks would repeat, [`FigureError::Width`] if it would be too
    /// narrow or too wide, [`FigureError::Results`] if results must not be compared,
    /// [`FigureError::Picture`] and [`FigureError::PictureSize`] if a panel cannot be shown,
    /// [`FigureError::Record`] and [`FigureError::Levels`] if a file of a run is broken.
    pub fn draw_with(self, runs: &[Run], options: &FigureOptions) -> Result<Figure, FigureError> {
        let width_mm = options.width_mm.unwrap_or(self.default_width_mm());
        if !(WIDTHS_MM.0..=WIDTHS_MM.1).contains(&width_mm) {
            return Err(FigureError::Width { width_mm });
        }
        let width = width_mm * POINTS_PER_MM;
        if runs.is_empty() {
            return Err(FigureError::NothingToDraw { what: "a result", runs: 0 });
        }
        let behind = self.behind(runs, options)?;
        let remarks = match Entries::of(behind.iter().copied(), &options.scope) {
            Ok(all) => all.remarks,
            // A curve or a picture needs no result; what needs one says so itself.
            Err(TableError::NoResults { .. }) => Remarks::default(),
            Err(error) => return Err(error.into()),
        };
        let sketch: Box<dyn Sketch> = match self {
            Self::TrainingCurves => Box::new(training_curves::TrainingCurves::new(runs, width)?),
            Self::Qualitative => Box::new(qualitative::Qualitative::new(runs, options, width)?),
            Self::AblationBars => Box::new(ablation_bars::AblationBars::new(runs, options, width)?),
            Self::PairedScatter => {
                Box::new(paired_scatter::PairedScatter::new(runs, options, width)?)
            }
            Self::Boxes => Box::new(boxes::Boxes::new(runs, options, width)?),
            Self::ThresholdCurves => {
                Box::new(threshold_curves::threshold_curves(runs, options, width)?)
            }
            Self::PointsVsDice => Box::new(points_vs_dice::points_vs_dice(runs, options, width)?),
            Self::ParametersVsDice => {
                Box::new(CostVsDice::new(runs, options, width, Cost::Parameters)?)
            }
            Self::TimeVsDice => Box::new(CostVsDice::new(runs, options, width, Cost::Time)?),
            Self::QualitativeGrid => {
                Box::new(qualitative_grid::QualitativeGrid::new(runs, options, width)?)
            }
            Self::PromptHeatmap => {
                Box::new(prompt_heatmap::PromptHeatmap::new(runs, options, width)?)
            }
            Self::ClicksVsDice => Box::new(clicks_vs_dice::clicks_vs_dice(runs, options, width)?),
        };
        let sketch = Noted::new(sketch, &remarks.sentences());
        let command = format!("figure {}", self.name());
        let provenance = Provenance::new(&behind, &command, &options.options());
        let provenance = match self {
            Self::TimeVsDice => provenance.with_timing(&behind)?,
            _ => provenance,
        };
        Ok(Figure { kind: self, drawing: Drawing::of(&sketch)?, provenance })
    }

    /// The runs that the figure is made of: drawn, averaged, or chosen from.
    fn behind<'a>(
        self,
        runs: &'a [Run],
        options: &FigureOptions,
    ) -> Result<Vec<&'a Run>, FigureError> {
        let shows = |panel: &Panel| options.scope.shows(&panel.data, &panel.prompts);
        let with = |wanted: &dyn Fn(&Run) -> bool| runs.iter().filter(|run| wanted(run)).collect();
        Ok(match self {
            Self::TrainingCurves => with(&|run| !run.epochs.is_empty()),
            Self::Qualitative => with(&|run| run.panels.iter().any(shows)),
            Self::QualitativeGrid => qualitative_grid::shown_runs(runs, options),
            Self::ClicksVsDice => with(&|run| run.folder.clicks().is_file()),
            Self::PromptHeatmap => with(&|run| {
                let sources = overlay::shown_sources(run, &options.scope);
                let mut panels = run.panels.iter().filter(|panel| shows(panel));
                panels.any(|panel| {
                    sources.contains(&panel.prompts.as_str())
                        && panel.points.iter().any(|point| matches!(point.label, 0 | 1))
                })
            }),
            Self::AblationBars
            | Self::PairedScatter
            | Self::Boxes
            | Self::ThresholdCurves
            | Self::PointsVsDice
            | Self::ParametersVsDice
            | Self::TimeVsDice => Entries::of(runs, &options.scope)?.runs(),
        })
    }
}

/// How many methods there are.
fn methods<'a>(runs: impl Iterator<Item = &'a Run>) -> usize {
    let names = runs.map(|run| (&*run.record.experiment, &*run.record.method));
    names.collect::<BTreeSet<_>>().len()
}

/// A sketch of any kind, and below it what a reader has to know of its runs.
struct Noted {
    sketch: Box<dyn Sketch>,
    notes: Footer,
}

impl Noted {
    /// Left and right of the notes, in points.
    const MARGIN: f64 = 3.0;

    fn new(sketch: Box<dyn Sketch>, sentences: &[String]) -> Self {
        let width = sketch.size().0 - 2.0 * Self::MARGIN;
        Self { sketch, notes: Footer::new(vec![], sentences, width) }
    }
}

impl Sketch for Noted {
    fn size(&self) -> (f64, f64) {
        let (width, height) = self.sketch.size();
        (width, height + self.notes.height())
    }

    fn pictures(&self) -> &[Picture] {
        self.sketch.pictures()
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        self.sketch.draw(area)?;
        // Into the margin that the sketch has below.
        self.notes.draw(area, (Self::MARGIN, self.sketch.size().1 - Self::MARGIN))
    }
}

impl fmt::Display for FigureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FigureKind {
    type Err = UnknownFigure;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownFigure { name: name.to_owned() })
    }
}

/// There is no figure of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown figure `{name}`, known: {}", known())]
pub struct UnknownFigure {
    /// The name looked for.
    pub name: String,
}

fn known() -> String {
    let names: Vec<_> = FigureKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
    names.join(", ")
}

/// What a figure shows, and how large. Each kind takes the options that mean something to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FigureOptions {
    /// Width in millimeters; [`FigureKind::default_width_mm`] if none is asked for.
    pub width_mm: Option<f64>,
    /// Which results, and what may stand side by side.
    pub scope: Scope,
    /// The score that is drawn, Dice if none is named.
    pub measure: Measure,
    /// The method that the others are compared with in [`FigureKind::PairedScatter`]; else the first one
    /// that is no oracle.
    pub baseline: Option<MethodName>,
    /// Seed of the random case in [`FigureKind::QualitativeGrid`], and of what is shown where there is no room for all
    /// ([`FigureKind::Qualitative`], [`FigureKind::PairedScatter`]).
    pub seed: u64,
}

impl FigureOptions {
    /// The options as the command line takes them, without those that have their default.
    fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        if let Some(width) = self.width_mm {
            options.push(("--width-mm", width.to_string()));
        }
        if self.measure != Measure::default() {
            options.push(("--measure", self.measure.name().to_owned()));
        }
        if let Some(baseline) = &self.baseline {
            options.push(("--baseline", baseline.to_string()));
        }
        if self.seed != 0 {
            options.push(("--seed", self.seed.to_string()));
        }
        options.extend(self.scope.options());
        options
    }
}

/// A finished figure.
pub struct Figure {
    kind: FigureKind,
    drawing: Drawing,
    provenance: Provenance,
}

impl Figure {
    /// What it is.
    pub fn kind(&self) -> FigureKind {
        self.kind
    }

    /// The runs behind it, and the command that makes it again.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// As an SVG document with its font. `<metadata>` holds the [provenance](Self::provenance).
    pub fn svg(&self) -> String {
        encode::svg(&self.drawing, self.kind.name(), &self.provenance)
    }

    /// As an SVG element for a page that brings the font along.
    pub(crate) fn svg_element(&self) -> String {
        encode::svg_element(&self.drawing, self.kind.name())
    }

    /// As a PNG file of 300 pixels per inch. A `tEXt` chunk `Source` holds the provenance.
    ///
    /// # Errors
    ///
    /// [`FigureError::Render`] if the drawing cannot be rendered, [`FigureError::Encode`] if the picture
    /// cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        encode::png(&self.drawing, self.kind.name(), &self.provenance)
    }

    /// As a PDF file of one page of the figure's size, with the font embedded. Its `Keywords` hold the
    /// provenance. It has no dates and no random identifiers.
    ///
    /// # Errors
    ///
    /// [`FigureError::Render`] if the drawing cannot be translated.
    pub fn pdf(&self) -> Result<Vec<u8>, FigureError> {
        encode::pdf(&self.drawing, self.kind.name(), &self.provenance)
    }

    /// Writes `base.svg`, `base.png` and `base.pdf`, and says where they are.
    ///
    /// # Errors
    ///
    /// Those of [`png`](Self::png) and [`pdf`](Self::pdf), and [`FigureError::Record`] if a file cannot be
    /// written.
    pub fn write(&self, base: &Path) -> Result<Vec<PathBuf>, FigureError> {
        let files = Self::files(base);
        let formats = [self.svg().into_bytes(), self.png()?, self.pdf()?];
        for (path, bytes) in files.iter().zip(formats) {
            write_bytes(path, &bytes)?;
        }
        Ok(files.into())
    }

    /// `base.svg`, `base.png` and `base.pdf`.
    pub(crate) fn files(base: &Path) -> [PathBuf; 3] {
        ["svg", "png", "pdf"].map(|ending| {
            let mut path = base.as_os_str().to_owned();
            path.push(".");
            path.push(ending);
            path.into()
        })
    }
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// No run has what the figure shows.
    #[error("none of the {runs} runs has {what}")]
    NothingToDraw {
        /// What is missing.
        what: &'static str,
        /// Runs that were looked at.
        runs: usize,
    },
    /// More methods than looks that can be told apart; draw fewer runs at once.
    #[error(
        "{methods} methods in one figure, at most {limit} can be told apart: choose prompts \
         (`--prompts auto`) or data (`--data`), or name fewer runs"
    )]
    TooManyMethods {
        /// Methods in the runs.
        methods: usize,
        /// Looks that there are.
        limit: usize,
    },
    /// A run kept no durations of what the figure shows.
    #[error("no durations were kept of what the figure shows, run it again to time it: {}", path.display())]
    NotTimed {
        /// The file that has none, or is not there.
        path: PathBuf,
    },
    /// The width is no width of a figure.
    #[error("{width_mm} mm wide, must be {} to {} mm", WIDTHS_MM.0, WIDTHS_MM.1)]
    Width {
        /// The width that was asked for.
        width_mm: f64,
    },
    /// The results cannot be drawn together.
    #[error(transparent)]
    Results(#[from] TableError),
    /// A file of a run cannot be read, or a figure cannot be written.
    #[error(transparent)]
    Record(#[from] RunRecordError),
    /// A file of a run holds what no run writes.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The curve of a case cannot be read.
    #[error("broken curve in {}", path.display())]
    Levels {
        /// The file.
        path: PathBuf,
        /// The entry that is none.
        source: BadLevels,
    },
    /// A picture of a panel cannot be read.
    #[error("cannot read picture {}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: image::ImageError,
    },
    /// The masks of a panel are not as large as its image.
    #[error(
        "mask of {} x {} pixels for an image of {} x {}: {}",
        actual.0, actual.1, expected.0, expected.1, path.display()
    )]
    PictureSize {
        /// Width and height of the image.
        expected: (u32, u32),
        /// Width and height of the mask.
        actual: (u32, u32),
        /// The mask.
        path: PathBuf,
    },
    /// A mask in memory is not as large as its image.
    #[error(
        "mask of {} x {} pixels for an image of {} x {}",
        actual.0, actual.1, expected.0, expected.1
    )]
    MaskSize {
        /// Width and height of the image.
        expected: (u32, u32),
        /// Width and height of the mask.
        actual: (u32, u32),
    },
    /// A finished drawing cannot be encoded.
    #[error("cannot encode the figure")]
    Encode(#[source] image::ImageError),
    /// A finished drawing cannot be rendered or translated.
    #[error("cannot make {format} of the figure: {reason}")]
    Render {
        /// `PNG` or `PDF`.
        format: &'static str,
        /// What the renderer said.
        reason: String,
    },
    /// The drawing library refused an operation.
    #[error("cannot draw the figure: {reason}")]
    Draw {
        /// What the library said.
        reason: String,
    },
}

impl FigureError {
    /// Whether the runs are all right and merely hold nothing that such a figure could show, or too much.
    pub fn is_for_want_of_data(&self) -> bool {
        matches!(
            self,
            Self::NothingToDraw { .. }
                | Self::TooManyMethods { .. }
                | Self::NotTimed { .. }
                | Self::Results(TableError::NoCases { .. })
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::axes::Rect;
    use super::*;
    use crate::testing::study;

    #[test]
    fn every_name_reads_as_its_own_kind() {
        for &kind in FigureKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "curves".parse::<FigureKind>().expect_err("no such figure").to_string();
        assert!(
            error.starts_with("unknown figure `curves`, known: `training-curves`, `qualitative`"),
            "{error}"
        );
    }

    #[test]
    fn no_runs_make_no_figure_of_any_kind() {
        for kind in FigureKind::ALL {
            let error = kind.draw(&[]).err().expect("there is nothing to draw");
            assert!(matches!(error, FigureError::NothingToDraw { runs: 0, .. }));
        }
    }

    #[test]
    fn a_width_that_no_paper_has_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        for width_mm in [0.0, 59.0, 501.0, f64::NAN] {
            let options = FigureOptions { width_mm: Some(width_mm), ..FigureOptions::default() };
            let error = FigureKind::Boxes.draw_with(&runs, &options).err().unwrap();
            assert!(matches!(error, FigureError::Width { .. }), "{error}");
        }
    }

    /// What only some kinds need: at most so many methods can be told apart.
    fn options(width_mm: f64) -> FigureOptions {
        FigureOptions { width_mm: Some(width_mm), ..FigureOptions::default() }
    }

    #[test]
    fn every_kind_has_the_width_that_was_asked_for_and_no_two_texts_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        for &kind in FigureKind::ALL {
            for width_mm in [84.0, 174.0] {
                let svg = kind.draw_with(&runs, &options(width_mm)).unwrap().svg();
                assert!(svg.contains(&format!(
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width_mm:.2}mm\""
                )));
                let sheet = sheet(&svg);
                let texts = texts(&svg);
                assert!(texts.len() > 3, "{kind} has no labels");
                for (i, (text, rect)) in texts.iter().enumerate() {
                    let inside = rect.left >= 0.0
                        && rect.top >= 0.0
                        && rect.right <= sheet.0
                        && rect.bottom <= sheet.1;
                    assert!(inside, "{kind} at {width_mm} mm: `{text}` leaves the page: {rect:?}");
                    for (other, at) in &texts[i + 1..] {
                        let apart = rect.right <= at.left
                            || at.right <= rect.left
                            || rect.bottom <= at.top
                            || at.bottom <= rect.top;
                        assert!(apart, "{kind} at {width_mm} mm: `{text}` lies on `{other}`");
                    }
                }
            }
        }
    }

    /// Width and height of the page, in points.
    fn sheet(svg: &str) -> (f64, f64) {
        let numbers = svg.split("viewBox=\"0 0 ").nth(1).unwrap();
        let mut numbers = numbers.split('"').next().unwrap().split(' ');
        let mut next = || numbers.next().unwrap().parse::<f64>().unwrap() / canvas::UNIT;
        (next(), next())
    }

    /// Every text with the rectangle that its capitals fill, in points.
    fn texts(svg: &str) -> Vec<(String, Rect)> {
        let mut texts = Vec::new();
        for element in svg.split("<text ").skip(1) {
            let (head, rest) = element.split_once('>').unwrap();
            let text = rest.split("</text>").next().unwrap().trim();
            let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            let attribute = |name: &str| {
                let value = head.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
                Some(value.to_owned())
            };
            let number =
                |name: &str| attribute(name).unwrap().parse::<f64>().unwrap() / canvas::UNIT;
            let (x, y, em) = (number("x"), number("y"), number("font-size"));
            let width = font::width(&text, em);
            let along = match attribute("text-anchor").unwrap().as_str() {
                "start" => 0.0,
                "middle" => -width / 2.0,
                _ => -width,
            };
            // Capitals of the font are 0.73 em high, an ex is 0.547 em.
            let baseline = match attribute("dy").unwrap().as_str() {
                "0.76em" => 0.76 * em,
                "0.5ex" => 0.5 * 0.547 * em,
                _ => -0.5 * 0.547 * em,
            };
            let rect = match attribute("transform") {
                None => Rect {
                    left: x + along,
                    top: y + baseline - 0.73 * em,
                    right: x + along + width,
                    bottom: y + baseline,
                },
                Some(turned) => {
                    assert!(turned.contains("270"), "{turned}");
                    Rect {
                        left: x + baseline - 0.73 * em,
                        top: y - along - width,
                        right: x + baseline,
                        bottom: y - along,
                    }
                }
            };
            texts.push((text, rect));
        }
        texts
    }

    #[test]
    fn no_kind_draws_two_protocols_unless_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = study(folder.path());
        for run in runs.iter_mut().filter(|run| run.record.method == "apm_16_points") {
            for row in &mut run.record.rows {
                row.protocol = "pranet".into();
            }
        }
        for &kind in FigureKind::ALL {
            let error = kind.draw(&runs).err().expect("two protocols in one figure");
            assert!(
                matches!(error, FigureError::Results(TableError::MixedProtocols { .. })),
                "{kind}: {error}"
            );
            let mut mixed = options(174.0);
            mixed.scope.mix = true;
            // Points of one method with two protocols make no line.
            let Ok(figure) = kind.draw_with(&runs, &mixed) else {
                assert_eq!(kind, FigureKind::PointsVsDice);
                continue;
            };
            let svg = figure.svg();
            let said = svg.lines().filter(|line| line.starts_with("MIXED: protocols")).count();
            assert_eq!(said, 1, "{kind}");
        }
    }

    #[test]
    fn the_sources_are_the_runs_that_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let sources = |kind: FigureKind| -> Vec<String> {
            let figure = kind.draw(&runs).unwrap();
            figure.provenance().sources().iter().map(|source| source.id.clone()).collect()
        };
        // `frozen` is not trained.
        let curves = sources(FigureKind::TrainingCurves);
        assert_eq!(curves.len(), 4);
        assert!(curves.iter().all(|id| !id.contains("frozen")), "{curves:?}");
        // The lowest seed stands for a method.
        let grid = sources(FigureKind::QualitativeGrid);
        assert_eq!(grid.len(), 3);
        assert!(grid.iter().all(|id| id.ends_with("seed1")), "{grid:?}");
        assert_eq!(sources(FigureKind::Boxes).len(), 6);
    }

    #[test]
    fn the_same_runs_give_the_same_bytes_in_every_format_and_wherever_they_lie() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| study(folder.path()));
        for &kind in FigureKind::ALL {
            let (one, other) = (kind.draw(&one).unwrap(), kind.draw(&other).unwrap());
            assert!(one.svg() == other.svg(), "{kind}");
            assert!(one.png().unwrap() == other.png().unwrap(), "{kind}");
            assert!(one.pdf().unwrap() == other.pdf().unwrap(), "{kind}");
        }
    }

    #[test]
    fn every_format_names_its_runs_and_the_command_and_no_date() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let options = FigureOptions {
            width_mm: Some(100.0),
            scope: Scope { data: vec!["kvasir".into()], ..Scope::default() },
            ..FigureOptions::default()
        };
        let figure = FigureKind::Boxes.draw_with(&runs, &options).unwrap();
        let command = "cargo xtask figure boxes runs/polyps --width-mm 100 --data kvasir";
        let hash = &runs[0].record_sha256;
        assert_eq!(hash.len(), 64);

        let svg = figure.svg();
        let metadata = svg.split("<metadata>").nth(1).unwrap().split("</metadata>").next().unwrap();
        assert!(metadata.contains(hash) && metadata.ends_with(command), "{metadata}");

        let png = figure.png().unwrap();
        // Decoded by the library, which checks the chunks' checksums.
        let picture = image::load_from_memory(&png).unwrap();
        assert_eq!(picture.width(), (100.0_f64 / 25.4 * 300.0).round() as u32);
        let chunk = find(&png, b"tEXtSource\0").expect("there is a text chunk");
        assert!(find(&png[chunk..], hash.as_bytes()).is_some());
        assert!(find(&png[chunk..], command.as_bytes()).is_some());

        let pdf = figure.pdf().unwrap();
        assert!(pdf.starts_with(b"%PDF-"));
        assert!(find(&pdf, hash.as_bytes()).is_some());
        assert!(find(&pdf, command.as_bytes()).is_some());
        assert!(find(&pdf, b"/FontFile").is_some(), "the font is embedded");
        for dated in [&b"/CreationDate"[..], b"/ModDate", b"/ID"] {
            assert!(find(&pdf, dated).is_none());
        }
    }

    fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
        bytes.windows(wanted.len()).position(|window| window == wanted)
    }

    #[test]
    fn writing_makes_three_files_whatever_dots_the_name_has() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let base = folder.path().join("table.1");
        let written = FigureKind::TrainingCurves.draw(&runs).unwrap().write(&base).unwrap();
        let names: Vec<_> =
            written.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["table.1.svg", "table.1.png", "table.1.pdf"]);
        assert!(written.iter().all(|path| path.is_file()));
    }
}
