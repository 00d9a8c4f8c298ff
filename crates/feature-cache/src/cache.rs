//! Looking up, storing, making room.

use std::{
    collections::{HashSet, hash_map::RandomState},
    fs::{self, File},
    hash::BuildHasher as _,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use file_watchdog::watched;

use crate::{CacheError, Damage, FeatureKey, claim, entry};

/// Marks a folder as one of ours; the first line is the convention of <https://bford.info/cachedir/>.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # Encoder features of ProMISe. Everything here may be deleted.\n";
const TAG_FILE: &str = "CACHEDIR.TAG";
const TEMPORARY: &str = "tmp";
const CLAIMS: &str = "claims";
/// Extension of entries.
const EXTENSION: &str = "feature";
/// An entry counts as used again only after so long, so that reading does not mean writing.
const USE_RESOLUTION: Duration = Duration::from_secs(60);

/// All entries are counted again after a process has added so many-th a part of the limit; by as much
/// every other process may exceed it.
const RECOUNTS: u64 = 32;
/// A temporary file that nobody has locked so long after it was made belongs to nobody.
const ABANDONED_AFTER: Duration = Duration::from_secs(10);
/// The same where no locks are asked for: nobody writes a file for days.
const ABANDONED_WITHOUT_LOCKS: Duration = Duration::from_secs(3 * 24 * 3600);

/// A folder of features. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limit: u64,
    opened: SystemTime,
    /// Bytes of all entries, as far as this process knows.
    bytes: AtomicU64,
    /// Entries whose checksum this process has compared.
    verified: Mutex<HashSet<String>>,
    /// Bytes that this process wrote since it last counted all entries.
    uncounted: AtomicU64,
}

/// What was found under a key.
#[derive(Debug)]
pub enum Lookup {
    /// The numbers.
    Found(Stored),
    /// Nothing.
    Absent,
    /// Something that cannot be used. It was removed.
    Damaged {
        /// Why.
        damage: Damage,
        /// Where it was.
        path: PathBuf,
    },
}

