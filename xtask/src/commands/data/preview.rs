//! `cargo xtask data preview`

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use data_loaders::augment::{AugmentSpec, Pair, contact_sheet, drawn_cases, sample_key};
use data_loaders::{TruthMask, error_chain};
use promise::{frame::prepared, png};
use sam_backbone::ResizeMode;

use super::source::Source;
use crate::outln;

/// Options of `data preview`.
#[derive(Args)]
pub struct Preview {
    #[command(flatten)]
    source: Source,
    /// Images, drawn by the seed.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    n: u32,
    /// Augmented versions beside each image.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=32))]
    columns: u32,
    /// Which images, and what happens to them.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Augmentation as TOML; keys that are missing are the paper's.
    #[arg(long, value_name = "FILE.toml")]
    spec: Option<PathBuf>,
    /// How images are brought to the square: `plain`, `longest_side`, `border_crop` or `medsam`.
    #[arg(long, default_value_t = ResizeMode::BorderCrop)]
    mode: ResizeMode,
    /// Side of the square that is augmented, in pixels.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: u32,
    /// Side of a picture on the sheet, in pixels.
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u32).range(16..=1024))]
    tile: u32,
    /// The sheet, a PNG.
    #[arg(short, long, value_name = "FILE.png")]
    out: PathBuf,
}

impl Preview {
    /// Draws and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let spec = match &self.spec {
            Some(path) => AugmentSpec::read(path)?,
            None => AugmentSpec::default(),
        };
        let set = self.source.open()?;
        let mut pairs = Vec::new();
        let drawn = drawn_cases(set.len(), self.n as usize, self.seed);
        let skipped = set.load_each(&drawn, |case| {
            let input = prepared(&case, self.mode, self.size as usize);
            let mask = TruthMask::from_gray(&input.mask);
            pairs.push(Pair { image: input.image, mask, sample: sample_key(&case.data, &case.id) });
        });
        for case in &skipped {
            outln!("skipped {}: {}", case.id, error_chain(&case.reason));
        }
        ensure!(!pairs.is_empty(), "none of the {} drawn images can be read", drawn.len());
        let sheet = contact_sheet(&pairs, &spec, self.seed, self.columns, self.tile);
        png::save(&sheet.into(), &self.out)
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        outln!(
            "{}: {} images of {} {}, seed {}, each as it is and {} times augmented",
            self.out.display(),
            pairs.len(),
            set.name(),
            set.split(),
            self.seed,
            self.columns
        );
        Ok(if skipped.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
