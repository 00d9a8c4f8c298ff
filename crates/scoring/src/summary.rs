//! Means over cases.

use metrics::{LevelCounts, Measure, Protocol, Summary, largest, mean_curve};
use run_record::{CaseRow, MeasureSummary, ResultRow};

/// The mean of case rows that agree in everything but the case, and the maxima of their mean curves.
///
/// - `protocol`: that of the rows
/// - `levels`: of the same cases; without any there are no maxima
/// - `seed`: of the bootstrap intervals
///
/// Every measure is over the cases that have a score; `n` and `skipped_empty` count those of Dice. The names are
/// those of the first row.
pub fn summarize(
    protocol: Protocol,
    rows: &[CaseRow],
    levels: &[LevelCounts],
    seed: u64,
) -> ResultRow {
    let of = |measure: Measure| {
        Summary::of(&rows.iter().map(|row| row.get(measure)).collect::<Vec<_>>(), seed)
    };
    let measures = protocol
        .measures()
        .iter()
        .map(|&measure| {
            let Summary { n, mean, sd, median, low, high, .. } = of(measure);
            (measure, MeasureSummary { n, mean, sd, median, low, high })
        })
        .collect();
    let maxima = protocol
        .maxima()
        .iter()
        .filter_map(|&curve| Some((curve, largest(&mean_curve(levels, curve)?))))
        .collect();
    let first = rows.first().cloned().unwrap_or_default();
    let (dice, iou) = (of(Measure::Dice), of(Measure::Iou));
    ResultRow {
        method: first.method,
        data: first.data,
        split: first.split,
        prompts: first.prompts,
        oracle: first.oracle,
        protocol: protocol.name().to_owned(),
        seed,
        n: dice.n,
        skipped_empty: dice.skipped,
        dice: dice.mean,
        dice_sd: dice.sd,
        dice_low: dice.low,
        dice_high: dice.high,
        iou: iou.mean,
        iou_sd: iou.sd,
        iou_low: iou.low,
        iou_high: iou.high,
        mae: of(Measure::Mae).mean,
        measures,
        maxima,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metrics::{CurveMeasure, Mask, SoftMap};

    use super::*;
    use crate::score_case;

    fn row(dice: Option<f64>, mae: f64) -> CaseRow {
        let iou = dice.map(|dice| dice / (2.0 - dice));
        CaseRow { method: "m".into(), seed: 1, dice, iou, mae, ..CaseRow::default() }
    }

    #[test]
    fn undefined_cases_are_counted_and_left_out_of_every_mean() {
        let rows = [row(Some(1.0), 0.0), row(None, 0.9), row(Some(0.5), 0.2)];
        let mean = summarize(Protocol::Default, &rows, &[], 1);
        assert_eq!((mean.n, mean.skipped_empty), (2, 1));
        assert_eq!(mean.dice, Some(0.75));
        assert_eq!((mean.mae, mean.mean(Measure::Mae)), (Some(0.1), Some(0.1)));
        assert_eq!((mean.method.as_str(), mean.seed), ("m", 1));
    }

    #[test]
    fn a_distance_is_over_the_cases_that_have_one() {
        let mut rows = vec![row(Some(1.0), 0.0), row(Some(0.0), 0.5)];
        rows[0].hd95 = Some(3.0);
        let mean = summarize(Protocol::Default, &rows, &[], 1);
        let hd95 = mean.summary(Measure::Hd95).unwrap();
        assert_eq!((mean.n, hd95.n, hd95.mean, hd95.sd), (2, 1, Some(3.0), None));
        assert_eq!(hd95.median, Some(3.0));
    }

    #[test]
    fn every_measure_of_the_protocol_has_its_mean_and_no_other_has_one() {
        for &protocol in Protocol::ALL {
            let mean = summarize(protocol, &[row(Some(1.0), 0.0)], &[], 1);
            let named: Vec<Measure> = mean.measures.keys().copied().collect();
            let mut expected = protocol.measures().to_vec();
            expected.sort_unstable();
            assert_eq!(named, expected);
            assert_eq!(mean.protocol, protocol.name());
            assert!(mean.maxima.is_empty(), "without levels there is no curve");
        }
    }

    #[test]
    fn the_maximum_is_that_of_the_mean_curve() {
        // Right at all thresholds up to 127 of the first map, and above 127 of the second: each alone reaches a Dice
        // of 1, their mean curve does not.
        let truth = Mask::new(4, 1, vec![false, true, true, false]).unwrap();
        let maps = [[0.0, 0.5, 0.5, 1.0 / 255.0], [0.5, 1.0, 1.0, 0.0]];
        let levels: Vec<LevelCounts> = maps
            .iter()
            .map(|map| {
                let map = SoftMap::new(4, 1, map.to_vec()).unwrap();
                score_case(Protocol::Default, &map, &truth, CaseRow::default())
                    .unwrap()
                    .levels
                    .unwrap()
            })
            .collect();
        let alone = |levels: &LevelCounts| largest(&levels.curve(CurveMeasure::Dice));
        assert_eq!([alone(&levels[0]), alone(&levels[1])], [1.0, 1.0]);
        let mean = summarize(Protocol::Pranet, &[], &levels, 1);
        // At 2 to 127: (1 + 0.8) / 2.
        assert_eq!(mean.maxima[&CurveMeasure::Dice], 0.9);
        assert_eq!(mean.maxima.len(), Protocol::Pranet.maxima().len());
    }

    #[test]
    fn no_case_gives_no_number() {
        let nothing = summarize(Protocol::Pranet, &[], &[], 3);
        assert_eq!((nothing.n, nothing.dice, nothing.mae), (0, None, None));
        assert_eq!(nothing.mean(Measure::SMeasure), None);
    }
}
