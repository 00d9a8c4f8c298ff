//! Cluttered scenes of many objects.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::MIN_SIZE;
use super::draw::{Canvas, Color, mix, scaled};
use super::math::{Field, cos_turns, lerp, sin_turns, smoothstep, stream};
use super::shape::{Raster, Shape};
use crate::TruthMask;

/// A scene and the mask of every object in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// The picture, square.
    pub image: RgbImage,
    /// What is visible of each object, from the back to the front; at least one, none is empty.
    /// A part of an object (a cap, a limb) follows its whole and lies within it; other masks do
    /// not overlap.
    pub objects: Vec<TruthMask>,
}

/// Most objects, not counting parts.
const MAX_OBJECTS: usize = 14;

/// Extent of an object as a share of the side, from and to; longer side of its bounding box. All
/// values in between are equally likely.
const EXTENT: (f32, f32) = (0.02, 0.6);

/// What an object must keep of its area when another one covers it.
const MIN_KEPT: f32 = 0.35;

/// What must be visible of an object, as a share of the picture's area.
const MIN_AREA: f32 = 0.0002;

/// The least number of visible pixels, at any size.
const MIN_PIXELS: usize = 8;

/// Makes a scene: several overlapping objects of varied shape, size, texture and contrast in front
/// of a cluttered background, with light, shadows, blur and sensor noise.
///
/// A function of `(seed, index, size)`, see [the module](super). The extents of objects are drawn
/// evenly between 2 and 60 % of the side; an object of fewer than 8 pixels, or 0.02 % of the picture, is
/// left out. Every object has an exact mask, less what others cover. What belongs to the background
/// (low-contrast blotches and strokes) has none.
///
/// # Panics
///
/// Panics if `size` is below [`MIN_SIZE`]: a bug in the caller.
pub fn natural(seed: u64, index: u64, size: u32) -> Scene {
    assert!(size >= MIN_SIZE, "a scene has at least {MIN_SIZE} x {MIN_SIZE} pixels");
    let size = size as usize;
    let mut painter = Painter::new(seed, index, size);
    let mut rng = stream(seed, index, *b"objects ");
    let mut objects: Vec<Object> = Vec::new();

    let wanted = rng.random_range(3..=MAX_OBJECTS);
    let mut extents: Vec<f32> = (0..wanted).map(|_| random_extent(&mut rng)).collect();
    // Mostly large to small, so that small ones are not all hidden.
    extents.sort_by(|a, b| b.total_cmp(a));
    for position in 1..extents.len() {
        if rng.random_bool(0.25) {
            extents.swap(position - 1, position);
        }
    }
    for extent in extents {
        // A few tries: an object that would hide another one is placed elsewhere.
        for _ in 0..8 {
            let center = [rng.random::<f32>() * size as f32, rng.random::<f32>() * size as f32];
            let sketch = Sketch::random(&mut rng, center, extent * size as f32, size);
            if fits(&objects, &sketch.whole) {
                add(&mut objects, sketch, &mut painter, &mut rng);
                break;
            }
        }
    }
    if objects.is_empty() {
        // Every try fell outside of the picture: one object in the middle always fits.
        let middle = [0.5 * size as f32; 2];
        let sketch = Sketch::plain(Shape::blob(&mut rng, 0.3, 7), middle, 0.3 * size as f32, size);
        add(&mut objects, sketch, &mut painter, &mut rng);
    }

    let image = painter.develop(seed, index);
    let side = size as u32;
    let objects = objects.into_iter().map(|object| object.visible);
    Scene { image, objects: objects.map(|one| TruthMask::new(side, side, one.values)).collect() }
}

/// An object that was painted.
struct Object {
    visible: Raster,
    /// Its area before others covered it.
    area: usize,
}

/// An object that is not painted yet.
struct Sketch {
    whole: Raster,
    /// Parts in the order of painting; each lies within `whole`.
    parts: Vec<Raster>,
}

fn random_extent(rng: &mut ChaCha8Rng) -> f32 {
    rng.random_range(EXTENT.0..EXTENT.1)
}

