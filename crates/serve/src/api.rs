//! The requests of the page.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};
use promise::interactive::Answer;
use reporting::{FigureKind, LoadError, Run, Screen, ScreenCell};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    answer::{AnswerBody, Prompt, Runs, TooManyPoints, gray, scores},
    assets,
    encodings::{Busy, Encodings, Progress, Ticket},
    engine::{Embedding, Engine, MethodInfo},
    export::{ExportError, ExportFolder, safe_name},
    library::{Library, LibraryError, Picture},
    problem::Problem,
    runs::{LeadsOut, RunList},
    turns::{Rush, Turns},
};

/// Methods in one panel, at most.
const MAX_CELLS: usize = 12;

/// What requests share.
pub(crate) struct App {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) library: Arc<Library>,
    pub(crate) encodings: Encodings,
    pub(crate) runs: RunList,
    pub(crate) export: Option<ExportFolder>,
    pub(crate) command: String,
    /// One prompt at a time, in order: each takes all cores for some ten milliseconds.
    pub(crate) answering: Turns,
    /// One image that is read or written, or one figure that is drawn, at a time.
    pub(crate) drawing: Turns,
    /// One export at a time, from its first question to its file: answers are as large as the image, and those that wait to
    /// be drawn lie in memory.
    pub(crate) exporting: Turns,
    pub(crate) rush: Arc<Rush>,
    /// The largest image that may be dropped, in bytes.
    pub(crate) upload_bytes: usize,
    /// KiB of images that are being sent.
    pub(crate) incoming: Arc<Semaphore>,
}

type Shared = State<Arc<App>>;
type Answered<T> = Result<T, Problem>;

pub(crate) fn routes(app: Arc<App>, body_bytes: usize) -> Router {
    let upload = post(upload)
        .layer(DefaultBodyLimit::max(app.upload_bytes))
        .layer(middleware::from_fn_with_state(app.clone(), admit_upload));
    Router::new()
        .route("/api/session", get(session))
        .route("/api/gallery", get(gallery))
        .route("/api/uploads", upload)
        .route("/api/images/{image}", get(describe))
        .route("/api/images/{image}/image.png", get(image_png))
        .route("/api/images/{image}/thumbnail.jpg", get(thumbnail))
        .route("/api/images/{image}/truth", get(truth))
        .route("/api/images/{image}/encoding", get(encoding).post(join).delete(leave))
        .route("/api/answers", post(answer))
        .route("/api/exports/mask.png", post(export_mask))
        .route("/api/exports/prompts.json", post(export_prompts))
        .route("/api/exports/panel/{format}", post(export_panel))
        .route("/api/runs", get(all_runs))
        .route("/api/results", get(results))
        .route("/api/runs/{experiment}/{run}", get(run_details))
        .route("/api/figures/{experiment}/{figure}", get(figure))
        .fallback(asset)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body_bytes))
        .with_state(app)
}

async fn asset(uri: Uri) -> Response {
    let nothing = || Problem::not_found("there is nothing here").into_response();
    assets::file(uri.path()).unwrap_or_else(nothing)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
}

/// Lets an image in while those that are on their way leave room for it: bodies lie in memory until they are whole.
async fn admit_upload(State(app): Shared, request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // Whoever does not say how much will come may send as much as may come.
    let bytes = length.unwrap_or(app.upload_bytes);
    if bytes > app.upload_bytes {
        let message = format!("the file has more than {} MiB", app.upload_bytes >> 20);
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message).into_response();
    }
    match app.incoming.try_acquire_many(kibibytes(bytes)) {
        Ok(_permit) => next.run(request).await,
        Err(_) => {
            let message = "too many images are being sent already; try again in a while";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, message).into_response()
        }
    }
}

pub(crate) fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

async fn session(State(app): Shared) -> Json<serde_json::Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "server": app.library.mark(),
        "methods": app.engine.methods(),
        "gallery": app.library.gallery().name(),
        "upload_bytes": app.upload_bytes,
        "figure_kinds": FigureKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "export": app.export.as_ref().map(|folder| folder.root().display().to_string()),
    }))
}

