//! The same cases with every method: rows are cases chosen by rule, columns are methods.

use std::collections::{BTreeMap, BTreeSet};

use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};
use run_record::Panel;
use sha2::{Digest, Sha256};

use super::axes::Rect;
use super::canvas::{Area, DrawResult, Picture, Sketch, pt};
use super::legend::{Footer, Symbol};
use super::marks::remark;
use super::overlay::{
    PREDICTION, Painter, Prompts, TRUTH, fitted, is_oracle, prompts_of, shown_sources,
};
use super::palette::{FAINT_INK, INK};
use super::{FigureError, FigureOptions, font};
use crate::Run;
use crate::entries::{Selection, marked_method};
use crate::scores::mean;

/// Methods in one figure, at most: more have no room.
const MAX_METHODS: usize = 6;
const MARGIN: f64 = 3.0;
const GAP: f64 = 2.5;
/// Width of what stands left of the pictures.
const SIDE: f64 = 11.0;
/// Height of a line of a head, in points.
const HEAD_LINE: f64 = 8.5;
const CAPTION: f64 = 9.0;

/// A column: a method with a prompt source, and the run that is shown of it.
#[derive(Debug, Clone, Copy)]
struct Column<'a> {
    run: &'a Run,
    prompts: &'a str,
}

/// A case by data set, split and file.
type Case<'a> = (&'a str, &'a str, &'a str);

/// Pictures in a grid. The cases of each data set are the best, the median, the worst and a random one, by
/// the mean Dice of the methods that are shown, among the cases that every one of them has pictures of.
pub(super) struct QualitativeGrid {
    headers: Vec<Header>,
    /// Height of the heads, in points.
    head: f64,
    sides: Vec<(f64, String)>,
    captions: Vec<(f64, f64, String)>,
    prompts: Vec<(Rect, Prompts)>,
    pictures: Vec<Picture>,
    footer: Footer,
    size: (f64, f64),
}

impl QualitativeGrid {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let columns = columns(runs, options);
        if columns.is_empty() {
            return Err(FigureError::NothingToDraw { what: "panels", runs: runs.len() });
        }
        if columns.len() > MAX_METHODS {
            return Err(FigureError::TooManyMethods { methods: columns.len(), limit: MAX_METHODS });
        }
        let common = common_cases(&columns, options);
        if common.is_empty() {
            let what = "pictures of a case that the others have pictures of, too";
            return Err(FigureError::NothingToDraw { what, runs: runs.len() });
        }
        let (chosen, mut notes) = chosen(&columns, &common, options.seed);
        let seeds: BTreeSet<u64> = columns.iter().map(|column| column.run.record.seed).collect();
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.to_string()).collect();
        let plural = if seeds.len() > 1 { "s" } else { "" };
        notes.push(format!("runs with seed{plural} {}", seeds.join(", ")));

        let wide = columns.len() + 2;
        let cell = (width - 2.0 * MARGIN - SIDE - wide as f64 * GAP) / wide as f64;
        let left_of = |column: usize| MARGIN + SIDE + column as f64 * (cell + GAP) + GAP;
        let several = columns
            .windows(2)
            .any(|pair| pair[0].run.record.experiment != pair[1].run.record.experiment);
        let middle = |column: usize| left_of(column) + cell / 2.0;
        let mut headers = vec![
            Header::new(middle(0), "image", "", cell + GAP - 1.0),
            Header::new(middle(1), "ground truth", "", cell + GAP - 1.0),
        ];
        for (i, column) in columns.iter().enumerate() {
            let record = &column.run.record;
            let experiment =
                if several { format!("{}: ", record.experiment) } else { String::new() };
            let method = marked_method(&record.method, Selection::of_run(column.run));
            let name = format!("{experiment}{method}");
            let prompts = prompts_of(column.run, column.prompts);
            headers.push(Header::new(middle(i + 2), &name, &prompts, cell + GAP - 1.0));
        }

        let (mut sides, mut captions) = (Vec::new(), Vec::new());
        let (mut prompts, mut pictures) = (Vec::new(), Vec::new());
        let lines = headers.iter().map(|header| header.lines.len()).max().unwrap_or(0);
        let head = lines as f64 * HEAD_LINE;
        let with_word = font::width(&dice_label(Some(0.0), true), font::SMALL) <= cell;
        if !with_word {
            notes.push("numbers below pictures: Dice".to_owned());
        }
        let mut top = MARGIN + head;
        for (rule, case) in &chosen {
            let mut height = 0.0_f64;
            for (i, column) in columns.iter().enumerate() {
                let Some(panel) = panel(column, case) else { continue };
                let painter = Painter::new(column.run, panel, cell)?;
                let (w, h) = fitted(painter.size, cell);
                height = height.max(h);
                let mut show = |place: usize, pixels| {
                    let left = left_of(place) + (cell - w) / 2.0;
                    pictures.push(Picture { left, top, width: w, height: h, pixels });
                    Rect { left, top, right: left + w, bottom: top + h }
                };
                if i == 0 {
                    show(0, painter.plain());
                    show(1, painter.with_truth());
                }
                let frame = show(i + 2, painter.with_prediction(true));
                prompts.push((frame, Prompts::of(panel, painter.size)));
                let dice =
                    font::fit(&dice_label(panel.dice, with_word), font::SMALL, cell + GAP - 1.0);
                captions.push((left_of(i + 2) + cell / 2.0, top + h + CAPTION / 2.0, dice));
            }
            let name = font::fit(case.2, font::SMALL, 2.0 * cell);
            captions.push((left_of(0) + cell + GAP / 2.0, top + height + CAPTION / 2.0, name));
            sides.push((top + height / 2.0, rule.clone()));
            top += height + CAPTION + GAP;
        }

        let mut entries = vec![
            (Symbol::Contour(TRUTH), "ground truth".to_owned()),
            (Symbol::Region(PREDICTION), "prediction".to_owned()),
        ];
        let all: Vec<&Prompts> = prompts.iter().map(|(_, prompts)| prompts).collect();
        entries.extend(Prompts::entries(&all));
        let footer = Footer::new(entries, &notes, width - 2.0 * MARGIN);
        let size = (width, top + footer.height() + MARGIN);
        Ok(Self { headers, head, sides, captions, prompts, pictures, footer, size })
    }
}

