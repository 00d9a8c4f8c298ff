//! Figures: what can be drawn, by name.
//!
//! A kind of figure is one file in `figure/` that turns runs into a [`canvas::Sketch`], one variant of
//! [`FigureKind`] and one entry of [`FigureKind::ALL`]. A sketch is drawn by one function, whatever the
//! file format.

mod canvas;
mod font;
mod legend;
mod palette;
mod qualitative;
mod training_curves;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use run_record::{RunRecordError, write_bytes};

use crate::Run;

/// What can be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FigureKind {
    /// Loss and Dice by epoch, on the training and the validation cases, one color per method.
    TrainingCurves,
    /// Cases side by side: image, ground truth, prediction with its prompts.
    Qualitative,
}

impl FigureKind {
    /// Every kind, in the order in which help texts list them.
    pub const ALL: &'static [Self] = &[Self::TrainingCurves, Self::Qualitative];

    /// The name used on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainingCurves => "training-curves",
            Self::Qualitative => "qualitative",
        }
    }

    /// Draws the figure of these runs.
    ///
    /// # Errors
    ///
    /// [`FigureError::NothingToDraw`] if no run has what the figure shows,
    /// [`FigureError::TooManyMethods`] if colors would repeat, [`FigureError::Picture`] and
    /// [`FigureError::PictureSize`] if a panel cannot be shown.
    pub fn draw(self, runs: &[Run]) -> Result<Figure, FigureError> {
        match self {
            Self::TrainingCurves => canvas::render(&training_curves::TrainingCurves::new(runs)?),
            Self::Qualitative => canvas::render(&qualitative::Qualitative::new(runs)?),
        }
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

/// A figure in two formats, both drawn by the same function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// SVG document.
    pub svg: String,
    /// PNG file, at twice the SVG's size in pixels.
    pub png: Vec<u8>,
}

impl Figure {
    /// Writes both files.
    ///
    /// # Errors
    ///
    /// [`RunRecordError::Write`] if a file cannot be written.
    pub fn write(&self, svg: &Path, png: &Path) -> Result<(), RunRecordError> {
        write_bytes(svg, self.svg.as_bytes())?;
        write_bytes(png, &self.png)
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
    /// More methods than colors that can be told apart; draw fewer runs at once.
    #[error("{methods} methods in one figure, at most {limit} can be told apart")]
    TooManyMethods {
        /// Methods in the runs.
        methods: usize,
        /// Colors of the palette.
        limit: usize,
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
    /// A finished drawing cannot be encoded.
    #[error("cannot encode the figure")]
    Encode(#[source] image::ImageError),
    /// The drawing library refused an operation.
    #[error("cannot draw the figure: {reason}")]
    Draw {
        /// What the library said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_as_its_own_kind() {
        for &kind in FigureKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "curves".parse::<FigureKind>().expect_err("no such figure");
        assert_eq!(
            error.to_string(),
            "unknown figure `curves`, known: `training-curves`, `qualitative`"
        );
    }

    #[test]
    fn no_runs_make_no_figure_of_any_kind() {
        for kind in FigureKind::ALL {
            let error = kind.draw(&[]).expect_err("there is nothing to draw");
            assert!(matches!(error, FigureError::NothingToDraw { runs: 0, .. }));
        }
    }
}
