//! Who asks, and whether they may.

use std::sync::Arc;

use http::{HeaderMap, header};
use kobel_hub::{
    access::{Access, CredentialId, Principal},
    store::Actor,
};
use kobel_wire::{Role, Timestamp};

use super::{Shared, cookie, error::ApiError};

/// Somebody who may look: by a token, or by the page's session.
pub(super) async fn viewer(shared: &Shared, headers: &HeaderMap) -> Result<Arc<Access>, ApiError> {
    Ok(principal(shared, headers).await?.access)
}

/// Somebody who may change what everybody sees: an admin of all devices. What comes by the cookie
/// must come from a page that may act for the person; a browser sends the cookie by itself.
pub(super) async fn admin(shared: &Shared, headers: &HeaderMap) -> Result<Actor, ApiError> {
    let known = admin_reads(shared, headers).await?;
    match known.credential {
        CredentialId::Token(number) => Ok(Actor::Token(format!("{} (token {number})", known.name))),
        CredentialId::Session(_) if shared.guard.is_from_own_page(headers) => {
            Ok(Actor::Account(known.name.to_string()))
        }
        CredentialId::Session(_) => Err(ApiError::forbidden(
            "a session's cookie needs an allowed Origin; programs use a token",
        )),
    }
}

/// The same, where nothing is changed.
pub(super) async fn admin_reads(
    shared: &Shared,
    headers: &HeaderMap,
) -> Result<Principal, ApiError> {
    let known = principal(shared, headers).await?;
    if !known.access.may_see_settings() {
        return Err(ApiError::forbidden("this needs an admin who sees all devices"));
    }
    Ok(known)
}

async fn principal(shared: &Shared, headers: &HeaderMap) -> Result<Principal, ApiError> {
    let now = Timestamp::now();
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let known: Option<Principal> = match (token, cookie::read(headers)) {
        (Some(token), _) => shared.store.by_token(token, now).await?,
        (None, Some(session)) => shared.store.by_cookie(session, now).await?,
        (None, None) => {
            let message = "sign in, or send a token as Authorization: Bearer …";
            return Err(ApiError::unauthorized(message));
        }
    };
    match known {
        Some(known) if known.access.role == Role::Agent => Err(ApiError::forbidden(
            "this token is an agent's: it opens the agent link and nothing else",
        )),
        Some(known) => Ok(known),
        None => Err(ApiError::unauthorized("the token or session is wrong, expired or revoked")),
    }
}
