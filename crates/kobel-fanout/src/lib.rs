//! An Engine.IO v4 and Socket.IO v5 server made for fan-out: one event to very many sockets, at
//! the cost of little more than the system calls.
//!
//! * [`Server::start`] spawns the shards: one single-threaded loop each, with its own connections
//!   and room tables and no locks on the delivery path.
//! * [`Server::handle`] answers the HTTP requests under the server's path, from any hyper or axum
//!   service; [`serve`] is a ready accept loop with limits.
//! * [`Handler`] is what the application does with connects and events; it runs on the shards.
//! * [`Frame`] is a message that is encoded once for all of its recipients; [`Server::publish`]
//!   sends it to a [`Room`].
//!
//! Start reading at [`Handler`] and [`Frame`]; then `shard` for how delivery works. The protocols
//! themselves are without I/O: [`engineio`], [`socketio`], [`websocket`].

mod config;
mod frame;
mod handler;
mod http;
mod ids;
mod metrics;
mod server;
mod shard;

pub mod engineio;
pub mod socketio;
pub mod websocket;

pub use config::{Config, Cors, Limits};
pub use frame::{Frame, FrameError, Policy};
pub use handler::{
    Answer, ConnectError, ConnectRequest, DisconnectReason, EngineHandler, Event, Handler,
    Handshake, Payload,
};
pub use http::{Admission, Body, ServeLimits, serve};
pub use ids::{AckId, Room, SocketId};
pub use metrics::{Histogram, Snapshot};
pub use server::{AskError, Server};
pub use shard::Context;
