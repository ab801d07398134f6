//! The room tables of a shard: who is in which room, dense for delivery.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Frame, Room};

/// A member's place in a room and the room's place in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) room: u32,
    pub(crate) place: u32,
}

/// Who is in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// The slot of its connection.
    pub(crate) slot: u32,
    /// Its place among the connection's sockets.
    pub(crate) place: u8,
    /// How many of the frames that the room gathers it has had, or are none of its business
    /// since they are older than its membership; in this turn of gathering.
    seen: u32,
    turn: u32,
}

impl Member {
    /// How many frames of this turn are not for it any more.
    pub(crate) fn seen(self, turn: u32) -> usize {
        if self.turn == turn { self.seen as usize } else { 0 }
    }
}

#[derive(Debug, Default)]
struct Table {
    namespace: Arc<str>,
    name: Option<Room>,
    members: Vec<Member>,
    /// Frames that wait to be sent together.
    gathered: Vec<Arc<Frame>>,
    /// When each of them was published.
    published: Vec<Instant>,
    bytes: usize,
    /// When the last frame was published.
    last: Option<Instant>,
    /// Counts how often the gathered frames were sent.
    turn: u32,
}

/// All rooms of a shard.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    index: HashMap<Arc<str>, HashMap<Room, u32>>,
    tables: Vec<Table>,
    free: Vec<u32>,
}

impl Rooms {
    /// The number of a room that has members.
    pub(crate) fn find(&self, namespace: &str, room: &Room) -> Option<u32> {
        self.index.get(namespace)?.get(room).copied()
    }

    /// The members of a room.
    pub(crate) fn members(&self, room: u32) -> &[Member] {
        self.tables.get(room as usize).map_or(&[], |table| &table.members)
    }

    /// Adds a member that is not in the room yet.
    pub(crate) fn add(
        &mut self,
        namespace: &Arc<str>,
        room: Room,
        (slot, place): (u32, u8),
    ) -> Seat {
        let rooms = self.index.entry(Arc::clone(namespace)).or_default();
        let (tables, free) = (&mut self.tables, &mut self.free);
        let number = *rooms.entry(room.clone()).or_insert_with(|| {
            let table =
                Table { namespace: Arc::clone(namespace), name: Some(room), ..Table::default() };
            match free.pop() {
                Some(number) => {
                    tables[number as usize] = table;
                    number
                }
                None => {
                    tables.push(table);
                    (tables.len() - 1) as u32
                }
            }
        });
        let table = &mut tables[number as usize];
        let seen = table.gathered.len() as u32;
        table.members.push(Member { slot, place, seen, turn: table.turn });
        Seat { room: number, place: (table.members.len() - 1) as u32 }
    }

    /// Notes a publish; gives how long the one before is ago.
    pub(crate) fn published(&mut self, room: u32, at: Instant) -> Option<Duration> {
        let last = self.tables.get_mut(room as usize)?.last.replace(at)?;
        Some(at.saturating_duration_since(last))
    }

    /// Whether frames wait in a room.
    pub(crate) fn gathers(&self, room: u32) -> bool {
        self.tables.get(room as usize).is_some_and(|table| !table.gathered.is_empty())
    }

    /// Lets a frame wait in a room; gives how many bytes wait there now.
    pub(crate) fn gather(&mut self, room: u32, frame: &Arc<Frame>, at: Instant) -> usize {
        let Some(table) = self.tables.get_mut(room as usize) else {
            return 0;
        };
        table.gathered.push(Arc::clone(frame));
        table.published.push(at);
        table.bytes += frame.len();
        table.bytes
    }

    /// What waits in a room and when it was published, which ends the turn whose number comes
    /// with it.
    pub(crate) fn take_gathered(&mut self, room: u32) -> (Vec<Arc<Frame>>, Vec<Instant>, u32) {
        let Some(table) = self.tables.get_mut(room as usize) else {
            return (Vec::new(), Vec::new(), 0);
        };
        let turn = table.turn;
        table.turn = turn.wrapping_add(1);
        table.bytes = 0;
        (std::mem::take(&mut table.gathered), std::mem::take(&mut table.published), turn)
    }

    /// What waits in a room for this member alone; it counts as seen.
    pub(crate) fn unseen(&mut self, seat: Seat) -> Vec<Arc<Frame>> {
        let Some(table) = self.tables.get_mut(seat.room as usize) else {
            return Vec::new();
        };
        let Some(member) = table.members.get_mut(seat.place as usize) else {
            return Vec::new();
        };
        let seen = member.seen(table.turn);
        (member.seen, member.turn) = (table.gathered.len() as u32, table.turn);
        table.gathered[seen..].to_vec()
    }

    /// Removes the member in this seat. Gives the member that moved into it, whose seat must be
    /// put right.
    pub(crate) fn remove(&mut self, seat: Seat) -> Option<(u32, u8)> {
        let table = self.tables.get_mut(seat.room as usize)?;
        if seat.place as usize >= table.members.len() {
            return None;
        }
        table.members.swap_remove(seat.place as usize);
        let moved = table.members.get(seat.place as usize).map(|m| (m.slot, m.place));
        if table.members.is_empty() {
            let table = std::mem::take(table);
            if let (Some(rooms), Some(name)) = (self.index.get_mut(&table.namespace), table.name) {
                rooms.remove(&name);
                if rooms.is_empty() {
                    self.index.remove(&table.namespace);
                }
            }
            self.free.push(seat.room);
        }
        moved
    }
}
