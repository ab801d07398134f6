//! Nodes on loopback, and a client that speaks to them by hand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode, Uri};
use kobel_fanout::{
    Accept, Client, Config, ConnectRequest, Context, DisconnectReason, Event, Handler, Listen,
    Plain, Proxies, ServeLimits, Server, SocketId, serve_with,
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::super::{Bounds, ClusterSecret, Forward, Forwarded, Peers, Settings};
use crate::http::{
    Guard,
    error::ApiError,
    front::{Front, Taken},
};

/// Nothing on loopback takes this long.
pub(super) const LONG: Duration = Duration::from_secs(10);

pub(super) const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

/// The code that makes a client open another session.
pub(super) const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// Which nodes there are.
#[derive(Default)]
pub(super) struct Table(Mutex<HashMap<String, Arc<Uri>>>);

impl Table {
    pub(super) fn set(&self, tag: &str, url: &str) {
        self.0.lock().unwrap().insert(tag.into(), Arc::new(url.parse().unwrap()));
    }

    pub(super) fn remove(&self, tag: &str) {
        self.0.lock().unwrap().remove(tag);
    }
}

impl Peers for Table {
    fn url(&self, tag: &str) -> Option<Arc<Uri>> {
        self.0.lock().unwrap().get(tag).cloned()
    }
}

/// Lets everybody in, and answers each event with its name.
struct Echo;

impl Handler for Echo {
    fn connect(&self, request: ConnectRequest) {
        request.accept();
    }

    fn event(&self, cx: &mut Context<'_>, event: Event) {
        if let Some(ack) = event.ack {
            cx.ack(ack, &event.name).unwrap();
        }
    }

    fn disconnect(&self, _: SocketId, _: &str, _: DisconnectReason) {}
}

/// How a node is made.
pub(super) struct Made {
    pub(super) secret: u8,
    pub(super) host: Option<&'static str>,
    pub(super) max_payload: usize,
    pub(super) at_once: usize,
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            secret: 1,
            host: None,
            max_payload: 1_000_000,
            at_once: 100,
            authorities: Vec::new(),
        }
    }
}

/// A node with its listener.
pub(super) struct Node {
    pub(super) addr: SocketAddr,
    pub(super) forward: Forward,
    pub(super) server: Server,
    cancel: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

pub(super) fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(Zeroizing::new([byte; 32]))
}

/// For what is answered at once.
pub(super) fn bounds() -> Bounds {
    Bounds { body: 1_000, body_time: LONG, answer: LONG, silence: LONG }
}

impl Node {
    pub(super) async fn new(tag: &str, table: &Arc<Table>) -> Self {
        Self::with(tag, table, Made::default()).await
    }

    pub(super) async fn with(tag: &str, table: &Arc<Table>, made: Made) -> Self {
        Self::behind(tag, table, made, "http", Plain).await
    }

