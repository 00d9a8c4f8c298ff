//! L2-regularized logistic regression with fractional labels, solved to the last digits.

use rayon::prelude::*;

/// Rows that one thread adds up. Fixed, so that the number of threads changes no sum.
const CHUNK: usize = 1024;
/// No component of the gradient may be larger at the end. The weights of a problem sum to 1, so an objective and its
/// derivatives are of the order of 1, and rounding of `f64` sums far below this.
const TOLERANCE: f64 = 1e-10;
/// Newton's method doubles the digits in each step; with a line search a few tens are ample.
const MOST_ITERATIONS: usize = 100;
/// Share of the decrease that the slope promises, which a step must bring (Armijo's rule).
const SUFFICIENT: f64 = 1e-4;

/// What is minimized over weights `w` and bias `b`, with `z_i = w x_i + b`:
///
/// `sum_i positive_i log(1 + exp(-z_i)) + negative_i log(1 + exp(z_i)) + l2 / 2 |w|^2`
///
/// A row that is half foreground has both a positive and a negative weight. The bias is not regularized. The
/// objective is strictly convex in `w`, and has one minimum if both kinds have weight and `l2 > 0`.
#[derive(Debug, Clone)]
pub struct LogisticProblem {
    /// Numbers in a row.
    pub features: usize,
    /// Row after row.
    pub rows: Vec<f32>,
    /// Weight of each row as foreground.
    pub positive: Vec<f64>,
    /// Weight of each row as background.
    pub negative: Vec<f64>,
    /// Strength of the regularization.
    pub l2: f64,
}

/// The solution of a [`LogisticProblem`].
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticFit {
    /// One per feature.
    pub weights: Vec<f64>,
    /// Added to every score.
    pub bias: f64,
    /// Newton steps.
    pub iterations: usize,
    /// The minimum.
    pub objective: f64,
    /// Largest component of the gradient there, in absolute terms.
    pub gradient_max: f64,
}

/// Sums over the rows at one point.
#[derive(Clone)]
struct Sums {
    objective: f64,
    /// Weights, then the bias.
    gradient: Vec<f64>,
    /// Upper triangle, row-major, of the same order; empty unless asked for.
    hessian: Vec<f64>,
}

impl LogisticProblem {
    /// Objective and gradient at a point, and the Hessian with `second`.
    fn sums(&self, point: &[f64], second: bool) -> Sums {
        let n = self.features;
        let (weights, bias) = (&point[..n], point[n]);
        let per_chunk = |chunk: usize| {
            let mut sums = Sums {
                objective: 0.0,
                gradient: vec![0.0; n + 1],
                hessian: if second { vec![0.0; (n + 1) * (n + 1)] } else { Vec::new() },
            };
            let mut row = vec![1.0; n + 1];
            let first = chunk * CHUNK;
            for at in first..(first + CHUNK).min(self.positive.len()) {
                for (wide, &value) in row.iter_mut().zip(&self.rows[at * n..(at + 1) * n]) {
                    *wide = f64::from(value);
                }
                let products = row.iter().zip(weights).map(|(x, w)| x * w);
                let score = products.sum::<f64>() + bias;
                let (positive, negative) = (self.positive[at], self.negative[at]);
                sums.objective += positive * log1p_exp(-score) + negative * log1p_exp(score);
                let probability = sigmoid(score);
                let slope = (positive + negative) * probability - positive;
                for (sum, x) in sums.gradient.iter_mut().zip(&row) {
                    *sum += slope * x;
                }
                if second {
                    let bend = (positive + negative) * probability * (1.0 - probability);
                    for (i, x) in row.iter().enumerate() {
                        let factor = bend * x;
                        let line = &mut sums.hessian[i * (n + 1) + i..(i + 1) * (n + 1)];
                        for (sum, y) in line.iter_mut().zip(&row[i..]) {
                            *sum += factor * y;
                        }
                    }
                }
            }
            sums
        };
        let chunks = self.positive.len().div_ceil(CHUNK);
        let parts: Vec<Sums> = (0..chunks).into_par_iter().map(per_chunk).collect();
        let mut total = per_chunk(chunks);
        for part in parts {
            total.objective += part.objective;
            total.gradient.iter_mut().zip(part.gradient).for_each(|(sum, value)| *sum += value);
            total.hessian.iter_mut().zip(part.hessian).for_each(|(sum, value)| *sum += value);
        }
        for (i, w) in weights.iter().enumerate() {
            total.objective += 0.5 * self.l2 * w * w;
            total.gradient[i] += self.l2 * w;
            if second {
                total.hessian[i * (n + 1) + i] += self.l2;
            }
        }
        total
    }
}

