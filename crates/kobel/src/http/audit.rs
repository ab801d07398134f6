//! `GET /api/v1/audit`: who changed what.

use axum::{
    Json,
    extract::{Query, rejection::QueryRejection},
};
use http::HeaderMap;
use kobel_hub::store::{AuditEntry, AuditQuery};
use serde::Serialize;

use super::{State, error::ApiError, who};

/// Entries of a page, where nobody says how many; and the most.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1_000;

/// A page of the log.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    entries: Vec<AuditEntry>,
    /// Where the next page begins; `null` when there is no more.
    cursor: Option<String>,
}

/// Newest first.
pub(crate) async fn list(
    shared: State,
    headers: HeaderMap,
    parameters: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<Page>, ApiError> {
    who::admin_reads(&shared, &headers).await?;
    let Query(parameters) =
        parameters.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let mut asked = AuditQuery { limit: PAGE, ..AuditQuery::default() };
    for (name, value) in parameters {
        let wrong = |why| ApiError::field(&name, why);
        match name.as_str() {
            _ if value.is_empty() => {}
            "device" => {
                asked.device = Some(value.parse().map_err(|_| wrong("expected a device's UUID"))?);
            }
            "cursor" => {
                let cursor = value.parse().map_err(|_| wrong("expected that of a page before"))?;
                asked.before = Some(cursor);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=LONGEST_PAGE).contains(n));
                asked.limit = limit.ok_or_else(|| wrong("expected a number from 1 to 1000"))?;
            }
            _ => {
                let name: String = name.chars().take(40).collect();
                return Err(ApiError::field(&name, "unknown; use device, limit, cursor"));
            }
        }
    }
    let entries = shared.store.audit(&asked).await?;
    let full = entries.len() == usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let cursor = entries.last().filter(|_| full).map(|entry| entry.id.to_string());
    Ok(Json(Page { entries, cursor }))
}