#[derive(Serialize)]
struct Item {
    key: String,
    name: String,
    /// Dice by method, nothing where it is not known.
    dice: Vec<Option<f64>>,
}

async fn gallery(State(app): Shared) -> Answered<Json<Vec<Item>>> {
    let theirs = app.clone();
    let listed = app.drawing.take(move || {
        let (app, gallery) = (&theirs, theirs.library.gallery());
        let of = |method: MethodInfo| {
            let run = method.folder.filter(|run| app.runs.check_tables(run).is_ok());
            run.map(|run| gallery.scores(&run))
        };
        let scores: Vec<_> = app.engine.methods().into_iter().map(of).collect();
        let items = gallery.names().into_iter().enumerate().map(|(index, name)| Item {
            key: theirs.library.key(index),
            dice: scores.iter().map(|run| run.as_ref()?.get(&name).copied()).collect(),
            name,
        });
        Ok(Json(items.collect()))
    });
    listed.await
}

fn of_library(error: LibraryError) -> Problem {
    match error {
        LibraryError::Unknown { .. } => Problem::not_found(error.to_string()),
        LibraryError::Outside { .. } => Problem::new(StatusCode::FORBIDDEN, error.to_string()),
        LibraryError::Full { .. } => Problem::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        LibraryError::Encode(_) => Problem::internal(&error),
        LibraryError::Data(_) | LibraryError::Folder { .. } | LibraryError::NoImages { .. } => {
            Problem::unprocessable(&error)
        }
    }
}

fn leads_out(error: LeadsOut) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, error.to_string())
}

async fn picture(app: &Arc<App>, key: String) -> Answered<Arc<Picture>> {
    if let Some(kept) = app.library.kept(&key) {
        return Ok(kept);
    }
    let library = app.library.clone();
    app.drawing.take(move || library.picture(&key).map_err(of_library)).await
}

#[derive(Deserialize)]
struct UploadName {
    name: Option<String>,
}

async fn upload(
    State(app): Shared,
    Query(UploadName { name }): Query<UploadName>,
    bytes: Bytes,
) -> Answered<Json<serde_json::Value>> {
    let library = app.library.clone();
    let added = app.drawing.take(move || {
        let name = name.unwrap_or_default();
        let (key, picture) = library.add(&name, &bytes).map_err(of_library)?;
        Ok(Json(description(&key, &picture)))
    });
    added.await
}

fn description(key: &str, picture: &Picture) -> serde_json::Value {
    json!({
        "key": key,
        "name": picture.name,
        "width": picture.image.width(),
        "height": picture.image.height(),
        "truth": picture.truth.is_some(),
    })
}

async fn describe(
    State(app): Shared,
    Path(key): Path<String>,
) -> Answered<Json<serde_json::Value>> {
    let picture = picture(&app, key.clone()).await?;
    Ok(Json(description(&key, &picture)))
}

async fn image_png(State(app): Shared, Path(key): Path<String>) -> Answered<Response> {
    let library = app.library.clone();
    let png = app
        .drawing
        .take(move || library.picture(&key).and_then(|picture| picture.png()).map_err(of_library));
    Ok(([(header::CONTENT_TYPE, "image/png")], png.await?).into_response())
}

async fn thumbnail(State(app): Shared, Path(key): Path<String>) -> Answered<Response> {
    let library = app.library.clone();
    let jpeg = app.drawing.take(move || library.thumbnail(&key).map_err(of_library)).await?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], jpeg.to_vec()).into_response())
}

async fn truth(State(app): Shared, Path(key): Path<String>) -> Answered<Json<Runs>> {
    let picture = picture(&app, key).await?;
    let truth = picture.truth.as_ref();
    let truth = truth.ok_or_else(|| Problem::not_found("the true mask is not known"))?;
    Ok(Json(Runs::of_truth(truth)))
}

#[derive(Serialize)]
struct Joined {
    ticket: Ticket,
    #[serde(flatten)]
    progress: Progress,
}

