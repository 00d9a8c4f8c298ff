//! What an audit found. The JSON form is that of these types.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// What was found in a data set.
///
/// Every list is complete and in the order of the data set (of the paths, for
/// [`ignored`](Self::ignored)), but for [`near_duplicates`](Self::near_duplicates), see there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Name of the data set, or `folder`.
    pub data: String,
    /// Why no command reads these folders, whatever else is found in them; nothing if they are read.
    pub refusal: Option<String>,
    /// Images with a mask that belong to a split.
    pub pairs: usize,
    /// Images with a mask in the folders that no split names; they were not read.
    pub unlisted: usize,
    /// How many cases every split has.
    pub splits: Vec<SplitCount>,
    /// Sizes of readable images, the most frequent first.
    pub image_sizes: Vec<SizeCount>,
    /// Images and masks that cannot be used, with the loader's reason.
    pub unreadable: Vec<Unreadable>,
    /// Images without mask, masks without image, names without either.
    pub unpaired: Vec<NoPartner>,
    /// What lies in the folders and was not read.
    pub ignored: Vec<IgnoredFile>,
    /// The gray values of the masks.
    pub mask_values: MaskValues,
    /// Readable masks without foreground.
    pub empty_masks: Vec<Item>,
    /// Readable masks without background.
    pub full_masks: Vec<Item>,
    /// Foreground pixels as a share of all, over readable masks; `None` if there are none.
    pub foreground_share: Option<Spread>,
    /// Pairs whose image and mask have different sizes.
    pub size_mismatches: Vec<SizeMismatch>,
    /// Pairs of one size whose EXIF data turn or mirror image and mask differently: the loader refuses them, since
    /// nothing tells on which of the two the mask was drawn.
    pub orientation_mismatches: Vec<OrientationMismatch>,
    /// Images of 16 bits whose largest value is below a quarter of white, e.g. of 12 bits that were not spread: 8
    /// bits of them are nearly black.
    pub dark_16_bit_images: Vec<DarkImage>,
    /// Images that are the same: each with the first image that it repeats.
    pub exact_duplicates: Vec<Duplicate>,
    /// Images that look the same, see [`Fingerprint`](crate::Fingerprint): each with at most
    /// [`MAX_PARTNERS`](crate::MAX_PARTNERS) later ones, the most similar first. Exact duplicates
    /// are not repeated here.
    pub near_duplicates: Vec<Duplicate>,
    /// Why a score on one part says less than it seems about unseen images.
    pub leaks: Vec<Leak>,
    /// The other data sets that it was compared with.
    pub against: Vec<Against>,
}

/// An image with its mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Name of the data set.
    pub data: String,
    /// Stem of the image.
    pub id: String,
    /// The splits that it belongs to.
    pub splits: Vec<String>,
    /// The image file.
    #[serde(serialize_with = "lossy")]
    pub image: PathBuf,
    /// The mask file.
    #[serde(serialize_with = "lossy")]
    pub mask: PathBuf,
}

/// How many cases a split has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitCount {
    /// Name of the split.
    pub split: String,
    /// The layout that it was found in; `None` without a card, and if it was not found.
    pub layout: Option<String>,
    /// What the card says; `None` without a card.
    pub expected: Option<usize>,
    /// Cases with image and mask.
    pub found: usize,
    /// Cases whose image and mask are readable, of one size and turned alike.
    pub usable: usize,
}

/// How many images have a size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Images of this size.
    pub images: usize,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Stem of the image.
    pub id: String,
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// What the loader says of it.
    pub reason: String,
}

/// An image without mask, a mask without image, or a name without either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoPartner {
    /// Stem of the image, or of the mask if there is no image.
    pub id: String,
    /// The image, if it is there.
    #[serde(serialize_with = "lossy_option")]
    pub image: Option<PathBuf>,
    /// The mask, if it is there.
    #[serde(serialize_with = "lossy_option")]
    pub mask: Option<PathBuf>,
    /// What was looked for in vain.
    pub expected: String,
}

/// Something that was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IgnoredFile {
    /// The file or folder.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Why it was not read.
    pub reason: String,
}

/// The gray values of all masks that can be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaskValues {
    /// Pixels of each value, over all masks.
    pub pixels: BTreeMap<u8, u64>,
    /// Masks that have values besides 0 and 255: anti-aliased, compressed as JPEG, or class numbers.
    pub gray_masks: Vec<GrayMask>,
    /// Masks with colors. The loader takes the brightest channel of a colored pixel; several classes
    /// become one foreground.
    pub colored_masks: Vec<ColoredMask>,
}

/// A mask with colors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColoredMask {
    /// Stem of the image.
    pub id: String,
    /// Pixels with a color.
    pub colored_pixels: u64,
}