fn min_pixels(size: usize) -> usize {
    ((size * size) as f32 * MIN_AREA).max(MIN_PIXELS as f32) as usize
}

/// Whether enough is visible of a new object, and of all others once it is there.
fn fits(objects: &[Object], new: &Raster) -> bool {
    let least = min_pixels(new.size);
    new.area() >= least
        && objects.iter().all(|object| {
            let left = object.visible.area() - object.visible.overlap(new);
            left >= least && left as f32 >= MIN_KEPT * object.area as f32
        })
}

/// Paints a sketch in front of all others.
fn add(objects: &mut Vec<Object>, sketch: Sketch, painter: &mut Painter, rng: &mut ChaCha8Rng) {
    for object in objects.iter_mut() {
        object.visible.subtract(&sketch.whole);
    }
    painter.paint_object(&sketch.whole, rng);
    let area = sketch.whole.area();
    objects.push(Object { visible: sketch.whole, area });
    for part in sketch.parts {
        painter.paint_part(&part, rng);
        let area = part.area();
        objects.push(Object { visible: part, area });
    }
}

impl Sketch {
    fn plain(shape: Shape, center: [f32; 2], extent: f32, size: usize) -> Self {
        Self { whole: shape.placed(center, extent).fill(size), parts: Vec::new() }
    }

    fn random(rng: &mut ChaCha8Rng, center: [f32; 2], extent: f32, size: usize) -> Self {
        // Parts of a small object would be a few pixels.
        let large = extent > 0.12 * size as f32;
        match rng.random_range(0..10) {
            0..2 if large => Self::with_patch(rng, center, extent, size),
            2..4 if large => Self::with_limbs(rng, center, extent, size),
            _ => {
                let (squash, turns) = (rng.random_range(0.4..1.0), rng.random());
                let shape = random_shape(rng).squashed_and_turned(squash, turns);
                Self::plain(shape, center, extent, size)
            }
        }
    }

    /// An object with a cap, a band or a spot of another look.
    fn with_patch(rng: &mut ChaCha8Rng, center: [f32; 2], extent: f32, size: usize) -> Self {
        let turns = rng.random();
        let shape = random_solid(rng).squashed_and_turned(rng.random_range(0.5..1.0), turns);
        let whole = shape.placed(center, extent).fill(size);
        let direction = rng.random::<f32>();
        let offset = rng.random_range(0.0..0.6) * extent;
        let place =
            [center[0] + offset * cos_turns(direction), center[1] + offset * sin_turns(direction)];
        let patch = if rng.random() {
            Shape::blob(rng, 0.2, 7).placed(place, rng.random_range(0.25..0.7) * extent)
        } else {
            let band = Shape::rectangle(rng.random_range(0.1..0.5));
            band.squashed_and_turned(1.0, direction + 0.25).placed(place, 2.0 * extent)
        };
        let mut part = patch.fill(size);
        part.intersect(&whole);
        let share = part.area() as f32 / whole.area().max(1) as f32;
        let keep = part.area() >= 2 * min_pixels(size) && (0.08..0.7).contains(&share);
        Self { whole, parts: if keep { vec![part] } else { Vec::new() } }
    }

    /// A body with one to four limbs, thin or not, that come out from behind it.
    fn with_limbs(rng: &mut ChaCha8Rng, center: [f32; 2], extent: f32, size: usize) -> Self {
        let body_extent = rng.random_range(0.4..0.6) * extent;
        let squash = rng.random_range(0.6..1.0);
        let turns = rng.random();
        let body = random_solid(rng).squashed_and_turned(squash, turns);
        let body = body.placed(center, body_extent).fill(size);
        let mut whole = body.clone();
        let mut parts = Vec::new();
        for _ in 0..rng.random_range(1..=4) {
            let direction: f32 = rng.random();
            // Half a limb farther out is the rim of the extent.
            let reach = 0.275 * extent;
            let place = [
                center[0] + reach * cos_turns(direction),
                center[1] + reach * sin_turns(direction),
            ];
            let width = rng.random_range(0.1..0.5);
            let limb = Shape::stroke(rng, width).squashed_and_turned(1.0, direction);
            let mut limb = limb.placed(place, 0.45 * extent).fill(size);
            limb.subtract(&whole);
            if limb.area() >= 2 * min_pixels(size) {
                whole.add(&limb);
                parts.push(limb);
            }
        }
        if !parts.is_empty() && body.area() >= 2 * min_pixels(size) {
            parts.push(body);
        }
        Self { whole, parts }
    }
}

