//! Several runs on stderr: a bar for each that is under way, a line for each that is over, and how many are left.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use promise::progress::{Ended, Progress, Watch};

use crate::bars;

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(500);

/// The live table. Without a terminal a line per run that begins or ends.
pub struct Live {
    /// How many runs are over, of those to do.
    all: ProgressBar,
    terminal: bool,
    begun: Mutex<BTreeMap<String, (Instant, ProgressBar)>>,
}

impl Live {
    /// A table of `to_do` runs.
    pub fn new(to_do: usize) -> Self {
        let terminal = bars::are_shown();
        let all = if terminal {
            let all = bars::all().add(ProgressBar::new(to_do as u64));
            all.set_style(style("{prefix:40} {bar:28} {pos}/{len} {elapsed} ETA {eta}"));
            all.set_prefix("runs");
            all.enable_steady_tick(TICK);
            all
        } else {
            ProgressBar::hidden()
        };
        Self { all, terminal, begun: Mutex::default() }
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.all.finish_and_clear();
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, ProgressBar)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Live {
    fn begin(&self, run: &str) -> Arc<dyn Progress> {
        let bar = if self.terminal {
            let bar = bars::all().insert_before(&self.all, ProgressBar::new(0));
            bar.set_style(style("{prefix:40} {bar:28} {percent:>3}% {elapsed} {msg}"));
            bar.set_prefix(run.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        } else {
            bars::line(&format!("{run}: begins"));
            ProgressBar::hidden()
        };
        self.begun().insert(run.to_owned(), (Instant::now(), bar.clone()));
        Arc::new(Row { bar, phase: Mutex::default() })
    }

    fn end(&self, run: &str, ended: &Ended<'_>) {
        let begun = self.begun().remove(run);
        let took = begun.map_or_else(String::new, |(since, bar)| {
            bar.finish_and_clear();
            self.all.inc(1);
            format!(" in {}", HumanDuration(since.elapsed()))
        });
        match ended {
            // The plan has said so.
            Ended::Found => {}
            Ended::Done(record) => {
                let scores = record.rows.iter().filter_map(|row| {
                    Some(format!("{} {} {:.3}", row.data, row.prompts, row.dice?))
                });
                let scores = scores.collect::<Vec<_>>().join(", ");
                bars::line(&format!("{run}: done{took}; Dice: {scores}"));
            }
            Ended::Failed(reason) => bars::line(&format!("{run}: failed{took}: {reason}")),
            Ended::Interrupted => bars::line(&format!("{run}: interrupted")),
        }
    }
}

/// The bar of one run.
struct Row {
    bar: ProgressBar,
    phase: Mutex<String>,
}

impl Row {
    fn phase(&self) -> MutexGuard<'_, String> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Row {
    fn start(&self, phase: &str, total: u64) {
        phase.clone_into(&mut self.phase());
        self.bar.set_length(total);
        self.bar.set_position(0);
        self.bar.set_message(phase.to_owned());
    }

    fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn note(&self, text: &str) {
        self.bar.set_message(format!("{} {text}", self.phase()));
    }

    fn finish(&self) {}
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
