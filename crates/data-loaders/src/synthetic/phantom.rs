//! Endoscopy-like images with one lesion.

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::MIN_SIZE;
use super::draw::{Canvas, Color, mix, scaled};
use super::math::{Field, cos_turns, lerp, sin_turns, smoothstep, stream};
use super::shape::{Raster, Shape};
use crate::TruthMask;

/// Extent of the lesion as a share of the side, from and to; longer side of its bounding box.
const EXTENT: (f32, f32) = (0.05, 0.45);

/// How far the middle of the lesion is at most from the middle of the image, as a share of the
/// side. Every [`view`] reaches farther, so the mask is never empty.
const MAX_OFFSET: f32 = 0.32;

/// How many places are tried for a lesion.
const PLACES: usize = 3;

/// What light a lesion gets at least: it stands out from the wall into the lamp's light.
const LEAST_LIGHT: f32 = 0.4;

/// Makes an endoscopy-like image and the mask of its one lesion.
///
/// A function of `(seed, index, size)`, see [the module](super). The image has a dark border,
/// a tunnel with folds, vessels, highlights, bubbles, vignetting, blur and noise. The lesion is
/// an irregular smooth blob of 5 to 45 % of the side that differs in color, texture and shading,
/// in about a third of the images only faintly. The mask is exact: the pixels inside the
/// lesion's outline that the border does not hide. It is never empty.
///
/// # Panics
///
/// Panics if `size` is below [`MIN_SIZE`]: a bug in the caller.
pub fn phantom(seed: u64, index: u64, size: u32) -> (RgbImage, TruthMask) {
    assert!(size >= MIN_SIZE, "a phantom has at least {MIN_SIZE} x {MIN_SIZE} pixels");
    let picture = Picture::new(seed, index, size as usize);
    let truth = TruthMask::new(size, size, picture.lesion.mask.values.clone());
    (picture.render(true), truth)
}

/// What is decided before anything is painted.
struct Picture {
    seed: u64,
    index: u64,
    size: usize,
    /// How much of the scope's view a pixel is in, 0 to 1.
    view: Field,
    tunnel: Tunnel,
    lesion: Lesion,
}

/// The bowel as a tunnel.
struct Tunnel {
    /// The far end, pixels.
    center: [f32; 2],
    /// Radius of the dark far end, pixels.
    radius: f32,
    /// Its shorter axis, a unit vector, and how much shorter it is.
    axis: [f32; 2],
    squash: f32,
    /// Folds for each step of [`half_log`].
    folds: f32,
    fold_height: f32,
}

struct Lesion {
    mask: Raster,
    /// Longer side of the outline's bounding box, pixels.
    extent: f32,
    /// 0.3 is faint, 1 is plain.
    contrast: f32,
}

impl Tunnel {
    /// Distance from the far end, longer along the shorter axis.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.center[0], y - self.center[1]);
        let along = (dx * self.axis[0] + dy * self.axis[1]) * self.squash;
        let across = dy * self.axis[0] - dx * self.axis[1];
        (along * along + across * across).sqrt()
    }
}

impl Picture {
    fn new(seed: u64, index: u64, size: usize) -> Self {
        let side = size as f32;
        let mut rng = stream(seed, index, *b"geometry");
        let view = view(&mut rng, size);
        let away: f32 = rng.random();
        // In half of the pictures the scope looks at the wall, and the far end is hardly in view.
        let distance = if rng.random() {
            rng.random_range(0.0..0.4) * side
        } else {
            rng.random_range(0.5..0.9) * side
        };
        let axis: f32 = rng.random();
        let tunnel = Tunnel {
            center: [
                0.5 * side + distance * cos_turns(away),
                0.5 * side + distance * sin_turns(away),
            ],
            radius: rng.random_range(0.06..0.16) * side,
            axis: [cos_turns(axis), sin_turns(axis)],
            squash: rng.random_range(1.0..2.2),
            folds: rng.random_range(1.5..4.5),
            fold_height: rng.random_range(0.25..1.0),
        };
        let lesion = Lesion::new(&mut stream(seed, index, *b"lesion  "), size, &view, &tunnel);
        Self { seed, index, size, view, tunnel, lesion }
    }

