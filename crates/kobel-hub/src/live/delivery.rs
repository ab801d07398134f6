//! From one event to the groups that get it: encoded once per shape, asked for permission once per
//! group.

use std::sync::Arc;

use kobel_fanout::{Frame, Policy as FramePolicy};
use kobel_wire::{
    DeviceUuid, Sample, Timestamp,
    event::{Batch, Envelope},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    Command, LiveStats, Policy, Subject, binary,
    groups::{Group, Groups},
    pace::{Form, Held},
    ring::Kept,
    stream::Stream,
};
use crate::{request::Format, room::RoomName};

/// The Socket.IO namespace of everything here.
pub(crate) const NAMESPACE: &str = "/";

/// What stands between the fleet's changes and the fan-out.
pub(crate) struct Delivery {
    pub(crate) groups: Groups,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) out: Vec<Command>,
    pub(crate) stats: LiveStats,
    /// When the first group is due to be told something.
    pub(crate) flush_at: Option<Instant>,
    /// When it must be worked out anew whose lines are in merged views.
    pub(crate) members_due: Option<Instant>,
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
    /// Whether a viewer's tier or `rate` applies.
    pub(crate) paced: bool,
    /// The sample, where the event is one: it can be encoded otherwise than as JSON.
    pub(crate) sample: Option<&'a Sample>,
}

/// What was encoded of an event already: once per format, however many groups.
#[derive(Default)]
struct Encoded {
    frames: [Option<Arc<Frame>>; Format::COUNT],
    update: Option<Arc<RawValue>>,
}

impl Encoded {
    fn frame<T: Serialize>(
        &mut self,
        event: &Event<'_, T>,
        format: Format,
        wall: Timestamp,
    ) -> Option<Arc<Frame>> {
        let slot = &mut self.frames[format.index()];
        if slot.is_none() {
            *slot = event.frame(format, wall);
        }
        slot.clone()
    }

    fn update<T: Serialize>(&mut self, event: &Event<'_, T>) -> Option<Arc<RawValue>> {
        if self.update.is_none() {
            self.update = event.update();
        }
        self.update.clone()
    }
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
    /// Tells an event to every group of its room that may see it; those that look seldom are told of
    /// what is paced in their time.
    pub(crate) fn tell<T: Serialize>(
        &mut self,
        event: &Event<'_, T>,
        now: Instant,
        wall: Timestamp,
    ) {
        let mut encoded = Encoded::default();
        let Self { groups, policy, out, stats, flush_at, .. } = self;
        stats.events += 1;
        for group in groups.of(event.room) {
            if !policy.may_see(&group.access, event.subject) {
                stats.denied += 1;
                continue;
            }
            let format = if event.sample.is_some() { group.shape.format } else { Format::Json };
            let told = if group.shape.batch {
                encoded.update(event).map(Form::Update)
            } else {
                encoded.frame(event, format, wall).map(Form::Frame)
            };
            let Some(form) = told else { return };
            let told = Held { key: event.key, seq: event.stream.seq, form };
            if group.shape.is_paced() {
                if event.paced && !group.pace.opens(group.shape.period(), now) {
                    group.pace.hold(told);
                    stats.samples_held += 1;
                    *flush_at = earliest(*flush_at, group.pace.due);
                    continue;
                }
                // What is held has lower numbers: it goes first, or who comes back after this would
                // seem to have it.
                group.pace.forget(event.key);
                out.extend(group.tell_held(event.room, now, wall));
            }
            group.stream.clone_from(event.stream);
            out.extend(group.told(event.room, told, now, wall));
            *flush_at = earliest(*flush_at, group.due);
        }
    }

    /// Tells every group what was held back for it and is due.
    pub(crate) fn flush_held(&mut self, now: Instant, wall: Timestamp) {
        for (room, group) in self.groups.all() {
            if group.pace.due.is_some_and(|due| due <= now) {
                let rate = group.shape.period();
                for held in group.pace.take_due(rate, now) {
                    self.out.extend(group.told(room, held, now, wall));
                }
            }
        }
    }

