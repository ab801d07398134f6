//! The room `system:main`: the hub's own figures, kept whether or not somebody looks.

use std::sync::Arc;

use kobel_wire::{
    Timestamp,
    system::{System, Tally},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{Live, Subject, delivery::Event, history::History, stream::Stream};
use crate::room::RoomName;

pub(crate) const SYSTEM_SERIES: [&str; 14] = [
    "connections",
    "messagesIn",
    "messagesOut",
    "sizeIn",
    "sizeOut",
    "errors",
    "closed",
    "deliveryP50",
    "deliveryP99",
    "conflated",
    "dropped",
    "backlog",
    "cpu",
    "memory",
];

/// The hub as it sees itself.
pub(crate) struct OwnFigures {
    pub(super) stream: Stream,
    newest: Option<System>,
    recent: History<14>,
}

/// What a viewer gets first.
#[derive(Serialize)]
pub(super) struct SystemData<'a> {
    system: Option<&'a System>,
    recent: &'a History<14>,
}

impl OwnFigures {
    pub(crate) fn new(epoch: &Arc<str>) -> Self {
        Self { stream: Stream::new(epoch), newest: None, recent: History::new(&SYSTEM_SERIES) }
    }

    pub(super) fn data(&self) -> SystemData<'_> {
        SystemData { system: self.newest.as_ref(), recent: &self.recent }
    }
}

impl Live {
    /// Takes in the hub's own figures; the newest replace those before.
    pub fn system(&mut self, system: System, now: Instant, wall: Timestamp) {
        let own = &mut self.own;
        own.recent.push(system.sampled_at.as_millis(), point(&system));
        own.newest = Some(system);
        self.system_event(now, wall);
        self.flush(now, wall);
    }

    pub(super) fn system_event(&mut self, now: Instant, wall: Timestamp) {
        let own = &mut self.own;
        let Some(newest) = &own.newest else { return };
        own.stream.next();
        let event = Event {
            room: &RoomName::System,
            subject: Subject::System,
            stream: &own.stream,
            name: "system",
            id: "system",
            data: newest,
            key: 0,
            paced: true,
            sample: None,
        };
        self.delivery.tell(&event, now, wall);
    }
}

/// The figures that are drawn, in the order of [`SYSTEM_SERIES`].
fn point(system: &System) -> [Option<f64>; SYSTEM_SERIES.len()] {
    let closed: Option<Vec<f64>> =
        system.closed.values().map(|Tally { per_second, .. }| *per_second).collect();
    [
        Some(system.total_connections as f64),
        system.messages_per_second.received,
        system.messages_per_second.sent,
        system.average_message_size.received,
        system.average_message_size.sent,
        system.error_rate,
        closed.map(|rates| rates.iter().sum()),
        system.delivery.p50,
        system.delivery.p99,
        system.conflated_per_second,
        system.dropped_per_second,
        Some(system.backlog_bytes as f64),
        system.process.cpu,
        system.process.memory_bytes.map(|bytes| bytes as f64),
    ]
}
