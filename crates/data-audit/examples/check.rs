//! Checks a data set without the command line of the workspace, which takes longer to build.
//!
//! ```sh
//! cargo run -p data-audit --example check -- DATA_ROOT NAME [report.html] > report.json
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use data_audit::{Silent, audit};
use data_loaders::{Catalog, Inventory};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let root: PathBuf = arguments.next().ok_or("no data root")?.into();
    let name = arguments.next().ok_or("no data set")?.to_string_lossy().into_owned();
    let catalog = Catalog::built_in();
    let card = catalog.get(&name).ok_or("no such data set")?;
    let start = Instant::now();
    let inventory = Inventory::of_card(card, &root)?;
    let others = Inventory::others(&catalog, &root, &name)?;
    let report = audit(&inventory, &others, &Silent);
    eprintln!("{}\n{:.1} s", report.markdown(), start.elapsed().as_secs_f64());
    println!("{}", serde_json::to_string_pretty(&report)?);
    if let Some(page) = arguments.next() {
        std::fs::write(page, report.html())?;
    }
    Ok(())
}
