//! Health and metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use kobel_fanout::Client;
use kobel_hub::store::StoreError;
use kobel_wire::{Role, Timestamp};
use tokio::time::timeout;

use super::{State, error::ApiError};

/// Whether the hub is ready for viewers: from the first listen to the begin of the shutdown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether it is.
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// The process lives.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// How long the database may take to answer who asks whether the hub is ready: such askers do not
/// wait long.
const PING: Duration = Duration::from_secs(1);

/// It is ready for viewers: it listens, is not about to end, and its own database answers. One that
/// nodes share is away for all of them: who takes them all for it leaves viewers with nothing, where
/// live data goes on.
pub(crate) async fn readyz(shared: State) -> Response {
    if !shared.ready.0.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or shutting down\n")
            .into_response();
    }
    let answer = timeout(PING, shared.store.ping()).await.unwrap_or(Err(StoreError::Silent));
    match answer {
        Ok(()) => "ok\n".into_response(),
        Err(_) if shared.store.is_shared() => "ok, without its database\n".into_response(),
        Err(error) => {
            tracing::error!(%error, "the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store does not answer\n")
                .into_response()
        }
    }
}

/// Metrics in the text format of OpenMetrics 1.0. This machine may ask; anybody else needs a
/// token.
pub(crate) async fn metrics(
    shared: State,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Behind a proxy on this machine that is not trusted everybody seems to be this machine. And
    // what a trusted one says is not stretched: what came by any proxy is not from here.
    let proxied = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    if !client.address.ip().to_canonical().is_loopback() || proxied {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let known = match token {
            Some(token) => shared.store.by_token(token, Timestamp::now()).await?,
            None => None,
        };
        // An agent reports; it reads nothing.
        if known.is_none_or(|principal| principal.access.role == Role::Agent) {
            let message = "metrics: send a viewer's token as Authorization: Bearer …";
            return Err(ApiError::unauthorized(message));
        }
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = shared.metrics.text().await;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
