//! Why a data set, or one case of it, could not be had.

use std::path::{Path, PathBuf};

use crate::decode::MAX_PIXELS;

/// Why a data set could not be opened, or one of its cases not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No card has this name, and it is not the built-in `phantom`.
    #[error("unknown data set `{name}`; known are {}", known.join(", "))]
    UnknownData {
        /// The name asked for.
        name: String,
        /// All names of the catalog and the built-in set, sorted.
        known: Vec<String>,
    },
    /// The data set is made from a seed, so there are no files of it to list or to check.
    #[error(
        "data set `{data}` is generated and has no files to look at; sets with files: {} (or two folders of your own)",
        with_files.join(", ")
    )]
    Generated {
        /// The data set.
        data: String,
        /// The sets that are read from files.
        with_files: Vec<String>,
    },
    /// The data set has no such split.
    #[error("data set `{data}` has no split `{split}`; it has {}", known.join(", "))]
    UnknownSplit {
        /// The data set.
        data: String,
        /// The split asked for.
        split: String,
        /// The splits that there are.
        known: Vec<String>,
    },
    /// The data set is read from files, and nobody said where they are.
    #[error(
        "data set `{data}` is read from files: say where they are with --data-root or PROMISE_DATA"
    )]
    NoRoot {
        /// The data set.
        data: String,
    },
    /// A split file names cases that the set does not have.
    #[error(
        "{missing} of {total} cases that the split file names are not in the folder (names are stems, \
         without ending), first: {}; in {}",
        first.join(", "), path.display()
    )]
    NotInSet {
        /// Names without a case.
        missing: usize,
        /// All names of the split.
        total: usize,
        /// The first few of them.
        first: Vec<String>,
        /// The split file.
        path: PathBuf,
    },
    /// The root folder is not there.
    #[error("the data root (--data-root or PROMISE_DATA) is not a folder: {}", root.display())]
    RootMissing {
        /// The root folder.
        root: PathBuf,
    },
    /// Under the root there is none of the folders that the card knows.
    #[error(
        "data set `{data}` not found: none of {} is a folder under the data root \
         (--data-root or PROMISE_DATA) {}",
        quoted(looked_for), root.display()
    )]
    LayoutMissing {
        /// The data set.
        data: String,
        /// Image folders of every layout, relative to the root.
        looked_for: Vec<String>,
        /// The root folder.
        root: PathBuf,
    },
    /// Files that the split names are not there.
    #[error(
        "{missing} of {total} cases of `{data}` lack their image or mask, first: {}; in {}",
        first.join(", "), folder.display()
    )]
    FilesMissing {
        /// The data set.
        data: String,
        /// Cases without image or mask.
        missing: usize,
        /// All cases of the split.
        total: usize,
        /// The first few missing files, in the order of the split.
        first: Vec<String>,
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// A split that is every pair of its folder has another number of pairs than its card says.
    #[error(
        "split `{split}` of `{data}` has {actual} pairs, its card says {expected}; in {}",
        folder.display()
    )]
    FolderCount {
        /// The data set.
        data: String,
        /// The split.
        split: String,
        /// What the card says.
        expected: usize,
        /// What the folder has.
        actual: usize,
        /// Where the images lie.
        folder: PathBuf,
    },
    /// A folder cannot be listed.
    #[error("cannot list the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder holds no image.
    #[error("no image ({}) in {}", extensions.join(", "), path.display())]
    NoImages {
        /// Extensions that count as images.
        extensions: Vec<String>,
        /// The folder.
        path: PathBuf,
    },
    /// None of the images has a mask: most likely the wrong folder was given.
    #[error(
        "none of {images} images has a mask, first: {}; masks folder: {}",
        first.display(), masks.display()
    )]
    NoPairs {
        /// Images found.
        images: usize,
        /// The first image.
        first: PathBuf,
        /// The folder of the masks.
        masks: PathBuf,
    },
    /// Two images would have the same id.
    #[error("two images have the id `{id}`: {} and {}", first.display(), second.display())]
    DuplicateId {
        /// The id.
        id: String,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The CSV file of a data set cannot be read, or a row of it is wrong; the source has the line.
    #[error("not a list of images (columns image_name,train_type,mask_name): {}", path.display())]
    Csv {
        /// The CSV file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: csv::Error,
    },
    /// A card is wrong.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A part of the training images cannot be held out: see `reason`.
    #[error("cannot hold out {fraction} of the {cases} cases of `{data}`: {reason}")]
    HoldOut {
        /// The data set.
        data: String,
        /// The fraction asked for.
        fraction: f64,
        /// Cases there are.
        cases: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// More cases are to be drawn than there are.
    #[error("cannot draw {asked} of the {cases} cases of `{data}`")]
    TooFewCases {
        /// The data set.
        data: String,
        /// Cases asked for.
        asked: usize,
        /// Cases there are.
        cases: usize,
    },
    /// An image or mask cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder, a pipe or a device: to open it may mean to wait for ever.
    #[error("not a regular file: {}", path.display())]
    NotAFile {
        /// What lies there.
        path: PathBuf,
    },
    /// An image or mask has 0 bytes, as after an interrupted download.
    #[error("the file is empty (0 bytes): {}", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A JPEG file stops before its end, as after an interrupted download. Decoders would fill the
    /// rest with gray; other formats are refused by their decoders ([`Decode`](Self::Decode)).
    #[error("the JPEG file is cut off before its end: {}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than any image that would be accepted.
    #[error("longer than {limit} bytes: {}", path.display())]
    LongFile {
        /// The most bytes that are read.
        limit: u64,
        /// The file.
        path: PathBuf,
    },
    /// An animation, or a TIFF file with several pages: which picture is meant is not guessed at.
    #[error("{count} pictures in one file, an animation or several pages: {}", path.display())]
    SeveralPictures {
        /// How many there are.
        count: usize,
        /// The file.
        path: PathBuf,
    },
    /// The bytes are not a readable png, jpeg, bmp or tiff image.
    #[error("not a readable png, jpeg, bmp or tiff image: {}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// The image has more pixels than [`MAX_PIXELS`].
    #[error("{width} x {height} pixels, more than {MAX_PIXELS}, in {}", path.display())]
    TooLarge {
        /// Columns, as the file says.
        width: u32,
        /// Rows, as the file says.
        height: u32,
        /// The file.
        path: PathBuf,
    },
    /// Floating-point pixels have no agreed range, so they are not guessed at.
    #[error("floating-point pixels ({color}) are not supported: {}", path.display())]
    FloatPixels {
        /// Color type of the file.
        color: String,
        /// The file.
        path: PathBuf,
    },
    /// The image has no mask.
    #[error("no mask for {}, expected {}", image.display(), mask.display())]
    MaskMissing {
        /// The image.
        image: PathBuf,
        /// Where the mask was expected (the stem, if several extensions are possible).
        mask: PathBuf,
    },
    /// Image and mask differ in size, so they do not belong together pixel by pixel.
    #[error(
        "mask is {} x {} pixels, image is {} x {}: {} and {}",
        mask_size.0, mask_size.1, image_size.0, image_size.1, mask.display(), image.display()
    )]
    SizeMismatch {
        /// `(width, height)` of the image.
        image_size: (u32, u32),
        /// `(width, height)` of the mask.
        mask_size: (u32, u32),
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
    },
    /// The EXIF data turn image and mask differently, so that the mask may have been drawn on the pixels as they
    /// are stored. Which way is meant is not guessed at where the sizes do not show it: see
    /// [`fit`](crate::fit()).
    #[error(
        "the EXIF orientation turns image and mask differently, mask {} x {} and image {} x {}: store the \
         pixels of the image as those of the mask, without an orientation; {} and {}",
        mask_size.0, mask_size.1, image_size.0, image_size.1, mask.display(), image.display()
    )]
    Orientation {
        /// `(width, height)` of the image after it was turned.
        image_size: (u32, u32),
        /// `(width, height)` of the mask after it was turned.
        mask_size: (u32, u32),
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
    },
    /// The mask has non-zero values, but none reaches the threshold: stored as 0/1 or as class
    /// numbers. Thresholding it would silently give an empty mask.
    #[error(
        "largest mask value is {max}, but foreground starts at {}: stored as 0/{max} instead of \
         0/{white}? In {}",
        white / 2 + 1, path.display()
    )]
    DimMask {
        /// Largest gray value, at the depth of the file.
        max: u16,
        /// The value of white at this depth: 255 or 65,535.
        white: u16,
        /// The mask.
        path: PathBuf,
    },
}