/// A mask with values besides 0 and 255.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrayMask {
    /// Stem of the image.
    pub id: String,
    /// Different values, 0 and 255 included.
    pub values: usize,
    /// Pixels that are neither 0 nor 255.
    pub gray_pixels: u64,
}

/// Least, middle and greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

/// A pair whose files do not belong together pixel by pixel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SizeMismatch {
    /// The pair.
    pub item: Item,
    /// `[width, height]` of the image.
    pub image_size: [u32; 2],
    /// `[width, height]` of the mask.
    pub mask_size: [u32; 2],
    /// EXIF orientations of image and mask, if they would fit but for them.
    pub exif_orientations: Option<[u8; 2]>,
}

/// A pair of one size that may lie on each other turned or mirrored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrientationMismatch {
    /// The pair.
    pub item: Item,
    /// EXIF orientation of the image, 1 to 8; 1 for none.
    pub image: u8,
    /// EXIF orientation of the mask.
    pub mask: u8,
}

/// An image of 16 bits that is nearly black.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DarkImage {
    /// The image with its mask.
    pub item: Item,
    /// The largest value of a color channel, where white is 65,535.
    pub largest: u16,
}

/// Two images that are the same or look the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duplicate {
    /// The earlier one; of the data set that is checked.
    pub first: Item,
    /// The later one, or one of another data set.
    pub second: Item,
    /// In which way they are the same.
    #[serde(flatten)]
    pub same: Same,
    /// Whether the split file says that both are frames of one video.
    pub same_sequence: bool,
    /// Whether both masks have the same foreground; `None` if a mask was not read.
    pub same_mask: Option<bool>,
}

/// In which way two images are the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "same", rename_all = "snake_case")]
pub enum Same {
    /// One file, read as a part of two data sets.
    File,
    /// Two files of the same bytes.
    Bytes,
    /// Other bytes, the same size and pixels.
    Pixels,
    /// They look the same.
    Look {
        /// Bits in which their hashes differ.
        hash_distance: u32,
        /// Correlation of their thumbnails.
        correlation: f64,
    },
}

/// A reason why a score on one part says less than it seems about unseen images.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Leak {
    /// Frames of one video are in two splits.
    SharedSequences {
        /// The two splits.
        splits: [String; 2],
        /// The videos.
        sequences: Vec<String>,
        /// Images of each split that come from these videos.
        images: [usize; 2],
        /// Images of each split.
        of: [usize; 2],
    },
    /// The same image is in two splits.
    SharedImages {
        /// The two splits.
        splits: [String; 2],
        /// Images of the first split, each with the first one of the other that is the same.
        pairs: Vec<Duplicate>,
    },
    /// Images that look the same are in two splits.
    SimilarImages {
        /// The two splits.
        splits: [String; 2],
        /// Images of the first split, each with the most similar one of the other.
        pairs: Vec<Duplicate>,
    },
    /// Images of another data set are the same or look the same.
    SharedWithOtherSet {
        /// The other data set.
        data: String,
        /// Images of this set that recur there.
        images: usize,
        /// Images of this set.
        of: usize,
        /// Those of them that are exactly the same there.
        exact: usize,
        /// Each of them with the most similar one of the other set.
        pairs: Vec<Duplicate>,
    },
}

/// Another data set that images were compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// Its name.
    pub data: String,
    /// Readable images of it.
    pub images: usize,
    /// Images of it that cannot be read; `data check` of that set names them.
    pub unreadable: usize,
}

impl Audit {
    /// Whether there is nothing that somebody should look at. Near duplicates within a split, masks
    /// with gray values and ignored files are reported but are no problem by themselves.
    pub fn is_clean(&self) -> bool {
        let incomplete = |split: &SplitCount| {
            split.layout.is_some() && split.expected.is_some_and(|expected| expected != split.found)
        };
        self.refusal.is_none()
            && self.unreadable.is_empty()
            && self.unpaired.is_empty()
            && self.empty_masks.is_empty()
            && self.full_masks.is_empty()
            && self.size_mismatches.is_empty()
            && self.orientation_mismatches.is_empty()
            && self.dark_16_bit_images.is_empty()
            && self.exact_duplicates.is_empty()
            && self.leaks.is_empty()
            && !self.splits.iter().any(incomplete)
    }
}

impl Spread {
    /// Of no numbers there is none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { min, median, max })
    }
}

/// A path as text: JSON is Unicode, file names need not be.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn lossy_option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(Path::to_string_lossy).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_ones() {
        let spread = Spread::of(vec![0.5, 0.1, 0.2, 1.0]).unwrap_or_else(|| unreachable!());
        assert_eq!((spread.min, spread.median, spread.max), (0.1, 0.35, 1.0));
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).map(|one| one.median), Some(2.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
