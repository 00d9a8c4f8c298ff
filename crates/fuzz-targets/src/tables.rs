//! CSV, TOML and JSON files, and entries of the feature cache.

use std::sync::LazyLock;

use data_loaders::augment::AugmentSpec;
use data_loaders::{Card, Catalog, DataSet};
use feature_cache::{FeatureCache, FeatureKey, Precision};
use run_record::{
    CaseRow, CurveRow, Environment, EpochRow, Failure, Outline, Panel, RunRecord, Timing,
    read_json, read_rows,
};

use crate::scratch;

/// A set that a file can split.
static PHANTOM: LazyLock<DataSet> = LazyLock::new(|| {
    DataSet::open("phantom", "test", None, &Catalog::built_in()).expect("it needs no files")
});

/// Reads the bytes as each CSV file that there is: cases in the published format, a split, and the rows of a run.
pub fn tables(bytes: &[u8]) {
    let path = scratch::file("table.csv", bytes);
    let root = path.parent().expect("a file lies in a folder");
    let _ = DataSet::from_csv(&path, "train", root);
    let _ = PHANTOM.split_by(&path, "test", "phantom");
    let _ = read_rows::<CaseRow>(&path);
    let _ = read_rows::<EpochRow>(&path);
    if let Ok(rows) = read_rows::<CurveRow>(&path) {
        for row in rows {
            let _ = row.levels();
        }
    }
}

/// Reads the bytes as the card of a data set and as settings of augmentation.
pub fn cards(bytes: &[u8]) {
    let path = scratch::file("card.toml", bytes);
    if let Ok(card) = Card::from_path(&path) {
        let _ = (card.cases(), card.split_names(), card.short_terms().len());
        // Each is looked for among all.
        for split in card.split_names().into_iter().take(20) {
            let _ = card.members(&split);
        }
    }
    let _ = AugmentSpec::read(&path);
}

/// Reads the bytes as each JSON file of a run.
pub fn records(bytes: &[u8]) {
    let path = scratch::file("record.json", bytes);
    let _ = RunRecord::read(&path);
    let _ = Outline::read(&path);
    let _ = read_json::<Environment>(&path);
    let _ = read_json::<Failure>(&path);
    let _ = read_json::<Timing>(&path);
    let _ = read_json::<Vec<Panel>>(&path);
}

/// Reads the bytes as an entry of the feature cache: under a key, in a survey, and in a verification, which removes
/// it if it is damaged.
pub fn feature_entries(bytes: &[u8]) {
    let root = scratch::folder("cache");
    let Ok(cache) = FeatureCache::open(&root, 1 << 30) else { return };
    let digest = key().digest();
    let folder = root.join("v1").join(&digest[..2]);
    let path = folder.join(format!("{digest}.feature"));
    std::fs::create_dir_all(&folder).expect("the system has room for temporary files");
    std::fs::write(&path, bytes).expect("the system has room for temporary files");
    let survey = cache.survey().expect("the folder can be listed");
    assert_eq!(survey.entries, 1);
    let _ = cache.get(&key());
    std::fs::write(&path, bytes).expect("the system has room for temporary files");
    let verification = cache.verify(|_, _| {}).expect("the folder can be listed");
    assert_eq!(verification.whole + verification.damaged.len(), 1, "{verification:?}");
}

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
