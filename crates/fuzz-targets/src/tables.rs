//! CSV, TOML and JSON files, and entries of the feature cache.

use std::sync::LazyLock;

use data_loaders::augment::AugmentSpec;
use data_loaders::{Card, Catalog, DataSet};
use feature_cache::{FeatureCache, FeatureKey, Lookup, Precision};
use launcher::profile::Profile;
use run_record::{
    CaseRow, ClickRow, CurveRow, Environment, EpochRow, Failure, Outline, Panel, RunRecord, Timing,
    read_json, read_rows,
};

use crate::scratch;

/// A set that a file can split.
static PHANTOM: LazyLock<DataSet> = LazyLock::new(|| {
    DataSet::open("phantom", "test", None, &Catalog::built_in()).expect("it needs no files")
});

/// Reads the bytes as each CSV file that there is: cases in the published format, a split, and the rows of a run.
pub fn tables(bytes: &[u8]) -> bool {
    let path = scratch::file("table.csv", bytes);
    let root = path.parent().expect("a file lies in a folder");
    let mut accepted = DataSet::from_csv(&path, "train", root).is_ok();
    accepted |= PHANTOM.split_by(&path, "test", "phantom").is_ok();
    accepted |= read_rows::<CaseRow>(&path).is_ok();
    accepted |= read_rows::<EpochRow>(&path).is_ok();
    accepted |= read_rows::<ClickRow>(&path).is_ok();
    if let Ok(rows) = read_rows::<CurveRow>(&path) {
        accepted |= rows.iter().all(|row| row.levels().is_ok());
    }
    accepted
}

/// Reads the bytes as the card of a data set, as settings of augmentation, and as the profile of a cluster.
pub fn cards(bytes: &[u8]) -> bool {
    let path = scratch::file("card.toml", bytes);
    let card = Card::from_path(&path);
    if let Ok(card) = &card {
        let _ = (card.cases(), card.short_terms().len());
        // Each is looked for among all.
        for split in card.split_names().into_iter().take(20) {
            let _ = card.members(&split);
        }
    }
    let profile = Profile::load(Some(&path), &[]);
    AugmentSpec::read(&path).is_ok() || card.is_ok() || profile.is_ok()
}

/// Reads the bytes as each JSON file of a run.
pub fn records(bytes: &[u8]) -> bool {
    let path = scratch::file("record.json", bytes);
    [
        RunRecord::read(&path).is_ok(),
        Outline::read(&path).is_ok(),
        read_json::<Environment>(&path).is_ok(),
        read_json::<Failure>(&path).is_ok(),
        Timing::read(&path).is_ok(),
        read_json::<Vec<Panel>>(&path).is_ok(),
    ]
    .contains(&true)
}

/// Reads the bytes as an entry of the feature cache: under a key, in a survey, and in a verification, which removes
/// it if it is damaged.
pub fn feature_entries(bytes: &[u8]) -> bool {
    let root = scratch::folder("cache");
    let cache =
        FeatureCache::open(&root, 1 << 30).expect("the system has room for temporary files");
    let digest = key().digest();
    let folder = root.join("v1").join(&digest[..2]);
    let path = folder.join(format!("{digest}.feature"));
    std::fs::create_dir_all(&folder).expect("the system has room for temporary files");
    scratch::write(&path, bytes);
    let survey = cache.survey().expect("the folder can be listed");
    assert_eq!(survey.entries, 1);
    let found = cache.get(&key(), &SHAPE).expect("the file can be read");
    let accepted = matches!(found, Lookup::Found(_));
    scratch::write(&path, bytes);
    let verification = cache.verify(|_, _| {}).expect("the folder can be listed");
    assert_eq!(verification.whole + verification.damaged.len(), 1, "{verification:?}");
    // Both look at name and checksum, who reads also at shape and numbers.
    assert!(!accepted || verification.whole == 1, "{verification:?}");
    accepted
}

/// The shape of the seeds.
const SHAPE: [usize; 3] = [2, 1, 2];

/// The key of the seeds.
fn key() -> FeatureKey {
    FeatureKey {
        image: "00".into(),
        preparation: "plain 8".into(),
        view: "identity".into(),
        weights: "00".into(),
        encoder: "tiny f32".into(),
        tensor: "image_embedding".into(),
        precision: Precision::F16,
    }
}
