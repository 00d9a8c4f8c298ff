//! Loss and Dice by epoch.

use std::ops::Range;

use plotters::backend::DrawingBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::Circle;
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor, TRANSPARENT};
use run_record::EpochRow;

use super::canvas::{DrawResult, Sketch, px};
use super::legend::{DASH, DOT_RADIUS, LINE_WIDTH, Legend, Symbol};
use super::palette::{FAINT_INK, GRID, INK, LINES};
use super::{FigureError, font};
use crate::Run;

const WIDTH: u32 = 760;
const PLOT_HEIGHT: u32 = 300;
const MARGIN: f64 = 14.0;
const LEGEND_GAP: f64 = 6.0;

/// Two plots side by side: loss on the left, Dice on the right.
pub(crate) struct TrainingCurves {
    curves: Vec<Curve>,
    last_epoch: i32,
    legend: Legend,
}

/// One run.
struct Curve {
    color: RGBColor,
    rows: Vec<EpochRow>,
    kept_epoch: Option<usize>,
}

impl TrainingCurves {
    pub(crate) fn new(runs: &[Run]) -> Result<Self, FigureError> {
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
            let method = &run.record.method;
            if several { format!("{}: {method}", run.record.experiment) } else { method.clone() }
        };

        // Seeds of one method share its color: what is compared are methods.
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
        if labels.len() > LINES.len() {
            return Err(FigureError::TooManyMethods { methods: labels.len(), limit: LINES.len() });
        }
        let curves: Vec<_> = curves
            .into_iter()
            .map(|(index, run)| Curve {
                color: LINES[index],
                rows: run.epochs.clone(),
                kept_epoch: run.record.training.as_ref().map(|training| training.best_epoch),
            })
            .collect();

