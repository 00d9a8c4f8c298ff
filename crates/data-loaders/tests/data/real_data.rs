//! The real images, where somebody has them.

use std::path::PathBuf;

use data_loaders::{BadCases, Catalog, DataError, DataSet};

/// The data root, or `None` after saying why the test does nothing.
fn root() -> Option<PathBuf> {
    let root = std::env::var_os("PROMISE_DATA").map(PathBuf::from);
    if root.is_none() {
        println!("skipped: PROMISE_DATA is not set");
    }
    root
}

#[test]
fn every_image_of_the_cards_decodes_and_has_a_lesion() {
    let Some(root) = root() else { return };
    let catalog = Catalog::built_in();
    for card in catalog.cards() {
        for split in card.split_names() {
            let set = match DataSet::open(&card.name, &split, Some(&root), &catalog) {
                Err(DataError::LayoutMissing { .. }) => {
                    println!("skipped: no {split} of {} under PROMISE_DATA", card.name);
                    continue;
                }
                set => set.unwrap(),
            };
            let loaded = set.load_all(BadCases::Fail).unwrap();
            assert_eq!(loaded.cases.len(), set.len());
            let mut total = 0.0;
            for case in &loaded.cases {
                let share = case.truth.foreground_share();
                assert!(share > 0.0, "{} {}", card.name, case.id);
                total += share;
            }
            // A single lesion may fill its image; inverted masks would be mostly foreground.
            let mean = total / loaded.cases.len() as f64;
            assert!(mean < 0.5, "{} {split}: {mean}", card.name);
        }
    }
}
