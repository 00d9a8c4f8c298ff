//! Outlines and how they are filled.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::math::{cos_turns, lerp, sin_turns};

/// Corners of a smooth outline.
const SMOOTH_CORNERS: usize = 96;

/// One or more closed outlines; what lies inside an odd number of them belongs to the shape.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    outlines: Vec<Vec<[f32; 2]>>,
}

impl Shape {
    /// A smooth closed curve around the origin: a circle of radius 1 plus waves. `wobble` is the
    /// sum of their heights, below 1; the finest goes round `waves - 1` times.
    pub(super) fn blob(rng: &mut ChaCha8Rng, wobble: f32, waves: u32) -> Self {
        let waves: Vec<(f32, f32, f32)> = (2..waves)
            .map(|frequency| {
                let height = rng.random_range(0.2..1.0) / frequency as f32;
                (frequency as f32, height, rng.random())
            })
            .collect();
        let total: f32 = waves.iter().map(|wave| wave.1).sum();
        let corner = |step: usize| {
            let turns = step as f32 / SMOOTH_CORNERS as f32;
            let waves = waves.iter().map(|&(frequency, height, phase)| {
                height / total * cos_turns(frequency * turns + phase)
            });
            let radius = 1.0 + wobble * waves.sum::<f32>();
            [radius * cos_turns(turns), radius * sin_turns(turns)]
        };
        Self { outlines: vec![(0..SMOOTH_CORNERS).map(corner).collect()] }
    }

    /// A polygon with corners in random directions, not necessarily convex.
    pub(super) fn polygon(rng: &mut ChaCha8Rng, corners: usize, roughness: f32) -> Self {
        let corner = |step: usize, rng: &mut ChaCha8Rng| {
            let turns = (step as f32 + rng.random_range(-0.3..0.3)) / corners as f32;
            let radius = 1.0 - roughness * rng.random::<f32>();
            [radius * cos_turns(turns), radius * sin_turns(turns)]
        };
        Self { outlines: vec![(0..corners).map(|step| corner(step, rng)).collect()] }
    }

    /// A star: `arms` corners at radius 1, as many at `inner`.
    pub(super) fn star(arms: usize, inner: f32) -> Self {
        let corner = |step: usize| {
            let turns = step as f32 / (2 * arms) as f32;
            let radius = if step.is_multiple_of(2) { 1.0 } else { inner };
            [radius * cos_turns(turns), radius * sin_turns(turns)]
        };
        Self { outlines: vec![(0..2 * arms).map(corner).collect()] }
    }

    /// A rectangle of width 2 around the origin.
    pub(super) fn rectangle(aspect: f32) -> Self {
        Self {
            outlines: vec![vec![[-1.0, -aspect], [1.0, -aspect], [1.0, aspect], [-1.0, aspect]]],
        }
    }

    /// A bar with `prongs` thin teeth, as of a comb or fork.
    pub(super) fn comb(rng: &mut ChaCha8Rng, prongs: usize) -> Self {
        let thickness = rng.random_range(0.3..0.6);
        let pitch = 2.0 / prongs as f32;
        let mut outline = vec![[1.0, -0.35], [-1.0, -0.35]];
        for prong in 0..prongs {
            let left = -1.0 + prong as f32 * pitch;
            let length = rng.random_range(0.5..1.3);
            let right = left + pitch * thickness;
            outline.extend([[left, length], [right, length], [right, 0.0]]);
            outline.push([if prong + 1 == prongs { 1.0 } else { left + pitch }, 0.0]);
        }
        Self { outlines: vec![outline] }
    }

