//! The requests of the page.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};
use reporting::{FigureKind, LoadError, Run, Screen, ScreenCell};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    answer::{AnswerBody, Prompt, Runs, gray, scores},
    assets,
    encodings::{Encodings, Progress, Ticket},
    engine::{Embedding, Engine, MethodInfo},
    export::{ExportError, ExportFolder, safe_name},
    library::{Library, LibraryError, Picture},
    problem::Problem,
    runs::RunList,
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
    pub(crate) answering: Arc<Semaphore>,
    /// One image that is read, or one figure that is drawn, at a time.
    pub(crate) drawing: Arc<Semaphore>,
}

type Shared = State<Arc<App>>;
type Answered<T> = Result<T, Problem>;

pub(crate) fn routes(app: Arc<App>, body_bytes: usize, upload_bytes: usize) -> Router {
    let upload = post(upload).layer(DefaultBodyLimit::max(upload_bytes));
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

/// Computes on a thread that may wait, in its turn. Whoever asked may have gone meanwhile; the turn lasts until it is done.
async fn blocking<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    compute: impl FnOnce() -> Answered<T> + Send + 'static,
) -> Answered<T> {
    let over = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
    let turn = turns.clone().acquire_owned().await.map_err(|_| over())?;
    let done = tokio::task::spawn_blocking(move || {
        let result = compute();
        drop(turn);
        result
    });
    let panicked =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of this program ended it");
    done.await.map_err(panicked)?
}

async fn session(State(app): Shared) -> Json<serde_json::Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "methods": app.engine.methods(),
        "gallery": app.library.gallery().name(),
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
    let drawing = app.drawing.clone();
    blocking(&drawing, move || {
        let gallery = app.library.gallery();
        let of = |method: MethodInfo| method.folder.map(|run| gallery.scores(&run));
        let scores: Vec<_> = app.engine.methods().into_iter().map(of).collect();
        let items = gallery.names().into_iter().enumerate().map(|(index, name)| Item {
            key: format!("g{index}"),
            dice: scores.iter().map(|run| run.as_ref()?.get(&name).copied()).collect(),
            name,
        });
        Ok(Json(items.collect()))
    })
    .await
}

fn of_library(error: LibraryError) -> Problem {
    match error {
        LibraryError::Unknown { .. } => Problem::not_found(error.to_string()),
        LibraryError::Outside { .. } => Problem::new(StatusCode::FORBIDDEN, error.to_string()),
        LibraryError::Encode(_) => Problem::internal(&error),
        LibraryError::Data(_) | LibraryError::Folder { .. } | LibraryError::NoImages { .. } => {
            Problem::unprocessable(&error)
        }
    }
}

async fn picture(app: &Arc<App>, key: String) -> Answered<Arc<Picture>> {
    let library = app.library.clone();
    blocking(&app.drawing, move || library.picture(&key).map_err(of_library)).await
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
    blocking(&app.drawing, move || {
        let name = name.unwrap_or_default();
        let (key, picture) = library.add(&name, &bytes).map_err(of_library)?;
        Ok(Json(description(&key, &picture)))
    })
    .await
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
    let png = blocking(&app.drawing, move || {
        library.picture(&key).and_then(|picture| picture.png()).map_err(of_library)
    });
    Ok(([(header::CONTENT_TYPE, "image/png")], png.await?).into_response())
}

async fn thumbnail(State(app): Shared, Path(key): Path<String>) -> Answered<Response> {
    let library = app.library.clone();
    let jpeg = blocking(&app.drawing, move || library.thumbnail(&key).map_err(of_library)).await?;
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
    let busy = |error: crate::encodings::Busy| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    };
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

fn ask(app: &App, prompt: &Prompt) -> Answered<promise::interactive::Answer> {
    let question = prompt.question().map_err(|error| Problem::unprocessable(&error))?;
    let embedding = embedding(app, &prompt.image)?;
    embedding.answer(prompt.method, &question).map_err(|error| Problem::unprocessable(&error))
}

