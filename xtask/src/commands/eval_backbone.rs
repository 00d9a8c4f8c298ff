//! `cargo xtask eval-backbone`

use std::{path::PathBuf, process::ExitCode, sync::atomic::Ordering};

use clap::Args;
use pretraining::quality::{self, HELD_OUT_SEED, IMAGE_SIZE, Quality, QualitySettings};
use promise::{backbone::Backbone, device::DeviceKind, progress::Progress};
use sam_backbone::Variant;
use serde::Serialize;

use super::one_of;
use crate::{bar::Bar, outln, output::print_json, stop};

/// What the numbers are of, in words.
const PROTOCOL: &str = "no adapter; one object per held-out generated image; IoU of the best of three masks with the exact mask, at the image's own size";

/// Measure how promptable a backbone is by itself, on generated images that it never saw.
#[derive(Args)]
pub struct EvalBackbone {
    #[arg(long, default_value_t = Variant::Micro, help = one_of("Backbone", &Variant::ALL))]
    backbone: Variant,
    /// Weights, `.pth` or `.safetensors`; `micro` has its own.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Images of each kind, natural and phantom.
    #[arg(long, default_value_t = QualitySettings::default().images)]
    images: u64,
    /// Seed of the images.
    #[arg(long, default_value_t = HELD_OUT_SEED)]
    seed: u64,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// Where the numbers come from, then the numbers.
#[derive(Serialize)]
struct Report {
    provenance: Provenance,
    #[serde(flatten)]
    quality: Quality,
}

#[derive(Serialize)]
struct Provenance {
    backbone: &'static str,
    weights_source: String,
    weights_sha256: String,
    parameters: usize,
    input_size: usize,
    low_res_size: usize,
    image_size: u32,
    seed: u64,
    confidence: f64,
    bootstrap_resamples: usize,
    protocol: &'static str,
}

impl EvalBackbone {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let settings = QualitySettings { images: self.images, seed: self.seed };
        settings.check()?;
        let device = self.device.device()?;
        let backbone = Backbone::load(self.backbone, self.weights.as_deref(), &device)?;
        let stop = stop::on_interrupt()?;
        let bar = Bar::new();
        bar.start("eval-backbone", settings.total());
        let quality = quality::evaluate(
            &backbone.sam,
            settings,
            &|| stop.load(Ordering::Relaxed),
            &mut |done| bar.set(done),
        )?;
        bar.finish();
        let report = Report { provenance: Provenance::of(&backbone, &self), quality };
        if self.json {
            print_json(&report)?;
        } else {
            let Report { provenance, quality } = report;
            outln!(
                "{} ({}, SHA-256 {})",
                provenance.backbone,
                provenance.weights_source,
                provenance.weights_sha256
            );
            outln!("{}", provenance.protocol);
            outln!(
                "seed {}, images of {IMAGE_SIZE} x {IMAGE_SIZE}; mean ± deviation over images [{:.0} % interval of the mean]",
                provenance.seed,
                100.0 * provenance.confidence
            );
            outln!("\n{quality}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Provenance {
    fn of(backbone: &Backbone, command: &EvalBackbone) -> Self {
        let sam = &backbone.sam;
        Self {
            backbone: backbone.variant.name(),
            weights_source: backbone.weights_source.clone(),
            weights_sha256: backbone.report.sha256.clone(),
            parameters: sam.num_params(),
            input_size: sam.config().image_encoder.image_size,
            low_res_size: sam.config().low_res_size(),
            image_size: IMAGE_SIZE,
            seed: command.seed,
            confidence: metrics::CONFIDENCE,
            bootstrap_resamples: metrics::BOOTSTRAP_RESAMPLES,
            protocol: PROTOCOL,
        }
    }
}