    fn stream(&self, stage: [u8; 8]) -> ChaCha8Rng {
        stream(self.seed, self.index, stage)
    }

    /// Paints the picture. Without the lesion, all else is the same.
    fn render(&self, with_lesion: bool) -> RgbImage {
        let (mut light, slope) = self.light();
        let mut canvas = self.mucosa();
        self.paint_vessels(&mut canvas);
        if with_lesion {
            let alpha = self.paint_lesion(&mut canvas);
            for (light, alpha) in light.values.iter_mut().zip(alpha.values) {
                *light = lerp(*light, light.max(LEAST_LIGHT), alpha);
            }
        }
        for (pixel, &light) in light.values.iter().enumerate() {
            canvas.set(pixel, scaled(canvas.get(pixel), light));
        }
        self.paint_highlights(&mut canvas, &slope, with_lesion);
        self.paint_debris(&mut canvas);
        self.develop(canvas)
    }

    /// The color of the wall under even light.
    fn mucosa(&self) -> Canvas {
        let side = self.size as f32;
        let mut rng = self.stream(*b"mucosa  ");
        // From pale orange over pink to red.
        let pale: Color = [0.86, 0.60, 0.44];
        let red: Color = [0.78, 0.36, 0.27];
        let base = mix(pale, red, rng.random());
        let blotch = mix(base, [0.70, 0.24, 0.20], 0.55);
        let patches = Field::fractal(&mut rng, self.size, 0.3 * side, 3);
        let grain = Field::fractal(&mut rng, self.size, 0.03 * side, 3);
        let strength = rng.random_range(0.03..0.10);
        Canvas::from_fn(self.size, |x, y| {
            let pixel = y * self.size + x;
            let redness = smoothstep(-0.6, 0.9, patches.values[pixel]);
            let gain = 1.0 + strength * grain.values[pixel];
            scaled(mix(base, blotch, redness), gain)
        })
    }

    /// Brightness of each pixel from the scope's lamp, and how the wall faces it: folds have
    /// a bright side and a dark one.
    fn light(&self) -> (Field, Field) {
        let size = self.size;
        let side = size as f32;
        let tunnel = &self.tunnel;
        let mut rng = self.stream(*b"light   ");
        let bend = Field::fractal(&mut rng, size, 0.35 * side, 2);
        let warp = Field::fractal(&mut rng, size, 0.25 * side, 3);
        let presence = Field::noise(&mut rng, size, 0.3 * side);
        let relief = Field::fractal(&mut rng, size, 0.12 * side, 3);
        let lamp: [f32; 2] = [
            (0.5 + rng.random_range(-0.15..0.15)) * side,
            (0.5 + rng.random_range(-0.15..0.15)) * side,
        ];
        let reach = rng.random_range(0.55..0.95) * side;
        let phase: f32 = rng.random();

        let mut light = Field::zeros(size);
        let mut slope = Field::zeros(size);
        for y in 0..size {
            for x in 0..size {
                let pixel = y * size + x;
                let squared = |center: [f32; 2]| {
                    let (dx, dy) = (x as f32 - center[0], y as f32 - center[1]);
                    dx * dx + dy * dy
                };
                let depth = tunnel.distance(x as f32, y as f32) / tunnel.radius;
                let depth = depth * (1.0 + 0.55 * bend.values[pixel]);
                let wall = smoothstep(0.1, 2.4, depth) * (1.0 + 0.25 * bend.values[pixel]);
                // The folds crowd towards the far end, as rings seen in perspective do.
                let ring = tunnel.folds * half_log(depth) + 0.5 * warp.values[pixel] + phase;
                let phase_in_ring = ring - ring.floor();
                // A slow rise to the crest, and a steep fall behind it.
                let fold =
                    smoothstep(0.0, 0.75, phase_in_ring) - smoothstep(0.78, 1.0, phase_in_ring);
                let here = tunnel.fold_height * smoothstep(-0.5, 0.5, presence.values[pixel]);
                let crease = 1.0 - here * 0.65 * (1.0 - fold);
                let bumps = 1.0 + 0.16 * relief.values[pixel];
                let from_lamp = squared(lamp) / (reach * reach);
                let falloff = 1.0 / (1.0 + from_lamp * from_lamp);
                light.values[pixel] = (0.06 + wall * crease * bumps) * lerp(0.45, 1.12, falloff);
                slope.values[pixel] = here * fold + 0.5 * relief.values[pixel];
            }
        }
        (light, slope)
    }

