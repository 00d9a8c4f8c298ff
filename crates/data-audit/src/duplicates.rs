//! Images that are the same or look the same.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use crate::examine::ImageFacts;
use crate::report::Same;

/// How many similar images are listed for one image. Leaks are looked for among all of them.
pub const MAX_PARTNERS: usize = 64;

/// A readable image, by its position in the inventory.
pub(crate) struct Known<'a> {
    pub index: usize,
    pub path: &'a Path,
    pub facts: &'a ImageFacts,
}

/// A pair of positions in a list of images and how they are the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match {
    pub first: usize,
    pub second: usize,
    pub same: Same,
}

/// For every image that repeats an earlier one: the first of its kind.
pub(crate) fn exact(images: &[Known<'_>]) -> Vec<Match> {
    let mut first_of: HashMap<[u8; 32], &Known<'_>> = HashMap::new();
    let mut found = Vec::new();
    for image in images {
        match first_of.get(&image.facts.pixels) {
            Some(first) => {
                let same = how_same(first, image);
                found.push(Match { first: first.index, second: image.index, same });
            }
            None => {
                first_of.insert(image.facts.pixels, image);
            }
        }
    }
    found
}

/// Pairs of images that look the same without being the same, by the first, the most similar first.
pub(crate) fn near(images: &[Known<'_>], progress: &(dyn Fn() + Sync)) -> Vec<Match> {
    let of_one = |position: usize| {
        let one = &images[position];
        let found = looking_like(one, &images[position + 1..]);
        progress();
        found
    };
    let found: Vec<Vec<Match>> = (0..images.len()).into_par_iter().map(of_one).collect();
    found.into_iter().flatten().collect()
}

/// The first partners of every image, as many as are listed.
pub(crate) fn first_partners(near: &[Match]) -> Vec<Match> {
    let of_one = near.chunk_by(|a, b| a.first == b.first);
    of_one.flat_map(|found| found.iter().take(MAX_PARTNERS).copied()).collect()
}

fn looking_like(one: &Known<'_>, others: &[Known<'_>]) -> Vec<Match> {
    let mut found: Vec<(f64, Match)> = Vec::new();
    for other in others.iter().filter(|other| other.facts.pixels != one.facts.pixels) {
        let look = one.facts.fingerprint.looks_like(&other.facts.fingerprint);
        if let Some((hash_distance, correlation)) = look {
            let same = Same::Look { hash_distance, correlation };
            found.push((correlation, Match { first: one.index, second: other.index, same }));
        }
    }
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.into_iter().map(|(_, found)| found).collect()
}

/// For every image that recurs in another data set: the most similar one there.
pub(crate) fn across(
    images: &[Known<'_>],
    others: &[Known<'_>],
    progress: &(dyn Fn() + Sync),
) -> Vec<Match> {
    let mut by_pixels: HashMap<[u8; 32], &Known<'_>> = HashMap::new();
    for other in others.iter().rev() {
        by_pixels.insert(other.facts.pixels, other);
    }
    let best = |image: &Known<'_>| {
        let found = match by_pixels.get(&image.facts.pixels) {
            Some(other) => {
                let same = how_same(image, other);
                Some(Match { first: image.index, second: other.index, same })
            }
            None => looking_like(image, others).first().copied(),
        };
        progress();
        found
    };
    let found: Vec<Option<Match>> = images.par_iter().map(best).collect();
    found.into_iter().flatten().collect()
}

/// How two images of the same pixels are the same.
fn how_same(one: &Known<'_>, other: &Known<'_>) -> Same {
    if one.path == other.path {
        Same::File
    } else if one.facts.bytes == other.facts.bytes {
        Same::Bytes
    } else {
        Same::Pixels
    }
}
