//! Plots of methods below each other, one plot per data set: what bars and boxes have in common.

use metrics::{Column, Measure};
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Plot, Rect};
use super::canvas::{Area, DrawResult, pt};
use super::legend::{Footer, Symbol};
use super::palette::{FAINT_INK, INK};
use super::{FigureError, font};
use crate::entries::{Entries, Entry, Selection, label};

const MARGIN: f64 = 3.0;
const GAP: f64 = 8.0;
/// Most of the width that names take.
const LABEL_SHARE: f64 = 0.42;
/// From this width on two plots stand side by side, in points.
const TWO_PLOTS: f64 = 340.0;

/// The name of a row: a method, and below it where its prompts come from.
struct RowName {
    method: String,
    prompts: Option<String>,
}

/// One plot: a data set and its rows.
struct Group {
    title: Option<String>,
    outer: Rect,
    axis: Axis,
    /// Names of the rows, and the places of their entries.
    rows: Vec<(RowName, usize)>,
}

/// Where everything lies.
pub(super) struct Rows {
    groups: Vec<Group>,
    label_width: f64,
    row_height: f64,
    footer: Footer,
    size: (f64, f64),
}

impl Rows {
    /// Lays out the entries. `values` are the numbers of an entry that its plot must show.
    pub(super) fn new(
        all: &Entries<'_>,
        measure: Measure,
        values: impl Fn(usize) -> Vec<f64>,
        legend: Vec<(Symbol, String)>,
        mut notes: Vec<String>,
        width: f64,
    ) -> Result<Self, FigureError> {
        let entries = &all.entries;
        let first = &entries[0];
        let one_source =
            entries.iter().all(|entry| entry.prompts == first.prompts && !entry.oracle);
        let several = entries.iter().any(|entry| entry.experiment != first.experiment);
        let name = |entry: &Entry<'_>| {
            let experiment =
                if several { format!("{}: ", entry.experiment) } else { String::new() };
            let mark = match entry.selection() {
                Selection::OnTest => " (chosen on test data)",
                Selection::Clean | Selection::Unknown => "",
            };
            let oracle = if entry.oracle { " (oracle)" } else { "" };
            RowName {
                method: format!("{experiment}{}{mark}", entry.method),
                prompts: (!one_source).then(|| format!("{}{oracle}", entry.prompts)),
            }
        };
        let mut grouped: Vec<Vec<usize>> = Vec::new();
        let key = |i: usize| (entries[i].data, entries[i].split, entries[i].protocol);
        for i in 0..entries.len() {
            match grouped.last_mut() {
                Some(group) if key(group[0]) == key(i) => group.push(i),
                _ => grouped.push(vec![i]),
            }
        }

        let columns = if width >= TWO_PLOTS && grouped.len() > 1 { 2 } else { 1 };
        let plot_width = (width - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
        let names = entries.iter().map(&name);
        let widest = names
            .flat_map(|name| {
                let prompts = name.prompts.map_or(0.0, |text| font::width(&text, font::SMALL));
                [font::width(&name.method, font::LABEL), prompts]
            })
            .fold(0.0, f64::max);
        let label_width = (widest + 5.0).min(plot_width * LABEL_SHARE);
        let row_height = if one_source { 13.0 } else { 17.0 };

        let several_protocols = entries.iter().any(|entry| entry.protocol != first.protocol);
        let mut groups = Vec::new();
        let mut top = MARGIN;
        for pair in grouped.chunks(columns) {
            let mut bottom = top;
            for (column, members) in pair.iter().enumerate() {
                let entry = &entries[members[0]];
                let number = entry.number(Column::Mean(measure))?;
                let protocol =
                    if several_protocols { format!(", {}", entry.protocol) } else { String::new() };
                let title = format!("{} ({}{protocol}, n = {})", entry.data, entry.split, number.n);
                let unit = measure.unit().map_or(String::new(), |unit| format!(" ({unit})"));
                let axis_name = format!("{}{unit}", label(entry.protocol, Column::Mean(measure)));
                let most = if measure.unit().is_some() { f64::INFINITY } else { 1.0 };
                // All plots have the same axis, so that they can be compared.
                let shown = (0..entries.len()).flat_map(&values);
                let axis = Axis::around(&axis_name, shown, (0.0, most));
                let title = Some(title);
                let height = Plot::overhead(&axis, &title) + members.len() as f64 * row_height;
                let left = MARGIN + column as f64 * (plot_width + GAP);
                let outer = Rect { left, top, right: left + plot_width, bottom: top + height };
                bottom = bottom.max(outer.bottom);
                let rows = members.iter().map(|&i| (name(&entries[i]), i)).collect();
                groups.push(Group { title, outer, axis, rows });
            }
            top = bottom + GAP;
        }
        if one_source {
            notes.insert(0, format!("prompts {}", first.prompts));
        }
        let footer = Footer::new(legend, &notes, width - 2.0 * MARGIN);
        let height = top + footer.height() + MARGIN;
        Ok(Self { groups, label_width, row_height, footer, size: (width, height) })
    }

    /// Width and height in points.
    pub(super) fn size(&self) -> (f64, f64) {
        self.size
    }

    /// Draws axes and names, and `mark` for every entry: in the plot, around the height `y`, with `room`
    /// points to either side.
    pub(super) fn draw(
        &self,
        area: &Area<'_>,
        mark: impl Fn(usize, &Plot, f64, f64) -> DrawResult,
    ) -> DrawResult {
        for group in &self.groups {
            let plot = Plot::of_rows(
                group.outer,
                group.axis.clone(),
                self.label_width,
                group.title.clone(),
            );
            plot.draw(area)?;
            for (place, (name, i)) in group.rows.iter().enumerate() {
                let y = plot.frame.top + (place as f64 + 0.5) * self.row_height;
                self.name(area, name, (plot.frame.left - 4.0, y))?;
                mark(*i, &plot, y, self.row_height / 2.0)?;
            }
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }

    fn name(&self, area: &Area<'_>, name: &RowName, (x, y): (f64, f64)) -> DrawResult {
        let room = self.label_width - 5.0;
        let method = font::fit(&name.method, font::LABEL, room);
        let style = font::style(font::LABEL, INK, HPos::Right, VPos::Center);
        let Some(prompts) = &name.prompts else {
            return area.draw_text(&method, &style, (pt(x), pt(y)));
        };
        area.draw_text(&method, &style, (pt(x), pt(y - 3.4)))?;
        let small = font::style(font::SMALL, FAINT_INK, HPos::Right, VPos::Center);
        let prompts = font::fit(prompts, font::SMALL, room);
        area.draw_text(&prompts, &small, (pt(x), pt(y + 3.8)))
    }
}
