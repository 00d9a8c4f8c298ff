//! `cargo xtask data fetch`

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use anyhow::{Context, bail};
use clap::Args;
use data_loaders::{Card, Catalog, error_chain};
use download::{Event, Verified};
use promise::{
    fetch::{Arrived, Item, OnEvent, Terms, fetch_checkpoint, fetch_data},
    progress::Progress as _,
};
use sam_backbone::{KNOWN_CHECKPOINTS, KnownCheckpoint, ResizeMode};

use crate::commands::one_of;
use crate::{bar::Bar, outln, stop};

/// Download data sets and SAM checkpoints. The same command goes on with what was interrupted.
#[derive(Args)]
pub struct Fetch {
    #[arg(required = true, value_name = "NAME", help = one_of("Data sets (`cargo xtask data list`) and checkpoints", &checkpoints()))]
    names: Vec<String>,
    /// Folder below which data sets go.
    #[arg(long, env = "PROMISE_DATA", value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Folder of the checkpoints.
    #[arg(long, value_name = "DIR", default_value = "weights")]
    weights_dir: PathBuf,
    /// Do not ask: the terms have been read.
    #[arg(long)]
    yes: bool,
}

fn checkpoints() -> Vec<&'static str> {
    KNOWN_CHECKPOINTS.iter().map(|known| known.name).collect()
}

impl Fetch {
    /// Downloads.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::built_in();
        let items: Vec<Item<'_>> =
            self.names.iter().map(|name| Item::find(name, &catalog)).collect::<Result<_, _>>()?;
        items.iter().for_each(|item| print_terms(&item.terms()));
        let is_data = |item: &Item<'_>| matches!(item, Item::Data(_)) && item.can_be_fetched();
        if self.data_root.is_none() && items.iter().any(is_data) {
            bail!(
                "say where data sets go with --data-root or PROMISE_DATA; nothing was downloaded"
            );
        }
        if items.iter().any(Item::can_be_fetched) && !self.yes && !agreed()? {
            bail!("nothing was downloaded");
        }
        let stop = stop::on_interrupt()?;
        let mut code = ExitCode::SUCCESS;
        for item in &items {
            match item {
                Item::Checkpoint(known) => self.checkpoint(known, &stop)?,
                Item::Data(card) if item.can_be_fetched() => self.data(card, &catalog, &stop)?,
                Item::Data(card) => {
                    outln!("{}: see `to do` above; it cannot be downloaded from here", card.name);
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }

    fn checkpoint(&self, known: &KnownCheckpoint, stop: &AtomicBool) -> anyhow::Result<()> {
        let arrived = shown(|show| fetch_checkpoint(known, &self.weights_dir, stop, show))?;
        outln!("{}: {}", known.name, described(&arrived));
        // Other weights were trained on images brought to the input in SAM's way, and take any that is near it.
        let resize = match known.resize {
            ResizeMode::MedSam => format!(" --set backbone.resize={}", known.resize),
            _ => String::new(),
        };
        outln!(
            "next: --set backbone.variant={} --set backbone.weights={}{resize}",
            known.variant,
            arrived.path.display()
        );
        Ok(())
    }

    fn data(&self, card: &Card, catalog: &Catalog, stop: &AtomicBool) -> anyhow::Result<()> {
        let root = self.data_root.as_deref().context("no folder for data sets")?;
        let arrived = shown(|show| fetch_data(card, root, catalog, stop, show))?;
        if arrived.files.is_empty() {
            outln!("{}: was there already", card.name);
        }
        arrived.files.iter().for_each(|file| outln!("{}", described(file)));
        for (split, images) in &arrived.splits {
            outln!("{}/{split}: {images} images with masks", card.name);
        }
        outln!("next: cargo xtask data check {} --data-root {}", card.name, root.display());
        Ok(())
    }
}

fn print_terms(terms: &Terms<'_>) {
    outln!("{}, {}", terms.title, terms.home_page);
    outln!("  terms     {}", terms.terms);
    outln!("  citation  {}", terms.citation);
    for download in &terms.downloads {
        let bytes = download.bytes.map(|bytes| format!("{bytes} bytes, ")).unwrap_or_default();
        let checksum =
            if download.has_checksum { "checksum known" } else { "no checksum is known" };
        outln!("  download  {} ({bytes}{checksum})", download.url);
    }
    if let Some(how_to_get) = terms.how_to_get {
        outln!("  to do     {how_to_get}");
    }
    outln!("");
}

/// Does `work` with a bar that shows what it says.
fn shown<T>(work: impl FnOnce(OnEvent<'_>) -> T) -> T {
    let bar = Bar::new();
    let result = work(&mut |name, event| match event {
        Event::Started { done, total } => bar.start_bytes(name, done, total),
        Event::Received { done } => bar.set(done),
        Event::Verifying { done: 0, total } => {
            bar.start_bytes(&format!("verify {name}"), 0, Some(total));
        }
        Event::Unpacking { done: 0, total } => {
            bar.start_bytes(&format!("unpack {name}"), 0, Some(total));
        }
        Event::Verifying { done, .. } | Event::Unpacking { done, .. } => bar.set(done),
        Event::StartedOver { why, lost } => {
            tracing::warn!("{name}: starting over, {lost} bytes were of no use: {why}");
        }
        Event::Waiting { cause, pause, failures, most } => {
            let reasons = error_chain(cause);
            let secs = pause.as_secs_f64();
            tracing::warn!("{name}: {reasons}; trying again in {secs} s ({failures} of {most})");
        }
        _ => {}
    });
    bar.finish();
    result
}

/// Where something is, and how it came.
fn described(arrived: &Arrived) -> String {
    let path = arrived.path.display();
    let Some(fetched) = &arrived.fetched else { return format!("{path} (was there already)") };
    let files =
        arrived.unpacked.map(|files| format!("{files} files; archive ")).unwrap_or_default();
    let from = match fetched.received {
        Some(received) => format!("{received} bytes downloaded"),
        None => "was there already".into(),
    };
    let verified = match fetched.verified {
        Verified::Checksum => "checksum is right",
        Verified::Size => "size is right, no checksum is known",
        Verified::Nothing => "neither size nor checksum are known",
    };
    format!("{path} ({files}{from}, {verified})")
}

/// Whether the person at the terminal agrees.
fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("read the terms above and say --yes");
    }
    eprint!("Download, and keep to these terms? [y/N] ");
    std::io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
