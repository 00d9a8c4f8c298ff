//! Loss and Dice by epoch.

use plotters::element::Circle;
use plotters::style::Color;
use run_record::EpochRow;

use super::FigureError;
use super::axes::{Axis, Plot, Rect};
use super::canvas::{Area, DrawResult, Sketch, pt, stroke};
use super::legend::{Legend, Symbol};
use super::marks::{LINE_WIDTH, MARKER, marker, polyline};
use super::palette::{FAINT_INK, LOOKS, Look};
use crate::Run;
use crate::entries::{Selection, marked_method};

/// Height of one plot, in points.
const PLOT_HEIGHT: f64 = 150.0;
/// From this width on the plots stand side by side, in points.
const SIDE_BY_SIDE: f64 = 340.0;
const MARGIN: f64 = 3.0;
const GAP: f64 = 8.0;
/// Dashes and gaps of training curves, in points. Methods differ by color and marker, splits by dashes.
const TRAIN_DASH: &[f64] = &[3.0, 2.0];
/// Markers on a curve, at most; on every epoch of a long training they would hide it.
const MARKERS: usize = 6;

/// Two plots: loss and Dice.
pub(super) struct TrainingCurves {
    curves: Vec<Curve>,
    plots: [(Rect, Axis, Axis); 2],
    legend: Legend,
    size: (f64, f64),
}

/// One run.
struct Curve {
    look: Look,
    rows: Vec<EpochRow>,
    kept_epoch: Option<usize>,
}

impl TrainingCurves {
    pub(super) fn new(runs: &[Run], width: f64) -> Result<Self, FigureError> {
        let trained: Vec<&Run> = runs.iter().filter(|run| !run.epochs.is_empty()).collect();
        let last_epoch = trained
            .iter()
            .flat_map(|run| &run.epochs)
            .map(|row| row.epoch)
            .max()
            .ok_or(FigureError::NothingToDraw { what: "a training curve", runs: runs.len() })?;
        let several =
            trained.windows(2).any(|pair| pair[0].record.experiment != pair[1].record.experiment);
        let label = |run: &Run| {
            let method = marked_method(&run.record.method, Selection::of_run(run));
            if several { format!("{}: {method}", run.record.experiment) } else { method }
        };

        // Seeds of one method share its look: what is compared are methods.
        let mut labels: Vec<String> = Vec::new();
        let mut curves = Vec::new();
        for run in trained {
            let label = label(run);
            let index = labels.iter().position(|known| *known == label).unwrap_or_else(|| {
                labels.push(label);
                labels.len() - 1
            });
            curves.push((index, run));
        }
        if labels.len() > LOOKS.len() {
            return Err(FigureError::TooManyMethods { methods: labels.len(), limit: LOOKS.len() });
        }
        let curves: Vec<_> = curves
            .into_iter()
            .map(|(index, run)| Curve {
                look: Look { dash: &[], ..LOOKS[index] },
                rows: run.epochs.clone(),
                kept_epoch: run.record.training.as_ref().map(|training| training.best_epoch),
            })
            .collect();

        let mut entries: Vec<_> = labels
            .into_iter()
            .zip(LOOKS)
            .map(|(label, look)| (Symbol::Curve(Look { dash: &[], ..look }), label))
            .collect();
        entries.push((Symbol::Line(FAINT_INK, &[]), "validation".into()));
        entries.push((Symbol::Line(FAINT_INK, TRAIN_DASH), "training".into()));
        if curves.iter().any(|curve| curve.kept_epoch.is_some()) {
            entries.push((Symbol::Ring(FAINT_INK), "kept epoch".into()));
        }
        let legend = Legend::new(entries, width - 2.0 * MARGIN);

        let rows = || curves.iter().flat_map(|curve| &curve.rows);
        let first_epoch = rows().map(|row| row.epoch).min().unwrap_or(1);
        let epochs = || Axis::whole("epoch", first_epoch, last_epoch);
        // A loss is seen against zero, unless it is negative.
        let losses = rows().map(|row| row.loss).chain([0.0]);
        let loss = Axis::around("loss", losses, least(rows().map(|row| row.loss)));
        let dice = Axis::linear("Dice", 0.0, 1.0);
        let beside = width >= SIDE_BY_SIDE;
        let plot_width =
            if beside { (width - 2.0 * MARGIN - GAP) / 2.0 } else { width - 2.0 * MARGIN };
        let place = |index: usize| {
            let along = index as f64;
            let (left, top) = if beside {
                (MARGIN + along * (plot_width + GAP), MARGIN)
            } else {
                (MARGIN, MARGIN + along * (PLOT_HEIGHT + GAP))
            };
            Rect { left, top, right: left + plot_width, bottom: top + PLOT_HEIGHT }
        };
        let plots = [(place(0), epochs(), loss), (place(1), epochs(), dice)];
        let height = plots[1].0.bottom + GAP + legend.height() + MARGIN;
        Ok(Self { curves, plots, legend, size: (width, height) })
    }

