//! The HTTP client: time limits, redirects, proxy, and which failures may pass.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use ureq::{Agent, http::StatusCode};

/// How long to wait for what, and how often to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most time to find the host and to connect to it.
    pub connect: Duration,
    /// Most time without a single byte. The whole download may take as long as it takes.
    pub stall: Duration,
    /// Failures in a row that are forgiven. A failure after [`progress`](Self::progress) new bytes
    /// counts as the first one.
    pub retries: u32,
    /// The same as long as the server has not answered once in this call: the address may be wrong,
    /// or this machine offline.
    pub first_retries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// No pause is longer, whatever the server asks for with `Retry-After`.
    pub longest_pause: Duration,
    /// Bytes by which the file must have grown for an attempt to be worth its while.
    pub progress: u64,
    /// Most redirects that are followed.
    pub redirects: u32,
    /// How the server is reached.
    pub proxy: Proxy,
}

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// Through the proxy of `ALL_PROXY`, `HTTPS_PROXY` or `HTTP_PROXY` (or in lower case), the first
    /// that is set, for all hosts but those of `NO_PROXY`.
    Environment,
    /// Directly, whatever the environment says.
    None,
}

impl Default for Settings {
    /// Some minutes of lost connection are survived.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            retries: 7,
            first_retries: 2,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            progress: 256 * 1024,
            redirects: 10,
            proxy: Proxy::Environment,
        }
    }
}

impl Settings {
    /// The pause after so many failures in a row.
    pub(crate) fn pause(&self, failures: u32, asked_for: Option<Duration>) -> Duration {
        let factor = 2u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(factor);
        pause.max(asked_for.unwrap_or_default()).min(self.longest_pause)
    }

    pub(crate) fn agent(&self, url: &str) -> Agent {
        let config = Agent::config_builder()
            .user_agent(concat!("promise-in-rust/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            // What began safely must not end in the clear.
            .https_only(url.starts_with("https:"))
            .max_redirects(self.redirects)
            .max_redirects_will_error(true)
            // One request per attempt: a connection that is kept for the next one can only be stale.
            .max_idle_connections(0)
            .timeout_resolve(Some(self.connect))
            .timeout_connect(Some(self.connect))
            .timeout_recv_response(Some(self.stall))
            .timeout_per_read(Some(self.stall))
            .timeout_per_write(Some(self.stall));
        match self.proxy {
            // What the client does by itself.
            Proxy::Environment => config,
            Proxy::None => config.proxy(None),
        }
        .build()
        .new_agent()
    }
}

/// Whether the same request may succeed a little later.
pub(crate) fn may_pass(error: &ureq::Error) -> bool {
    use ureq::Error;

    match error {
        // Bytes that are no HTTP or no TLS, and certificates that are not trusted, come as
        // `InvalidData` or `InvalidInput`.
        Error::Io(error) => {
            !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        }
        Error::Timeout(_)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::BodyStalled
        | Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether a server that answers so may answer otherwise a little later.
pub(crate) fn status_may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// How often the caller's flag is looked at while the thread waits for the network.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Does `work`, and cuts its connections as soon as `cancel` is set: a thread that waits for the
/// network cannot look for itself.
pub(crate) fn interruptible<T>(agent: &Agent, cancel: &AtomicBool, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (working, finished) = mpsc::channel::<()>();
        let watched = agent.clone();
        scope.spawn(move || {
            while finished.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if cancel.load(Ordering::Relaxed) {
                    watched.shutdown();
                    return;
                }
            }
        });
        let result = work();
        drop(working);
        result
    })
}

/// Waits, but not for somebody who has already set `cancel`.
pub(crate) fn pause(length: Duration, cancel: &AtomicBool) {
    let mut left = length;
    while !left.is_zero() && !cancel.load(Ordering::Relaxed) {
        let step = left.min(LOOK_EVERY);
        std::thread::sleep(step);
        left -= step;
    }
}

/// The header `Content-Range` of a part: `(first byte, bytes of the whole file)`.
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_and_nonsense_is_not() {
        assert_eq!(content_range("bytes 40-99/100"), Some((40, Some(100))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for text in
            ["", "bytes */100", "bytes 99-40/100", "bytes 40-100/100", "items 0-1/2", "bytes -1/2"]
        {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let settings = Settings {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(6),
            ..Settings::default()
        };
        let secs = |failures, asked_for: Option<u64>| {
            settings.pause(failures, asked_for.map(Duration::from_secs)).as_secs()
        };
        assert_eq!([1, 2, 3, 4, 99].map(|failures| secs(failures, None)), [1, 2, 4, 6, 6]);
        assert_eq!((secs(1, Some(5)), secs(1, Some(3600))), (5, 6));
    }
}
