//! What holds for every augmentation, whatever it does.

use image::{Rgb, RgbImage};

use super::plan::{Plan, Step};
use super::*;

const SIZE: u32 = 96;

/// A bright disk off the center on a dark, slightly structured ground, and its mask.
fn disk() -> (RgbImage, TruthMask) {
    let inside = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) - 40.0, f64::from(y) - 52.0);
        x * x + y * y <= 24.0 * 24.0
    };
    let image = RgbImage::from_fn(SIZE, SIZE, |x, y| {
        if inside(x, y) {
            Rgb([210, 200, 190])
        } else {
            Rgb([(20 + x % 7) as u8, (15 + y % 5) as u8, 20])
        }
    });
    let values = (0..SIZE * SIZE).map(|at| inside(at % SIZE, at / SIZE)).collect();
    (image, TruthMask::new(SIZE, SIZE, values))
}

fn bright(image: &RgbImage) -> Vec<bool> {
    image.pixels().map(|pixel| pixel.0[1] > 110).collect()
}

fn iou(a: &[bool], b: &[bool]) -> f64 {
    let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
    let any = a.iter().zip(b).filter(|(a, b)| **a || **b).count();
    both as f64 / any as f64
}

/// Which group a step is of.
fn group(step: &Step) -> usize {
    match step {
        Step::Crop(_) => 0,
        Step::FlipX => 1,
        Step::FlipY => 2,
        Step::Warp(_) => 3,
        Step::Blur(_) => 4,
        Step::Tone(_) => 5,
        Step::Clahe { .. } | Step::Sharpen(_) | Step::Jpeg { .. } | Step::Noise(_) => 6,
        Step::Dropout(_) => 7,
    }
}

fn always() -> AugmentSpec {
    AugmentSpec {
        crop_probability: 1.0,
        flip_x_probability: 1.0,
        flip_y_probability: 1.0,
        warp_probability: 1.0,
        blur_probability: 1.0,
        tone_probability: 1.0,
        texture_probability: 1.0,
        dropout_probability: 1.0,
        ..AugmentSpec::default()
    }
}

#[test]
fn the_same_seed_epoch_and_sample_give_the_same_bytes_in_any_order() {
    let (image, mask) = disk();
    let one = |sample: u64| augment(&image, &mask, &always(), 1, 2, sample);
    let forward: Vec<_> = (0..12).map(one).collect();
    let mut backward: Vec<_> = (0..12).rev().map(one).collect();
    backward.reverse();
    assert_eq!(forward, backward);
}

#[test]
fn another_seed_epoch_or_sample_gives_something_else() {
    let plan = |seed, epoch, sample| Plan::draw(&always(), (SIZE, SIZE), seed, epoch, sample);
    let plans = [plan(1, 2, 3), plan(2, 2, 3), plan(1, 3, 3), plan(1, 2, 4), plan(3, 2, 1)];
    for (at, one) in plans.iter().enumerate() {
        for other in &plans[at + 1..] {
            assert_ne!(one, other);
        }
    }
    assert_ne!(sample_key("ab", "c"), sample_key("a", "bc"));
    // FNV-1a of "a", 0xFF, "b", computed by hand.
    let by_hand = b"a\xFFb".iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(sample_key("a", "b"), by_hand);
}

#[test]
fn at_probability_0_nothing_changes() {
    let (image, mask) = disk();
    for sample in 0..50 {
        let (same_image, same_mask) = augment(&image, &mask, &AugmentSpec::off(), 1, 1, sample);
        assert_eq!((&same_image, &same_mask), (&image, &mask));
    }
}