/// What stands above a column.
struct Header {
    /// Its middle, in points.
    x: f64,
    /// Text, size and color, from above.
    lines: Vec<(String, f64, RGBColor)>,
}

impl Header {
    /// The name in one line or in two of at most `room` points, and a line for the prompts if there are some.
    fn new(x: f64, name: &str, prompts: &str, room: f64) -> Self {
        let label = |line: String| (line, font::LABEL, INK);
        let mut lines: Vec<_> = in_two(name, font::LABEL, room).into_iter().map(label).collect();
        if !prompts.is_empty() {
            let small = |line: String| (line, font::SMALL, FAINT_INK);
            lines.extend(in_two(prompts, font::SMALL, room).into_iter().map(small));
        }
        Self { x, lines }
    }
}

/// A text in one line if it is at most `room` points wide; else in two, broken behind a space or a sign where the
/// wider half is least wide, and shortened if that is too wide still.
fn in_two(text: &str, em: f64, room: f64) -> Vec<String> {
    let wide = |text: &str| font::width(text.trim(), em);
    let breaks = text.char_indices().filter(|(_, c)| matches!(c, ' ' | '_' | '-' | ':' | '/'));
    let halves = breaks.map(|(at, c)| text.split_at(at + c.len_utf8()));
    let best = halves
        .filter(|(_, second)| !second.is_empty())
        .min_by(|a, b| wide(a.0).max(wide(a.1)).total_cmp(&wide(b.0).max(wide(b.1))));
    match best {
        Some((first, second)) if wide(text) > room => {
            [first, second].map(|half| font::fit(half.trim(), em, room)).into()
        }
        _ => vec![font::fit(text, em, room)],
    }
}

/// What stands below a prediction; without the word where a picture is too narrow for it.
fn dice_label(dice: Option<f64>, with_word: bool) -> String {
    let word = if with_word { "Dice " } else { "" };
    dice.map_or_else(|| "undefined".to_owned(), |dice| format!("{word}{dice:.3}"))
}

/// The runs that the figure shows pictures of.
pub(super) fn shown_runs<'a>(runs: &'a [Run], options: &FigureOptions) -> Vec<&'a Run> {
    let mut shown: Vec<&Run> = columns(runs, options).iter().map(|column| column.run).collect();
    shown.dedup_by_key(|run| &run.folder);
    shown
}

/// The columns: every method with the prompt sources that are shown of it.
fn columns<'a>(runs: &'a [Run], options: &FigureOptions) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    // The lowest seed stands for a method.
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by_key(|run| (place(run), run.record.method.clone(), run.record.seed));
    for run in sorted {
        let record = &run.record;
        let known = columns.iter().any(|column| {
            (&column.run.record.experiment, &column.run.record.method)
                == (&record.experiment, &record.method)
        });
        if known {
            continue;
        }
        let sources = shown_sources(run, &options.scope);
        columns.extend(sources.into_iter().map(|prompts| Column { run, prompts }));
    }
    columns
}