    /// One plot of `value` by epoch.
    fn plot(
        &self,
        area: &Area<'_>,
        (outer, x, y): &(Rect, Axis, Axis),
        value: fn(&EpochRow) -> f64,
    ) -> DrawResult {
        let plot = Plot::new(*outer, x.clone(), y.clone(), None);
        plot.draw(area)?;
        let at = |row: &EpochRow| plot.at(row.epoch as f64, value(row));
        for (index, curve) in self.curves.iter().enumerate() {
            let style = curve.look.color.stroke_width(stroke(LINE_WIDTH));
            for split in [EpochRow::TRAIN, EpochRow::VALID] {
                let of_split: Vec<&EpochRow> =
                    curve.rows.iter().filter(|row| row.split == split).collect();
                let dash = if split == EpochRow::TRAIN { TRAIN_DASH } else { &[] };
                for piece in pieces(&of_split, value) {
                    let points: Vec<_> = piece.iter().map(|row| at(row)).collect();
                    match (&points[..], split) {
                        // A lone point has no line; on the validation curve its marker shows it.
                        ([(x, y)], EpochRow::TRAIN) => {
                            let dot = Circle::new((pt(*x), pt(*y)), pt(1.2), style.filled());
                            area.draw(&dot)?;
                        }
                        _ => polyline(area, &points, dash, style)?,
                    }
                    if split == EpochRow::VALID {
                        let step = piece.len().div_ceil(MARKERS);
                        // Curves that lie on each other have their markers at other epochs.
                        let shift = if piece.len() > step { index % step } else { 0 };
                        for &point in points.iter().skip(shift).step_by(step) {
                            marker(area, point, curve.look, MARKER * 0.8)?;
                        }
                    }
                }
            }
        }
        for curve in &self.curves {
            let kept = curve.rows.iter().find(|row| {
                row.split == EpochRow::VALID
                    && Some(row.epoch) == curve.kept_epoch
                    && value(row).is_finite()
            });
            // Last, so that no line crosses it.
            if let Some(row) = kept {
                Symbol::Ring(curve.look.color).draw(area, at(row))?;
            }
        }
        Ok(())
    }
}

impl Sketch for TrainingCurves {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        self.plot(area, &self.plots[0], |row| row.loss)?;
        self.plot(area, &self.plots[1], |row| row.dice)?;
        self.legend.draw(area, (MARGIN, self.plots[1].0.bottom + GAP))
    }
}

/// The bounds of an axis that starts at zero unless a value is below it.
fn least(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let negative = values.filter(|value| value.is_finite()).any(|value| value < 0.0);
    (if negative { f64::NEG_INFINITY } else { 0.0 }, f64::INFINITY)
}

