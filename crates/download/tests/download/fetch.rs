//! One file, with all that can go wrong between a server and a disk.

use std::{
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use download::{
    Event, FetchError, Fetched, Proxy, Request, Settings, Sha256, StartedOver, Verified, fetch,
};
use tempfile::TempDir;

use crate::server::{Reply, Server};

/// A file of 100,000 bytes in which no two places look alike, and its checksum.
fn file() -> Vec<u8> {
    (0..25_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// `python3 -c "import hashlib, struct; print(hashlib.sha256(b''.join(struct.pack('<I', i) for i in range(25000))).hexdigest())"`
const FILE_SHA256: &str = "e47b2ef8f931a31c1167cdd8eeb73e8055b325f984e3adf8a01d8c3520d797d3";

/// No pauses, and time limits that a busy machine does not reach.
fn hasty() -> Settings {
    Settings {
        connect: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        retries: 2,
        first_retries: 2,
        first_pause: Duration::ZERO,
        longest_pause: Duration::ZERO,
        progress: 1000,
        redirects: 3,
        proxy: Proxy::None,
    }
}

/// A target in a folder of its own and what is done with it.
struct Case {
    folder: TempDir,
    request: Request,
    settings: Settings,
    cancel: AtomicBool,
    /// Events worth a remark.
    heard: Vec<String>,
}

impl Case {
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let request = Request {
            url: server.url("file.bin"),
            sha256: Some(FILE_SHA256.parse().unwrap()),
            size: None,
            max_size: 1_000_000,
            target: folder.path().join("deep/file.bin"),
        };
        let (settings, cancel) = (hasty(), AtomicBool::new(false));
        Self { folder, request, settings, cancel, heard: Vec::new() }
    }

    fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let heard = &mut self.heard;
        fetch(&self.request, &self.settings, &self.cancel, &mut |event| match event {
            Event::StartedOver { why, lost } => heard.push(format!("{why:?} {lost}")),
            Event::Waiting { failures, .. } => heard.push(format!("failure {failures}")),
            _ => {}
        })
    }

    fn target(&self) -> Vec<u8> {
        fs::read(&self.request.target).unwrap()
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("deep/file.bin.part")
    }

    /// Names of all files beside the target, itself included.
    fn files(&self) -> Vec<String> {
        files(&self.folder.path().join("deep"))
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All messages of an error and its causes.
fn chain(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("; {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_file_is_downloaded_verified_and_nothing_else_is_left() {
    let server = Server::start([Reply::whole(&file(), "\"a\"")]);
    let mut case = Case::new(&server);
    let fetched = case.fetch().unwrap();
    assert_eq!(
        fetched,
        Fetched { size: 100_000, received: Some(100_000), verified: Verified::Checksum }
    );
    assert_eq!(case.target(), file());
    assert_eq!(case.files(), ["file.bin"]);
    let requests = server.requests();
    assert_eq!(requests[0].header("Range"), None);
    assert_eq!(requests[0].header("Accept-Encoding"), Some("identity"));
}

#[test]
fn a_file_that_is_there_is_not_downloaded_again() {
    let server = Server::start([]);
    let mut case = Case::new(&server);
    fs::create_dir_all(case.folder.path().join("deep")).unwrap();
    fs::write(&case.request.target, file()).unwrap();
    let fetched = case.fetch().unwrap();
    assert_eq!(fetched, Fetched { size: 100_000, received: None, verified: Verified::Checksum });
    assert!(server.requests().is_empty());
    assert_eq!(case.files(), ["file.bin"]);
}

#[test]
fn another_file_in_the_place_is_named_and_left_alone() {
    let server = Server::start([]);
    let mut case = Case::new(&server);
    fs::create_dir_all(case.folder.path().join("deep")).unwrap();
    fs::write(&case.request.target, "abc").unwrap();
    let error = case.fetch().unwrap_err();
    // The checksum of "abc".
    assert!(error.to_string().contains("ba7816bf"), "{error}");
    assert!(error.to_string().contains(FILE_SHA256), "{error}");
    assert_eq!(case.target(), b"abc");

    case.request.size = Some(100_000);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::OtherSize { expected: 100_000, actual: 3, .. }), "{error}");
    assert_eq!(case.target(), b"abc");
}

#[test]
fn a_broken_connection_is_gone_on_with_and_no_byte_is_sent_twice() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\"").breaks_off_after(25_000),
        Reply::rest(&file(), 65_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    assert_eq!(case.fetch().unwrap().received, Some(100_000));
    assert_eq!(case.target(), file());
    // Each attempt brought enough to be the first failure again.
    assert_eq!(case.heard, ["failure 1", "failure 1"]);
    let requests = server.requests();
    assert_eq!(requests[1].header("Range"), Some("bytes=40000-"));
    assert_eq!(requests[1].header("If-Range"), Some("\"a\""));
    assert_eq!(requests[2].header("Range"), Some("bytes=65000-"));
    assert_eq!(requests.iter().map(|request| request.sent).sum::<usize>(), 100_000);
}

#[test]
fn a_later_call_goes_on_with_what_an_earlier_one_left() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.settings.retries = 0;
    let error = case.fetch().unwrap_err();
    assert!(chain(&error).contains("after 40000 of 100000 bytes"), "{}", chain(&error));
    assert_eq!(case.files(), ["file.bin.part", "file.bin.part.json"]);

    let fetched = case.fetch().unwrap();
    assert_eq!((fetched.size, fetched.received), (100_000, Some(60_000)));
    assert_eq!(case.target(), file());
    assert_eq!(case.files(), ["file.bin"]);
}

