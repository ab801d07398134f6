//! What the workers are told and what they report. Plain data: it crosses a channel, or a pipe as
//! lines of JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{client::Subscriptions, worker::tally::Tally};

/// How the packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A WebSocket from the first byte on, as `transports: ["websocket"]`.
    Websocket,
    /// HTTP long-polling without an upgrade, as `transports: ["polling"]`. Costs two sockets a
    /// connection.
    Polling,
}

/// What a worker needs to know once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) resource: String,
    pub(crate) headers: String,
    pub(crate) connect: String,
    pub(crate) transport: Transport,
    pub(crate) subscriptions: Subscriptions,
    /// The key of the publisher's stamp; `None`: Kobel's envelope.
    pub(crate) stamp: Option<String>,
    pub(crate) connect_timeout_ms: u64,
    /// The number of this worker, from 0, and how many there are: it has the connections whose
    /// numbers leave this rest.
    pub(crate) worker: u32,
    pub(crate) workers: u32,
    /// Connections from one source address before the next is used; 0: the system chooses.
    pub(crate) per_source: u32,
}

impl Plan {
    /// How many of these connections are this worker's.
    pub(crate) fn share(&self, connections: u32) -> u32 {
        (connections + self.workers - 1 - self.worker) / self.workers
    }
}

/// A part of a run, for all workers together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) connections: u32,
    /// Connections opened a second; 0: at once.
    pub(crate) connect_rate: f64,
    /// Percent of the connections that do not read.
    pub(crate) slow: f64,
    /// Connections a second that are closed and opened again.
    pub(crate) churn: f64,
}

/// What a worker is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Open or close connections until there are as many as the phase has; answered by `Ready`.
    Open(Phase),
    /// Count from now on, and churn.
    Measure,
    /// Cut all connections but the witnesses', and connect again; answered by `Back`.
    Cut,
    /// Count no more; answered by `Counted`.
    Stop,
    /// Close everything and end.
    End,
}

/// What a worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// Twice a second.
    Progress { live: u32, messages: u64, p99: u64 },
    /// All connections are there or given up; what was counted since `Open`.
    Ready(Box<Tally>),
    /// All that were cut are back or given up.
    Back,
    /// What was counted since `Measure`.
    Counted(Box<Tally>),
    /// The worker cannot go on.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_somebodys() {
        for workers in 1..5 {
            for connections in [0, 1, 2, 7, 100, 101] {
                let mut plan = Plan {
                    address: ([127, 0, 0, 1], 1).into(),
                    resource: String::new(),
                    headers: String::new(),
                    connect: String::new(),
                    transport: Transport::Websocket,
                    subscriptions: Subscriptions::default(),
                    stamp: None,
                    connect_timeout_ms: 1,
                    worker: 0,
                    workers,
                    per_source: 0,
                };
                let shares = (0..workers).map(|worker| {
                    plan.worker = worker;
                    plan.share(connections)
                });
                assert_eq!(shares.sum::<u32>(), connections);
            }
        }
    }
}
