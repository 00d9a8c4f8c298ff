//! Writes one picture of many images of a synthetic world, each beside its masks, to look at them.
//!
//! The ending of the file name decides the format, e.g. `.png` or `.jpg`. Seed and first index are
//! 0 unless given. The sheets of docs/book are made by it, with the commands that stand there.
//!
//! ```sh
//! cargo run -p data-loaders --example contact_sheet -- phantom sheet.png [SEED] [FIRST]
//! cargo run -p data-loaders --example contact_sheet -- natural sheet.jpg
//! ```

use std::error::Error;

use data_loaders::TruthMask;
use data_loaders::synthetic::{DEFAULT_SIZE, natural, phantom};
use image::{Rgb, RgbImage, imageops};

/// Pairs of an image and its masks beside each other: two fill the width of a page of text at nearly
/// full size.
const COLUMNS: u32 = 2;
const ROWS: u32 = 4;

/// Pixels between two pairs, so that it is plain which masks belong to which image.
const GAP: u32 = 12;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);

/// Colors of the masks, by turns.
const PALETTE: [[u8; 3]; 8] = [
    [230, 60, 60],
    [60, 180, 75],
    [0, 130, 200],
    [245, 200, 40],
    [145, 30, 180],
    [70, 240, 240],
    [240, 130, 230],
    [170, 255, 195],
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (world, path) = match arguments.as_slice() {
        [world, path, ..] => (world.as_str(), path),
        _ => return Err("usage: contact_sheet phantom|natural FILE [SEED] [FIRST]".into()),
    };
    let number = |position: usize| arguments.get(position).map_or(Ok(0), |text| text.parse());
    let (seed, first): (u64, u64) = (number(2)?, number(3)?);

    let (step_x, step_y) = (2 * DEFAULT_SIZE + GAP, DEFAULT_SIZE + GAP);
    let (width, height) = (COLUMNS * step_x - GAP, ROWS * step_y - GAP);
    let mut sheet = RgbImage::from_pixel(width, height, BACKGROUND);
    for position in 0..COLUMNS * ROWS {
        let index = first + u64::from(position);
        let (image, masks) = match world {
            "phantom" => {
                let (image, truth) = phantom(seed, index, DEFAULT_SIZE);
                (image, vec![truth])
            }
            "natural" => {
                let scene = natural(seed, index, DEFAULT_SIZE);
                (scene.image, scene.objects)
            }
            other => return Err(format!("`{other}` is neither phantom nor natural").into()),
        };
        let left = i64::from(position % COLUMNS * step_x);
        let top = i64::from(position / COLUMNS * step_y);
        imageops::replace(&mut sheet, &image, left, top);
        imageops::replace(&mut sheet, &painted(&masks), left + i64::from(DEFAULT_SIZE), top);
    }
    sheet.save(path)?;
    println!("{path}: {} images of {world}, seed {seed}, from index {first}", COLUMNS * ROWS);
    Ok(())
}

/// All masks in one picture, a color each; parts hide their wholes.
fn painted(masks: &[TruthMask]) -> RgbImage {
    RgbImage::from_fn(DEFAULT_SIZE, DEFAULT_SIZE, |x, y| {
        let top = masks.iter().rposition(|mask| mask.at(x, y));
        Rgb(top.map_or([0; 3], |mask| PALETTE[mask % PALETTE.len()]))
    })
}
