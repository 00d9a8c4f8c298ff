//! The scores of one case.

use metrics::{LevelCounts, Mask, MetricsError, Protocol, SoftMap};
use run_record::{CaseRow, CurveRow};

/// A case that was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCase {
    /// Its line of `cases.csv`.
    pub row: CaseRow,
    /// What curves over thresholds are made of; missing where the protocol has none.
    pub levels: Option<LevelCounts>,
}

impl ScoredCase {
    /// Its line of `curves.csv`; missing where the protocol has no curves.
    pub fn curve(&self) -> Option<CurveRow> {
        self.levels.as_ref().map(|levels| CurveRow::new(&self.row, levels))
    }
}

/// Scores a soft map of any size. `named` has the names of the row: experiment, data set, file and so on; protocol,
/// size and scores are filled in.
///
/// A map of another size than the protocol compares at is [resized](SoftMap::resized) bilinearly.
///
/// # Errors
///
/// Those of [`Protocol::score`].
pub fn score_case(
    protocol: Protocol,
    prediction: &SoftMap,
    truth: &Mask,
    named: CaseRow,
) -> Result<ScoredCase, MetricsError> {
    let (width, height) = protocol.size(truth.width(), truth.height());
    let scores = if (prediction.width(), prediction.height()) == (width, height) {
        protocol.score(prediction, truth)?
    } else {
        protocol.score(&prediction.resized(width, height)?, truth)?
    };
    let mut row = CaseRow {
        protocol: protocol.name().to_owned(),
        width: truth.width(),
        height: truth.height(),
        ..named
    };
    for (measure, score) in scores.iter() {
        row.set(measure, score);
    }
    Ok(ScoredCase { row, levels: scores.levels().cloned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metrics::Measure;

    use super::*;

    #[test]
    fn a_row_has_the_scores_of_its_protocol_and_no_others() {
        let truth = Mask::new(2, 2, vec![true, true, false, false]).unwrap();
        let map = SoftMap::new(2, 2, vec![1.0, 0.0, 0.25, 0.0]).unwrap();
        for &protocol in Protocol::ALL {
            let named = CaseRow { file: "a.png".into(), ..CaseRow::default() };
            let case = score_case(protocol, &map, &truth, named).unwrap();
            assert_eq!(
                (case.row.file.as_str(), case.row.protocol.as_str()),
                ("a.png", protocol.name())
            );
            assert_eq!((case.row.width, case.row.height), (2, 2));
            for &measure in Measure::ALL {
                let reported = protocol.measures().contains(&measure);
                assert_eq!(case.row.get(measure).is_some(), reported, "{protocol}: {measure}");
            }
            assert_eq!(case.curve().is_some(), protocol != Protocol::PromiseReference);
        }
    }

    #[test]
    fn a_map_of_another_size_is_brought_to_that_of_the_truth() {
        let truth = Mask::new(4, 2, [[true, true, false, false]; 2].concat()).unwrap();
        let map = SoftMap::new(2, 1, vec![1.0, 0.0]).unwrap();
        let case = score_case(Protocol::Default, &map, &truth, CaseRow::default()).unwrap();
        // Interpolated to 1, 0.75, 0.25, 0 in both rows.
        assert_eq!((case.row.dice, case.row.mae), (Some(1.0), 0.125));
    }
}
