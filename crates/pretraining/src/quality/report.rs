//! The numbers: means over images, their intervals, the same by size.

use metrics::{RankCorrelation, Summary};
use serde::Serialize;

use super::{ByPrompt, SIZE_EDGES, answer::Answer};

/// How promptable a SAM is, by kind of image. Prints as a table for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// On scenes like those that it was trained on.
    pub natural: DomainQuality,
    /// On images that look like endoscopy, which it never saw.
    pub phantom: DomainQuality,
}

/// How promptable a SAM is on one kind of image. All IoU are in `[0, 1]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainQuality {
    /// Mean IoU of the best of three masks.
    #[serde(flatten)]
    pub best: ByPrompt<f64>,
    /// Spearman's correlation of predicted and true IoU over all images, prompts and masks;
    /// nothing if all are equal.
    pub iou_rank_correlation: Option<f64>,
    /// Images.
    pub n: usize,
    /// Mean IoU of the mask that the IoU head ranks first.
    pub selected: ByPrompt<f64>,
    /// Mean IoU of the true masks on the decoder's grid.
    pub grid_ceiling: f64,
    /// How far the numbers above would move with other images.
    pub intervals: Intervals,
    /// Small, middle and large objects by themselves, best of three.
    pub by_size: Vec<SizeGroup>,
}

/// Intervals of the numbers of a [`DomainQuality`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the best of three masks.
    #[serde(flatten)]
    pub best: ByPrompt<Interval>,
    /// Of the rank correlation; resamples hold whole images.
    pub iou_rank_correlation: Interval,
    /// Of the mask that the IoU head ranks first.
    pub selected: ByPrompt<Interval>,
    /// Of the grid ceiling.
    pub grid_ceiling: Interval,
}

/// Deviation over images and 95 % bootstrap interval of a mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Standard deviation over images, with `n - 1`; nothing for a correlation, which no single
    /// image has, and for one image.
    pub sd: Option<f64>,
    /// Lower end; nothing for one image.
    pub low: Option<f64>,
    /// Upper end; nothing for one image.
    pub high: Option<f64>,
}

/// The means over the objects of similar size; nothing without an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizeGroup {
    /// Square root of the area as a share of the image's side, from.
    pub from: f64,
    /// To; see [`SIZE_EDGES`] for what happens at an edge.
    pub to: f64,
    /// Objects.
    pub n: usize,
    /// Best of three masks for one point.
    pub points_1: Option<f64>,
    /// Best of three masks for eight points on and eight off the object.
    pub points_8_8: Option<f64>,
    /// Best of three masks for the box.
    #[serde(rename = "box")]
    pub box_xyxy: Option<f64>,
    /// The grid ceiling.
    pub grid_ceiling: Option<f64>,
}

impl DomainQuality {
    /// Summarizes at least one answer. `seed` is the bootstrap's.
    pub(super) fn of(answers: &[Answer], seed: u64) -> Self {
        let (best, best_intervals) = by_prompt(answers.iter().map(Answer::best), seed);
        let (selected, selected_intervals) = by_prompt(answers.iter().map(Answer::selected), seed);
        let ceiling = summary(answers.iter().map(|answer| answer.ceiling), seed);
        let pairs: Vec<Vec<(f64, f64)>> = answers
            .iter()
            .map(|answer| {
                let masks = answer.masks.clone().into_array();
                masks.iter().flatten().map(|mask| (mask.predicted, mask.actual)).collect()
            })
            .collect();
        let rho = RankCorrelation::of(&pairs, seed);
        Self {
            best,
            iou_rank_correlation: rho.coefficient,
            n: answers.len(),
            selected,
            grid_ceiling: mean(&ceiling),
            intervals: Intervals {
                best: best_intervals,
                iou_rank_correlation: Interval { sd: None, low: rho.low, high: rho.high },
                selected: selected_intervals,
                grid_ceiling: Interval::from(ceiling),
            },
            by_size: by_size(answers),
        }
    }
}

impl From<Summary> for Interval {
    fn from(summary: Summary) -> Self {
        Self { sd: summary.sd, low: summary.low, high: summary.high }
    }
}

fn summary(scores: impl Iterator<Item = f64>, seed: u64) -> Summary {
    Summary::of(&scores.map(Some).collect::<Vec<_>>(), seed)
}

fn mean(summary: &Summary) -> f64 {
    summary.mean.expect("at least one image, checked before the first")
}

fn by_prompt(
    scores: impl Iterator<Item = [f64; 5]> + Clone,
    seed: u64,
) -> (ByPrompt<f64>, ByPrompt<Interval>) {
    let summaries = std::array::from_fn(|prompt| {
        summary(scores.clone().map(|scores: [f64; 5]| scores[prompt]), seed)
    });
    let means = ByPrompt::from_array(summaries.each_ref().map(mean));
    (means, ByPrompt::from_array(summaries.map(Interval::from)))
}