/// Experiment, and place of the method in its file.
fn place(run: &Run) -> (String, usize) {
    let methods = run.outline.as_ref().map_or(&[][..], |outline| &outline.methods);
    let place = methods.iter().position(|method| *method == run.record.method);
    (run.record.experiment.clone(), place.unwrap_or(usize::MAX))
}

fn panel<'a>(column: &Column<'a>, case: &Case<'_>) -> Option<&'a Panel> {
    column.run.panels.iter().find(|panel| {
        panel.prompts == column.prompts
            && (panel.data.as_str(), panel.split.as_str(), panel.file.as_str()) == *case
    })
}

/// The cases that every column has pictures of.
fn common_cases<'a>(columns: &[Column<'a>], options: &FigureOptions) -> BTreeSet<Case<'a>> {
    let of = |column: &Column<'a>| -> BTreeSet<Case<'a>> {
        let panels = column.run.panels.iter();
        panels
            .filter(|panel| panel.prompts == column.prompts)
            .filter(|panel| options.scope.shows(&panel.data, &panel.prompts))
            .map(|panel| (panel.data.as_str(), panel.split.as_str(), panel.file.as_str()))
            .collect()
    };
    let mut sets = columns.iter().map(of);
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |common, set| common.intersection(&set).copied().collect())
}

