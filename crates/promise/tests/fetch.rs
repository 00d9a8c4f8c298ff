//! A data set from its card to its splits, through a web server of this test's own.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Cursor, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use data_loaders::{Card, Catalog};
use download::{FetchError, InstallError, Verified};
use image::{GrayImage, ImageFormat, Luma, RgbImage};
use promise::fetch::{DataArrived, ItemError, fetch_data};
use sha2::{Digest as _, Sha256};

/// Answers every request with one file, and counts requests.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn of(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while head.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                count.fetch_add(1, Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    file.len()
                );
                // A client may leave.
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&file));
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// An archive with the images and masks of these names, in one folder as in the published ones.
fn archive(names: &[&str]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, picture: image::DynamicImage| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes.get_ref()).unwrap();
    };
    for name in names {
        add(format!("Made-Up/images/{name}.png"), RgbImage::new(8, 6).into());
        let mask = GrayImage::from_fn(8, 6, |x, _| Luma([if x < 4 { 255 } else { 0 }]));
        add(format!("Made-Up/masks/{name}.png"), mask.into());
    }
    zip.finish().unwrap().into_inner()
}

/// A catalog with a card of three images at this server.
fn catalog(folder: &Path, server: &Server, sha256: &str) -> Catalog {
    let text = format!(
        r#"
        name = "made-up"
        title = "Made up"
        modality = "none"
        home_page = "https://example.org/"
        terms = "None."
        citation = "None."
        [[downloads]]
        url = "http://127.0.0.1:{}/set.zip"
        sha256 = "{sha256}"
        unpack = true
        into = "Made-Up"
        [[layouts]]
        name = "official"
        images = "Made-Up/images"
        masks = "Made-Up/masks"
        image_extensions = ["png"]
        mask_extensions = ["png"]
        [[splits]]
        name = "usual"
        file = "usual.csv"
        source = "this test"
        counts = {{ train = 2, test = 1 }}
        "#,
        server.port
    );
    let path = folder.join("card.toml");
    fs::write(&path, text).unwrap();
    fs::write(folder.join("usual.csv"), "name,split\na,train\nb,train\nc,test\n").unwrap();
    let mut catalog = Catalog::built_in();
    catalog.add(&path).unwrap();
    catalog
}

fn fetch(catalog: &Catalog, root: &Path) -> Result<DataArrived, ItemError> {
    let card: &Card = catalog.get("made-up").unwrap();
    fetch_data(card, root, catalog, &AtomicBool::new(false), &mut |_, _| {})
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn a_set_is_downloaded_checked_unpacked_and_found_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = archive(&["a", "b", "c"]);
    let server = Server::of(file.clone());
    let catalog = catalog(folder.path(), &server, &hash(&file));
    let root = folder.path().join("data");
    let splits = [("train".to_owned(), 2), ("test".to_owned(), 1)];

    let arrived = fetch(&catalog, &root).unwrap();
    let [set] = &arrived.files[..] else { panic!("{arrived:?}") };
    assert_eq!((&set.path, set.unpacked), (&root.join("Made-Up"), Some(6)));
    let fetched = set.fetched.as_ref().unwrap();
    assert_eq!((fetched.received, fetched.verified), (Some(file.len() as u64), Verified::Checksum));
    let mut found = arrived.splits;
    found.sort_by_key(|(_, images)| std::cmp::Reverse(*images));
    assert_eq!(found, splits);
    assert!(root.join("Made-Up/images/c.png").is_file());

    let again = fetch(&catalog, &root).unwrap();
    assert_eq!(again.files, []);
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_set_with_another_checksum_is_refused_and_not_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::of(archive(&["a", "b", "c"]));
    let catalog = catalog(folder.path(), &server, &hash(b"what it should be"));
    let root = folder.path().join("data");
    let ItemError::Install { name, source } = fetch(&catalog, &root).unwrap_err() else {
        panic!("it arrived")
    };
    assert_eq!(name, "made-up");
    assert!(matches!(*source, InstallError::Fetch(FetchError::Checksum { .. })), "{source:?}");
    assert!(!root.join("Made-Up").exists());
}

#[test]
fn a_set_that_lacks_pairs_is_not_called_complete() {
    let folder = tempfile::tempdir().unwrap();
    let file = archive(&["a", "c"]);
    let server = Server::of(file.clone());
    let catalog = catalog(folder.path(), &server, &hash(&file));
    let error = fetch(&catalog, &folder.path().join("data")).unwrap_err();
    let ItemError::Incomplete { splits, .. } = &error else { panic!("{error}") };
    let names: Vec<_> = splits.iter().map(|(split, _)| split.as_str()).collect();
    assert_eq!(names, ["train"], "the test split is whole: {error}");
}
