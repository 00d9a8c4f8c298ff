//! Blurs.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::pixels::{filtered, reflected};

/// A blur over a square window with an odd side; beyond the edges the image goes on as its mirror image.
///
/// Source: `Blur`, `GaussianBlur`, `MedianBlur` and `MotionBlur` of albumentations. Its motion blur may also
/// move the image away from the mask, by two pixels at most; ours does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blur {
    /// The mean.
    Mean {
        /// Side of the window.
        side: u32,
    },
    /// Binomial weights, a Gaussian of standard deviation `sqrt(side - 1) / 2`; for sides 3 and 5 these
    /// are OpenCV's.
    Gaussian {
        /// Side of the window.
        side: u32,
    },
    /// The median of each channel.
    Median {
        /// Side of the window.
        side: u32,
    },
    /// The mean along a straight line of pixels.
    Motion {
        /// Side of the window.
        side: u32,
        /// One end of the line in the window, column and row.
        from: (u32, u32),
        /// The other end, a different pixel.
        to: (u32, u32),
    },
}

impl Blur {
    /// One of the four, each as likely as the others, with a side from 3 to `largest`.
    pub(super) fn draw(largest: u32, rng: &mut ChaCha8Rng) -> Self {
        let side = 2 * rng.random_range(1..=largest / 2) + 1;
        match rng.random_range(0..4_u8) {
            0 => Self::Mean { side },
            1 => Self::Gaussian { side },
            2 => Self::Median { side },
            _ => {
                let from = rng.random_range(0..side * side);
                // Any pixel but the first.
                let to = (from + rng.random_range(1..side * side)) % (side * side);
                let place = |at: u32| (at % side, at / side);
                let (from, to) = (place(from), place(to));
                let (x, y) = (centered(side, from.0, to.0), centered(side, from.1, to.1));
                Self::Motion { side, from: (x.0, y.0), to: (x.1, y.1) }
            }
        }
    }

    /// Side of the window.
    pub fn side(&self) -> u32 {
        match *self {
            Self::Mean { side }
            | Self::Gaussian { side }
            | Self::Median { side }
            | Self::Motion { side, .. } => side,
        }
    }

    pub(super) fn image(&self, image: &RgbImage) -> RgbImage {
        match *self {
            Self::Mean { side } => {
                let weights = vec![1.0 / (side * side) as f32; (side * side) as usize];
                filtered(image, &weights, side)
            }
            Self::Gaussian { side } => {
                let line = binomial(side);
                let weights: Vec<f32> =
                    line.iter().flat_map(|a| line.iter().map(move |b| a * b)).collect();
                filtered(image, &weights, side)
            }
            Self::Median { side } => median(image, side),
            Self::Motion { side, from, to } => filtered(image, &line(side, from, to), side),
        }
    }
}

/// The line from `a` to `b` along one axis, moved to the middle of the window, up to half a pixel.
fn centered(side: u32, a: u32, b: u32) -> (u32, u32) {
    let (low, length) = (a.min(b), a.abs_diff(b));
    let first = (side - length) / 2;
    (a - low + first, b - low + first)
}

/// Row `side - 1` of Pascal's triangle, normalized.
fn binomial(side: u32) -> Vec<f32> {
    let mut row = vec![1.0_f64];
    for _ in 1..side {
        let shifted = |at: usize| at.checked_sub(1).map_or(0.0, |at| row[at]);
        row = (0..=row.len())
            .map(|at| (shifted(at) + row.get(at).copied().unwrap_or(0.0)) / 2.0)
            .collect();
    }
    row.into_iter().map(|weight| weight as f32).collect()
}

/// Equal weights on the pixels of a line, 0 elsewhere.
fn line(side: u32, from: (u32, u32), to: (u32, u32)) -> Vec<f32> {
    let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
    let mut weights = vec![0.0; (side * side) as usize];
    let between = |a: u32, b: u32, step: u32| {
        let (a, b) = (f64::from(a), f64::from(b));
        (a + (b - a) * f64::from(step) / f64::from(steps)).round() as u32
    };
    for step in 0..=steps {
        let (x, y) = (between(from.0, to.0, step), between(from.1, to.1, step));
        weights[(y * side + x) as usize] = 1.0 / (steps + 1) as f32;
    }
    weights
}

