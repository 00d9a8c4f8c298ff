//! What is in a cache, whether it is whole, and getting rid of it.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    CacheError, Damage, FeatureCache,
    cache::{list, now, remove, version_folder},
    entry,
};

/// What a cache holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Survey {
    /// Entries, damaged ones included.
    pub entries: usize,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Bytes that entries may take.
    pub limit: u64,
    /// Since when the entry that was not used for longest was not used, in seconds.
    pub oldest_use_secs: Option<u64>,
    /// The readable entries by what they belong to, largest first.
    pub backbones: Vec<BackboneUse>,
    /// Entries that cannot be read now: damaged ones, which `verify` removes, and others, which it names.
    pub unreadable: usize,
    /// Folders of entries of other versions of this program, which `clear` removes.
    pub other_versions: Vec<PathBuf>,
}

/// Entries of one encoder with one way of preparing images and storing numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackboneUse {
    /// Name of the encoder.
    pub encoder: String,
    /// SHA-256 of its weights.
    pub weights: String,
    /// How images were prepared.
    pub preparation: String,
    /// How numbers are stored.
    pub precision: String,
    /// Number of images and views.
    pub images: usize,
    /// Number of entries.
    pub entries: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Outcome of reading every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Entries that are whole.
    pub whole: usize,
    /// Damaged ones, which were removed.
    pub damaged: Vec<DamagedEntry>,
    /// Those that cannot be read for a reason that is not their own; they stay.
    pub unreadable: Vec<DamagedEntry>,
}

/// An entry that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedEntry {
    /// Where it is or was.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl FeatureCache {
    /// Reads the descriptions of all entries.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn survey(&self) -> Result<Survey, CacheError> {
        let files = self.files()?;
        let now = now();
        let mut survey = Survey {
            entries: files.len(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            limit: self.limit(),
            oldest_use_secs: files
                .iter()
                .map(|file| now.duration_since(file.used).unwrap_or(Duration::ZERO).as_secs())
                .max(),
            ..Survey::default()
        };
        let mut groups: BTreeMap<[String; 4], (BTreeMap<String, ()>, usize, u64)> = BTreeMap::new();
        for file in files {
            let Ok(Some(Ok((mapped, _)))) = entry::open(&file.path, false) else {
                survey.unreadable += 1;
                continue;
            };
            let key = mapped.key();
            let name = [&key.encoder, &key.weights, &key.preparation].map(String::clone);
            let [encoder, weights, preparation] = name;
            let group = groups
                .entry([encoder, weights, preparation, key.precision.to_string()])
                .or_default();
            group.0.insert(format!("{} {}", key.image, key.view), ());
            group.1 += 1;
            group.2 += file.bytes;
        }
        survey.backbones = groups
            .into_iter()
            .map(|([encoder, weights, preparation, precision], (images, entries, bytes))| {
                let images = images.len();
                BackboneUse { encoder, weights, preparation, precision, images, entries, bytes }
            })
            .collect();
        survey.backbones.sort_by_key(|group| std::cmp::Reverse(group.bytes));
        survey.other_versions = self.other_versions()?;
        Ok(survey)
    }

    /// Reads every entry, compares it with its checksum and its name, and removes the damaged ones.
    ///
    /// `progress` is told how many of how many are done.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn verify(
        &self,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Verification, CacheError> {
        let files = self.files()?;
        let n = files.len();
        let mut verification = Verification::default();
        let mut bytes = 0;
        for (done, file) in files.into_iter().enumerate() {
            progress(done, n);
            let read = match entry::open(&file.path, true) {
                Ok(read) => read,
                Err(error) => {
                    let reason = error.to_string();
                    verification.unreadable.push(DamagedEntry { path: file.path, reason });
                    continue;
                }
            };
            let damage = match read {
                // Removed by another process since.
                None => continue,
                Some(Ok((mapped, _))) => {
                    let name = file.path.file_stem().map(|stem| stem.to_string_lossy());
                    (name != Some(mapped.key().digest().into())).then_some(Damage::OtherKey)
                }
                Some(Err(damage)) => Some(damage),
            };
            match damage {
                None => {
                    verification.whole += 1;
                    bytes += file.bytes;
                }
                Some(damage) => {
                    remove(&file.path)?;
                    let reason = damage.to_string();
                    verification.damaged.push(DamagedEntry { path: file.path, reason });
                }
            }
        }
        progress(n, n);
        self.set_bytes(bytes);
        Ok(verification)
    }

    /// Removes all entries, those of other versions too. The number of bytes that are free now.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`]
    pub fn clear(&self) -> Result<u64, CacheError> {
        let mut freed = 0;
        for file in self.files()? {
            remove(&file.path)?;
            freed += file.bytes;
        }
        for folder in self.other_versions()? {
            freed += bytes_below(&folder)?;
            fs::remove_dir_all(&folder).map_err(CacheError::io("remove", folder))?;
        }
        self.forget();
        self.set_bytes(0);
        Ok(freed)
    }

    fn other_versions(&self) -> Result<Vec<PathBuf>, CacheError> {
        let mut folders = list(self.root())?;
        folders.retain(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let number = name.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
            number && name != version_folder() && path.is_dir() && !path.is_symlink()
        });
        Ok(folders)
    }
}

