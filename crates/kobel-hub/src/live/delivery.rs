//! From one event to the groups that get it: encoded once per shape, asked for permission once per
//! group.

use std::sync::Arc;

use kobel_fanout::{Frame, Policy as FramePolicy};
use kobel_wire::{
    DeviceUuid, Timestamp,
    event::{Batch, Envelope},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    Command, LiveStats, Policy, Subject,
    groups::{Group, Groups},
    ring::Kept,
    stream::Stream,
};
use crate::room::RoomName;

/// The Socket.IO namespace of everything here.
pub(crate) const NAMESPACE: &str = "/";

/// What stands between the fleet's changes and the fan-out.
pub(crate) struct Delivery {
    pub(crate) groups: Groups,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) out: Vec<Command>,
    pub(crate) stats: LiveStats,
    /// When the first batch is due.
    pub(crate) flush_at: Option<Instant>,
}

/// An event of a room: what happened, where, and how it is told.
pub(crate) struct Event<'a, T> {
    pub(crate) room: &'a RoomName,
    /// What it is about; permission is asked for this.
    pub(crate) subject: Subject,
    /// The room's position with this event counted.
    pub(crate) stream: &'a Stream,
    pub(crate) name: &'static str,
    /// Names what the event is about, inside a batch.
    pub(crate) id: &'a str,
    pub(crate) data: &'a T,
    /// A later event of the same key replaces this one where it still waits.
    pub(crate) key: u64,
    /// Whether a viewer's `rate` applies.
    pub(crate) paced: bool,
}

/// An update inside a batch of a room of single events.
#[derive(Serialize)]
pub(crate) struct Update<'a, T> {
    pub(crate) id: &'a str,
    pub(crate) event: &'a str,
    pub(crate) data: &'a T,
    pub(crate) seq: u64,
}

impl Delivery {
    /// Tells an event to every group of its room that may see it.
    pub(crate) fn tell<T: Serialize>(
        &mut self,
        event: &Event<'_, T>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.stats.events += 1;
        let mut frame: Option<Arc<Frame>> = None;
        let mut update: Option<Arc<RawValue>> = None;
        for group in self.groups.of(event.room) {
            group.stream.clone_from(event.stream);
            if !self.policy.may_see(&group.access, event.subject) {
                self.stats.denied += 1;
                continue;
            }
            if event.paced && !group.sample_due(now) {
                continue;
            }
            if group.shape.batch {
                if update.is_none() {
                    update = event.update();
                }
                let Some(update) = &update else { return };
                group.push(event.key, Arc::clone(update), now);
                self.flush_at = earliest(self.flush_at, group.due);
            } else {
                if frame.is_none() {
                    frame = event.frame(wall);
                }
                let Some(frame) = &frame else { return };
                let (room, frame) = (group.room.clone(), Arc::clone(frame));
                self.out.push(Command::Publish { room, frame });
            }
        }
        self.flush_due(now, wall);
    }

    /// Adds a device's entry to the batch of every dashboard that may see it.
    pub(crate) fn entry<T: Serialize>(
        &mut self,
        device: DeviceUuid,
        key: u64,
        entry: impl Fn() -> T,
        now: Instant,
        wall: Timestamp,
    ) {
        let mut encoded: Option<Arc<RawValue>> = None;
        for group in self.groups.of(&RoomName::Dashboard) {
            if !self.policy.may_see(&group.access, Subject::Device(device)) {
                self.stats.denied += 1;
                continue;
            }
            if encoded.is_none() {
                encoded = raw(&entry());
            }
            let Some(encoded) = &encoded else { return };
            group.push(key, Arc::clone(encoded), now);
            self.flush_at = earliest(self.flush_at, group.due);
        }
        self.flush_due(now, wall);
    }

    /// Sends the batches that are due.
    pub(crate) fn flush_due(&mut self, now: Instant, wall: Timestamp) {
        if self.flush_at.is_none_or(|at| at > now) {
            return;
        }
        self.flush_at = None;
        for (room, group) in self.groups.all() {
            if group.due.is_some_and(|due| due <= now) {
                self.out.extend(flush(room, group, now, wall));
            }
            self.flush_at = earliest(self.flush_at, group.due);
        }
    }
}

/// Takes what waits in a group and makes the message of it.
pub(crate) fn flush(
    room: &RoomName,
    group: &mut Group,
    now: Instant,
    wall: Timestamp,
) -> Option<Command> {
    if group.waiting.is_empty() {
        return None;
    }
    let updates = group.take(now);
    if *room == RoomName::Dashboard {
        group.stream.next();
    }
    let batch = Batch {
        room: &room.to_string(),
        count: updates.len(),
        updates: &updates,
        timestamp: wall.as_millis(),
        epoch: &group.stream.epoch,
        seq: group.stream.seq,
    };
    let frame = logged(Frame::event(NAMESPACE, "batchUpdate", &batch, FramePolicy::Deliver))?;
    Some(Command::Publish { room: group.room.clone(), frame })
}

impl<T: Serialize> Event<'_, T> {
    fn frame(&self, wall: Timestamp) -> Option<Arc<Frame>> {
        let envelope = Envelope {
            room: &self.room.to_string(),
            event: self.name,
            data: self.data,
            timestamp: wall,
            epoch: &self.stream.epoch,
            seq: self.stream.seq,
        };
        logged(Frame::event(NAMESPACE, self.name, &envelope, FramePolicy::Conflate(self.key)))
    }

    /// The event for those who come back.
    pub(crate) fn kept(&self, wall: Timestamp) -> Option<Kept> {
        let (seq, name, id) = (self.stream.seq, self.name, self.id.into());
        Some(Kept { seq, name, id, data: raw(self.data)?, at: wall })
    }

    fn update(&self) -> Option<Arc<RawValue>> {
        raw(&Update { id: self.id, event: self.name, data: self.data, seq: self.stream.seq })
    }
}

/// Encodes a value that is known to be encodable: plain data with text keys.
pub(crate) fn raw<T: Serialize>(value: &T) -> Option<Arc<RawValue>> {
    logged(serde_json::value::to_raw_value(value)).map(Arc::from)
}

/// The value, or `None` and a line in the log: an event that cannot be encoded is a fault of ours
/// and must not stop the others.
pub(crate) fn logged<T, E: std::fmt::Display>(encoded: Result<T, E>) -> Option<T> {
    encoded.inspect_err(|error| tracing::error!(%error, "an event could not be encoded")).ok()
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
