//! What an experiment leaves beside its run folders: table, claims and figures.

use std::path::{Path, PathBuf};

use run_record::{RunRecordError, write_bytes};

use crate::{
    ClaimReport, FigureError, FigureKind, PaperTable, ResultTable, Run, TableError, TableOptions,
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
}

impl Results {
    /// Writes `table.md`, `table.csv`, `table.tex`, with claims `claims.md` and `claims.csv`, and each figure that
    /// [belongs](FigureKind::belongs_to) to such runs, under the names of their kinds. The same runs give the same
    /// bytes.
    ///
    /// A figure that cannot be drawn stops nothing: the runs took hours, and what was computed of them is shown. It is
    /// in [`not_drawn`](Self::not_drawn).
    ///
    /// # Errors
    ///
    /// See [`ResultsError`].
    pub fn write(runs: &[Run], folder: &Path) -> Result<Self, ResultsError> {
        let table = ResultTable::from_runs(runs)?;
        let table_file = folder.join("table.md");
        write_bytes(&table_file, table.markdown().as_bytes())?;
        write_bytes(&folder.join("table.csv"), table.csv()?.as_bytes())?;
        let paper = PaperTable::new(runs, &TableOptions::default())?;
        write_bytes(&folder.join("table.tex"), paper.latex().as_bytes())?;
        let mut written = vec![table_file];

        let claims = ClaimReport::from_runs(runs)?;
        for report in &claims {
            let file = folder.join("claims.md");
            write_bytes(&file, report.markdown().as_bytes())?;
            write_bytes(&folder.join("claims.csv"), report.csv()?.as_bytes())?;
            written.push(file);
        }

        let mut not_drawn = Vec::new();
        for &kind in FigureKind::ALL.iter().filter(|kind| kind.belongs_to(runs)) {
            let drawn = kind.draw(runs).and_then(|figure| figure.write(&folder.join(kind.name())));
            match drawn {
                Ok(files) => written.extend(files),
                Err(error) => not_drawn.push((kind, error)),
            }
        }
        Ok(Self { table, claims, written, not_drawn })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

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
