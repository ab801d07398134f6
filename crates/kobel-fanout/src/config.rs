//! How a server behaves.

use std::time::Duration;

use crate::NodeTag;

/// How a server behaves. Made by [`Config::default`] and changed field by field.
#[derive(Debug, Clone)]
pub struct Config {
    /// The path that the server answers under, with slashes around it. Default: `/socket.io/`.
    pub path: String,
    /// Names this server in the ids of its sessions, where it is one of several behind a balancer:
    /// who gets a request of another one's session then knows where it belongs. Default: none.
    pub node: Option<NodeTag>,
    /// How many shards, that is threads that own connections; at most 250. Default: one per core.
    pub shards: usize,
    /// How often the server pings a client. Default: 25 s, as Socket.IO's own server.
    pub ping_interval: Duration,
    /// How long the client may take to answer. Default: 60 s.
    pub ping_timeout: Duration,
    /// How long an upgrade to WebSocket may take. Default: 30 s.
    pub upgrade_timeout: Duration,
    /// How long a client may stay without a namespace. Default: 45 s.
    pub connect_timeout: Duration,
    /// The most bytes of a message, of a polling body and of all attachments of a packet, inbound.
    /// Default: 1,000,000.
    pub max_payload: usize,
    /// Published messages of at least so many bytes are deflated for clients that take
    /// permessage-deflate (RFC 7692), where that makes them smaller. `None`: it is not negotiated.
    /// Default: 1,024.
    pub deflate_from: Option<usize>,
    /// Whether frames of a room wait for each other, to go out in one system call.
    pub gathering: Gathering,
    /// Who may call from another origin.
    pub cors: Cors,
    /// What one client and all of them may take.
    pub limits: Limits,
    /// Client events that metrics count by name; others count as `other`, so that a client cannot
    /// grow the metrics. Default: none.
    pub known_events: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            node: None,
            shards: std::thread::available_parallelism().map_or(1, usize::from).min(250),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(60),
            upgrade_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            deflate_from: Some(1_024),
            gathering: Gathering::default(),
            cors: Cors::default(),
            limits: Limits::default(),
            known_events: Vec::new(),
        }
    }
}

/// Whether frames of a room wait for each other, for at most 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gathering {
    /// When a shard would otherwise spend half of its time or more on sending.
    #[default]
    Adaptive,
    /// Always: the most deliveries a second, each up to 20 ms late.
    Always,
    /// Never.
    Never,
}

/// Who may call by polling from another origin (the Fetch standard, "CORS protocol"). Listed
/// origins may send credentials, so there is no wildcard.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// Origins such as `https://status.example.com`. Default: none.
    pub origins: Vec<String>,
}

/// What one client and all of them may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions in all; over it, HTTP status 503. Default: 100,000.
    pub sessions: usize,
    /// Events and joins a second from one connection, with as many saved up; over it they are
    /// refused with `RATE_LIMITED`. Default: 100.
    pub events_per_second: u32,
    /// Namespaces that one connection may join, at most 255. Default: 8.
    pub namespaces: usize,
    /// Bytes that may wait for one client, 128 more for each message; over it the client is
    /// closed. Default: 1,000,000.
    pub backlog: usize,
    /// How long the body of a polling request may take; over it, HTTP status 408.
    /// Default: 30 s.
    pub body_timeout: Duration,
    /// Bytes that may wait for all clients together; over it those are closed first that have taken
    /// nothing for the longest time. Default: 256,000,000.
    pub backlog_total: usize,
    /// How long what waits for a client may stand still before the client is closed.
    /// Default: 30 s.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            events_per_second: 100,
            namespaces: 8,
            backlog: 1_000_000,
            backlog_total: 256_000_000,
            body_timeout: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}
