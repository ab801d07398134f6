//! Requests that belong to another node of the cluster, passed on to it over HTTP.
//!
//! A session's id names its node ([`NodeTag`]), so that any node can take any request: a poll, a
//! post or an upgrade of another one's session goes there, and the answer comes back ([`session`]).
//! Other routes that only one node can answer are passed on by [`Forward::forward`]. A request is
//! passed on once, and the node that gets it hears who the client is in a signed header (`word`),
//! which counts from nobody else.
//!
//! [`session`]: Forward::session

mod body;
mod connect;
mod error;
mod figures;
mod headers;
mod replay;
mod tunnel;
mod vouch;
mod word;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::{Method, Request, Uri, Version};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade},
};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioTimer};
use kobel_fanout::{Admission, Client, NodeTag, Server, sid_of};
use kobel_wire::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use body::{Received, Sent, sent};
use connect::Connect;
pub(crate) use error::ForwardError;
pub(crate) use figures::Figures;
use figures::{Counts, Seldom};
use replay::Heard;
pub(crate) use vouch::Forwarded;
pub(crate) use word::ClusterSecret;
use word::{HEADER, Word};

/// How long a node may take to answer what it can answer at once.
const ANSWER: Duration = Duration::from_secs(5);

/// How often it is looked whether a node that has not answered is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Idle connections that are kept to each node.
const IDLE: usize = 64;

/// The other nodes.
pub(crate) trait Peers: Send + Sync {
    /// Under which URL the node with this tag is reached, of which scheme and authority count.
    /// `None` where there is no such node (any more); what belongs to it is then given up at once.
    /// So an answer that cannot be had now is the last one. It is asked often, and must be quick.
    fn url(&self, tag: &str) -> Option<Arc<Uri>>;
}

/// What passing on is made of.
pub(crate) struct Settings {
    /// This node's tag.
    pub tag: NodeTag,
    /// What the nodes know each other by.
    pub secret: ClusterSecret,
    /// The other nodes.
    pub peers: Arc<dyn Peers>,
    /// Who signs the certificates of nodes with an https URL, beside the roots of this machine.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How long a connection to a node is kept without a request. It has to be less than after
    /// what time the other node closes it, its `--header-timeout`.
    pub idle: Duration,
    /// Requests and WebSockets that are passed on at the same time. Each takes an open file beside
    /// the client's. Over it: HTTP status 503.
    pub at_once: usize,
}

/// How long a request that is passed on may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The most bytes of its body.
    pub body: u64,
    /// How long the body may take.
    pub body_time: Duration,
    /// How long after it the answer's head may take.
    pub answer: Duration,
    /// How long the answer's body may be silent.
    pub silence: Duration,
}

/// Passes requests on, and hears of those that were. Cloned freely.
#[derive(Clone)]
pub(crate) struct Forward(Arc<Inner>);

