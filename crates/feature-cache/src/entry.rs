//! The bytes of an entry.
//!
//! ```text
//! 0   8  magic
//! 8   4  version, little endian like all numbers
//! 12  4  length of the description
//! 16  8  length of the numbers
//! 24  4  CRC-32 of description and numbers
//! 28  4  zero
//! 32     description: JSON with key and shape, padded with spaces to a multiple of 32
//! ..     numbers
//! ```

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::FeatureKey;

const MAGIC: [u8; 8] = *b"PROMISEF";
/// Version of the bytes; also the name of the folder of entries.
pub(crate) const VERSION: u32 = 1;
const HEAD: usize = 32;
/// The longest description that is read. The longest texts in it are two hashes, and a few words.
const MAX_DESCRIPTION_BYTES: u32 = 64 << 10;

/// Why an entry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It ends too early, or goes on too long.
    #[error("it has {actual} bytes instead of {expected}")]
    Length {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// It does not begin like an entry.
    #[error("it is no entry of a feature cache")]
    Magic,
    /// It was written by another version of this program.
    #[error("it has version {found}, this program reads {VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// Its numbers are not those that were written.
    #[error("its checksum is {actual:08x} instead of {expected:08x}")]
    Checksum {
        /// The checksum in the file.
        expected: u32,
        /// That of the bytes.
        actual: u32,
    },
    /// Its description is longer than any that is written.
    #[error("its description has {bytes} bytes, at most {MAX_DESCRIPTION_BYTES} are read")]
    LongDescription {
        /// Bytes by its head.
        bytes: u32,
    },
    /// Its description cannot be read or does not fit its numbers.
    #[error("its description does not fit")]
    Description,
    /// It is the entry of another key.
    #[error("it is the entry of another key")]
    OtherKey,
    /// Its tensor is none that the encoder makes.
    #[error("its shape is {found:?} instead of {expected:?}")]
    Shape {
        /// That of the entry.
        found: Vec<usize>,
        /// That of what is looked for.
        expected: Vec<usize>,
    },
    /// Infinite, or no number at all; such features are never stored.
    #[error("some of its numbers are infinite or none")]
    NotFinite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    key: FeatureKey,
    /// Channels first.
    shape: Vec<usize>,
}

impl Description {
    /// Channels, and numbers of each; `None` if there are more than memory can hold.
    fn sizes(&self) -> Option<(usize, usize)> {
        let (&channels, rest) = self.shape.split_first()?;
        let per_channel = rest.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))?;
        channels.checked_mul(per_channel)?.checked_mul(4)?;
        Some((channels, per_channel))
    }
}

