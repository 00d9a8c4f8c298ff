//! Whether a JPEG file is whole.
//!
//! JPEG decoders fill what is missing with gray and say nothing, so an interrupted download would
//! become a training image.

/// Whether the end-of-image marker follows the last scan of a JPEG file.
///
/// Walks the markers of ITU-T T.81, annex B. Looking for the end marker alone would not do:
/// a thumbnail in the EXIF data has one too.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: u8 = 0xD8;
    const END_OF_IMAGE: u8 = 0xD9;
    const START_OF_SCAN: u8 = 0xDA;

    let mut at = 0;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            END_OF_IMAGE => return true,
            START_OF_IMAGE => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low]));
                if marker == START_OF_SCAN {
                    skip_scan(bytes, &mut at);
                }
            }
        }
    }
    false
}

/// The marker at `at`, which is moved behind it; `None` at the end or where no marker is.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    if *bytes.get(*at)? != 0xFF {
        return None;
    }
    // Any number of fill bytes may stand before a marker.
    while *bytes.get(*at)? == 0xFF {
        *at += 1;
    }
    let marker = bytes[*at];
    *at += 1;
    Some(marker)
}

/// Moves to the next marker that is not part of the scan: neither a stuffed 0xFF nor a restart.
fn skip_scan(bytes: &[u8], at: &mut usize) {
    while let Some(&[first, second]) = bytes.get(*at..*at + 2) {
        if first == 0xFF && !matches!(second, 0x00 | 0xD0..=0xD7) {
            return;
        }
        *at += 1;
    }
    *at = bytes.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start, a segment that holds a whole thumbnail's end marker, and a scan header.
    const HEAD: [u8; 14] = [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2];

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        assert!(!is_whole(&HEAD));
        assert!(is_whole(&[&HEAD[..], &[1, 2, 3, 0xFF, 0xD9]].concat()));
    }

    #[test]
    fn stuffed_bytes_and_restarts_belong_to_the_scan() {
        let scan = [1, 0xFF, 0x00, 2, 0xFF, 0xD0, 3, 0xFF, 0xD7, 4];
        assert!(!is_whole(&[&HEAD[..], &scan].concat()));
        assert!(is_whole(&[&HEAD[..], &scan, &[0xFF, 0xD9, 0, 0]].concat()), "trailing bytes");
    }

    #[test]
    fn tables_and_scans_may_follow_a_scan() {
        let more = [9, 0xFF, 0xC4, 0, 3, 7, 0xFF, 0xDA, 0, 2, 8, 0xFF, 0xFF, 0xD9];
        assert!(is_whole(&[&HEAD[..], &more].concat()));
        for end in 0..more.len() {
            assert!(!is_whole(&[&HEAD[..], &more[..end]].concat()), "cut after {end}");
        }
    }

    #[test]
    fn what_is_no_jpeg_is_not_whole() {
        assert!(!is_whole(b""));
        assert!(!is_whole(b"PNG"));
        assert!(!is_whole(&[0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0xFF]));
    }
}
