//! The cells of training images as rows of a regression.

use prompting::{Example, FitError};

use crate::logistic::{LogisticFit, LogisticProblem};

/// Channels that vary less than this among all cells say nothing and are left as they are.
const CONSTANT: f64 = 1e-6;

/// Cells of some images: features and how much of each is foreground.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    /// Channels of a cell.
    channels: usize,
    /// Cell after cell.
    rows: Vec<f32>,
    /// Share of the cell that is foreground, from 0 to 1.
    coverage: Vec<f64>,
}

impl Cells {
    /// Adds the cells of an image.
    pub fn add(&mut self, example: Example) {
        let Example { input, truth } = example;
        let [_, channels, height, width] = input.image_embedding.dims();
        let side = truth.masks.dims()[3];
        self.channels = channels;
        let floats =
            |data: burn::tensor::TensorData| data.try_into_vec_as::<f32>().expect("a float tensor");
        let features = floats(input.image_embedding.into_data());
        let mask = floats(truth.masks.into_data());
        let cells = height * width;
        for cell in 0..cells {
            self.rows.extend((0..channels).map(|channel| features[channel * cells + cell]));
        }
        let block = side / width;
        for cell in 0..cells {
            let (x, y) = (cell % width * block, cell / width * block);
            let rows = mask.chunks_exact(side).skip(y).take(block);
            let sum: f32 = rows.map(|row| row[x..x + block].iter().sum::<f32>()).sum();
            self.coverage.push(f64::from(sum) / (block * block) as f64);
        }
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.coverage.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.coverage.is_empty()
    }

    /// Share of all cells that is foreground.
    pub fn foreground(&self) -> f64 {
        self.coverage.iter().sum::<f64>() / self.len().max(1) as f64
    }

    /// The regression on these cells, with every channel brought to zero mean and unit deviation, and the scaling
    /// that did it.
    ///
    /// The weights sum to 1: a cell counts by its share of each class, either as it is, or, `balanced`, so that both
    /// classes have half of the weight.
    ///
    /// # Errors
    ///
    /// [`FitError::Examples`] if all cells are of one class.
    pub fn problem(
        mut self,
        balanced: bool,
        l2: f64,
        examples: usize,
    ) -> Result<(LogisticProblem, Scaling), FitError> {
        let n = self.len() as f64;
        let positive: f64 = self.coverage.iter().sum();
        let negative = n - positive;
        let lacking = |class: &str| {
            let reason = format!("their true masks have no {class}");
            Err(FitError::Examples { examples, reason })
        };
        if positive <= 0.0 {
            return lacking("foreground");
        }
        if negative <= 0.0 {
            return lacking("background");
        }
        let [of_positive, of_negative] =
            if balanced { [0.5 / positive, 0.5 / negative] } else { [1.0 / n; 2] };
        let scaling = Scaling::of(&self.rows, self.channels);
        for row in self.rows.chunks_exact_mut(self.channels) {
            let scales = scaling.mean.iter().zip(&scaling.deviation);
            for (value, (mean, deviation)) in row.iter_mut().zip(scales) {
                *value = ((f64::from(*value) - mean) / deviation) as f32;
            }
        }
        let problem = LogisticProblem {
            features: self.channels,
            rows: self.rows,
            positive: self.coverage.iter().map(|share| share * of_positive).collect(),
            negative: self.coverage.iter().map(|share| (1.0 - share) * of_negative).collect(),
            l2,
        };
        Ok((problem, scaling))
    }
}

