//! What each augmentation does to one image on average, as CSV: for `tools/augmentation/compare.py`.
//!
//! ```sh
//! cargo run -p data-loaders --example augmentation_moments -- IMAGE MASK DRAWS
//! ```

use std::error::Error;
use std::path::Path;

use data_loaders::augment::{AugmentSpec, Blur, Plan, Step};
use data_loaders::{TruthMask, decode_image, decode_mask};
use image::RgbImage;

/// A name, the spec in which only its group happens, and which of the group's steps it is.
type Kind = (&'static str, AugmentSpec, fn(&Step) -> bool);

fn kinds() -> Vec<Kind> {
    let off = AugmentSpec::off;
    let crop = AugmentSpec { crop_probability: 1.0, ..off() };
    let warp = AugmentSpec { warp_probability: 1.0, ..off() };
    let blur = AugmentSpec { blur_probability: 1.0, ..off() };
    let tone = AugmentSpec { tone_probability: 1.0, ..off() };
    let texture = AugmentSpec { texture_probability: 1.0, ..off() };
    let dropout = AugmentSpec { dropout_probability: 1.0, ..off() };
    vec![
        ("crop", crop, |_| true),
        ("warp", warp, |_| true),
        ("blur_mean", blur.clone(), |step| matches!(step, Step::Blur(Blur::Mean { .. }))),
        ("blur_gaussian", blur.clone(), |step| matches!(step, Step::Blur(Blur::Gaussian { .. }))),
        ("blur_median", blur.clone(), |step| matches!(step, Step::Blur(Blur::Median { .. }))),
        ("blur_motion", blur, |step| matches!(step, Step::Blur(Blur::Motion { .. }))),
        ("tone", tone, |_| true),
        ("clahe", texture.clone(), |step| matches!(step, Step::Clahe { .. })),
        ("sharpen", texture.clone(), |step| matches!(step, Step::Sharpen(_))),
        ("jpeg", texture.clone(), |step| matches!(step, Step::Jpeg { .. })),
        ("noise", texture, |step| matches!(step, Step::Noise(_))),
        ("dropout", dropout, |_| true),
        ("all", AugmentSpec::default(), |_| true),
    ]
}

/// Mean, deviation, share of changed pixels, mean change, share of the mask.
const STATISTICS: [&str; 5] = ["mean", "sd", "changed", "change", "foreground"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, mask, draws] = arguments.as_slice() else {
        return Err("usage: augmentation_moments IMAGE MASK DRAWS".into());
    };
    let image = decode_image(Path::new(image))?;
    let mask = decode_mask(Path::new(mask))?.truth;
    let draws: usize = draws.parse()?;
    println!("kind,statistic,mean,sd");
    for (name, spec, wanted) in kinds() {
        let plans = (0..).map(|sample| Plan::draw(&spec, image.dimensions(), 1, 0, sample));
        let values: Vec<[f64; 5]> = plans
            .filter(|plan| plan.steps.iter().all(wanted))
            .take(draws)
            .map(|plan| {
                let (changed, moved) = plan.apply(&image, &mask);
                statistics(&image, &changed, &moved)
            })
            .collect();
        for (at, statistic) in STATISTICS.iter().enumerate() {
            let n = values.len() as f64;
            let mean = values.iter().map(|value| value[at]).sum::<f64>() / n;
            let square = values.iter().map(|value| (value[at] - mean).powi(2)).sum::<f64>() / n;
            println!("{name},{statistic},{mean:.5},{:.5}", square.sqrt());
        }
    }
    Ok(())
}

fn statistics(before: &RgbImage, after: &RgbImage, mask: &TruthMask) -> [f64; 5] {
    let n = after.as_raw().len() as f64;
    let levels = || after.as_raw().iter().map(|&value| f64::from(value));
    let mean = levels().sum::<f64>() / n;
    let sd = (levels().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    let pairs = || before.pixels().zip(after.pixels());
    let changed = pairs().filter(|(before, after)| before != after).count() as f64;
    let change: u64 = before
        .as_raw()
        .iter()
        .zip(after.as_raw())
        .map(|(before, after)| u64::from(before.abs_diff(*after)))
        .sum();
    [mean, sd, changed / (n / 3.0), change as f64 / n, mask.foreground_share()]
}
