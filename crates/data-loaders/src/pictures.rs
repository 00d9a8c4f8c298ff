//! How many pictures a file holds.
//!
//! Decoders take the first and say nothing of the others, so that an animation or a stack of slices
//! would become one image without anybody's choice.

use image::ImageFormat;

/// The number of pictures in a file: frames of an animated PNG, pages of a TIFF file. Reduced
/// copies (thumbnails) and transparency masks among the pages do not count. 1 for every other format, and
/// for a file whose structure cannot be followed: its decoder says what is wrong with it.
pub(crate) fn count(bytes: &[u8], format: Option<ImageFormat>) -> usize {
    let counted = match format {
        Some(ImageFormat::Png) => png_frames(bytes),
        Some(ImageFormat::Tiff) => tiff_pages(bytes),
        _ => None,
    };
    counted.unwrap_or(1).max(1)
}

/// Frames that the animation control chunk names, which stands before the pixels.
///
/// Source: Portable Network Graphics, third edition, `acTL`.
fn png_frames(bytes: &[u8]) -> Option<usize> {
    const SIGNATURE_BYTES: usize = 8;
    /// Length, type and checksum.
    const CHUNK_BYTES: usize = 12;

    let mut at = SIGNATURE_BYTES;
    loop {
        let length = u32_at(bytes, at)? as usize;
        match bytes.get(at + 4..at + 8)? {
            b"acTL" => return Some(u32_at(bytes, at + 8)? as usize),
            b"IDAT" | b"IEND" => return None,
            _ => at = at.checked_add(length)?.checked_add(CHUNK_BYTES)?,
        }
    }
}

/// Pages of the chain of directories that are pictures of their own.
///
/// Source: TIFF 6.0, and the BigTIFF design for offsets of eight bytes.
fn tiff_pages(bytes: &[u8]) -> Option<usize> {
    /// More pages than any file has: the end of a chain that runs in a circle.
    const MOST: usize = 1 << 16;
    /// Tag of the flags that say what kind of picture a page is.
    const NEW_SUBFILE_TYPE: u64 = 254;
    /// A reduced copy, or a transparency mask.
    const ACCESSORY: u64 = 0b101;

    let big_endian = bytes.get(..2)? == b"MM";
    let number = |at: usize, length: usize| -> Option<u64> {
        let part = bytes.get(at..at.checked_add(length)?)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if big_endian { part.iter().fold(0, fold) } else { part.iter().rev().fold(0, fold) })
    };
    let big = number(2, 2)? == 43;
    let (offset_bytes, count_bytes, entry_bytes) = if big { (8, 8, 20) } else { (4, 2, 12) };
    // The value of an entry stands behind tag, type and count.
    let value_at = 4 + offset_bytes;
    let mut directory = number(if big { 8 } else { 4 }, offset_bytes)? as usize;
    let mut pages = 0;
    for _ in 0..MOST {
        if directory == 0 {
            break;
        }
        let entries = number(directory, count_bytes)? as usize;
        let first = directory + count_bytes;
        let end = first.checked_add(entries.checked_mul(entry_bytes)?)?;
        bytes.get(first..end)?;
        let kind = (0..entries)
            .map(|entry| first + entry * entry_bytes)
            .find(|&at| number(at, 2) == Some(NEW_SUBFILE_TYPE))
            .and_then(|at| number(at + value_at, 4))
            .unwrap_or(0);
        if kind & ACCESSORY == 0 {
            pages += 1;
        }
        directory = number(end, offset_bytes)? as usize;
    }
    Some(pages)
}

/// A big-endian number.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(part.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chain of little-endian directories with one entry each: the flags of a page.
    fn tiff(kinds: &[u32], circle: bool) -> Vec<u8> {
        const PAGE: u32 = 2 + 12 + 4;
        let mut bytes = b"II\x2A\0\x08\0\0\0".to_vec();
        for (index, kind) in (1..).zip(kinds) {
            bytes.extend([1, 0, 254, 0, 4, 0, 1, 0, 0, 0]);
            bytes.extend(kind.to_le_bytes());
            let last = index == kinds.len() as u32;
            let next = if !last {
                8 + index * PAGE
            } else if circle {
                8
            } else {
                0
            };
            bytes.extend(next.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn pages_count_and_thumbnails_and_transparency_do_not() {
        let of = |kinds: &[u32]| count(&tiff(kinds, false), Some(ImageFormat::Tiff));
        assert_eq!(of(&[0]), 1);
        assert_eq!(of(&[0, 1, 4]), 1);
        assert_eq!(of(&[0, 2, 0]), 3);
        assert!(count(&tiff(&[0, 1], true), Some(ImageFormat::Tiff)) > 1, "a circle ends");
    }

    proptest! {
        #[test]
        fn any_bytes_are_followed_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..200), big in any::<bool>()) {
            for (format, start) in [
                (ImageFormat::Tiff, if big { &b"MM\0\x2B"[..] } else { &b"II\x2A\0"[..] }),
                (ImageFormat::Png, &b"\x89PNG\r\n\x1A\n"[..]),
            ] {
                if bytes.len() >= start.len() {
                    bytes[..start.len()].copy_from_slice(start);
                }
                prop_assert!(count(&bytes, Some(format)) >= 1);
            }
        }
    }
}