impl DataError {
    /// The file or folder that cannot be read because its disk or network share has failed or is gone, `None` for any
    /// other error: what is wrong then is not this one file, and every other one may be next.
    pub fn lost_storage(&self) -> Option<&Path> {
        match self {
            Self::Open { path, source } | Self::Folder { path, source } => {
                is_storage_lost(path, source).then_some(path)
            }
            _ => None,
        }
    }
}

/// Whether an error of reading `path` says that the storage is gone: an input/output error, no answer, no connection, no
/// file handles, or a file that is not there together with its folder.
pub(crate) fn is_storage_lost(path: &Path, error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    /// EIO, ENXIO, ENODEV, ENFILE, EMFILE: the same numbers on every Unix; std has no kind for them.
    const UNIX: [i32; 5] = [5, 6, 19, 23, 24];
    /// ESHUTDOWN, EHOSTDOWN, EREMOTEIO.
    const LINUX: [i32; 3] = [108, 112, 121];

    let of_the_network = matches!(
        error.kind(),
        Kind::StaleNetworkFileHandle
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
    );
    let of_the_device = error.raw_os_error().is_some_and(|code| {
        (cfg!(unix) && UNIX.contains(&code)) || (cfg!(target_os = "linux") && LINUX.contains(&code))
    });
    let unmounted = error.kind() == Kind::NotFound
        && path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    of_the_network || of_the_device || unmounted
}

