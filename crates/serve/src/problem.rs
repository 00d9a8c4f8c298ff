//! Errors as the page gets them: a status and a sentence.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use data_loaders::error_chain;
use serde_json::json;

/// Why a request is not answered.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// What was sent makes no sense.
    pub(crate) fn unprocessable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error_chain(error))
    }

    /// The server could not do it.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error_chain(error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}
