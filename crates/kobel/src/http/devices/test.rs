//! `POST /api/v1/devices/test` and `…/{uuid}/test`: a device is tried, each step told as it ends.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use kobel_collect::ssh::SshSpec;
use kobel_hub::store::{
    StoreError,
    inventory::{DeviceChange, DeviceSpec},
};
use kobel_wire::{DeviceUuid, Timestamp};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
};

use super::{
    super::{State, error::ApiError, who},
    Object, Which, change, named, no_such_device,
};
use crate::devices::{
    probe::{self, Told},
    spec::{Secrets, ssh_spec},
};

/// Tests that run at once.
pub(crate) const AT_ONCE: usize = 16;

/// Of a device that is not added yet.
pub(crate) async fn new(
    shared: State,
    headers: HeaderMap,
    body: Object,
) -> Result<Response, ApiError> {
    who::admin(&shared, &headers).await?;
    let asked = change(body)?;
    let spec = asked.described(Timestamp::now()).map_err(StoreError::from)?;
    start(&shared, &spec, None, &asked).await
}

/// Of a known one; what the body says of it is tried and not kept.
pub(crate) async fn known(
    shared: State,
    headers: HeaderMap,
    which: Which,
    body: Object,
) -> Result<Response, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let uuid = named(which)?;
    let asked = change(body)?;
    let device = shared.store.inventoried(uuid).await?;
    let device = device.filter(|device| device.deleted_at.is_none()).ok_or_else(no_such_device)?;
    if device.spec.address.is_none() {
        return Err(ApiError::bad_request("this device is not read over SSH: nothing to test"));
    }
    let (spec, _) = asked.applied(&device, Timestamp::now()).map_err(StoreError::from)?;
    // Somebody looks after it: where the hub had given up, it tries again, too.
    shared.store.retry_device(uuid, &actor, Timestamp::now()).await?;
    shared.fleet.look();
    start(&shared, &spec, Some(uuid), &asked).await
}

async fn start(
    shared: &State,
    spec: &DeviceSpec,
    known: Option<DeviceUuid>,
    asked: &DeviceChange,
) -> Result<Response, ApiError> {
    let Ok(place) = std::sync::Arc::clone(&shared.tests).try_acquire_owned() else {
        let message = format!("{AT_ONCE} tests run already; try again in a few seconds");
        return Err(ApiError::rate_limited(message, 5));
    };
    let mut secrets = Secrets::open(spec, known, &shared.store, &shared.secret_keys).await?;
    secrets.with(asked);
    let spec = ssh_spec(spec, &secrets).map_err(StoreError::from)?;
    Ok(flow(spec, place))
}

#[derive(Serialize)]
struct Done {
    done: bool,
    ok: bool,
}

struct Flow {
    told: mpsc::Receiver<Told>,
    outcome: Option<oneshot::Receiver<bool>>,
    /// Ends with the answer: who leaves ends the test.
    _running: JoinSet<()>,
    _place: OwnedSemaphorePermit,
}

fn flow(spec: SshSpec, place: OwnedSemaphorePermit) -> Response {
    // Never full: there are fewer steps.
    let (send, told) = mpsc::channel(probe::WAITING);
    let (end, outcome) = oneshot::channel();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let _ = end.send(probe::probe(&spec, send).await.reads);
    });
    let flow = Flow { told, outcome: Some(outcome), _running: running, _place: place };
    let lines = stream::unfold(flow, |mut flow| async {
        if let Some(told) = flow.told.recv().await {
            return Some((line(&told), flow));
        }
        let ok = flow.outcome.take()?.await.unwrap_or(false);
        Some((line(&Done { done: true, ok }), flow))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn line<T: Serialize>(value: &T) -> Result<Bytes, std::convert::Infallible> {
    // Plain data with text keys is always written.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
}
