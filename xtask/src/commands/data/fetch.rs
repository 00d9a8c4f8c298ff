//! `cargo xtask data fetch`

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use anyhow::{Context, bail};
use clap::Args;
use data_loaders::{Card, Catalog, DataError, DataSet, Download, reasons};
use download::{
    Event, Fetched, Installed, Limits, MAX_SIZE, Package, Request, Settings, Verified, fetch,
    install,
};
use promise::progress::Progress as _;
use sam_backbone::{KNOWN_CHECKPOINTS, KnownCheckpoint, Variant};

use crate::{bar::Bar, outln, stop};

/// Download data sets and SAM checkpoints. The same command goes on with what was interrupted.
#[derive(Args)]
pub struct Fetch {
    /// Data sets (`cargo xtask data list`) and checkpoints: vit_b, vit_l, vit_h.
    #[arg(required = true, value_name = "NAME")]
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

/// What a name stands for.
enum Item<'a> {
    Data(&'a Card),
    Checkpoint(&'static KnownCheckpoint),
}

impl<'a> Item<'a> {
    fn find(name: &str, catalog: &'a Catalog) -> anyhow::Result<Self> {
        if let Some(card) = catalog.get(name) {
            return Ok(Self::Data(card));
        }
        let variant = name.parse::<Variant>().ok();
        if let Some(known) = variant.and_then(KnownCheckpoint::of) {
            return Ok(Self::Checkpoint(known));
        }
        let data = catalog.cards().iter().map(|card| card.name.as_str());
        let checkpoints = KNOWN_CHECKPOINTS.iter().map(|known| known.variant.name());
        let known: Vec<_> = data.chain(checkpoints).collect();
        bail!("nothing to download is called `{name}`; known are {}", known.join(", "))
    }

    fn print_terms(&self) {
        match self {
            Self::Data(card) => {
                outln!("{}, {}", card.title, card.home_page);
                outln!("  terms     {}", card.terms);
                outln!("  citation  {}", card.citation);
                for download in &card.downloads {
                    let checksum = match download.sha256 {
                        Some(_) => "checksum known",
                        None => "no checksum is known",
                    };
                    outln!("  download  {} ({checksum})", download.url);
                }
                if let Some(how_to_get) = &card.how_to_get {
                    outln!("  to do     {how_to_get}");
                }
            }
            Self::Checkpoint(known) => {
                outln!("Segment Anything, {}", known.variant);
                outln!("  terms     Apache License 2.0");
                outln!("  citation  Kirillov A. et al., Segment Anything, ICCV 2023");
                outln!("  download  {} ({} bytes, checksum known)", known.url(), known.size);
            }
        }
        outln!("");
    }

    fn can_be_fetched(&self) -> bool {
        match self {
            Self::Data(card) => !card.downloads.is_empty(),
            Self::Checkpoint(_) => true,
        }
    }
}

impl Fetch {
    /// Downloads.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::built_in();
        let items: Vec<Item<'_>> =
            self.names.iter().map(|name| Item::find(name, &catalog)).collect::<Result<_, _>>()?;
        items.iter().for_each(Item::print_terms);
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
        let target = self.weights_dir.join(known.file_name);
        let request = Request {
            url: known.url(),
            sha256: Some(known.sha256.parse().context("a checkpoint's checksum is wrong")?),
            size: Some(known.size),
            max_size: known.size,
            target: target.clone(),
        };
        let fetched =
            shown(known.file_name, |show| fetch(&request, &Settings::default(), stop, show))
                .with_context(|| format!("cannot fetch {}", known.variant))?;
        outln!("{}: {} ({})", known.variant, target.display(), described(&fetched));
        outln!(
            "next: --set backbone.variant={} --set backbone.weights={}",
            known.variant,
            target.display()
        );
        Ok(())
    }

    fn data(&self, card: &Card, catalog: &Catalog, stop: &AtomicBool) -> anyhow::Result<()> {
        let Some(root) = self.data_root.as_deref() else {
            bail!("say where data sets go with --data-root or PROMISE_DATA");
        };
        let open = || -> Vec<(String, Result<DataSet, DataError>)> {
            let splits = card.split_names().into_iter();
            splits
                .map(|split| {
                    let set = DataSet::open(&card.name, &split, Some(root), catalog);
                    (split, set)
                })
                .collect()
        };
        if open().iter().all(|(_, set)| set.is_ok()) {
            outln!("{}: was there already", card.name);
        } else {
            for download in &card.downloads {
                one_download(download, root, stop)
                    .with_context(|| format!("cannot fetch {}", card.name))?;
            }
        }
        let mut incomplete = Vec::new();
        for (split, set) in open() {
            match set {
                Ok(set) => outln!("{}/{split}: {} images with masks", card.name, set.len()),
                Err(error) => incomplete.push(format!("{split}: {error}")),
            }
        }
        if !incomplete.is_empty() {
            bail!(
                "{} is not complete; a folder of its that was there before was left alone, so move it away and fetch again ({})",
                card.name,
                incomplete.join("; ")
            );
        }
        outln!("next: cargo xtask data check {} --data-root {}", card.name, root.display());
        Ok(())
    }
}

/// One file of a card, unpacked if it is an archive.
fn one_download(download: &Download, root: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let place = root.join(&download.into);
    let name = download.file_name();
    let request = Request {
        url: download.url.clone(),
        sha256: download.sha256.as_deref().map(str::parse).transpose()?,
        size: download.bytes,
        max_size: MAX_SIZE,
        target: if download.unpack { root.join(name) } else { place.clone() },
    };
    let settings = Settings::default();
    if !download.unpack {
        let fetched = shown(name, |show| fetch(&request, &settings, stop, show))?;
        outln!("{} ({})", place.display(), described(&fetched));
        return Ok(());
    }
    let package = Package { archive: request, folder: place.clone(), limits: Limits::default() };
    match shown(name, |show| install(&package, &settings, stop, show))? {
        Installed::AlreadyThere => outln!("{} (was there already)", place.display()),
        Installed::Now { fetched, unpacked } => outln!(
            "{} ({} files; archive {})",
            place.display(),
            unpacked.files,
            described(&fetched)
        ),
    }
    Ok(())
}

/// Does `work` with a bar that shows what it says.
fn shown<T>(name: &str, work: impl FnOnce(&mut dyn FnMut(Event<'_>)) -> T) -> T {
    let bar = Bar::new();
    let result = work(&mut |event| match event {
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
            let reasons = reasons(cause).join("; ");
            let secs = pause.as_secs_f64();
            tracing::warn!("{name}: {reasons}; trying again in {secs} s ({failures} of {most})");
        }
        _ => {}
    });
    bar.finish();
    result
}

fn described(fetched: &Fetched) -> String {
    let from = match fetched.received {
        Some(received) => format!("{received} bytes downloaded"),
        None => "was there already".into(),
    };
    let verified = match fetched.verified {
        Verified::Checksum => "checksum is right",
        Verified::Size => "size is right, no checksum is known",
        Verified::Nothing => "neither size nor checksum are known",
    };
    format!("{from}, {verified}")
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
