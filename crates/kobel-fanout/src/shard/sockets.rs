//! Socket.IO on a session: events and acknowledgements.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{Application, Breach, Context, Key, Shard};
use crate::{
    AckId, Answer, DisconnectReason, Event, Frame, Payload, Policy, SocketId,
    socketio::{Incoming, Kind, PacketError},
};

/// What a client is told that sends events too fast.
pub(super) const TOO_FAST: &str = "too many events; slow down";

/// The breach that a malformed packet is.
fn breach(error: PacketError) -> Breach {
    if error == PacketError::TooLarge { Breach::TooLarge } else { Breach::Protocol }
}

impl Shard {
    /// A text message.
    pub(super) fn text(&mut self, key: Key, text: &str) -> Result<(), Breach> {
        let handler = match &self.application {
            Application::SocketIo(_) => None,
            Application::EngineIo(handler) => Some(Arc::clone(handler)),
        };
        if let Some(handler) = handler {
            let mut cx = Context::new(self, key, None);
            handler.message(&mut cx, Payload::Text(text.to_owned()));
            return Ok(());
        }
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        match connection.decoder.text(text).map_err(breach)? {
            Some(incoming) => self.incoming(key, incoming, text.len()),
            None => Ok(()),
        }
    }

    /// A binary message.
    pub(super) fn binary(&mut self, key: Key, data: Bytes) -> Result<(), Breach> {
        let handler = match &self.application {
            Application::SocketIo(_) => None,
            Application::EngineIo(handler) => Some(Arc::clone(handler)),
        };
        if let Some(handler) = handler {
            handler.message(&mut Context::new(self, key, None), Payload::Binary(data));
            return Ok(());
        }
        let limit = self.config.max_payload;
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        match connection.decoder.binary(data, limit).map_err(breach)? {
            Some(incoming) => {
                let size = incoming.size();
                self.incoming(key, incoming, size)
            }
            None => Ok(()),
        }
    }

    fn incoming(&mut self, key: Key, incoming: Incoming, size: usize) -> Result<(), Breach> {
        match incoming {
            Incoming::Connect { namespace, auth } => return self.connect(key, &namespace, auth),
            Incoming::Disconnect { namespace } => {
                if let Some(place) = self.place(key, &namespace) {
                    self.leave_namespace(key, place, DisconnectReason::Client);
                    self.expect_namespace(key);
                }
            }
            Incoming::Event { namespace, name, args, attachments, ack } => {
                let ack = ack.map(AckId::from_raw);
                let event = Event { name, args, attachments, ack };
                return self.event(key, &namespace, event, size);
            }
            Incoming::Ack { namespace: _, id, args, attachments } => {
                let Some(connection) = self.connection(key) else {
                    return Ok(());
                };
                let Some(asked) = &mut connection.asked else {
                    return Ok(());
                };
                // An answer that nobody waits for, or comes late, is no error.
                if let Some(answer) = asked.waiting.remove(&id) {
                    let _ = answer.send(Answer { args, attachments });
                }
                if asked.waiting.is_empty() {
                    connection.asked = None;
                }
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        key: Key,
        namespace: &str,
        event: Event,
        size: usize,
    ) -> Result<(), Breach> {
        let Application::SocketIo(handler) = self.application.clone() else {
            return Err(Breach::Protocol);
        };
        let Some(place) = self.place(key, namespace) else {
            // Not in that namespace. The reference server closes the connection, too.
            return Err(Breach::Protocol);
        };
        let (now, rate) = (Instant::now(), self.config.limits.events_per_second);
        let Some(connection) = self.connection(key) else {
            return Ok(());
        };
        let Some(Some(socket)) = connection.sockets.get(place) else {
            return Ok(());
        };
        if !socket.connected {
            return Err(Breach::Protocol);
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
            return Ok(());
        }
        handler.event(&mut Context::new(self, key, Some((id, namespace))), event);
        Ok(())
    }

    /// Where a namespace stands in a connection.
    pub(super) fn place(&mut self, key: Key, namespace: &str) -> Option<usize> {
        let sockets = &self.connection(key)?.sockets;
        sockets.iter().position(|s| s.as_ref().is_some_and(|s| *s.namespace == *namespace))
    }

    /// Sends a packet of Socket.IO itself.
    pub(super) fn control(
        &mut self,
        key: Key,
        namespace: &str,
        kind: Kind,
        ack: Option<u64>,
        json: &str,
    ) {
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
        self.catch_up(key);
        self.push(key, &frame);
    }

    /// Sends an event and waits for the client's answer; `args` is a JSON array.
    pub(super) fn ask(&mut self, socket: SocketId, args: &str, answer: oneshot::Sender<Answer>) {
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
        self.catch_up(key);
        self.control(key, &namespace, Kind::Event, Some(id), args);
    }

    /// The connection and namespace of a connected socket.
    pub(super) fn find(&mut self, socket: SocketId) -> Option<(Key, Arc<str>)> {
        let &(key, place) = self.sockets.get(&socket)?;
        let socket = self.connection(key)?.sockets.get(usize::from(place))?.as_ref()?;
        socket.connected.then(|| (key, Arc::clone(&socket.namespace)))
    }
}
