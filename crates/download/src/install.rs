//! A file or an unpacked archive, from an address to its place.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use crate::{
    Event, FetchError, Fetched, InstallError, Limits, Request, Settings, Unpacked, fetch,
    paths::remove_file, unpack,
};

/// A zip archive whose content belongs into a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The archive; its target is removed once it is unpacked.
    pub archive: Request,
    /// The folder that holds the content afterwards.
    pub folder: PathBuf,
    /// What the archive may unpack to.
    pub limits: Limits,
}

/// What [`install`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The folder was there, and nothing was done. A folder of this name is complete: it gets its
    /// name when its last file is written.
    AlreadyThere,
    /// The folder is there now.
    Now {
        /// The archive.
        fetched: Fetched,
        /// Its content.
        unpacked: Unpacked,
    },
}

/// Downloads an archive and unpacks it, unless its folder is there already.
///
/// # Errors
///
/// [`InstallError`]. An archive that is damaged is removed, so that the next call fetches it again;
/// one that is refused for another reason stays.
pub fn install(
    package: &Package,
    settings: &Settings,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Installed, InstallError> {
    if package.folder.is_dir() {
        return Ok(Installed::AlreadyThere);
    }
    let archive = &package.archive.target;
    let fetched = fetch(&package.archive, settings, cancel, on_event)?;
    let remove = || {
        remove_file(archive).map_err(|source| FetchError::File { path: archive.clone(), source })
    };
    match unpack(archive, &package.folder, &package.limits, cancel, on_event) {
        Ok(unpacked) => {
            remove()?;
            Ok(Installed::Now { fetched, unpacked })
        }
        Err(source) if source.is_damage() => {
            remove()?;
            Err(InstallError::Damaged { source })
        }
        Err(error) => Err(error.into()),
    }
}
