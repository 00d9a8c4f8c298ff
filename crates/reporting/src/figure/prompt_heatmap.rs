//! Where point prompts lie in the image.

use std::collections::BTreeSet;

use image::imageops::FilterType;
use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::axes::Rect;
use super::canvas::{Area, DrawResult, POINTS_PER_MM, Sketch, pt, stroke};
use super::legend::{Footer, Symbol};
use super::marks::{outline, remark};
use super::overlay::{Prompts, open, open_mask, prompts_of, shown_sources};
use super::palette::{BLUE, FAINT_INK, INK, VERMILION, tint};
use super::{FigureError, FigureOptions, HIGHEST_MM, font};
use run_record::Panel;

use crate::Run;
use crate::entries::{Selection, marked_method};

/// Cells along a side of a map.
const CELLS: usize = 16;
/// Cells along a side of the mean truth.
const TRUTH_CELLS: usize = 64;
/// Share of the cases whose truth covers what lies inside the drawn outline.
const COVERED: f64 = 0.5;
const MARGIN: f64 = 3.0;
const GAP: f64 = 9.0;
const HEAD: f64 = 22.0;
/// Smallest side of a map, in points.
const SMALLEST: f64 = 40.0;
/// Room for legend and notes, in points.
const BELOW: f64 = 60.0;
/// Largest side of a map, in points.
const LARGEST: f64 = 150.0;

/// Maps of the foreground points and of the background points of every method, with the prompt sources that
/// were asked for; if none was, with the one that [`shown_sources`] gives. A map without points is left out.
///
/// Images of all shapes are squeezed into a square: a place is a share of width and height. Points are
/// those of the cases with pictures, which is what runs keep of their prompts.
pub(super) struct PromptHeatmap {
    maps: Vec<Map>,
    footer: Footer,
    size: (f64, f64),
}

struct Map {
    frame: Rect,
    title: String,
    remark: String,
    color: RGBColor,
    counts: Vec<usize>,
    /// Share of the cases whose truth covers a cell, row by row.
    truth: Vec<f64>,
}

/// Points and truths of one method and prompt source.
struct Collected {
    name: String,
    /// Cases by split and file: with several seeds each has several panels.
    cases: BTreeSet<(String, String)>,
    panels: usize,
    /// Background points first.
    counts: [Vec<usize>; 2],
    outside: usize,
    truth: Vec<f64>,
}

impl PromptHeatmap {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let collected = collect(runs, options)?;
        if collected.is_empty() {
            return Err(FigureError::NothingToDraw {
                what: "panels with points",
                runs: runs.len(),
            });
        }
        let room = width - 2.0 * MARGIN;
        let mut wanted = Vec::new();
        let mut notes = Vec::new();
        for one in &collected {
            for (half, label, color) in [(1, "foreground", BLUE), (0, "background", VERMILION)] {
                if one.counts[half].iter().any(|&count| count > 0) {
                    wanted.push((one, half, label, color));
                }
            }
            if one.outside > 0 {
                notes.push(format!("{}: {} points outside the image", one.name, one.outside));
            }
        }
        // Two at least stand side by side.
        let fit = ((room + GAP) / (LARGEST + GAP)).floor() as usize;
        let least = fit.max(2).min(wanted.len().max(2));
        let side_of =
            |columns: usize| ((room - GAP * (columns as f64 - 1.0)) / columns as f64).min(LARGEST);
        // More and smaller ones side by side where they would be higher than a page.
        let is_page = |columns: &usize| {
            let rows = wanted.len().div_ceil(*columns) as f64;
            let high = rows * (side_of(*columns) + HEAD + GAP);
            side_of(*columns) > SMALLEST && high <= HIGHEST_MM * POINTS_PER_MM - BELOW
        };
        let columns = (least..=wanted.len()).find(is_page).unwrap_or(least);
        let side = side_of(columns);
        let used = columns as f64 * side + GAP * (columns as f64 - 1.0);
        let start = MARGIN + (room - used) / 2.0;

