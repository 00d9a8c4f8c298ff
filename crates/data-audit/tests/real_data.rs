//! The sets that the project's results are of, where somebody has them: true counts, and the leaks that are
//! known. Copies of other sizes, or more of a set, are as good.

#![allow(clippy::unwrap_used)]

use data_audit::{Audit, Leak, Silent, audit};
use data_loaders::{Catalog, Inventory};

/// A set that is compared with `others`, or nothing after saying why.
fn checked(name: &str, others: &[&str]) -> Option<Audit> {
    let Some(root) = std::env::var_os("PROMISE_DATA") else {
        println!("skipped: PROMISE_DATA is not set");
        return None;
    };
    let inventory = |name: &str| {
        let found = Inventory::of_card(Catalog::built_in().get(name).unwrap(), root.as_ref());
        if let Err(error) = &found {
            println!("skipped: {error}");
        }
        found.ok()
    };
    let others: Vec<_> = others.iter().map(|other| inventory(other)).collect::<Option<_>>()?;
    Some(audit(&inventory(name)?, &others, &Silent))
}

/// Every split that is there is whole, and nothing is wrong with the files.
fn assert_whole(report: &Audit) {
    let there: Vec<_> = report.splits.iter().filter(|row| row.layout.is_some()).collect();
    assert!(!there.is_empty());
    for row in there {
        assert_eq!(Some(row.usable), row.expected, "{}", row.split);
    }
    assert!(report.unreadable.is_empty(), "{:?}", report.unreadable);
    assert!(report.unpaired.is_empty(), "{:?}", report.unpaired);
    assert!(report.empty_masks.is_empty(), "{:?}", report.empty_masks);
    assert!(report.size_mismatches.is_empty(), "{:?}", report.size_mismatches);
}

#[test]
fn kvasir_has_its_thousand_pairs_the_near_duplicates_of_its_card_and_no_leak() {
    let Some(report) = checked("kvasir-seg", &[]) else { return };
    assert_eq!(report.pairs, 1000);
    assert_whole(&report);
    assert!(report.leaks.is_empty(), "{:?}", report.leaks);
    let found: Vec<[&str; 2]> = report
        .near_duplicates
        .iter()
        .map(|pair| [pair.first.id.as_str(), pair.second.id.as_str()])
        .collect();
    for pair in [
        ["cju30bmab08bi0835mvlr6e0r", "cju77k828z46w0871r0avuoo9"],
        ["cju5fydrud94708507vo6oy21", "cju7avvi51iox0817ym55y6tt"],
        ["cju76lsehyia10987u54vn8rb", "cju772304yw5t0818vbw8kkjf"],
        ["cju886ryxnsl50801r93jai7q", "cju8amfdtqi4x09871tygrgqe"],
    ] {
        assert!(found.contains(&pair), "{pair:?} is not in {found:?}");
    }
}

#[test]
fn the_test_frames_of_clinicdb_come_from_videos_of_its_training_part() {
    let Some(report) = checked("cvc-clinicdb", &[]) else { return };
    assert_eq!(report.pairs, 612);
    assert_whole(&report);
    let shared: Vec<_> = report
        .leaks
        .iter()
        .filter_map(|leak| match leak {
            Leak::SharedSequences { sequences, images, of, .. } => {
                Some((sequences.len(), *images, *of))
            }
            _ => None,
        })
        .collect();
    assert_eq!(shared, [(26, [62, 482], [62, 550])]);
}

/// Where `cvc-300` has a folder of its own this compares two copies; else the frames of `cvc-colondb` that it
/// is read from are compared with themselves, and only the list of names is tested.
#[test]
fn cvc_300_lies_inside_colondb_which_repeats_images_of_its_own() {
    let Some(report) = checked("cvc-colondb", &["cvc-300"]) else { return };
    assert_eq!(report.pairs, 380);
    assert_whole(&report);
    let shared: Vec<_> = report
        .leaks
        .iter()
        .filter_map(|leak| match leak {
            Leak::SharedWithOtherSet { data, images, .. } => Some((data.as_str(), *images)),
            _ => None,
        })
        .collect();
    assert_eq!(shared, [("cvc-300", 60)]);
    assert!(!report.exact_duplicates.is_empty());
    assert!(report.exact_duplicates.iter().any(|pair| pair.same_mask == Some(false)));
}

#[test]
fn isic_has_its_counts_and_its_sample_two_leaks() {
    let Some(report) = checked("isic2018-task1", &[]) else { return };
    assert_whole(&report);
    let sample = |split: &String| split.starts_with("sample_");
    let leaks = report.leaks.iter().filter(|leak| match leak {
        Leak::SimilarImages { splits, .. } => splits.iter().all(sample),
        _ => false,
    });
    assert_eq!(leaks.count(), 2, "{:?}", report.leaks);
}