fn by_size(answers: &[Answer]) -> Vec<SizeGroup> {
    let [middle, large] = SIZE_EDGES;
    let group = |size: f64| {
        if size < middle {
            0
        } else if size <= large {
            1
        } else {
            2
        }
    };
    [(0.0, middle), (middle, large), (large, 1.0)]
        .into_iter()
        .enumerate()
        .map(|(number, (from, to))| {
            let members: Vec<&Answer> =
                answers.iter().filter(|answer| group(answer.size) == number).collect();
            let mean = |score: &dyn Fn(&Answer) -> f64| {
                let sum: f64 = members.iter().map(|answer| score(answer)).sum();
                (!members.is_empty()).then(|| sum / members.len() as f64)
            };
            let best = ByPrompt::from_array(std::array::from_fn(|prompt| {
                mean(&|answer| answer.best()[prompt])
            }));
            SizeGroup {
                from,
                to,
                n: members.len(),
                points_1: best.points_1,
                points_8_8: best.points_8_8,
                box_xyxy: best.box_xyxy,
                grid_ceiling: mean(&|answer| answer.ceiling),
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::quality::answer::ScoredMask;

    /// An answer whose `points_1` and `box` have these masks; the others miss entirely.
    fn answer(size: f64, points_1: [(f64, f64); 2], box_xyxy: [(f64, f64); 2]) -> Answer {
        let masks = |pairs: [(f64, f64); 2]| {
            pairs.map(|(predicted, actual)| ScoredMask { predicted, actual }).to_vec()
        };
        let missed = || masks([(0.0, 0.0); 2]);
        let all = [masks(points_1), missed(), missed(), missed(), masks(box_xyxy)];
        Answer { size, ceiling: 1.0 - size, masks: ByPrompt::from_array(all) }
    }

    fn three() -> Vec<Answer> {
        vec![
            answer(0.05, [(0.2, 0.4), (0.1, 0.6)], [(0.9, 0.9), (0.5, 0.5)]),
            answer(0.1, [(0.1, 0.1), (0.3, 0.2)], [(0.9, 0.8), (0.7, 0.6)]),
            answer(0.25, [(0.5, 0.7), (0.4, 0.1)], [(0.1, 1.0), (0.9, 0.1)]),
        ]
    }

    #[test]
    fn means_and_deviations_computed_by_hand() {
        let quality = DomainQuality::of(&three(), 0);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(quality.best.points_1, (0.6 + 0.2 + 0.7) / 3.0);
        close(quality.selected.points_1, (0.4 + 0.2 + 0.7) / 3.0);
        close(quality.best.box_xyxy, (0.9 + 0.8 + 1.0) / 3.0);
        close(quality.selected.box_xyxy, (0.9 + 0.8 + 0.1) / 3.0);
        close(quality.best.points_8, 0.0);
        close(quality.grid_ceiling, (0.95 + 0.9 + 0.75) / 3.0);
        // Distances of 0.9, 0.8, 1.0 from 0.9.
        close(quality.intervals.best.box_xyxy.sd.unwrap(), 0.1);
        let interval = quality.intervals.selected.points_1;
        assert!(interval.low < Some(0.43) && interval.high > Some(0.44), "{interval:?}");
        assert_eq!(quality.n, 3);
    }

    #[test]
    fn the_correlation_is_over_all_masks_of_all_prompts() {
        // Per image 6 masks of the missed prompts tie at (0, 0).
        let quality = DomainQuality::of(&three(), 0);
        let mut pairs = vec![(0.0, 0.0); 18];
        pairs.extend([(0.2, 0.4), (0.1, 0.6), (0.9, 0.9), (0.5, 0.5)]);
        pairs.extend([(0.1, 0.1), (0.3, 0.2), (0.9, 0.8), (0.7, 0.6)]);
        pairs.extend([(0.5, 0.7), (0.4, 0.1), (0.1, 1.0), (0.9, 0.1)]);
        assert_eq!(quality.iou_rank_correlation, metrics::spearman(&pairs));
    }

    #[test]
    fn both_edges_belong_to_the_middle_and_an_empty_group_has_no_mean() {
        let [small, middle, large] = DomainQuality::of(&three(), 0).by_size.try_into().unwrap();
        assert_eq!((small.n, middle.n, large.n), (1, 2, 0));
        assert_eq!((small.points_1, small.box_xyxy), (Some(0.6), Some(0.9)));
        assert_eq!(middle.points_1, Some((0.2 + 0.7) / 2.0));
        assert_eq!((middle.points_8_8, middle.grid_ceiling), (Some(0.0), Some(0.825)));
        assert_eq!((large.points_1, large.grid_ceiling), (None, None));
    }

    #[test]
    fn files_have_plain_numbers_beside_their_intervals() {
        let quality = DomainQuality::of(&three(), 0);
        let json = serde_json::to_value(&quality).unwrap();
        for name in ByPrompt::<f64>::NAMES {
            assert!(json[name].is_number() && json["selected"][name].is_number(), "{name}");
            for end in ["sd", "low", "high"] {
                assert!(json["intervals"][name][end].is_number(), "{name} {end}");
                assert!(json["intervals"]["selected"][name][end].is_number(), "{name} {end}");
            }
        }
        assert!(json["iou_rank_correlation"].is_number() && json["n"] == 3);
        assert!(json["by_size"][0]["box"].is_number());
    }
}
