//! A web server that answers exactly what a test tells it, in the order of requests.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    head: String,
    body: Vec<u8>,
    then: Then,
}

/// What follows the last byte of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    Silence,
    Endless,
    Hangup,
}

impl Reply {
    /// An answer with a status such as `200 OK`.
    pub fn new(status: &str) -> Self {
        Self {
            head: format!("HTTP/1.1 {status}\r\nConnection: close\r\n"),
            body: Vec::new(),
            then: Then::Close,
        }
    }

    /// No answer at all: the connection is closed.
    pub fn nothing() -> Self {
        Self { head: String::new(), body: Vec::new(), then: Then::Hangup }
    }

    /// The whole of a file.
    pub fn whole(file: &[u8], etag: &str) -> Self {
        Self::new("200 OK").header("Content-Length", file.len()).header("ETag", etag).body(file)
    }

    /// The bytes of a file from `first` on.
    pub fn rest(file: &[u8], first: usize, etag: &str) -> Self {
        let (last, total) = (file.len() - 1, file.len());
        Self::new("206 Partial Content")
            .header("Content-Length", total - first)
            .header("Content-Range", format!("bytes {first}-{last}/{total}"))
            .header("ETag", etag)
            .body(&file[first..])
    }

    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.body = bytes.to_vec();
        self
    }

    /// Sends so many bytes of the body and closes the connection.
    pub fn breaks_off_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    /// Sends so many bytes of the body and then nothing, with an open connection.
    pub fn falls_silent_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self.then = Then::Silence;
        self
    }

    /// Sends the body again and again.
    pub fn without_end(mut self) -> Self {
        self.then = Then::Endless;
        self
    }
}

/// A request that was received.
#[derive(Debug, Clone)]
pub struct Received {
    head: String,
    /// Bytes of the body that were sent in answer.
    pub sent: usize,
    /// Whether the client closed the connection while the server was silent.
    pub client_left: bool,
}

impl Received {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// How long a silent server waits for the client to leave: longer than any time limit of a test
/// but the one that must not be reached.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; it ends when it has given its last reply.
pub struct Server {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let replies: Vec<Reply> = replies.into_iter().collect();
        let log = received.clone();
        let thread = std::thread::spawn(move || {
            for reply in replies {
                let Ok((stream, _)) = listener.accept() else { return };
                answer(stream, &reply, &log);
            }
        });
        Self { port, received, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// All requests; waits for the last reply to be given.
    pub fn requests(mut self) -> Vec<Received> {
        self.thread.take().unwrap().join().unwrap();
        self.received.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, reply: &Reply, log: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap_or(0) > 2 {}
    let mut received = Received { head, sent: 0, client_left: false };
    let text = format!("{}\r\n", reply.head);
    // A client that has seen enough may leave at any time.
    let mut send = |bytes: &[u8]| stream.write_all(bytes).is_ok();
    if reply.then != Then::Hangup && send(text.as_bytes()) && send(&reply.body) {
        received.sent = reply.body.len();
        while reply.then == Then::Endless && send(&reply.body) {
            received.sent += reply.body.len();
        }
    }
    if reply.then == Then::Silence {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        received.client_left = reader.read(&mut [0]).is_ok_and(|count| count == 0);
    }
    log.lock().unwrap().push(received);
}