fn random_shape(rng: &mut ChaCha8Rng) -> Shape {
    match rng.random_range(0..9) {
        0 => {
            let scale = rng.random_range(0.4..0.8);
            let hole = Shape::blob(rng, 0.1, 7);
            Shape::blob(rng, 0.1, 7).with_hole(hole, [0.0, 0.0], scale)
        }
        1 => {
            let mut shape = random_solid(rng);
            let holes = rng.random_range(2..5);
            let start: f32 = rng.random();
            for hole in 0..holes {
                let turns = start + hole as f32 / holes as f32;
                let center = [0.42 * cos_turns(turns), 0.42 * sin_turns(turns)];
                let round = Shape::blob(rng, 0.1, 7);
                shape = shape.with_hole(round, center, rng.random_range(0.1..0.22));
            }
            shape
        }
        2 => {
            let prongs = rng.random_range(3..7);
            Shape::comb(rng, prongs)
        }
        3 => {
            let width = rng.random_range(0.06..0.2);
            Shape::stroke(rng, width)
        }
        4 => Shape::star(rng.random_range(4..9), rng.random_range(0.4..0.75)),
        _ => random_solid(rng),
    }
}

fn random_solid(rng: &mut ChaCha8Rng) -> Shape {
    match rng.random_range(0..6) {
        0 => Shape::rectangle(rng.random_range(0.3..1.0)),
        1 => {
            let corners = rng.random_range(3..9);
            Shape::polygon(rng, corners, 0.35)
        }
        2 => Shape::blob(rng, 0.0, 7),
        _ => {
            let wobble = rng.random_range(0.1..0.6);
            Shape::blob(rng, wobble, 7)
        }
    }
}

/// How a surface looks: two colors and a pattern between them.
struct Surface {
    colors: [Color; 2],
    pattern: Pattern,
    /// Direction of the pattern, a unit vector.
    direction: [f32; 2],
    /// Length of the pattern, pixels.
    period: f32,
    /// Where noise is read, pixels.
    offset: [usize; 2],
}

#[derive(Clone, Copy)]
enum Pattern {
    Flat,
    Gradient,
    Coarse,
    Fine,
    Stripes,
    Checks,
    Spots,
}

const PATTERNS: [Pattern; 7] = [
    Pattern::Flat,
    Pattern::Gradient,
    Pattern::Coarse,
    Pattern::Fine,
    Pattern::Stripes,
    Pattern::Checks,
    Pattern::Spots,
];

impl Surface {
    fn random(rng: &mut ChaCha8Rng, colors: [Color; 2], size: usize) -> Self {
        let turns: f32 = rng.random();
        Self {
            colors,
            pattern: PATTERNS[rng.random_range(0..PATTERNS.len())],
            direction: [cos_turns(turns), sin_turns(turns)],
            period: rng.random_range(0.015..0.12) * size as f32,
            offset: [rng.random_range(0..size), rng.random_range(0..size)],
        }
    }
}

/// The picture and what all its objects share.
struct Painter {
    canvas: Canvas,
    coarse: Field,
    fine: Field,
    /// Towards the light, a unit vector.
    light: [f32; 2],
    /// Saturation of the scene's colors.
    saturation: f32,
}