/// Mean and deviation of every channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scaling {
    fn of(rows: &[f32], channels: usize) -> Self {
        let n = (rows.len() / channels.max(1)) as f64;
        let mut mean = vec![0.0; channels];
        for row in rows.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= n);
        let mut variance = vec![0.0; channels];
        for row in rows.chunks_exact(channels) {
            for ((sum, value), mean) in variance.iter_mut().zip(row).zip(&mean) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        let deviation = |sum: f64| {
            let deviation = (sum / n).sqrt();
            if deviation < CONSTANT { 1.0 } else { deviation }
        };
        Self { mean, deviation: variance.into_iter().map(deviation).collect() }
    }

    /// Weights and bias of the same scores from unscaled features.
    pub fn undo(&self, fit: &LogisticFit) -> (Vec<f64>, f64) {
        let weights: Vec<f64> =
            fit.weights.iter().zip(&self.deviation).map(|(weight, by)| weight / by).collect();
        let shift: f64 = weights.iter().zip(&self.mean).map(|(weight, mean)| weight * mean).sum();
        (weights, fit.bias - shift)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use prompting::{PromptInput, TrainingTruth};

    use super::*;
    use crate::fit_logistic;

    /// Two channels on a 2 x 2 grid; the mask has 8 x 8 pixels, 4 x 4 of them in a cell.
    fn example(mask: Vec<f32>) -> Example {
        let device = Device::flex();
        let features: Vec<f32> = vec![1.0, 2.0, 3.0, 4.0, -1.0, 5.0, 7.0, 0.5];
        let image_embedding = Tensor::from_data(TensorData::new(features, [1, 2, 2, 2]), &device);
        let masks = Tensor::from_data(TensorData::new(mask, [1, 1, 8, 8]), &device);
        let input =
            PromptInput { image_embedding, block_features: vec![], image: None, seeds: vec![0] };
        Example { input, truth: TrainingTruth { masks } }
    }

    #[test]
    fn a_cell_is_foreground_by_its_share() {
        // The upper right cell as a whole, two pixels of the lower left one.
        let on = |at: usize| (at % 8 >= 4 && at / 8 < 4) || at == 4 * 8 || at == 7 * 8 + 3;
        let mut cells = Cells::default();
        cells.add(example((0..64).map(|at| f32::from(u8::from(on(at)))).collect()));
        assert_eq!(cells.coverage, [0.0, 1.0, 0.125, 0.0]);
        assert_eq!(cells.rows, [1.0, -1.0, 2.0, 5.0, 3.0, 7.0, 4.0, 0.5]);
        assert_eq!(cells.foreground(), 1.125 / 4.0);
        let (problem, _) = cells.clone().problem(true, 0.1, 1).unwrap();
        let sum = |weights: &[f64]| weights.iter().sum::<f64>();
        assert!((sum(&problem.positive) - 0.5).abs() < 1e-12);
        assert!((sum(&problem.negative) - 0.5).abs() < 1e-12);
        let (problem, _) = cells.problem(false, 0.1, 1).unwrap();
        assert!((sum(&problem.positive) - 1.125 / 4.0).abs() < 1e-12);
        assert!((sum(&problem.positive) + sum(&problem.negative) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn scores_are_the_same_with_and_without_scaling() {
        let mut cells = Cells::default();
        cells.add(example((0..64).map(|at| f32::from(u8::from(at % 8 >= 3))).collect()));
        let rows = cells.rows.clone();
        let (problem, scaling) = cells.problem(true, 0.1, 1).unwrap();
        let fit = fit_logistic(&problem).unwrap();
        let (weights, bias) = scaling.undo(&fit);
        let score = |row: &[f32], weights: &[f64], bias: f64| {
            row.iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>() + bias
        };
        for (raw, scaled) in rows.chunks(2).zip(problem.rows.chunks(2)) {
            let (a, b) = (score(raw, &weights, bias), score(scaled, &fit.weights, fit.bias));
            // Scaled features are rounded to f32.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn masks_of_one_class_teach_nothing() {
        for (value, lacking) in [(0.0, "no foreground"), (1.0, "no background")] {
            let mut cells = Cells::default();
            cells.add(example(vec![value; 64]));
            let error = cells.problem(true, 0.1, 1).unwrap_err().to_string();
            assert!(error.contains(lacking), "{error}");
        }
    }
}
