//! Requests to the engine whose answers are streams of bytes.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};

use crate::{docker::Dial, text::clean};

/// How long the engine may take to begin an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest answer that is read as a whole, bytes.
const WHOLE: usize = 4 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("no answer in 10 s")]
    Silent,
    #[error("the engine says ({status}): {message}")]
    Refused { status: StatusCode, message: String },
    #[error("an answer that is no JSON, or is longer than 4 MB")]
    Unreadable,
}

impl RequestError {
    /// There is no such container.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// An answer, as it comes. The connection lives as long as this.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    _connection: JoinSet<()>,
}

/// Asks for `path`.
pub(super) async fn get(dial: &dyn Dial, path: &str) -> Result<Answer, RequestError> {
    let begun = timeout(LIMIT, async {
        let stream = dial.dial().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut task = JoinSet::new();
        // Its error comes out of the body, too.
        task.spawn(async move { drop(connection.await) });
        let request = Request::get(path)
            .header(HOST, "docker")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(Answer { response, _connection: task });
        }
        let status = response.status();
        let message = match whole(response).await {
            Ok(bytes) => message(&bytes),
            Err(_) => String::new(),
        };
        Err(RequestError::Refused { status, message })
    });
    begun.await.unwrap_or(Err(RequestError::Silent))
}

/// Asks for `path`, which is JSON.
pub(super) async fn json(dial: &dyn Dial, path: &str) -> Result<Value, RequestError> {
    let answer = get(dial, path).await?;
    let bytes =
        timeout(LIMIT, whole(answer.response)).await.map_err(|_| RequestError::Silent)??;
    serde_json::from_slice(&bytes).map_err(|_| RequestError::Unreadable)
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, RequestError> {
    let body = Limited::new(response.into_body(), WHOLE).collect().await;
    Ok(body.map_err(|_| RequestError::Unreadable)?.to_bytes())
}

/// The engine's own words: `{"message": "…"}`.
fn message(bytes: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(bytes).ok();
    let said = said.as_ref().and_then(|said| said.get("message")?.as_str());
    clean(said.unwrap_or(&String::from_utf8_lossy(bytes)), 300)
}