impl Painter {
    /// Paints the background.
    fn new(seed: u64, index: u64, size: usize) -> Self {
        let mut rng = stream(seed, index, *b"backgrnd");
        let side = size as f32;
        let coarse = Field::fractal(&mut rng, size, 0.2 * side, 3);
        let fine = Field::fractal(&mut rng, size, 0.03 * side, 2);
        let turns: f32 = rng.random();
        let mut painter = Self {
            canvas: Canvas::from_fn(size, |_, _| [0.0; 3]),
            coarse,
            fine,
            light: [cos_turns(turns), sin_turns(turns)],
            saturation: rng.random_range(0.1..1.0),
        };
        let base = painter.random_color(&mut rng);
        let other = mix(base, painter.random_color(&mut rng), rng.random_range(0.1..0.6));
        let surface = Surface::random(&mut rng, [base, other], size);
        for y in 0..size {
            for x in 0..size {
                let color = painter.color_at(&surface, x, y);
                painter.canvas.set(y * size + x, color);
            }
        }
        for _ in 0..rng.random_range(0..24) {
            painter.clutter(&mut rng);
        }
        // The background is often out of focus.
        if rng.random_bool(0.5) {
            let radius = (rng.random_range(0.003..0.015) * side) as usize;
            painter.canvas.box_blur(radius);
        }
        painter
    }

    /// A blotch or stroke of the background, of low contrast.
    fn clutter(&mut self, rng: &mut ChaCha8Rng) {
        let size = self.canvas.size;
        let side = size as f32;
        let place = [rng.random::<f32>() * side, rng.random::<f32>() * side];
        let extent = rng.random_range(0.03..0.35) * side;
        let (squash, turns) = (rng.random_range(0.3..1.0), rng.random());
        let shape = random_shape(rng).squashed_and_turned(squash, turns);
        let color = self.random_color(rng);
        let alpha = rng.random_range(0.04..0.16);
        for (pixel, inside) in shape.placed(place, extent).fill(size).values.iter().enumerate() {
            if *inside {
                self.canvas.blend(pixel, color, alpha);
            }
        }
    }

    fn random_color(&self, rng: &mut ChaCha8Rng) -> Color {
        let (hue, value) = (rng.random::<f32>(), rng.random_range(0.12..0.95));
        let saturation = self.saturation * rng.random_range(0.5..1.0);
        std::array::from_fn(|channel| {
            let wave = 0.5 + 0.5 * cos_turns(hue + channel as f32 / 3.0);
            value * (1.0 - saturation * wave)
        })
    }

    fn color_at(&self, surface: &Surface, x: usize, y: usize) -> Color {
        let at = |field: &Field| {
            // Mirrored at the border, so that no seam shows.
            let mirrored = |value: usize, offset: usize| {
                let there = (value + offset) % (2 * field.size);
                there.min(2 * field.size - 1 - there)
            };
            let (row, column) = (mirrored(y, surface.offset[1]), mirrored(x, surface.offset[0]));
            field.values[row * field.size + column]
        };
        let [cos, sin] = surface.direction;
        let along = cos * x as f32 + sin * y as f32;
        let across = cos * y as f32 - sin * x as f32;
        let t = match surface.pattern {
            Pattern::Flat => 0.08 * at(&self.fine),
            Pattern::Gradient => 0.5 + along / self.canvas.size as f32,
            Pattern::Coarse => 0.5 + 0.9 * at(&self.coarse),
            Pattern::Fine => 0.5 + 0.8 * at(&self.fine),
            Pattern::Stripes => {
                let bend = 0.8 * self.coarse.values[y * self.canvas.size + x];
                smoothstep(-0.4, 0.4, sin_turns(along / surface.period + bend))
            }
            Pattern::Checks => {
                let cell = (along / surface.period).floor() + (across / surface.period).floor();
                cell.rem_euclid(2.0)
            }
            Pattern::Spots => smoothstep(0.15, 0.3, at(&self.fine)),
        };
        mix(surface.colors[0], surface.colors[1], t.clamp(0.0, 1.0))
    }

    /// Colors of a new object: its own, or close to what is behind it.
    fn colors_on(&self, behind: Color, rng: &mut ChaCha8Rng) -> [Color; 2] {
        let strong = self.random_color(rng);
        let first = match rng.random_range(0..10) {
            0..3 => mix(behind, strong, rng.random_range(0.15..0.35)),
            _ => strong,
        };
        let second = mix(first, self.random_color(rng), rng.random_range(0.05..0.8));
        [first, second]
    }