/// A tensor of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Channels first, without a batch axis.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl FeatureCache {
    /// Opens the cache at `root`, making the folder if there is none.
    ///
    /// Entries may take `limit` bytes together.
    ///
    /// # Errors
    ///
    /// [`CacheError::NotACache`] for a folder that holds other things, [`CacheError::Io`].
    pub fn open(root: &Path, limit: u64) -> Result<Self, CacheError> {
        let tag = root.join(TAG_FILE);
        let is_ours = || {
            let text = bounded_read::read(&tag, TAG.len() as u64);
            text.is_ok_and(|text| text == TAG.as_bytes())
        };
        let ours = is_ours();
        if !ours {
            fs::create_dir_all(root).map_err(CacheError::io("make the folder", root))?;
            let mut content = fs::read_dir(root).map_err(CacheError::io("list", root))?;
            // Another process may be making it at this moment.
            let foreign = content.any(|item| {
                item.is_ok_and(|item| {
                    let name = item.file_name();
                    ![TEMPORARY, CLAIMS, TAG_FILE, version_folder().as_str()]
                        .contains(&name.to_string_lossy().as_ref())
                }) && !is_ours()
            });
            if foreign {
                return Err(CacheError::NotACache { path: root.to_owned() });
            }
        }
        for folder in [version_folder().as_str(), TEMPORARY, CLAIMS] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(CacheError::io("make the folder", path))?;
        }
        if !ours {
            let temporary = root.join(TEMPORARY).join(format!("tag.{}", chance()));
            fs::write(&temporary, TAG).map_err(CacheError::io("write", &temporary))?;
            fs::rename(&temporary, &tag).map_err(CacheError::io("write", &tag))?;
        }
        let cache = Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                limit,
                opened: now(),
                bytes: AtomicU64::new(0),
                verified: Mutex::default(),
                uncounted: AtomicU64::new(0),
            }),
        };
        cache.remove_abandoned()?;
        let bytes = cache.files()?.iter().map(|file| file.bytes).sum();
        cache.inner.bytes.store(bytes, Ordering::Relaxed);
        Ok(cache)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Bytes that entries may take.
    pub fn limit(&self) -> u64 {
        self.inner.limit
    }

    /// Whether there is an entry, without reading it.
    #[cfg(test)]
    pub(crate) fn contains(&self, key: &FeatureKey) -> bool {
        self.path(&key.digest()).exists()
    }

    /// The numbers of an entry.
    ///
    /// - `shape`: that it must have, channels first, without a batch axis
    ///
    /// The first time that this process reads an entry, all of it is compared with its checksum. A
    /// damaged entry is removed, so that whoever computes it again can store it.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`] if the entry cannot be read for a reason that is not its own, or a damaged one
    /// not removed.
    pub fn get(&self, key: &FeatureKey, shape: &[usize]) -> Result<Lookup, CacheError> {
        let digest = key.digest();
        let path = self.path(&digest);
        let verify = !self.verified().contains(&digest);
        // The numbers of a mapped file are read where they are looked at.
        let read = watched(&path, || -> io::Result<_> {
            Ok(match entry::open(&path, verify)? {
                None => None,
                Some(Ok((mapped, _))) if mapped.key() != key => Some(Err(Damage::OtherKey)),
                Some(Err(damage)) => Some(Err(damage)),
                Some(Ok((mapped, _))) if mapped.shape() != shape => Some(Err(Damage::Shape {
                    found: mapped.shape().to_vec(),
                    expected: shape.to_vec(),
                })),
                Some(Ok((mapped, file))) => {
                    let values = mapped.values();
                    // Whoever can write into the folder can make checksums, too.
                    Some(if !verify || values.iter().all(|value| value.is_finite()) {
                        self.note_use(&file);
                        Ok(Stored { shape: shape.to_vec(), values })
                    } else {
                        Err(Damage::NotFinite)
                    })
                }
            })
        });
        match read.map_err(CacheError::io("read", &path))? {
            None => Ok(Lookup::Absent),
            Some(Ok(stored)) => {
                if verify {
                    self.verified().insert(digest);
                }
                Ok(Lookup::Found(stored))
            }
            Some(Err(damage)) => {
                remove(&path)?;
                Ok(Lookup::Damaged { damage, path })
            }
        }
    }

    /// Stores a tensor. `false` if it does not fit: the cache has reached its limit, and everything
    /// in it was used since this process began.
    ///
    /// - `shape`: channels first, without a batch axis
    /// - `values`: row-major
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`], for example on a full disk. What was stored before stays.
    ///
    /// # Panics
    ///
    /// Panics if `shape` does not fit `values`: a bug in the caller.
    pub fn put(
        &self,
        key: &FeatureKey,
        shape: &[usize],
        values: &[f32],
    ) -> Result<bool, CacheError> {
        let bytes = entry::write(key, shape, values);
        if !self.make_room(bytes.len() as u64)? {
            return Ok(false);
        }
        let digest = key.digest();
        let path = self.path(&digest);
        let folder = path.parent().unwrap_or(&self.inner.root).to_owned();
        fs::create_dir_all(&folder).map_err(CacheError::io("make the folder", folder))?;
        let temporary = self.folder(TEMPORARY).join(format!("{digest}.{}", chance()));
        let replaced = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let written = watched(&path, || {
            let file = write_locked(&temporary, &bytes)?;
            fs::rename(&temporary, &path).map(|()| drop(file)).inspect_err(|_| {
                // Nothing can be done about a temporary file that cannot be removed either.
                let _ = fs::remove_file(&temporary);
            })
        });
        written.map_err(CacheError::io("write", &path))?;
        self.inner.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.bytes.fetch_sub(replaced, Ordering::Relaxed);
        self.verified().insert(digest);
        Ok(true)
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }

    pub(crate) fn claims(&self) -> PathBuf {
        self.folder(CLAIMS)
    }

    /// Forgets that an entry was read and found whole.
    pub(crate) fn forget(&self) {
        self.verified().clear();
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.inner.bytes.store(bytes, Ordering::Relaxed);
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A poisoned set still says which entries were compared.
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &str) -> PathBuf {
        let folder = self.folder(&version_folder()).join(&digest[..2]);
        folder.join(format!("{digest}.{EXTENSION}"))
    }

    /// All entries, by name.
    pub(crate) fn files(&self) -> Result<Vec<EntryFile>, CacheError> {
        let root = self.folder(&version_folder());
        let mut files = Vec::new();
        for folder in list(&root)? {
            if !folder.is_dir() {
                continue;
            }
            for path in list(&folder)? {
                if path.extension().is_none_or(|extension| extension != EXTENSION) {
                    continue;
                }
                // Another process may have removed it since.
                if let Ok(metadata) = fs::metadata(&path) {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    files.push(EntryFile { path, bytes: metadata.len(), used });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Remembers that an entry was used now. Failing that, it is only removed sooner.
    fn note_use(&self, file: &File) {
        let now = now();
        let recent = |last: SystemTime| {
            last >= self.inner.opened
                && now.duration_since(last).is_ok_and(|age| age <= USE_RESOLUTION)
        };
        let last = file.metadata().and_then(|metadata| metadata.modified());
        if !last.is_ok_and(recent) {
            let _ = file.set_modified(now);
        }
    }

    /// Removes the entries that nobody has used for longest until `bytes` more fit. Whether they do.
    fn make_room(&self, bytes: u64) -> Result<bool, CacheError> {
        let fits = |used: u64| used.saturating_add(bytes) <= self.inner.limit;
        // Others write too: what they add is counted every now and then.
        let uncounted = self.inner.uncounted.fetch_add(bytes, Ordering::Relaxed);
        let known = uncounted <= self.inner.limit / RECOUNTS;
        if known && fits(self.inner.bytes.load(Ordering::Relaxed)) {
            return Ok(true);
        }
        self.inner.uncounted.store(0, Ordering::Relaxed);
        // One process at a time, or two would remove for the same need.
        let _turn = claim::wait(&self.claims().join("eviction"), &AtomicBool::new(false))?;
        let mut files = self.files()?;
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut used: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if fits(used) || file.used >= self.inner.opened {
                break;
            }
            remove(&file.path)?;
            used -= file.bytes;
        }
        self.inner.bytes.store(used, Ordering::Relaxed);
        Ok(fits(used))
    }

    /// Removes what processes that are gone were writing.
    fn remove_abandoned(&self) -> Result<(), CacheError> {
        for path in list(&self.folder(TEMPORARY))? {
            // Whoever writes holds a lock until the file has its name; a moment passes before.
            let locks = file_lock::has_system_locks();
            let after = if locks { ABANDONED_AFTER } else { ABANDONED_WITHOUT_LOCKS };
            let abandoned = File::open(&path).is_ok_and(|file| {
                let age =
                    file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
                let old = age.is_ok_and(|age| age.is_ok_and(|age| age > after));
                old && (!locks || file.try_lock().is_ok())
            });
            if abandoned {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// A file that holds an entry.
pub(crate) struct EntryFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub used: SystemTime,
}

/// Folder of the entries of this version.
pub(crate) fn version_folder() -> String {
    format!("v{}", entry::VERSION)
}

/// What a folder holds, by name.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let listed = watched(folder, || {
        fs::read_dir(folder)?
            .map(|item| item.map(|item| item.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut paths = listed.map_err(CacheError::io("list", folder))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CacheError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file; its lock, where locks are asked for, lasts as long as what is returned.
fn write_locked(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    if file_lock::has_system_locks() {
        // Nobody else knows the name, and some file systems know no locks.
        let _ = file.try_lock();
    }
    match file.write_all(bytes) {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// A part of a file's name that no other process and thread has; no number depends on it.
fn chance() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}

/// The time of day. When an entry was used decides what goes first when room is needed, and no number.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    const SHAPE: [usize; 2] = [2, 8];

    fn values(first: f32) -> Vec<f32> {
        (0..16).map(|at| first + at as f32).collect()
    }

    fn found(lookup: Lookup) -> Option<Vec<f32>> {
        match lookup {
            Lookup::Found(stored) => Some(stored.values),
            _ => None,
        }
    }

    fn age(cache: &FeatureCache, key: &FeatureKey, hours: u64) {
        let file = File::open(cache.path(&key.digest())).unwrap();
        file.set_modified(now() - Duration::from_secs(3600 * hours)).unwrap();
    }

    #[test]
    fn what_was_put_is_found_by_another_process_too() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        assert!(matches!(cache.get(&key("a"), &SHAPE).unwrap(), Lookup::Absent));
        assert!(!cache.contains(&key("a")));
        assert!(cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap());
        let again = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        assert!(again.contains(&key("a")));
        let Lookup::Found(stored) = again.get(&key("a"), &SHAPE).unwrap() else {
            panic!("not found")
        };
        assert_eq!(stored, Stored { shape: SHAPE.to_vec(), values: values(0.0) });
        assert!(matches!(again.get(&key("b"), &SHAPE).unwrap(), Lookup::Absent));
    }

    #[test]
    fn a_damaged_entry_is_removed_told_and_can_be_stored_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        let path = cache.path(&key("a").digest());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        // This process wrote it and trusts it; the next one does not.
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        match cache.get(&key("a"), &SHAPE).unwrap() {
            Lookup::Damaged { damage: Damage::Checksum { .. }, path: told } => {
                assert_eq!(told, path);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(cache.get(&key("a"), &SHAPE).unwrap(), Lookup::Absent));
        cache.put(&key("a"), &SHAPE, &values(1.0)).unwrap();
        assert_eq!(found(cache.get(&key("a"), &SHAPE).unwrap()), Some(values(1.0)));
    }

    #[test]
    fn whole_entries_of_other_shapes_or_without_numbers_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        // In 16 bits what is infinite becomes the largest number.
        let key = FeatureKey { precision: crate::Precision::F32, ..key("a") };
        let get = |shape: &[usize]| {
            FeatureCache::open(folder.path(), u64::MAX).unwrap().get(&key, shape).unwrap()
        };
        let put = |values: &[f32]| {
            let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
            cache.put(&key, &SHAPE, values).unwrap();
        };
        for shape in [&[8, 2][..], &[16], &[2, 4], &[2, 4, 2]] {
            put(&values(0.0));
            let Lookup::Damaged { damage, .. } = get(shape) else { panic!("{shape:?}") };
            assert_eq!(damage, Damage::Shape { found: SHAPE.to_vec(), expected: shape.to_vec() });
            assert!(matches!(get(&SHAPE), Lookup::Absent), "it was removed");
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = values(0.0);
            values[3] = bad;
            put(&values);
            let lookup = get(&SHAPE);
            assert!(
                matches!(lookup, Lookup::Damaged { damage: Damage::NotFinite, .. }),
                "{lookup:?}"
            );
        }
        put(&values(2.0));
        assert_eq!(found(get(&SHAPE)), Some(values(2.0)));
    }

    #[test]
    fn an_entry_under_a_wrong_name_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        let to = cache.path(&key("b").digest());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(cache.path(&key("a").digest()), to).unwrap();
        let lookup = cache.get(&key("b"), &SHAPE).unwrap();
        assert!(matches!(lookup, Lookup::Damaged { damage: Damage::OtherKey, .. }), "{lookup:?}");
    }

    #[test]
    fn the_entry_that_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        for name in ["a", "b", "c"] {
            cache.put(&key(name), &SHAPE, &values(0.0)).unwrap();
        }
        let one = fs::metadata(cache.path(&key("a").digest())).unwrap().len();
        age(&cache, &key("a"), 3);
        age(&cache, &key("b"), 2);
        age(&cache, &key("c"), 1);
        let cache = FeatureCache::open(folder.path(), 3 * one).unwrap();
        // Reading is using.
        cache.get(&key("a"), &SHAPE).unwrap();
        assert!(cache.put(&key("d"), &SHAPE, &values(0.0)).unwrap());
        let there = ["a", "b", "c", "d"].map(|name| cache.contains(&key(name)));
        assert_eq!(there, [true, false, true, true]);
    }

    #[test]
    fn what_this_process_uses_is_never_removed_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        let one = fs::metadata(cache.path(&key("a").digest())).unwrap().len();
        fs::remove_dir_all(folder.path()).unwrap();
        let cache = FeatureCache::open(folder.path(), 2 * one).unwrap();
        assert!(cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap());
        assert!(cache.put(&key("b"), &SHAPE, &values(0.0)).unwrap());
        assert!(!cache.put(&key("c"), &SHAPE, &values(0.0)).unwrap());
        assert!(cache.contains(&key("a")) && cache.contains(&key("b")));
    }

    #[test]
    fn several_processes_together_keep_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        let one = fs::metadata(cache.path(&key("a").digest())).unwrap().len();
        let limit = 100 * one;
        let caches = [0; 4].map(|_| FeatureCache::open(folder.path(), limit).unwrap());
        for number in 0..200 {
            for (process, cache) in caches.iter().enumerate() {
                cache.put(&key(&format!("{process} {number}")), &SHAPE, &values(0.0)).unwrap();
            }
        }
        let bytes: u64 = cache.files().unwrap().iter().map(|file| file.bytes).sum();
        // Each may add a part more before it counts again.
        assert!(bytes <= limit + 4 * (limit / RECOUNTS + one), "{} of 100", bytes / one);
    }

    #[test]
    fn an_entry_that_cannot_be_read_for_another_reason_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        // A folder in its place can be opened and not be mapped.
        let path = cache.path(&key("a").digest());
        fs::create_dir_all(&path).unwrap();
        let error = cache.get(&key("a"), &SHAPE).unwrap_err();
        assert!(matches!(error, CacheError::Io { action: "read", .. }), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_tag_that_was_cut_off_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        fs::write(folder.path().join(TAG_FILE), "").unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        assert!(cache.contains(&key("a")));
        assert_eq!(fs::read_to_string(folder.path().join(TAG_FILE)).unwrap(), TAG);
    }

    #[test]
    fn an_entry_that_was_read_just_now_does_not_go_though_it_was_new_before() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        for name in ["a", "b"] {
            cache.put(&key(name), &SHAPE, &values(0.0)).unwrap();
        }
        let one = fs::metadata(cache.path(&key("a").digest())).unwrap().len();
        std::thread::sleep(Duration::from_millis(20));
        let cache = FeatureCache::open(folder.path(), 2 * one).unwrap();
        cache.get(&key("a"), &SHAPE).unwrap();
        assert!(cache.put(&key("c"), &SHAPE, &values(0.0)).unwrap());
        assert_eq!(["a", "b", "c"].map(|name| cache.contains(&key(name))), [true, false, true]);
    }

    #[test]
    fn a_folder_of_other_things_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        let error = FeatureCache::open(folder.path(), u64::MAX).unwrap_err();
        assert!(matches!(error, CacheError::NotACache { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn half_written_files_of_processes_that_are_gone_are_removed_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        let [gone, busy] = ["gone", "busy"].map(|name| cache.folder(TEMPORARY).join(name));
        fs::write(&gone, "half").unwrap();
        let lock = write_locked(&busy, b"half").unwrap();
        let long_ago = now() - 2 * ABANDONED_AFTER;
        for path in [&gone, &busy] {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        FeatureCache::open(folder.path(), u64::MAX).unwrap();
        assert!(!gone.exists() && busy.exists());
        drop(lock);
    }

    #[test]
    fn a_cache_that_cannot_be_written_says_so_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap();
        // As a full disk does: the temporary file cannot be made.
        fs::remove_dir_all(cache.folder(TEMPORARY)).unwrap();
        let error = cache.put(&key("b"), &SHAPE, &values(0.0)).unwrap_err();
        assert!(matches!(error, CacheError::Io { action: "write", .. }), "{error}");
        assert_eq!(found(cache.get(&key("a"), &SHAPE).unwrap()), Some(values(0.0)));
    }

    /// Set for the process of the test below. What it turns off is off for all tests of a process.
    const WITHOUT_LOCKS: &str = "PROMISE_TEST_WITHOUT_LOCKS";

    #[test]
    fn no_lock_is_asked_for_once_the_system_is_to_be_left_alone() {
        if std::env::var_os(WITHOUT_LOCKS).is_none() {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "cache::tests::no_lock_is_asked_for_once_the_system_is_to_be_left_alone",
                ])
                .env(WITHOUT_LOCKS, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        file_lock::do_without_system_locks();
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path(), u64::MAX).unwrap();
        assert!(cache.put(&key("a"), &SHAPE, &values(0.0)).unwrap());
        let temporary = |name: &str, days: u64| {
            let path = cache.folder(TEMPORARY).join(name);
            let file = write_locked(&path, b"half").unwrap();
            file.set_modified(now() - Duration::from_secs(days * 24 * 3600)).unwrap();
            (path, file)
        };
        // If it were locked, nobody else could lock it.
        let (fresh, _file) = temporary("fresh", 1);
        File::open(&fresh).unwrap().try_lock().unwrap();
        // And if a lock were asked for, this one would be refused.
        let (old, _file) = temporary("old", 4);
        let other = File::open(&old).unwrap();
        other.try_lock().unwrap();
        cache.remove_abandoned().unwrap();
        assert!(fresh.exists(), "somebody may be writing it");
        assert!(!old.exists());
    }
}