#[test]
fn switching_one_group_off_leaves_the_others_as_they_were() {
    let off: [fn(&mut AugmentSpec); 8] = [
        |spec| spec.crop_probability = 0.0,
        |spec| spec.flip_x_probability = 0.0,
        |spec| spec.flip_y_probability = 0.0,
        |spec| spec.warp_probability = 0.0,
        |spec| spec.blur_probability = 0.0,
        |spec| spec.tone_probability = 0.0,
        |spec| spec.texture_probability = 0.0,
        |spec| spec.dropout_probability = 0.0,
    ];
    for (number, off) in off.into_iter().enumerate() {
        let mut spec = always();
        off(&mut spec);
        let mut all = Plan::draw(&always(), (SIZE, SIZE), 1, 1, 1).steps;
        assert_eq!(all.iter().map(group).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
        all.retain(|step| group(step) != number);
        assert_eq!(Plan::draw(&spec, (SIZE, SIZE), 1, 1, 1).steps, all);
    }
}

#[test]
fn each_group_happens_as_often_as_its_probability_says() {
    const DRAWS: u32 = 2000;
    let spec = AugmentSpec::default();
    let mut counts = [0_u32; 8];
    let mut textures = [0_u32; 4];
    for sample in 0..DRAWS {
        for step in Plan::draw(&spec, (SIZE, SIZE), 11, 0, u64::from(sample)).steps {
            counts[group(&step)] += 1;
            match step {
                Step::Clahe { .. } => textures[0] += 1,
                Step::Sharpen(_) => textures[1] += 1,
                Step::Jpeg { .. } => textures[2] += 1,
                Step::Noise(_) => textures[3] += 1,
                _ => {}
            }
        }
    }
    let within = |count: u32, probability: f64| {
        let n = f64::from(DRAWS);
        let deviation = (n * probability * (1.0 - probability)).sqrt();
        // 3.5 deviations: one of twelve counts is outside once in 180 seeds.
        (f64::from(count) - n * probability).abs() < 3.5 * deviation
    };
    for count in &counts[..7] {
        assert!(within(*count, 0.25), "{counts:?}");
    }
    assert!(within(counts[7], 0.1), "{counts:?}");
    assert!(textures.iter().all(|&count| within(count, 0.25 / 4.0)), "{textures:?}");
}

#[test]
fn parameters_fill_their_ranges_and_stay_in_them() {
    let spec = AugmentSpec { jpeg_quality: [70, 90], ..always() };
    let mut ranges: Vec<(&str, f64, f64, [f64; 2])> = Vec::new();
    for sample in 0..2000 {
        for step in Plan::draw(&spec, (640, 480), 5, 1, sample).steps {
            let mut see = |name, value: f64, range| match ranges
                .iter_mut()
                .find(|(known, ..)| *known == name)
            {
                Some((_, low, high, _)) => {
                    *low = low.min(value);
                    *high = high.max(value);
                }
                None => ranges.push((name, value, value, range)),
            };
            match step {
                Step::Warp(warp) => {
                    see("degrees", warp.degrees, [-45.0, 45.0]);
                    see("scale", warp.scale, [0.95, 1.05]);
                    see("shift_x", warp.shift_x, [-0.0625, 0.0625]);
                    see("shift_y", warp.shift_y, [-0.0625, 0.0625]);
                }
                Step::Tone(tone) => {
                    see("brightness", tone.brightness, [-0.1, 0.1]);
                    see("contrast", tone.contrast, [0.9, 1.1]);
                }
                Step::Blur(blur) => see("side", f64::from(blur.side()), [3.0, 5.0]),
                Step::Clahe { clip } => see("clip", clip, [1.0, 2.0]),
                Step::Sharpen(sharpen) => {
                    see("alpha", sharpen.alpha, [0.2, 0.5]);
                    see("lightness", sharpen.lightness, [0.5, 1.0]);
                }
                Step::Jpeg { quality } => see("quality", f64::from(quality), [70.0, 90.0]),
                Step::Noise(noise) => see("variance", noise.variance, [10.0, 50.0]),
                Step::Crop(_) | Step::FlipX | Step::FlipY | Step::Dropout(_) => {}
            }
        }
    }
    assert_eq!(ranges.len(), 12);
    for (name, low, high, [from, to]) in ranges {
        assert!(from <= low && high <= to, "{name}: {low} to {high}");
        // Hundreds of even draws leave no more than a twentieth of the range empty at either end.
        let margin = 0.05 * (to - from);
        assert!(low < from + margin && high > to - margin, "{name}: {low} to {high}");
    }
}

#[test]
fn the_mask_moves_with_the_image() {
    let (image, mask) = disk();
    let geometry = AugmentSpec {
        crop_probability: 0.7,
        crop_area: [0.6, 1.0],
        flip_x_probability: 0.5,
        flip_y_probability: 0.5,
        warp_probability: 0.7,
        ..AugmentSpec::off()
    };
    let mut moved = 0;
    for sample in 0..200 {
        let (image, mask) = augment(&image, &mask, &geometry, 3, 1, sample);
        let iou = iou(&bright(&image), &mask.values);
        assert!(iou > 0.95, "sample {sample}: {iou}");
        moved += u32::from(mask != disk().1);
    }
    assert!(moved > 150, "{moved}");
    for view in View::first(40) {
        let (image, mask) = view.apply(&image, &mask);
        let iou = iou(&bright(&image), &mask.values);
        assert!(iou > 0.95, "{}: {iou}", view.id());
    }
}

#[test]
fn what_moves_nothing_leaves_the_mask_alone() {
    let (image, mask) = disk();
    let still = AugmentSpec {
        crop_probability: 0.0,
        flip_x_probability: 0.0,
        flip_y_probability: 0.0,
        warp_probability: 0.0,
        ..always()
    };
    for sample in 0..40 {
        let (changed, same) = augment(&image, &mask, &still, 3, 1, sample);
        assert_eq!(same, mask);
        assert_ne!(changed, image);
        // 8 holes of 64 pixels are 5 % of the image; a blur moves an edge by a pixel at most.
        let holes = changed.pixels().filter(|pixel| pixel.0 == [0; 3]).count();
        assert!(holes >= 64, "{holes}");
    }
}

#[test]
fn images_of_one_pixel_and_of_one_row_survive_everything() {
    for (width, height) in [(1, 1), (1, 40), (40, 1), (2, 3)] {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([(3 * x + 5 * y) as u8, 60, 200]));
        let mask = TruthMask::new(width, height, vec![true; (width * height) as usize]);
        for sample in 0..60 {
            let (image, mask) = augment(&image, &mask, &always(), 1, 1, sample);
            assert_eq!(image.dimensions(), (width, height));
            assert_eq!(mask.foreground_share(), 1.0);
        }
    }
}
