//! Predictions and truths that belong together.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::files::{FolderIndex, list_images, stem, warn_left_out};

/// A prediction of a folder and the truth that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionPair {
    /// File name of the prediction without its extension.
    pub id: String,
    /// The prediction.
    pub prediction: PathBuf,
    /// The truth; nothing if there is none.
    pub truth: Option<PathBuf>,
}

/// The predictions of a folder with their truths, and the truths that nothing was predicted for, both sorted.
///
/// A truth belongs to a prediction as a mask to its image in
/// [`DataSet::from_folders`](crate::DataSet::from_folders): it has the same stem, or one made of it by
/// [`MASK_NAMES`](crate::MASK_NAMES). What else lies in the folders is worth one warning.
///
/// # Errors
///
/// [`DataError::Folder`] if a folder cannot be listed, [`DataError::NoImages`] if one has no picture,
/// [`DataError::DuplicateId`] if two predictions differ in their extension only, [`DataError::NoPairs`] if no prediction
/// has a truth.
pub fn pair_predictions(
    predictions: &Path,
    truths: &Path,
) -> Result<(Vec<PredictionPair>, Vec<PathBuf>), DataError> {
    let mut by_id: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut left_out = Vec::new();
    for path in list_images(predictions, &mut left_out)? {
        let id = stem(&path);
        if let Some(first) = by_id.insert(id.clone(), path.clone()) {
            return Err(DataError::DuplicateId { id, first, second: path });
        }
    }
    let all_truths = list_images(truths, &mut left_out)?;
    let index = FolderIndex::of_files(all_truths.clone());
    warn_left_out(predictions, left_out);
    let ids: HashSet<String> = by_id.keys().cloned().collect();
    let pairs: Vec<PredictionPair> = by_id
        .into_iter()
        .map(|(id, prediction)| {
            let truth = index.mask_of(&id, &ids);
            PredictionPair { id, prediction, truth }
        })
        .collect();
    let used: HashSet<&PathBuf> = pairs.iter().filter_map(|pair| pair.truth.as_ref()).collect();
    if used.is_empty() {
        return Err(DataError::NoPairs {
            images: pairs.len(),
            first: pairs[0].prediction.clone(),
            masks: truths.into(),
        });
    }
    let unpredicted = all_truths.into_iter().filter(|truth| !used.contains(truth)).collect();
    Ok((pairs, unpredicted))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    /// Empty files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_prediction_finds_its_truth_by_name_whatever_the_extension() {
        let predictions = folder(&["b.png", "a.png", "ISIC_1.png", "c.png", "notes.txt"]);
        let truths = folder(&["a.png", "b.jpg", "ISIC_1_segmentation.png", "d.png"]);
        let (pairs, unpredicted) = pair_predictions(predictions.path(), truths.path()).unwrap();
        let found: Vec<_> = pairs
            .iter()
            .map(|pair| {
                (pair.id.as_str(), pair.truth.as_ref().map(|path| path.file_name().unwrap()))
            })
            .collect();
        let name = |name: &'static str| Some(std::ffi::OsStr::new(name));
        assert_eq!(
            found,
            [
                ("ISIC_1", name("ISIC_1_segmentation.png")),
                ("a", name("a.png")),
                ("b", name("b.jpg")),
                ("c", None),
            ]
        );
        assert_eq!(unpredicted, [truths.path().join("d.png")]);
    }

    #[test]
    fn two_predictions_of_one_case_and_a_wrong_folder_are_refused() {
        let truths = folder(&["a.png"]);
        let error =
            pair_predictions(folder(&["a.png", "a.jpg"]).path(), truths.path()).unwrap_err();
        assert!(matches!(error, DataError::DuplicateId { .. }), "{error}");
        let error = pair_predictions(folder(&["x.png"]).path(), truths.path()).unwrap_err();
        assert!(matches!(error, DataError::NoPairs { .. }), "{error}");
        let error = pair_predictions(folder(&[]).path(), truths.path()).unwrap_err();
        assert!(matches!(error, DataError::NoImages { .. }), "{error}");
    }
}
