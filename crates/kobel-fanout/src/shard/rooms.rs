//! The room tables of a shard: who is in which room, dense for delivery.

use std::{collections::HashMap, sync::Arc};

use crate::Room;

/// A member's place in a room and the room's place in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) room: u32,
    pub(crate) place: u32,
}

#[derive(Debug, Default)]
struct Table {
    namespace: Arc<str>,
    name: Option<Room>,
    /// Slots of connections and, below them, the index of the socket there.
    members: Vec<(u32, u8)>,
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
    pub(crate) fn members(&self, room: u32) -> &[(u32, u8)] {
        self.tables.get(room as usize).map_or(&[], |table| &table.members)
    }

    /// Adds a member that is not in the room yet.
    pub(crate) fn add(&mut self, namespace: &Arc<str>, room: Room, member: (u32, u8)) -> Seat {
        let rooms = self.index.entry(Arc::clone(namespace)).or_default();
        let (tables, free) = (&mut self.tables, &mut self.free);
        let number = *rooms.entry(room.clone()).or_insert_with(|| {
            let table =
                Table { namespace: Arc::clone(namespace), name: Some(room), members: Vec::new() };
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
        let members = &mut tables[number as usize].members;
        members.push(member);
        Seat { room: number, place: (members.len() - 1) as u32 }
    }

    /// Removes the member in this seat. Gives the member that moved into it, whose seat must be
    /// put right.
    pub(crate) fn remove(&mut self, seat: Seat) -> Option<(u32, u8)> {
        let table = self.tables.get_mut(seat.room as usize)?;
        if seat.place as usize >= table.members.len() {
            return None;
        }
        table.members.swap_remove(seat.place as usize);
        let moved = table.members.get(seat.place as usize).copied();
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