    /// Adds a device's entry to the batch of every dashboard that may see it.
    pub(crate) fn entry<T: Serialize>(
        &mut self,
        device: DeviceUuid,
        key: u64,
        entry: impl Fn() -> T,
        urgent: bool,
        now: Instant,
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
            group.push(key, Arc::clone(encoded), urgent, now);
            self.flush_at = earliest(self.flush_at, group.due);
        }
    }

    /// Sends the batches that are due. `boards` counts those of dashboards.
    pub(crate) fn flush_batches(&mut self, boards: &mut Stream, now: Instant, wall: Timestamp) {
        for (room, group) in self.groups.all() {
            if group.due.is_some_and(|due| due <= now) {
                self.out.extend(flush(room, group, Some(boards), now, wall));
            }
        }
    }

    /// Works out anew when the next group is due.
    pub(crate) fn reckon(&mut self) {
        self.flush_at = self.groups.all().fold(self.members_due, |first, (_, group)| {
            earliest(earliest(first, group.due), earliest(group.pace.due, group.fleet.due))
        });
    }
}

impl Group {
    /// What is to be sent so that the group knows what is held back for it.
    pub(crate) fn tell_held(
        &mut self,
        room: &RoomName,
        now: Instant,
        wall: Timestamp,
    ) -> Vec<Command> {
        let held = self.pace.take();
        held.into_iter().filter_map(|held| self.told(room, held, now, wall)).collect()
    }

    /// What is to be sent so that the group is told; `None` where it waits for others.
    fn told(
        &mut self,
        room: &RoomName,
        held: Held,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Command> {
        self.stream.seq = self.stream.seq.max(held.seq);
        match held.form {
            Form::Frame(frame) => Some(Command::Publish { room: self.room.clone(), frame }),
            Form::Update(update) => {
                // Its pace was kept already.
                self.push(held.key, update, true, now);
                let full = self.due.is_some_and(|due| due <= now);
                if full { flush(room, self, None, now, wall) } else { None }
            }
        }
    }
}

/// Takes what waits in a group and makes the message of it. `boards`: of a dashboard, the stream that
/// counts it.
pub(crate) fn flush(
    room: &RoomName,
    group: &mut Group,
    boards: Option<&mut Stream>,
    now: Instant,
    wall: Timestamp,
) -> Option<Command> {
    if group.waiting.is_empty() {
        return None;
    }
    let updates = group.take(now);
    if let (RoomName::Dashboard, Some(boards)) = (room, boards) {
        boards.next();
        group.stream.clone_from(boards);
    }
    let frame = batch(room, &group.stream, &updates, wall)?;
    Some(Command::Publish { room: group.room.clone(), frame })
}

/// What a group was not told yet, for one who leaves it; it goes on waiting for the others.
pub(crate) fn parting(
    room: &RoomName,
    group: &Group,
    boards: &mut Stream,
    wall: Timestamp,
) -> Vec<Arc<Frame>> {
    let mut frames = Vec::new();
    let mut updates = group.waiting.waiting().to_vec();
    let mut stream = group.stream.clone();
    for held in group.pace.held() {
        stream.seq = stream.seq.max(held.seq);
        match &held.form {
            Form::Frame(frame) => frames.push(Arc::clone(frame)),
            Form::Update(update) => updates.push(Arc::clone(update)),
        }
    }
    if !updates.is_empty() {
        if *room == RoomName::Dashboard {
            boards.next();
            stream.clone_from(boards);
        }
        frames.extend(batch(room, &stream, &updates, wall));
    }
    frames
}

fn batch<T: Serialize>(
    room: &RoomName,
    stream: &Stream,
    updates: &[T],
    wall: Timestamp,
) -> Option<Arc<Frame>> {
    let batch = Batch {
        room: &room.to_string(),
        count: updates.len(),
        updates,
        timestamp: wall.as_millis(),
        epoch: &stream.epoch,
        seq: stream.seq,
    };
    logged(Frame::event(NAMESPACE, "batchUpdate", &batch, FramePolicy::Deliver))
}

impl<T: Serialize> Event<'_, T> {
    fn frame(&self, format: Format, wall: Timestamp) -> Option<Arc<Frame>> {
        if let (Some(sample), true) = (self.sample, format != Format::Json) {
            let policy = FramePolicy::Conflate(self.key);
            let data = binary::sample(format, sample, wall);
            return binary::frame(self.room, self.stream, format, data, policy, wall);
        }
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

pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
