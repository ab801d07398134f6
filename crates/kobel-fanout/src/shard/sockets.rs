//! Socket.IO on a session: namespaces, events, acknowledgements, rooms.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::Instant};

use super::{Application, Context, Key, Shard, Verdict, connection::Socket};
use crate::{
    AckId, ConnectError, ConnectRequest, DisconnectReason, Event, Frame, Payload, Policy, Room,
    SocketId,
    socketio::{Incoming, Kind},
};

/// What a client is told that sends events too fast.
const TOO_FAST: &str = "too many events; slow down";

impl Shard {
    /// A text message. False: it breaks the protocol.
    pub(super) fn text(&mut self, key: Key, text: &str) -> bool {
        let handler = match &self.application {
            Application::SocketIo(_) => None,
            Application::EngineIo(handler) => Some(Arc::clone(handler)),
        };
        if let Some(handler) = handler {
            let mut cx = Context::new(self, key, None);
            handler.message(&mut cx, Payload::Text(text.to_owned()));
            return true;
        }
        let Some(connection) = self.connection(key) else {
            return true;
        };
        match connection.decoder.text(text) {
            Ok(Some(incoming)) => self.incoming(key, incoming, text.len()),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// A binary message. False: it breaks the protocol.
    pub(super) fn binary(&mut self, key: Key, data: Bytes) -> bool {
        let handler = match &self.application {
            Application::SocketIo(_) => None,
            Application::EngineIo(handler) => Some(Arc::clone(handler)),
        };
        if let Some(handler) = handler {
            handler.message(&mut Context::new(self, key, None), Payload::Binary(data));
            return true;
        }
        let limit = self.config.max_payload;
        let Some(connection) = self.connection(key) else {
            return true;
        };
        let size = data.len();
        match connection.decoder.binary(data, limit) {
            Ok(Some(incoming)) => self.incoming(key, incoming, size),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    fn incoming(&mut self, key: Key, incoming: Incoming, size: usize) -> bool {
        match incoming {
            Incoming::Connect { namespace, auth } => return self.connect(key, &namespace, auth),
            Incoming::Disconnect { namespace } => {
                if let Some(place) = self.place(key, &namespace) {
                    self.leave_namespace(key, place, DisconnectReason::Client);
                }
            }
            Incoming::Event { namespace, name, args, attachments, ack } => {
                let ack = ack.map(AckId::from_raw);
                let event = Event { name, args, attachments, ack };
                return self.event(key, &namespace, event, size);
            }
            Incoming::Ack { namespace: _, id, args, .. } => {
                let Some(connection) = self.connection(key) else {
                    return true;
                };
                let Some(asked) = &mut connection.asked else {
                    return true;
                };
                // An answer that nobody waits for, or comes late, is no error.
                if let Some(answer) = asked.waiting.remove(&id) {
                    let _ = answer.send(args);
                }
                if asked.waiting.is_empty() {
                    connection.asked = None;
                }
            }
        }
        true
    }

    fn connect(&mut self, key: Key, namespace: &str, auth: Option<Box<RawValue>>) -> bool {
        let Application::SocketIo(handler) = self.application.clone() else {
            return false;
        };
        if self.place(key, namespace).is_some() {
            // Asked for twice: a client that follows the protocol never does.
            return false;
        }
        let most = self.config.limits.namespaces;
        let (number, serial) = (self.number, self.serial);
        let Some(connection) = self.connection(key) else {
            return true;
        };
        let place = match connection.sockets.iter().position(Option::is_none) {
            Some(free) => free,
            None => connection.sockets.len(),
        };
        if place >= most {
            let error = ConnectError::new("too many namespaces on one connection");
            self.refuse(key, namespace, &error);
            return true;
        }
        let namespace: Arc<str> = namespace.into();
        let id = SocketId::new(number, serial + 1);
        let socket =
            Socket { id, namespace: Arc::clone(&namespace), connected: false, seats: Vec::new() };
        if place == connection.sockets.len() {
            connection.sockets.push(Some(socket));
        } else {
            connection.sockets[place] = Some(socket);
        }
        let handshake = Arc::clone(&connection.handshake);
        self.serial += 1;
        self.sockets.insert(id, (key, place as u8));
        let verdict = Verdict {
            socket: id,
            namespace: Arc::clone(&namespace),
            shard: self.verdicts.clone(),
            handler: Arc::clone(&handler),
        };
        handler.connect(ConnectRequest {
            socket: id,
            namespace,
            handshake,
            auth,
            verdict: Some(verdict),
        });
        true
    }

    /// The application has decided about a socket.
    pub(super) fn decided(
        &mut self,
        id: SocketId,
        namespace: &str,
        verdict: Result<(), ConnectError>,
    ) {
        let Some(&(key, place)) = self.sockets.get(&id) else {
            // It left while the application thought about it.
            if verdict.is_ok()
                && let Application::SocketIo(handler) = self.application.clone()
            {
                handler.disconnect(id, namespace, DisconnectReason::Transport);
            }
            return;
        };
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Some(Some(socket)) = connection.sockets.get_mut(usize::from(place)) else {
            return;
        };
        let namespace = Arc::clone(&socket.namespace);
        match verdict {
            Ok(()) => {
                socket.connected = true;
                connection.heartbeat.connect_due = None;
                *self.metrics.connections.entry(Arc::clone(&namespace)).or_default() += 1;
                *self.metrics.active.entry(Arc::clone(&namespace)).or_default() += 1;
                let sid = format!(r#"{{"sid":"{id}"}}"#);
                self.control(key, &namespace, Kind::Connect, None, &sid);
            }
            Err(error) => {
                connection.sockets[usize::from(place)] = None;
                self.sockets.remove(&id);
                self.refuse(key, &namespace, &error);
            }
        }
    }

    fn refuse(&mut self, key: Key, namespace: &str, error: &ConnectError) {
        // Names of refused namespaces are the clients' invention and must not grow the metrics.
        self.metrics.error(&"/".into(), "connect_error");
        // A message and JSON data always encode.
        let json = serde_json::to_string(error).unwrap_or_else(|_| "{}".into());
        self.control(key, namespace, Kind::ConnectError, None, &json);
    }

    fn event(&mut self, key: Key, namespace: &str, event: Event, size: usize) -> bool {
        let Application::SocketIo(handler) = self.application.clone() else {
            return false;
        };
        let Some(place) = self.place(key, namespace) else {
            // Not in that namespace. The reference server closes the connection, too.
            return false;
        };
        let (now, rate) = (Instant::now(), self.config.limits.events_per_second);
        let Some(connection) = self.connection(key) else {
            return true;
        };
        let Some(Some(socket)) = connection.sockets.get(place) else {
            return true;
        };
        if !socket.connected {
            return false;
        }
        let (id, namespace) = (socket.id, Arc::clone(&socket.namespace));
        let allowed = connection.allowance.take(rate, now);
        let tell = !allowed && connection.allowance.tell(now);
        let config = Arc::clone(&self.config);
        self.metrics.received(&namespace, &event.name, &config.known_events, size);
        if !allowed {
            self.metrics.error(&namespace, "rate_limited");
            let error = serde_json::json!({ "code": "RATE_LIMITED", "message": TOO_FAST });
            if let Some(ack) = event.ack {
                let answer = serde_json::json!([{ "ok": false, "error": error }]);
                self.ack(id, ack, &answer.to_string());
            }
            if tell && let Ok(frame) = Frame::event(&namespace, "error", &error, Policy::DropOldest)
            {
                self.emit(id, &frame);
            }
            return true;
        }
        handler.event(&mut Context::new(self, key, Some((id, namespace))), event);
        true
    }

    /// Where a namespace stands in a connection.
    fn place(&mut self, key: Key, namespace: &str) -> Option<usize> {
        let sockets = &self.connection(key)?.sockets;
        sockets.iter().position(|s| s.as_ref().is_some_and(|s| *s.namespace == *namespace))
    }

    /// Sends a packet of Socket.IO itself.
    fn control(&mut self, key: Key, namespace: &str, kind: Kind, ack: Option<u64>, json: &str) {
        let frame = Frame::packet(namespace, "", kind, ack, json, Vec::new(), Policy::Deliver);
        self.push(key, &frame);
    }

    /// Answers an event; `args` is a JSON array.
    pub(super) fn ack(&mut self, socket: SocketId, ack: AckId, args: &str) {
        self.ack_with(socket, ack, args, Vec::new());
    }

    pub(super) fn ack_with(
        &mut self,
        socket: SocketId,
        ack: AckId,
        args: &str,
        attachments: Vec<Bytes>,
    ) {
        let Some((key, namespace)) = self.find(socket) else {
            return;
        };
        let kind = if attachments.is_empty() { Kind::Ack } else { Kind::BinaryAck };
        let id = Some(ack.get());
        let frame = Frame::packet(&namespace, "", kind, id, args, attachments, Policy::Deliver);
        self.push(key, &frame);
    }

    /// Sends an event and waits for the client's answer; `args` is a JSON array.
    pub(super) fn ask(
        &mut self,
        socket: SocketId,
        args: &str,
        answer: oneshot::Sender<Vec<Box<RawValue>>>,
    ) {
        let Some((key, namespace)) = self.find(socket) else {
            return;
        };
        let Some(connection) = self.connection(key) else {
            return;
        };
        let asked = connection.asked.get_or_insert_default();
        // Whoever gave up waiting needs no place here.
        asked.waiting.retain(|_, answer| !answer.is_closed());
        let id = asked.next;
        asked.next += 1;
        asked.waiting.insert(id, answer);
        self.control(key, &namespace, Kind::Event, Some(id), args);
    }

    /// The connection and namespace of a connected socket.
    fn find(&mut self, socket: SocketId) -> Option<(Key, Arc<str>)> {
        let &(key, place) = self.sockets.get(&socket)?;
        let socket = self.connection(key)?.sockets.get(usize::from(place))?.as_ref()?;
        socket.connected.then(|| (key, Arc::clone(&socket.namespace)))
    }

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
    fn stand_up(&mut self, seat: super::rooms::Seat) {
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

    /// The application ends a socket: a DISCONNECT packet, and the end of the connection when it
    /// has no other namespace.
    pub(super) fn disconnect(&mut self, socket: SocketId, reason: DisconnectReason) {
        let Some((key, namespace)) = self.find(socket) else {
            return;
        };
        self.control(key, &namespace, Kind::Disconnect, None, "");
        let Some(&(_, place)) = self.sockets.get(&socket) else {
            return;
        };
        self.leave_namespace(key, usize::from(place), reason);
        let alone = self.connection(key).is_some_and(|c| c.sockets.iter().all(Option::is_none));
        if alone {
            self.close(key, reason);
        }
    }

    fn leave_namespace(&mut self, key: Key, place: usize, reason: DisconnectReason) {
        let Some(connection) = self.connection(key) else {
            return;
        };
        let Some(socket) = connection.sockets.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.forget(key, &socket, reason);
    }

    /// A socket is gone: its seats, its id, and the application is told.
    pub(super) fn forget(&mut self, _key: Key, socket: &Socket, reason: DisconnectReason) {
        self.sockets.remove(&socket.id);
        for seat in &socket.seats {
            self.stand_up(*seat);
        }
        if !socket.connected {
            // The application has not decided yet; it is told when it has.
            return;
        }
        if let Some(active) = self.metrics.active.get_mut(&socket.namespace) {
            *active -= 1;
        }
        if reason.is_error() {
            self.metrics.error(&socket.namespace, reason.as_str());
        }
        if let Application::SocketIo(handler) = self.application.clone() {
            handler.disconnect(socket.id, &socket.namespace, reason);
        }
    }
}
