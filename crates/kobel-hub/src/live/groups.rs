//! Who gets what: viewers of one room with equal options and equal access form a group, and a
//! group is a room of the fan-out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kobel_fanout::Room;
use kobel_wire::log::LogMembers;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    batch::{Batch, FLUSH_AFTER},
    fleet_frames::FleetFeed,
    pace::{EARLY, Pace},
    stream::Stream,
    tier::Tier,
};
use crate::{
    access::Access,
    request::{Format, Options},
    room::RoomName,
};

/// Names an access; equal accesses have equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AccessKey(u32);

impl AccessKey {
    /// As a number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// What a viewer asked for, or looks like, that changes what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    pub(crate) batch: bool,
    /// One sample in so many seconds; 1: each.
    pub(crate) rate: u8,
}

impl Shape {
    pub(crate) fn of(room: &RoomName, options: &Options, tier: Tier) -> Self {
        if matches!(room, RoomName::Logs(_)) {
            // Whose lines they are is told as it is, to everybody.
            return Self { format: Format::Json, batch: false, rate: 1 };
        }
        Self {
            format: options.format,
            batch: options.batch || *room == RoomName::Dashboard,
            rate: options.rate.unwrap_or(tier.rate()),
        }
    }

    /// The least time between two samples.
    pub(crate) fn period(self) -> Duration {
        Duration::from_secs(self.rate.into())
    }

    /// Whether samples are held back.
    pub(crate) fn is_paced(self) -> bool {
        self.rate > 1
    }
}

/// A group's place in the hub: its room, and what makes it one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) room: RoomName,
    pub(crate) key: AccessKey,
    pub(crate) shape: Shape,
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
    /// Where the group stands in the room's stream. On the dashboard and in the fleet's room: by the
    /// number of the last message made for it.
    pub(crate) stream: Stream,
    pub(crate) pace: Pace,
    /// In the fleet's room, what makes its frames.
    pub(crate) fleet: FleetFeed,
    /// In a room of merged logs, whose lines they are, as told last.
    pub(crate) whose: Option<LogMembers>,
    flushed: Option<Instant>,
}

impl Group {
    /// Adds an update to the batch and sets when it is due; what is urgent does not wait for the
    /// group's time.
    pub(crate) fn push(&mut self, key: u64, update: Arc<RawValue>, urgent: bool, now: Instant) {
        let full = self.waiting.push(key, update);
        let soon = now + FLUSH_AFTER;
        let due = if self.shape.is_paced() && !urgent {
            // It gathers for that long, the newest per device, however many.
            let paced = self.flushed.map(|at| at + self.shape.period() - EARLY);
            paced.map_or(soon, |at| at.max(soon))
        } else if full {
            now
        } else {
            soon
        };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Takes what waits.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Arc<RawValue>> {
        self.due = None;
        self.flushed = Some(now);
        self.waiting.take()
    }

    /// The place of this group in a room.
    pub(crate) fn place(&self, room: &RoomName) -> Place {
        Place { room: room.clone(), key: self.key, shape: self.shape }
    }
}

/// All groups of all rooms.
#[derive(Default)]
pub(crate) struct Groups {
    rooms: HashMap<RoomName, Vec<Group>>,
    /// Accesses in use, with their key and how many viewers have them.
    accesses: HashMap<Arc<Access>, (AccessKey, usize)>,
    next_access: u32,
    /// How many groups were made.
    made: u32,
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

    /// How often a room is looked at, at most; `None` where nobody does.
    pub(crate) fn fastest(&self, room: &RoomName) -> Option<u8> {
        self.rooms.get(room)?.iter().map(|group| group.shape.rate).min()
    }

    /// The group at a place.
    pub(crate) fn at(&mut self, place: &Place) -> Option<&mut Group> {
        let groups = self.rooms.get_mut(&place.room)?;
        groups.iter_mut().find(|g| g.key == place.key && g.shape == place.shape)
    }

    /// Every group, with the name of its room.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = (&RoomName, &mut Group)> {
        self.rooms.iter_mut().flat_map(|(room, groups)| groups.iter_mut().map(move |g| (room, g)))
    }

    /// Counts one more member in, into a new group with this stream where there is none yet.
    pub(crate) fn enter(
        &mut self,
        place: &Place,
        access: &Arc<Access>,
        stream: impl FnOnce() -> Stream,
    ) -> &mut Group {
        let Place { room, key, shape } = place;
        let groups = self.rooms.entry(room.clone()).or_default();
        if let Some(at) = groups.iter().position(|g| g.key == *key && g.shape == *shape) {
            groups[at].members += 1;
            return &mut groups[at];
        }
        let batch = if shape.batch { "batch" } else { "single" };
        let (format, rate) = (shape.format, shape.rate);
        let name = Room::from(format!("{room}|{format:?}|{batch}|{rate}|{}", key.0));
        let stream = stream();
        self.made = self.made.wrapping_add(1);
        let number = self.made;
        groups.push(Group {
            key: *key,
            access: Arc::clone(access),
            shape: *shape,
            room: name,
            members: 1,
            waiting: Batch::default(),
            due: None,
            stream,
            pace: Pace::default(),
            fleet: FleetFeed::new(number),
            whose: None,
            flushed: None,
        });
        let last = groups.len() - 1;
        &mut groups[last]
    }

    /// Counts one member out; gives the room of the fan-out to leave.
    pub(crate) fn exit(&mut self, place: &Place) -> Option<Room> {
        let groups = self.rooms.get_mut(&place.room)?;
        let at = groups.iter().position(|g| g.key == place.key && g.shape == place.shape)?;
        let group = &mut groups[at];
        group.members -= 1;
        let name = group.room.clone();
        if group.members == 0 {
            groups.swap_remove(at);
            if groups.is_empty() {
                self.rooms.remove(&place.room);
            }
        }
        Some(name)
    }
}
