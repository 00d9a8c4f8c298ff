//! Archives, harmless and not.

use std::{
    fs::{self, File},
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use download::{Event, Limits, UnpackError, Unpacked, unpack};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const LIMITS: Limits = Limits { files: 100, bytes: 1_000_000 };

/// An archive in memory.
pub struct Builder(ZipWriter<Cursor<Vec<u8>>>);

impl Builder {
    pub fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.file_as(name, content, CompressionMethod::Deflated)
    }

    fn stored(self, name: &str, content: &[u8]) -> Self {
        self.file_as(name, content, CompressionMethod::Stored)
    }

    fn file_as(mut self, name: &str, content: &[u8], method: CompressionMethod) -> Self {
        self.0.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        self.0.write_all(content).unwrap();
        self
    }

    fn folder(mut self, name: &str) -> Self {
        self.0.add_directory(name, SimpleFileOptions::default()).unwrap();
        self
    }

    fn symlink(mut self, name: &str, target: &str) -> Self {
        self.0.add_symlink(name, target, SimpleFileOptions::default()).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.finish().unwrap().into_inner()
    }
}

/// Replaces all places of `from` by as many bytes; says how many there were.
fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|place| bytes[*place..].starts_with(from)).collect();
    for place in &places {
        bytes[*place..place + to.len()].copy_from_slice(to);
    }
    places.len()
}

/// An archive on the disk and a folder `set` beside it that is not there yet.
struct Case {
    folder: TempDir,
    limits: Limits,
}

impl Case {
    fn new(archive: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("a.zip"), archive).unwrap();
        Self { folder, limits: LIMITS }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("root/set")
    }

    fn unpack(&self) -> Result<Unpacked, UnpackError> {
        let archive = self.folder.path().join("a.zip");
        unpack(&archive, &self.target(), &self.limits, &AtomicBool::new(false), &mut |_| {})
    }

    /// What lies in the folder of the target and in the folder above, with the names of folders
    /// ending in `/`.
    fn tree(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(self.folder.path(), "", &mut names);
        names.retain(|name| name != "a.zip" && name != "root/");
        names.sort();
        names
    }

    /// Asserts that the archive is refused and that nothing was written anywhere.
    fn refused(&self) -> UnpackError {
        let error = self.unpack().unwrap_err();
        assert!(self.tree().is_empty(), "{error}: {:?}", self.tree());
        error
    }
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{name}/"), names);
            names.push(name + "/");
        } else {
            names.push(name);
        }
    }
}

#[test]
fn files_and_folders_arrive_with_their_content() {
    let archive = Builder::new()
        .folder("images/")
        .file("images/a.jpg", b"image a")
        .stored("masks/a.png", b"mask a")
        .folder("empty/")
        .file("read me.txt", &[7; 100_000])
        .bytes();
    let case = Case::new(&archive);
    let unpacked = case.unpack().unwrap();
    assert_eq!(unpacked, Unpacked { files: 3, bytes: 100_013, left_out: 0 });
    assert_eq!(
        case.tree(),
        [
            "root/set/",
            "root/set/empty/",
            "root/set/images/",
            "root/set/images/a.jpg",
            "root/set/masks/",
            "root/set/masks/a.png",
            "root/set/read me.txt",
        ]
    );
    assert_eq!(fs::read(case.target().join("images/a.jpg")).unwrap(), b"image a");
    assert_eq!(fs::read(case.target().join("masks/a.png")).unwrap(), b"mask a");
    assert_eq!(fs::read(case.target().join("read me.txt")).unwrap(), [7; 100_000]);
}

#[test]
fn a_folder_of_the_targets_own_name_is_the_target() {
    let archive = Builder::new()
        .folder("set/")
        .file("set/images/a.jpg", b"a")
        .file("__MACOSX/set/images/._a.jpg", b"attributes")
        .file("set/.DS_Store", b"attributes")
        .bytes();
    let case = Case::new(&archive);
    assert_eq!(case.unpack().unwrap(), Unpacked { files: 1, bytes: 1, left_out: 2 });
    assert_eq!(case.tree(), ["root/set/", "root/set/images/", "root/set/images/a.jpg"]);
}

