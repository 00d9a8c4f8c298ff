//! The two procedural worlds, from outside.

use std::collections::BTreeSet;

use data_loaders::synthetic::{DEFAULT_SIZE, MIN_SIZE, natural, phantom};
use data_loaders::{BadCases, Case, Catalog, DataSet, TruthMask};
use proptest::prelude::*;

fn open(split: &str) -> DataSet {
    DataSet::open("phantom", split, None, &Catalog::built_in()).unwrap()
}

/// FNV-1a of 64 bits.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn hash_of(image: &image::RgbImage, masks: &[TruthMask]) -> u64 {
    let masks = masks.iter().flat_map(|mask| mask.values.iter().map(|&value| u8::from(value)));
    hash(image.as_raw().iter().copied().chain(masks))
}

fn hash_of_cases(cases: &[Case]) -> Vec<u64> {
    cases.iter().map(|case| hash_of(&case.image, std::slice::from_ref(&case.truth))).collect()
}

/// These bytes are a data set: numbers measured on it stay comparable only as long as it stays the
/// same. On purpose the same on every machine, see the documentation of `synthetic`. Whoever changes
/// them on purpose makes the sheets in docs/book/src/images again.
#[test]
fn the_bytes_do_not_change() {
    let (image, truth) = phantom(1, 2, DEFAULT_SIZE);
    assert_eq!(hash_of(&image, &[truth]), 0x9c34_574f_732b_7bea, "phantom");
    let scene = natural(1, 2, DEFAULT_SIZE);
    assert_eq!(hash_of(&scene.image, &scene.objects), 0x8614_aa52_fced_f0c0, "natural");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let set = open("test").limit(12);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let loaded = pool.install(|| set.load_all(BadCases::Fail).unwrap());
        hash_of_cases(&loaded.cases)
    };
    let one = with(1);
    assert_eq!(one, with(4));
    assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 12, "all differ");
}

#[test]
fn the_built_in_splits_share_no_image() {
    let sets = [open("train"), open("valid"), open("test"), open("extended")];
    assert_eq!(sets.each_ref().map(DataSet::len), [200, 50, 100, 3200]);
    let ids: BTreeSet<_> = sets.iter().flat_map(DataSet::ids).collect();
    assert_eq!(ids.len(), 3550);
    let case = sets[0].load(7).unwrap();
    assert_eq!((&*case.id, &*case.data), ("phantom_00007", "phantom"));
    assert_eq!(case.image.dimensions(), (DEFAULT_SIZE, DEFAULT_SIZE));
}

/// Longer side of the bounding box of the foreground, pixels.
fn extent(mask: &TruthMask) -> u32 {
    let pixels = || {
        (0..mask.height)
            .flat_map(|y| (0..mask.width).map(move |x| (x, y)))
            .filter(|&(x, y)| mask.at(x, y))
    };
    let span = |values: Vec<u32>| {
        values.iter().max().map_or(0, |last| last - values.iter().min().unwrap() + 1)
    };
    span(pixels().map(|pixel| pixel.0).collect()).max(span(pixels().map(|pixel| pixel.1).collect()))
}

/// 4-connected regions of the foreground.
fn regions(mask: &TruthMask) -> usize {
    let (width, height) = (mask.width as usize, mask.height as usize);
    let mut left = mask.values.clone();
    let mut count = 0;
    for start in 0..left.len() {
        if !left[start] {
            continue;
        }
        count += 1;
        let mut queue = vec![start];
        left[start] = false;
        while let Some(pixel) = queue.pop() {
            let (x, y) = (pixel % width, pixel / width);
            let mut visit = |x: usize, y: usize| {
                if left[y * width + x] {
                    left[y * width + x] = false;
                    queue.push(y * width + x);
                }
            };
            if x > 0 {
                visit(x - 1, y)
            }
            if x + 1 < width {
                visit(x + 1, y)
            }
            if y > 0 {
                visit(x, y - 1)
            }
            if y + 1 < height {
                visit(x, y + 1)
            }
        }
    }
    count
}

#[test]
fn every_phantom_has_one_lesion_of_the_stated_size() {
    let mut extents = Vec::new();
    for index in 0..60 {
        let (_, truth) = phantom(9, index, DEFAULT_SIZE);
        assert_eq!(regions(&truth), 1, "index {index}");
        extents.push(f64::from(extent(&truth)) / f64::from(DEFAULT_SIZE));
    }
    // A pixel of tolerance on either side.
    assert!(extents.iter().all(|extent| (0.045..0.455).contains(extent)), "{extents:?}");
    assert!(extents.iter().any(|&extent| extent < 0.12));
    assert!(extents.iter().any(|&extent| extent > 0.33));
}

#[test]
fn phantoms_are_reddish() {
    for index in 0..20 {
        let (image, _) = phantom(4, index, DEFAULT_SIZE);
        let mut sum = [0.0; 3];
        for pixel in image.pixels() {
            for (sum, value) in sum.iter_mut().zip(pixel.0) {
                *sum += f64::from(value);
            }
        }
        assert!(sum[0] > 1.2 * sum[1] && sum[1] > sum[2] * 0.85, "index {index}: {sum:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn masks_of_phantoms_are_never_empty(seed: u64, index: u64, size in MIN_SIZE..160) {
        let (image, truth) = phantom(seed, index, size);
        prop_assert_eq!(image.dimensions(), (size, size));
        prop_assert_eq!((truth.width, truth.height), (size, size));
        prop_assert!(!truth.is_empty());
        prop_assert!(truth.foreground_share() < 0.25);
    }

    #[test]
    fn masks_of_scenes_are_apart_or_nested(seed: u64, index: u64, size in MIN_SIZE..160) {
        let scene = natural(seed, index, size);
        prop_assert_eq!(scene.image.dimensions(), (size, size));
        prop_assert!(!scene.objects.is_empty());
        for (position, front) in scene.objects.iter().enumerate() {
            prop_assert!(front.foreground() >= 8);
            prop_assert!(f64::from(extent(front)) <= 0.6 * f64::from(size) + 2.0);
            for back in &scene.objects[..position] {
                let both = front.values.iter().zip(&back.values).filter(|(a, b)| **a && **b).count();
                prop_assert!(both == 0 || both == front.foreground(), "a part lies in its whole");
            }
        }
    }
}

#[test]
fn scenes_hold_many_objects_of_many_sizes() {
    let scenes: Vec<_> = (0..40).map(|index| natural(3, index, 128)).collect();
    let counts: BTreeSet<_> = scenes.iter().map(|scene| scene.objects.len()).collect();
    assert!(counts.len() > 8, "{counts:?}");
    let extents: Vec<f64> = scenes
        .iter()
        .flat_map(|scene| &scene.objects)
        .map(|mask| f64::from(extent(mask)) / 128.0)
        .collect();
    assert!(extents.iter().any(|&extent| extent < 0.06));
    assert!(extents.iter().any(|&extent| extent > 0.5));
}