        let mut entries: Vec<_> = labels
            .into_iter()
            .zip(LINES)
            .map(|(label, color)| (Symbol::Line(color), label))
            .collect();
        entries.push((Symbol::Line(FAINT_INK), "validation".into()));
        entries.push((Symbol::Dashes(FAINT_INK), "training".into()));
        if curves.iter().any(|curve| curve.kept_epoch.is_some()) {
            entries.push((Symbol::Ring(FAINT_INK), "kept epoch".into()));
        }
        Ok(Self {
            curves,
            last_epoch: axis(last_epoch),
            legend: Legend::new(entries, f64::from(WIDTH) - 2.0 * MARGIN),
        })
    }

    /// One plot of `value` by epoch.
    fn plot<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        name: &str,
        range: Range<f64>,
        value: fn(&EpochRow) -> f64,
    ) -> DrawResult<B> {
        // A single epoch has no width: it is put in the middle.
        let epochs = if self.last_epoch > 1 { 1..self.last_epoch } else { 0..2 };
        let mut chart = ChartBuilder::on(area)
            .margin_top(px(MARGIN))
            .margin_right(px(MARGIN + 4.0))
            .margin_left(px(4.0))
            .x_label_area_size(px(42.0))
            .y_label_area_size(px(56.0))
            .build_cartesian_2d(epochs, range)?;
        let label = font::style(11.5, INK, HPos::Left, VPos::Top);
        let title = font::style(13.0, INK, HPos::Left, VPos::Top);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(px(1.0) as u32))
            .light_line_style(TRANSPARENT)
            .axis_style(INK.stroke_width(px(1.0) as u32))
            .set_all_tick_mark_size(px(4.0))
            .label_style(label)
            .axis_desc_style(title)
            .x_labels(8)
            .y_labels(6)
            .x_desc("epoch")
            .y_desc(name)
            .draw()?;

        let mut marks = Vec::new();
        for curve in &self.curves {
            let style = curve.color.stroke_width(px(LINE_WIDTH) as u32);
            for split in [EpochRow::TRAIN, EpochRow::VALID] {
                let points = curve
                    .rows
                    .iter()
                    .filter(|row| row.split == split)
                    .map(|row| (axis(row.epoch), value(row)));
                for piece in pieces(points) {
                    if let ([point], 1) = (&piece[..], self.last_epoch) {
                        // No line can say which split a lone epoch is of, so its sign does.
                        let train = split == EpochRow::TRAIN;
                        let symbol = if train { Symbol::Dashes } else { Symbol::Line };
                        marks.push((symbol(curve.color), *point));
                    } else if let [point] = piece[..] {
                        let dot = Circle::new(point, px(DOT_RADIUS), curve.color.filled());
                        chart.draw_series([dot])?;
                    } else if split == EpochRow::TRAIN {
                        let (dash, gap) = (px(DASH.0), px(DASH.1));
                        chart.draw_series(DashedLineSeries::new(piece, dash, gap, style))?;
                    } else {
                        chart.draw_series(LineSeries::new(piece, style))?;
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
            if let Some(row) = kept {
                marks.push((Symbol::Ring(curve.color), (axis(row.epoch), value(row))));
            }
        }
        // Marks last, so that no line crosses them.
        let (left, top) = area.get_base_pixel();
        for (symbol, point) in marks {
            let (x, y) = chart.backend_coord(&point);
            symbol.draw(area, (x - left, y - top))?;
        }
        Ok(())
    }

    /// From 0, or below if a loss is negative, to a little above the largest loss.
    fn loss_range(&self) -> Range<f64> {
        let finite = self
            .curves
            .iter()
            .flat_map(|curve| &curve.rows)
            .map(|row| row.loss)
            .filter(|loss| loss.is_finite());
        let (least, most) = finite
            .fold((0.0_f64, 0.0_f64), |(least, most), loss| (least.min(loss), most.max(loss)));
        if least == most { 0.0..1.0 } else { least..most + 0.05 * (most - least) }
    }
}

impl Sketch for TrainingCurves {
    fn size(&self) -> (u32, u32) {
        (WIDTH, PLOT_HEIGHT + (self.legend.height() + LEGEND_GAP + MARGIN) as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> DrawResult<B> {
        let (plots, below) = area.split_vertically(px(f64::from(PLOT_HEIGHT)));
        let (left, right) = plots.split_horizontally(px(f64::from(WIDTH) / 2.0));
        self.plot(&left, "loss", self.loss_range(), |row| row.loss)?;
        self.plot(&right, "Dice", 0.0..1.0, |row| row.dice)?;
        self.legend.draw(&below, (MARGIN, LEGEND_GAP))
    }
}

/// An epoch as the axis counts it.
fn axis(epoch: usize) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}

/// Splits a curve where a number is not finite, so that no line bridges the gap.
fn pieces(points: impl Iterator<Item = (i32, f64)>) -> Vec<Vec<(i32, f64)>> {
    let mut pieces = vec![Vec::new()];
    for point in points {
        match pieces.last_mut() {
            Some(piece) if point.1.is_finite() => piece.push(point),
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{record, run, trained};
    use crate::{Figure, FigureKind};

    fn draw(runs: &[Run]) -> Result<Figure, FigureError> {
        FigureKind::TrainingCurves.draw(runs)
    }

    /// Pixels of the PNG that are close to this color.
    fn pixels_of(figure: &Figure, color: RGBColor) -> usize {
        let picture = image::load_from_memory(&figure.png).unwrap().to_rgb8();
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
            assert!(figure.svg.lines().any(|line| line == label), "`{label}` is missing");
        }
        assert!(figure.svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\""));
        assert!(figure.svg.trim_end().ends_with("</svg>"));
        assert_eq!(figure.svg.matches("<svg").count(), 1);
    }

    #[test]
    fn each_method_has_its_color_and_seeds_share_it() {
        let one = draw(&[trained("apm", 0, 20, 0.9)]).unwrap();
        assert!(pixels_of(&one, LINES[0]) > 200);
        assert_eq!(pixels_of(&one, LINES[1]), 0);

        let seeds = draw(&[trained("apm", 0, 20, 0.9), trained("apm", 1, 20, 0.7)]).unwrap();
        assert!(pixels_of(&seeds, LINES[0]) > pixels_of(&one, LINES[0]) * 5 / 4);
        assert_eq!(pixels_of(&seeds, LINES[1]), 0);

        let two = draw(&[trained("apm", 0, 20, 0.9), trained("ips", 0, 20, 0.7)]).unwrap();
        assert!(pixels_of(&two, LINES[1]) > 200);
    }

    #[test]
    fn methods_of_two_experiments_are_told_apart() {
        let mut other = trained("apm", 0, 5, 0.7);
        other.record.experiment = "<lesions>".into();
        let figure = draw(&[trained("apm", 0, 5, 0.9), other]).unwrap();
        assert!(figure.svg.contains("polyps: apm"));
        assert!(figure.svg.contains("&lt;lesions&gt;: apm"), "names are escaped");
    }

    #[test]
    fn a_single_epoch_is_seen() {
        let mut run = trained("apm", 0, 1, 0.9);
        run.record.training = None;
        let both = pixels_of(&draw(std::slice::from_ref(&run)).unwrap(), LINES[0]);
        run.epochs.retain(|row| row.split == EpochRow::VALID);
        let valid = pixels_of(&draw(std::slice::from_ref(&run)).unwrap(), LINES[0]);
        run.epochs[0].dice = f64::NAN;
        run.epochs[0].loss = f64::NAN;
        let legend = pixels_of(&draw(&[run]).unwrap(), LINES[0]);
        assert!(both > valid && valid > legend && legend > 0, "{both} {valid} {legend}");
    }

    #[test]
    fn a_loss_that_is_no_number_leaves_a_gap() {
        let nan = f64::NAN;
        let points = [(1, 0.5), (2, nan), (3, nan), (4, 0.4), (5, 0.3), (6, f64::INFINITY)];
        assert_eq!(pieces(points.into_iter()), [vec![(1, 0.5)], vec![(4, 0.4), (5, 0.3)]]);

        let mut diverged = trained("apm", 0, 6, 0.9);
        for row in &mut diverged.epochs {
            (row.loss, row.dice) = (nan, nan);
        }
        draw(&[diverged]).unwrap();
    }

    #[test]
    fn runs_without_epochs_are_left_out_or_an_error() {
        let untrained = run(record("zero_shot", 0));
        let error = draw(std::slice::from_ref(&untrained)).unwrap_err();
        assert_eq!(error.to_string(), "none of the 1 runs has a training curve");
        let figure = draw(&[untrained, trained("apm", 0, 5, 0.9)]).unwrap();
        assert!(!figure.svg.contains("zero_shot"));
    }

    #[test]
    fn more_methods_than_colors_are_refused() {
        let runs: Vec<_> = (0..8).map(|i| trained(&format!("m{i}"), 0, 3, 0.9)).collect();
        let error = draw(&runs).unwrap_err();
        assert!(matches!(error, FigureError::TooManyMethods { methods: 8, limit: 7 }));
        draw(&runs[..7]).unwrap();
    }

    #[test]
    fn the_same_runs_give_the_same_bytes() {
        let runs = [trained("apm", 0, 20, 0.9)];
        assert_eq!(draw(&runs).unwrap(), draw(&runs).unwrap());
    }
}
