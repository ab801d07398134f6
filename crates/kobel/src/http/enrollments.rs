//! Enrollment: tokens for hosts that are to come, and the keys that agents get for them.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::{
        Path,
        rejection::{JsonRejection, PathRejection},
    },
};
use http::{HeaderMap, StatusCode, header};
use kobel_collect::agent::{EnrollmentAnswer, EnrollmentRequest as Wanted, RefusedReason};
use kobel_fanout::Client;
use kobel_hub::store::{EnrollError, Enrollee, Enrollment, EnrollmentRequest, StoreError};
use kobel_wire::{DeviceUuid, Timestamp};
use serde::{Deserialize, Serialize};

use super::{State, error::ApiError, who};

/// How long a token holds where nobody says.
const LIFETIME: u64 = 3_600;

/// What a new token is to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    uses: Option<u32>,
    /// Seconds.
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    group: Option<String>,
}

/// A token; the secret is in the answer to its making alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    uses: u32,
    used: u32,
    expires_at: Option<Timestamp>,
    devices: Vec<ShownDevice>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownDevice {
    device_uuid: DeviceUuid,
    name: String,
}

impl From<Enrollment> for Shown {
    fn from(enrollment: Enrollment) -> Self {
        let Enrollment { id, name, uses, used, expires_at, devices, .. } = enrollment;
        let device = |(device_uuid, name)| ShownDevice { device_uuid, name };
        let devices = devices.into_iter().map(device).collect();
        Self { id, name, token: None, uses, used, expires_at, devices }
    }
}

/// `POST /api/v1/enrollments`
pub(crate) async fn create(
    shared: State,
    headers: HeaderMap,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    who::admin(&shared, &headers).await?;
    let account = who::admin_reads(&shared, &headers).await?.account;
    let Json(asked) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let now = Timestamp::now();
    let request = EnrollmentRequest {
        account,
        // As precise as the clock, so that no two are called the same.
        name: &asked.name.unwrap_or_else(|| format!("hosts {now}")),
        uses: asked.uses.unwrap_or(1),
        lifetime: Duration::from_secs(asked.expires_in.unwrap_or(LIFETIME)),
        tags: asked.tags,
        group: asked.group,
    };
    let made = match shared.store.create_enrollment(&request, now).await {
        Err(StoreError::NameTaken(..)) => {
            return Err(ApiError::field("name", "there is a token of this name already"));
        }
        Err(StoreError::BadName(..)) => {
            return Err(ApiError::field("name", "use 1 to 64 characters"));
        }
        made => made?,
    };
    let known = shared.store.enrollment(made.id, now).await?.ok_or_else(no_such_token)?;
    Ok((StatusCode::CREATED, Json(Shown { token: Some(made.secret), ..known.into() })))
}

/// `GET /api/v1/enrollments/{id}`
pub(crate) async fn show(
    shared: State,
    headers: HeaderMap,
    which: Result<Path<i64>, PathRejection>,
) -> Result<Json<Shown>, ApiError> {
    who::admin_reads(&shared, &headers).await?;
    let Path(id) = which.map_err(|_| no_such_token())?;
    let known = shared.store.enrollment(id, Timestamp::now()).await?;
    Ok(Json(known.ok_or_else(no_such_token)?.into()))
}

/// `POST /api/v1/agent/enroll`, by an enrollment token.
pub(crate) async fn enroll(
    shared: State,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<EnrollmentAnswer>), ApiError> {
    let address = client.address.ip().to_canonical();
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| {
        shared.agents.refused(RefusedReason::Unauthorized);
        ApiError::unauthorized("agents enroll by a token: kobel token create NAME --enroll")
    })?;
    let Json(wanted) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let wanted = wanted.admitted().map_err(|(field, why)| ApiError::field(field, why))?;
    let host = Enrollee {
        key: &wanted.key,
        name: &wanted.name,
        tags: &wanted.tags,
        secret_hash: &wanted.secret_hash,
    };
    match shared.store.enroll(token, &host, Timestamp::now()).await {
        Ok(enrolled) => {
            tracing::info!(device = enrolled.name, %address, "a host is enrolled");
            shared.fleet.look();
            let (token_id, device_uuid) = (enrolled.token, enrolled.device.to_string());
            let answer = EnrollmentAnswer { token_id, device_uuid, name: enrolled.name };
            Ok((StatusCode::CREATED, Json(answer)))
        }
        Err(EnrollError::Store(error)) => Err(error.into()),
        Err(refused) => {
            shared.agents.refused(RefusedReason::Unauthorized);
            tracing::warn!(%address, why = %refused, "a host is not enrolled");
            Err(match refused {
                EnrollError::HasKey(_) | EnrollError::Deleted(_) | EnrollError::Older(_) => {
                    ApiError::conflict(None, refused.to_string())
                }
                _ => ApiError::unauthorized(refused.to_string()),
            })
        }
    }
}

fn no_such_token() -> ApiError {
    ApiError::not_found("no such enrollment token")
}
