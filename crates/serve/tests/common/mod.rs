//! A page with a model that is made up, and a client that speaks plain HTTP.
#![allow(dead_code, reason = "every test uses a part")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use image::RgbImage;
use promise::interactive::{Answer, Question, QuestionError, SoftMap, Subject};
use serde_json::Value;
use serve::{Embedding, Engine, Library, MethodInfo, RunList, Server, Settings};

/// Blocks of the made-up encoder.
pub const BLOCKS: usize = 4;

/// Steps that wait until somebody lets them go on.
#[derive(Default)]
pub struct Gate {
    open: Mutex<usize>,
    changed: Condvar,
    pub waiting: AtomicUsize,
}

impl Gate {
    /// Lets so many steps go on.
    pub fn open(&self, steps: usize) {
        *self.open.lock().expect("the gate") += steps;
        self.changed.notify_all();
    }

    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().expect("the gate");
        while *open == 0 {
            open = self.changed.wait(open).expect("the gate");
        }
        if *open < usize::MAX / 2 {
            *open -= 1;
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A model that answers with a square of 4 x 4 pixels around the last point.
#[derive(Default)]
pub struct Fake {
    pub blocks: Option<Arc<Gate>>,
    pub answers: Option<Arc<Gate>>,
    pub encoded: Arc<AtomicUsize>,
    pub ended: Arc<AtomicUsize>,
}

struct FakeImage {
    width: u32,
    height: u32,
    answers: Option<Arc<Gate>>,
}

impl Engine for Fake {
    fn methods(&self) -> Vec<MethodInfo> {
        let method = |name: &str, proposes| MethodInfo {
            name: name.into(),
            proposes,
            shifts: false,
            folder: None,
        };
        vec![method("frozen", false), method("auto", true)]
    }

    fn encode(
        &self,
        image: &RgbImage,
        _subject: Subject<'_>,
        watch: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
    ) -> Option<Arc<dyn Embedding>> {
        self.encoded.fetch_add(1, Ordering::SeqCst);
        for block in 1..=BLOCKS {
            if let Some(gate) = &self.blocks {
                gate.pass();
            }
            if watch(block, BLOCKS).is_break() {
                self.ended.fetch_add(1, Ordering::SeqCst);
                return None;
            }
        }
        let (width, height) = image.dimensions();
        Some(Arc::new(FakeImage { width, height, answers: self.answers.clone() }))
    }
}

impl Embedding for FakeImage {
    fn bytes(&self) -> u64 {
        1000
    }

    fn answer(&self, method: usize, question: &Question) -> Result<Answer, QuestionError> {
        if let Some(gate) = &self.answers {
            gate.pass();
        }
        if method > 1 {
            return Err(QuestionError::NoMethod { method, methods: 2 });
        }
        let (width, height) = (self.width, self.height);
        let center = question.points.last().map(|(at, _)| *at);
        let own = question.automatic.then_some([width as f32 / 2.0, height as f32 / 2.0]);
        let Some([cx, cy]) = center.or(own) else {
            return Err(QuestionError::NoPrompt { method: "frozen".into() });
        };
        let near = |at: u32, center: f32| (at as f32 + 0.5 - center).abs() <= 2.0;
        let pixel = |at: u32| near(at % width, cx) && near(at / width, cy);
        let map = SoftMap { width: 2, height: 2, values: vec![0, 100, 200, 255] };
        Ok(Answer {
            width,
            height,
            mask: (0..width * height).map(pixel).collect(),
            shown: question.mask.unwrap_or(0),
            iou_predictions: vec![0.9, 0.5, 0.1],
            previews: vec![map.clone(); 3],
            probabilities: map,
            points: Vec::new(),
            box_xyxy: question.box_xyxy,
            mask_input: false,
            secs: 0.001,
        })
    }
}

/// A page that listens until it is dropped.
pub struct Page {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Page {
    pub fn start(settings: &Settings, fake: Fake, library: Library) -> Self {
        Self::with_runs(settings, fake, library, RunList::new("no-runs".into(), Vec::new()))
    }

    pub fn with_runs(settings: &Settings, fake: Fake, library: Library, runs: RunList) -> Self {
        let server = Server::bind(settings, Arc::new(fake), library, runs).expect("a free port");
        let address = server.address();
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let thread = Some(thread::spawn(move || server.run(&theirs)));
        Self { address, stop, thread }
    }

    /// A page over the generated images.
    pub fn of(settings: &Settings, fake: Fake) -> Self {
        let gallery = serve::Gallery::of_data("phantom", "test", None).expect("generated");
        Self::start(settings, fake, Library::new(gallery))
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let host = format!("{}", self.address);
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {host}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).expect("sent");
        // The server may answer, and close, before it has read a body that is too long.
        let _ = stream.write_all(body);
        Reply::read(stream)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// Asks until the image is in this state.
    pub fn until(&self, key: &str, state: &str) -> Value {
        for _ in 0..3000 {
            let progress = self.get(&format!("/api/images/{key}/encoding")).json();
            if progress["state"] == state {
                return progress;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{key} was never {state}");
    }

    pub fn encode(&self, key: &str) {
        let reply = self.post(&format!("/api/images/{key}/encoding"), &Value::Null);
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.until(key, "ready");
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.expect("a status"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}