    fn mean_under(&self, raster: &Raster) -> Color {
        let mut sum = [0.0; 3];
        let mut count = 0.0;
        for (pixel, inside) in raster.values.iter().enumerate() {
            if *inside {
                let color = self.canvas.get(pixel);
                sum = std::array::from_fn(|channel| sum[channel] + color[channel]);
                count += 1.0;
            }
        }
        scaled(sum, 1.0 / f32::max(count, 1.0))
    }

    /// Paints an object: perhaps its shadow, then its surface with relief.
    fn paint_object(&mut self, raster: &Raster, rng: &mut ChaCha8Rng) {
        let size = self.canvas.size;
        let (columns, rows) = raster.bounds();
        let extent = columns.len().max(rows.len()) as f32;
        if rng.random_bool(0.4) {
            self.paint_shadow(raster, 0.06 * extent + 1.0, rng.random_range(0.2..0.6));
        }
        let colors = self.colors_on(self.mean_under(raster), rng);
        let surface = Surface::random(rng, colors, size);
        let relief = Relief::of(raster, self.light, rng.random_range(0.0..0.5));
        self.paint(raster, &surface, &relief);
    }

    /// Paints a part of an object: another surface, no shadow.
    fn paint_part(&mut self, raster: &Raster, rng: &mut ChaCha8Rng) {
        let colors = self.colors_on(self.mean_under(raster), rng);
        let surface = Surface::random(rng, colors, self.canvas.size);
        let relief = Relief::of(raster, self.light, rng.random_range(0.0..0.3));
        self.paint(raster, &surface, &relief);
    }

    fn paint(&mut self, raster: &Raster, surface: &Surface, relief: &Relief) {
        let size = self.canvas.size;
        let (columns, rows) = raster.bounds();
        for y in rows {
            for x in columns.clone() {
                let pixel = y * size + x;
                if raster.values[pixel] {
                    let color = self.color_at(surface, x, y);
                    self.canvas.set(pixel, scaled(color, relief.at(x, y)));
                }
            }
        }
    }

    /// Darkens what lies opposite to the light.
    fn paint_shadow(&mut self, raster: &Raster, reach: f32, strength: f32) {
        let size = self.canvas.size as isize;
        let shift = |axis: usize| (-self.light[axis] * reach).round() as isize;
        let (dx, dy) = (shift(0), shift(1));
        let (columns, rows) = raster.bounds();
        for y in rows {
            for x in columns.clone() {
                let (to_x, to_y) = (x as isize + dx, y as isize + dy);
                let within = (0..size).contains(&to_x) && (0..size).contains(&to_y);
                if within && raster.values[y * size as usize + x] {
                    self.canvas.blend((to_y * size + to_x) as usize, [0.0; 3], strength);
                }
            }
        }
    }

    /// Light, optics and sensor.
    fn develop(mut self, seed: u64, index: u64) -> RgbImage {
        let mut rng = stream(seed, index, *b"optics  ");
        let size = self.canvas.size;
        let side = size as f32;
        let slope = rng.random_range(0.0..0.5);
        let gain = rng.random_range(0.7..1.15);
        let lift = rng.random_range(0.0..0.12);
        let tint: Color = std::array::from_fn(|_| rng.random_range(0.9..1.1));
        for y in 0..size {
            for x in 0..size {
                let along = self.light[0] * (x as f32 / side - 0.5)
                    + self.light[1] * (y as f32 / side - 0.5);
                let light = gain * (1.0 + slope * along);
                let pixel = y * size + x;
                let color = self.canvas.get(pixel);
                self.canvas.set(
                    pixel,
                    std::array::from_fn(|channel| lift + light * tint[channel] * color[channel]),
                );
            }
        }
        self.canvas.soften(rng.random_range(0.1..0.25));
        if rng.random_bool(0.3) {
            let radius = rng.random_range(0.002..0.01) * side;
            self.canvas.box_blur(radius.max(1.0) as usize);
        }
        let gray = rng.random_range(0.0..0.04);
        let color = rng.random_range(0.0..0.02);
        self.canvas.add_sensor_noise(&mut rng, gray, color);
        self.canvas.to_image()
    }
}