    fn paint_vessels(&self, canvas: &mut Canvas) {
        let side = self.size as f32;
        let mut rng = self.stream(*b"vessels ");
        let strength = rng.random_range(0.05..0.45);
        let mut ink = Field::zeros(self.size);
        for _ in 0..rng.random_range(2..9) {
            let start = [rng.random::<f32>() * side, rng.random::<f32>() * side];
            let width = rng.random_range(0.004..0.010) * side;
            let turns = rng.random();
            draw_vessel(&mut ink, &mut rng, start, turns, width, 3);
        }
        ink.soften(0.25);
        for (pixel, ink) in ink.values.iter().enumerate() {
            let color = canvas.get(pixel);
            let dark = [color[0] * 0.72, color[1] * 0.42, color[2] * 0.45];
            canvas.set(pixel, mix(color, dark, strength * ink.min(1.0)));
        }
    }

    /// Gives how much of each pixel is lesion, 0 to 1.
    fn paint_lesion(&self, canvas: &mut Canvas) -> Field {
        let Lesion { mask, extent, contrast } = &self.lesion;
        let size = self.size;
        let mut rng = self.stream(*b"surface ");
        let mut alpha = Field::zeros(size);
        for (value, &inside) in alpha.values.iter_mut().zip(&mask.values) {
            *value = f32::from(u8::from(inside));
        }
        let mut height = alpha.clone();
        let radius = ((0.16 * extent) as usize).max(1);
        height.box_blur(radius);
        height.box_blur(radius);
        // A soft edge that stays within a few pixels of the outline.
        let softness = rng.random_range(0.0..0.012) * size as f32;
        alpha.box_blur(softness as usize);
        alpha.soften(0.25);

        let texture = Field::fractal(&mut rng, size, (0.14 * extent).max(2.0), 3);
        let pits = Field::noise(&mut rng, size, (0.02 * size as f32).max(1.5));
        // Redder, paler or yellower than its surroundings.
        let tint: Color = match rng.random_range(0..4) {
            0 | 1 => [1.02, 0.72, 0.72],
            2 => [1.08, 1.14, 1.16],
            _ => [1.02, 1.02, 0.78],
        };
        let tint = mix([1.0; 3], tint, contrast * rng.random_range(0.6..1.0));
        let roughness = contrast * rng.random_range(0.08..0.28);
        let dome = contrast * rng.random_range(0.35..1.1);
        let turns: f32 = rng.random();
        let light = [cos_turns(turns), sin_turns(turns)];

        let (columns, rows) = mask.bounds();
        let margin = softness as usize + 2;
        let grown = |range: std::ops::Range<usize>| {
            range.start.saturating_sub(margin)..(range.end + margin).min(size)
        };
        for y in grown(rows) {
            for x in grown(columns.clone()) {
                let pixel = y * size + x;
                if alpha.values[pixel] <= 0.0 {
                    continue;
                }
                let (column, row) = (x as isize, y as isize);
                let slope_x = height.at(column - 1, row) - height.at(column + 1, row);
                let slope_y = height.at(column, row - 1) - height.at(column, row + 1);
                let facing = (slope_x * light[0] + slope_y * light[1]) * radius as f32;
                let raised = 0.30 * (height.values[pixel] - 0.55);
                let shade = 1.0 + dome * (0.9 * facing + raised);
                let detail = 0.6 * texture.values[pixel] + 0.4 * pits.values[pixel];
                let gain = shade.clamp(0.45, 1.5) * (1.0 + roughness * detail);
                let wall = canvas.get(pixel);
                let own = std::array::from_fn(|channel| wall[channel] * tint[channel] * gain);
                canvas.blend(pixel, own, alpha.values[pixel]);
            }
        }
        alpha
    }

