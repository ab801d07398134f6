//! Who gets what: viewers of one room with equal options and equal access form a group, and a
//! group is a room of the fan-out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kobel_fanout::Room;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    batch::{Batch, FLUSH_AFTER},
    stream::Stream,
};
use crate::{access::Access, request::Options, room::RoomName};

/// A sample may come this much early and still count as due: sources tick on their own clock.
const EARLY: Duration = Duration::from_millis(300);

/// Names an access; equal accesses have equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AccessKey(u32);

/// What a viewer asked for that changes what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) batch: bool,
    /// At most one sample in so many seconds.
    pub(crate) rate: Option<u8>,
}

impl Shape {
    pub(crate) fn of(room: &RoomName, options: &Options) -> Self {
        Self { batch: options.batch || *room == RoomName::Dashboard, rate: options.rate }
    }
}

/// Viewers of one room with equal shape and access.
pub(crate) struct Group {
    pub(crate) key: AccessKey,
    pub(crate) access: Arc<Access>,
    pub(crate) shape: Shape,
    pub(crate) room: Room,
    pub(crate) members: u32,
    pub(crate) waiting: Batch,
    /// When what waits must go; `None` while nothing waits.
    pub(crate) due: Option<Instant>,
    /// Where the stream of this group stands: in a room of single events the room's own, in the
    /// dashboard the group's own, counted in batches.
    pub(crate) stream: Stream,
    sampled: Option<Instant>,
    flushed: Option<Instant>,
}

impl Group {
    /// Adds an update to the batch and sets when it is due.
    pub(crate) fn push(&mut self, key: u64, update: Arc<RawValue>, now: Instant) {
        let full = self.waiting.push(key, update);
        // A dashboard with a rate gathers for that long, the newest per device, however many.
        if full && self.shape.rate.is_none() {
            self.due = Some(now);
        }
        self.due.get_or_insert_with(|| {
            let flushed = self.shape.rate.zip(self.flushed);
            let paced = flushed.map(|(rate, at)| at + Duration::from_secs(rate.into()) - EARLY);
            paced.map_or(now + FLUSH_AFTER, |at| at.max(now + FLUSH_AFTER))
        });
    }

    /// Takes what waits.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Arc<RawValue>> {
        self.due = None;
        self.flushed = Some(now);
        self.waiting.take()
    }

    /// Whether a sample is due; if so, it counts as sent.
    pub(crate) fn sample_due(&mut self, now: Instant) -> bool {
        let Some(rate) = self.shape.rate else {
            return true;
        };
        let rate = Duration::from_secs(rate.into());
        let due = self.sampled.is_none_or(|at| now.saturating_duration_since(at) + EARLY >= rate);
        if due {
            self.sampled = Some(now);
        }
        due
    }
}

/// All groups of all rooms.
#[derive(Default)]
pub(crate) struct Groups {
    rooms: HashMap<RoomName, Vec<Group>>,
    /// Accesses in use, with their key and how many viewers have them.
    accesses: HashMap<Arc<Access>, (AccessKey, usize)>,
    next_access: u32,
}

impl Groups {
    /// The key of an access; to be given back by [`Groups::release`].
    pub(crate) fn intern(&mut self, access: &Arc<Access>) -> AccessKey {
        let next = &mut self.next_access;
        let (key, users) = self.accesses.entry(Arc::clone(access)).or_insert_with(|| {
            *next += 1;
            (AccessKey(*next), 0)
        });
        *users += 1;
        *key
    }

    /// One viewer fewer has this access.
    pub(crate) fn release(&mut self, access: &Arc<Access>) {
        if let Some((_, users)) = self.accesses.get_mut(access) {
            *users -= 1;
            if *users == 0 {
                self.accesses.remove(access);
            }
        }
    }

    /// The groups of a room.
    pub(crate) fn of(&mut self, room: &RoomName) -> &mut [Group] {
        self.rooms.get_mut(room).map_or(&mut [], Vec::as_mut_slice)
    }

    /// Every group, with the name of its room.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = (&RoomName, &mut Group)> {
        self.rooms.iter_mut().flat_map(|(room, groups)| groups.iter_mut().map(move |g| (room, g)))
    }

    /// Counts one more member in, into a new group with this stream where there is none yet.
    pub(crate) fn enter(
        &mut self,
        room: &RoomName,
        access: &Arc<Access>,
        key: AccessKey,
        shape: Shape,
        stream: impl FnOnce() -> Stream,
    ) -> &mut Group {
        let groups = self.rooms.entry(room.clone()).or_default();
        if let Some(place) = groups.iter().position(|g| g.key == key && g.shape == shape) {
            groups[place].members += 1;
            return &mut groups[place];
        }
        let batch = if shape.batch { "batch" } else { "json" };
        let rate = shape.rate.unwrap_or(0);
        let name = Room::from(format!("{room}|{batch}|{rate}|{}", key.0));
        let stream = stream();
        groups.push(Group {
            key,
            access: Arc::clone(access),
            shape,
            room: name,
            members: 1,
            waiting: Batch::default(),
            due: None,
            stream,
            sampled: None,
            flushed: None,
        });
        let last = groups.len() - 1;
        &mut groups[last]
    }

    /// Counts one member out; gives the room of the fan-out to leave.
    pub(crate) fn exit(&mut self, room: &RoomName, key: AccessKey, shape: Shape) -> Option<Room> {
        let groups = self.rooms.get_mut(room)?;
        let place = groups.iter().position(|g| g.key == key && g.shape == shape)?;
        let group = &mut groups[place];
        group.members -= 1;
        let name = group.room.clone();
        if group.members == 0 {
            groups.swap_remove(place);
            if groups.is_empty() {
                self.rooms.remove(room);
            }
        }
        Some(name)
    }
}
