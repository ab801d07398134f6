//! Who sits in which room: the sockets' side of the room tables.

use super::{Shard, rooms::Seat};
use crate::{Room, SocketId};

impl Shard {
    pub(super) fn join(&mut self, socket: SocketId, room: Room) {
        let Some(&(key, place)) = self.sockets.get(&socket) else {
            return;
        };
        let number = self.find(socket).and_then(|(_, ns)| self.rooms.find(&ns, &room));
        let slot = &mut self.slots[key.0 as usize];
        let Some(connection) = slot.connection.as_deref_mut() else {
            return;
        };
        let Some(Some(socket)) = connection.sockets.get_mut(usize::from(place)) else {
            return;
        };
        let inside = number.is_some_and(|n| socket.seats.iter().any(|seat| seat.room == n));
        if socket.connected && !inside {
            let seat = self.rooms.add(&socket.namespace, room, (key.0, place));
            socket.seats.push(seat);
        }
    }

    pub(super) fn leave(&mut self, socket: SocketId, room: &Room) {
        let Some((key, namespace)) = self.find(socket) else {
            return;
        };
        let Some(number) = self.rooms.find(&namespace, room) else {
            return;
        };
        // What was published before it left is still for it.
        self.catch_up(key);
        let Some(&(_, place)) = self.sockets.get(&socket) else {
            return;
        };
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Some(Some(socket)) = connection.sockets.get_mut(usize::from(place)) else {
            return;
        };
        let Some(at) = socket.seats.iter().position(|seat| seat.room == number) else {
            return;
        };
        let seat = socket.seats.swap_remove(at);
        self.stand_up(seat);
    }

    /// Empties a seat, and tells the member that moves into it where it now sits.
    pub(super) fn stand_up(&mut self, seat: Seat) {
        let last = self.rooms.members(seat.room).len().saturating_sub(1) as u32;
        let Some((slot, place)) = self.rooms.remove(seat) else {
            return;
        };
        let Some(connection) =
            self.slots.get_mut(slot as usize).and_then(|slot| slot.connection.as_deref_mut())
        else {
            return;
        };
        let Some(Some(socket)) = connection.sockets.get_mut(usize::from(place)) else {
            return;
        };
        let moved = socket.seats.iter_mut().find(|s| s.room == seat.room && s.place == last);
        if let Some(moved) = moved {
            moved.place = seat.place;
        }
    }
}
