//! What an experiment leaves beside its run folders: table, claims and figures.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use run_record::{OUTLINE_FILE, RunRecordError, write_bytes};

use crate::{
    ClaimReport, Figure, FigureError, FigureKind, PaperTable, ResultTable, Run, TableError,
    TableOptions,
};

/// Table, claims and figures of the runs of one experiment, written into a folder.
#[derive(Debug)]
pub struct Results {
    /// The results, a line for each method, prompt source and data set.
    pub table: ResultTable,
    /// Whether the cases bear out the claims of the experiment; empty if it has none.
    pub claims: Vec<ClaimReport>,
    /// The files that a reader opens: `table.md`, `claims.md`, figures.
    pub written: Vec<PathBuf>,
    /// Figures that belong to such runs and could not be drawn, and why.
    pub not_drawn: Vec<(FigureKind, FigureError)>,
}

/// Why results were not written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The results make no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] RunRecordError),
    /// A file that former runs left cannot be removed, and would be taken for one of these.
    #[error("cannot remove {}, which is of former results", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Results {
    /// Writes `table.md`, `table.csv`, `table.tex`, with claims `claims.md` and `claims.csv`, and each figure that
    /// [belongs](FigureKind::belongs_to) to such runs, under the names of their kinds. The same runs give the same
    /// bytes. Such files of former results are removed first, so that all that lies there belongs together; a
    /// `time-vs-dice` that somebody asked for stays.
    ///
    /// A figure that cannot be drawn stops nothing: the runs took hours, and what was computed of them is shown. It is
    /// in [`not_drawn`](Self::not_drawn).
    ///
    /// # Errors
    ///
    /// See [`ResultsError`].
    pub fn write(runs: &[Run], folder: &Path) -> Result<Self, ResultsError> {
        let table = ResultTable::from_runs(runs)?;
        let table_csv = table.csv()?;
        let paper = PaperTable::new(runs, &TableOptions::default())?;
        let claims = ClaimReport::from_runs(runs)?;
        remove_former(folder)?;

        let table_file = folder.join("table.md");
        write_bytes(&table_file, table.markdown().as_bytes())?;
        write_bytes(&folder.join("table.csv"), table_csv.as_bytes())?;
        write_bytes(&folder.join("table.tex"), paper.latex().as_bytes())?;
        let mut written = vec![table_file];
        for report in &claims {
            let [file, csv] = CLAIM_FILES.map(|name| folder.join(name));
            write_bytes(&file, report.markdown().as_bytes())?;
            write_bytes(&csv, report.csv()?.as_bytes())?;
            written.push(file);
        }

        let mut not_drawn = Vec::new();
        for &kind in FigureKind::ALL.iter().filter(|kind| kind.belongs_to(runs)) {
            let figure = match kind.draw(runs) {
                Ok(figure) => figure,
                Err(error) => {
                    not_drawn.push((kind, error));
                    continue;
                }
            };
            match figure.write(&folder.join(kind.name())) {
                Ok(files) => written.extend(files),
                // A full disk is no property of the runs.
                Err(FigureError::Record(error)) => return Err(error.into()),
                Err(error) => not_drawn.push((kind, error)),
            }
        }
        Ok(Self { table, claims, written, not_drawn })
    }
}

/// What lies beside the run folders of an experiment, for the book: name, when, what.
pub(crate) const BESIDE: [(&str, &str, &str); 8] = [
    (
        OUTLINE_FILE,
        "always",
        "methods in the order of the file, and claims; written anew by every `run`",
    ),
    ("table.md", "when a run has finished", "the results, with intervals and hashes"),
    ("table.tex", "when a run has finished", "the same for a paper, methods by data sets"),
    (
        "table.csv",
        "when a run has finished",
        "every number at full precision, a line for each seed",
    ),
    ("claims.md`, `claims.csv", "if there are claims", "whether the cases bear them out"),
    (
        "<figure>.svg`, `.png`, `.pdf",
        "if the runs have something to draw",
        "figures under the names of their kinds",
    ),
    (
        "stale/",
        "after `ablate` has found runs with other settings, weights or data",
        "those runs, put aside",
    ),
    (".locks/", "always", "who is at work; empty files, left where they are"),
];

/// Claims as a page and as numbers.
const CLAIM_FILES: [&str; 2] = ["claims.md", "claims.csv"];

