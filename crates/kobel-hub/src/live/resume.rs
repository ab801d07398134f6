//! What a viewer missed that comes back with its position.
//!
//! Changes of state come from the room's [ring](super::ring), each of them. Of samples and of a
//! container's figures the newest replaces the rest, so these are made from the live state, under
//! the number that they had. All in the order of their numbers.

use std::sync::Arc;

use kobel_fanout::{Frame, Policy as FramePolicy};
use kobel_wire::{
    Timestamp,
    event::{Batch, Envelope, Seq, Stats},
};

use super::{
    Live,
    delivery::{NAMESPACE, Update, logged, raw},
    groups::Shape,
    ring::{Kept, Ring},
    stream::Stream,
};
use crate::{request::Since, room::RoomName};

impl Live {
    /// The events after `since`; `None` where that cannot be told any more.
    pub(super) fn missed(
        &self,
        room: &RoomName,
        stream: &Stream,
        since: &Since,
        wall: Timestamp,
    ) -> Option<Vec<Kept>> {
        if !stream.holds(since) {
            return None;
        }
        match room {
            RoomName::Device(uuid) => {
                let live = self.fleet.device(*uuid)?;
                let mut missed = Missed::of(&live.ring, since.seq)?;
                let state = live.device.state;
                let stats = live.sample.as_ref().map(|sample| Stats { sample, state });
                missed.newest(live.sample_seq, "stats", "stats", stats.as_ref(), wall);
                for (id, live) in &live.containers {
                    let container = Some(&live.container);
                    let seq = live.seq_in_device;
                    missed.newest(seq, "containerUpdate", id.as_str(), container, wall);
                }
                Some(missed.in_order())
            }
            RoomName::Container(id) => {
                let live = self.fleet.device_of(id)?.containers.get(id)?;
                let mut missed = Missed::of(&live.ring, since.seq)?;
                let container = Some(&live.container);
                missed.newest(live.status_seq, "statusChange", id.as_str(), container, wall);
                let volume = live.volume.as_ref();
                missed.newest(live.volume_seq, "logVolume", "logVolume", volume, wall);
                Some(missed.in_order())
            }
            // Lines that were missed in a merged view are in its history.
            RoomName::Logs(_) => None,
            // What a dashboard's batches held is not kept.
            // Of the hub's own figures the charts need every second, which the state has.
            // The fleet's newest values follow in any case.
            RoomName::Dashboard | RoomName::Fleet | RoomName::System => {
                (since.seq == stream.seq).then(Vec::new)
            }
        }
    }
}

struct Missed {
    events: Vec<Kept>,
    since: Seq,
}

impl Missed {
    fn of(ring: &Ring, since: Seq) -> Option<Self> {
        Some(Self { events: ring.after(since)?.cloned().collect(), since })
    }

    /// Adds the newest of something, unless it is old or among the events already.
    fn newest<T: serde::Serialize>(
        &mut self,
        seq: Seq,
        name: &'static str,
        id: &str,
        data: Option<&T>,
        at: Timestamp,
    ) {
        if seq <= self.since || self.events.iter().any(|event| event.seq == seq) {
            return;
        }
        if let Some(data) = data.and_then(raw) {
            self.events.push(Kept { seq, name, id: id.into(), data, at });
        }
    }

    fn in_order(mut self) -> Vec<Kept> {
        self.events.sort_by_key(|event| event.seq);
        self.events
    }
}

/// The messages that tell a viewer what it missed.
pub(super) fn frames(
    room: &RoomName,
    stream: &Stream,
    shape: Shape,
    missed: &[Kept],
    wall: Timestamp,
) -> Vec<Arc<Frame>> {
    let room = room.to_string();
    if !shape.batch {
        let envelope = |event: &Kept| {
            let envelope = Envelope {
                room: &room,
                event: event.name,
                data: &event.data,
                timestamp: event.at,
                epoch: &stream.epoch,
                seq: event.seq,
            };
            logged(Frame::event(NAMESPACE, event.name, &envelope, FramePolicy::Deliver))
        };
        return missed.iter().filter_map(envelope).collect();
    }
    if missed.is_empty() {
        return Vec::new();
    }
    let updates: Vec<_> = missed
        .iter()
        .map(|event| Update { id: &event.id, event: event.name, data: &event.data, seq: event.seq })
        .collect();
    let batch = Batch {
        room: &room,
        count: updates.len(),
        updates: &updates,
        timestamp: wall.as_millis(),
        epoch: &stream.epoch,
        seq: stream.seq,
    };
    let frame = Frame::event(NAMESPACE, "batchUpdate", &batch, FramePolicy::Deliver);
    logged(frame).into_iter().collect()
}
