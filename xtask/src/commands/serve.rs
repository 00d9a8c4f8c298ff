//! `cargo xtask serve`

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use promise::device::DeviceKind;
use run_record::RunFolder;
use sam_backbone::Variant;
use serde_json::json;
use serve::{
    AllowedHost, Gallery, Library, Limits, Models, PromiseEngine, RunList, Server, Settings,
    default_runs,
};

use super::one_of;
use crate::{outln, output::print_json, stop};

/// Open a local page: click on images, compare methods side by side, watch runs.
///
/// Without options it serves the finished runs of the quickstart, or `micro` alone if there are none, on generated images.
#[derive(Args)]
pub struct Serve {
    /// A finished run to compare; may be given several times. Frozen SAM stands beside.
    #[arg(long = "run", value_name = "RUN")]
    run: Vec<PathBuf>,
    /// A folder of images: png, jpeg, bmp or tiff.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    images: Option<PathBuf>,
    /// A folder of true masks with the same stems, for live scores.
    #[arg(long, value_name = "DIR", requires = "images")]
    masks: Option<PathBuf>,
    /// A data set instead.
    #[arg(long, value_name = "NAME", default_value = "phantom")]
    data: String,
    /// Its split.
    #[arg(long, default_value = "test")]
    split: String,
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
    #[arg(long, help = one_of("Plain SAM besides the runs, or alone", &Variant::ALL))]
    backbone: Option<Variant>,
    /// Weights of the backbone, `.pth` or `.safetensors`; `micro` has its own.
    #[arg(long, requires = "backbone")]
    weights: Option<PathBuf>,
    /// Folder of run folders that the page lists and watches.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// The one folder that the page may write into; without it, exports are downloads.
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Port; 0 takes any that is free.
    #[arg(long, default_value_t = 8731)]
    port: u16,
    /// Address to listen on. Whoever reaches another one than that of this machine can see images and runs: there is no
    /// password.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// A name, besides `localhost` and addresses, by which browsers may ask; `NAME:PORT` where a tunnel or a proxy has
    /// another port. May be given several times.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<AllowedHost>,
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Print the address as JSON.
    #[arg(long)]
    json: bool,
}

impl Serve {
    /// Answers until somebody stops it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let by_default = self.run.is_empty() && self.backbone.is_none();
        let runs: Vec<RunFolder> = match by_default {
            true => default_runs(&self.runs),
            false => self.run.iter().map(RunFolder::new).collect(),
        };
        let gallery = match &self.images {
            Some(images) => Gallery::of_folder(images, self.masks.as_deref())?,
            None => Gallery::of_data(&self.data, &self.split, self.data_root.as_deref())?,
        };
        let backbone = self.backbone.map(|variant| (variant, self.weights));
        let models = Models {
            runs: runs.clone(),
            leave_out_broken: by_default,
            backbone,
            device: self.device,
        };
        let engine = Arc::new(PromiseEngine::load(&models)?);
        let settings = Settings {
            host: self.host,
            port: self.port,
            allowed_hosts: self.allow_host,
            export: self.export,
            command: command(),
            limits: Limits::default(),
        };
        let list = RunList::new(self.runs, runs);
        let server = Server::bind(&settings, engine, Library::new(gallery).with_mark(), list)?;
        let stop = stop::in_silence()?;
        match self.json {
            true => print_json(&json!({ "url": server.url() }))?,
            false => outln!("{}  (Ctrl-C stops)", server.url()),
        }
        if !self.host.is_loopback() {
            tracing::warn!("everybody who reaches {} can see images and runs", server.address());
        }
        server.run(&stop);
        Ok(stop::code().map_or(ExitCode::SUCCESS, ExitCode::from))
    }
}

/// The command line, for figures to name.
fn command() -> String {
    let words = std::env::args().skip(1);
    std::iter::once("cargo xtask".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