    /// Wet highlights: small, white, in groups, where the wall faces the lamp.
    fn paint_highlights(&self, canvas: &mut Canvas, slope: &Field, with_lesion: bool) {
        let size = self.size;
        let side = size as f32;
        let mut rng = self.stream(*b"highlite");
        let mut ink = Field::zeros(size);
        for _ in 0..rng.random_range(2..12) {
            // The best of a few places.
            let places = std::array::from_fn::<_, 5, _>(|_| {
                [rng.random_range(0..size), rng.random_range(0..size)]
            });
            let facing = |[x, y]: &[usize; 2]| slope.values[y * size + x];
            let best = places.iter().max_by(|a, b| facing(a).total_cmp(&facing(b)));
            if let Some(&[x, y]) = best {
                let spots = rng.random_range(1..7);
                draw_highlights(&mut ink, &mut rng, [x as f32, y as f32], 0.05 * side, spots);
            }
        }
        // A raised lesion shines too, on its own stream: the others stay where they are.
        let mut rng = self.stream(*b"shine   ");
        if with_lesion && rng.random_bool(0.6) {
            let inside: Vec<usize> =
                (0..size * size).filter(|&pixel| self.lesion.mask.values[pixel]).collect();
            let pixel = inside[rng.random_range(0..inside.len())];
            let place = [(pixel % size) as f32, (pixel / size) as f32];
            let spots = rng.random_range(1..5);
            let mut shine = Field::zeros(size);
            draw_highlights(&mut shine, &mut rng, place, 0.15 * self.lesion.extent, spots);
            for (pixel, &value) in shine.values.iter().enumerate() {
                if self.lesion.mask.values[pixel] {
                    ink.values[pixel] = ink.values[pixel].max(value);
                }
            }
        }
        ink.soften(0.15);
        for (pixel, &value) in ink.values.iter().enumerate() {
            let lit = smoothstep(0.05, 0.35, canvas.get(pixel)[0]);
            canvas.blend(pixel, [1.0, 0.98, 0.95], 0.95 * value.min(1.0) * lit);
        }
    }

    /// Bubbles and residue, in some pictures.
    fn paint_debris(&self, canvas: &mut Canvas) {
        let size = self.size;
        let side = size as f32;
        let mut rng = self.stream(*b"debris  ");
        if rng.random_bool(0.25) {
            let cluster = [rng.random::<f32>() * side, rng.random::<f32>() * side];
            for _ in 0..rng.random_range(3..14) {
                let place = [
                    cluster[0] + rng.random_range(-0.15..0.15) * side,
                    cluster[1] + rng.random_range(-0.15..0.15) * side,
                ];
                draw_bubble(canvas, place, rng.random_range(0.008..0.03) * side);
            }
        }
        if rng.random_bool(0.2) {
            let noise = Field::fractal(&mut rng, size, 0.08 * side, 3);
            let region = Field::noise(&mut rng, size, 0.35 * side);
            for pixel in 0..size * size {
                let amount = smoothstep(0.1, 0.35, noise.values[pixel])
                    * smoothstep(0.25, 0.5, region.values[pixel]);
                let color = canvas.get(pixel);
                let residue = [color[0] * 0.95, color[1] * 0.92, color[2] * 0.45];
                canvas.set(pixel, mix(color, residue, 0.8 * amount));
            }
        }
        if rng.random_bool(0.12) {
            // Mist on the lens.
            let mist = Field::fractal(&mut rng, size, 0.5 * side, 2);
            for pixel in 0..size * size {
                let amount = 0.3 * smoothstep(-0.4, 0.8, mist.values[pixel]);
                canvas.blend(pixel, [0.75, 0.66, 0.62], amount);
            }
        }
    }

