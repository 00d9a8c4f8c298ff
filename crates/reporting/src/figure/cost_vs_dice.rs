//! The score by what it costs: trained parameters, or time.

use std::collections::BTreeSet;

use metrics::Column;
use plotters::style::Color;
use run_record::Timing;

use super::axes::{Axis, Plot, Rect};
use super::canvas::{Area, DrawResult, Sketch, stroke};
use super::legend::{Footer, Symbol};
use super::marks::{MARKER, marker, polyline, upright_interval};
use super::palette::{LOOKS, Look};
use super::threshold_curves::name;
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::{Entries, Entry, label};

const MARGIN: f64 = 3.0;
const GAP: f64 = 8.0;
/// Height of a plot as a share of its width.
const HEIGHT: f64 = 0.72;

/// What a method costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// Trained parameters, on a logarithmic axis.
    Parameters,
    /// Milliseconds that a case takes from features to scores, the mean over the seeds.
    Time,
}

impl Cost {
    /// The cost of an entry; nothing if no parameter is trained.
    fn of(self, entry: &Entry<'_>) -> Result<Option<f64>, FigureError> {
        match self {
            Self::Parameters => {
                let trained = entry.seeds[0].0.record.parameters.trainable;
                Ok((trained > 0).then_some(trained as f64))
            }
            Self::Time => {
                let mut sum = 0.0;
                for (run, row) in &entry.seeds {
                    let path = run.folder.timing();
                    let timing = path.exists().then(|| Timing::read(&path)).transpose()?;
                    let secs = timing.and_then(|timing| {
                        timing.secs_per_case(&row.data, &row.split, &row.prompts)
                    });
                    sum += secs.ok_or(FigureError::NotTimed { path })?;
                }
                Ok(Some(1000.0 * sum / entry.seeds.len() as f64))
            }
        }
    }

    fn axis(self, costs: &[f64]) -> Axis {
        match self {
            Self::Parameters => Axis::logarithmic("trained parameters", costs),
            Self::Time => {
                Axis::around("milliseconds an image", costs.iter().copied(), (0.0, f64::INFINITY))
            }
        }
    }

    /// What the foot has to say of the axis.
    fn note(self) -> Option<&'static str> {
        match self {
            Self::Parameters => None,
            Self::Time => Some(
                "from features to scores, an image on each thread at once; without the encoder",
            ),
        }
    }
}

/// A marker per method with the interval over cases. A method without trained parameters has no place on
/// a logarithmic axis and is a horizontal line.
pub(super) struct CostVsDice {
    panels: Vec<(Rect, Axis, Axis, String, Vec<Mark>)>,
    footer: Footer,
    size: (f64, f64),
}

/// Data set, split and protocol.
type Key<'a> = (&'a str, &'a str, &'a str);

struct Mark {
    look: Look,
    /// Nothing if no parameter is trained.
    cost: Option<f64>,
    y: f64,
    interval: Option<(f64, f64)>,
}