    /// A bent stroke; `width` is relative to its length of about 2, narrowing towards one end.
    pub(super) fn stroke(rng: &mut ChaCha8Rng, width: f32) -> Self {
        let bend = rng.random_range(-1.4..1.4);
        let taper = rng.random_range(0.2..1.0);
        let steps = SMOOTH_CORNERS / 4;
        // A parabola through (-1, 0), (0, bend / 2), (1, 0) and its normal.
        let side = |step: usize, sign: f32| {
            let x = step as f32 / steps as f32 * 2.0 - 1.0;
            let slope = -bend * x;
            let length = (1.0 + slope * slope).sqrt();
            let half = 0.5 * width * lerp(1.0, taper, 0.5 + 0.5 * x) * sign;
            [x - slope / length * half, 0.5 * bend * (1.0 - x * x) + half / length]
        };
        let there = (0..=steps).map(|step| side(step, 1.0));
        let back = (0..=steps).rev().map(|step| side(step, -1.0));
        Self { outlines: vec![there.chain(back).collect()] }
    }

    /// Cuts a hole: the other shape, scaled and moved.
    pub(super) fn with_hole(mut self, hole: Self, center: [f32; 2], scale: f32) -> Self {
        self.outlines.extend(hole.outlines.into_iter().map(|outline| {
            let place = |[x, y]: [f32; 2]| [center[0] + scale * x, center[1] + scale * y];
            outline.into_iter().map(place).collect()
        }));
        self
    }

    /// Makes the shape narrower along y by `squash`, then turns it.
    pub(super) fn squashed_and_turned(mut self, squash: f32, turns: f32) -> Self {
        let (sin, cos) = (sin_turns(turns), cos_turns(turns));
        for corner in self.outlines.iter_mut().flatten() {
            let [x, y] = [corner[0], corner[1] * squash];
            *corner = [cos * x - sin * y, sin * x + cos * y];
        }
        self
    }

    /// Scales the shape so that the longer side of its bounding box is `extent` pixels, and puts
    /// the center of that box at `center`.
    pub(super) fn placed(mut self, center: [f32; 2], extent: f32) -> Self {
        let (low, high) = self.bounds();
        let longer = (high[0] - low[0]).max(high[1] - low[1]);
        let scale = extent / longer;
        for corner in self.outlines.iter_mut().flatten() {
            for axis in 0..2 {
                let middle = 0.5 * (low[axis] + high[axis]);
                corner[axis] = center[axis] + (corner[axis] - middle) * scale;
            }
        }
        self
    }

    fn bounds(&self) -> ([f32; 2], [f32; 2]) {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for corner in self.outlines.iter().flatten() {
            for axis in 0..2 {
                low[axis] = low[axis].min(corner[axis]);
                high[axis] = high[axis].max(corner[axis]);
            }
        }
        (low, high)
    }

    /// The pixels whose centers lie inside the shape.
    pub(super) fn fill(&self, size: usize) -> Raster {
        let mut crossings: Vec<Vec<f32>> = vec![Vec::new(); size];
        for outline in &self.outlines {
            let next = outline.iter().cycle().skip(1);
            for (&[ax, ay], &[bx, by]) in outline.iter().zip(next) {
                let (top, bottom) = (ay.min(by), ay.max(by));
                for y in pixels(top, bottom, size) {
                    let t = (y as f32 + 0.5 - ay) / (by - ay);
                    crossings[y].push(ax + t * (bx - ax));
                }
            }
        }
        let mut raster = Raster::empty(size);
        for (y, row) in crossings.iter_mut().enumerate() {
            row.sort_by(f32::total_cmp);
            for pair in row.chunks_exact(2) {
                let columns = pixels(pair[0], pair[1], size);
                raster.values[y * size..][columns].fill(true);
            }
        }
        raster
    }
}

/// Pixels whose centers lie in `[from, to)`.
fn pixels(from: f32, to: f32, size: usize) -> Range<usize> {
    let first = |edge: f32| (edge - 0.5).ceil().clamp(0.0, size as f32) as usize;
    let start = first(from);
    start..first(to).max(start)
}

/// A set of pixels of a square, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) size: usize,
    pub(super) values: Vec<bool>,
}

impl Raster {
    pub(super) fn empty(size: usize) -> Self {
        Self { size, values: vec![false; size * size] }
    }

    pub(super) fn area(&self) -> usize {
        self.values.iter().filter(|&&value| value).count()
    }