/// The cases by rule, and what the figure has to say about the choice.
fn chosen<'a>(
    columns: &[Column<'a>],
    common: &BTreeSet<Case<'a>>,
    seed: u64,
) -> (Vec<(String, Case<'a>)>, Vec<String>) {
    // Oracles would choose for the methods that do not know the truth.
    let competing: Vec<&Column<'_>> =
        columns.iter().filter(|column| !is_oracle(column.run, column.prompts)).collect();
    let (ranking, of_whom) = match competing.len() {
        0 => (columns.iter().collect(), "of these oracles"),
        all if all == columns.len() => (competing, "of these methods"),
        _ => (competing, "of these methods, oracles left out,"),
    };
    let mut by_data: BTreeMap<(&str, &str), Vec<(f64, Case<'a>)>> = BTreeMap::new();
    for case in common {
        let scores: Vec<f64> = ranking
            .iter()
            .filter_map(|column| panel(column, case).and_then(|panel| panel.dice))
            .collect();
        // A case without a score cannot be ranked.
        if let Some(score) = mean(&scores) {
            by_data.entry((case.0, case.1)).or_default().push((score, *case));
        }
    }
    let (mut chosen, mut notes) = (Vec::new(), Vec::new());
    for ((data, split), mut ranked) in by_data {
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let last = ranked.len() - 1;
        let mut places: Vec<(&str, usize)> = Vec::new();
        for (rule, place) in [("best", 0), ("median", last / 2), ("worst", last)] {
            if !places.iter().any(|(_, taken)| *taken == place) {
                places.push((rule, place));
            }
        }
        let free: Vec<usize> =
            (0..=last).filter(|i| !places.iter().any(|(_, taken)| taken == i)).collect();
        if !free.is_empty() {
            places.push(("random", free[draw(seed, data, split, free.len())]));
        }
        // From good to bad; the random case comes last.
        places.sort_by_key(|(rule, place)| (*rule == "random", *place));
        chosen.extend(places.iter().map(|(rule, place)| ((*rule).to_owned(), ranked[*place].1)));
        let scored = columns[0]
            .run
            .record
            .rows
            .iter()
            .find(|row| {
                (&*row.data, &*row.split, &*row.prompts) == (data, split, columns[0].prompts)
            })
            .map_or(0, |row| row.n);
        notes.push(format!(
            "{data}: chosen by the mean Dice {of_whom} among the {} cases with pictures, of \
             {scored} scored",
            ranked.len()
        ));
    }
    (chosen, notes)
}

/// A number below `n` that depends on the seed and the data set alone.
fn draw(seed: u64, data: &str, split: &str, n: usize) -> usize {
    let hash = Sha256::digest(format!("{seed}\n{data}\n{split}").as_bytes());
    let bytes = hash.iter().take(8).fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    (bytes % n as u64) as usize
}

impl Sketch for QualitativeGrid {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for Header { x, lines } in &self.headers {
            // The last line stands right above the pictures.
            let first = MARGIN + self.head - lines.len() as f64 * HEAD_LINE;
            for (i, (text, em, color)) in lines.iter().enumerate() {
                let style = font::style(*em, *color, HPos::Center, VPos::Center);
                let y = first + (i as f64 + 0.5) * HEAD_LINE - 1.0;
                area.draw_text(text, &style, (pt(*x), pt(y)))?;
            }
        }
        for (y, rule) in &self.sides {
            let up = font::upward(font::LABEL, INK);
            area.draw_text(rule, &up, (pt(MARGIN + SIDE / 2.0), pt(*y)))?;
        }
        for (frame, prompts) in &self.prompts {
            prompts.draw(area, *frame)?;
        }
        for (x, y, text) in &self.captions {
            remark(area, text, (*x, *y), HPos::Center)?;
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
    fn cases_are_ranked_by_the_mean_of_all_methods_and_none_is_shown_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = crate::testing::study(folder.path());
        runs.retain(|run| run.record.seed == 1 && run.record.method != "frozen");
        // Means 0.5, 0.75, undefined with one of the two, 0.25: the third counts with its one score.
        let scores = [[0.5, 0.75, 0.625, 0.0], [0.5, 0.75, f64::NAN, 0.5]];
        for (run, scores) in runs.iter_mut().zip(scores) {
            for (panel, dice) in run.panels.iter_mut().zip(scores) {
                panel.dice = (!dice.is_nan()).then_some(dice);
            }
        }
        let options = FigureOptions::default();
        let columns = columns(&runs, &options);
        let common = common_cases(&columns, &options);
        assert_eq!((columns.len(), common.len()), (2, 4));
        let (chosen, notes) = chosen(&columns, &common, 0);
        let chosen: Vec<(&str, &str)> =
            chosen.iter().map(|(rule, case)| (rule.as_str(), case.2)).collect();
        assert_eq!(
            chosen[..3],
            [("best", "case-1.jpg"), ("median", "case-2.jpg"), ("worst", "case-3.jpg")]
        );
        assert_eq!(chosen[3], ("random", "case-0.jpg"), "the only one left");
        assert!(notes[0].contains("among the 4 cases with pictures, of 30 scored"), "{notes:?}");
    }

    #[test]
    fn oracles_do_not_choose_the_cases_and_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = crate::testing::study(folder.path());
        runs.retain(|run| run.record.seed == 1 && run.record.method != "apm_16_points");
        // By the oracle alone the order would be the other way round.
        for (run, scores) in runs.iter_mut().zip([[0.1, 0.2, 0.3, 0.4], [1.0, 0.6, 0.3, 0.0]]) {
            let oracle = run.record.method == "frozen";
            for (panel, dice) in run.panels.iter_mut().zip(scores) {
                panel.dice = Some(if oracle { 10.0 * dice } else { 1.0 - dice });
                if oracle {
                    panel.prompts = "ground_truth".into();
                }
            }
        }
        let options = FigureOptions::default();
        let columns = columns(&runs, &options);
        let common = common_cases(&columns, &options);
        let (chosen, notes) = chosen(&columns, &common, 0);
        assert_eq!((chosen[0].0.as_str(), chosen[0].1.2), ("best", "case-3.jpg"));
        assert!(notes[0].contains("oracles left out"), "{notes:?}");
        let svg = crate::FigureKind::QualitativeGrid.draw(&runs).unwrap().svg();
        assert!(svg.lines().any(|line| line == "ground_truth (oracle)"));
        assert!(svg.lines().any(|line| line == "runs with seed 1"));
    }

    #[test]
    fn a_head_is_broken_where_its_wider_half_is_least_wide() {
        let wide = |text: &str| font::width(text, 7.0);
        assert_eq!(in_two("ground truth", 7.0, wide("ground truth")), ["ground truth"]);
        assert_eq!(in_two("ground truth", 7.0, wide("ground")), ["ground", "truth"]);
        assert_eq!(in_two("apm_ips_wide", 7.0, wide("apm_ips_")), ["apm_", "ips_wide"]);
        let [one] = &in_two("indivisible", 7.0, 20.0)[..] else {
            panic!("there is no place to break")
        };
        assert!(wide(one) <= 20.0);
    }

    #[test]
    fn the_random_case_depends_on_seed_and_data_set_alone_and_reaches_every_case() {
        let drawn: BTreeSet<usize> = (0..200).map(|seed| draw(seed, "kvasir", "test", 7)).collect();
        assert_eq!(drawn.len(), 7);
        assert_eq!(draw(3, "kvasir", "test", 7), draw(3, "kvasir", "test", 7));
    }
}
