//! Images that somebody dropped: their files, up to so many bytes. One that somebody works with makes no room for others.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// After so long without a request for it, an image may make room for others.
pub(crate) const UPLOAD_REST: Duration = Duration::from_secs(30 * 60);
/// What an image takes besides its bytes, so that many small ones are bounded too.
const OVERHEAD: u64 = 4096;

/// See the module.
pub(crate) struct Uploads {
    limit: u64,
    used: u64,
    files: HashMap<String, Upload>,
}

struct Upload {
    name: String,
    bytes: Arc<[u8]>,
    asked: Instant,
}

/// All room is taken by images that somebody works with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes that there are.
    pub(crate) limit: u64,
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + OVERHEAD
}

impl Uploads {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, files: HashMap::new() }
    }

    /// Keeps a file. Those that nobody asked for in a while go, oldest first, until it fits.
    pub(crate) fn insert(
        &mut self,
        key: String,
        name: String,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Full> {
        if let Some(known) = self.files.get_mut(&key) {
            (known.name, known.asked) = (name, now);
            return Ok(());
        }
        while self.used + size(bytes) > self.limit {
            let rests =
                |upload: &Upload| now.saturating_duration_since(upload.asked) >= UPLOAD_REST;
            let resting = self.files.iter().filter(|(_, upload)| rests(upload));
            let oldest = resting.min_by_key(|(_, upload)| upload.asked).map(|(key, _)| key.clone());
            let gone = oldest.and_then(|key| self.files.remove(&key));
            self.used -= size(&gone.ok_or(Full { limit: self.limit })?.bytes);
        }
        self.used += size(bytes);
        self.files.insert(key, Upload { name, bytes: bytes.into(), asked: now });
        Ok(())
    }

    /// Name and bytes of a file.
    pub(crate) fn get(&mut self, key: &str, now: Instant) -> Option<(String, Arc<[u8]>)> {
        let upload = self.files.get_mut(key)?;
        upload.asked = now;
        Some((upload.name.clone(), upload.bytes.clone()))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.files.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_works_with_stays_and_the_oldest_of_the_others_goes() {
        let start = Instant::now();
        let mut kept = Uploads::new(3 * (OVERHEAD + 100));
        let add = |kept: &mut Uploads, key: &str, now| {
            kept.insert(key.to_owned(), format!("{key}.png"), &[0; 100], now)
        };
        for (key, seconds) in [("a", 0), ("b", 1), ("c", 2)] {
            assert_eq!(add(&mut kept, key, start + Duration::from_secs(seconds)), Ok(()));
        }
        // The same again takes no more room.
        assert_eq!(add(&mut kept, "c", start + Duration::from_secs(3)), Ok(()));
        let full = Full { limit: 3 * (OVERHEAD + 100) };
        assert_eq!(add(&mut kept, "d", start + Duration::from_secs(60)), Err(full));
        let later = start + UPLOAD_REST;
        assert!(kept.get("a", later).is_some());
        assert_eq!(add(&mut kept, "d", later + Duration::from_secs(1)), Ok(()));
        let there = ["a", "b", "c", "d"].map(|key| kept.contains(key));
        assert_eq!(there, [true, false, true, true]);
    }
}
