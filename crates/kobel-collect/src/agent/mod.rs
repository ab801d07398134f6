//! The agent link: an agent dials the hub and reports on its devices, as `proto/kobel/v1/agent.proto`
//! says.
//!
//! The agent's side: [`Client`] knows the protocol, [`Outbox`] what waits to be sent, [`Dialer`] is
//! the task with the socket. A [`Feed`] stands behind it: what reads (or invents) the devices;
//! [`Machine`] is that of `kobel agent`.
//!
//! The hub's side: `session` knows the protocol, `registry` which link speaks for which device and
//! how far each run has come, [`AgentLinks`] runs the tasks.
//!
//! Before the first link an agent may exchange an enrollment token for a key of its own: `enroll`, one
//! HTTP request.
//!
//! Both sides' rules take messages and times and give messages; start reading there.

mod admit;
mod client;
mod clock;
mod convert;
mod dial;
mod enroll;
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod links;
mod logs;
mod machine;
mod outbox;
mod registry;
mod session;
mod stats;
mod tls;

#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, time::Duration};

use kobel_wire::{Engine, Facts};

pub use client::{Client, Event, Hello, LogEvent};
pub use dial::{DialError, Dialer, Feed, Hub, HubUrlError, Progress, TrustWithoutTls};
pub use enroll::{
    AgentSecret, ENROLL_PATH, EnrollError, Enrolling, EnrollmentAnswer, EnrollmentRequest, enroll,
};
pub use links::{AgentLinks, Socket};
pub use logs::LogRelay;
pub use machine::Machine;
pub use outbox::Outbox;
pub use stats::{AgentSnapshot, RefusedReason};
pub use tls::{Fingerprint, FingerprintError, Trust, TrustError};

/// Where a hub takes agents in.
pub const PATH: &str = "/api/v1/agent";

/// The WebSocket subprotocol (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "kobel-agent.v1";

/// The versions of the protocol that this side speaks.
pub const VERSIONS: RangeInclusive<u32> = 1..=1;

/// The most bytes of a message.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The most devices of a link; both sides' indexes are below it.
pub const MAX_DEVICES: u32 = 100_000;

/// How often each side pings the other.
pub const PING: Duration = Duration::from_secs(15);

/// After how long without a word the other side is taken for dead.
pub const DEAD: Duration = Duration::from_secs(45);

/// How long one message may take to be written.
const STALL: Duration = Duration::from_secs(30);

/// A device that an agent speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the agent knows it by, for ever; 1 to 128 characters.
    pub key: String,
    /// What to call it where the hub does not know it yet.
    pub name: String,
    /// Words to put on it where the hub does not know it yet.
    pub tags: Vec<String>,
    /// What the host says of itself.
    pub facts: Facts,
    /// Its container engine.
    pub engine: Engine,
}