/// Why a card or one of its split files is wrong.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// The card or a split file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The card has an unknown key, lacks one, or has a wrong type; the source has line and column.
    #[error("not a valid data set card: {}", path.display())]
    Parse {
        /// The card.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A list of the card that must not be empty is empty.
    #[error("`{key}` must have at least one entry in {}", path.display())]
    Empty {
        /// The key.
        key: &'static str,
        /// The card.
        path: PathBuf,
    },
    /// A download of the card has a key that cannot be used.
    #[error("{reason}: `{key} = \"{value}\"` of a download in {}", path.display())]
    Download {
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The card.
        path: PathBuf,
    },
    /// The split file is not CSV with the columns `name,split[,sequence]`; the source has the line.
    #[error("not a split file (columns name,split and perhaps sequence): {}", path.display())]
    SplitFile {
        /// The split file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: csv::Error,
    },
    /// A name stands twice in a split file, so it might be trained on and tested on.
    #[error("`{name}` stands twice in {}", path.display())]
    Duplicate {
        /// The name.
        name: String,
        /// The split file.
        path: PathBuf,
    },
    /// The split file does not have as many names as the card says.
    #[error("split `{split}` has {actual} names, its card says {expected}: {}", path.display())]
    Count {
        /// The split.
        split: String,
        /// What the card says.
        expected: usize,
        /// What the file has.
        actual: usize,
        /// The split file.
        path: PathBuf,
    },
    /// A layout or a way of splitting contradicts itself or the rest of the card.
    #[error("{reason}: see `{name}` in {}", path.display())]
    Invalid {
        /// The layout or the way of splitting.
        name: String,
        /// What is wrong.
        reason: &'static str,
        /// The card.
        path: PathBuf,
    },
    /// Two cards of one catalog have the same name.
    #[error("a data set named `{name}` is already known; second card: {}", path.display())]
    SameName {
        /// The name.
        name: String,
        /// The second card.
        path: PathBuf,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failed_disk_or_share_is_told_from_a_bad_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        let lost = |path: &Path, code| {
            let source = io::Error::from_raw_os_error(code);
            DataError::Open { path: path.into(), source }.lost_storage().is_some()
        };
        // EIO, ESTALE, ENOTCONN, ETIMEDOUT, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, EREMOTEIO, EMFILE
        for code in [5, 116, 107, 110, 112, 113, 100, 121, 24] {
            assert!(lost(&path, code), "{}", io::Error::from_raw_os_error(code));
        }
        // ENOENT beside a folder that is there, EACCES, EISDIR, ELOOP
        for code in [2, 13, 21, 40] {
            assert!(!lost(&path, code), "{}", io::Error::from_raw_os_error(code));
        }
        assert!(lost(&folder.path().join("unmounted/a.png"), 2));
        assert_eq!(DataError::EmptyFile { path }.lost_storage(), None);
    }
}