#[test]
fn without_an_etag_the_date_tells_whether_the_file_is_the_same() {
    const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    let plain = |status| Reply::new(status).header("Last-Modified", DATE);
    let server = Server::start([
        plain("200 OK").header("Content-Length", 100_000).body(&file()[..40_000]),
        plain("206 Partial Content")
            .header("Content-Length", 60_000)
            .header("Content-Range", "bytes 40000-99999/100000")
            .body(&file()[40_000..]),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(server.requests()[1].header("If-Range"), Some(DATE));
}

#[test]
fn a_part_that_nothing_can_vouch_for_is_started_over() {
    for etag in [None, Some("W/\"weak\"")] {
        let reply = || {
            let reply = Reply::new("200 OK").header("Content-Length", 100_000).body(&file());
            etag.map_or(reply.clone(), |etag| reply.header("ETag", etag))
        };
        let server = Server::start([reply().breaks_off_after(40_000), reply()]);
        let mut case = Case::new(&server);
        case.fetch().unwrap();
        assert_eq!(case.target(), file());
        assert_eq!(case.heard, ["failure 1", "Unknown 40000"]);
        assert_eq!(server.requests()[1].header("Range"), None);
    }
}

#[test]
fn a_part_from_another_address_is_started_over() {
    let server = Server::start([
        Reply::whole(&[7; 5000], "\"a\"").breaks_off_after(2000),
        Reply::whole(&file(), "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.settings.retries = 0;
    case.fetch().unwrap_err();
    case.request.url = server.url("other.bin");
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["Unknown 2000"]);
}

#[test]
fn a_server_that_knows_no_ranges_sends_the_whole_file_again() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::whole(&file(), "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "NoRanges 40000"]);
}

#[test]
fn a_server_that_always_breaks_off_and_begins_again_is_given_up() {
    let server =
        Server::start([0; 3].map(|_| Reply::whole(&file(), "\"a\"").breaks_off_after(40_000)));
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::GaveUp { failures: 3, .. }), "{error}");
    assert_eq!(case.heard, ["failure 1", "NoRanges 40000", "failure 2", "NoRanges 40000"]);
}

#[test]
fn a_file_that_changed_between_two_attempts_is_not_mixed_with_the_old_one() {
    let old = vec![7; 90_000];
    let server = Server::start([
        Reply::whole(&old, "\"old\"").breaks_off_after(40_000),
        Reply::whole(&file(), "\"new\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "Changed 40000"]);
}

#[test]
fn a_server_that_goes_on_with_a_changed_file_although_asked_not_to_is_not_believed() {
    let old = vec![7; 100_000];
    let server = Server::start([
        Reply::whole(&old, "\"old\"").breaks_off_after(40_000),
        Reply::rest(&file(), 40_000, "\"new\""),
        Reply::whole(&file(), "\"new\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "Changed 40000", "failure 2"]);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_put_behind_the_one_there_is() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::rest(&file(), 30_000, "\"a\""),
        Reply::whole(&file(), "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "Refused 40000", "failure 2"]);
}

#[test]
fn a_refused_range_starts_over() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::new("416 Range Not Satisfiable").header("Content-Range", "bytes */30000"),
        Reply::whole(&file(), "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "Refused 40000", "failure 2"]);
}

#[test]
fn a_complete_part_is_verified_without_asking_the_server_again() {
    // As after a kill between the last byte and the final name.
    let server = Server::start([Reply::whole(&file(), "\"a\"").breaks_off_after(99_999)]);
    let mut case = Case::new(&server);
    case.settings.retries = 0;
    case.fetch().unwrap_err();
    let mut part = file();
    assert_eq!(fs::read(case.part()).unwrap(), part[..99_999]);
    fs::write(case.part(), &part).unwrap();
    assert_eq!(case.fetch().unwrap().received, Some(0));
    assert_eq!(case.target(), part);

    // The same with a byte that is wrong.
    fs::remove_file(&case.request.target).unwrap();
    part[50_000] ^= 1;
    let server = Server::start([Reply::whole(&part, "\"a\"")]);
    case.request.url = server.url("file.bin");
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
}

#[test]
fn wrong_bytes_are_refused_with_both_checksums_and_removed() {
    let server = Server::start([Reply::whole(b"abc", "\"a\""), Reply::whole(&file(), "\"b\"")]);
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    let FetchError::Checksum { expected, actual, .. } = &error else { panic!("{error}") };
    assert_eq!(expected.to_string(), FILE_SHA256);
    // The checksum of "abc".
    assert!(actual.to_string().starts_with("ba7816bf"));
    assert!(case.files().is_empty(), "{:?}", case.files());
    // The next call begins at the first byte.
    assert_eq!(case.fetch().unwrap().received, Some(100_000));
    assert_eq!(server.requests()[1].header("Range"), None);
}

#[test]
fn without_a_checksum_a_size_is_compared_and_without_both_nothing_is_claimed() {
    let unsized_reply = || Reply::new("200 OK").body(&file());
    let server = Server::start([Reply::whole(&file(), "\"a\""), unsized_reply(), unsized_reply()]);
    let mut verified = Vec::new();
    for size in [None, Some(100_000), None] {
        let mut case = Case::new(&server);
        case.request.sha256 = None;
        case.request.size = size;
        verified.push(case.fetch().unwrap().verified);
        assert_eq!(case.target(), file());
    }
    assert_eq!(verified, [Verified::Size, Verified::Size, Verified::Nothing]);
}

#[test]
fn a_server_that_announces_more_than_it_sends_is_given_up() {
    let reply = Reply::new("200 OK").header("Content-Length", 100_500).body(&file());
    let server = Server::start([reply.clone(), reply.clone(), reply.clone(), reply]);
    let mut case = Case::new(&server);
    case.settings.progress = 1_000_000;
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::GaveUp { failures: 3, .. }), "{error}");
    assert!(chain(&error).contains("after 100000 of 100500 bytes"), "{}", chain(&error));
    assert!(!case.request.target.exists());
}

#[test]
fn a_server_that_announces_less_than_the_file_has_is_caught_by_size_and_by_checksum() {
    let reply = || Reply::new("200 OK").header("Content-Length", 60_000).body(&file());
    let server = Server::start([reply(), reply()]);
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");

    case.request.size = Some(100_000);
    let error = case.fetch().unwrap_err();
    let FetchError::Size { expected, announced, .. } = error else { panic!("{error}") };
    assert_eq!((expected, announced), (100_000, 60_000));
}

#[test]
fn an_answer_without_length_that_ends_early_is_gone_on_with_if_the_size_is_known() {
    let server = Server::start([
        Reply::new("200 OK").header("ETag", "\"a\"").body(&file()[..40_000]),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.request.size = Some(100_000);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
}

#[test]
fn an_endless_answer_ends_at_the_limit_and_leaves_nothing() {
    let server = Server::start([Reply::new("200 OK").body(&[7; 10_000]).without_end()]);
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1_000_000, .. }), "{error}");
    assert!(case.files().is_empty(), "{:?}", case.files());
    server.requests();
}

#[test]
fn a_file_that_is_announced_as_too_large_is_refused_before_its_first_byte() {
    let reply = Reply::new("200 OK").header("Content-Length", 1_000_001).body(&[7; 1000]);
    let server = Server::start([reply]);
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1_000_000, .. }), "{error}");
    assert!(case.files().is_empty(), "{:?}", case.files());
}

#[test]
fn a_compressed_answer_is_refused() {
    let server = Server::start([Reply::whole(&file(), "\"a\"").header("Content-Encoding", "gzip")]);
    let error = Case::new(&server).fetch().unwrap_err();
    assert!(
        matches!(&error, FetchError::Encoded { encoding, .. } if encoding == "gzip"),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_an_error_at_once() {
    let server = Server::start([Reply::new("404 Not Found").body(b"<html>sorry</html>")]);
    let mut case = Case::new(&server);
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
    assert!(case.files().is_empty(), "{:?}", case.files());
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let server = Server::start([
        Reply::new("500 Internal Server Error"),
        Reply::new("503 Service Unavailable").header("Retry-After", 1),
        Reply::whole(&file(), "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(case.heard, ["failure 1", "failure 2"]);
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let server = Server::start([0; 3].map(|_| Reply::new("503 Service Unavailable")));
    let error = Case::new(&server).fetch().unwrap_err();
    assert!(matches!(error, FetchError::GaveUp { failures: 3, .. }), "{error}");
    assert!(chain(&error).contains("status 503"), "{}", chain(&error));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn redirects_are_followed_also_with_a_range() {
    let server = Server::start([
        Reply::new("302 Found").header("Location", "/elsewhere"),
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::new("302 Found").header("Location", "/elsewhere"),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert_eq!(server.requests()[3].header("Range"), Some("bytes=40000-"));
}

#[test]
fn a_redirect_loop_ends() {
    let server =
        Server::start([0; 4].map(|_| Reply::new("302 Found").header("Location", "/again")));
    let error = Case::new(&server).fetch().unwrap_err();
    assert!(matches!(error, FetchError::Redirects { most: 3, .. }), "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_connection_that_stands_still_is_given_up_and_gone_on_with() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").falls_silent_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.settings.stall = Duration::from_secs(1);
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
    assert!(server.requests()[0].client_left);
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::start([Reply::new("200 OK").falls_silent_after(0)]);
    let mut case = Case::new(&server);
    case.settings.stall = Duration::from_secs(1);
    case.settings.retries = 0;
    let error = case.fetch().unwrap_err();
    assert!(chain(&error).contains("timeout"), "{}", chain(&error));
    assert!(server.requests()[0].client_left);
}

#[test]
fn an_address_that_cannot_be_used_is_an_error_at_once() {
    let server = Server::start([]);
    let mut case = Case::new(&server);
    for url in ["", "no address", "ftp://127.0.0.1/file", "http://"] {
        case.request.url = url.into();
        let error = case.fetch().unwrap_err();
        assert!(matches!(error, FetchError::Request { .. }), "{url}: {}", chain(&error));
    }
    assert!(case.heard.is_empty());
}

#[test]
fn a_server_that_is_not_there_is_a_lost_connection() {
    let server = Server::start([]);
    let mut case = Case::new(&server);
    // The server has ended with its last reply, and its port is closed.
    server.requests();
    let error = case.fetch().unwrap_err();
    assert!(chain(&error).contains("lost after 0 bytes"), "{}", chain(&error));
    assert_eq!(case.heard, ["failure 1", "failure 2"]);
}

#[test]
fn a_server_that_never_answered_gets_fewer_chances_than_one_that_did() {
    // Two connections that end without an answer, after which the port is closed.
    let server = Server::start([Reply::nothing(), Reply::nothing()]);
    let mut case = Case::new(&server);
    case.settings.retries = 5;
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, FetchError::GaveUp { failures: 3, .. }), "{error}");

    let server = Server::start([
        Reply::new("503 Service Unavailable"),
        Reply::nothing(),
        Reply::nothing(),
        Reply::nothing(),
        Reply::whole(&file(), "\"a\""),
    ]);
    case.request.url = server.url("file.bin");
    case.fetch().unwrap();
    assert_eq!(case.target(), file());
}

#[test]
fn stopping_keeps_the_part_and_the_next_call_goes_on_with_it() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").falls_silent_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    // Long enough for the server to lose its patience first if nobody cuts the connection.
    case.settings.stall = Duration::from_secs(600);
    let cancel = &case.cancel;
    let error = std::thread::scope(|scope| {
        fetch(&case.request, &case.settings, cancel, &mut |event| {
            if matches!(event, Event::Received { done: 40_000 }) {
                // After the flag was last looked at: only the network can be waited for.
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(300));
                    cancel.store(true, Ordering::Relaxed);
                });
            }
        })
        .unwrap_err()
    });
    assert!(matches!(error, FetchError::Cancelled { received: 40_000, .. }), "{error}");
    assert_eq!(case.files(), ["file.bin.part", "file.bin.part.json"]);

    case.cancel = AtomicBool::new(false);
    assert_eq!(case.fetch().unwrap().received, Some(60_000));
    assert_eq!(case.target(), file());
    let requests = server.requests();
    assert!(requests[0].client_left);
    assert_eq!(requests[1].header("Range"), Some("bytes=40000-"));
}

#[test]
fn stopping_ends_a_pause() {
    let server = Server::start([Reply::new("503 Service Unavailable")]);
    let mut case = Case::new(&server);
    case.settings.first_pause = Duration::from_secs(100_000);
    case.settings.longest_pause = Duration::from_secs(100_000);
    let error = fetch(&case.request, &case.settings, &case.cancel, &mut |event| {
        if matches!(event, Event::Waiting { .. }) {
            case.cancel.store(true, Ordering::Relaxed);
        }
    })
    .unwrap_err();
    assert!(matches!(error, FetchError::Cancelled { received: 0, .. }), "{error}");
}

#[test]
fn two_downloads_to_one_place_do_not_meet() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").falls_silent_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let mut case = Case::new(&server);
    case.settings.stall = Duration::from_secs(1);
    let mut seconds = Vec::new();
    fetch(&case.request, &case.settings, &case.cancel, &mut |event| {
        if matches!(event, Event::Started { .. }) {
            seconds.push(fetch(&case.request, &case.settings, &case.cancel, &mut |_| {}));
        }
    })
    .unwrap();
    assert_eq!(seconds.len(), 2);
    for second in seconds {
        assert!(matches!(second, Err(FetchError::Busy { .. })), "{second:?}");
    }
    assert_eq!(case.target(), file());
    assert_eq!(case.files(), ["file.bin"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let server = Server::start([Reply::whole(&file(), "\"a\"")]);
    let mut case = Case::new(&server);
    fs::create_dir_all(case.folder.path().join("deep")).unwrap();
    // The device of Linux that is always full.
    std::os::unix::fs::symlink("/dev/full", case.part()).unwrap();
    let error = case.fetch().unwrap_err();
    assert!(
        matches!(error, FetchError::DiskFull { received: 0, expected: Some(100_000), .. }),
        "{error}"
    );
    assert!(!case.request.target.exists());
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    let server = Server::start([]);
    let mut case = Case::new(&server);
    for target in [case.folder.path().to_owned(), PathBuf::from("..")] {
        case.request.target = target;
        let error = case.fetch().unwrap_err();
        assert!(matches!(error, FetchError::Target { .. }), "{error}");
    }
}

#[test]
fn progress_grows_to_the_whole_file_and_then_the_checksum_is_announced() {
    let server = Server::start([
        Reply::whole(&file(), "\"a\"").breaks_off_after(40_000),
        Reply::rest(&file(), 40_000, "\"a\""),
    ]);
    let case = Case::new(&server);
    let (mut started, mut done, mut verified) = (Vec::new(), vec![0], 0);
    fetch(&case.request, &case.settings, &case.cancel, &mut |event| match event {
        Event::Started { done, total } => started.push((done, total)),
        Event::Received { done: now } => done.push(now),
        Event::Verifying { done, total } => {
            assert_eq!(total, 100_000);
            verified = done;
        }
        _ => {}
    })
    .unwrap();
    assert_eq!(started, [(0, Some(100_000)), (40_000, Some(100_000))]);
    assert!(done.is_sorted() && done.last() == Some(&100_000), "{done:?}");
    assert_eq!(verified, 100_000);
}

#[test]
fn reasons_to_start_over_are_told_apart() {
    let reasons =
        [StartedOver::Changed, StartedOver::NoRanges, StartedOver::Unknown, StartedOver::Refused];
    let mut texts = reasons.map(|reason| reason.to_string());
    texts.sort();
    assert!(texts.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_checksum_in_a_message_can_be_pasted_back() {
    let sum: Sha256 = FILE_SHA256.parse().unwrap();
    assert_eq!(sum.to_string().parse::<Sha256>().unwrap(), sum);
}