fn median(image: &RgbImage, side: u32) -> RgbImage {
    let reach = i64::from(side / 2);
    let mut windows: [Vec<u8>; 3] = Default::default();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        windows.iter_mut().for_each(Vec::clear);
        for dy in -reach..=reach {
            let y = reflected(i64::from(y) + dy, image.height());
            for dx in -reach..=reach {
                let x = reflected(i64::from(x) + dx, image.width());
                for (window, value) in windows.iter_mut().zip(image.get_pixel(x, y).0) {
                    window.push(value);
                }
            }
        }
        let middle = (side * side / 2) as usize;
        Rgb([0, 1, 2].map(|channel| *windows[channel].select_nth_unstable(middle).1))
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Black with one bright pixel in the middle of 5 x 5.
    fn point(value: u8) -> RgbImage {
        RgbImage::from_fn(5, 5, |x, y| Rgb([if (x, y) == (2, 2) { value } else { 0 }; 3]))
    }

    fn greens(image: &RgbImage) -> Vec<u8> {
        image.pixels().map(|pixel| pixel.0[1]).collect()
    }

    #[test]
    fn a_point_becomes_the_window() {
        let mean = greens(&Blur::Mean { side: 3 }.image(&point(90)));
        assert_eq!(mean[..10], [0, 0, 0, 0, 0, 0, 10, 10, 10, 0]);
        let gaussian = greens(&Blur::Gaussian { side: 3 }.image(&point(160)));
        assert_eq!(gaussian[5..15], [0, 10, 20, 10, 0, 0, 20, 40, 20, 0]);
        let gaussian = greens(&Blur::Gaussian { side: 5 }.image(&point(255)));
        // 6/16 * 6/16 * 255 = 35.9
        assert_eq!(gaussian[12], 36);
        assert_eq!(greens(&Blur::Median { side: 3 }.image(&point(255))), [0; 25]);
    }

    #[test]
    fn motion_blurs_along_its_line_only() {
        let down = Blur::Motion { side: 3, from: (1, 0), to: (1, 2) };
        let blurred = greens(&down.image(&point(90)));
        let on: Vec<usize> = (0..25).filter(|&at| blurred[at] == 30).collect();
        assert_eq!(on, [7, 12, 17]);
        assert_eq!(line(3, (0, 0), (2, 1)).iter().filter(|&&weight| weight > 0.0).count(), 3);
    }

    #[test]
    fn a_median_keeps_an_edge() {
        let edge = RgbImage::from_fn(6, 6, |x, _| Rgb([if x < 3 { 10 } else { 200 }; 3]));
        assert_eq!(Blur::Median { side: 5 }.image(&edge), edge);
    }

    #[test]
    fn blurs_keep_the_mean_and_sides_stay_in_range() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 5) as u8, (y * 8) as u8, 100]));
        let mean = |image: &RgbImage| {
            let sum: f64 = image.as_raw().iter().map(|&value| f64::from(value)).sum();
            sum / image.as_raw().len() as f64
        };
        let mut seen = [0_u32; 4];
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for _ in 0..200 {
            let blur = Blur::draw(5, &mut rng);
            assert!(matches!(blur.side(), 3 | 5), "{blur:?}");
            seen[match blur {
                Blur::Mean { .. } => 0,
                Blur::Gaussian { .. } => 1,
                Blur::Median { .. } => 2,
                Blur::Motion { from, to, .. } => {
                    assert_ne!(from, to);
                    // Around the middle of the window, (side - 1) / 2.
                    let twice = [from.0 + to.0, from.1 + to.1];
                    let off = twice.map(|sum| sum.abs_diff(blur.side() - 1));
                    assert!(off.iter().all(|&off| off <= 1), "{blur:?}");
                    3
                }
            }] += 1;
            assert!((mean(&blur.image(&image)) - mean(&image)).abs() < 3.0, "{blur:?}");
        }
        assert!(seen.iter().all(|&count| (25..80).contains(&count)), "{seen:?}");
    }
}