/// Removes what [`Results::write`] does not write every time.
fn remove_former(folder: &Path) -> Result<(), ResultsError> {
    let unasked = FigureKind::ALL.iter().filter(|kind| **kind != FigureKind::TimeVsDice);
    let figures = unasked.flat_map(|kind| Figure::files(&folder.join(kind.name())));
    let claims = CLAIM_FILES.iter().map(|name| folder.join(name));
    for path in claims.chain(figures) {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(ResultsError::Remove { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{study, trained, with_cases};

    fn figures(results: &Results) -> BTreeSet<String> {
        let svg =
            results.written.iter().filter(|path| path.extension().is_some_and(|e| e == "svg"));
        svg.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_study_gets_every_figure_that_does_not_depend_on_a_clock() {
        let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let results = Results::write(&study(runs.path()), out.path()).unwrap();
        let expected = FigureKind::ALL.iter().filter(|kind| **kind != FigureKind::TimeVsDice);
        let expected: BTreeSet<String> = expected.map(|kind| kind.name().to_owned()).collect();
        assert_eq!(figures(&results), expected);
        assert!(results.not_drawn.is_empty());
        assert!(results.written.iter().all(|path| path.is_file()));
        for name in ["table.md", "table.csv", "table.tex"] {
            let text = fs::read_to_string(out.path().join(name)).unwrap();
            let method = if name == "table.tex" { r"apm\_16\_points" } else { "apm_16_points" };
            assert!(text.contains(method), "{name}: {text}");
        }
        assert!(!out.path().join("claims.md").exists(), "the study claims nothing");
    }

    #[test]
    fn one_untrained_method_without_pictures_gets_bars_and_boxes_alone() {
        let out = tempfile::tempdir().unwrap();
        let run = with_cases("frozen", 1, &[("kvasir", "grid", &[Some(0.5), Some(0.75)])]);
        let results = Results::write(&[run], out.path()).unwrap();
        let expected: BTreeSet<String> = ["ablation-bars", "boxes"].map(str::to_owned).into();
        assert_eq!(figures(&results), expected);
    }

    #[test]
    fn a_broken_picture_costs_its_figures_and_nothing_else() {
        let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let study = study(runs.path());
        for run in &study {
            for panel in &run.panels {
                fs::write(run.folder.panels_dir().join(&panel.image), "no picture").unwrap();
            }
        }
        let results = Results::write(&study, out.path()).unwrap();
        assert!(out.path().join("ablation-bars.pdf").is_file());
        let kinds: Vec<FigureKind> = results.not_drawn.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(
            kinds,
            [FigureKind::Qualitative, FigureKind::QualitativeGrid, FigureKind::PromptHeatmap]
        );
        for (_, error) in &results.not_drawn {
            assert!(matches!(error, FigureError::Picture { .. }), "{error}");
        }
    }

    #[test]
    fn nothing_of_former_results_stays_beside_new_ones() {
        let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let study = study(runs.path());
        Results::write(&study, out.path()).unwrap();
        fs::write(out.path().join("claims.md"), "of other runs").unwrap();
        fs::write(out.path().join("notes.txt"), "a person's").unwrap();
        let asked_for = FigureKind::TimeVsDice.draw(&study).unwrap();
        asked_for.write(&out.path().join("time-vs-dice")).unwrap();

        let frozen = with_cases("frozen", 1, &[("kvasir", "grid", &[Some(0.5), Some(0.75)])]);
        Results::write(&[frozen], out.path()).unwrap();
        let left: BTreeSet<String> = fs::read_dir(out.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let figures = ["ablation-bars", "boxes", "time-vs-dice"];
        let figures = figures
            .iter()
            .flat_map(|name| ["svg", "png", "pdf"].map(|ending| format!("{name}.{ending}")));
        let others = ["notes.txt", "table.csv", "table.md", "table.tex"].map(str::to_owned);
        assert_eq!(left, figures.chain(others).collect());
    }

    #[test]
    fn a_figure_that_cannot_be_written_is_a_failure() {
        let out = tempfile::tempdir().unwrap();
        let run = with_cases("frozen", 1, &[("kvasir", "grid", &[Some(0.5), Some(0.75)])]);
        // Nothing can take the place of the temporary file, whoever runs this.
        fs::create_dir(out.path().join(".boxes.png.partial")).unwrap();
        let error = Results::write(&[run], out.path()).unwrap_err();
        assert!(matches!(error, ResultsError::Write(_)), "{error}");
    }

    #[test]
    fn a_former_file_that_cannot_be_removed_is_a_failure() {
        let out = tempfile::tempdir().unwrap();
        let run = with_cases("frozen", 1, &[("kvasir", "grid", &[Some(0.5), Some(0.75)])]);
        fs::create_dir(out.path().join("boxes.png")).unwrap();
        let error = Results::write(&[run], out.path()).unwrap_err();
        assert!(matches!(error, ResultsError::Remove { .. }), "{error}");
        assert!(!out.path().join("table.md").exists(), "nothing new beside it");
    }

    #[test]
    fn methods_with_oracle_prompts_alone_are_not_paired_unasked() {
        let scored =
            |method| with_cases(method, 1, &[("kvasir", "grid", &[Some(0.5), Some(0.75)])]);
        let mut runs = vec![scored("a"), scored("b")];
        assert!(FigureKind::PairedScatter.belongs_to(&runs));
        for row in runs.iter_mut().flat_map(|run| &mut run.record.rows) {
            row.oracle = true;
        }
        assert!(!FigureKind::PairedScatter.belongs_to(&runs));
    }

    #[test]
    fn parameters_are_drawn_where_they_differ_and_points_where_they_were_swept() {
        let belongs = |kind: FigureKind, runs: &[Run]| kind.belongs_to(runs);
        let mut runs = vec![trained("a", 1, 2, 0.5), trained("b", 1, 2, 0.5)];
        assert!(!belongs(FigureKind::ParametersVsDice, &runs), "both train three");
        assert!(!belongs(FigureKind::PointsVsDice, &runs), "no settings");
        runs[1].record.parameters.trainable = 5;
        assert!(belongs(FigureKind::ParametersVsDice, &runs));
        for (run, points) in runs.iter_mut().zip([4, 16]) {
            run.settings = Some(crate::testing::settings("apm", points));
        }
        assert!(belongs(FigureKind::PointsVsDice, &runs));
    }
}
