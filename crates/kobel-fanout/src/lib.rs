#![doc = include_str!("../README.md")]
//!
//! ## Where to start reading
//!
//! * [`Server::start`] spawns the shards.
//! * [`Server::handle`] answers the HTTP requests under the server's path, from any hyper or axum
//!   service; [`serve`] is a ready accept loop with limits, [`serve_with`] one for TLS and behind
//!   proxies.
//! * [`Handler`] is what the application does with connects and events; it runs on the shards.
//! * [`Frame`] is a message that is encoded once; [`Server::publish`] sends it to a [`Room`].
//! * `shard` is how delivery works. The protocols themselves are without I/O: [`engineio`],
//!   [`socketio`], [`websocket`].

#![forbid(unsafe_code)]

mod config;
mod frame;
mod handler;
mod http;
mod ids;
mod loss;
mod metrics;
mod node;
mod server;
mod shard;

pub mod engineio;
pub mod socketio;
pub mod websocket;

pub use config::{Config, Cors, Gathering, Limits};
pub use frame::{Frame, FrameError, Policy};
pub use handler::{
    Answer, ConnectError, ConnectRequest, DisconnectReason, EngineHandler, Event, Handler,
    Handshake, Payload,
};
pub use http::{
    Accept, Admission, Body, Client, Listen, Network, NetworkError, Plain, Proxies, Refusal,
    ServeLimits, Vouch, serve, serve_with, sid_of,
};
pub use ids::{AckId, Room, SocketId};
pub use loss::{Loss, Stretch};
pub use metrics::{Histogram, Latency, Snapshot};
pub use node::{NodeTag, NodeTagError};
pub use server::{AskError, Server};
pub use shard::Context;