#[test]
fn any_other_folder_stays_inside_the_target() {
    for (archive, expected) in [
        (Builder::new().file("other/a", b"a"), "root/set/other/a"),
        (Builder::new().file("set/a", b"a").file("b", b"b"), "root/set/set/a"),
        (Builder::new().file("set", b"a"), "root/set/set"),
    ] {
        let case = Case::new(&archive.bytes());
        case.unpack().unwrap();
        assert!(case.tree().contains(&expected.to_owned()), "{:?}", case.tree());
    }
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in [
        "../evil",
        "a/../../evil",
        "a/../b",
        "/tmp/evil",
        "a\\..\\..\\evil",
        "\\evil",
        "C:/evil",
        "C:evil",
        "a/b:stream",
        "a\0b",
        "./",
    ] {
        // The writer refuses or repairs some of these names, so it gets a harmless one of the same
        // length.
        let harmless = "x".repeat(name.len());
        let mut archive = Builder::new().file("fine", b"fine").file(&harmless, b"evil").bytes();
        assert_eq!(patch(&mut archive, harmless.as_bytes(), name.as_bytes()), 2);
        let error = Case::new(&archive).refused();
        assert!(
            matches!(&error, UnpackError::UnsafeName { name: refused, .. } if refused == name),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn names_that_are_endless_or_endlessly_deep_are_refused_in_few_words() {
    // A folder for every second byte: what is done with each of its parents grows with the square.
    for (name, reason) in [("a/".repeat(20_000), "1,024 bytes"), ("a/".repeat(40), "32 folders")] {
        let archive = Builder::new().file(&format!("{name}b"), b"content").bytes();
        let error = Case::new(&archive).refused();
        assert!(matches!(&error, UnpackError::UnsafeName { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(reason) && message.len() < 2_000, "{message}");
    }
    let archive = Builder::new().file(&format!("{}b", "a/".repeat(32)), b"content").bytes();
    Case::new(&archive).unpack().unwrap();
}

#[test]
fn links_are_refused() {
    let archive = Builder::new().symlink("link", "/etc").file("link/passwd", b"evil").bytes();
    let error = Case::new(&archive).refused();
    assert!(matches!(&error, UnpackError::Special { name, .. } if name == "link"), "{error}");
}

#[test]
fn too_many_entries_are_refused() {
    let archive =
        (0..11).fold(Builder::new(), |archive, i| archive.file(&i.to_string(), b"")).bytes();
    let mut case = Case::new(&archive);
    case.limits.files = 10;
    let error = case.refused();
    assert!(matches!(error, UnpackError::TooManyFiles { files: 11, limit: 10, .. }), "{error}");
    case.limits.files = 11;
    case.unpack().unwrap();
}

#[test]
fn an_archive_that_says_how_much_too_large_it_is_is_refused() {
    // Two files of 600,000 zeros each in some 1,500 bytes.
    let zeros = vec![0; 600_000];
    let archive = Builder::new().file("a", &zeros).file("b", &zeros).bytes();
    assert!(archive.len() < 5000);
    let mut case = Case::new(&archive);
    let error = case.refused();
    assert!(matches!(error, UnpackError::TooLarge { limit: 1_000_000, .. }), "{error}");
    case.limits.bytes = 1_200_000;
    assert_eq!(case.unpack().unwrap().bytes, 1_200_000);
}

#[test]
fn an_archive_that_lies_about_its_size_is_refused() {
    let mut archive = Builder::new().file("bomb", &vec![0; 600_000]).bytes();
    // In the header of the file and in the directory at the end.
    let places = patch(&mut archive, &600_000_u32.to_le_bytes(), &100_u32.to_le_bytes());
    assert_eq!(places, 2);
    let mut case = Case::new(&archive);
    case.limits.bytes = 100;
    let error = case.refused();
    assert!(matches!(error, UnpackError::TooLarge { .. } | UnpackError::Entry { .. }), "{error}");
}

#[test]
fn encrypted_entries_are_refused() {
    let mut archive = Builder::new().stored("secret", b"content").bytes();
    // Bit 0 of the flags, after signature and version (header) or two versions (directory).
    let header = archive.windows(4).position(|bytes| bytes == b"PK\x03\x04").unwrap();
    let directory = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    archive[header + 6] |= 1;
    archive[directory + 8] |= 1;
    let error = Case::new(&archive).refused();
    assert!(matches!(&error, UnpackError::Encrypted { name, .. } if name == "secret"), "{error}");
}

#[test]
fn a_truncated_archive_is_damaged_wherever_it_ends() {
    let archive = Builder::new().file("a", b"content of a").stored("b", &[7; 500]).bytes();
    for length in [0, 1, 10, 60, archive.len() / 2, archive.len() - 30, archive.len() - 1] {
        let error = Case::new(&archive[..length]).refused();
        assert!(error.is_damage(), "{length}: {error}");
    }
}

#[test]
fn a_changed_byte_is_found_by_the_checksum_of_the_entry() {
    let mut archive = Builder::new().file("fine", b"fine").stored("b", b"some content").bytes();
    assert_eq!(patch(&mut archive, b"some content", b"same content"), 1);
    let error = Case::new(&archive).refused();
    assert!(matches!(&error, UnpackError::Entry { name, .. } if name == "b"), "{error}");
    assert!(error.is_damage());
}

#[test]
fn two_entries_of_one_name_are_refused() {
    let mut archive = Builder::new().file("images/a", b"1").file("images/b", b"2").bytes();
    assert_eq!(patch(&mut archive, b"images/b", b"images/a"), 2);
    let error = Case::new(&archive).refused();
    assert!(matches!(error, UnpackError::SameNames { .. }), "{error}");

    // Names that differ and mean the same file.
    let mut archive = Builder::new().file("images.._a", b"1").file("images..a", b"2").bytes();
    assert_eq!(patch(&mut archive, b"images.._a", b"images/./a"), 2);
    assert_eq!(patch(&mut archive, b"images..a", b"images//a"), 2);
    let error = Case::new(&archive).refused();
    assert!(matches!(&error, UnpackError::Twice { name, .. } if name == "images//a"), "{error}");

    // A file that is also a folder.
    for archive in [
        Builder::new().file("a", b"1").file("a/b", b"2"),
        Builder::new().file("a/b/c", b"1").file("a", b"2"),
        Builder::new().folder("a/").file("a", b"2"),
    ] {
        let error = Case::new(&archive.bytes()).refused();
        assert!(matches!(error, UnpackError::Twice { .. }), "{error}");
    }
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let case = Case::new(&Builder::new().file("a", b"new").bytes());
    fs::create_dir(case.target()).unwrap();
    fs::write(case.target().join("mine"), "mine").unwrap();
    let error = case.unpack().unwrap_err();
    assert!(matches!(error, UnpackError::Exists { .. }), "{error}");
    assert_eq!(case.tree(), ["root/set/", "root/set/mine"]);
}

#[test]
fn an_unpacking_that_is_stopped_leaves_nothing() {
    let case = Case::new(&Builder::new().file("a", b"a").file("b", &[7; 500_000]).bytes());
    let cancel = AtomicBool::new(false);
    let archive = case.folder.path().join("a.zip");
    let mut seen = Vec::new();
    let error = unpack(&archive, &case.target(), &LIMITS, &cancel, &mut |event| {
        if let Event::Unpacking { done, total } = event {
            assert_eq!(total, 500_001);
            seen.push(done);
            // In the middle of the second file.
            cancel.store(done > 100_000, std::sync::atomic::Ordering::Relaxed);
        }
    })
    .unwrap_err();
    assert!(matches!(error, UnpackError::Cancelled { .. }), "{error}");
    assert!(seen.is_sorted() && *seen.last().unwrap() < 500_001, "{seen:?}");
    assert!(case.tree().is_empty(), "{:?}", case.tree());
}

#[test]
fn what_a_killed_unpacking_left_is_swept_away() {
    let case = Case::new(&Builder::new().file("a", b"new").bytes());
    let staging = case.folder.path().join("root/.set.unpacking");
    fs::create_dir(&staging).unwrap();
    fs::write(staging.join("a"), "old").unwrap();
    fs::write(staging.join("b"), "old").unwrap();
    fs::write(case.folder.path().join("root/.set.unpacking.lock"), "").unwrap();
    case.unpack().unwrap();
    assert_eq!(case.tree(), ["root/set/", "root/set/a"]);
    assert_eq!(fs::read(case.target().join("a")).unwrap(), b"new");
}

#[test]
fn two_unpackings_to_one_place_do_not_meet() {
    let case = Case::new(&Builder::new().file("a", b"a").bytes());
    let archive = case.folder.path().join("a.zip");
    let cancel = AtomicBool::new(false);
    let mut second = None;
    unpack(&archive, &case.target(), &LIMITS, &cancel, &mut |_| {
        second.get_or_insert_with(|| case.unpack());
    })
    .unwrap();
    assert!(matches!(second, Some(Err(UnpackError::Busy { .. }))), "{second:?}");
    assert_eq!(case.tree(), ["root/set/", "root/set/a"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_no_damage() {
    let case = Case::new(b"");
    fs::remove_file(case.folder.path().join("a.zip")).unwrap();
    let error = case.unpack().unwrap_err();
    assert!(matches!(error, UnpackError::File { .. }) && !error.is_damage(), "{error}");
    File::create(case.folder.path().join("a.zip")).unwrap();
    assert!(case.unpack().unwrap_err().is_damage());
}