        let mut maps = Vec::new();
        let mut bottom = MARGIN;
        for (place, (one, half, label, color)) in wanted.into_iter().enumerate() {
            let left = start + (place % columns) as f64 * (side + GAP);
            let top = MARGIN + (place / columns) as f64 * (side + HEAD + GAP) + HEAD;
            bottom = top + side;
            let counts = one.counts[half].clone();
            let points: usize = counts.iter().sum();
            let most = counts.iter().copied().max().unwrap_or(0);
            maps.push(Map {
                frame: Rect { left, top, right: left + side, bottom },
                title: one.name.clone(),
                remark: format!("{label}: {points} points, darkest cell {most}"),
                color,
                counts,
                truth: one.truth.clone(),
            });
        }
        let cases: Vec<String> = collected.iter().map(|one| one.cases.len().to_string()).collect();
        let all_same = cases.windows(2).all(|pair| pair[0] == pair[1]);
        notes.push(if all_same {
            format!("points of {} cases with pictures", cases[0])
        } else {
            format!("points of {} cases with pictures, in this order", cases.join(", "))
        });
        let mut legend = Vec::new();
        if maps.iter().any(|map| !edges(&map.truth).is_empty()) {
            legend.push((Symbol::Line(INK, &[]), "true object in half of the cases".to_owned()));
        }
        let footer = Footer::new(legend, &notes, room);
        let size = (width, bottom + GAP + footer.height() + MARGIN);
        Ok(Self { maps, footer, size })
    }
}

/// Points and truths by method and prompt source, in the order of the runs; seeds are pooled.
fn collect(runs: &[Run], options: &FigureOptions) -> Result<Vec<Collected>, FigureError> {
    let mut all: Vec<Collected> = Vec::new();
    let several =
        runs.windows(2).any(|pair| pair[0].record.experiment != pair[1].record.experiment);
    for run in runs {
        let folder = run.folder.panels_dir();
        let sources = shown_sources(run, &options.scope);
        let shown = |panel: &&Panel| {
            options.scope.shows(&panel.data, &panel.prompts)
                && sources.contains(&panel.prompts.as_str())
        };
        for panel in run.panels.iter().filter(shown) {
            let size = open(&folder.join(&panel.image))?.to_rgb8().dimensions();
            let prompts = Prompts::of(panel, size);
            if prompts.markers.is_empty() && prompts.outside == 0 {
                continue;
            }
            let experiment =
                if several { format!("{}: ", run.record.experiment) } else { String::new() };
            let method = marked_method(&run.record.method, Selection::of_run(run));
            let name = format!(
                "{experiment}{method}, {}, {}",
                prompts_of(run, &panel.prompts),
                panel.data
            );
            let place = all.iter().position(|one| one.name == name).unwrap_or_else(|| {
                all.push(Collected {
                    name,
                    cases: BTreeSet::new(),
                    panels: 0,
                    counts: [vec![0; CELLS * CELLS], vec![0; CELLS * CELLS]],
                    outside: 0,
                    truth: vec![0.0; TRUTH_CELLS * TRUTH_CELLS],
                });
                all.len() - 1
            });
            let one = &mut all[place];
            one.cases.insert((panel.split.clone(), panel.file.clone()));
            one.panels += 1;
            one.outside += prompts.outside;
            for &(symbol, x, y) in &prompts.markers {
                let half = usize::from(symbol == super::overlay::FOREGROUND);
                one.counts[half][cell(x, y)] += 1;
            }
            let mask = open_mask(&folder.join(&panel.truth), size)?;
            let side = TRUTH_CELLS as u32;
            let small = image::imageops::resize(&mask, side, side, FilterType::Triangle);
            for (sum, pixel) in one.truth.iter_mut().zip(small.pixels()) {
                *sum += f64::from(pixel[0]) / 255.0;
            }
        }
    }
    for one in &mut all {
        for share in &mut one.truth {
            *share /= one.panels as f64;
        }
    }
    Ok(all)
}

/// The cell of a place inside the image.
fn cell(x: f64, y: f64) -> usize {
    let along = |share: f64| ((share * CELLS as f64) as usize).min(CELLS - 1);
    along(y) * CELLS + along(x)
}

/// Edges between cells inside and outside of the outline, in shares of the side.
fn edges(truth: &[f64]) -> Vec<[(f64, f64); 2]> {
    let n = TRUTH_CELLS;
    let inside = |x: usize, y: usize| truth[y * n + x] >= COVERED;
    let at = |x: usize, y: usize| (x as f64 / n as f64, y as f64 / n as f64);
    let mut edges = Vec::new();
    for y in 0..n {
        for x in 0..n {
            if x + 1 < n && inside(x, y) != inside(x + 1, y) {
                edges.push([at(x + 1, y), at(x + 1, y + 1)]);
            }
            if y + 1 < n && inside(x, y) != inside(x, y + 1) {
                edges.push([at(x, y + 1), at(x + 1, y + 1)]);
            }
        }
    }
    edges
}

