//! Why a case could not be scored.

/// Why a case could not be scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// The picture has no pixel.
    #[error("{width} x {height} pixels is no picture")]
    NoPixels {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The buffer does not hold one value per pixel.
    #[error("{actual} values for {width} x {height} pixels")]
    Length {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Values in the buffer.
        actual: usize,
    },
    /// A value of a soft map is no probability: outside `[0, 1]`, or NaN.
    #[error("{value} at ({x}, {y}) is no probability")]
    NoProbability {
        /// Distance from the left border in pixels.
        x: usize,
        /// Distance from the top border in pixels.
        y: usize,
        /// The value.
        value: f64,
    },
    /// Prediction and ground truth differ in size; the caller resizes the prediction.
    #[error(
        "prediction has {} x {} pixels, ground truth {} x {}",
        prediction.0, prediction.1, truth.0, truth.1
    )]
    Size {
        /// Width and height of the prediction.
        prediction: (usize, usize),
        /// Width and height of the ground truth.
        truth: (usize, usize),
    },
}