/// Solves the problem by Newton's method with a line search, from zero.
///
/// Deterministic, whatever the number of threads: sums are over fixed chunks of rows, added in order.
///
/// # Errors
///
/// In words, if the gradient does not become zero (to `1e-10`): the rows hold what is no number, or one kind has no
/// weight so that there is no minimum.
pub fn fit_logistic(problem: &LogisticProblem) -> Result<LogisticFit, String> {
    let n = problem.features;
    for (kind, weights) in [("positive", &problem.positive), ("negative", &problem.negative)] {
        let sum: f64 = weights.iter().sum();
        if sum.is_nan() || sum <= 0.0 {
            return Err(format!("the {kind} weights sum to {sum}, so the minimum is at infinity"));
        }
    }
    let mut point = vec![0.0; n + 1];
    let mut iterations = 0;
    loop {
        let sums = problem.sums(&point, true);
        let gradient_max = sums.gradient.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
        if !sums.objective.is_finite() || sums.gradient.iter().any(|value| !value.is_finite()) {
            return Err(format!("the objective is {} after {iterations} steps", sums.objective));
        }
        if gradient_max <= TOLERANCE {
            let bias = point.pop().unwrap_or(0.0);
            let objective = sums.objective;
            return Ok(LogisticFit { weights: point, bias, iterations, objective, gradient_max });
        }
        let failed = |what: &str| {
            format!("{what} after {iterations} steps, with a gradient of {gradient_max:e}")
        };
        if iterations == MOST_ITERATIONS {
            return Err(failed("no minimum"));
        }
        let step = solve(sums.hessian, &sums.gradient)
            .ok_or_else(|| failed("the Hessian is not positive definite"))?;
        let slope: f64 = -sums.gradient.iter().zip(&step).map(|(g, s)| g * s).sum::<f64>();
        // Close to the minimum a decrease is lost in rounding, and the full step is right.
        let rounding = 1e-14 * sums.objective.abs();
        let mut share = 1.0;
        point = loop {
            let next: Vec<f64> = point.iter().zip(&step).map(|(at, s)| at - share * s).collect();
            let objective = problem.sums(&next, false).objective;
            if objective <= sums.objective + SUFFICIENT * share * slope + rounding {
                break next;
            }
            share *= 0.5;
            if share < 1e-10 {
                return Err(failed("no step leads down"));
            }
        };
        iterations += 1;
    }
}

/// Solves `A x = y` by Cholesky's method; `a` is the upper triangle of a symmetric matrix, row-major. Nothing if it
/// is not positive definite.
fn solve(mut a: Vec<f64>, y: &[f64]) -> Option<Vec<f64>> {
    let n = y.len();
    // A = R^T R with R upper triangular, in place of A, row by row.
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        let pivot = row[k];
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        let root = pivot.sqrt();
        row[k..].iter_mut().for_each(|value| *value /= root);
        for i in k + 1..n {
            let factor = row[i];
            let line = &mut below[(i - k - 1) * n + i..(i - k) * n];
            for (value, r) in line.iter_mut().zip(&row[i..]) {
                *value -= factor * r;
            }
        }
    }
    let mut x = y.to_vec();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| a[k * n + i] * x[k]).sum();
        x[i] = (x[i] - known) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[i * n + k] * x[k]).sum();
        x[i] = (x[i] - known) / a[i * n + i];
    }
    Some(x)
}

/// `1 / (1 + exp(-z))`.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let small = z.exp();
        small / (1.0 + small)
    }
}

