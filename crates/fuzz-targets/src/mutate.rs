//! Small changes to a file, drawn by a seed.

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// The longest mutation, so that growth upon growth ends.
const MAX_BYTES: usize = 64 << 10;

/// Numbers at which lengths, sizes and counts go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 33,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// Pieces of text that mean something in the formats that are read.
const WORDS: [&[u8]; 22] = [
    b"..",
    b"/",
    b"../",
    b"\0",
    b"\n",
    b",",
    b"\"",
    b"=",
    b"[",
    b"]",
    b"[[",
    b"{",
    b"}",
    b".",
    b"a.",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"\xff",
    b"cposix\nsystem\n",
];

/// One of `seeds`, changed in one to four places. The same seeds and number give the same bytes.
///
/// # Panics
///
/// Panics if there is no seed: a bug in the caller.
pub fn mutated(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut bytes = seeds.choose(&mut rng).expect("a seed").clone();
    for _ in 0..rng.random_range(1..=4) {
        change(&mut bytes, seeds, &mut rng);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut impl Rng) {
    let at = rng.random_range(0..=bytes.len());
    let length = rng.random_range(1..=bytes.len().clamp(1, 32)).min(bytes.len() - at);
    match rng.random_range(0..9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.random();
            }
        }
        // A number of one to eight bytes, of either order.
        2 => {
            let number = *NUMBERS.choose(rng).expect("some");
            let number = number.wrapping_add(rng.random_range(0..3)).wrapping_sub(1);
            let width = (1_usize << rng.random_range(0..4)).min(bytes.len() - at);
            let place = &mut bytes[at..at + width];
            if rng.random() {
                place.copy_from_slice(&number.to_le_bytes()[..width]);
            } else {
                place.copy_from_slice(&number.to_be_bytes()[8 - width..]);
            }
        }
        3 => {
            bytes.drain(at..at + length);
        }
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let again = rng.random_range(1..=64);
            bytes.splice(at..at, piece.repeat(again));
        }
        5 => {
            let word = *WORDS.choose(rng).expect("some");
            bytes.splice(at..at, word.iter().copied());
        }
        6 => {
            let other = seeds.choose(rng).expect("a seed");
            let from = rng.random_range(0..=other.len());
            let to = rng.random_range(from..=other.len());
            bytes.splice(at..at + length, other[from..to].iter().copied());
        }
        7 => bytes.truncate(at),
        // A decimal number in a text.
        _ => {
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = NUMBERS.choose(rng).expect("some").to_string();
            bytes.splice(at..at + digits, number.into_bytes());
        }
    }
}