async fn join(State(app): Shared, Path(key): Path<String>) -> Answered<Json<Joined>> {
    // What is no image shall take no place in the queue.
    if !app.library.contains(&key) {
        return Err(of_library(LibraryError::Unknown { key }));
    }
    let busy = |error: Busy| Problem::new(StatusCode::TOO_MANY_REQUESTS, error.to_string());
    let (ticket, progress) = app.encodings.join(&key).map_err(busy)?;
    Ok(Json(Joined { ticket, progress }))
}

async fn encoding(State(app): Shared, Path(key): Path<String>) -> Json<Progress> {
    Json(app.encodings.progress(&key))
}

#[derive(Deserialize)]
struct Leaving {
    ticket: Ticket,
}

async fn leave(
    State(app): Shared,
    Path(key): Path<String>,
    Query(Leaving { ticket }): Query<Leaving>,
) -> StatusCode {
    app.encodings.leave(&key, ticket);
    StatusCode::NO_CONTENT
}

fn embedding(app: &App, key: &str) -> Answered<Arc<dyn Embedding>> {
    // 409: the page asks for the encoding again, and then once more.
    let gone = || Problem::new(StatusCode::CONFLICT, "the image is not encoded");
    app.encodings.get(key).ok_or_else(gone)
}

/// Asks a method in the turn of prompts. Nothing else is done in it but what `then` makes of the answer.
async fn ask<T: Send + 'static>(
    app: &App,
    prompt: &Prompt,
    then: impl FnOnce(Answer) -> T + Send + 'static,
) -> Answered<T> {
    let wrong = |error: TooManyPoints| Problem::unprocessable(&error);
    let (question, method) = (prompt.question().map_err(wrong)?, prompt.method);
    let embedding = embedding(app, &prompt.image)?;
    let urgent = app.rush.begin();
    let asked = app.answering.take(move || {
        let answer = embedding.answer(method, &question);
        drop(urgent);
        answer.map(then).map_err(|error| Problem::unprocessable(&error))
    });
    asked.await
}

async fn answer(State(app): Shared, Json(prompt): Json<Prompt>) -> Answered<Json<AnswerBody>> {
    embedding(&app, &prompt.image)?;
    // It was read to be encoded, and seldom has to be read again.
    let picture = picture(&app, prompt.image.clone()).await?;
    let body = ask(&app, &prompt, move |answer| AnswerBody::new(&answer, picture.truth.as_ref()));
    Ok(Json(body.await?))
}

#[derive(Deserialize)]
struct Saving {
    #[serde(default)]
    save: bool,
}

/// A file for whoever asked: written into the folder for exports, or sent.
fn deliver(
    app: &App,
    save: bool,
    name: &str,
    kind: &'static str,
    bytes: Vec<u8>,
) -> Answered<Response> {
    if save {
        let folder = app.export.as_ref().ok_or(ExportError::NoFolder);
        let written = folder.and_then(|folder| folder.write(name, &bytes));
        return match written {
            Ok(path) => Ok(Json(json!({ "path": path.display().to_string() })).into_response()),
            Err(error @ ExportError::NoFolder) => {
                Err(Problem::new(StatusCode::FORBIDDEN, error.to_string()))
            }
            Err(error @ ExportError::NoName { .. }) => {
                Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()))
            }
            Err(error) => Err(Problem::internal(&error)),
        };
    }
    let disposition = format!("attachment; filename=\"{}\"", safe_name(name));
    let headers =
        [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, bytes).into_response())
}

fn stem(name: &str) -> &str {
    std::path::Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("image")
}

async fn export_mask(
    State(app): Shared,
    Query(Saving { save }): Query<Saving>,
    Json(prompt): Json<Prompt>,
) -> Answered<Response> {
    let turn = app.exporting.enter().await?;
    let mask = ask(&app, &prompt, |answer| gray(&answer)).await?;
    let picture = picture(&app, prompt.image).await?;
    let theirs = app.clone();
    let written = app.drawing.take(move || {
        let _turn = turn;
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(mask.as_raw(), mask.width(), mask.height(), ExtendedColorType::L8)
            .map_err(|error| Problem::internal(&error))?;
        let name = format!("{}-mask.png", stem(&picture.name));
        deliver(&theirs, save, &name, "image/png", png)
    });
    written.await
}

