//! An archive from an address to an unpacked folder.

use std::{fs, path::PathBuf, sync::atomic::AtomicBool, time::Duration};

use download::{
    InstallError, Installed, Limits, Package, Proxy, Request, Settings, UnpackError, install,
};
use tempfile::TempDir;

use crate::{
    server::{Reply, Server},
    unpack::Builder,
};

struct Case {
    folder: TempDir,
    package: Package,
}

impl Case {
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let package = Package {
            archive: Request {
                url: server.url("set.zip"),
                sha256: None,
                size: None,
                max_size: 1_000_000,
                target: folder.path().join("set.zip"),
            },
            folder: folder.path().join("set"),
            limits: Limits { files: 10, bytes: 1000 },
        };
        Self { folder, package }
    }

    fn install(&self) -> Result<Installed, InstallError> {
        let settings = Settings {
            stall: Duration::from_secs(5),
            retries: 1,
            first_pause: Duration::ZERO,
            proxy: Proxy::None,
            ..Settings::default()
        };
        install(&self.package, &settings, &AtomicBool::new(false), &mut |_| {})
    }

    fn names(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into())
            .collect();
        names.sort();
        names
    }
}

fn archive() -> Vec<u8> {
    Builder::new().file("set/images/a.jpg", b"image a").bytes()
}

#[test]
fn an_archive_becomes_a_folder_and_is_removed() {
    let archive = archive();
    let server = Server::start([
        Reply::whole(&archive, "\"a\"").breaks_off_after(50),
        Reply::rest(&archive, 50, "\"a\""),
    ]);
    let case = Case::new(&server);
    let Installed::Now { fetched, unpacked } = case.install().unwrap() else {
        panic!("nothing was there")
    };
    assert_eq!((fetched.size, unpacked.files), (archive.len() as u64, 1));
    assert_eq!(fs::read(case.package.folder.join("images/a.jpg")).unwrap(), b"image a");
    assert_eq!(case.names(), [PathBuf::from("set")]);

    // The server has no further reply.
    assert_eq!(case.install().unwrap(), Installed::AlreadyThere);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_damaged_archive_is_downloaded_again_by_the_next_call() {
    let server =
        Server::start([Reply::whole(&archive()[..90], "\"a\""), Reply::whole(&archive(), "\"b\"")]);
    let case = Case::new(&server);
    let error = case.install().unwrap_err();
    assert!(matches!(error, InstallError::Damaged { .. }), "{error}");
    assert!(case.names().is_empty(), "{:?}", case.names());
    case.install().unwrap();
    assert_eq!(case.names(), [PathBuf::from("set")]);
}

#[test]
fn an_archive_that_is_refused_stays_and_is_not_downloaded_again() {
    let evil = Builder::new().file("set/big", &[0; 2000]).bytes();
    let server = Server::start([Reply::whole(&evil, "\"a\"")]);
    let mut case = Case::new(&server);
    let error = case.install().unwrap_err();
    assert!(
        matches!(error, InstallError::Unpack(UnpackError::TooLarge { limit: 1000, .. })),
        "{error}"
    );
    assert_eq!(case.names(), [PathBuf::from("set.zip")]);
    // Somebody who trusts it says so.
    case.package.limits.bytes = 2000;
    case.install().unwrap();
    assert_eq!(case.names(), [PathBuf::from("set")]);
    assert_eq!(server.requests().len(), 1);
}