    /// Pixels in both.
    pub(super) fn overlap(&self, other: &Self) -> usize {
        self.values.iter().zip(&other.values).filter(|(a, b)| **a && **b).count()
    }

    /// Adds the pixels of another set.
    pub(super) fn add(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a |= b);
    }

    /// Keeps what is also in another set.
    pub(super) fn intersect(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a &= b);
    }

    /// Takes the pixels of another set away.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a &= !b);
    }

    /// Columns and rows of the bounding box; empty ranges for an empty set.
    pub(super) fn bounds(&self) -> (Range<usize>, Range<usize>) {
        let (mut columns, mut rows) = (self.size..0, self.size..0);
        for (y, row) in self.values.chunks_exact(self.size).enumerate() {
            let Some(first) = row.iter().position(|&value| value) else {
                continue;
            };
            // There is a first, so there is a last.
            let last = row.iter().rposition(|&value| value).unwrap_or(first);
            columns = columns.start.min(first)..columns.end.max(last + 1);
            rows = rows.start.min(y)..y + 1;
        }
        if columns.is_empty() { (0..0, 0..0) } else { (columns, rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::math::stream;
    use super::*;

    #[test]
    fn a_rectangle_fills_the_pixels_whose_centers_it_covers() {
        // 4 x 2 pixels around (4, 3): columns 2..6, rows 2..4.
        let raster = Shape::rectangle(0.5).placed([4.0, 3.0], 4.0).fill(8);
        assert_eq!(raster.bounds(), (2..6, 2..4));
        assert_eq!(raster.area(), 8);
    }

    #[test]
    fn a_hole_is_not_filled() {
        let frame = Shape::rectangle(1.0).with_hole(Shape::rectangle(1.0), [0.0, 0.0], 0.5);
        let raster = frame.placed([4.0, 4.0], 8.0).fill(8);
        assert_eq!(raster.area(), 64 - 16);
        assert!(!raster.values[4 * 8 + 4]);
    }

    #[test]
    fn a_round_blob_has_the_area_of_a_circle() {
        let blob = Shape::blob(&mut stream(0, 0, *b"a test  "), 0.0, 7);
        let area = blob.placed([50.0, 50.0], 80.0).fill(100).area() as f32;
        let circle = std::f32::consts::PI * 40.0 * 40.0;
        assert!((area / circle - 1.0).abs() < 0.01, "{area} {circle}");
    }

    #[test]
    fn shapes_have_the_extent_asked_for_and_may_leave_the_square() {
        let mut rng = stream(7, 0, *b"a test  ");
        for shape in [
            Shape::blob(&mut rng, 0.4, 7),
            Shape::polygon(&mut rng, 5, 0.4),
            Shape::star(5, 0.5),
            Shape::comb(&mut rng, 4),
            Shape::stroke(&mut rng, 0.2),
        ] {
            let shape = shape.squashed_and_turned(0.7, 0.1);
            let (columns, rows) = shape.clone().placed([64.0, 64.0], 60.0).fill(128).bounds();
            let extent = columns.len().max(rows.len());
            assert!((56..=61).contains(&extent), "{extent}");
            let cut = shape.placed([0.0, 0.0], 60.0).fill(128);
            assert!(cut.bounds().0.end <= 31);
        }
    }

    #[test]
    fn sets_of_pixels_obey_set_arithmetic() {
        let a = Raster { size: 2, values: vec![true, true, false, false] };
        let b = Raster { size: 2, values: vec![true, false, true, false] };
        assert_eq!(a.overlap(&b), 1);
        let changed = |change: fn(&mut Raster, &Raster)| {
            let mut raster = a.clone();
            change(&mut raster, &b);
            raster.values
        };
        assert_eq!(changed(Raster::add), [true, true, true, false]);
        assert_eq!(changed(Raster::intersect), [true, false, false, false]);
        assert_eq!(changed(Raster::subtract), [false, true, false, false]);
        assert_eq!(Raster::empty(3).bounds(), (0..0, 0..0));
    }
}
