//! The door for agents: a WebSocket that only a token of the role agent opens.

use axum::{
    Extension,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use kobel_collect::agent::{RefusedReason, SUBPROTOCOL};
use kobel_fanout::{Admission, Client};
use kobel_hub::{access::Principal, store::ENROLLMENT_PREFIX};
use kobel_wire::{Role, Timestamp};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{State, error::ApiError};

/// Takes an agent in.
pub(crate) async fn open(
    shared: State,
    Extension(client): Extension<Client>,
    mut request: Request<Body>,
) -> Result<Response, ApiError> {
    let principal = match sign_in(&shared, request.headers()).await {
        Ok(principal) => principal,
        Err(refused) => {
            shared.agents.refused(RefusedReason::Unauthorized);
            tracing::warn!(address = %client.address.ip().to_canonical(), "an agent was refused");
            return Err(refused);
        }
    };
    let accept = upgrade(request.method(), request.headers())?;
    if !shared.agents.has_room() {
        return Err(ApiError::unavailable("the hub has no room for more agents; try again later"));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let socket = async move { upgraded.await.ok().map(TokioIo::new) };
    // The connection counts for as long as the link is up.
    let place = request.extensions_mut().remove::<Admission>();
    shared.agents.run(principal, socket, place);

    let mut answer = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(answer)
}

async fn sign_in(shared: &State, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = token else {
        let message = "agents send a token as Authorization: Bearer …; make one on the hub: \
                       kobel token create NAME --enroll";
        return Err(ApiError::unauthorized(message));
    };
    if token.starts_with(ENROLLMENT_PREFIX) {
        let message = "this is an enrollment token, which this agent is too old for: update the agent, \
                       or give it a token of the role agent";
        return Err(ApiError::unauthorized(message));
    }
    let known = shared.store.by_token(token, Timestamp::now()).await?;
    let principal =
        known.ok_or_else(|| ApiError::unauthorized("the token is wrong, expired or revoked"))?;
    // Not even an admin's: a token that is found on a host must not open more than its link.
    if principal.access.role != Role::Agent {
        let message = format!(
            "this is a token of the role {}: an agent needs one of the role agent; make it on the \
             hub: kobel token create NAME --role agent",
            principal.access.role
        );
        return Err(ApiError::forbidden(message));
    }
    Ok(principal)
}

/// The opening handshake (RFC 6455, section 4.2.1).
fn upgrade(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let has = |name, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    if method != Method::GET
        || !has(header::CONNECTION, "upgrade")
        || !has(header::UPGRADE, "websocket")
        || !has(header::SEC_WEBSOCKET_VERSION, "13")
    {
        return Err(ApiError::bad_request("here agents connect, by WebSocket version 13"));
    }
    if !has(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        let message = format!("the agent must offer the WebSocket subprotocol {SUBPROTOCOL}");
        return Err(ApiError::bad_request(message));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let accept = key.map(derive_accept_key).and_then(|key| HeaderValue::try_from(key).ok());
    accept.ok_or_else(|| ApiError::bad_request("the header Sec-WebSocket-Key is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(change: &[(&'static str, Option<&'static str>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "other, kobel-agent.v1"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in change {
            headers.remove(*name);
            if let Some(value) = value {
                headers.insert(*name, HeaderValue::from_static(value));
            }
        }
        headers
    }

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        let accept = upgrade(&Method::GET, &headers(&[])).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(upgrade(&Method::POST, &headers(&[])).is_err());
        for (name, value) in [
            ("connection", None),
            ("upgrade", Some("h2c")),
            ("sec-websocket-version", Some("8")),
            ("sec-websocket-protocol", Some("kobel-agent.v2")),
            ("sec-websocket-protocol", None),
            ("sec-websocket-key", None),
        ] {
            assert!(upgrade(&Method::GET, &headers(&[(name, value)])).is_err(), "{name} {value:?}");
        }
    }
}
