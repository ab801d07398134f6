//! The hub's own figures, as the room `system:main` tells them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Timestamp;

/// How the hub itself fares, over the time since the figures before.
///
/// Rates are means over [`System::interval`]. What cannot be told is `None` and absent from the
/// JSON, never 0: a rate whose counter went back, the mean size of no messages, what the operating
/// system does not give.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// When the figures were read.
    pub sampled_at: Timestamp,
    /// Sockets that are connected, in all namespaces.
    pub total_connections: u64,
    /// The same by namespace.
    pub connections_by_namespace: BTreeMap<String, u64>,
    /// Messages per second; a broadcast counts once per recipient.
    pub messages_per_second: InOut,
    /// Mean size of a message, bytes: JSON from clients, complete frames to clients.
    pub average_message_size: InOut,
    /// Errors of clients and of connections per second, of all types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// The same by type; every type that ever occurred.
    pub errors: BTreeMap<String, Tally>,
    /// The busiest events, busiest first.
    pub top_events: Vec<EventRate>,
    /// Who is connected, and to what.
    pub client_distribution: ClientDistribution,
    /// Sessions that ended, by reason; every reason that ever occurred.
    pub closed: BTreeMap<String, Tally>,
    /// How long after its publish a message to a room was written.
    pub delivery: Delivery,
    /// Bytes that wait for slow clients now.
    pub backlog_bytes: u64,
    /// Frames per second that a newer one replaced before a slow client took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflated_per_second: Option<f64>,
    /// Frames per second dropped because too much waited for a slow client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_per_second: Option<f64>,
    /// What the hub takes of its machine.
    pub process: ProcessUse,
    /// Seconds since the hub started.
    pub uptime: f64,
    /// Seconds that the rates are means of.
    pub interval: f64,
    /// The version that runs.
    pub version: String,
}

/// A figure for each direction, seen from the hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct InOut {
    /// From clients.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub received: Option<f64>,
    /// To clients.
    #[serde(rename = "out", skip_serializing_if = "Option::is_none")]
    pub sent: Option<f64>,
}

/// How often something happens, and has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Times per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Times since the hub started.
    pub total: u64,
}

/// Which way a message goes, seen from the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From a client.
    In,
    /// To a client.
    Out,
}

/// How often an event is sent or received.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRate {
    /// Its name; events of clients that the hub does not know are together `other`.
    pub event: String,
    /// Which way it goes.
    pub direction: Direction,
    /// Messages per second; a broadcast counts once per recipient.
    pub per_second: f64,
}

/// Clients, counted by what tells them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientDistribution {
    /// Sessions, signed in or not, by transport: `polling` and `websocket`.
    pub by_transport: BTreeMap<String, u64>,
    /// Subscriptions by the room's type.
    pub by_room_type: BTreeMap<String, u64>,
}

/// Percentiles of the delivery of messages to rooms, seconds from the publish to the write; read
/// from a histogram, so exact to its buckets. Absent where nothing was delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// Half of the deliveries took at most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 99 of 100 took at most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

/// What a process takes of its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUse {
    /// Processor time, percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Resident memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Open file descriptors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// The most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files_limit: Option<u64>,
    /// Threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
}