/// `log(1 + exp(z))`, for any `z`.
fn log1p_exp(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// `fixtures/make.py`: the same problem solved by scikit-learn.
    const FIXTURE: &str = include_str!("../fixtures/logistic.json");

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn problem(case: &Value) -> LogisticProblem {
        LogisticProblem {
            features: case["features"].as_u64().unwrap() as usize,
            rows: numbers(&case["rows"]).into_iter().map(|value| value as f32).collect(),
            positive: numbers(&case["positive"]),
            negative: numbers(&case["negative"]),
            l2: case["l2"].as_f64().unwrap(),
        }
    }

    #[test]
    fn the_solution_is_that_of_scikit_learn() {
        let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let fit = fit_logistic(&problem(case)).unwrap();
            let expected = numbers(&case["weights"]);
            let bias = case["bias"].as_f64().unwrap();
            let largest = expected.iter().fold(bias.abs(), |max, value| max.max(value.abs()));
            // scikit-learn's solver stops at a gradient of 1e-8 of its own scale.
            for (ours, theirs) in fit.weights.iter().zip(&expected) {
                assert!((ours - theirs).abs() < 1e-5 * largest, "{ours} {theirs}");
            }
            assert!((fit.bias - bias).abs() < 1e-5 * largest, "{} {bias}", fit.bias);
            assert!(fit.gradient_max <= TOLERANCE && fit.iterations < 30, "{fit:?}");
        }
    }

    /// One feature, one row of each kind at x = 1 and x = -1, weights 1/2. By symmetry b = 0, and
    /// w solves `l2 w = 1 / (1 + exp(w))`.
    #[test]
    fn two_rows_have_the_solution_of_one_equation() {
        let (rows, positive, negative) = (vec![1.0, -1.0], vec![0.5, 0.0], vec![0.0, 0.5]);
        let problem = LogisticProblem { features: 1, rows, positive, negative, l2: 0.1 };
        let fit = fit_logistic(&problem).unwrap();
        let (mut low, mut high) = (0.0_f64, 10.0);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if 0.1 * middle < 1.0 / (1.0 + middle.exp()) { low = middle } else { high = middle }
        }
        assert!((fit.weights[0] - low).abs() < 1e-9, "{} {low}", fit.weights[0]);
        assert!(fit.bias.abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
        let problem = problem(&fixture["cases"][0]);
        let point: Vec<f64> = (0..=problem.features).map(|i| 0.3 - 0.2 * i as f64).collect();
        let sums = problem.sums(&point, true);
        let n = point.len();
        for i in 0..n {
            let at = |by: f64| {
                let mut moved = point.clone();
                moved[i] += by;
                problem.sums(&moved, false)
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            let slope = (up.objective - down.objective) / 2e-5;
            assert!((slope - sums.gradient[i]).abs() < 1e-8, "{i}");
            for j in i..n {
                let bend = (up.gradient[j] - down.gradient[j]) / 2e-5;
                assert!((bend - sums.hessian[i * n + j]).abs() < 1e-7, "{i} {j}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let n = 5000;
        let value = |i: usize, j: usize| ((i * 37 + j * 101) % 97) as f32 / 97.0 - 0.5;
        let rows = (0..n).flat_map(|i| (0..4).map(move |j| value(i, j))).collect();
        let positive: Vec<f64> =
            (0..n).map(|i| f64::from(u8::from(i % 3 == 0)) / n as f64).collect();
        let negative = positive.iter().map(|p| 1.0 / n as f64 - p).collect();
        let problem = LogisticProblem { features: 4, rows, positive, negative, l2: 1e-3 };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit_logistic(&problem).unwrap())
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn what_has_no_minimum_is_an_error_and_no_endless_loop() {
        let (rows, positive, negative) = (vec![1.0, 2.0], vec![0.5, 0.5], vec![0.0, 0.0]);
        let mut problem = LogisticProblem { features: 1, rows, positive, negative, l2: 0.1 };
        let error = fit_logistic(&problem).unwrap_err();
        assert!(error.contains("negative weights sum to 0"), "{error}");
        problem.negative = vec![0.5, 0.5];
        problem.rows[0] = f32::NAN;
        let error = fit_logistic(&problem).unwrap_err();
        assert!(error.contains("NaN"), "{error}");
    }
}
