//! The audit of a data set.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use data_loaders::{FilePair, Fit, Inventory};
use rayon::prelude::*;

use crate::duplicates::{self, Known, Match};
use crate::examine::{self, Examined, ImageFacts};
use crate::leaks;
use crate::progress::Progress;
use crate::report::{
    Against, Audit, ColoredMask, DarkImage, Duplicate, GrayMask, IgnoredFile, Item, Leak,
    MaskValues, NoPartner, OrientationMismatch, Same, SizeCount, SizeMismatch, SplitCount, Spread,
    Unreadable,
};

/// Reads every pair of a data set and compares its images with each other and with those of other
/// data sets.
///
/// Images of `others` are read, their masks are not. Works on all threads of rayon's pool.
pub fn audit(inventory: &Inventory, others: &[Inventory], progress: &dyn Progress) -> Audit {
    let examined = counted(progress, &inventory.data, &inventory.pairs, examine::pair);
    let known = known(&inventory.pairs, |index| examined[index].image.as_ref().ok());

    let exact = duplicates::exact(&known);
    let near =
        comparing(progress, &inventory.data, known.len(), |step| duplicates::near(&known, step));
    let item = |index: usize| describe(inventory, index);
    let how_same = |first: usize, second: usize| {
        let bytes = |index: usize| examined[index].image.as_ref().map(|facts| facts.bytes).ok();
        if bytes(first) == bytes(second) { Same::Bytes } else { Same::Pixels }
    };
    let duplicate = |first: usize, second: usize, same: Same| Duplicate {
        first: item(first),
        second: item(second),
        same,
        same_sequence: same_sequence(&inventory.pairs[first], &inventory.pairs[second]),
        same_mask: same_mask(&examined[first], &examined[second]),
    };
    let listed = |matches: &[Match]| -> Vec<Duplicate> {
        matches.iter().map(|one| duplicate(one.first, one.second, one.same)).collect()
    };
    let mut leaks = leaks::between_splits(inventory, &groups(&exact), &near, &duplicate, &how_same);
    let mut against = Vec::new();
    for other in others {
        let (row, leak) = compare(inventory, &known, other, progress);
        against.push(row);
        leaks.extend(leak);
    }

    let masks = || examined.iter().filter_map(|one| one.mask.as_ref().ok());
    let shares = masks()
        .filter(|mask| mask.all() > 0)
        .map(|mask| mask.foreground as f64 / mask.all() as f64);
    Audit {
        data: inventory.data.clone(),
        refusal: inventory.refusal.clone(),
        pairs: inventory.pairs.len(),
        unlisted: inventory.unlisted,
        splits: splits(inventory, &examined),
        image_sizes: image_sizes(&examined),
        unreadable: unreadable(inventory, &examined),
        unpaired: inventory.unpaired.iter().map(no_partner).collect(),
        ignored: inventory.ignored.iter().map(ignored).collect(),
        mask_values: mask_values(inventory, &examined),
        empty_masks: rows(&examined, |index, one| {
            (one.mask.as_ref().ok()?.foreground == 0).then(|| item(index))
        }),
        full_masks: rows(&examined, |index, one| {
            let mask = one.mask.as_ref().ok()?;
            (mask.foreground > 0 && mask.foreground == mask.all()).then(|| item(index))
        }),
        foreground_share: Spread::of(shares.collect()),
        size_mismatches: rows(&examined, |index, one| {
            let misfit = one.misfit()?;
            let [image_size, mask_size] = misfit.sizes();
            let exif_orientations =
                (misfit.fit == Fit::Orientation).then(|| misfit.exif_orientations());
            let differ = image_size != mask_size;
            differ.then(|| SizeMismatch {
                item: item(index),
                image_size,
                mask_size,
                exif_orientations,
            })
        }),
        orientation_mismatches: rows(&examined, |index, one| {
            let misfit = one.misfit()?;
            let ([image_size, mask_size], [image, mask]) =
                (misfit.sizes(), misfit.exif_orientations());
            let same_size = image_size == mask_size;
            same_size.then(|| OrientationMismatch { item: item(index), image, mask })
        }),
        dark_16_bit_images: rows(&examined, |index, one| {
            let largest = one.image.as_ref().ok()?.largest_of_16_bits?;
            (largest < u16::MAX / 4).then(|| DarkImage { item: item(index), largest })
        }),
        exact_duplicates: listed(&exact),
        near_duplicates: listed(&duplicates::first_partners(&near)),
        leaks,
        against,
    }
}

