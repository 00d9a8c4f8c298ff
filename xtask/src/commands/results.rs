//! Table, claims and figures of finished runs, written beside them: what `run` and `ablate` end with.

use std::path::{Path, PathBuf};

use promise::run::FinishedRun;
use reporting::{ClaimReport, FigureKind, PaperTable, ResultTable, TableOptions};

/// What was computed, and where it was written.
pub struct Results {
    pub table: ResultTable,
    pub claims: Vec<ClaimReport>,
    pub written: Vec<PathBuf>,
}

impl Results {
    /// Reads the runs of one experiment and writes what they show into `folder`.
    pub fn write(finished: &[&FinishedRun], folder: &Path) -> anyhow::Result<Self> {
        let folders: Vec<_> = finished.iter().map(|run| run.folder.root()).collect();
        let runs = reporting::load(&folders)?;
        let table = ResultTable::from_runs(&runs)?;
        let table_file = folder.join("table.md");
        run_record::write_bytes(&table_file, table.markdown().as_bytes())?;
        run_record::write_bytes(&folder.join("table.csv"), table.csv()?.as_bytes())?;
        let paper = PaperTable::new(&runs, &TableOptions::default())?;
        run_record::write_bytes(&folder.join("table.tex"), paper.latex().as_bytes())?;
        let mut written = vec![table_file];
        let claims = ClaimReport::from_runs(&runs)?;
        for report in &claims {
            let file = folder.join("claims.md");
            run_record::write_bytes(&file, report.markdown().as_bytes())?;
            run_record::write_bytes(&folder.join("claims.csv"), report.csv()?.as_bytes())?;
            written.push(file);
        }
        for kind in [FigureKind::TrainingCurves, FigureKind::AblationBars, FigureKind::Qualitative]
        {
            match kind.draw(&runs) {
                Ok(figure) => written.extend(figure.write(&folder.join(kind.name()))?),
                // An experiment without training has no curves.
                Err(error) => tracing::info!("no {}: {error}", kind.name()),
            }
        }
        Ok(Self { table, claims, written })
    }
}
