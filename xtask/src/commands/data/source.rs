//! Which data set a command is about.

use std::path::PathBuf;

use clap::Args;
use data_loaders::{Catalog, DataSet};

/// A data set by name, or two folders.
#[derive(Args)]
pub struct Source {
    /// A data set that has a card, or `phantom`.
    #[arg(required_unless_present = "images", conflicts_with = "images")]
    name: Option<String>,
    /// A folder of images of your own.
    #[arg(long, requires = "masks", value_name = "DIR")]
    images: Option<PathBuf>,
    /// The folder of their masks, matched by name.
    #[arg(long, requires = "images", value_name = "DIR")]
    masks: Option<PathBuf>,
    /// Which part of the data set.
    #[arg(long, default_value = "train", conflicts_with = "images")]
    split: String,
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
}

impl Source {
    /// Opens it.
    pub fn open(&self) -> anyhow::Result<DataSet> {
        let root = self.data_root.as_deref();
        Ok(match (&self.name, &self.images, &self.masks) {
            (Some(name), ..) => DataSet::open(name, &self.split, root, &Catalog::built_in())?,
            (None, Some(images), Some(masks)) => DataSet::from_folders(images, masks)?,
            _ => anyhow::bail!("give the name of a data set, or --images and --masks"),
        })
    }
}
