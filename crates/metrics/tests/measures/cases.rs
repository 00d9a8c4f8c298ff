//! The made-up cases of `fixtures/measures/make.py`, made once more from their numbers.

use metrics::{Mask, SoftMap};

const SIZES: [(usize, usize); 12] = [
    (1, 1),
    (1, 7),
    (9, 1),
    (2, 2),
    (3, 5),
    (8, 8),
    (17, 11),
    (11, 17),
    (24, 24),
    (31, 20),
    (20, 31),
    (40, 33),
];
const TRUTHS: usize = 8;
const MAPS: usize = 10;
/// How many cases there are.
pub const CASES: usize = TRUTHS * MAPS * 3;

/// A truth and a map of 8-bit levels.
pub struct Case {
    pub truth: Mask,
    pub levels: Vec<u8>,
}

impl Case {
    /// The map as probabilities.
    pub fn map(&self) -> SoftMap {
        let probabilities = self.levels.iter().map(|&level| f64::from(level) / 255.0).collect();
        SoftMap::new(self.truth.width(), self.truth.height(), probabilities)
            .expect("levels are as many as pixels")
    }
}

/// A linear congruential generator modulo 2^64; the upper half of its state is given out.
struct Draws(u64);

impl Draws {
    fn new(seed: usize) -> Self {
        let mut draws = Self(seed as u64);
        draws.below(1);
        draws
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as usize % n
    }
}

/// Makes the case of a number.
pub fn case(number: usize) -> Case {
    let (width, height) = SIZES[(number + number / TRUTHS) % SIZES.len()];
    let mut draws = Draws::new(number);
    let truth = truth(number % TRUTHS, width, height, &mut draws);
    let levels = levels(number / TRUTHS % MAPS, width, height, &truth, &mut draws);
    Case { truth: Mask::new(width, height, truth).expect("a pixel each"), levels }
}

/// `value(x, y)` for each pixel, row by row.
fn picture<T>(width: usize, height: usize, mut value: impl FnMut(usize, usize) -> T) -> Vec<T> {
    (0..width * height).map(|at| value(at % width, at / width)).collect()
}

fn truth(kind: usize, width: usize, height: usize, draws: &mut Draws) -> Vec<bool> {
    match kind {
        0..=2 => {
            let ellipses: Vec<[i64; 4]> = (0..=kind)
                .map(|_| {
                    [
                        draws.below(2 * width),
                        draws.below(2 * height),
                        1 + draws.below(width + 1),
                        1 + draws.below(height + 1),
                    ]
                    .map(|drawn| drawn as i64)
                })
                .collect();
            picture(width, height, |x, y| {
                ellipses.iter().any(|&[cx, cy, rx, ry]| {
                    let (dx, dy) = (2 * x as i64 - cx, 2 * y as i64 - cy);
                    (dx * ry).pow(2) + (dy * rx).pow(2) <= (rx * ry).pow(2)
                })
            })
        }
        3 => picture(width, height, |_, _| draws.below(100) < 30),
        4 | 5 => vec![kind == 5; width * height],
        6 => {
            let at = (draws.below(width), draws.below(height));
            picture(width, height, |x, y| (x, y) == at)
        }
        _ => {
            let line = draws.below(width);
            picture(width, height, |x, _| x == line)
        }
    }
}

fn levels(kind: usize, width: usize, height: usize, truth: &[bool], draws: &mut Draws) -> Vec<u8> {
    let on = |x: usize, y: usize| truth[y * width + x];
    let level = |value: usize| u8::try_from(value).expect("a level");
    match kind {
        0 => picture(width, height, |_, _| level(draws.below(256))),
        1 => {
            picture(width, height, |x, y| level(if on(x, y) { 150 } else { 40 } + draws.below(100)))
        }
        2 => picture(width, height, |x, y| if on(x, y) { 255 } else { 0 }),
        3 => picture(width, height, |x, y| {
            if x + 2 < width && y + 1 < height && on(x + 2, y + 1) { 255 } else { 0 }
        }),
        4 => vec![[0, 37, 128, 200, 255][draws.below(5)]; width * height],
        5 => picture(width, height, |x, y| if on(x, y) { 0 } else { 255 }),
        6 => {
            let (cx, cy, slope) = (draws.below(width), draws.below(height), 1 + draws.below(20));
            picture(width, height, |x, y| {
                let squared = x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2);
                level(255_usize.saturating_sub(slope * squared))
            })
        }
        7 => picture(width, height, |x, y| level(85 * ((x * 4 / width + y * 3 / height) % 4))),
        8 => picture(width, height, |x, y| {
            level(255 - if on(x, y) { draws.below(3) } else { 250 + draws.below(6) })
        }),
        _ => picture(width, height, |x, y| if (x + y) % 2 == 1 { 64 } else { 191 }),
    }
}
