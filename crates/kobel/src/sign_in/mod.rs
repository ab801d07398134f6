//! Who may come in: sockets by token or by the page's cookie, and the end of what was revoked.

mod known;
mod revocation;
mod throttle;

use std::sync::Arc;

use kobel_fanout::Handshake;
use kobel_hub::{access::Principal, gate::Authenticate, store::Store};
use kobel_wire::{
    Role, Timestamp,
    event::{ErrorBody, ErrorCode},
};
use serde_json::value::RawValue;

use known::Kind;
pub(crate) use known::Known;
pub(crate) use revocation::watch;
pub(crate) use throttle::Throttle;

use crate::http::{Guard, cookie};

/// Signs sockets in.
#[derive(Debug)]
pub(crate) struct SignIn {
    store: Store,
    guard: Guard,
    known: Arc<Known>,
}

impl SignIn {
    /// By this store and what is known of it; pages by these origins.
    pub(crate) fn new(store: Store, guard: Guard, known: Arc<Known>) -> Self {
        Self { store, guard, known }
    }
}

/// What a CONNECT packet brings.
#[derive(serde::Deserialize)]
struct Auth {
    token: Option<String>,
}

impl Authenticate for SignIn {
    async fn authenticate(
        &self,
        handshake: &Handshake,
        auth: Option<&RawValue>,
    ) -> Result<Principal, ErrorBody> {
        let unauthorized = |message: &str| ErrorBody {
            code: ErrorCode::Unauthorized,
            message: message.to_owned(),
        };
        let now = Timestamp::now();
        // Anything but an object with a text in it is as good as nothing.
        let token = auth
            .and_then(|auth| serde_json::from_str::<Auth>(auth.get()).ok())
            .and_then(|auth| auth.token);
        let (kind, credential, message) = match (&token, cookie::read(&handshake.headers)) {
            (Some(token), _) => {
                (Kind::Token, token.as_str(), "the token is wrong, expired or revoked")
            }
            // The cookie comes with any request of the browser; the page must show itself, too.
            (None, Some(session)) if self.guard.is_from_own_page(&handshake.headers) => {
                (Kind::Cookie, session, "the session has ended; sign in again")
            }
            (None, Some(_)) => {
                return Err(unauthorized("a session's cookie needs an allowed Origin"));
            }
            (None, None) => {
                return Err(unauthorized("sign in, or send auth: {token} with an API token"));
            }
        };
        let missing = match self.known.look(kind, credential, now) {
            Ok(principal) => return viewer(principal),
            Err(missing) => missing,
        };
        let found = match kind {
            Kind::Token => self.store.by_token(credential, now).await,
            Kind::Cookie => self.store.by_cookie(credential, now).await,
        };
        match found {
            Ok(Some(principal)) => {
                self.known.learn(&missing, &principal);
                viewer(principal)
            }
            Ok(None) => Err(unauthorized(message)),
            Err(error) => {
                tracing::error!(%error, "cannot look up a credential");
                let message = "the hub's store failed; try again later".to_owned();
                Err(ErrorBody { code: ErrorCode::Unavailable, message })
            }
        }
    }
}

/// Whoever may look at anything at all.
fn viewer(principal: Principal) -> Result<Principal, ErrorBody> {
    if principal.access.role == Role::Agent {
        let message =
            "this token is an agent's: it opens the agent link and nothing else".to_owned();
        return Err(ErrorBody { code: ErrorCode::Unauthorized, message });
    }
    Ok(principal)
}
