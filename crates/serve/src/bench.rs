//! How long a prompt takes: from the request to the bytes of its answer, with everything but the socket.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use image::imageops::{self, FilterType};
use promise::{backbone::Backbone, device::DeviceKind, interactive::Interactive};
use sam_backbone::{ResizeMode, Variant};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time;
use tower::ServiceExt as _;

use crate::{
    Engine, Gallery, Library, LibraryError, ModelsError, Picture, PromiseEngine, RunList,
    ServeError, Settings, server::router,
};

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Bench {
    /// Name of the variant.
    pub variant: String,
    /// Threads that the machine has.
    pub threads: usize,
    /// The times.
    #[serde(flatten)]
    pub latencies: Latencies,
}

/// The times of clicks.
#[derive(Debug, Clone, Serialize)]
pub struct Latencies {
    /// Width and height of the image.
    pub image: [u32; 2],
    /// Seconds in which the image was encoded.
    pub encode_secs: f64,
    /// With nothing else to do.
    pub alone: Latency,
    /// While another image is encoded, as for a second user; nothing if none was met.
    pub beside_encoding: Option<Latency>,
}

/// How long clicks took, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Prompts that were answered.
    pub prompts: usize,
    /// From the request to the whole answer, the median.
    pub median_ms: f64,
    /// The 95th percentile of the same.
    pub p95_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// Prompt encoder, decoder and mask alone, the median.
    pub model_median_ms: f64,
}

impl Bench {
    /// A table.
    pub fn markdown(&self) -> String {
        let Latencies { image: [width, height], encode_secs, alone, beside_encoding } =
            &self.latencies;
        let mut text = format!(
            "{}, image of {width} x {height} pixels, {} threads; encoded in {encode_secs:.2} s\n\n\
             | clicks | n | median (ms) | 95th percentile | longest | model alone, median |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |\n",
            self.variant, self.threads
        );
        let rows = [("alone", Some(alone)), ("beside an encoding", beside_encoding.as_ref())];
        for (name, latency) in rows {
            let Some(one) = latency else { continue };
            text.push_str(&format!(
                "| {name} | {} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
                one.prompts, one.median_ms, one.p95_ms, one.longest_ms, one.model_median_ms
            ));
        }
        text
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no page.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// There is no model.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// There is no image.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A request was not answered.
    #[error("{path} was answered with {status}: {message}")]
    Refused {
        /// The request.
        path: String,
        /// The status.
        status: StatusCode,
        /// What was said.
        message: String,
    },
    /// Threads cannot be had.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
}

/// What is timed.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Which SAM; with random weights but for `micro`.
    pub variant: Variant,
    /// Clicks that are timed.
    pub prompts: usize,
    /// Images that are encoded during the clicks beside an encoding.
    pub encodings: usize,
    /// Longest side of the image in pixels.
    pub side: u32,
}

/// The seed of random weights. Times do not depend on it.
const SEED: u64 = 1;

/// Times plain SAM.
///
/// # Errors
///
/// See [`BenchError`].
pub fn bench(question: &Question, device: DeviceKind) -> Result<Bench, BenchError> {
    let device = device.device().map_err(ModelsError::Device)?;
    let backbone = match question.variant {
        Variant::Micro => {
            Backbone::load(Variant::Micro, None, &device).map_err(ModelsError::Backbone)?
        }
        variant => Backbone::random(variant, SEED, &device),
    };
    let mut interactive = Interactive::new(device).map_err(ModelsError::Interactive)?;
    interactive.add_frozen(backbone, ResizeMode::LongestSide);
    let library = Library::new(Gallery::of_data("phantom", "test", None)?);
    let latencies = latencies(Arc::new(PromiseEngine::of(interactive)), library, question)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Bench { variant: question.variant.to_string(), threads, latencies })
}