impl Sketch for PromptHeatmap {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for Map { frame, title, remark: text, color, counts, truth } in &self.maps {
            let most = counts.iter().copied().max().unwrap_or(0).max(1);
            let at = |(x, y): (f64, f64)| {
                (pt(frame.left + x * frame.width()), pt(frame.top + y * frame.height()))
            };
            for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let (x, y) = ((i % CELLS) as f64, (i / CELLS) as f64);
                let share = |value: f64| value / CELLS as f64;
                let corners = [at((share(x), share(y))), at((share(x + 1.0), share(y + 1.0)))];
                // A single point is seen, too.
                let opacity = 0.15 + 0.85 * count as f64 / most as f64;
                area.draw(&Rectangle::new(corners, tint(*color, opacity).filled()))?;
            }
            for [from, to] in edges(truth) {
                let line = [at(from), at(to)];
                area.draw(&PathElement::new(line, INK.stroke_width(stroke(0.7))))?;
            }
            outline(area, *frame, FAINT_INK.stroke_width(stroke(0.6)))?;
            let middle = (frame.left + frame.right) / 2.0;
            let style = font::style(font::TITLE, INK, HPos::Center, VPos::Center);
            let title = font::fit(title, font::TITLE, frame.width() + GAP - 3.0);
            area.draw_text(&title, &style, (pt(middle), pt(frame.top - HEAD + 6.0)))?;
            let text = font::fit(text, font::SMALL, frame.width() + GAP - 3.0);
            remark(area, &text, (middle, frame.top - 6.0), HPos::Center)?;
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_fall_into_their_cells_and_the_far_edge_into_the_last() {
        assert_eq!(cell(0.0, 0.0), 0);
        assert_eq!(cell(1.0, 1.0), CELLS * CELLS - 1);
        assert_eq!(cell(0.99, 0.0), CELLS - 1);
        assert_eq!(cell(0.0, 1.5 / CELLS as f64), CELLS);
    }

    #[test]
    fn the_outline_of_one_covered_cell_has_four_edges() {
        let mut truth = vec![0.0; TRUTH_CELLS * TRUTH_CELLS];
        truth[5 * TRUTH_CELLS + 7] = 1.0;
        assert_eq!(edges(&truth).len(), 4);
        assert!(edges(&vec![1.0; TRUTH_CELLS * TRUTH_CELLS]).is_empty(), "the edge is no outline");
    }

    #[test]
    fn maps_of_many_methods_are_made_smaller_until_they_fit_on_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let runs = crate::testing::study(folder.path());
        let many: Vec<Run> = (0..12)
            .map(|place| {
                let mut run = runs[place % runs.len()].clone();
                run.record.method = format!("method-{place}");
                run
            })
            .collect();
        let height_mm = |runs: &[Run]| {
            let width = super::super::ONE_COLUMN_MM * POINTS_PER_MM;
            let map = PromptHeatmap::new(runs, &FigureOptions::default(), width).unwrap();
            map.size.1 / POINTS_PER_MM
        };
        assert!(height_mm(&many) <= HIGHEST_MM, "{} mm", height_mm(&many));
        assert!(height_mm(&many[..2]) < 120.0);
    }

    #[test]
    fn points_are_counted_by_method_and_kind_over_all_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let runs = crate::testing::study(folder.path());
        let collected = collect(&runs, &FigureOptions::default()).unwrap();
        let names: Vec<_> = collected.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            ["frozen, grid, kvasir", "apm_4_points, auto, kvasir", "apm_16_points, auto, kvasir"]
        );
        for one in &collected {
            // Two seeds, four pictures, a foreground point in the middle of each and a background point
            // at an eighth of either side.
            assert_eq!(one.cases.len(), 4);
            assert_eq!(one.counts[1][cell(0.5, 0.5)], 8);
            assert_eq!(one.counts[0][cell(0.125, 0.125)], 8);
            assert_eq!(one.counts.iter().flatten().sum::<usize>(), 16);
        }
    }
}
