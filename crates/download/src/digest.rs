//! SHA-256 of files, and how it is written.

use std::{fmt, io::Read, str::FromStr};

use sha2::Digest;

/// A SHA-256 checksum; written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256([u8; 32]);

/// The text is no SHA-256 checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 checksum has 64 hexadecimal digits, this is not one: `{text}`")]
pub struct ParseSha256Error {
    /// The text.
    pub text: String,
}

impl FromStr for Sha256 {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> Result<Self, ParseSha256Error> {
        let error = || ParseSha256Error { text: text.to_owned() };
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(error)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Sha256 {
    /// The checksum of all that `reader` has; `step` hears the number of bytes so far, and ends
    /// the work with `None` by giving `false`.
    pub(crate) fn of_reader(
        mut reader: impl Read,
        mut step: impl FnMut(u64) -> bool,
    ) -> std::io::Result<Option<Self>> {
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Some(Self(hasher.finalize().into()))),
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    done += count as u64;
                    if !step(done) {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "abc" is the first example of FIPS 180-4's companion document.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_checksum_is_read_in_either_case_and_written_in_lower_case() {
        let upper: Sha256 = ABC.to_uppercase().parse().expect("64 digits");
        assert_eq!(upper.to_string(), ABC);
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for text in [
            "",
            "abc",
            &ABC[1..],
            &format!("{ABC}0"),
            &ABC.replace('b', "g"),
            &ABC.replace('b', "é"),
        ] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_checksum_of_a_known_text_is_the_published_one() {
        let sum = Sha256::of_reader(&b"abc"[..], |_| true).expect("memory can be read");
        assert_eq!(sum, Some(ABC.parse().expect("64 digits")));
    }

    #[test]
    fn a_checksum_that_is_called_off_is_none() {
        let sum = Sha256::of_reader(&b"abc"[..], |_| false).expect("memory can be read");
        assert_eq!(sum, None);
    }
}
