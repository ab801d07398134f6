//! Errors of the HTTP API: `{"error": {"code", "message", "field"?}}`.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use kobel_hub::store::StoreError;

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, retry_after: None }
    }

    /// Nobody is signed in, or the credentials are wrong.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// The credentials are good, and not for this.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// Not now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
    }

    /// The request is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    /// A field or parameter is wrong.
    pub(crate) fn field(field: &str, why: &str) -> Self {
        let error = Self::bad_request(format!("{field}: {why}"));
        Self { field: Some(field.to_owned()), ..error }
    }

    /// It does not go with what is there.
    pub(crate) fn conflict(field: Option<&str>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::CONFLICT, "CONFLICT", message);
        Self { field: field.map(str::to_owned), ..error }
    }

    /// There is nothing here.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// Too often; again in so many seconds.
    pub(crate) fn rate_limited(message: impl Into<String>, seconds: u64) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
        Self { retry_after: Some(seconds), ..error }
    }

    /// The request does not come from where it may.
    pub(crate) fn refused(refused: &super::guard::Refused) -> Self {
        Self::new(refused.status(), refused.code(), refused.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ShortPassword => Self::bad_request(error.to_string()),
            StoreError::Field(error) => Self::field(&error.field, &error.why),
            StoreError::Taken { field, .. } => Self::conflict(Some(field), error.to_string()),
            StoreError::Changed { .. } => Self::conflict(Some("revision"), error.to_string()),
            StoreError::Local(_) | StoreError::NotDeleted(_) | StoreError::NoAgentKey(_) => {
                Self::conflict(None, error.to_string())
            }
            StoreError::NotFound("device" | "deleted device", _) => {
                Self::not_found("no such device")
            }
            StoreError::Secret(error) => {
                tracing::error!(%error, "a secret cannot be sealed or opened");
                Self::unavailable("a secret cannot be sealed or opened; the hub's log says why")
            }
            error => {
                // The details are for the operator; they may name files.
                tracing::error!(%error, "the store failed");
                let message = "the hub's store failed; its log says why";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = serde_json::json!({ "code": self.code, "message": self.message });
        if let Some(field) = self.field {
            error["field"] = field.into();
        }
        let body = serde_json::json!({ "error": error });
        let mut answer = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}