    pub(super) async fn behind<A: Accept>(
        tag: &str,
        table: &Arc<Table>,
        made: Made,
        scheme: &str,
        accept: A,
    ) -> Self {
        let config = Config {
            shards: 1,
            node: Some(tag.parse().unwrap()),
            max_payload: made.max_payload,
            ..Config::default()
        };
        let server = Server::start(config, Arc::new(Echo)).unwrap();
        let forward = Forward::new(Settings {
            tag: tag.parse().unwrap(),
            secret: secret(made.secret),
            peers: Arc::<Table>::clone(table),
            authorities: made.authorities,
            idle: Duration::from_secs(4),
            at_once: made.at_once,
        })
        .unwrap();
        let hosts: Vec<_> = made.host.iter().map(|host| host.parse().unwrap()).collect();
        let guard = Guard::new("", None, &hosts, &[]);
        let front = Front { guard, server: server.clone(), forward: Some(forward.clone()) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        table.set(tag, &format!("{scheme}://localhost:{}", addr.port()));
        let cancel = CancellationToken::new();
        let app = move |request, remote| {
            let front = front.clone();
            async move {
                match front.take(request, remote).await {
                    Taken::Answer(answer) => answer,
                    Taken::Route(request) => route(&front, request.map(Body::new)).await,
                }
            }
        };
        let vouch = Some(Arc::new(forward.clone()) as Arc<_>);
        // One place an address: what other nodes pass on must not count by theirs.
        let limits = ServeLimits { connections_per_address: 20, ..ServeLimits::default() };
        let listen = Listen { limits, accept, proxies: Proxies::default(), vouch };
        let serving = tokio::spawn(serve_with(listener, listen, app, cancel.clone()));
        Self { addr, forward, server, cancel, serving }
    }

    /// How many requests had this result.
    pub(super) fn count(&self, result: &str) -> u64 {
        let results = self.forward.figures().results;
        results.iter().find(|(name, _)| *name == result).unwrap().1
    }

    /// How many headers were not taken for this reason.
    pub(super) fn refused(&self, reason: &str) -> u64 {
        let reasons = self.forward.figures().no_words;
        reasons.iter().find(|(name, _)| *name == reason).unwrap().1
    }

    /// Ends everything; what does not end fails the test.
    pub(super) async fn stop(self) {
        let ended = timeout(LONG, async {
            self.cancel.cancel();
            self.server.shutdown(Duration::ZERO, |_| None).await;
            self.forward.shutdown().await;
            self.serving.await.unwrap().unwrap();
        });
        ended.await.expect("the node did not end");
    }
}

/// Routes of the tests: `/to/<tag>/…` is passed on to a node, `/large` is large, and any other one
/// says whose request it is.
async fn route(front: &Front, request: Request<Body>) -> Response {
    let client = *request.extensions().get::<Client>().unwrap();
    let path = request.uri().path().to_owned();
    let once = request.extensions().get::<Forwarded>().is_some();
    if let Some(tag) = path.strip_prefix("/to/").filter(|_| !once || path.ends_with("/again")) {
        let (tag, _) = tag.split_once('/').unwrap();
        let forward = front.forward.as_ref().unwrap();
        let passed = forward.forward(request, client, tag, bounds()).await;
        return passed.unwrap_or_else(|error| ApiError::from(error).into_response());
    }
    if path.ends_with("/large") {
        return (StatusCode::OK, "x".repeat(10_000_000)).into_response();
    }
    let header = request.headers().contains_key("kobel-forwarded");
    let Client { address, secure, proxied } = client;
    format!("{address} {secure} {proxied} {header}").into_response()
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

/// Sends a request on a connection of its own, and reads the answer to its end.
pub(super) async fn ask(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    ask_on(&mut TcpStream::connect(addr).await.unwrap(), method, target, headers, body).await
}

pub(super) async fn ask_on(
    stream: &mut TcpStream,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let host = if headers.contains("host:") { "" } else { "host: localhost\r\n" };
    let length = match method {
        "POST" => format!("content-length: {}\r\n", body.len()),
        _ => String::new(),
    };
    let head =
        format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n{host}{headers}{length}");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("no answer").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// A session on polling, by whatever node.
pub(super) struct Polling {
    pub(super) sid: String,
}

impl Polling {
    pub(super) async fn open(node: &Node) -> Self {
        let answer = ask(node.addr, "GET", OPEN, "", "").await;
        let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).unwrap();
        Self { sid: open["sid"].as_str().unwrap().to_owned() }
    }

    pub(super) fn target(&self) -> String {
        format!("{OPEN}&sid={}", self.sid)
    }

    pub(super) async fn get(&self, by: &Node) -> Answer {
        ask(by.addr, "GET", &self.target(), "", "").await
    }

    pub(super) async fn post(&self, by: &Node, body: &str) -> Answer {
        ask(by.addr, "POST", &self.target(), "", body).await
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = timeout(LONG, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come"));
}
