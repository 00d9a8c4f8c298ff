//! Why a file or a folder could not be had.

use std::{io, path::PathBuf};

use crate::Sha256;

/// Why a file could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The path to write to names no file.
    #[error("not a path of a file: {}", path.display())]
    Target {
        /// The path.
        path: PathBuf,
    },
    /// The target is there and is something else. It is not touched: it may be somebody's work.
    #[error(
        "there is another file already (checksum {actual}, expected {expected}); move it away to \
         download this one: {}", path.display()
    )]
    OtherFile {
        /// What the download would have.
        expected: Sha256,
        /// What the file has.
        actual: Sha256,
        /// The file.
        path: PathBuf,
    },
    /// The target is there and has another size. It is not touched.
    #[error(
        "there is another file already ({actual} bytes, expected {expected}); move it away to \
         download this one: {}", path.display()
    )]
    OtherSize {
        /// What the download would have.
        expected: u64,
        /// What the file has.
        actual: u64,
        /// The file.
        path: PathBuf,
    },
    /// Another process downloads to the same place.
    #[error("another process is downloading {}", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// The request cannot be made or must not be repeated: a malformed address, a certificate that
    /// is not trusted, a redirect from `https` to `http`, a proxy that refuses.
    #[error("cannot download {url}")]
    Request {
        /// The address.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The server says no.
    #[error("the server answers with status {status}: {url}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The address.
        url: String,
    },
    /// The server sends from one address to the next.
    #[error("more than {most} redirects: {url}")]
    Redirects {
        /// How many are followed.
        most: u32,
        /// The address that it began with.
        url: String,
    },
    /// The server compresses although it was asked not to; size and checksum are of the plain file.
    #[error("the server sends the file encoded as `{encoding}`: {url}")]
    Encoded {
        /// Value of the header `Content-Encoding`.
        encoding: String,
        /// The address.
        url: String,
    },
    /// The server has a file of another size than the caller wants: not the same file.
    #[error("the server's file has {announced} bytes, expected {expected}: {url}")]
    Size {
        /// What the caller said.
        expected: u64,
        /// What the server says.
        announced: u64,
        /// The address.
        url: String,
    },
    /// More bytes than the caller allows; what was received is removed.
    #[error("more than {limit} bytes: {url}")]
    TooLarge {
        /// What is allowed.
        limit: u64,
        /// The address.
        url: String,
    },
    /// The connection could not be made, broke, or stood still.
    #[error(
        "the connection was lost after {received}{} bytes: {url}",
        expected.map(|expected| format!(" of {expected}")).unwrap_or_default()
    )]
    Lost {
        /// Bytes on the disk.
        received: u64,
        /// Bytes of the whole file, if known.
        expected: Option<u64>,
        /// The address.
        url: String,
        /// What went wrong; `None` if the answer just ended.
        source: Option<Box<ureq::Error>>,
    },
    /// The server sent another part of the file than it was asked for.
    #[error("asked for the bytes from {asked} on, the server sent `{sent}`: {url}")]
    WrongPart {
        /// The first byte asked for.
        asked: u64,
        /// Value of the header `Content-Range`.
        sent: String,
        /// The address.
        url: String,
    },
    /// One failure after the other without a substantial part in between. What was received is
    /// kept: the same call goes on there.
    #[error("gave up after {failures} failures in a row")]
    GaveUp {
        /// Failures in a row.
        failures: u32,
        /// The last one.
        source: Box<FetchError>,
    },
    /// The bytes are not those expected. They are removed, since going on with them would be of no
    /// use.
    #[error("the download has checksum {actual}, expected {expected}; it was removed: {url}")]
    Checksum {
        /// What it should be.
        expected: Sha256,
        /// What it is.
        actual: Sha256,
        /// The address.
        url: String,
    },
    /// The disk is full. What was received is kept: the same call goes on when there is room.
    #[error(
        "the disk is full after {received}{} bytes, which are kept: {}",
        expected.map(|expected| format!(" of {expected}")).unwrap_or_default(), path.display()
    )]
    DiskFull {
        /// Bytes on the disk.
        received: u64,
        /// Bytes of the whole file, if known.
        expected: Option<u64>,
        /// The file that they are in.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read, written, renamed or removed.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller stopped it. What was received is kept.
    #[error("stopped; {received} bytes are kept, and the same command goes on with them: {}", path.display())]
    Cancelled {
        /// Bytes on the disk.
        received: u64,
        /// The file that they are in.
        path: PathBuf,
    },
}

/// Why an archive could not be unpacked. The target is then as it was before: not there.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The path to unpack to names no folder.
    #[error("not a path of a folder: {}", path.display())]
    Target {
        /// The path.
        path: PathBuf,
    },
    /// The folder is there already. It is not touched.
    #[error("already there: {}", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process unpacks to the same place.
    #[error("another process is unpacking {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The file is no zip archive, or it is cut off.
    #[error("not a complete zip archive: {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: zip::result::ZipError,
    },
    /// An entry cannot be unpacked as it is stored: damaged, or compressed in an unknown way.
    #[error("cannot unpack `{name}` of {}", path.display())]
    Entry {
        /// The entry.
        name: String,
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An entry would land outside of the folder, or its name means different things on different
    /// systems.
    #[error("unsafe name ({reason}): `{name}` in {}", path.display())]
    UnsafeName {
        /// The entry.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The archive.
        path: PathBuf,
    },
    /// An entry is neither file nor folder but a link or a device.
    #[error("neither a file nor a folder: `{name}` in {}", path.display())]
    Special {
        /// The entry.
        name: String,
        /// The archive.
        path: PathBuf,
    },
    /// An entry is encrypted.
    #[error("encrypted: `{name}` in {}", path.display())]
    Encrypted {
        /// The entry.
        name: String,
        /// The archive.
        path: PathBuf,
    },
    /// Two entries have different names and would be the same file, or a file is also a folder.
    #[error("another entry is the same file as `{name}` in {}", path.display())]
    Twice {
        /// The entry.
        name: String,
        /// The archive.
        path: PathBuf,
    },
    /// Two entries have the same name, and which of them is meant is anybody's guess.
    #[error("two entries have the same name in {}", path.display())]
    SameNames {
        /// The archive.
        path: PathBuf,
    },
    /// More entries than allowed.
    #[error("{files} entries, more than {limit}, in {}", path.display())]
    TooManyFiles {
        /// Entries there are.
        files: usize,
        /// What is allowed.
        limit: usize,
        /// The archive.
        path: PathBuf,
    },
    /// More bytes than allowed, or than the archive itself says: a decompression bomb.
    #[error("unpacks to more than {limit} bytes: {}", path.display())]
    TooLarge {
        /// What is allowed.
        limit: u64,
        /// The archive.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk is full; nothing was unpacked to {}", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read, written or renamed.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller stopped it.
    #[error("stopped; nothing was unpacked to {}", path.display())]
    Cancelled {
        /// The folder.
        path: PathBuf,
    },
}

impl UnpackError {
    /// Whether the archive itself is broken, so that another download could help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Archive { .. } | Self::Entry { .. })
    }
}

/// Why a package could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It could not be downloaded.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It could not be unpacked; the archive stays.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The archive was damaged and is removed: the next call downloads it again.
    #[error("the downloaded archive is damaged and was removed; try again")]
    Damaged {
        /// What is wrong with it.
        source: UnpackError,
    },
}
