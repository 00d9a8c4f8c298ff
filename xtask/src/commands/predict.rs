//! `cargo xtask predict`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, bail};
use clap::Args;
use promise::{
    backbone::Backbone,
    person::{Combine, PromptFile, UserPrompt},
    predict::predict,
    run::load_run,
};
use run_record::RunFolder;
use sam_backbone::{PointLabel, ResizeMode, Variant};
use serde_json::json;

use super::{Common, one_of};
use crate::{outln, output::print_json};

/// Segment one image, with a trained run or with frozen SAM, prompted by you or by the run.
#[derive(Args)]
pub struct Predict {
    /// The image: png, jpeg, bmp or tiff.
    #[arg(long)]
    image: PathBuf,
    /// A run folder: its backbone, its adapters.
    #[arg(long, conflicts_with_all = ["backbone", "weights"])]
    run: Option<PathBuf>,
    #[arg(long, help = one_of("Frozen SAM without a run", &Variant::ALL))]
    backbone: Option<Variant>,
    /// Weights of the backbone, `.pth` or `.safetensors`; `micro` has its own.
    #[arg(long, requires = "backbone")]
    weights: Option<PathBuf>,
    /// A point in image pixels with its label, `foreground` (or 1) or `background` (or 0). May be given several
    /// times.
    #[arg(long = "point", value_name = "X,Y,LABEL", allow_hyphen_values = true)]
    points: Vec<Point>,
    /// A box in image pixels.
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1", allow_hyphen_values = true)]
    corners: Option<Corners>,
    /// A file of prompts (JSON) with some for this image, by its name.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["points", "corners"])]
    prompts: Option<PathBuf>,
    /// How these prompts and the run's automatic ones go together: `replace`, `add` (all at once) or `correct` (in
    /// rounds: the automatic ones, then yours one by one, each time with the mask before as mask input). By default they
    /// replace them, unless the file says `automatic`, which adds them; what is said here counts, whatever the file says.
    #[arg(long)]
    combine: Option<Combine>,
    /// Where the mask goes: a PNG of the image's size, 0 and 255.
    #[arg(short, long, value_name = "MASK.png")]
    output: PathBuf,
    /// Also write the image with mask and prompts drawn on it.
    #[arg(long, value_name = "O.png")]
    overlay: Option<PathBuf>,
    /// Also write image_embedding, low_res_logits and iou_predictions.
    #[arg(long, value_name = "T.safetensors")]
    save_tensors: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
struct Point([f32; 2], PointLabel);

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, label) =
            text.rsplit_once(',').ok_or("expected x,y,label: two numbers and a word")?;
        let label = match label.trim() {
            "1" | "foreground" => PointLabel::Foreground,
            "0" | "background" => PointLabel::Background,
            _ => return Err("the label is 1 (foreground) or 0 (background)".into()),
        };
        Ok(Self(numbers(place)?, label))
    }
}

#[derive(Clone, Copy)]
struct Corners([f32; 4]);

impl FromStr for Corners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let corners @ [x0, y0, x1, y1] = numbers(text)?;
        if x0 < x1 && y0 < y1 {
            Ok(Self(corners))
        } else {
            Err("the first corner must lie left of and above the second".into())
        }
    }
}

fn numbers<const N: usize>(text: &str) -> Result<[f32; N], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("expected {N} numbers separated by commas"))
}

/// Whether both names lead to one file. A file that is not there yet is no other file.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl Predict {
    fn prompt(&self) -> anyhow::Result<UserPrompt> {
        Ok(match &self.prompts {
            Some(path) => {
                let file = PromptFile::read(path)?;
                file.for_image(&self.image, self.combine, path)?
            }
            None => UserPrompt {
                points: self.points.iter().map(|Point(at, label)| (*at, *label)).collect(),
                box_xyxy: self.corners.map(|Corners(corners)| corners),
                combine: self.combine.unwrap_or_default(),
            },
        })
    }

    /// Predicts and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let outputs = [Some(&self.output), self.overlay.as_ref(), self.save_tensors.as_ref()];
        if outputs.into_iter().flatten().any(|output| same_file(output, &self.image)) {
            bail!("the result would replace the image: {}", self.image.display());
        }
        let prompt = self.prompt()?;
        if self.combine.is_some() && prompt.is_empty() && self.prompts.is_none() {
            bail!("`--combine` is about your prompts: give --point, --box or --prompts with it");
        }
        let device = self.common.device.only()?.device()?;
        let (backbone, adapter, resize) = match (&self.run, self.backbone) {
            (Some(run), _) => {
                let (plan, backbone, adapter) = load_run(&RunFolder::new(run), &device)
                    .with_context(|| format!("cannot load {}", run.display()))?;
                (backbone, Some(adapter), plan.spec.backbone.resize)
            }
            (None, Some(variant)) => {
                let backbone = Backbone::load(variant, self.weights.as_deref(), &device)?;
                (backbone, None, ResizeMode::LongestSide)
            }
            (None, None) => bail!("give a trained run with --run, or frozen SAM with --backbone"),
        };
        let prediction = predict(&self.image, &backbone, adapter.as_deref(), resize, &prompt)
            .with_context(|| format!("cannot segment {}", self.image.display()))?;
        prediction.save_mask(&self.output)?;
        if let Some(path) = &self.overlay {
            prediction.save_overlay(path)?;
        }
        if let Some(path) = &self.save_tensors {
            prediction.save_tensors(path)?;
        }
        let (width, height) = prediction.mask.dimensions();
        if self.json {
            print_json(&json!({
                "mask": self.output,
                "width": width,
                "height": height,
                "points": prediction.points,
                "box": prediction.box_xyxy,
                "used_mask": prediction.used_mask,
                "iou_prediction": prediction.iou_prediction,
            }))?;
        } else {
            outln!(
                "wrote {} ({width} x {height}, predicted IoU {:.3})",
                self.output.display(),
                prediction.iou_prediction
            );
            for path in [&self.overlay, &self.save_tensors].into_iter().flatten() {
                outln!("wrote {}", path.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
