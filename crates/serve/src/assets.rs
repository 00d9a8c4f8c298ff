//! The page: files that are part of the program.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and content of every file.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../assets/index.html")),
    ("/app.css", CSS, include_str!("../assets/app.css")),
    ("/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ("/api.js", SCRIPT, include_str!("../assets/api.js")),
    ("/dom.js", SCRIPT, include_str!("../assets/dom.js")),
    ("/export.js", SCRIPT, include_str!("../assets/export.js")),
    ("/gallery.js", SCRIPT, include_str!("../assets/gallery.js")),
    ("/main.js", SCRIPT, include_str!("../assets/main.js")),
    ("/masks.js", SCRIPT, include_str!("../assets/masks.js")),
    ("/prompts.js", SCRIPT, include_str!("../assets/prompts.js")),
    ("/runs.js", SCRIPT, include_str!("../assets/runs.js")),
    ("/view.js", SCRIPT, include_str!("../assets/view.js")),
];

/// The file at a path of the page; nothing if there is none.
pub(crate) fn file(path: &str) -> Option<Response> {
    let (_, kind, content) = FILES.iter().find(|(name, _, _)| *name == path)?;
    Some(([(header::CONTENT_TYPE, *kind)], *content).into_response())
}
