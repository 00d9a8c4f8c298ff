//! One file from an address to a path.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use file_lock::{Lock, LockError};
use ureq::{
    Agent,
    http::{HeaderMap, Response, StatusCode, header},
};

use crate::{
    Event, FetchError, Settings, Sha256, StartedOver,
    http::{content_range, interruptible, may_pass, pause, status_may_pass},
    part::{Origin, Part},
    paths::{beside, folder_of, is_full, sync_folder},
};

/// A sensible [`Request::max_size`] where nothing is known, 64 GiB: the largest archives of medical
/// images have some ten.
pub const MAX_SIZE: u64 = 64 << 30;

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it is, `https` or `http`.
    pub url: String,
    /// Its checksum, if known.
    pub sha256: Option<Sha256>,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// Bytes that are accepted at most where the size is not known.
    pub max_size: u64,
    /// Where it goes. Folders on the way are made.
    pub target: PathBuf,
}

/// A file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that this call received; `None` if the file was there already.
    pub received: Option<u64>,
    /// What is known about its content.
    pub verified: Verified,
}

/// What is known about the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// It has the checksum that the caller gave.
    Checksum,
    /// It has the size that the caller gave or the server announced.
    Size,
    /// Nothing: there was no size to compare with.
    Nothing,
}

/// Downloads a file, going on where an earlier call stopped.
///
/// A target that is there already is checked, if there is something to check it by, and nothing is
/// done. Otherwise bytes go to `NAME.part` beside it, are verified there, and get the final name
/// at once. An earlier part is gone on with (`Range`) only if the server can tell that its file is
/// still the same (`If-Range` with its ETag or date); else the download starts over, which
/// [`Event::StartedOver`] says. Lost or stalled connections, and answers that may pass (such as
/// 503), are tried again after a pause.
///
/// Setting `cancel` stops at once, also while waiting for a silent server.
///
/// # Errors
///
/// [`FetchError`]. What was received is kept for the next call, except after
/// [`TooLarge`](FetchError::TooLarge) and [`Checksum`](FetchError::Checksum).
pub fn fetch(
    request: &Request,
    settings: &Settings,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, FetchError> {
    // Before the lock: a file in a folder that cannot be written to is as good as any.
    if let Some(fetched) = already_there(request, cancel, on_event)? {
        return Ok(fetched);
    }
    let name = |suffix| {
        beside(&request.target, "", suffix)
            .ok_or_else(|| FetchError::Target { path: request.target.clone() })
    };
    let folder = folder_of(&request.target);
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let lock_path = name(".part.lock")?;
    let _lock = Lock::take(&lock_path).map_err(|error| match error {
        LockError::Busy { .. } => FetchError::Busy { path: request.target.clone() },
        LockError::Io { path, source } => FetchError::File { path, source },
    })?;
    // Somebody else may have finished in between.
    if let Some(fetched) = already_there(request, cancel, on_event)? {
        return Ok(fetched);
    }
    let part_path = name(".part")?;
    let part =
        Part::open(part_path.clone(), name(".part.json")?).map_err(file_error(&part_path))?;
    let mut download =
        Download { request, settings, cancel, on_event, part, received: 0, answered: false };
    let agent = settings.agent(&request.url);
    match interruptible(&agent, cancel, || download.receive(&agent)) {
        Ok(total) => download.finish(total),
        Err(error) => {
            if download.part.len() == 0 {
                // There is nothing to go on with. The first error is the one to report.
                let _ = download.part.remove();
            }
            Err(error)
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    move |source| FetchError::File { path: path.to_owned(), source }
}

/// The file if it is there and has the size and checksum that it should have.
fn already_there(
    request: &Request,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Fetched>, FetchError> {
    let path = &request.target;
    let size = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(FetchError::Target { path: path.clone() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FetchError::File { path: path.clone(), source }),
    };
    if let Some(expected) = request.size.filter(|expected| *expected != size) {
        return Err(FetchError::OtherSize { expected, actual: size, path: path.clone() });
    }
    let verified = match request.sha256 {
        Some(expected) => {
            let actual = checksum(path, size, cancel, on_event)?
                .ok_or_else(|| FetchError::Cancelled { received: size, path: path.clone() })?;
            if actual != expected {
                return Err(FetchError::OtherFile { expected, actual, path: path.clone() });
            }
            Verified::Checksum
        }
        None if request.size.is_some() => Verified::Size,
        None => Verified::Nothing,
    };
    Ok(Some(Fetched { size, received: None, verified }))
}

/// The checksum of a file; `None` if it was called off.
fn checksum(
    path: &Path,
    total: u64,
    cancel: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Sha256>, FetchError> {
    on_event(Event::Verifying { done: 0, total });
    File::open(path)
        .and_then(|file| {
            Sha256::of_reader(file, |done| {
                on_event(Event::Verifying { done, total });
                !cancel.load(Ordering::Relaxed)
            })
        })
        .map_err(file_error(path))
}

/// How an attempt ended that did not fail for good.
enum Attempt {
    /// All bytes are there.
    Complete,
    /// Another attempt may bring the rest.
    Failed {
        /// What went wrong.
        cause: FetchError,
        /// How long the server wants us to wait.
        retry_after: Option<Duration>,
    },
}

/// A download under way.
struct Download<'a> {
    request: &'a Request,
    settings: &'a Settings,
    cancel: &'a AtomicBool,
    on_event: &'a mut dyn FnMut(Event<'_>),
    part: Part,
    /// Bytes received by this call, those included that were given up again.
    received: u64,
    /// Whether the server has answered in this call, whatever it said.
    answered: bool,
}

impl Download<'_> {
    /// Receives the bytes that lack, in as many attempts as it takes; gives the size of the file if
    /// anybody said it.
    fn receive(&mut self, agent: &Agent) -> Result<Option<u64>, FetchError> {
        let mut failures = 0_u32;
        // What counts is how far the file has grown, not how much was received: a server that
        // breaks off and begins again at the first byte would go on for ever.
        let mut best = self.part.len();
        loop {
            let attempt = self.attempt(agent);
            if self.cancel.load(Ordering::Relaxed) {
                // Whatever else went wrong: that the connections were cut is no error of theirs.
                return Err(self.cancelled());
            }
            let (cause, retry_after) = match attempt? {
                Attempt::Complete => return Ok(self.expected_size()),
                Attempt::Failed { cause, retry_after } => (cause, retry_after),
            };
            if self.part.len() >= best.saturating_add(self.settings.progress.max(1)) {
                best = self.part.len();
                failures = 0;
            }
            failures += 1;
            let Settings { retries, first_retries, .. } = *self.settings;
            let retries = if self.answered { retries } else { first_retries.min(retries) };
            let most = retries.saturating_add(1);
            if failures >= most {
                return Err(FetchError::GaveUp { failures, source: Box::new(cause) });
            }
            let length = self.settings.pause(failures, retry_after);
            (self.on_event)(Event::Waiting { cause: &cause, pause: length, failures, most });
            pause(length, self.cancel);
            if self.cancel.load(Ordering::Relaxed) {
                return Err(self.cancelled());
            }
        }
    }

    /// One request, and the bytes that come of it.
    fn attempt(&mut self, agent: &Agent) -> Result<Attempt, FetchError> {
        let resumed = self.resume_point()?;
        if let Some(origin) = &resumed
            && origin.total == Some(self.part.len())
        {
            // The last attempt was stopped between the last byte and the final name.
            return Ok(Attempt::Complete);
        }
        let mut get = agent.get(&self.request.url);
        if let Some(validator) = resumed.as_ref().and_then(Origin::validator) {
            get = get
                .header(header::RANGE, format!("bytes={}-", self.part.len()))
                .header(header::IF_RANGE, validator);
        }
        let response = match get.call() {
            Ok(response) => response,
            Err(error) => return self.no_answer(error),
        };
        self.answered = true;
        match response.status() {
            StatusCode::OK => self.whole(response, resumed.as_ref()),
            StatusCode::PARTIAL_CONTENT => match resumed {
                Some(origin) => self.rest(response, &origin),
                None => Err(self.status(StatusCode::PARTIAL_CONTENT)),
            },
            status @ StatusCode::RANGE_NOT_SATISFIABLE if resumed.is_some() => {
                self.start_over(StartedOver::Refused)?;
                Ok(Attempt::Failed { cause: self.status(status), retry_after: None })
            }
            status if status_may_pass(status) => {
                let retry_after = text(response.headers(), header::RETRY_AFTER)
                    .and_then(|secs| secs.parse().ok())
                    .map(Duration::from_secs);
                Ok(Attempt::Failed { cause: self.status(status), retry_after })
            }
            status => Err(self.status(status)),
        }
    }

    /// Where the bytes of the part came from, if they can be gone on with. If not, there are none
    /// afterwards.
    fn resume_point(&mut self) -> Result<Option<Origin>, FetchError> {
        if self.part.len() == 0 {
            return Ok(None);
        }
        let known = self.part.origin().filter(|origin| {
            let fits = origin.total.is_none_or(|total| self.part.len() <= total);
            origin.url == self.request.url && origin.validator().is_some() && fits
        });
        match known {
            Some(origin) => Ok(Some(origin.clone())),
            None => {
                self.start_over(StartedOver::Unknown)?;
                Ok(None)
            }
        }
    }

    /// An answer with the whole file.
    fn whole(
        &mut self,
        response: Response<ureq::Body>,
        resumed: Option<&Origin>,
    ) -> Result<Attempt, FetchError> {
        let now = self.origin(response.headers(), None);
        if let Some(former) = resumed {
            let why =
                if former.agrees_with(&now) { StartedOver::NoRanges } else { StartedOver::Changed };
            self.start_over(why)?;
        } else {
            self.clear()?;
        }
        self.check(response.headers(), now.total)?;
        self.part.begin(now).map_err(|error| self.write_error(error))?;
        self.body(response)
    }

    /// An answer with the bytes that lack.
    fn rest(
        &mut self,
        response: Response<ureq::Body>,
        origin: &Origin,
    ) -> Result<Attempt, FetchError> {
        let range = text(response.headers(), header::CONTENT_RANGE).unwrap_or_default();
        let Some((first, total)) = content_range(range).filter(|range| range.0 == self.part.len())
        else {
            let cause = FetchError::WrongPart {
                asked: self.part.len(),
                sent: range.to_owned(),
                url: self.request.url.clone(),
            };
            self.start_over(StartedOver::Refused)?;
            return Ok(Attempt::Failed { cause, retry_after: None });
        };
        let now = self.origin(response.headers(), Some(total));
        if !origin.agrees_with(&now) {
            // The server ignores `If-Range`: these are bytes of another file.
            let cause =
                FetchError::WrongPart { asked: first, sent: range.to_owned(), url: now.url };
            self.start_over(StartedOver::Changed)?;
            return Ok(Attempt::Failed { cause, retry_after: None });
        }
        self.check(response.headers(), total)?;
        self.body(response)
    }

    /// What the headers of an answer say about the file; `total` for the answer with a part.
    fn origin(&self, headers: &HeaderMap, total: Option<Option<u64>>) -> Origin {
        let owned = |name| text(headers, name).map(str::to_owned);
        let length = || text(headers, header::CONTENT_LENGTH)?.parse().ok();
        Origin {
            url: self.request.url.clone(),
            // A weak tag (`W/…`) says that two files mean the same, not that they are.
            etag: owned(header::ETAG).filter(|etag| etag.starts_with('"')),
            last_modified: owned(header::LAST_MODIFIED),
            total: total.unwrap_or_else(length),
        }
    }

    /// Refuses a file that cannot be the right one, before its first byte.
    fn check(&self, headers: &HeaderMap, total: Option<u64>) -> Result<(), FetchError> {
        let url = || self.request.url.clone();
        if let Some(encoding) =
            text(headers, header::CONTENT_ENCODING).filter(|one| *one != "identity")
        {
            return Err(FetchError::Encoded { encoding: encoding.to_owned(), url: url() });
        }
        match (self.request.size, total) {
            (Some(expected), Some(announced)) if expected != announced => {
                Err(FetchError::Size { expected, announced, url: url() })
            }
            (None, Some(announced)) if announced > self.request.max_size => {
                Err(FetchError::TooLarge { limit: self.request.max_size, url: url() })
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the whole file: those of the caller go before those of the server, which are equal
    /// where both are known.
    fn expected_size(&self) -> Option<u64> {
        self.request.size.or_else(|| self.part.origin().and_then(|origin| origin.total))
    }

    /// Appends the bytes of an answer.
    fn body(&mut self, response: Response<ureq::Body>) -> Result<Attempt, FetchError> {
        let expected = self.expected_size();
        let limit = expected.unwrap_or(self.request.max_size);
        (self.on_event)(Event::Started { done: self.part.len(), total: expected });
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(self.cancelled());
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) if expected.is_none_or(|expected| expected == self.part.len()) => {
                    return Ok(Attempt::Complete);
                }
                Ok(0) => return Ok(self.lost(None)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(self.lost(Some(error.into()))),
            };
            if self.part.len() + count as u64 > limit {
                self.clear()?;
                return Err(FetchError::TooLarge { limit, url: self.request.url.clone() });
            }
            let before = self.part.len();
            let written = self.part.append(&buffer[..count]);
            self.received += self.part.len() - before;
            written.map_err(|error| self.write_error(error))?;
            (self.on_event)(Event::Received { done: self.part.len() });
        }
    }

    /// Checks the complete part and gives it its name.
    fn finish(self, total: Option<u64>) -> Result<Fetched, FetchError> {
        let Self { request, cancel, on_event, part, received, .. } = self;
        let path = part.path().to_owned();
        part.sync().map_err(file_error(&path))?;
        let size = part.len();
        let verified = match request.sha256 {
            Some(expected) => {
                let actual = checksum(&path, size, cancel, on_event)?
                    .ok_or_else(|| FetchError::Cancelled { received: size, path: path.clone() })?;
                if actual != expected {
                    part.remove().map_err(file_error(&path))?;
                    let url = request.url.clone();
                    return Err(FetchError::Checksum { expected, actual, url });
                }
                Verified::Checksum
            }
            None if total.is_some() => Verified::Size,
            None => Verified::Nothing,
        };
        part.finish(&request.target)
            .and_then(|()| sync_folder(folder_of(&request.target)))
            .map_err(file_error(&request.target))?;
        Ok(Fetched { size, received: Some(received), verified })
    }

    /// What to make of a request that got no answer.
    fn no_answer(&self, error: ureq::Error) -> Result<Attempt, FetchError> {
        let url = || self.request.url.clone();
        match error {
            ureq::Error::TooManyRedirects => {
                Err(FetchError::Redirects { most: self.settings.redirects, url: url() })
            }
            error if may_pass(&error) => Ok(self.lost(Some(error))),
            error => Err(FetchError::Request { url: url(), source: Box::new(error) }),
        }
    }

    fn lost(&self, source: Option<ureq::Error>) -> Attempt {
        let cause = FetchError::Lost {
            received: self.part.len(),
            expected: self.expected_size(),
            url: self.request.url.clone(),
            source: source.map(Box::new),
        };
        Attempt::Failed { cause, retry_after: None }
    }

    fn start_over(&mut self, why: StartedOver) -> Result<(), FetchError> {
        (self.on_event)(Event::StartedOver { why, lost: self.part.len() });
        self.clear()
    }

    fn clear(&mut self) -> Result<(), FetchError> {
        self.part.clear().map_err(|error| self.write_error(error))
    }

    fn status(&self, status: StatusCode) -> FetchError {
        FetchError::Status { status: status.as_u16(), url: self.request.url.clone() }
    }

    fn cancelled(&self) -> FetchError {
        FetchError::Cancelled { received: self.part.len(), path: self.part.path().to_owned() }
    }

    fn write_error(&self, source: io::Error) -> FetchError {
        let path = self.part.path().to_owned();
        if is_full(&source) {
            let (received, expected) = (self.part.len(), self.expected_size());
            FetchError::DiskFull { received, expected, path, source }
        } else {
            FetchError::File { path, source }
        }
    }
}

/// A header as text.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