    /// Optics, border and sensor.
    fn develop(&self, mut canvas: Canvas) -> RgbImage {
        let size = self.size;
        let side = size as f32;
        let mut rng = self.stream(*b"optics  ");
        let tint: Color = [
            rng.random_range(0.92..1.08),
            rng.random_range(0.92..1.06),
            rng.random_range(0.88..1.12),
        ];
        let gain = rng.random_range(0.85..1.15);
        // Fringe of the border, where the lens splits colors.
        let fringe = match rng.random_range(0..3) {
            0 => [0.25, 0.35, 0.75],
            1 => [0.30, 0.55, 0.30],
            _ => [0.60, 0.30, 0.15],
        };
        let fringe_strength = rng.random_range(0.0..0.5);
        let black = rng.random_range(0.0..0.05);
        canvas.soften(0.2);
        if rng.random_bool(0.35) {
            let radius = rng.random_range(0.003..0.010) * side;
            canvas.box_blur(radius.max(1.0) as usize);
        }
        for pixel in 0..size * size {
            let view = self.view.values[pixel];
            let color = canvas.get(pixel);
            let lit: Color = std::array::from_fn(|channel| gain * tint[channel] * color[channel]);
            // Strongest half-way between inside and outside.
            let edge = 4.0 * view * (1.0 - view) * fringe_strength;
            canvas.set(pixel, mix([black; 3], mix(lit, fringe, edge), view));
        }
        self.paint_overlay(&mut canvas);
        canvas.soften(0.1);
        let gray = rng.random_range(0.004..0.02);
        let color = rng.random_range(0.002..0.012);
        canvas.add_sensor_noise(&mut rng, gray, color);
        canvas.to_image()
    }

    /// The little picture of the scope's position that some devices put into a corner. It stays
    /// outside of the lesion.
    fn paint_overlay(&self, canvas: &mut Canvas) {
        let size = self.size;
        let side = size as f32;
        let mut rng = self.stream(*b"overlay ");
        if !rng.random_bool(0.12) {
            return;
        }
        let (width, height) =
            ((0.24 * side) as usize, (rng.random_range(0.18..0.3) * side) as usize);
        let rows = size - height - 2..size - 2;
        let columns = 2..2 + width;
        let hides_lesion =
            rows.clone().any(|y| columns.clone().any(|x| self.lesion.mask.values[y * size + x]));
        if hides_lesion {
            return;
        }
        let path = Shape::stroke(&mut rng, 0.12).squashed_and_turned(1.0, rng.random());
        let middle = [2.0 + 0.5 * width as f32, rows.start as f32 + 0.5 * height as f32];
        let path = path.placed(middle, 0.15 * side).fill(size);
        for y in rows {
            for x in columns.clone() {
                let pixel = y * size + x;
                let color =
                    if path.values[pixel] { [0.75, 0.80, 0.35] } else { [0.08, 0.42, 0.24] };
                canvas.set(pixel, color);
            }
        }
    }
}

impl Lesion {
    fn new(rng: &mut ChaCha8Rng, size: usize, view: &Field, tunnel: &Tunnel) -> Self {
        let side = size as f32;
        let root: f32 = rng.random_range(EXTENT.0.sqrt()..EXTENT.1.sqrt());
        let extent = root * root * side;
        // A third is faint.
        let contrast = if rng.random_bool(0.33) {
            rng.random_range(0.3..0.5)
        } else {
            rng.random_range(0.55..1.0)
        };
        let wobble = rng.random_range(0.08..0.34);
        let squash = rng.random_range(0.6..1.0);
        let turns = rng.random();
        let shape = Shape::blob(rng, wobble, 5).squashed_and_turned(squash, turns);
        // Of a few places, the one farthest from the dark far end: there is nothing to be seen.
        let places = std::array::from_fn::<_, PLACES, _>(|_| {
            let away: f32 = rng.random();
            let distance = rng.random::<f32>().sqrt() * MAX_OFFSET * side;
            // The center of a pixel, so that even the smallest outline has one inside.
            [cos_turns(away), sin_turns(away)]
                .map(|direction| (0.5 * side + distance * direction).floor() + 0.5)
        });
        let depth = |place: &[f32; 2]| tunnel.distance(place[0], place[1]);
        let deepest = places.iter().copied().max_by(|a, b| depth(a).total_cmp(&depth(b)));
        let center = deepest.expect("there is more than one place");
        let mut mask = shape.placed(center, extent).fill(size);
        for (inside, &view) in mask.values.iter_mut().zip(&view.values) {
            *inside &= view >= 0.5;
        }
        Self { mask, extent, contrast }
    }
}