/// A row for each pair that has something to say, in their order.
fn rows<T>(examined: &[Examined], row: impl Fn(usize, &Examined) -> Option<T>) -> Vec<T> {
    examined.iter().enumerate().filter_map(|(index, one)| row(index, one)).collect()
}

/// Does something with all items on all threads, in their order.
fn counted<T: Sync, R: Send>(
    progress: &dyn Progress,
    phase: &str,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    progress.start(&format!("reading {phase}"), items.len() as u64);
    let done = AtomicU64::new(0);
    let results = items
        .par_iter()
        .map(|item| {
            let result = work(item);
            progress.set(done.fetch_add(1, Ordering::Relaxed) + 1);
            result
        })
        .collect();
    progress.finish();
    results
}

/// Does something that calls back once for each of `total` images.
fn comparing(
    progress: &dyn Progress,
    with: &str,
    total: usize,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> Vec<Match>,
) -> Vec<Match> {
    progress.start(&format!("comparing with {with}"), total as u64);
    let done = AtomicU64::new(0);
    let found = work(&|| progress.set(done.fetch_add(1, Ordering::Relaxed) + 1));
    progress.finish();
    found
}

fn known<'a>(
    pairs: &'a [FilePair],
    facts: impl Fn(usize) -> Option<&'a ImageFacts>,
) -> Vec<Known<'a>> {
    let known = |(index, pair): (usize, &'a FilePair)| {
        Some(Known { index, path: &pair.image, facts: facts(index)? })
    };
    pairs.iter().enumerate().filter_map(known).collect()
}