/// Splits a curve where a number is not finite, so that no line bridges the gap.
fn pieces<'a>(rows: &[&'a EpochRow], value: fn(&EpochRow) -> f64) -> Vec<Vec<&'a EpochRow>> {
    rows.split(|row| !value(row).is_finite())
        .filter(|piece| !piece.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use plotters::style::RGBColor;

    use super::*;
    use crate::testing::{record, run, trained};
    use crate::{Figure, FigureKind};

    fn draw(runs: &[Run]) -> Result<Figure, FigureError> {
        FigureKind::TrainingCurves.draw(runs)
    }

    /// Pixels of the PNG that are close to this color.
    fn pixels_of(figure: &Figure, color: RGBColor) -> usize {
        let picture = image::load_from_memory(&figure.png().unwrap()).unwrap().to_rgb8();
        let close = |a: u8, b: u8| a.abs_diff(b) <= 8;
        picture
            .pixels()
            .filter(|pixel| {
                close(pixel[0], color.0) && close(pixel[1], color.1) && close(pixel[2], color.2)
            })
            .count()
    }

    #[test]
    fn the_svg_names_axes_methods_and_line_styles() {
        let figure = draw(&[trained("apm", 0, 20, 0.9), trained("apm_ips", 0, 20, 0.8)]).unwrap();
        for label in ["epoch", "loss", "Dice", "apm", "apm_ips", "validation", "training"] {
            assert!(figure.svg().lines().any(|line| line == label), "`{label}` is missing");
        }
        assert!(figure.svg().trim_end().ends_with("</svg>"));
        assert_eq!(figure.svg().matches("<svg").count(), 1);
    }

    #[test]
    fn each_method_has_its_color_and_seeds_share_it() {
        let one = draw(&[trained("apm", 0, 20, 0.9)]).unwrap();
        assert!(pixels_of(&one, LOOKS[0].color) > 200);
        assert_eq!(pixels_of(&one, LOOKS[1].color), 0);

        let seeds = draw(&[trained("apm", 0, 20, 0.9), trained("apm", 1, 20, 0.7)]).unwrap();
        assert!(pixels_of(&seeds, LOOKS[0].color) > pixels_of(&one, LOOKS[0].color) * 5 / 4);
        assert_eq!(pixels_of(&seeds, LOOKS[1].color), 0);

        let two = draw(&[trained("apm", 0, 20, 0.9), trained("ips", 0, 20, 0.7)]).unwrap();
        assert!(pixels_of(&two, LOOKS[1].color) > 200);
    }

    #[test]
    fn methods_of_two_experiments_are_told_apart() {
        let mut other = trained("apm", 0, 5, 0.7);
        other.record.experiment = "<lesions>".into();
        let figure = draw(&[trained("apm", 0, 5, 0.9), other]).unwrap();
        assert!(figure.svg().contains("polyps: apm"));
        assert!(figure.svg().contains("&lt;lesions&gt;: apm"), "names are escaped");
    }

    #[test]
    fn a_single_epoch_is_seen() {
        let mut run = trained("apm", 0, 1, 0.9);
        run.record.training = None;
        let both = pixels_of(&draw(std::slice::from_ref(&run)).unwrap(), LOOKS[0].color);
        run.epochs.retain(|row| row.split == EpochRow::VALID);
        let valid = pixels_of(&draw(std::slice::from_ref(&run)).unwrap(), LOOKS[0].color);
        run.epochs[0].dice = f64::NAN;
        run.epochs[0].loss = f64::NAN;
        let legend = pixels_of(&draw(&[run]).unwrap(), LOOKS[0].color);
        assert!(both > valid && valid > legend && legend > 0, "{both} {valid} {legend}");
    }

    #[test]
    fn a_loss_that_is_no_number_leaves_a_gap() {
        let nan = f64::NAN;
        let rows: Vec<EpochRow> = [0.5, nan, nan, 0.4, 0.3, f64::INFINITY]
            .into_iter()
            .zip(1..)
            .map(|(loss, epoch)| EpochRow {
                epoch,
                split: EpochRow::VALID.into(),
                loss,
                dice: 0.5,
                iou: 0.5,
                learning_rate: None,
            })
            .collect();
        let rows: Vec<&EpochRow> = rows.iter().collect();
        let pieces = pieces(&rows, |row| row.loss);
        let epochs: Vec<Vec<usize>> =
            pieces.iter().map(|piece| piece.iter().map(|row| row.epoch).collect()).collect();
        assert_eq!(epochs, [vec![1], vec![4, 5]]);

        let mut diverged = trained("apm", 0, 6, 0.9);
        for row in &mut diverged.epochs {
            (row.loss, row.dice) = (nan, nan);
        }
        draw(&[diverged]).unwrap();
    }

    #[test]
    fn runs_without_epochs_are_left_out_or_an_error() {
        let untrained = run(record("zero_shot", 0));
        let error = draw(std::slice::from_ref(&untrained)).err().unwrap();
        assert_eq!(error.to_string(), "none of the 1 runs has a training curve");
        let figure = draw(&[untrained, trained("apm", 0, 5, 0.9)]).unwrap();
        assert!(!figure.svg().lines().any(|line| line == "zero_shot"));
    }

    #[test]
    fn more_methods_than_colors_are_refused() {
        let runs: Vec<_> = (0..8).map(|i| trained(&format!("m{i}"), 0, 3, 0.9)).collect();
        let error = draw(&runs).err().unwrap();
        assert!(matches!(error, FigureError::TooManyMethods { methods: 8, limit: 7 }));
        draw(&runs[..7]).unwrap();
    }
}
