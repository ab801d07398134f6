//! `POST /api/v1/devices/import`: hosts of a pasted `~/.ssh/config` or Ansible inventory.

use axum::{Json, extract::rejection::JsonRejection};
use http::HeaderMap;
use kobel_hub::store::inventory::DeviceChange;
use kobel_wire::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{State, error::ApiError, who};
use crate::devices::import::{self, Defaults, Format, Left};

/// What is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    format: Format,
    text: String,
    #[serde(default)]
    dry_run: bool,
    /// The user to sign in as, where the text names none.
    #[serde(default)]
    user: Option<String>,
}

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Imported {
    taken: Vec<Taken>,
    left: Vec<Left>,
    dry_run: bool,
}

#[derive(Serialize)]
struct Taken {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

/// Takes what can be taken, and says of the rest why not.
pub(crate) async fn import(
    shared: State,
    headers: HeaderMap,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Imported>, ApiError> {
    let actor = who::admin(&shared, &headers).await?;
    let Json(asked) = body.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    // Files of the person who pastes are not on this machine.
    let defaults = Defaults { user: asked.user, home: None, sign_in: vec!["hub-key"] };
    let found = import::read(asked.format, &asked.text, &defaults, &mut |_| Vec::new())
        .map_err(|why| ApiError::field("text", why.trim_start_matches("text: ")))?;
    let (mut taken, mut left) = (Vec::new(), found.left);
    let (keys, now) = (&shared.secret_keys, Timestamp::now());
    for candidate in found.taken {
        let address = candidate.body.get("address").cloned();
        let change = DeviceChange { patch: candidate.body, ..DeviceChange::default() };
        match shared.store.try_device(&change, keys, &actor, now, asked.dry_run).await {
            Ok(()) => taken.push(Taken {
                line: candidate.line,
                name: candidate.name,
                address,
                remarks: candidate.remarks,
            }),
            Err(error) if error.is_of_the_request() => left.push(Left {
                line: candidate.line,
                name: candidate.name,
                reason: error.to_string(),
            }),
            Err(error) => return Err(error.into()),
        }
    }
    shared.fleet.look();
    Ok(Json(Imported { taken, left, dry_run: asked.dry_run }))
}
