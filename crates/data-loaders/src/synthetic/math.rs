//! Random streams, functions and noise that give the same bits on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random numbers of one stage of one image.
///
/// Each stage has its own stream, so that leaving a stage out, or drawing more in it, does not
/// change the others.
pub(super) fn stream(seed: u64, index: u64, stage: [u8; 8]) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    key[16..24].copy_from_slice(&stage);
    ChaCha8Rng::from_seed(key)
}

/// Sine of an angle in turns (1 turn is a full circle), to about 0.001.
///
/// Two parabolas and a correction: no call of the system's `sin`, whose last bits differ.
pub(super) fn sin_turns(turns: f32) -> f32 {
    let r = turns - (turns + 0.5).floor(); // [-0.5, 0.5)
    let parabola = 8.0 * r - 16.0 * r * r.abs();
    0.225 * (parabola * parabola.abs() - parabola) + parabola
}

/// Cosine of an angle in turns, to about 0.001.
pub(super) fn cos_turns(turns: f32) -> f32 {
    sin_turns(turns + 0.25)
}

/// `a` at 0, `b` at 1.
pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Rises smoothly from 0 at `from` to 1 at `to`; falls if `to < from`.
pub(super) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A number per pixel of a square, row by row.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) size: usize,
    pub(super) values: Vec<f32>,
}

impl Field {
    pub(super) fn zeros(size: usize) -> Self {
        Self { size, values: vec![0.0; size * size] }
    }

    /// Value noise in `[-1, 1]`: random values on a grid of `cell` pixels, smooth in between.
    pub(super) fn noise(rng: &mut ChaCha8Rng, size: usize, cell: f32) -> Self {
        let mut field = Self::zeros(size);
        field.add_noise(rng, cell, 1.0);
        field
    }

    /// Sum of `octaves` noises; each has half the cell and half the height of the one before.
    /// Within `[-1, 1]`.
    pub(super) fn fractal(rng: &mut ChaCha8Rng, size: usize, cell: f32, octaves: u32) -> Self {
        let mut field = Self::zeros(size);
        // 1 / (1 + 1/2 + ... ), so that the heights sum to 1. Powers of two are exact.
        let parts = (1_u32 << octaves) - 1;
        let mut height = (1_u32 << (octaves - 1)) as f32 / parts as f32;
        let mut cell = cell;
        for _ in 0..octaves {
            field.add_noise(rng, cell, height);
            height *= 0.5;
            cell *= 0.5;
        }
        field
    }

    fn add_noise(&mut self, rng: &mut ChaCha8Rng, cell: f32, height: f32) {
        let cell = cell.max(1.0);
        let across = (self.size as f32 / cell) as usize + 3;
        let grid: Vec<f32> =
            (0..across * across).map(|_| rng.random_range(-height..height)).collect();
        let (shift_x, shift_y): (f32, f32) = (rng.random(), rng.random());

        let locate = |pixel: usize, shift: f32| {
            let at = pixel as f32 / cell + shift;
            let left = at as usize;
            (left, smoothstep(0.0, 1.0, at - left as f32))
        };
        let columns: Vec<_> = (0..self.size).map(|x| locate(x, shift_x)).collect();
        let mut line = vec![0.0; across];
        for (y, row) in self.values.chunks_exact_mut(self.size).enumerate() {
            let (top, weight) = locate(y, shift_y);
            let (upper, lower) =
                (&grid[top * across..][..across], &grid[(top + 1) * across..][..across]);
            for ((out, &a), &b) in line.iter_mut().zip(upper).zip(lower) {
                *out = lerp(a, b, weight);
            }
            for (out, &(left, weight)) in row.iter_mut().zip(&columns) {
                *out += lerp(line[left], line[left + 1], weight);
            }
        }
    }

    /// Value at a pixel, coordinates clamped to the square.
    pub(super) fn at(&self, x: isize, y: isize) -> f32 {
        let last = self.size as isize - 1;
        self.values[y.clamp(0, last) as usize * self.size + x.clamp(0, last) as usize]
    }

    /// Mean over a square of `2 * radius + 1` pixels; the border repeats the outermost pixels.
    pub(super) fn box_blur(&mut self, radius: usize) {
        if radius == 0 {
            return;
        }
        let size = self.size;
        let mut line = vec![0.0; size];
        for row in self.values.chunks_exact_mut(size) {
            line.copy_from_slice(row);
            blur_line(&line, row, radius);
        }
        self.transpose();
        for row in self.values.chunks_exact_mut(size) {
            line.copy_from_slice(row);
            blur_line(&line, row, radius);
        }
        self.transpose();
    }

