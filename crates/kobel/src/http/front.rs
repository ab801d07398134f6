//! What comes before the routes: who may ask at all, the live connection, and other nodes.

use std::net::SocketAddr;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use kobel_fanout::{Client, Refusal, Server};

use super::{
    Guard,
    error::ApiError,
    forward::{Forward, Forwarded},
};

/// Answers what needs no route. Cloned freely.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) guard: Guard,
    pub(super) server: Server,
    /// The way to the other nodes, where there are any.
    pub(super) forward: Option<Forward>,
}

/// What became of a request.
pub(super) enum Taken {
    /// It is answered.
    Answer(Response),
    /// It is for the routes.
    Route(Request<Incoming>),
}

impl Front {
    /// Answers a request, or lets it through to the routes.
    pub(super) async fn take(&self, mut request: Request<Incoming>, remote: SocketAddr) -> Taken {
        // The listener says; without it, what is certain.
        let unknown = Client { address: remote, secure: false, proxied: false };
        let client = *request.extensions_mut().get_or_insert(unknown);
        let live = request.uri().path() == self.server.config().path;
        let health = matches!(request.uri().path(), "/healthz" | "/readyz");
        match request.extensions().get::<Forwarded>() {
            // The node that is at this URL now is another one than it was.
            Some(Forwarded { misdirected: true }) if live => {
                let refused = self.server.refuse(request.headers(), Refusal::UnknownSession);
                return Taken::Answer(refused.map(Body::new));
            }
            Some(Forwarded { misdirected: true }) => {
                return Taken::Answer(StatusCode::MISDIRECTED_REQUEST.into_response());
            }
            // Checked where it came in, by the names and origins that hold there.
            Some(Forwarded { misdirected: false }) => {}
            // A health check asks by whatever name it has.
            None if health => {}
            None => {
                if let Err(refused) = self.guard.check(request.headers(), client.secure) {
                    return Taken::Answer(ApiError::refused(&refused).into_response());
                }
            }
        }
        if !live {
            return Taken::Route(request);
        }
        if let Some(forward) = &self.forward
            && let Some(node) = forward.elsewhere(&request)
        {
            return Taken::Answer(forward.session(&self.server, request, client, &node).await);
        }
        Taken::Answer(self.server.handle(request, remote).await.map(Body::new))
    }
}
