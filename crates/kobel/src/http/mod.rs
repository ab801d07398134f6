//! The HTTP side: one port for the page, the API, the live connection, metrics and health.

mod agent;
mod audit;
pub(crate) mod cookie;
mod devices;
mod enrollments;
mod error;
pub(crate) mod forward;
mod front;
mod guard;
mod log_volume;
mod logs;
mod nodes;
mod openapi;
mod page;
mod session;
mod status;
mod who;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::Response,
    routing::{get, post, put},
};
use http::{HeaderMap, HeaderValue, Request, header};
use hyper::body::Incoming;
use kobel_collect::agent::AgentLinks;
use kobel_fanout::Server;
use kobel_hub::{
    cluster::Cluster,
    hub::HubHandle,
    logs::store::LogStore,
    store::{SecretKeys, Store},
};
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub(crate) use guard::Guard;
pub(crate) use status::Readiness;

use crate::{metrics::Gather, serve::FleetHandle, sign_in::Throttle};
use error::ApiError;
use forward::Forward;
use front::{Front, Taken};

/// What the page may load and where it may connect: itself only. Styles of single elements are
/// computed (the width of a bar), so they stand in the document.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
     style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What answers HTTP requests. Cloned freely.
#[derive(Clone)]
pub(crate) struct Site {
    front: Front,
    router: Router,
}

/// What the routes share.
pub(crate) struct Shared {
    /// The database.
    pub store: Store,
    /// The keys of its sealed secrets.
    pub secret_keys: SecretKeys,
    /// The live state.
    pub hub: HubHandle,
    /// Whoever runs the devices' sources.
    pub fleet: FleetHandle,
    /// Places of tests of devices.
    pub tests: Arc<Semaphore>,
    /// Which names and origins are let in.
    pub guard: Guard,
    /// How long a page's session lasts.
    pub session_lifetime: Duration,
    /// Whether cookies are for https only, whatever a request says of itself.
    pub secure: bool,
    /// Failed sign-ins. Held for a look into a table.
    pub throttle: Mutex<Throttle>,
    /// The links of agents.
    pub agents: AgentLinks,
    /// The stored log lines, where any are.
    pub log_store: Option<LogStore>,
    /// What `/metrics` shows.
    pub metrics: Gather,
    /// Whether the hub is ready for viewers.
    pub ready: Readiness,
    /// The other nodes, where this is one of several.
    pub cluster: Option<Cluster>,
    /// The way to them.
    pub forward: Option<Forward>,
}

/// Places of tests of devices, as many as may run at once.
pub(crate) fn test_places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(devices::test::AT_ONCE))
}

type State = axum::extract::State<Arc<Shared>>;

impl Site {
    /// Made of the fan-out's server, the way to other nodes where there are any, and what the
    /// routes share.
    pub(crate) fn new(
        guard: Guard,
        server: Server,
        forward: Option<Forward>,
        shared: Arc<Shared>,
    ) -> Self {
        let api = Router::new()
            .route("/session", get(session::show).post(session::sign_in).delete(session::sign_out))
            .route("/session/link", post(session::sign_in_by_link))
            .route("/account/password", put(session::set_password))
            .route("/agent", get(agent::open))
            .route("/agent/enroll", post(enrollments::enroll))
            .route("/audit", get(audit::list))
            .route("/devices", get(devices::list).post(devices::create))
            .route(
                "/devices/{uuid}",
                get(devices::show).patch(devices::edit).delete(devices::delete),
            )
            .route("/devices/import", post(devices::import::import))
            .route("/devices/test", post(devices::test::new))
            .route("/devices/{uuid}/test", post(devices::test::known))
            .route("/devices/hub-key", get(devices::hub_key))
            .route("/devices/{uuid}/restore", post(devices::restore))
            .route("/devices/{uuid}/purge", post(devices::purge))
            .route("/devices/{uuid}/host-key", post(devices::host_key))
            .route("/devices/{uuid}/revoke-key", post(devices::revoke_key))
            .route("/enrollments", post(enrollments::create))
            .route("/enrollments/{id}", get(enrollments::show))
            .route("/nodes", get(nodes::list))
            .route("/nodes/{node}", put(nodes::set))
            .route("/openapi.json", get(openapi::show))
            .route("/logs/search", get(logs::search))
            .route("/logs/streams", get(logs::streams))
            .route("/logs/volume", get(log_volume::show))
            .fallback(async || ApiError::not_found("no such path in the API"));
        let router = Router::new()
            .nest("/api/v1", api)
            .route("/metrics", get(status::metrics))
            .route("/healthz", get(status::healthz))
            .route("/readyz", get(status::readyz))
            .fallback(page::serve)
            .with_state(shared);
        Self { front: Front { guard, server, forward }, router }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, remote: SocketAddr) -> Response {
        let request = match self.front.take(request, remote).await {
            Taken::Answer(answer) => return answer,
            Taken::Route(request) => request.map(Body::new),
        };
        // The router's error is `Infallible`.
        let mut answer = match self.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        harden(answer.headers_mut());
        answer
    }
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
