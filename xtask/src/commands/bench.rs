//! `cargo xtask bench`

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use promise::{
    bench_forward::{Part, Question, bench_forward},
    bench_launcher::bench_launcher,
    bench_loader::bench_loader,
    bench_metrics::{Pictures, bench_metrics, make_pictures},
    bench_scaling::{Extent, bench_scaling},
    bench_train::{Amounts, BATCH_SIZE, bench_train},
    device::DeviceKind,
    encode_check::make_reference,
    peers,
};

use sam_backbone::{ResizeMode, Variant};

use promise::run_folder::Existing;
use reporting::{ResultTable, TableOptions};

use super::{ArithmeticOptions, CacheOptions, Common, MemoryOptions, data::Source};
use crate::{bar::Bar, outln, output::print_json};

/// Measure speed, ours and PyTorch's in one go.
#[derive(Args)]
pub struct Bench {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// The image encoder: images of 1024 pixels through ViT-B (or another).
    Encoder(Encoder),
    /// One click on an image that is encoded already.
    Decoder(Forward),
    /// A training step of APM + IPS in the paper's sizes, and an epoch with and without stored features.
    Train(Train),
    /// How the encoder's cost grows with threads, images at once and their size, and an epoch's with the number of images.
    Scaling(Scaling),
    /// A click on the page of `serve`, from the request to its answer.
    Serve(ServeBench),
    /// Scoring one case by protocol `pranet`.
    Metrics(Metrics),
    /// Decoding and preparing of a data set against the encoder (ViT-B, 1024 pixels).
    Loader(Loader),
    /// Handing thousands of runs over to a cluster that exists in memory only: plan, submission, states, table.
    Launcher(Launcher),
}

