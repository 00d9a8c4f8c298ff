//! `data check`

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use data_audit::audit;
use data_loaders::{Catalog, Inventory};
use promise::progress::Progress as _;

use crate::{bar::Bar, outln, output::print_json};

/// Options of `data check`.
#[derive(Args)]
pub struct Check {
    /// Name of a data set that has a card, e.g. `kvasir-seg`.
    #[arg(required_unless_present = "images", conflicts_with = "images")]
    name: Option<String>,
    /// Folder of images, for a set without a card.
    #[arg(long, requires = "masks")]
    images: Option<PathBuf>,
    /// Folder of their masks.
    #[arg(long, requires = "images")]
    masks: Option<PathBuf>,
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
    /// Compare with this data set; may be given several times. Without it: with every other one
    /// under the data root.
    #[arg(long, value_name = "NAME")]
    against: Vec<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Write one HTML page with thumbnails of what is suspicious.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Exit with 1 if there is anything that somebody should look at.
    #[arg(long)]
    strict: bool,
}

impl Check {
    /// Reads, prints, and writes the page.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (catalog, root) = (Catalog::built_in(), self.data_root.as_deref());
        let inventory = match (&self.name, &self.images, &self.masks) {
            (Some(name), ..) => Inventory::open(name, root, &catalog)?,
            (None, Some(images), Some(masks)) => Inventory::of_folders(images, masks)?,
            // Refused by the parser.
            _ => anyhow::bail!("name a data set, or give --images and --masks"),
        };
        let others = match (root, self.against.as_slice()) {
            (Some(root), []) => Inventory::others(&catalog, root, &inventory.data)?,
            (None, []) => Vec::new(),
            (_, names) => names
                .iter()
                .map(|name| Inventory::open(name, root, &catalog))
                .collect::<Result<_, _>>()?,
        };
        let report = audit(&inventory, &others, &Shown(Bar::new()));
        if let Some(file) = &self.html {
            run_record::write_bytes(file, report.html().as_bytes())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        if self.json {
            print_json(&report)?;
        } else {
            outln!("{}", report.markdown().trim_end());
        }
        let failed = self.strict && !report.is_clean();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The bar, as the audit wants it.
struct Shown(Bar);

impl data_audit::Progress for Shown {
    fn start(&self, phase: &str, total: u64) {
        self.0.start(phase, total);
    }

    fn set(&self, done: u64) {
        self.0.set(done);
    }

    fn finish(&self) {
        self.0.finish();
    }
}
