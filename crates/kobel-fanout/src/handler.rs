//! What the application does.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
};
use serde_json::{Value, value::RawValue};

use crate::{AckId, SocketId, shard::Context, shard::Verdict};

/// A Socket.IO application. Runs on the shards' threads: nothing in it may block.
pub trait Handler: Send + Sync + 'static {
    /// A client wants to join a namespace. Decide now or later, from any task; a request that is
    /// dropped is refused.
    fn connect(&self, request: ConnectRequest);

    /// An event of a connected socket.
    fn event(&self, cx: &mut Context<'_>, event: Event);

    /// A socket is gone. Called once for each [`ConnectRequest::accept`], after the socket's last
    /// event, also where the client had left before it was accepted.
    fn disconnect(&self, socket: SocketId, namespace: &str, reason: DisconnectReason);
}

/// An application on bare Engine.IO, without Socket.IO above it.
pub trait EngineHandler: Send + Sync + 'static {
    /// A message of a client.
    fn message(&self, cx: &mut Context<'_>, message: Payload);
}

/// An Engine.IO message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Bytes),
}

/// An event from a client.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments, as JSON that is known to be well-formed. An attachment stands as
    /// `{"_placeholder":true,"num":n}`.
    pub args: Vec<Box<RawValue>>,
    /// The attachments.
    pub attachments: Vec<Bytes>,
    /// Present when the client wants an answer.
    pub ack: Option<AckId>,
}

/// A client's answer to a question of the server.
#[derive(Debug)]
pub struct Answer {
    /// Its arguments, as JSON that is known to be well-formed. An attachment stands as
    /// `{"_placeholder":true,"num":n}`.
    pub args: Vec<Box<RawValue>>,
    /// The attachments.
    pub attachments: Vec<Bytes>,
}

/// The HTTP request that opened a session.
#[derive(Debug)]
pub struct Handshake {
    /// Its headers, but those about the connection itself (`Connection`, `Upgrade`,
    /// `Sec-WebSocket-…`).
    pub headers: HeaderMap,
    /// Who sent it.
    pub remote: SocketAddr,
    /// The query string.
    pub query: String,
}

/// A handshake as it is kept for the namespaces that are joined later. A header map holds the
/// whole buffer that the request was read into, and tables beside: some 10 KB. This is one piece
/// of memory as long as the text.
pub(crate) struct KeptHandshake {
    remote: SocketAddr,
    /// The query, then a line for each header.
    text: Box<[u8]>,
}

impl KeptHandshake {
    pub(crate) fn new(headers: &HeaderMap, remote: SocketAddr, query: &str) -> Self {
        let mut text = Vec::with_capacity(512);
        // Neither a query nor a header has a line's end in it.
        text.extend_from_slice(query.as_bytes());
        let kept = headers.iter().filter(|(name, _)| {
            **name != header::CONNECTION
                && **name != header::UPGRADE
                && !name.as_str().starts_with("sec-websocket-")
        });
        for (name, value) in kept {
            text.push(b'\n');
            text.extend_from_slice(name.as_ref());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        Self { remote, text: text.into() }
    }

    pub(crate) fn open(&self) -> Handshake {
        let mut lines = self.text.split(|byte| *byte == b'\n');
        let query = lines.next().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..at], &line[at + 1..]);
            // They were a name and a value before.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                // Not inserted: a header may stand more than once.
                headers.append(name, value);
            }
        }
        let query = String::from_utf8_lossy(query).into_owned();
        Handshake { headers, remote: self.remote, query }
    }
}

/// A client that wants to join a namespace.
pub struct ConnectRequest {
    pub(crate) socket: SocketId,
    pub(crate) namespace: Arc<str>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) auth: Option<Box<RawValue>>,
    pub(crate) verdict: Option<Verdict>,
}

impl ConnectRequest {
    /// The socket that it will be.
    pub fn socket(&self) -> SocketId {
        self.socket
    }

    /// The namespace asked for.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The HTTP request that opened the session.
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.handshake
    }

    /// The `auth` object of the CONNECT packet.
    pub fn auth(&self) -> Option<&RawValue> {
        self.auth.as_deref()
    }

    /// Lets it in.
    pub fn accept(mut self) {
        if let Some(verdict) = self.verdict.take() {
            verdict.give(Ok(()));
        }
    }

    /// Refuses it.
    pub fn reject(mut self, error: ConnectError) {
        if let Some(verdict) = self.verdict.take() {
            verdict.give(Err(error));
        }
    }
}

impl Drop for ConnectRequest {
    fn drop(&mut self) {
        if let Some(verdict) = self.verdict.take() {
            verdict.give(Err(ConnectError::new("the request was not answered")));
        }
    }
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither headers nor `auth`: they hold secrets.
        f.debug_struct("ConnectRequest")
            .field("socket", &self.socket)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Why a client may not join a namespace; goes to the client as CONNECT_ERROR.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ConnectError {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl ConnectError {
    /// With this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// The same with data for programs.
    #[must_use]
    pub fn with_data(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// Why a socket is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client left the namespace or closed the session.
    Client,
    /// The connection broke.
    Transport,
    /// No answer to a ping.
    PingTimeout,
    /// The client broke a protocol.
    Protocol,
    /// A message larger than allowed.
    TooLarge,
    /// Two polling requests at once.
    Overlap,
    /// No namespace was joined in time.
    ConnectTimeout,
    /// More waited for the client than may.
    Backlog,
    /// What waited for the client stood still for too long.
    Stalled,
    /// More waited for all clients together than may, and this one was the slowest.
    Memory,
    /// The application ended it.
    Server,
    /// The server shuts down.
    Shutdown,
}

impl DisconnectReason {
    /// The reason as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Transport => "transport",
            Self::PingTimeout => "ping_timeout",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Overlap => "overlap",
            Self::ConnectTimeout => "connect_timeout",
            Self::Backlog => "backlog",
            Self::Stalled => "stalled",
            Self::Memory => "memory",
            Self::Server => "server",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether something went wrong: counts as an error.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Client | Self::Transport | Self::Server | Self::Shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_handshake_is_what_it_was() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "hub:8000"),
            ("cookie", "a=1; b=2"),
            ("cookie", "c=3"),
            ("x-empty", ""),
            ("x-colon", "a:b"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-bytes", HeaderValue::from_bytes(b"caf\xc3\xa9\xff").unwrap());
        let mut all = headers.clone();
        for name in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
            all.append(name, HeaderValue::from_static("x"));
        }
        let remote = SocketAddr::from(([127, 0, 0, 1], 80));
        let kept = KeptHandshake::new(&all, remote, "EIO=4&x=%0a").open();
        assert_eq!(kept.headers, headers);
        assert_eq!((kept.remote, kept.query.as_str()), (remote, "EIO=4&x=%0a"));
        assert!(KeptHandshake::new(&HeaderMap::new(), remote, "").open().headers.is_empty());
    }
}