fn bytes_below(folder: &std::path::Path) -> Result<u64, CacheError> {
    let mut bytes = 0;
    for path in list(folder)? {
        let metadata =
            fs::symlink_metadata(&path).map_err(CacheError::io("look at", path.clone()))?;
        bytes += if metadata.is_dir() { bytes_below(&path)? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{FeatureKey, Precision, key::tests::key};

    fn filled() -> (tempfile::TempDir, FeatureCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), 1 << 20).unwrap();
        for image in ["a", "b"] {
            for tensor in ["image_embedding", "block 2"] {
                let key = FeatureKey { tensor: tensor.into(), ..key(image) };
                cache.put(&key, &[2, 3], &[1.0; 6]).unwrap();
            }
        }
        let key = FeatureKey { precision: Precision::F32, ..key("a") };
        cache.put(&key, &[2, 3], &[1.0; 6]).unwrap();
        (folder, cache)
    }

    #[test]
    fn a_survey_counts_images_and_entries_by_encoder_and_precision() {
        let (_folder, cache) = filled();
        let survey = cache.survey().unwrap();
        assert_eq!((survey.entries, survey.unreadable, survey.limit), (5, 0, 1 << 20));
        let groups: Vec<_> = survey
            .backbones
            .iter()
            .map(|group| (group.precision.as_str(), group.images, group.entries))
            .collect();
        assert_eq!(groups, [("f16", 2, 4), ("f32", 1, 1)]);
        assert_eq!(survey.backbones.iter().map(|group| group.bytes).sum::<u64>(), survey.bytes);
    }

    #[test]
    fn verification_removes_what_is_damaged_and_says_what_it_was() {
        let (_folder, cache) = filled();
        let files = cache.files().unwrap();
        let mut bytes = fs::read(&files[0].path).unwrap();
        *bytes.last_mut().unwrap() ^= 0x10;
        fs::write(&files[0].path, bytes).unwrap();
        fs::write(&files[1].path, "short").unwrap();
        let mut told = Vec::new();
        let verification = cache.verify(|done, n| told.push((done, n))).unwrap();
        assert_eq!(verification.whole, 3);
        let paths: Vec<_> = verification.damaged.iter().map(|entry| &entry.path).collect();
        assert_eq!(paths, [&files[0].path, &files[1].path]);
        assert!(verification.damaged[0].reason.contains("checksum"));
        assert_eq!(told.last(), Some(&(5, 5)));
        assert!(cache.verify(|_, _| ()).unwrap().damaged.is_empty());
        assert_eq!(cache.survey().unwrap().entries, 3);
    }

    #[test]
    fn clearing_removes_entries_of_all_versions_and_nothing_else() {
        let (folder, cache) = filled();
        let old = folder.path().join("v0").join("ab");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("x.feature"), "old").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let survey = cache.survey().unwrap();
        assert_eq!(survey.other_versions, [folder.path().join("v0")]);
        assert_eq!(cache.clear().unwrap(), survey.bytes + 3);
        assert_eq!(cache.survey().unwrap().entries, 0);
        assert!(!folder.path().join("v0").exists() && folder.path().join("notes.txt").exists());
        assert!(cache.put(&key("a"), &[1], &[1.0]).unwrap());
    }
}
