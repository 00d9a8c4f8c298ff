//! Images, masks and predictions.

use std::path::Path;

use data_loaders::{
    MAX_PIXELS, decode_gray_map, decode_image_with_facts, decode_mask, mask_histogram,
};

use crate::scratch;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";

/// Reads the bytes as an image, a mask and a prediction.
pub fn images(bytes: &[u8]) -> bool {
    let accepted = read(&scratch::file("image", bytes));
    // A changed byte breaks the checksum of its chunk, behind which a decoder does not look.
    let repaired = with_checksums(bytes);
    repaired.is_some_and(|repaired| read(&scratch::file("image", &repaired))) || accepted
}

fn read(path: &Path) -> bool {
    let Ok(image) = decode_image_with_facts(path) else { return false };
    let (width, height) = image.pixels.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    assert!(pixels <= MAX_PIXELS, "{pixels} pixels");
    // The same decoder; what follows it is linear.
    if pixels > 1 << 20 {
        return true;
    }
    if let Ok(mask) = decode_mask(path) {
        assert_eq!((mask.truth.width, mask.truth.height), (width, height));
    }
    let _ = mask_histogram(path);
    if let Ok(map) = decode_gray_map(path) {
        assert_eq!(map.levels.len() as u64, pixels);
    }
    true
}

/// A PNG file with the right checksum behind each chunk; nothing if it is none.
fn with_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(PNG_SIGNATURE) {
        return None;
    }
    let mut repaired = bytes.to_vec();
    let mut at = PNG_SIGNATURE.len();
    while let Some(length) = repaired.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let checksum_at = at.checked_add(8)?.checked_add(length)?;
        let Some(checked) = repaired.get(at + 4..checksum_at) else { break };
        let checksum = crc32fast::hash(checked).to_be_bytes();
        let Some(place) = repaired.get_mut(checksum_at..checksum_at + 4) else { break };
        place.copy_from_slice(&checksum);
        at = checksum_at + 4;
    }
    Some(repaired)
}