/// Options of `bench launcher`.
#[derive(Args)]
struct Launcher {
    /// Runs of the plan, at most 10,000.
    #[arg(long, default_value_t = NonZeroU16::new(10_000).expect("not zero"))]
    runs: NonZeroU16,
    /// Folder for runs and results; emptied first.
    #[arg(long, default_value = "target/bench-launcher")]
    folder: PathBuf,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Launcher {
    fn run(self) -> anyhow::Result<ExitCode> {
        let folder = std::path::absolute(&self.folder)?;
        let context =
            self.common.context(&self.cache, &self.memory, folder.clone(), Existing::GoOn)?;
        let table = |runs: &Path| -> anyhow::Result<()> {
            let runs = reporting::load(&[runs])?;
            let table = ResultTable::new(&runs, &TableOptions::default())?;
            run_record::write_bytes(&folder.join("table.md"), table.markdown().as_bytes())?;
            Ok(())
        };
        let bench = bench_launcher(self.runs.into(), &folder, &context, table)?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Options of `bench encoder`.
#[derive(Args)]
struct Encoder {
    /// Images in a pass.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    batch_size: u32,
    #[command(flatten)]
    forward: Forward,
}

/// Options of `bench encoder` and `bench decoder`. Random weights, so nothing is downloaded but PyTorch, which
/// makes them: the first time, a virtual environment of Python is made for it.
#[derive(Args)]
struct Forward {
    /// Also time others on the same weights and input, taking turns: segment-anything, and for the
    /// encoder the same with PyTorch's fused attention, and ONNX Runtime. Fails if outputs do not agree.
    #[arg(long)]
    peers: bool,
    /// Only this peer: `segment_anything`, or for the encoder `torch_sdpa` (fused attention) and `onnxruntime`; may be given
    /// several times.
    #[arg(long = "peer", value_name = "NAME")]
    only: Vec<String>,
    /// Which SAM: `vit_b`, `vit_l`, `vit_h`, or `vit_t` (MobileSAM).
    #[arg(long, default_value_t = Variant::VitB)]
    variant: Variant,
    /// A Python that has the packages of `tools/peers/requirements.txt` already.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder for references, which PyTorch makes, and the virtual environment.
    #[arg(long, default_value = "target/encode-check")]
    reference: PathBuf,
    /// Timed passes, and pairs of passes with each peer.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    #[command(flatten)]
    arithmetic: ArithmeticOptions,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Forward {
    fn run(self, part: Part, batch_size: u32) -> anyhow::Result<ExitCode> {
        let workspace = workspace();
        if self.variant == Variant::Micro {
            anyhow::bail!(
                "`micro` has no peers; expected one of `vit_t`, `vit_b`, `vit_l`, `vit_h`"
            );
        }
        let question = Question {
            part,
            variant: self.variant,
            arithmetic: self.arithmetic.into(),
            batch_size: batch_size as usize,
            pairs: self.pairs as usize,
            peers: part.only(&self.only, self.arithmetic.into())?,
        };
        let python = self.python.as_deref();
        let own = make_reference(&workspace, &self.reference, self.variant, python)?;
        let python = match self.peers || !self.only.is_empty() {
            true => Some(peers::python(&workspace, &self.reference, self.python.as_deref())?),
            false => None,
        };
        let bench = bench_forward(&question, &workspace, &own, python.as_deref(), &Bar::new())?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        bench.agreement()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Options of `bench serve`. Random weights but for `micro`, so nothing is downloaded.
#[derive(Args)]
struct ServeBench {
    /// Which SAM: `micro`, `vit_b`, `vit_l` or `vit_h`.
    #[arg(long, default_value_t = Variant::VitB)]
    variant: Variant,
    /// Clicks that are timed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    prompts: u32,
    /// Images that are encoded meanwhile, for the clicks beside an encoding.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=99))]
    encodings: u32,
    /// Longest side of the image in pixels.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=8192))]
    side: u32,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl ServeBench {
    fn run(self) -> anyhow::Result<ExitCode> {
        let question = serve::bench::Question {
            variant: self.variant,
            prompts: self.prompts as usize,
            encodings: self.encodings as usize,
            side: self.side,
        };
        let bench = serve::bench::bench(&question, self.device)?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Options of `bench metrics`.
#[derive(Args)]
struct Metrics {
    /// Also time pysodmetrics on the same pictures, and compare all numbers.
    #[arg(long)]
    peers: bool,
    /// A Python that has the packages of `tools/peers/metrics/requirements.txt` already.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder of 8-bit predictions, as large as their truths; made-up ones by default.
    #[arg(long, value_name = "DIR", requires = "truth")]
    pred: Option<PathBuf>,
    /// Folder of true masks.
    #[arg(long, value_name = "DIR", requires = "pred")]
    truth: Option<PathBuf>,
    /// Folder for made-up pictures and the virtual environment.
    #[arg(long, default_value = "target/bench-metrics")]
    folder: PathBuf,
    /// Timed repeats of each case; the least counts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Metrics {
    fn run(self) -> anyhow::Result<ExitCode> {
        let workspace = workspace();
        let pictures = match (self.pred, self.truth) {
            (Some(predictions), Some(truths)) => Pictures { predictions, truths },
            _ => make_pictures(&self.folder)?,
        };
        let python = match (self.peers, self.python) {
            (false, _) => None,
            (true, Some(python)) => Some(python),
            (true, None) => {
                let requirements = workspace.join("tools/peers/metrics/requirements.txt");
                Some(peers::python_with(&requirements, &self.folder)?)
            }
        };
        let bench = bench_metrics(
            &workspace,
            &pictures,
            python.as_deref(),
            self.repeats as usize,
            &Bar::new(),
        )?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Options of `bench train`. Random weights, so nothing is downloaded but PyTorch.
#[derive(Args)]
struct Train {
    /// Also time PyTorch, on the same weights and features, its steps in turns with ours. Fails if losses do not agree.
    #[arg(long)]
    peers: bool,
    /// A Python that has the packages of `tools/peers/requirements.txt` already.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder for references, which PyTorch makes, and the virtual environment.
    #[arg(long, default_value = "target/encode-check")]
    reference: PathBuf,
    /// Folder for adapters, features and batch.
    #[arg(long, default_value = "target/bench-train")]
    folder: PathBuf,
    /// Timed encodings of one image.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    encodes: u32,
    /// Images in a step.
    #[arg(long, default_value_t = BATCH_SIZE as u32, value_parser = clap::value_parser!(u32).range(1..=64))]
    batch_size: u32,
    /// Timed training steps, and pairs of steps with PyTorch.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    #[command(flatten)]
    arithmetic: ArithmeticOptions,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Options of `bench loader`. Random weights, so nothing is downloaded but PyTorch, which makes them.
#[derive(Args)]
struct Loader {
    #[command(flatten)]
    source: Source,
    /// How images are brought to the square: `plain`, `longest_side`, `border_crop` or `medsam`.
    #[arg(long, default_value_t = ResizeMode::BorderCrop)]
    mode: ResizeMode,
    /// A Python that has the packages of `tools/peers/requirements.txt` already.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Folder for references, which PyTorch makes, and the virtual environment.
    #[arg(long, default_value = "target/encode-check")]
    reference: PathBuf,
    /// Passes over the data set, and encodings of one image, that are timed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Options of `bench scaling`. Random weights, so nothing is downloaded.
#[derive(Args)]
struct Scaling {
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Numbers of images at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    batch_sizes: Vec<usize>,
    /// Sides of images in pixels, multiples of 16.
    #[arg(long, value_delimiter = ',', default_values_t = [256, 512, 768, 1024])]
    image_sizes: Vec<usize>,
    /// Numbers of training images, at most 3,200.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 100, 200, 400])]
    images: Vec<usize>,
    /// Timed passes of the encoder, and epochs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Folder for features.
    #[arg(long, default_value = "target/bench-scaling")]
    folder: PathBuf,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

impl Scaling {
    fn run(self) -> anyhow::Result<ExitCode> {
        let extent = Extent {
            passes: self.repeats as usize,
            epochs: self.repeats as usize,
            threads: self.threads,
            batch_sizes: self.batch_sizes,
            image_sizes: self.image_sizes,
            images: self.images,
        };
        let bench = bench_scaling(&self.folder, &extent, self.device, &Bar::new())?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Bench {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            BenchCommand::Encoder(Encoder { batch_size, forward }) => {
                forward.run(Part::Encoder, batch_size)
            }
            BenchCommand::Decoder(forward) => forward.run(Part::Decoder, 1),
            BenchCommand::Train(train) => train.run(),
            BenchCommand::Scaling(scaling) => scaling.run(),
            BenchCommand::Serve(serve) => serve.run(),
            BenchCommand::Metrics(metrics) => metrics.run(),
            BenchCommand::Loader(loader) => loader.run(),
            BenchCommand::Launcher(launcher) => launcher.run(),
        }
    }
}

impl Loader {
    fn run(self) -> anyhow::Result<ExitCode> {
        let python = self.python.as_deref();
        let own = make_reference(&workspace(), &self.reference, Variant::VitB, python)?;
        let bench = bench_loader(
            &self.source.open()?,
            self.mode,
            &own.join("weights.safetensors"),
            self.repeats as usize,
            &self.device.device()?,
            &Bar::new(),
        )?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Train {
    fn run(self) -> anyhow::Result<ExitCode> {
        let workspace = workspace();
        let own =
            make_reference(&workspace, &self.reference, Variant::VitB, self.python.as_deref())?;
        let python = match self.peers {
            true => Some(peers::python(&workspace, &self.reference, self.python.as_deref())?),
            false => None,
        };
        let bench = bench_train(
            &workspace,
            &own.join("weights.safetensors"),
            &self.folder,
            python.as_deref(),
            Amounts {
                batch_size: self.batch_size as usize,
                encodes: self.encodes as usize,
                steps: self.steps as usize,
            },
            self.arithmetic.into(),
            &Bar::new(),
        )?;
        match self.json {
            true => print_json(&bench)?,
            false => outln!("{}", bench.markdown().trim_end()),
        }
        bench.agreement()?;
        Ok(ExitCode::SUCCESS)
    }
}