/// Light and shade that make a flat outline look raised.
struct Relief {
    left: usize,
    top: usize,
    shade: Field,
}

impl Relief {
    /// `strength` 0 is flat.
    fn of(raster: &Raster, light: [f32; 2], strength: f32) -> Self {
        let (columns, rows) = raster.bounds();
        // One pixel of margin, so that the outside is known on all sides.
        let size = columns.len().max(rows.len()) + 2;
        let mut height = Field::zeros(size);
        for (row, y) in rows.clone().enumerate() {
            for (column, x) in columns.clone().enumerate() {
                if raster.values[y * raster.size + x] {
                    height.values[(row + 1) * size + column + 1] = 1.0;
                }
            }
        }
        let radius = size / 8 + 1;
        height.box_blur(radius);
        height.box_blur(radius);
        let mut shade = Field::zeros(size);
        for y in 0..size as isize {
            for x in 0..size as isize {
                let slope_x = height.at(x - 1, y) - height.at(x + 1, y);
                let slope_y = height.at(x, y - 1) - height.at(x, y + 1);
                let facing = (slope_x * light[0] + slope_y * light[1]) * radius as f32;
                let value = lerp(1.0, 1.0 + 1.6 * facing, strength);
                shade.values[y as usize * size + x as usize] = value.clamp(0.25, 1.6);
            }
        }
        Self { left: columns.start, top: rows.start, shade }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        self.shade.values[(y - self.top + 1) * self.shade.size + x - self.left + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_changes_the_pixels_of_the_mask_and_no_other() {
        let mut painter = Painter::new(1, 2, 64);
        // A color that no picture has, so that every painted pixel differs.
        let surface = Surface {
            colors: [[-1.0; 3]; 2],
            pattern: Pattern::Stripes,
            direction: [1.0, 0.0],
            period: 5.0,
            offset: [0, 0],
        };
        let mut rng = stream(1, 2, *b"a test  ");
        for extent in [10.0, 40.0, 90.0] {
            let raster = random_shape(&mut rng).placed([30.0, 20.0], extent).fill(64);
            let before = painter.canvas.clone();
            let relief = Relief::of(&raster, painter.light, 0.4);
            painter.paint(&raster, &surface, &relief);
            for pixel in 0..64 * 64 {
                let changed = painter.canvas.get(pixel) != before.get(pixel);
                assert_eq!(changed, raster.values[pixel], "pixel {pixel}");
            }
            painter.canvas = before;
        }
    }

    #[test]
    fn what_is_in_front_takes_its_pixels_from_what_is_behind() {
        let mut painter = Painter::new(3, 4, 64);
        let mut rng = stream(3, 4, *b"a test  ");
        let mut objects = Vec::new();
        for center in [[24.0, 32.0], [40.0, 32.0]] {
            let sketch = Sketch::plain(Shape::rectangle(1.0), center, 32.0, 64);
            add(&mut objects, sketch, &mut painter, &mut rng);
        }
        // Columns 8..40 and 24..56 of rows 16..48.
        assert_eq!(objects[0].visible.bounds(), (8..24, 16..48));
        assert_eq!(objects[1].visible.bounds(), (24..56, 16..48));
        assert_eq!(objects[0].visible.overlap(&objects[1].visible), 0);
    }

    #[test]
    fn an_object_that_would_hide_another_one_does_not_fit() {
        let square = |extent| Shape::rectangle(1.0).placed([32.0, 32.0], extent).fill(64);
        let objects = [Object { area: 400, visible: square(20.0) }];
        assert!(fits(&objects, &square(10.0)));
        assert!(!fits(&objects, &square(18.0)), "76 of 400 pixels would be left");
        assert!(!fits(&[], &square(2.0)), "4 pixels are too few");
    }
}
