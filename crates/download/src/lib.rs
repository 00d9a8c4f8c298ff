//! Downloads that survive: resumed, verified by checksum, unpacked safely, put in place at once.
//!
//! [`fetch`] brings one file, [`unpack`] opens one zip archive, [`install`] does both. Whatever
//! goes wrong in between (a lost connection, a full disk, Ctrl-C, `kill -9`), the target is either
//! there and complete or not there at all, and the same call goes on where the last one stopped.
//!
//! The crate prints nothing and knows no data set: the caller brings address, checksum and folder,
//! hears of progress through [`Event`]s, and stops the work with a flag. Work is done on the
//! calling thread.
//!
//! # What lies beside a target
//!
//! | file | what it is | until |
//! | --- | --- | --- |
//! | `NAME.part` | the bytes received so far | the file is complete and verified |
//! | `NAME.part.json` | where they came from, so that only the same file is gone on with | the same |
//! | `NAME.part.lock` | held by the process at work (on Windows an empty file stays) | it ends |
//! | `.NAME.unpacking` | folder of an archive being unpacked; swept away by the next attempt | it is complete |

mod digest;
mod error;
mod event;
mod fetch;
mod http;
mod install;
mod part;
mod paths;
mod unpack;

pub use digest::{ParseSha256Error, Sha256};
pub use error::{FetchError, InstallError, UnpackError};
pub use event::{Event, StartedOver};
pub use fetch::{Fetched, MAX_SIZE, Request, Verified, fetch};
pub use http::{Proxy, Settings};
pub use install::{Installed, Package, install};
pub use unpack::{Limits, Unpacked, unpack};