async fn export_prompts(
    State(app): Shared,
    Query(Saving { save }): Query<Saving>,
    Json(prompt): Json<Prompt>,
) -> Answered<Response> {
    prompt.question().map_err(|error| Problem::unprocessable(&error))?;
    let picture = picture(&app, prompt.image.clone()).await?;
    let name = format!("{}-prompts.json", stem(&picture.name));
    let json = prompt.file(&picture).json().into_bytes();
    deliver(&app, save, &name, "application/json", json)
}

/// What is on the screen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    cells: Vec<Prompt>,
    /// Whether the true mask is shown.
    #[serde(default)]
    truth: bool,
}

async fn export_panel(
    State(app): Shared,
    Path(format): Path<String>,
    Query(Saving { save }): Query<Saving>,
    Json(panel): Json<Panel>,
) -> Answered<Response> {
    image_of(&panel)?;
    let turn = app.exporting.enter().await?;
    let picture = picture(&app, image_of(&panel)?.to_owned()).await?;
    let mut answers = Vec::new();
    // Each in a turn of its own: somebody may click meanwhile.
    for prompt in &panel.cells {
        answers.push(ask(&app, prompt, |answer| answer).await?);
    }
    let theirs = app.clone();
    let drawn = app.drawing.take(move || {
        let _turn = turn;
        let (screen, runs) = screen(&theirs, &panel, &picture, &answers)?;
        let failed = |error: reporting::FigureError| Problem::internal(&error);
        let figure = screen.draw(&runs.iter().collect::<Vec<_>>()).map_err(failed)?;
        let (kind, bytes) = match format.as_str() {
            "svg" => ("image/svg+xml", figure.svg().into_bytes()),
            "png" => ("image/png", figure.png().map_err(failed)?),
            "pdf" => ("application/pdf", figure.pdf().map_err(failed)?),
            _ => return Err(Problem::not_found("a panel is svg, png or pdf")),
        };
        let name = format!("{}-panel.{format}", stem(&screen.name));
        deliver(&theirs, save, &name, kind, bytes)
    });
    drawn.await
}

/// The one image that a panel is of.
fn image_of(panel: &Panel) -> Answered<&str> {
    let wrong = |message: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message);
    let Some(Prompt { image, .. }) = panel.cells.first() else {
        return Err(wrong("a panel needs a method at least".into()));
    };
    if panel.cells.len() > MAX_CELLS || panel.cells.iter().any(|cell| cell.image != *image) {
        return Err(wrong(format!("a panel shows one image, with at most {MAX_CELLS} methods")));
    }
    Ok(image)
}

/// Puts answers side by side.
fn screen(
    app: &App,
    panel: &Panel,
    picture: &Picture,
    answers: &[Answer],
) -> Answered<(Screen, Vec<Run>)> {
    let methods = app.engine.methods();
    let (mut cells, mut runs) = (Vec::new(), Vec::new());
    for (prompt, answer) in panel.cells.iter().zip(answers) {
        let Some(method) = methods.get(prompt.method) else { continue };
        let truth = picture.truth.as_ref();
        let (dice, iou) = truth.map_or((None, None), |truth| scores(answer, truth));
        let mut caption: Vec<String> = Vec::new();
        caption.extend(dice.map(|dice| format!("Dice {dice:.3}")));
        caption.extend(iou.map(|iou| format!("IoU {iou:.3}")));
        // A cell is narrow: what SAM thinks of its mask counts where nobody knows better.
        if caption.is_empty() {
            caption.push(format!("predicted IoU {:.3}", answer.iou_predictions[answer.shown]));
        }
        cells.push(ScreenCell {
            title: method.name.clone(),
            caption: caption.join(" \u{b7} "),
            mask: gray(answer),
            points: answer.points.clone(),
            box_xyxy: answer.box_xyxy,
        });
        if let Some(folder) = &method.folder {
            app.runs.check(folder).map_err(leads_out)?;
            let read = |error: LoadError| Problem::internal(&error);
            runs.push(Run::read(folder.clone()).map_err(read)?);
        }
    }
    let truth = picture.truth.as_ref().filter(|_| panel.truth).map(|truth| truth.to_gray());
    let screen = Screen {
        name: picture.name.clone(),
        image: picture.image.clone(),
        truth,
        cells,
        notes: vec![
            "Prompts were chosen by a person who saw the image: no result of an evaluation.".into(),
        ],
        command: app.command.clone(),
    };
    Ok((screen, runs))
}