fn compare(
    inventory: &Inventory,
    images: &[Known<'_>],
    other: &Inventory,
    progress: &dyn Progress,
) -> (Against, Option<Leak>) {
    let read = counted(progress, &other.data, &other.pairs, |pair| examine::image(&pair.image));
    let others = known(&other.pairs, |index| read[index].as_ref().ok());
    let row = Against {
        data: other.data.clone(),
        images: others.len(),
        unreadable: read.len() - others.len(),
    };
    let found = comparing(progress, &other.data, images.len(), |step| {
        duplicates::across(images, &others, step)
    });
    if found.is_empty() {
        return (row, None);
    }
    let pairs: Vec<Duplicate> = found
        .iter()
        .map(|one| Duplicate {
            first: describe(inventory, one.first),
            second: describe(other, one.second),
            same: one.same,
            same_sequence: false,
            same_mask: None,
        })
        .collect();
    let leak = Leak::SharedWithOtherSet {
        data: other.data.clone(),
        images: pairs.len(),
        of: inventory.pairs.len(),
        exact: pairs.iter().filter(|pair| !matches!(pair.same, Same::Look { .. })).count(),
        pairs,
    };
    (row, Some(leak))
}

fn describe(inventory: &Inventory, index: usize) -> Item {
    let pair = &inventory.pairs[index];
    Item {
        data: inventory.data.clone(),
        id: pair.id.clone(),
        splits: pair
            .memberships
            .iter()
            .map(|one| inventory.splits[one.split].name.clone())
            .collect(),
        image: pair.image.clone(),
        mask: pair.mask.clone(),
    }
}

/// Whether one way of splitting says that both are frames of one video.
fn same_sequence(one: &FilePair, other: &FilePair) -> bool {
    let sequences = |pair: &FilePair| -> Vec<String> {
        pair.memberships.iter().filter_map(|one| one.sequence.clone()).collect()
    };
    let first = sequences(one);
    sequences(other).iter().any(|sequence| first.contains(sequence))
}

fn same_mask(one: &Examined, other: &Examined) -> Option<bool> {
    Some(one.mask.as_ref().ok()?.pixels == other.mask.as_ref().ok()?.pixels)
}

/// Groups of images of the same pixels, in the order of their first members.
fn groups(exact: &[Match]) -> Vec<Vec<usize>> {
    let mut position_of: HashMap<usize, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for one in exact {
        let position = *position_of.entry(one.first).or_insert_with(|| {
            groups.push(vec![one.first]);
            groups.len() - 1
        });
        groups[position].push(one.second);
    }
    groups
}

fn splits(inventory: &Inventory, examined: &[Examined]) -> Vec<SplitCount> {
    let mut usable = vec![0; inventory.splits.len()];
    for (pair, one) in inventory.pairs.iter().zip(examined) {
        if one.image.is_ok() && one.mask.is_ok() && one.misfit().is_none() {
            for membership in &pair.memberships {
                usable[membership.split] += 1;
            }
        }
    }
    let count = |(split, usable): (&data_loaders::FoundSplit, usize)| SplitCount {
        split: split.name.clone(),
        layout: split.layout.clone(),
        expected: split.expected,
        found: split.found,
        usable,
    };
    inventory.splits.iter().zip(usable).map(count).collect()
}

fn image_sizes(examined: &[Examined]) -> Vec<SizeCount> {
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for image in examined.iter().filter_map(|one| one.image.as_ref().ok()) {
        *counts.entry((image.shown.width, image.shown.height)).or_default() += 1;
    }
    let mut sizes: Vec<SizeCount> = counts
        .into_iter()
        .map(|((width, height), images)| SizeCount { width, height, images })
        .collect();
    // Stable: sizes of the same number stay in their order.
    sizes.sort_by_key(|size| std::cmp::Reverse(size.images));
    sizes
}

fn unreadable(inventory: &Inventory, examined: &[Examined]) -> Vec<Unreadable> {
    let mut rows = Vec::new();
    for (pair, one) in inventory.pairs.iter().zip(examined) {
        let image = one.image.as_ref().err().map(|reason| (&pair.image, reason));
        let mask = one.mask.as_ref().err().map(|reason| (&pair.mask, reason));
        for (path, reason) in image.into_iter().chain(mask) {
            let (id, path, reason) = (pair.id.clone(), path.clone(), reason.clone());
            rows.push(Unreadable { id, path, reason });
        }
    }
    rows
}

fn no_partner(one: &data_loaders::Unpaired) -> NoPartner {
    NoPartner {
        id: one.id.clone(),
        image: one.image.clone(),
        mask: one.mask.clone(),
        expected: one.expected.clone(),
    }
}

fn ignored(one: &data_loaders::Ignored) -> IgnoredFile {
    IgnoredFile { path: one.path.clone(), reason: one.reason.clone() }
}

fn mask_values(inventory: &Inventory, examined: &[Examined]) -> MaskValues {
    let mut pixels: BTreeMap<u8, u64> = BTreeMap::new();
    let mut gray_masks = Vec::new();
    for (pair, one) in inventory.pairs.iter().zip(examined) {
        let Some(values) = &one.values else { continue };
        let mut gray_pixels = 0;
        for (value, &count) in (0..=u8::MAX).zip(values.iter()).filter(|(_, count)| **count > 0) {
            *pixels.entry(value).or_default() += count;
            if value != 0 && value != u8::MAX {
                gray_pixels += count;
            }
        }
        if gray_pixels > 0 {
            let distinct = values.iter().filter(|&&count| count > 0).count();
            gray_masks.push(GrayMask { id: pair.id.clone(), values: distinct, gray_pixels });
        }
    }
    let colored = |(pair, one): (&FilePair, &Examined)| {
        let colored_pixels = one.mask.as_ref().ok()?.colored_pixels;
        (colored_pixels > 0).then(|| ColoredMask { id: pair.id.clone(), colored_pixels })
    };
    let colored_masks = inventory.pairs.iter().zip(examined).filter_map(colored).collect();
    MaskValues { pixels, gray_masks, colored_masks }
}