impl CostVsDice {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
        cost: Cost,
    ) -> Result<Self, FigureError> {
        let all = Entries::of(runs, &options.scope)?;
        let column = Column::Mean(options.measure);
        let mut names: Vec<String> = Vec::new();
        let mut grouped: Vec<(Key<'_>, Vec<Mark>)> = Vec::new();
        for entry in &all.entries {
            let number = entry.number(column)?;
            let Some(y) = number.mean else { continue };
            let name = name(entry, &all.entries);
            if !names.contains(&name) {
                names.push(name.clone());
            }
            let place = names.iter().position(|known| *known == name).unwrap_or(0);
            let Some(&look) = LOOKS.get(place) else {
                let of = |entry| self::name(entry, &all.entries);
                let methods: BTreeSet<String> = all.entries.iter().map(of).collect();
                return Err(FigureError::TooManyMethods {
                    methods: methods.len(),
                    limit: LOOKS.len(),
                });
            };
            let mark =
                Mark { look, cost: cost.of(entry)?, y, interval: number.low.zip(number.high) };
            let key = (entry.data, entry.split, entry.protocol);
            match grouped.last_mut() {
                Some((known, marks)) if *known == key => marks.push(mark),
                _ => grouped.push((key, vec![mark])),
            }
        }
        let marks = || grouped.iter().flat_map(|(_, marks)| marks);
        if marks().all(|mark| mark.cost.is_none()) {
            let what = "trained parameters and this measure";
            return Err(FigureError::NothingToDraw { what, runs: runs.len() });
        }

        let columns = if width >= 340.0 && grouped.len() > 1 { 2 } else { 1 };
        let plot_width = (width - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
        let height = (plot_width * HEIGHT).min(200.0);
        let mut legend: Vec<_> = names
            .iter()
            .zip(LOOKS)
            .map(|(name, look)| (Symbol::Curve(look), name.clone()))
            .collect();
        for (symbol, name) in &mut legend {
            let place = names.iter().position(|known| known == name).unwrap_or(0);
            let trained = marks().any(|mark| mark.look == LOOKS[place] && mark.cost.is_some());
            if trained {
                *symbol = Symbol::Mark(LOOKS[place]);
            }
        }
        if marks().any(|mark| mark.interval.is_some()) {
            legend.push((Symbol::Interval, "95 % interval over cases".to_owned()));
        }
        let mut notes: Vec<String> = cost.note().map(str::to_owned).into_iter().collect();
        if marks().any(|mark| mark.cost.is_none()) {
            notes.push("lines: methods without trained parameters".to_owned());
        }
        let footer = Footer::new(legend, &notes, width - 2.0 * MARGIN);

        let xs: Vec<f64> = marks().filter_map(|mark| mark.cost).collect();
        let most = if options.measure.unit().is_some() { f64::INFINITY } else { 1.0 };
        let panels: Vec<_> = grouped
            .into_iter()
            .enumerate()
            .map(|(i, ((data, split, protocol), marks))| {
                let left = MARGIN + (i % columns) as f64 * (plot_width + GAP);
                let top = MARGIN + (i / columns) as f64 * (height + GAP);
                let outer = Rect { left, top, right: left + plot_width, bottom: top + height };
                let ys = marks.iter().flat_map(|mark| {
                    let (low, high) = mark.interval.unwrap_or((mark.y, mark.y));
                    [low, mark.y, high]
                });
                let y = Axis::around(label(protocol, column), ys, (0.0, most));
                let x = cost.axis(&xs);
                (outer, x, y, format!("{data} ({split})"), marks)
            })
            .collect();
        let bottom = panels.last().map_or(MARGIN, |(outer, ..)| outer.bottom);
        let size = (width, bottom + GAP + footer.height() + MARGIN);
        Ok(Self { panels, footer, size })
    }
}

impl Sketch for CostVsDice {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for (outer, x, y, title, marks) in &self.panels {
            let plot = Plot::new(*outer, x.clone(), y.clone(), Some(title.clone()));
            plot.draw(area)?;
            for mark in marks.iter().filter(|mark| mark.cost.is_none()) {
                let (left, right) = (plot.at(x.from(), mark.y), plot.at(x.to(), mark.y));
                let style = mark.look.color.stroke_width(stroke(1.0));
                polyline(area, &[left, right], mark.look.dash, style)?;
                let middle = ((left.0 + right.0) / 2.0, left.1);
                marker(area, middle, mark.look, MARKER)?;
            }
            for mark in marks {
                let Some(cost) = mark.cost else { continue };
                let (at_x, at_y) = plot.at(cost, mark.y);
                if let Some((low, high)) = mark.interval {
                    let ends = (plot.at(cost, low).1, plot.at(cost, high).1);
                    upright_interval(area, at_x, ends, mark.look.color)?;
                }
                marker(area, (at_x, at_y), mark.look, MARKER * 1.15)?;
            }
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use run_record::write_json;

    use super::*;
    use crate::FigureKind;
    use crate::testing::study;

    #[test]
    fn the_time_of_an_image_is_the_mean_over_the_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let all = Entries::of(&runs, &FigureOptions::default().scope).unwrap();
        let frozen = all.entries.iter().find(|entry| entry.method == "frozen").unwrap();
        // 0.26 and 0.27 s for 30 cases.
        let milliseconds = Cost::Time.of(frozen).unwrap().unwrap();
        assert!((milliseconds - 265.0 / 30.0).abs() < 1e-9, "{milliseconds}");
        assert_eq!(Cost::Parameters.of(frozen).unwrap(), None);
    }

    #[test]
    fn a_run_that_was_not_timed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let kept = fs::read(runs[3].folder.timing()).unwrap();
        fs::remove_file(runs[3].folder.timing()).unwrap();
        let error = FigureKind::TimeVsDice.draw(&runs).err().unwrap().to_string();
        assert!(error.ends_with("apm_4_points-seed2/timing.json"), "{error}");
        // Durations of other prompts are no durations of these.
        let mut timing: Timing = serde_json::from_slice(&kept).unwrap();
        timing.evaluations.pop();
        write_json(&runs[3].folder.timing(), &timing).unwrap();
        assert!(matches!(FigureKind::TimeVsDice.draw(&runs), Err(FigureError::NotTimed { .. })));
    }

    #[test]
    fn broken_durations_cost_the_figure_that_shows_them_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let file = runs[3].folder.timing();
        let text = fs::read_to_string(&file).unwrap();
        for broken in ["{".to_owned(), text.replace("0.5", "-0.5")] {
            fs::write(&file, broken).unwrap();
            let error = FigureKind::TimeVsDice.draw(&runs).err().unwrap();
            assert!(matches!(error, FigureError::Record(_)), "{error}");
            assert!(error.to_string().contains("apm_4_points-seed2/timing.json"), "{error}");
            FigureKind::ParametersVsDice.draw(&runs).unwrap();
        }
    }

    #[test]
    fn the_durations_are_among_the_sources() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let text = |kind: FigureKind| kind.draw(&runs).unwrap().provenance().text();
        let before = text(FigureKind::TimeVsDice);
        assert_eq!(before.matches("timing.json sha256 ").count(), runs.len(), "{before}");
        assert!(!text(FigureKind::ParametersVsDice).contains("timing.json"));
        let mut bytes = fs::read(runs[0].folder.timing()).unwrap();
        bytes.push(b'\n');
        fs::write(runs[0].folder.timing(), bytes).unwrap();
        assert_ne!(text(FigureKind::TimeVsDice), before);
    }
}