async fn all_runs(State(app): Shared) -> Answered<Json<serde_json::Value>> {
    let theirs = app.clone();
    app.drawing.take(move || Ok(Json(json!({ "runs": theirs.runs.all() })))).await
}

async fn results(State(app): Shared) -> Answered<Json<serde_json::Value>> {
    let theirs = app.clone();
    let read = app.drawing.take(move || {
        let rows = theirs.runs.results().into_iter().map(|(experiment, row)| {
            json!({
                "experiment": experiment, "method": row.method, "seed": row.seed, "data": row.data,
                "split": row.split, "prompts": row.prompts, "oracle": row.oracle,
                "protocol": row.protocol, "n": row.n, "dice": row.dice, "dice_low": row.dice_low,
                "dice_high": row.dice_high, "iou": row.iou,
            })
        });
        Ok(Json(json!({ "rows": rows.collect::<Vec<_>>() })))
    });
    read.await
}

async fn run_details(
    State(app): Shared,
    Path((experiment, run)): Path<(String, String)>,
) -> Answered<Response> {
    let theirs = app.clone();
    let read = app.drawing.take(move || {
        let unknown = || Problem::not_found(format!("there is no run `{experiment}/{run}`"));
        let folder = theirs.runs.find(&experiment, &run).ok_or_else(unknown)?;
        Ok(Json(theirs.runs.details(&folder)).into_response())
    });
    read.await
}

async fn figure(
    State(app): Shared,
    Path((experiment, file)): Path<(String, String)>,
) -> Answered<Response> {
    let theirs = app.clone();
    let drawn = app.drawing.take(move || {
        let unknown = |message: &str| Problem::not_found(message);
        let (name, format) =
            file.rsplit_once('.').ok_or_else(|| unknown("a figure is svg, png or pdf"))?;
        let kind: FigureKind =
            name.parse().map_err(|error: reporting::UnknownFigure| unknown(&error.to_string()))?;
        let folders = theirs.runs.finished(&experiment);
        folders.iter().try_for_each(|one| theirs.runs.check(one)).map_err(leads_out)?;
        let paths: Vec<PathBuf> = folders.iter().map(|one| one.root().to_owned()).collect();
        let runs = reporting::load(&paths).map_err(|error| Problem::unprocessable(&error))?;
        let figure = kind.draw(&runs).map_err(|error| Problem::unprocessable(&error))?;
        let failed = |error: reporting::FigureError| Problem::internal(&error);
        let (kind, bytes) = match format {
            "svg" => ("image/svg+xml", figure.svg().into_bytes()),
            "png" => ("image/png", figure.png().map_err(failed)?),
            "pdf" => ("application/pdf", figure.pdf().map_err(failed)?),
            _ => return Err(unknown("a figure is svg, png or pdf")),
        };
        Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
    });
    drawn.await
}

