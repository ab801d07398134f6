//! `/api/v1/nodes`: the nodes that act as one with this hub.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Request};
use kobel_fanout::Client;
use kobel_hub::cluster::Member;
use serde::{Deserialize, Serialize};

use super::{State, error::ApiError, forward::Bounds, who};

/// The largest change, bytes.
const BODY: usize = 1_000;

/// A drain waits until other nodes have the devices.
const BOUNDS: Bounds = Bounds {
    body: BODY as u64,
    body_time: Duration::from_secs(5),
    answer: Duration::from_secs(20),
    silence: Duration::from_secs(20),
};

/// What an answer holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Nodes {
    /// The node that answers; absent where the hub is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Whether it reaches Redis.
    is_connected: bool,
    /// All nodes, as Redis knows them.
    nodes: Vec<Member>,
}

/// What is to be otherwise.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Change {
    draining: bool,
}

/// The nodes. An admin asks: it says under which addresses they are reached.
pub(crate) async fn list(shared: State, headers: HeaderMap) -> Result<Json<Nodes>, ApiError> {
    who::admin_reads(&shared, &headers).await?;
    Ok(Json(nodes(&shared)))
}

/// Has a node give its devices up to others, or take some again; the node itself does so, whichever is
/// asked.
pub(crate) async fn set(
    shared: State,
    Path(node): Path<String>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    who::admin(&shared, request.headers()).await?;
    let Some(cluster) = &shared.cluster else {
        return Err(ApiError::not_found("this hub is alone: there are no nodes"));
    };
    let own = cluster.members().node().as_str();
    if let Some(forward) = shared.forward.as_ref().filter(|_| node != own && node != "self") {
        let passed = forward.forward(request, client, &node, BOUNDS).await;
        return passed.map_err(|error| ApiError::unavailable(format!("node {node:?}: {error}")));
    }
    let body = axum::body::to_bytes(request.into_body(), BODY).await;
    let body = body.map_err(|_| ApiError::bad_request("the body is too large, or broke off"))?;
    let change: Change =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    shared.ready.set(!change.draining);
    if change.draining {
        cluster.steward().drain().await;
    } else {
        cluster.members().announce(|info| info.draining = false);
    }
    tracing::info!(draining = change.draining, "this node");
    Ok(Json(nodes(&shared)).into_response())
}

fn nodes(shared: &State) -> Nodes {
    match &shared.cluster {
        None => Nodes { node: None, is_connected: false, nodes: Vec::new() },
        Some(cluster) => Nodes {
            node: Some(cluster.members().node().to_string()),
            is_connected: cluster.stats().is_connected,
            nodes: cluster.members().list(),
        },
    }
}
