//! The numbers as a table for people.

use std::fmt;

use super::{ByPrompt, DomainQuality, Interval, Quality};

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        domain(f, "natural: scenes like those of pre-training", &self.natural)?;
        writeln!(f)?;
        domain(f, "phantom: endoscopy-like, never trained on", &self.phantom)
    }
}

fn domain(f: &mut fmt::Formatter<'_>, title: &str, quality: &DomainQuality) -> fmt::Result {
    let DomainQuality { best, selected, intervals, .. } = quality;
    writeln!(f, "{title}; n = {}", quality.n)?;
    writeln!(f, "{:12}{:32}mask ranked first", "prompt", "best of three masks")?;
    let scores = best.into_array().into_iter().zip(intervals.best.into_array());
    let selected = selected.into_array().into_iter().zip(intervals.selected.into_array());
    for ((name, best), selected) in ByPrompt::<f64>::NAMES.into_iter().zip(scores).zip(selected) {
        writeln!(
            f,
            "{name:12}{:32}{}",
            cell(Some(best.0), best.1),
            cell(Some(selected.0), selected.1)
        )?;
    }
    let rho = cell(quality.iou_rank_correlation, intervals.iou_rank_correlation);
    writeln!(f, "rank correlation of predicted and true IoU  {rho}")?;
    let ceiling = cell(Some(quality.grid_ceiling), intervals.grid_ceiling);
    writeln!(f, "true masks on the decoder's grid            {ceiling}")?;
    writeln!(
        f,
        "{:12}{:>5}{:>10}{:>12}{:>8}{:>10}",
        "size", "n", "points_1", "points_8_8", "box", "grid"
    )?;
    for group in &quality.by_size {
        let size = format!("{}-{}", group.from, group.to);
        let [points_1, points_8_8, corners, ceiling] =
            [group.points_1, group.points_8_8, group.box_xyxy, group.grid_ceiling].map(number);
        writeln!(
            f,
            "{size:12}{:>5}{points_1:>10}{points_8_8:>12}{corners:>8}{ceiling:>10}",
            group.n
        )?;
    }
    Ok(())
}

/// A number with deviation and interval, as far as there are any.
fn cell(value: Option<f64>, Interval { sd, low, high }: Interval) -> String {
    let mut text = number(value);
    if let Some(sd) = sd {
        text += &format!(" ± {sd:.3}");
    }
    if let (Some(low), Some(high)) = (low, high) {
        text += &format!(" [{low:.3}, {high:.3}]");
    }
    text
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_leaves_no_gap() {
        let interval = Interval { sd: Some(0.25), low: Some(0.4), high: Some(0.5) };
        assert_eq!(cell(Some(0.45), interval), "0.450 ± 0.250 [0.400, 0.500]");
        assert_eq!(cell(Some(0.45), Interval { sd: None, ..interval }), "0.450 [0.400, 0.500]");
        let nothing = Interval { sd: None, low: None, high: None };
        assert_eq!(cell(None, nothing), "-");
    }
}