/// The bytes of an entry.
///
/// - `shape`: channels first
/// - `values`: row-major
pub(crate) fn write(key: &FeatureKey, shape: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "shape of a feature");
    let channels = shape.first().copied().unwrap_or(1);
    let numbers = key.precision.pack(values, channels);
    let description = Description { key: key.clone(), shape: shape.to_vec() };
    let mut description = serde_json::to_vec(&description).expect("a description is JSON");
    description.resize(description.len().next_multiple_of(HEAD), b' ');
    let mut bytes = Vec::with_capacity(HEAD + description.len() + numbers.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((description.len() as u32).to_le_bytes());
    bytes.extend((numbers.len() as u64).to_le_bytes());
    bytes.extend(checksum(&[&description, &numbers]).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(description);
    bytes.extend(numbers);
    bytes
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// An entry whose numbers lie in the file until somebody asks for them.
pub(crate) struct Mapped {
    bytes: Mmap,
    description: Description,
    numbers: usize,
}

impl Mapped {
    /// Opens a file; with `verify`, all of it is read and compared with its checksum.
    fn open(file: &File, verify: bool) -> io::Result<Result<Self, Damage>> {
        let actual = file.metadata()?.len();
        if actual < HEAD as u64 {
            return Ok(Err(Damage::Length { expected: HEAD as u64, actual }));
        }
        let bytes = map(file)?;
        Ok(match parse(&bytes, verify) {
            Ok((description, numbers)) => Ok(Self { bytes, description, numbers }),
            Err(damage) => Err(damage),
        })
    }

    pub fn key(&self) -> &FeatureKey {
        &self.description.key
    }

    /// Channels first.
    pub fn shape(&self) -> &[usize] {
        &self.description.shape
    }

    pub fn values(&self) -> Vec<f32> {
        let channels = self.description.sizes().map_or(1, |(channels, _)| channels);
        self.description.key.precision.unpack(&self.bytes[self.numbers..], channels)
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: nobody writes into an entry: it appears complete by a rename and goes by being
    // unlinked, which leaves what is mapped. Somebody who truncates a file of the cache by hand while
    // it is read ends this process with a signal, like any program that maps files.
    unsafe { Mmap::map(file) }
}

/// The description, and where the numbers begin.
fn parse(bytes: &[u8], verify: bool) -> Result<(Description, usize), Damage> {
    let number = |at: usize| {
        let four: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(four)
    };
    if bytes[..8] != MAGIC {
        return Err(Damage::Magic);
    }
    if number(8) != VERSION {
        return Err(Damage::Version { found: number(8) });
    }
    if number(12) > MAX_DESCRIPTION_BYTES {
        return Err(Damage::LongDescription { bytes: number(12) });
    }
    let begin = HEAD as u64 + u64::from(number(12));
    let length = u64::from(number(16)) | u64::from(number(20)) << 32;
    let expected = begin.saturating_add(length);
    if bytes.len() as u64 != expected {
        return Err(Damage::Length { expected, actual: bytes.len() as u64 });
    }
    let begin = begin as usize;
    if verify {
        let (expected, actual) = (number(24), checksum(&[&bytes[HEAD..]]));
        if expected != actual {
            return Err(Damage::Checksum { expected, actual });
        }
    }
    let description: Description =
        serde_json::from_slice(&bytes[HEAD..begin]).map_err(|_| Damage::Description)?;
    let (channels, per_channel) = description.sizes().ok_or(Damage::Description)?;
    if description.key.precision.bytes(channels, per_channel) as u64 != length {
        return Err(Damage::Description);
    }
    Ok((description, begin))
}

/// Opens the file at `path`, `None` if there is none.
///
/// The outer error says nothing about the entry: too many open files, no right to read, no memory.
pub(crate) fn open(
    path: &Path,
    verify: bool,
) -> io::Result<Option<Result<(Mapped, File), Damage>>> {
    let opened = fs::metadata(path).and_then(|found| {
        // Asked before opening: a pipe would wait for somebody who writes.
        if found.is_file() { File::open(path) } else { Err(io::Error::other("no regular file")) }
    });
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Mapped::open(&file, verify)?.map(|mapped| (mapped, file))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Precision, key::tests::key};

    fn read(bytes: &[u8]) -> Result<Vec<f32>, Damage> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("entry");
        fs::write(&path, bytes).expect("written");
        open(&path, true).expect("readable").expect("there").map(|(mapped, _)| mapped.values())
    }

    fn bytes(precision: Precision) -> Vec<u8> {
        let key = FeatureKey { precision, ..key("a") };
        write(&key, &[2, 3, 1], &[1.0, -2.0, 3.5, 0.0, 127.0, 4.0])
    }

    #[test]
    fn numbers_come_back() {
        for precision in Precision::ALL {
            let values = read(&bytes(precision)).expect("whole");
            assert_eq!(values[3..5], [0.0, 127.0], "{precision}");
        }
    }

    #[test]
    fn each_kind_of_damage_is_told_apart() {
        let whole = bytes(Precision::F16);
        let changed = |at: usize, to: u8| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            read(&bytes)
        };
        assert_eq!(changed(0, b'X'), Err(Damage::Magic));
        assert_eq!(changed(8, 9), Err(Damage::Version { found: 9 }));
        assert!(matches!(changed(whole.len() - 1, 99), Err(Damage::Checksum { .. })));
        let length = whole.len() as u64;
        assert_eq!(
            read(&whole[..whole.len() - 1]),
            Err(Damage::Length { expected: length, actual: length - 1 })
        );
        assert_eq!(read(&whole[..10]), Err(Damage::Length { expected: 32, actual: 10 }));
        assert_eq!(read(&[]), Err(Damage::Length { expected: 32, actual: 0 }));
    }

    #[test]
    fn a_description_that_does_not_fit_its_numbers_is_damage() {
        let rewritten = |from: &str, to: &str| {
            let whole = bytes(Precision::F16);
            let begin = HEAD + u32::from_le_bytes(whole[12..16].try_into().expect("4")) as usize;
            let text = String::from_utf8(whole[HEAD..begin].to_vec()).expect("JSON");
            assert!(text.contains(from));
            let mut text = text.replace(from, to).into_bytes();
            text.resize(begin - HEAD, b' ');
            let mut bytes = whole;
            bytes[HEAD..begin].copy_from_slice(&text);
            let sum = checksum(&[&bytes[HEAD..]]);
            bytes[24..28].copy_from_slice(&sum.to_le_bytes());
            read(&bytes)
        };
        assert_eq!(rewritten("[2,3,1]", "[2,3,2]"), Err(Damage::Description));
        assert_eq!(rewritten("[2,3,1]", "[]"), Err(Damage::Description));
        assert_eq!(rewritten("\"f16\"", "\"f99\""), Err(Damage::Description));
        assert_eq!(rewritten("\"shape\"", "\"form!\""), Err(Damage::Description));
    }

    #[test]
    fn a_description_of_absurd_length_is_refused_with_its_length() {
        let mut bytes = bytes(Precision::F16);
        bytes[12..16].copy_from_slice(&65_537_u32.to_le_bytes());
        let damage = read(&bytes).expect_err("too long");
        assert_eq!(damage.to_string(), "its description has 65537 bytes, at most 65536 are read");
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed_and_none_panics(at in 0..400_usize, to in 0..=255_u8) {
            let whole = bytes(Precision::Int8);
            // The four bytes that are always zero mean nothing.
            prop_assume!(at < whole.len() && !(28..32).contains(&at) && whole[at] != to);
            let mut bytes = whole;
            bytes[at] = to;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn no_garbage_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