async fn answer(State(app): Shared, Json(prompt): Json<Prompt>) -> Answered<Json<AnswerBody>> {
    let turns = app.answering.clone();
    blocking(&turns, move || {
        let answer = ask(&app, &prompt)?;
        // It was read to be encoded, and seldom has to be read again.
        let picture = app.library.picture(&prompt.image).map_err(of_library)?;
        Ok(Json(AnswerBody::new(&answer, picture.truth.as_ref())))
    })
    .await
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
    let turns = app.answering.clone();
    blocking(&turns, move || {
        let answer = ask(&app, &prompt)?;
        let picture = app.library.picture(&prompt.image).map_err(of_library)?;
        let mask = gray(&answer);
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(mask.as_raw(), mask.width(), mask.height(), ExtendedColorType::L8)
            .map_err(|error| Problem::internal(&error))?;
        let name = format!("{}-mask.png", stem(&picture.name));
        deliver(&app, save, &name, "image/png", png)
    })
    .await
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
    let turns = app.drawing.clone();
    blocking(&turns, move || {
        let (screen, runs) = screen(&app, &panel)?;
        let failed = |error: reporting::FigureError| Problem::internal(&error);
        let figure = screen.draw(&runs.iter().collect::<Vec<_>>()).map_err(failed)?;
        let (kind, bytes) = match format.as_str() {
            "svg" => ("image/svg+xml", figure.svg().into_bytes()),
            "png" => ("image/png", figure.png().map_err(failed)?),
            "pdf" => ("application/pdf", figure.pdf().map_err(failed)?),
            _ => return Err(Problem::not_found("a panel is svg, png or pdf")),
        };
        let name = format!("{}-panel.{format}", stem(&screen.name));
        deliver(&app, save, &name, kind, bytes)
    })
    .await
}

/// Asks every method again and puts the answers side by side.
fn screen(app: &App, panel: &Panel) -> Answered<(Screen, Vec<Run>)> {
    let wrong = |message: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message);
    let image = match panel.cells.first() {
        Some(cell) => &cell.image,
        None => return Err(wrong("a panel needs a method at least".into())),
    };
    if panel.cells.len() > MAX_CELLS || panel.cells.iter().any(|cell| cell.image != *image) {
        return Err(wrong(format!("a panel shows one image, with at most {MAX_CELLS} methods")));
    }
    let methods = app.engine.methods();
    let picture = app.library.picture(image).map_err(of_library)?;
    let (mut cells, mut runs) = (Vec::new(), Vec::new());
    for prompt in &panel.cells {
        let answer = ask(app, prompt)?;
        let Some(method) = methods.get(prompt.method) else { continue };
        let truth = picture.truth.as_ref();
        let (dice, iou) = truth.map_or((None, None), |truth| scores(&answer, truth));
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
            mask: gray(&answer),
            points: answer.points.clone(),
            box_xyxy: answer.box_xyxy,
        });
        if let Some(folder) = &method.folder {
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
    let turns = app.drawing.clone();
    blocking(&turns, move || Ok(Json(json!({ "runs": app.runs.all() })))).await
}

async fn results(State(app): Shared) -> Answered<Json<serde_json::Value>> {
    let turns = app.drawing.clone();
    blocking(&turns, move || {
        let rows = app.runs.results().into_iter().map(|(experiment, row)| {
            json!({
                "experiment": experiment, "method": row.method, "seed": row.seed, "data": row.data,
                "split": row.split, "prompts": row.prompts, "oracle": row.oracle,
                "protocol": row.protocol, "n": row.n, "dice": row.dice, "dice_low": row.dice_low,
                "dice_high": row.dice_high, "iou": row.iou,
            })
        });
        Ok(Json(json!({ "rows": rows.collect::<Vec<_>>() })))
    })
    .await
}

async fn run_details(
    State(app): Shared,
    Path((experiment, run)): Path<(String, String)>,
) -> Answered<Response> {
    let turns = app.drawing.clone();
    blocking(&turns, move || {
        let unknown = || Problem::not_found(format!("there is no run `{experiment}/{run}`"));
        let folder = app.runs.find(&experiment, &run).ok_or_else(unknown)?;
        Ok(Json(app.runs.details(&folder)).into_response())
    })
    .await
}

async fn figure(
    State(app): Shared,
    Path((experiment, file)): Path<(String, String)>,
) -> Answered<Response> {
    let turns = app.drawing.clone();
    blocking(&turns, move || {
        let unknown = |message: &str| Problem::not_found(message);
        let (name, format) =
            file.rsplit_once('.').ok_or_else(|| unknown("a figure is svg, png or pdf"))?;
        let kind: FigureKind =
            name.parse().map_err(|error: reporting::UnknownFigure| unknown(&error.to_string()))?;
        let folders = app.runs.finished(&experiment);
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
    })
    .await
}
