//! Writes a PNG with many images of a synthetic world beside their masks, to look at them.
//!
//! ```sh
//! cargo run -p data-loaders --example contact_sheet -- phantom sheet.png [seed] [first index]
//! cargo run -p data-loaders --example contact_sheet -- natural sheet.png
//! ```

use std::error::Error;

use data_loaders::TruthMask;
use data_loaders::synthetic::{DEFAULT_SIZE, natural, phantom};
use image::{Rgb, RgbImage, imageops};

const COLUMNS: u32 = 4;
const ROWS: u32 = 5;

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
        _ => return Err("usage: contact_sheet phantom|natural FILE.png [SEED] [FIRST]".into()),
    };
    let number = |position: usize| arguments.get(position).map_or(Ok(0), |text| text.parse());
    let (seed, first): (u64, u64) = (number(2)?, number(3)?);

    let mut sheet = RgbImage::new(2 * COLUMNS * DEFAULT_SIZE, ROWS * DEFAULT_SIZE);
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
        let left = i64::from(position % COLUMNS * 2 * DEFAULT_SIZE);
        let top = i64::from(position / COLUMNS * DEFAULT_SIZE);
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
