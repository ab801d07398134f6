//! The inventory over HTTP: devices listed, added, changed, taken out.

mod answer;
pub(super) mod import;
mod list;
pub(super) mod test;

use axum::{
    Json,
    extract::{
        Path, Query,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
};
use http::{HeaderMap, StatusCode};
use kobel_hub::store::{
    Actor, StoreError,
    inventory::{DeviceChange, DeviceRecord},
};
use kobel_wire::{Device, DeviceUuid, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{State, error::ApiError, who};
use crate::devices::HubKey;
use answer::Shown;
use list::Asked;

/// The body of a request that must be an object.
type Object = Result<Json<Map<String, Value>>, JsonRejection>;

/// A device's identity in the path.
type Which = Result<Path<DeviceUuid>, PathRejection>;

/// The devices that were asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Devices {
    devices: Vec<Shown>,
    /// How many there are on all pages.
    total: usize,
}

/// `GET /api/v1/devices`
pub(crate) async fn list(
    shared: State,
    headers: HeaderMap,
    parameters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Devices>, ApiError> {
    let access = who::viewer(&shared, &headers).await?;
    let Query(parameters) =
        parameters.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let asked = Asked::read(parameters)?;
    let whole = access.may_see_settings();
    let mut live: std::collections::HashMap<_, _> =
        shared.hub.devices().await.into_iter().map(|device| (device.device_uuid, device)).collect();
    let devices: Vec<_> = shared
        .store
        .inventory(asked.listed)
        .await?
        .into_iter()
        .filter(|device| access.may_see(device.device_uuid))
        .map(|device| {
            let live = live.remove(&device.device_uuid);
            Shown::of(device, live, whole)
        })
        .filter(|device| asked.fits(device))
        .collect();
    let total = devices.len();
    Ok(Json(Devices { devices: asked.page(devices), total }))
}

/// `GET /api/v1/devices/{uuid}`
pub(crate) async fn show(
    shared: State,
    headers: HeaderMap,
    which: Which,
) -> Result<Json<Shown>, ApiError> {
    let access = who::viewer(&shared, &headers).await?;
    let uuid = named(which)?;
    let known = shared.store.inventoried(uuid).await?.filter(|_| access.may_see(uuid));
    let known = known.ok_or_else(no_such_device)?;
    Ok(Json(Shown::of(known, live(&shared, uuid).await, access.may_see_settings())))
}

/// `POST /api/v1/devices`
pub(crate) async fn create(
    shared: State,
    headers: HeaderMap,
    body: Object,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let asked = change(body)?;
    let made =
        shared.store.add_device(&asked, &shared.secret_keys, &actor, Timestamp::now()).await?;
    Ok((StatusCode::CREATED, changed(&shared, made).await))
}

/// `PATCH /api/v1/devices/{uuid}`
pub(crate) async fn edit(
    shared: State,
    headers: HeaderMap,
    which: Which,
    body: Object,
) -> Result<Json<Shown>, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let (uuid, asked) = (named(which)?, change(body)?);
    let (keys, now) = (&shared.secret_keys, Timestamp::now());
    let edited = shared.store.edit_device(uuid, &asked, keys, &actor, now).await?;
    Ok(changed(&shared, edited).await)
}

/// `DELETE /api/v1/devices/{uuid}`
pub(crate) async fn delete(
    shared: State,
    headers: HeaderMap,
    which: Which,
) -> Result<Json<Shown>, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let deleted = shared.store.delete_device(named(which)?, &actor, Timestamp::now()).await?;
    shared.fleet.look();
    Ok(Json(Shown::of(deleted, None, true)))
}

/// `POST /api/v1/devices/{uuid}/restore`
pub(crate) async fn restore(
    shared: State,
    headers: HeaderMap,
    which: Which,
) -> Result<Json<Shown>, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let restored = shared.store.restore_device(named(which)?, &actor, Timestamp::now()).await?;
    Ok(changed(&shared, restored).await)
}

/// `POST /api/v1/devices/{uuid}/purge`
pub(crate) async fn purge(
    shared: State,
    headers: HeaderMap,
    which: Which,
) -> Result<StatusCode, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    shared.store.purge_device(named(which)?, &actor, Timestamp::now()).await?;
    shared.fleet.look();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostKey {
    fingerprint: String,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    replace: bool,
}

/// `POST /api/v1/devices/{uuid}/host-key`
pub(crate) async fn host_key(
    shared: State,
    headers: HeaderMap,
    which: Which,
    body: Result<Json<HostKey>, JsonRejection>,
) -> Result<Json<Shown>, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let uuid = named(which)?;
    let Json(asked) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let HostKey { fingerprint, host, replace } = asked;
    let (host, now) = (host.as_deref(), Timestamp::now());
    let pinned = shared.store.pin_host_key(uuid, host, &fingerprint, replace, &actor, now).await?;
    Ok(changed(&shared, pinned).await)
}

/// `POST /api/v1/devices/{uuid}/revoke-key`
pub(crate) async fn revoke_key(
    shared: State,
    headers: HeaderMap,
    which: Which,
) -> Result<StatusCode, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    shared.store.revoke_agent_key(named(which)?, &actor, Timestamp::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/devices/hub-key`
pub(crate) async fn hub_key(shared: State, headers: HeaderMap) -> Result<Json<HubKey>, ApiError> {
    who::admin_reads(&shared, &headers).await?;
    // Whoever asks first has it made; nobody needs to know who that was.
    Ok(Json(HubKey::of(&shared.store, &shared.secret_keys, &Actor::Hub).await?))
}

/// What was changed, and how it fares; whoever runs the sources is told at once.
async fn changed(shared: &State, device: DeviceRecord) -> Json<Shown> {
    shared.fleet.look();
    let live = live(shared, device.device_uuid).await;
    Json(Shown::of(device, live, true))
}

async fn live(shared: &State, uuid: DeviceUuid) -> Option<Device> {
    shared.hub.devices().await.into_iter().find(|device| device.device_uuid == uuid)
}

/// The body as a change.
fn change(body: Object) -> Result<DeviceChange, ApiError> {
    let Json(body) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    Ok(DeviceChange::of(body).map_err(StoreError::from)?)
}

fn named(which: Which) -> Result<DeviceUuid, ApiError> {
    // What is no identity is nobody's.
    which.map(|Path(uuid)| uuid).map_err(|_| no_such_device())
}

fn no_such_device() -> ApiError {
    ApiError::not_found("no such device")
}
