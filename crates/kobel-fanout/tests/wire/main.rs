//! The server on real sockets, by subject.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

mod deflate;
mod embedded;
mod heartbeat;
mod hostile;
mod listen;
mod namespaces;
mod nodes;
mod polling;
mod proxies;
mod rooms;
mod shutdown;
mod slow;
mod support;
mod upgrade;
mod websocket;
