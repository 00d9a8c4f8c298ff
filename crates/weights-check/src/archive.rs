//! Where the pickles of a `.pth` file lie: in a zip archive, one after the other, or alone.

use std::fs::File;
use std::io::{BufReader, Read};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use crate::{MAX_MEMBERS, MAX_PICKLE_BYTES, Refused, bound, pickle};

/// How much of a file tells its format.
pub(crate) const HEAD_BYTES: u64 = 512;

/// Place and text of the magic in a tar header.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// The number 0x1950a86a20f9469cfc6c that a file of PyTorch before 1.6 begins with, as protocols 2 and later write
/// it, and as 0 and 1 do. It lies within the first bytes, behind what the protocol puts before a value.
const LEGACY_MAGIC: [&[u8]; 2] =
    [&[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19], b"119547037146038801333356"];
const LEGACY_MAGIC_WITHIN: usize = 64;

/// Pickles that such a file begins with: magic number, protocol, system, the object, the order of storages.
const LEGACY_PICKLES: usize = 5;

/// A member of an archive that may be compressed: so short that it does not matter (`version`, `byteorder`).
const SMALL_BYTES: u64 = 64 << 10;

/// Checks every pickle of a file.
///
/// - `head`: its first [`HEAD_BYTES`] bytes
pub(crate) fn check(file: File, head: &[u8]) -> Result<(), Refused> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return check_zip(file);
    }
    let (at, magic) = TAR_MAGIC;
    if head.get(at..at + magic.len()) == Some(magic) {
        let reason =
            "it is a tar archive, as PyTorch wrote before 2017: older than SAM and not read";
        return Err(Refused::Format { reason: reason.into() });
    }
    let begin = &head[..head.len().min(LEGACY_MAGIC_WITHIN)];
    let legacy =
        LEGACY_MAGIC.iter().any(|magic| begin.windows(magic.len()).any(|bytes| bytes == *magic));
    // What begins like no pickle is named by the reader.
    if !legacy && !matches!(head.first(), Some(0x80 | b'(' | b'}' | b']' | b'c')) {
        let reason = "it begins like no file of PyTorch".into();
        return Err(Refused::Format { reason });
    }
    let mut reader = BufReader::new(file);
    for _ in 0..if legacy { LEGACY_PICKLES } else { 1 } {
        // One byte more than allowed is enough to know.
        pickle::check(&mut reader.by_ref().take(MAX_PICKLE_BYTES + 1))?;
    }
    Ok(())
}

fn check_zip(file: File) -> Result<(), Refused> {
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    bound("the archive", "members", zip.len() as u64, MAX_MEMBERS)?;
    if zip.has_duplicate_names() {
        return Err(Refused::Format { reason: "two members of the archive have one name".into() });
    }
    let mut pickles = Vec::new();
    for index in 0..zip.len() {
        let member = zip.by_index_raw(index).map_err(damaged)?;
        let name = member.name().map_err(damaged)?.into_owned();
        if name.ends_with("data.pkl") {
            bound(&format!("`{name}`"), "bytes", member.size(), MAX_PICKLE_BYTES)?;
            pickles.push(index);
        } else if member.compression() != CompressionMethod::Stored && member.size() > SMALL_BYTES {
            return Err(Refused::Compressed { name });
        }
    }
    for index in pickles {
        let member = zip.by_index(index).map_err(damaged)?;
        // What the archive says about the length is not trusted.
        pickle::check(&mut BufReader::new(member.take(MAX_PICKLE_BYTES + 1)))?;
    }
    Ok(())
}

fn damaged(error: ZipError) -> Refused {
    match error {
        ZipError::Io(error) => crate::cut(error),
        other => Refused::Format { reason: format!("its archive is damaged: {other}") },
    }
}
