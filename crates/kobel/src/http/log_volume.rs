//! `GET /api/v1/logs/volume`: which containers say how much.

use axum::{
    Json,
    extract::{Query, rejection::QueryRejection},
};
use http::HeaderMap;
use kobel_hub::logs::live::{NoisyStream, TotalVolume};
use serde::Serialize;

use super::{State, error::ApiError, who};

/// The noisiest streams that are listed, where nobody says how many; and the most.
const TOP: usize = 20;
const MOST: usize = 1_000;

/// What an answer holds.
#[derive(Debug, Serialize)]
pub(crate) struct Volume {
    streams: Vec<NoisyStream>,
    total: TotalVolume,
}

/// Noisiest first, of what the account may see.
pub(crate) async fn show(
    shared: State,
    headers: HeaderMap,
    parameters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Volume>, ApiError> {
    let access = who::viewer(&shared, &headers).await?;
    let Query(parameters) =
        parameters.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let mut top = TOP;
    for (name, value) in parameters {
        match name.as_str() {
            _ if value.is_empty() => {}
            "top" => {
                let given = value.parse().ok().filter(|top| (1..=MOST).contains(top));
                top = given.ok_or_else(|| {
                    ApiError::bad_request(format!("top: expected a number from 1 to {MOST}"))
                })?;
            }
            _ => {
                let name: String = name.chars().take(40).collect();
                return Err(ApiError::bad_request(format!("{name}: unknown; use top")));
            }
        }
    }
    let (streams, total) = shared.metrics.logs.noisiest(top, |device| access.may_see(device));
    Ok(Json(Volume { streams, total }))
}