/// What the scope shows: the frame with its corners cut, a circle, or something in between.
fn view(rng: &mut ChaCha8Rng, size: usize) -> Field {
    let side = size as f32;
    let (half_x, half_y) = (rng.random_range(0.46..0.56), rng.random_range(0.47..0.58));
    // Half the distance between the cut corners, as a share of the side; at 0.7 and
    // above nothing is cut.
    let diagonal = rng.random_range(0.50..0.75);
    let round = rng.random_bool(0.4);
    let radius = rng.random_range(0.48..0.60);
    let softness = rng.random_range(0.004..0.02);
    let mut view = Field::zeros(size);
    for y in 0..size {
        for x in 0..size {
            let dx = ((x as f32 + 0.5) / side - 0.5).abs();
            let dy = ((y as f32 + 0.5) / side - 0.5).abs();
            let mut within = (half_x - dx).min(half_y - dy);
            // Distance to the line that cuts the corner.
            within = within.min(
                (diagonal * std::f32::consts::SQRT_2 - dx - dy) * std::f32::consts::FRAC_1_SQRT_2,
            );
            if round {
                within = within.min(radius - (dx * dx + dy * dy).sqrt());
            }
            view.values[y * size + x] = smoothstep(-softness, softness, within);
        }
    }
    view
}

/// Grows by about one per doubling of `x`; 0 at 0. It stands in for a logarithm.
fn half_log(x: f32) -> f32 {
    6.0 * x.sqrt() / (4.0 + x.sqrt())
}

/// A wandering line that gets thinner and branches.
fn draw_vessel(
    ink: &mut Field,
    rng: &mut ChaCha8Rng,
    start: [f32; 2],
    turns: f32,
    width: f32,
    branchings: u32,
) {
    let side = ink.size as f32;
    let [mut x, mut y] = start;
    let mut turns = turns;
    let mut curl = 0.0;
    let mut width = width;
    let steps = (rng.random_range(0.15..0.5) * side) as usize;
    for step in 0..steps {
        curl = 0.9 * curl + rng.random_range(-0.006..0.006);
        turns += curl * 64.0 / side.max(64.0);
        x += cos_turns(turns);
        y += sin_turns(turns);
        width *= 1.0 - 0.8 / side;
        stamp(ink, [x, y], width, 1.0);
        if branchings > 0 && step > steps / 5 && rng.random_bool(f64::from((3.5 / side).min(1.0))) {
            let side_turns =
                turns + rng.random_range(0.06..0.16) * if rng.random() { 1.0 } else { -1.0 };
            draw_vessel(ink, rng, [x, y], side_turns, 0.7 * width, branchings - 1);
        }
    }
}

fn draw_highlights(
    ink: &mut Field,
    rng: &mut ChaCha8Rng,
    center: [f32; 2],
    spread: f32,
    spots: usize,
) {
    let side = ink.size as f32;
    for _ in 0..spots {
        let place = [
            center[0] + rng.random_range(-1.0..1.0) * spread,
            center[1] + rng.random_range(-1.0..1.0) * spread,
        ];
        let root: f32 = rng.random_range(0.04..0.13);
        let extent = (root * root * 2.4 * side).max(1.5);
        let (squash, turns) = (rng.random_range(0.3..0.9), rng.random());
        let shape = Shape::blob(rng, 0.4, 4).squashed_and_turned(squash, turns);
        let strength = rng.random_range(0.5..1.0);
        for (value, inside) in
            ink.values.iter_mut().zip(shape.placed(place, extent).fill(ink.size).values)
        {
            if inside {
                *value = f32::max(*value, strength);
            }
        }
    }
}

/// A bright rim with a dark middle and a spark.
fn draw_bubble(canvas: &mut Canvas, center: [f32; 2], radius: f32) {
    let size = canvas.size;
    for (x, y, distance) in near(size, center, radius + 1.0) {
        let pixel = y * size + x;
        let rim =
            smoothstep(0.6, 0.9, distance / radius) * smoothstep(1.15, 0.95, distance / radius);
        let color = canvas.get(pixel);
        canvas.set(pixel, mix(color, scaled(color, 1.45), 0.8 * rim));
    }
    let spark = [center[0] - 0.35 * radius, center[1] - 0.35 * radius];
    for (x, y, distance) in near(size, spark, 0.3 * radius) {
        canvas.blend(y * size + x, [1.0, 0.98, 0.95], smoothstep(0.3 * radius, 0.0, distance));
    }
}

