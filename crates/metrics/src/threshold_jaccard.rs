//! Threshold Jaccard.

/// IoU below which a segmentation counts as failed.
pub const JACCARD_THRESHOLD: f64 = 0.65;

/// Threshold Jaccard of one case: its IoU if that is at least [`JACCARD_THRESHOLD`], else 0.
///
/// The measure that ranked the ISIC 2018 challenge, task 1 (Codella et al., arXiv 1902.03368, 2019): below the
/// threshold, which is about how far experts agree, a mask is of no use.
pub fn threshold_jaccard(iou: f64) -> f64 {
    if iou >= JACCARD_THRESHOLD { iou } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_passes() {
        // 13 of 20 pixels: the quotient is the number nearest to 0.65, as the constant is.
        assert_eq!(threshold_jaccard(13.0 / 20.0), 0.65);
        assert_eq!(threshold_jaccard(0.649_999), 0.0);
        assert_eq!(threshold_jaccard(1.0), 1.0);
    }
}