/// Clicks on an image with the first method, and then once more while others are encoded.
///
/// # Errors
///
/// See [`BenchError`].
fn latencies(
    engine: Arc<dyn Engine>,
    library: Library,
    question: &Question,
) -> Result<Latencies, BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .map_err(BenchError::Threads)?;
    let picture = library.picture("g0")?;
    let (width, height) = picture.image.dimensions();
    let scale = f64::from(question.side) / f64::from(width.max(height));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let image = imageops::resize(&picture.image, side(width), side(height), FilterType::Triangle);
    let image = Picture {
        name: "bench.png".into(),
        data: String::new(),
        id: "bench".into(),
        image,
        truth: None,
    };
    let png = image.png()?;
    let runs = RunList::new(std::path::PathBuf::from("no-runs"), Vec::new());
    let router = router(&Settings::default(), PORT, engine, library, runs)?;
    let client = Client { router };
    runtime.block_on(async {
        let added = client.send("POST", "/api/uploads?name=bench.png", Body::from(png)).await?;
        let key = added["key"].as_str().unwrap_or_default().to_owned();
        let start = Instant::now();
        client.encode(&key).await?;
        let encode_secs = start.elapsed().as_secs_f64();
        let clicks = Clicks { key, size: image.image.dimensions() };
        for warm in 0..WARM {
            client.click(&clicks, warm).await?;
        }
        let mut alone = Times::default();
        for click in 0..question.prompts {
            alone.push(client.click(&clicks, click).await?);
        }
        let mut beside = Times::default();
        for other in 1..=question.encodings {
            let path = format!("/api/images/g{other}/encoding");
            client.send("POST", &path, Body::empty()).await?;
            while beside.all.len() < question.prompts && client.is_encoding(&path).await? {
                beside.push(client.click(&clicks, beside.all.len()).await?);
            }
            if beside.all.len() == question.prompts {
                break;
            }
        }
        Ok::<_, BenchError>(Latencies {
            image: [clicks.size.0, clicks.size.1],
            encode_secs,
            alone: alone.latency(),
            beside_encoding: (!beside.all.is_empty()).then(|| beside.latency()),
        })
    })
}

/// Clicks before the clock runs.
const WARM: usize = 5;

const PORT: u16 = 1;

struct Client {
    router: axum::Router,
}

#[derive(Default)]
struct Times {
    all: Vec<f64>,
    model: Vec<f64>,
}

impl Times {
    fn push(&mut self, (all, model): (f64, f64)) {
        self.all.push(all);
        self.model.push(model);
    }

    fn latency(mut self) -> Latency {
        self.all.sort_by(f64::total_cmp);
        self.model.sort_by(f64::total_cmp);
        Latency {
            prompts: self.all.len(),
            median_ms: quantile(&self.all, 0.5),
            p95_ms: quantile(&self.all, 0.95),
            longest_ms: self.all.last().copied().unwrap_or(f64::NAN),
            model_median_ms: quantile(&self.model, 0.5),
        }
    }
}

/// The smallest value that at least this share of all values does not exceed (nearest rank).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// The image that is clicked on.
struct Clicks {
    key: String,
    size: (u32, u32),
}

impl Client {
    async fn send(&self, method: &str, path: &str, body: Body) -> Result<Value, BenchError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("localhost:{PORT}"))
            .header("content-type", "application/json")
            .body(body)
            .expect("a path and headers of this file");
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null));
        }
        let message = String::from_utf8_lossy(&bytes).into_owned();
        Err(BenchError::Refused { path: path.to_owned(), status, message })
    }

    /// Whether an image is being encoded at this moment; waits while it waits, or is read.
    async fn is_encoding(&self, path: &str) -> Result<bool, BenchError> {
        loop {
            let progress = self.send("GET", path, Body::empty()).await?;
            match progress["state"].as_str() {
                Some("encoding") if progress["all"] != 0 => return Ok(true),
                Some("waiting" | "encoding") => time::sleep(PATIENCE).await,
                Some("ready") => return Ok(false),
                _ => {
                    let (status, message) = (StatusCode::CONFLICT, progress.to_string());
                    return Err(BenchError::Refused { path: path.to_owned(), status, message });
                }
            }
        }
    }

    async fn encode(&self, key: &str) -> Result<(), BenchError> {
        let path = format!("/api/images/{key}/encoding");
        self.send("POST", &path, Body::empty()).await?;
        while self.is_encoding(&path).await? {
            time::sleep(PATIENCE).await;
        }
        Ok(())
    }

    /// Clicks at one of the places that wander over the image. Milliseconds of all, and of the model.
    async fn click(&self, clicks: &Clicks, number: usize) -> Result<(f64, f64), BenchError> {
        // Shares that do not repeat: multiples of the golden ratio and of its square.
        let share = |factor: f64| ((number as f64 + 1.0) * factor).fract();
        let x = share(0.618_033_988_7) * f64::from(clicks.size.0);
        let y = share(0.381_966_011_3) * f64::from(clicks.size.1);
        let body = json!({
            "image": clicks.key,
            "method": 0,
            "points": [{ "x": x, "y": y, "label": "foreground" }],
        });
        let start = Instant::now();
        let answer = self.send("POST", "/api/answers", Body::from(body.to_string())).await?;
        let all = start.elapsed().as_secs_f64() * 1000.0;
        Ok((all, answer["milliseconds"].as_f64().unwrap_or(f64::NAN)))
    }
}

/// How long to wait before asking again.
const PATIENCE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 100.0);
        assert_eq!(quantile(&values, 0.95), 190.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