    fn transpose(&mut self) {
        for y in 0..self.size {
            for x in 0..y {
                self.values.swap(y * self.size + x, x * self.size + y);
            }
        }
    }

    /// Weighs each pixel with its neighbors: `weight` for each of them, the rest for itself, first
    /// along rows, then along columns. 0.25 is the binomial filter.
    pub(super) fn soften(&mut self, weight: f32) {
        let size = self.size;
        let mut line = vec![0.0; size];
        let keep = 1.0 - 2.0 * weight;
        for row in self.values.chunks_exact_mut(size) {
            line.copy_from_slice(row);
            for x in 0..size {
                let (left, right) = (line[x.saturating_sub(1)], line[(x + 1).min(size - 1)]);
                row[x] = keep * line[x] + weight * (left + right);
            }
        }
        let mut above = self.values[..size].to_vec();
        for y in 0..size {
            line.copy_from_slice(&self.values[y * size..][..size]);
            let below = (y + 1).min(size - 1) * size;
            for x in 0..size {
                let sum = above[x] + self.values[below + x];
                self.values[y * size + x] = keep * line[x] + weight * sum;
            }
            above.copy_from_slice(&line);
        }
    }
}

fn blur_line(line: &[f32], out: &mut [f32], radius: usize) {
    let last = line.len() - 1;
    let share = 1.0 / (2 * radius + 1) as f32;
    let mut sum = line[0] * (radius + 1) as f32;
    for step in 1..=radius {
        sum += line[step.min(last)];
    }
    for x in 0..line.len() {
        out[x] = sum * share;
        sum += line[(x + radius + 1).min(last)] - line[x.saturating_sub(radius)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_is_close_to_the_real_one() {
        for step in -300..300 {
            let turns = step as f32 / 100.0;
            let real = (f64::from(turns) * std::f64::consts::TAU).sin() as f32;
            assert!((sin_turns(turns) - real).abs() < 2e-3, "at {turns}");
        }
        assert!((cos_turns(0.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn noise_stays_in_range_and_varies() {
        let field = Field::fractal(&mut stream(1, 2, *b"a test  "), 64, 16.0, 4);
        let low = field.values.iter().copied().fold(f32::MAX, f32::min);
        let high = field.values.iter().copied().fold(f32::MIN, f32::max);
        assert!((-1.0..-0.1).contains(&low) && (0.1..1.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn blur_of_a_single_pixel_is_a_square() {
        let mut field = Field::zeros(7);
        field.values[3 * 7 + 3] = 9.0;
        field.box_blur(1);
        for y in 0..7_isize {
            for x in 0..7_isize {
                let expected = if (x - 3).abs() <= 1 && (y - 3).abs() <= 1 { 1.0 } else { 0.0 };
                assert!((field.at(x, y) - expected).abs() < 1e-6, "{x} {y}");
            }
        }
    }

    #[test]
    fn soften_is_the_binomial_filter() {
        let mut field = Field::zeros(5);
        field.values[2 * 5 + 2] = 16.0;
        field.soften(0.25);
        let rows = [[0.0; 5], [0.0, 1.0, 2.0, 1.0, 0.0], [0.0, 2.0, 4.0, 2.0, 0.0]];
        assert_eq!(field.values[..15], rows.concat());
        assert_eq!(field.values[15..20], rows[1]);
    }

    #[test]
    fn blurs_keep_a_constant() {
        let mut field = Field { size: 9, values: vec![0.5; 81] };
        field.box_blur(4);
        field.soften(0.2);
        assert!(field.values.iter().all(|value| (value - 0.5).abs() < 1e-6));
    }

    #[test]
    fn streams_differ_by_seed_index_and_stage() {
        let first = |seed, index, stage| stream(seed, index, stage).random::<u64>();
        let one = first(1, 2, *b"a test  ");
        assert_eq!(one, first(1, 2, *b"a test  "));
        assert_ne!(one, first(2, 2, *b"a test  "));
        assert_ne!(one, first(1, 1, *b"a test  "));
        assert_ne!(one, first(1, 2, *b"b test  "));
    }
}