/// Raises the ink around a point to `value`, with a soft edge.
fn stamp(ink: &mut Field, center: [f32; 2], width: f32, value: f32) {
    for (x, y, distance) in near(ink.size, center, width + 1.0) {
        let new = value * smoothstep(width + 0.7, (width - 0.7).max(0.0), distance);
        let old = &mut ink.values[y * ink.size + x];
        *old = old.max(new);
    }
}

/// The pixels within `radius` of a point and their distances from it.
fn near(size: usize, center: [f32; 2], radius: f32) -> impl Iterator<Item = (usize, usize, f32)> {
    let range = |middle: f32| {
        let last = size as f32;
        (middle - radius).clamp(0.0, last) as usize
            ..(middle + radius + 1.0).clamp(0.0, last) as usize
    };
    let columns = range(center[0]);
    range(center[1]).flat_map(move |y| {
        columns.clone().filter_map(move |x| {
            let (dx, dy) = (x as f32 + 0.5 - center[0], y as f32 + 0.5 - center[1]);
            let distance = (dx * dx + dy * dy).sqrt();
            (distance <= radius).then_some((x, y, distance))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far, in pixels of 256, soft edges and blurs may carry a lesion beyond its mask.
    const REACH: usize = 12;

    #[test]
    fn only_the_lesion_differs_from_the_same_picture_without_it() {
        for index in 0..12 {
            let picture = Picture::new(21, index, 256);
            let (with, without) = (picture.render(true), picture.render(false));
            // One gray level may come from rounding: blurs keep running sums.
            let differs: Vec<bool> = with
                .pixels()
                .zip(without.pixels())
                .map(|(one, other)| one.0.iter().zip(other.0).any(|(a, b)| a.abs_diff(b) > 1))
                .collect();
            let mask = &picture.lesion.mask;

            let mut near = Field::zeros(256);
            for (value, &inside) in near.values.iter_mut().zip(&mask.values) {
                *value = f32::from(u8::from(inside));
            }
            near.box_blur(REACH);
            let far = differs.iter().zip(&near.values).filter(|(_, near)| **near < 1e-5);
            assert_eq!(far.filter(|(differs, _)| **differs).count(), 0, "index {index}");

            let changed = mask.values.iter().zip(&differs).filter(|(a, b)| **a && **b).count();
            let share = changed as f64 / mask.area() as f64;
            assert!(share > 0.8, "index {index}: {share} of the lesion is visible");
        }
    }

    /// Mean difference that the lesion makes to its pixels, gray levels.
    fn visibility(index: u64) -> f64 {
        let picture = Picture::new(23, index, 128);
        let (with, without) = (picture.render(true), picture.render(false));
        let inside = with.pixels().zip(without.pixels()).zip(&picture.lesion.mask.values);
        let sum: u32 = inside
            .filter(|(_, inside)| **inside)
            .flat_map(|((one, other), _)| one.0.into_iter().zip(other.0))
            .map(|(a, b)| u32::from(a.abs_diff(b)))
            .sum();
        f64::from(sum) / (3 * picture.lesion.mask.area()) as f64
    }

    #[test]
    fn some_lesions_are_plain_and_some_faint_but_none_is_invisible() {
        let mut visible: Vec<f64> = (0..150).map(visibility).collect();
        visible.sort_by(f64::total_cmp);
        assert!(visible[0] > 2.0, "the faintest differs by {} gray levels", visible[0]);
        assert!(visible[15] < 10.0, "a tenth is below {}", visible[15]);
        assert!(visible[75] > 10.0, "half is below {}", visible[75]);
    }

    #[test]
    fn the_mask_is_what_the_scope_shows_of_the_outline() {
        for index in 0..50 {
            let picture = Picture::new(22, index, 128);
            let hidden = picture.lesion.mask.values.iter().zip(&picture.view.values);
            assert!(hidden.filter(|(inside, view)| **inside && **view < 0.5).count() == 0);
        }
    }
}
