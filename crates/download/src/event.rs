//! What the caller hears while the work goes on.

use std::{fmt, time::Duration};

use crate::FetchError;

/// Something that happened, for a progress bar or a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A server answered, and bytes follow.
    Started {
        /// Bytes that are there already, from an earlier attempt.
        done: u64,
        /// Bytes of the whole file, if the server or the caller said so.
        total: Option<u64>,
    },
    /// More bytes are on the disk.
    Received {
        /// Bytes that are there now.
        done: u64,
    },
    /// Bytes of an earlier attempt cannot be used.
    StartedOver {
        /// Why.
        why: StartedOver,
        /// How many bytes were given up.
        lost: u64,
    },
    /// An attempt failed; the next one follows after a pause.
    Waiting {
        /// What went wrong.
        cause: &'a FetchError,
        /// How long the pause is.
        pause: Duration,
        /// Failures in a row, this one included.
        failures: u32,
        /// Failures in a row after which the download is given up.
        most: u32,
    },
    /// The checksum is being computed.
    Verifying {
        /// Bytes that were read.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// An archive is being unpacked.
    Unpacking {
        /// Bytes that were written.
        done: u64,
        /// Bytes of all files, as the archive says.
        total: u64,
    },
}

/// Why a download began at the first byte again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartedOver {
    /// The server has another file by now (its ETag, date or size differs).
    Changed,
    /// The server sends whole files only.
    NoRanges,
    /// Nothing tells whether the server's file is still the same one: it gave neither an ETag nor
    /// a date, or the note about it is lost or belongs to another address.
    Unknown,
    /// The server refuses to go on at this place, or sent another part than it was asked for.
    Refused,
}

impl fmt::Display for StartedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "the file on the server has changed",
            Self::NoRanges => "the server sends whole files only",
            Self::Unknown => "nothing tells whether the file on the server is still the same",
            Self::Refused => "the server does not go on where the last attempt ended",
        })
    }
}
