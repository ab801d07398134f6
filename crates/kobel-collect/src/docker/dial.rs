//! How a connection to an engine is opened: to its socket here, or through a tunnel.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error};
use http::{HeaderValue, Uri, header::HOST};
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kobel_wire::{Engine, EngineKind, EngineState, Timestamp};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use crate::text::clean;

/// How long an engine may take to answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// How long until an engine that is not there is looked for again.
const AGAIN: Duration = Duration::from_secs(2);

/// A connection to an engine.
pub type Connection = Box<dyn Stream>;

/// [`Dial::dial`]'s answer.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Connection>> + Send + 'a>>;

/// A stream of bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens connections to an engine: to its socket here, or through a tunnel.
pub trait Dial: Send + Sync {
    /// A new connection, on which HTTP/1.1 is spoken.
    fn dial(&self) -> Dialing<'_>;
}

/// An engine that answered.
#[derive(Debug)]
pub struct Reached {
    /// Where, such as `unix:///var/run/docker.sock`.
    pub endpoint: String,
    /// Its API.
    pub docker: Docker,
    /// What to tell of it.
    pub engine: Engine,
}

/// [`Reach::reach`]'s answer.
pub type Reaching<'a> = Pin<Box<dyn Future<Output = Result<Reached, Box<Engine>>> + Send + 'a>>;

/// Looks for the engine of a host.
pub trait Reach: Send + Sync {
    /// The engine that answers; or what to say of its absence.
    fn reach(&self) -> Reaching<'_>;

    /// How long until it is looked for again, where none was found. To look for one costs the host
    /// something.
    fn patience(&self) -> Duration {
        AGAIN
    }
}

/// An engine's API over connections that `dial` opens, one for each request, as bollard's own
/// transports do: a request that is given up closes its connection, and the engine notices.
///
/// # Errors
/// Bollard's, if it cannot make a client.
pub(crate) fn tunnel(dial: Arc<dyn Dial>) -> Result<Docker, Error> {
    // Each ends by itself when its answer was read or given up; the last of them with the client.
    let connections = Arc::new(Mutex::new(JoinSet::new()));
    let transport = move |request: BollardRequest| {
        let (dial, connections) = (Arc::clone(&dial), Arc::clone(&connections));
        async move { ask(&*dial, &connections, request).await }
    };
    Docker::connect_with_custom_transport(
        transport,
        Some("http://docker"),
        LIMIT.as_secs(),
        API_DEFAULT_VERSION,
    )
}

async fn ask(
    dial: &dyn Dial,
    connections: &Mutex<JoinSet<()>>,
    request: BollardRequest,
) -> Result<Response<Incoming>, Error> {
    let stream = dial.dial().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    {
        let mut running = connections.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        // Its error comes out of the answer, too.
        running.spawn(async move { drop(connection.await) });
    }
    let (mut parts, body) = request.into_parts();
    // To the engine itself, not through a proxy: the path alone.
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().map_err(io::Error::other)?;
    parts.headers.insert(HOST, HeaderValue::from_static("docker"));
    Ok(sender.send_request(BollardRequest::from_parts(parts, body)).await?)
}

/// Asks an engine who it is. `endpoint` is for people.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn identify(
    docker: Result<Docker, Error>,
    endpoint: &str,
) -> Result<Reached, String> {
    let answered = timeout(LIMIT, async {
        let docker = docker?.negotiate_version().await?;
        let version = docker.version().await?;
        Ok::<_, Error>((docker, version))
    });
    let (docker, version) = match answered.await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in 10 s".to_owned()),
    };
    let components = version.components.unwrap_or_default();
    let is_podman = components.iter().any(|c| c.name.contains("Podman"));
    let engine = Engine {
        state: EngineState::Connected,
        kind: Some(if is_podman { EngineKind::Podman } else { EngineKind::Docker }),
        version: version.version.map(|version| clean(&version, 64)),
        endpoint: Some(endpoint.to_owned()),
        message: None,
        since: Timestamp::now(),
    };
    Ok(Reached { endpoint: endpoint.to_owned(), docker, engine })
}

/// What to tell of an engine that cannot be read.
pub(crate) fn failed(state: EngineState, endpoint: Option<String>, message: String) -> Engine {
    Engine {
        state,
        kind: None,
        version: None,
        endpoint,
        message: Some(message),
        since: Timestamp::now(),
    }
}