#[cfg(test)]
mod tests {
    use std::{
        ops::ControlFlow,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use image::RgbImage;
    use promise::interactive::{Question, QuestionError, SoftMap, Subject};

    use super::*;
    use crate::library::Gallery;

    /// Encodes and answers at once, with an empty mask.
    #[derive(Clone, Default)]
    struct Empty {
        size: (u32, u32),
        answers: Arc<AtomicUsize>,
    }

    impl Engine for Empty {
        fn methods(&self) -> Vec<MethodInfo> {
            vec![MethodInfo { name: "empty".into(), proposes: false, shifts: false, folder: None }]
        }

        fn encode(
            &self,
            image: &RgbImage,
            _: Subject<'_>,
            _: &mut (dyn FnMut(usize, usize) -> ControlFlow<()> + Send),
        ) -> Option<Arc<dyn Embedding>> {
            Some(Arc::new(Self { size: image.dimensions(), ..self.clone() }))
        }
    }

    impl Embedding for Empty {
        fn bytes(&self) -> u64 {
            0
        }

        fn answer(&self, _: usize, question: &Question) -> Result<Answer, QuestionError> {
            self.answers.fetch_add(1, Ordering::SeqCst);
            let (width, height) = self.size;
            let map = SoftMap { width: 1, height: 1, values: vec![0] };
            Ok(Answer {
                width,
                height,
                mask: vec![false; (width * height) as usize],
                shown: 0,
                iou_predictions: vec![0.5],
                previews: vec![map.clone()],
                probabilities: map,
                points: Vec::new(),
                box_xyxy: question.box_xyxy,
                mask_input: false,
                secs: 0.0,
            })
        }
    }

    #[test]
    fn a_picture_is_written_outside_the_turn_of_prompts_and_one_export_asks_at_a_time() {
        let engine = Empty::default();
        let answers = engine.answers.clone();
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let gallery = Gallery::of_data("phantom", "test", None).expect("generated");
        let library = Arc::new(Library::new(gallery));
        let rush = Arc::new(Rush::default());
        let (theirs, way) = (rush.clone(), Duration::ZERO);
        let encodings = Encodings::start(engine.clone(), library.clone(), 1 << 20, theirs, way);
        let app = Arc::new(App {
            engine,
            library,
            encodings: encodings.expect("a thread"),
            runs: RunList::new("no-runs".into(), Vec::new()),
            export: None,
            command: String::new(),
            answering: Turns::new(8, "prompts"),
            drawing: Turns::new(8, "images"),
            exporting: Turns::new(2, "exports"),
            rush,
            upload_bytes: 0,
            incoming: Arc::new(Semaphore::new(0)),
        });
        let body = json!({ "image": "g0", "method": 0, "box": [1.0, 1.0, 9.0, 9.0] });
        let prompt = || serde_json::from_value::<Prompt>(body.clone()).expect("a prompt");
        app.encodings.join("g0").expect("the first");
        while app.encodings.progress("g0") != Progress::Ready {
            std::thread::sleep(Duration::from_millis(2));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build();
        runtime.expect("threads").block_on(async {
            let (release, held) = mpsc::channel::<()>();
            let (begin, began) = mpsc::channel::<()>();
            let theirs = app.clone();
            // Somebody else draws for a long time.
            let drawing = tokio::spawn(async move {
                let draw = theirs.drawing.take(move || {
                    begin.send(()).expect("somebody waits");
                    Ok(held.recv().is_ok())
                });
                draw.await.is_ok()
            });
            tokio::task::spawn_blocking(move || began.recv()).await.expect("ran").expect("began");
            let export_one =
                || export_mask(State(app.clone()), Query(Saving { save: false }), Json(prompt()));
            let export = tokio::spawn(export_one());
            while answers.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let clicked = answer(State(app.clone()), Json(prompt()));
            let clicked = tokio::time::timeout(Duration::from_secs(20), clicked).await;
            assert!(clicked.is_ok_and(|answer| answer.is_ok()), "a click is answered meanwhile");
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!export.is_finished(), "it waits for its turn to draw");
            // Others wait with nothing in their hands.
            let panel = Panel { cells: vec![prompt(), prompt()], truth: false };
            let (format, save) = (Path("svg".to_owned()), Query(Saving { save: false }));
            let panel = tokio::spawn(export_panel(State(app.clone()), format, save, Json(panel)));
            let mask = tokio::spawn(export_one());
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(answers.load(Ordering::SeqCst), 2, "the first export and the click");
            let refused = export_one().await.expect_err("more exports than may wait");
            assert!(refused.message.contains("too many exports wait"), "{refused:?}");
            release.send(()).expect("somebody waits");
            assert!(drawing.await.expect("ran"));
            for export in [export, mask, panel] {
                assert!(export.await.expect("ran").is_ok());
            }
            assert_eq!(answers.load(Ordering::SeqCst), 5);
        });
    }
}