struct Inner {
    tag: NodeTag,
    secret: ClusterSecret,
    peers: Arc<dyn Peers>,
    client: HttpClient<Connect, Sent<Body>>,
    places: Arc<Semaphore>,
    counts: Counts,
    /// Words of other nodes. Held for a look into a table.
    heard: Mutex<Heard>,
    silent: Seldom,
    no_word: Seldom,
    /// Connections to other nodes and tunnels; all end with `ending`.
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Forward {
    /// Nothing is connected before it is needed.
    ///
    /// # Errors
    /// When TLS cannot be set up, or an authority is no certificate.
    pub(crate) fn new(settings: Settings) -> Result<Self, rustls::Error> {
        let Settings { tag, secret, peers, authorities, idle, at_once } = settings;
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        let connections = Connections { tasks: tasks.clone(), ending: ending.clone() };
        let client = HttpClient::builder(connections)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle)
            .pool_max_idle_per_host(IDLE)
            .build(Connect::new(&authorities)?);
        Ok(Self(Arc::new(Inner {
            tag,
            secret,
            peers,
            client,
            places: Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))),
            counts: Counts::default(),
            heard: Mutex::default(),
            silent: Seldom::default(),
            no_word: Seldom::default(),
            tasks,
            ending,
        })))
    }

    /// What was passed on until now.
    pub(crate) fn figures(&self) -> Figures {
        self.0.counts.read()
    }

    /// Ends everything that is on its way, and waits for it. What waits for an answer is told that
    /// the node is shutting down; its client opens another session, and loses nothing by that
    /// which it would not lose by any connection that breaks.
    pub(crate) async fn shutdown(&self) {
        self.0.ending.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The tag of the node that a request's session is on, where that is another one.
    pub(crate) fn elsewhere<B>(&self, request: &Request<B>) -> Option<String> {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return None;
        }
        let tag = NodeTag::of(sid_of(request.uri())?)?;
        (tag != self.0.tag.as_str()).then(|| tag.to_owned())
    }

    /// Answers a request of a session that is [elsewhere](Self::elsewhere).
    pub(crate) async fn session(
        &self,
        server: &Server,
        request: Request<Incoming>,
        client: Client,
        to: &str,
    ) -> Response {
        let config = server.config();
        // A poll waits for something to happen, at most until the next ping. A node that is gone
        // meanwhile is noticed by that.
        let polls = request.method() == Method::GET && !headers::wants_websocket(request.headers());
        let bounds = Bounds {
            body: config.max_payload as u64,
            body_time: config.limits.body_timeout,
            answer: if polls { config.ping_interval + config.ping_timeout } else { ANSWER },
            silence: ANSWER,
        };
        let asked = request.headers().clone();
        match self.forward(request.map(Body::new), client, to, bounds).await {
            Ok(answer) => answer,
            Err(error) => server.refuse(&asked, error.refusal()).map(Body::new),
        }
    }

    /// Passes a request on to the node with this tag, in the name of its client, and gives the
    /// answer. An upgrade to WebSocket goes on in a task; the client's [`Admission`] is held for as
    /// long.
    ///
    /// # Errors
    /// Why there is no answer. The other node may have got the request all the same.
    pub(crate) async fn forward(
        &self,
        request: Request<Body>,
        client: Client,
        to: &str,
        bounds: Bounds,
    ) -> Result<Response, ForwardError> {
        // Boxed: it is large, and waits for long.
        let result = Box::pin(self.pass(request, client, to, bounds)).await;
        self.0.counts.result(result.as_ref().err().copied());
        if let Err(error @ (ForwardError::Unreachable | ForwardError::Silent)) = result
            && let Some(left_out) = self.0.silent.due()
        {
            tracing::warn!(node = to, left_out, "a request could not be passed on: {error}");
        }
        result
    }

    async fn pass(
        &self,
        mut request: Request<Body>,
        client: Client,
        to: &str,
        bounds: Bounds,
    ) -> Result<Response, ForwardError> {
        let inner = &self.0;
        if request.extensions().get::<Forwarded>().is_some() {
            return Err(ForwardError::Again);
        }
        let url = inner.peers.url(to).ok_or(ForwardError::Unknown)?;
        let place = Arc::clone(&inner.places).try_acquire_owned();
        let place = place.map_err(|_| ForwardError::Full)?;
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let upgrade = upgrade.filter(|_| headers::wants_websocket(request.headers()));
        let admission = request.extensions_mut().remove::<Admission>();
        let request = self.outgoing(request, client, (to, &url), upgrade.is_some())?;
        let (request, fate, mut sent) = {
            let (head, body) = request.into_parts();
            let (body, fate, ended) = sent(body, bounds.body);
            (Request::from_parts(head, body), fate, ended)
        };
        let silent = async {
            // Whether it ends by its end or by being dropped.
            if timeout(bounds.body_time, &mut sent).await.is_err() {
                return ForwardError::TooSlow;
            }
            sleep(bounds.answer).await;
            ForwardError::Silent
        };
        let answer = tokio::select! {
            biased;
            () = inner.ending.cancelled() => return Err(ForwardError::Closing),
            answer = inner.client.request(request) => answer,
            error = silent => return Err(error),
            () = inner.gone(to, &url) => return Err(ForwardError::Unknown),
        };
        let answer = answer.map_err(|error| {
            if fate.too_large.load(Ordering::Relaxed) {
                ForwardError::TooLarge
            } else if fate.broken_off.load(Ordering::Relaxed) {
                ForwardError::BrokenOff
            } else {
                tracing::debug!(node = to, %error, "a node broke off");
                ForwardError::Unreachable
            }
        })?;
        Ok(self.answer(answer, upgrade, (to, url), bounds, (admission, place)))
    }

    /// The request as the other node gets it.
    fn outgoing(
        &self,
        request: Request<Body>,
        client: Client,
        (to, url): (&str, &Uri),
        upgrades: bool,
    ) -> Result<Request<Body>, ForwardError> {
        let (mut head, body) = request.into_parts();
        let mut parts = url.clone().into_parts();
        parts.path_and_query = head.uri.into_parts().path_and_query;
        head.uri = Uri::from_parts(parts).map_err(|_| ForwardError::Unknown)?;
        head.version = Version::HTTP_11;
        headers::strip(&mut head.headers);
        if upgrades {
            headers::upgrade(&mut head.headers);
        }
        let word = Word {
            at: Timestamp::now(),
            nonce: getrandom::u64().map_err(|_| ForwardError::Full)?,
            to: to.parse().map_err(|_| ForwardError::Unknown)?,
            client: client.address,
            secure: client.secure,
        };
        let said = word.sign(&self.0.secret, &head.method, &head.uri);
        head.headers.insert(HEADER, said);
        Ok(Request::from_parts(head, body))
    }

    /// The answer as the client gets it.
    fn answer(
        &self,
        mut answer: http::Response<Incoming>,
        upgrade: Option<OnUpgrade>,
        (to, url): (&str, Arc<Uri>),
        bounds: Bounds,
        (admission, place): (Option<Admission>, OwnedSemaphorePermit),
    ) -> Response {
        let upgrade = upgrade.filter(|_| answer.status() == http::StatusCode::SWITCHING_PROTOCOLS);
        headers::strip(answer.headers_mut());
        let Some(client) = upgrade else {
            return answer.map(|body| Body::new(Received::new(body, bounds.silence, place)));
        };
        headers::upgrade(answer.headers_mut());
        let node = upgrade::on(&mut answer);
        let (inner, to) = (Arc::clone(&self.0), to.to_owned());
        self.0.tasks.spawn(async move {
            let _counted = inner.counts.tunnel();
            let ended = async {
                tokio::select! {
                    () = inner.ending.cancelled() => {}
                    () = inner.gone(&to, &url) => {}
                }
            };
            tunnel::run(client, node, ended).await;
            drop((admission, place));
        });
        answer.map(|_| Body::empty())
    }
}

impl Inner {
    /// Ends when a node is not there any more under its URL.
    async fn gone(&self, tag: &str, url: &Arc<Uri>) {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            if self.peers.url(tag).as_ref() != Some(url) {
                return;
            }
        }
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("tag", &self.0.tag).finish_non_exhaustive()
    }
}

/// Spawns the tasks of connections to other nodes.
#[derive(Clone)]
struct Connections {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Connections
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let ending = self.ending.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _ = task => {}
                () = ending.cancelled() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests;
