//! How a client joins a namespace and leaves it.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Application, Breach, Key, Shard, Verdict, connection::Socket, sockets::TOO_FAST};
use crate::{ConnectError, ConnectRequest, DisconnectReason, SocketId, socketio::Kind};

/// The most namespaces that one connection can have: they are counted by a byte.
const MOST_NAMESPACES: usize = 255;

/// How long a client that the application has ended may take to hear of it.
const LAST_WORDS: Duration = Duration::from_millis(500);

impl Shard {
    pub(super) fn connect(
        &mut self,
        key: Key,
        namespace: &str,
        auth: Option<Box<RawValue>>,
    ) -> Result<(), Breach> {
        let Application::SocketIo(handler) = self.application.clone() else {
            return Err(Breach::Protocol);
        };
        if self.place(key, namespace).is_some() {
            // Asked for twice: a client that follows the protocol never does.
            return Err(Breach::Protocol);
        }
        let most = self.config.limits.namespaces.min(MOST_NAMESPACES);
        let (number, serial) = (self.number, self.serial);
        let (now, rate) = (Instant::now(), self.config.limits.events_per_second);
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        // A sign-in is the most costly thing to ask for.
        if !connection.allowance.take(rate, now) {
            let data = serde_json::json!({ "code": "RATE_LIMITED" });
            self.refuse(key, namespace, &ConnectError::new(TOO_FAST).with_data(data));
            return Ok(());
        }
        let place = match connection.sockets.iter().position(Option::is_none) {
            Some(free) => free,
            None => connection.sockets.len(),
        };
        if place >= most {
            let error = ConnectError::new("too many namespaces on one connection");
            self.refuse(key, namespace, &error);
            return Ok(());
        }
        let namespace: Arc<str> = namespace.into();
        let id = SocketId::new(number, serial + 1);
        let socket =
            Socket { id, namespace: Arc::clone(&namespace), connected: false, seats: Vec::new() };
        if place == connection.sockets.len() {
            // Most have one for ever, and a vector would make room for four.
            connection.sockets.reserve_exact(1);
            connection.sockets.push(Some(socket));
        } else {
            connection.sockets[place] = Some(socket);
        }
        let handshake = Arc::new(connection.handshake.open());
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
        Ok(())
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
                self.expect_namespace(key);
            }
        }
    }

    /// A connection that is in no namespace must join one in time.
    pub(super) fn expect_namespace(&mut self, key: Key) {
        let due = self.now() + self.config.connect_timeout;
        if let Some(connection) = self.connection(key)
            && connection.sockets.iter().all(Option::is_none)
        {
            // Seen when its entry in the wheel comes round, at the next ping at the latest.
            connection.heartbeat.connect_due.get_or_insert(due);
        }
    }

    fn refuse(&mut self, key: Key, namespace: &str, error: &ConnectError) {
        // Names of refused namespaces are the clients' invention and must not grow the metrics.
        self.metrics.error(&"/".into(), "connect_error");
        // A message and JSON data always encode.
        let json = serde_json::to_string(error).unwrap_or_else(|_| "{}".into());
        self.control(key, namespace, Kind::ConnectError, None, &json);
    }

    /// The application ends a socket: a DISCONNECT packet, and the end of the connection when it
    /// has no other namespace.
    pub(super) fn disconnect(&mut self, socket: SocketId, reason: DisconnectReason) {
        let Some((key, namespace)) = self.find(socket) else {
            return;
        };
        self.catch_up(key);
        self.control(key, &namespace, Kind::Disconnect, None, "");
        let Some(&(_, place)) = self.sockets.get(&socket) else {
            return;
        };
        self.leave_namespace(key, usize::from(place), reason);
        let Some(connection) = self.connection(key) else {
            return;
        };
        if connection.sockets.iter().any(Option::is_some) {
            return;
        }
        match &mut connection.outbox {
            None => self.close(key, reason),
            // Without the packet a client takes it for a broken connection and comes back.
            Some(outbox) => outbox.closing = Some((Instant::now() + LAST_WORDS, reason)),
        }
    }

    pub(super) fn leave_namespace(&mut self, key: Key, place: usize, reason: DisconnectReason) {
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
