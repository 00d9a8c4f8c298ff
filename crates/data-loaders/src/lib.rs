//! Data sets: cards, splits, decoding, masks, and procedural sets.
//!
//! A [`DataSet`] is a cheap list of cases that are decoded when asked for. It comes from a
//! [`Card`] of the [`Catalog`] ([`DataSet::open`]), from two folders ([`DataSet::from_folders`]),
//! from a CSV file ([`DataSet::from_csv`]), or from nothing but a seed (`phantom`, see
//! [`synthetic`]). Everything is on the host: 8-bit RGB buffers and `bool` masks.
//!
//! ```
//! use data_loaders::{Catalog, DataSet, VALIDATION_FRACTION};
//!
//! let catalog = Catalog::built_in();
//! let set = DataSet::open("phantom", "train", None, &catalog)?;
//! let (train, valid) = set.split_off_validation(VALIDATION_FRACTION, 0)?;
//! assert_eq!((train.len(), valid.len()), (180, 20));
//!
//! let case = train.load(0)?;
//! assert_eq!(case.image.dimensions(), (case.truth.width, case.truth.height));
//! # Ok::<(), data_loaders::DataError>(())
//! ```
//!
//! [`bright_area`] finds the dark border of endoscopic images, [`augment`] changes images and masks for
//! training, and [`prepare`] writes a set as a network sees it. What a network sees (size,
//! normalization) is the caller's to say.
//!
//! An [`Inventory`] lists what lies on the disk of a data set, good or bad, without decoding it.
//!
//! Only this crate and the weight loader of `sam-backbone` open input files. This crate reads no
//! environment variable and prints nothing: the root folder comes from the caller, and what is
//! worth a warning goes to `tracing`.

pub mod augment;
mod border;
mod card;
mod case;
mod catalog;
mod compact_mask;
mod content;
mod data_set;
mod decode;
mod download_spec;
mod error;
mod extent;
mod files;
mod fit;
mod gray_map;
mod inventory;
mod jpeg;
mod levels;
mod load;
mod pairing;
mod pictures;
mod prefetch;
mod prepare;
mod reasons;
mod sample;
pub mod synthetic;
mod truth;
mod validation;

pub use border::{Area, bright_area};
pub use card::{Card, Layout, Member, SplitFile};
pub use case::Case;
pub use catalog::Catalog;
pub use compact_mask::CompactMask;
pub use content::Content;
pub use data_set::{DataSet, PHANTOM_SPLITS};
pub use decode::{
    Decoded, DecodedImage, MAX_PIXELS, decode_image, decode_image_bytes, decode_image_with_facts,
    decode_mask, mask_histogram,
};
pub use download_spec::Download;
pub use error::{CardError, DataError};
pub use files::{IMAGE_EXTENSIONS, MASK_NAMES};
pub use fit::{Fit, Shown, fit};
pub use gray_map::{GrayMap, decode_gray_map, decode_truth_map};
pub use inventory::{FilePair, FoundSplit, Ignored, Inventory, Membership, Unpaired};
pub use load::{BadCases, Loaded, Skipped};
pub use pairing::{PredictionPair, pair_predictions};
pub use prefetch::prefetch;
pub use prepare::{Preparation, PrepareError, Prepared, PreparedFrame, prepare};
pub use reasons::{error_chain, reasons};
pub use truth::TruthMask;
pub use validation::VALIDATION_FRACTION;
