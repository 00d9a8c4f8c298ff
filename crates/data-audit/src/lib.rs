//! Reads a whole data set and reports what is wrong with it: bad files, duplicates, leakage between
//! splits and between data sets.
//!
//! An [`Inventory`](data_loaders::Inventory) says which files there are; [`audit`] decodes all of
//! them and gives an [`Audit`], which serializes to JSON and prints as [`Audit::markdown`] and as
//! one self-contained [`Audit::html`] page with thumbnails.
//!
//! ```
//! use data_audit::{Silent, audit};
//! use data_loaders::Inventory;
//!
//! # let root = tempfile::tempdir()?;
//! # for (folder, name) in [("images", "a.png"), ("masks", "a_mask.png")] {
//! #     std::fs::create_dir(root.path().join(folder))?;
//! #     image::GrayImage::new(4, 4).save(root.path().join(folder).join(name))?;
//! # }
//! let inventory = Inventory::of_folders(&root.path().join("images"), &root.path().join("masks"))?;
//! let report = audit(&inventory, &[], &Silent);
//! assert_eq!(report.pairs, 1);
//! assert_eq!(report.empty_masks.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing stops an audit: a file that cannot be read is a row of the report, with the reason that
//! the loader would give. At most one decoded image per thread is in memory, and some 1.2 kB per
//! image for comparing it with the others. The same files give the same report, byte by byte,
//! whatever the number of threads.
//!
//! This crate prints nothing. It decodes through [`data_loaders`], so it sees what training sees.

mod audit;
mod duplicates;
mod examine;
mod fingerprint;
mod html;
mod leaks;
mod markdown;
mod progress;
mod report;

pub use audit::audit;
pub use duplicates::MAX_PARTNERS;
pub use fingerprint::{Fingerprint, MAX_HASH_DISTANCE, MIN_CORRELATION};
pub use progress::{Progress, Silent};
pub use report::{
    Against, Audit, ColoredMask, DarkImage, Duplicate, GrayMask, IgnoredFile, Item, Leak,
    MaskValues, NoPartner, OrientationMismatch, Same, SizeCount, SizeMismatch, SplitCount, Spread,
    Unreadable,
};
