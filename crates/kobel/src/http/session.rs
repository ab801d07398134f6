//! Sign-in and sign-out of the page.

use std::{net::IpAddr, sync::PoisonError};

use axum::{
    Extension, Json,
    extract::rejection::JsonRejection,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use kobel_fanout::Client;
use kobel_hub::{
    access::{CredentialId, Principal},
    store::Account,
};
use kobel_wire::{Role, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{State, cookie, error::ApiError};

/// What the page learns of its session.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    account: SessionAccount,
    version: &'static str,
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionAccount {
    name: String,
    role: Role,
    has_password: bool,
}

/// Name and password.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
    password: String,
}

/// What stood behind the `#` of a sign-in link.
#[derive(Deserialize)]
pub(crate) struct Link {
    token: String,
}

/// A change of one's own password.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    current: Option<String>,
    new: String,
}

type Body<T> = Result<Json<T>, JsonRejection>;

/// Who is signed in.
pub(crate) async fn show(shared: State, headers: HeaderMap) -> Result<Json<Session>, ApiError> {
    let (principal, account) = signed_in(&shared, &headers).await?;
    Ok(Json(session(&account, principal.expires_at)))
}

/// Signs in by name and password.
pub(crate) async fn sign_in(
    shared: State,
    Extension(client): Extension<Client>,
    body: Body<SignIn>,
) -> Result<Response, ApiError> {
    let asked = read(body)?;
    may_try(&shared, client)?;
    match shared.store.check_password(&asked.name, &asked.password).await? {
        Some(account) => start(&shared, client, &account, "password").await,
        None => {
            failed(&shared, client);
            Err(ApiError::unauthorized("wrong name or password"))
        }
    }
}

/// Signs in by a link that works once.
pub(crate) async fn sign_in_by_link(
    shared: State,
    Extension(client): Extension<Client>,
    body: Body<Link>,
) -> Result<Response, ApiError> {
    let asked = read(body)?;
    may_try(&shared, client)?;
    match shared.store.use_link(&asked.token, Timestamp::now()).await? {
        Some(account) => start(&shared, client, &account, "link").await,
        None => {
            failed(&shared, client);
            Err(ApiError::unauthorized(
                "this link was used before or has expired; make a new one on the server: \
                 kobel user link NAME",
            ))
        }
    }
}

/// Signs out. Its live sockets are closed.
pub(crate) async fn sign_out(shared: State, headers: HeaderMap) -> Result<Response, ApiError> {
    // Nobody signed in is no error: the outcome is what was asked for.
    if let Ok((principal, _)) = signed_in(&shared, &headers).await
        && let CredentialId::Session(id) = principal.credential
    {
        shared.store.end_session(id).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::clear())]).into_response())
}

/// Sets one's own password. Whoever has one must know it, so that an unattended page cannot be
/// taken over.
pub(crate) async fn set_password(
    shared: State,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body<NewPassword>,
) -> Result<StatusCode, ApiError> {
    let (principal, account) = signed_in(&shared, &headers).await?;
    let asked = read(body)?;
    if account.has_password {
        may_try(&shared, client)?;
        let current = asked.current.as_deref().unwrap_or_default();
        if shared.store.check_password(&account.name, current).await?.is_none() {
            failed(&shared, client);
            return Err(ApiError::bad_request("current: this is not your password"));
        }
    }
    let keep = match principal.credential {
        CredentialId::Session(id) => Some(id),
        CredentialId::Token(_) => None,
    };
    shared.store.set_password(account.id, &asked.new, keep).await?;
    tracing::info!(account = %account.name, "password set; the account's other sessions ended");
    Ok(StatusCode::NO_CONTENT)
}

fn read<T>(body: Body<T>) -> Result<T, ApiError> {
    match body {
        Ok(Json(value)) => Ok(value),
        Err(rejection) => Err(ApiError::bad_request(rejection.body_text())),
    }
}

async fn signed_in(shared: &State, headers: &HeaderMap) -> Result<(Principal, Account), ApiError> {
    let nobody = || ApiError::unauthorized("sign in first");
    let session = cookie::read(headers).ok_or_else(nobody)?;
    let known = shared.store.by_cookie(session, Timestamp::now()).await?;
    let principal = known.ok_or_else(nobody)?;
    let account = shared.store.account_by_id(principal.account).await?.ok_or_else(nobody)?;
    Ok((principal, account))
}

fn session(account: &Account, expires_at: Option<Timestamp>) -> Session {
    Session {
        account: SessionAccount {
            name: account.name.clone(),
            role: account.role,
            has_password: account.has_password,
        },
        version: env!("CARGO_PKG_VERSION"),
        expires_at,
    }
}

async fn start(
    shared: &State,
    client: Client,
    account: &Account,
    by: &str,
) -> Result<Response, ApiError> {
    let lifetime = shared.session_lifetime;
    let made = shared.store.start_session(account.id, lifetime, Timestamp::now()).await?;
    tracing::info!(account = %account.name, by, address = %ip(client), "signed in");
    let mut answer = Json(session(account, Some(made.expires_at))).into_response();
    if let Some(cookie) = cookie::set(&made.cookie, lifetime, shared.secure || client.secure) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

fn may_try(shared: &State, client: Client) -> Result<(), ApiError> {
    let throttle = shared.throttle.lock().unwrap_or_else(PoisonError::into_inner);
    throttle.check(ip(client), Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs_f64().ceil() as u64;
        let message = format!("too many failed sign-ins; try again in {seconds} s");
        ApiError::rate_limited(message, seconds)
    })
}

fn failed(shared: &State, client: Client) {
    tracing::warn!(address = %ip(client), "a sign-in failed");
    let mut throttle = shared.throttle.lock().unwrap_or_else(PoisonError::into_inner);
    throttle.failed(ip(client), Instant::now());
}

fn ip(client: Client) -> IpAddr {
    client.address.ip().to_canonical()
}
