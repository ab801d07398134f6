//! What a handler may do on the spot, on the shard's own thread.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::{Key, Shard};
use crate::{AckId, DisconnectReason, Frame, FrameError, Payload, Room, SocketId};

/// The shard, as seen from one of its sockets while that has an event. What is done here is done
/// at once, before the handler returns.
pub struct Context<'a> {
    shard: &'a mut Shard,
    key: Key,
    socket: Option<(SocketId, Arc<str>)>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        shard: &'a mut Shard,
        key: Key,
        socket: Option<(SocketId, Arc<str>)>,
    ) -> Self {
        Self { shard, key, socket }
    }

    /// The socket. On bare Engine.IO there is none, and an id that nothing has is given.
    pub fn socket(&self) -> SocketId {
        self.socket.as_ref().map_or(SocketId::from_raw(u64::MAX), |(id, _)| *id)
    }

    /// The socket's namespace; empty on bare Engine.IO.
    pub fn namespace(&self) -> &str {
        self.socket.as_ref().map_or("", |(_, namespace)| namespace)
    }

    /// Sends a frame to the socket.
    pub fn emit(&mut self, frame: &Arc<Frame>) {
        self.shard.emit(self.socket(), frame);
    }

    /// Answers an event with one argument.
    pub fn ack<T: Serialize>(&mut self, ack: AckId, argument: &T) -> Result<(), FrameError> {
        self.ack_args(ack, &[argument], Vec::new())
    }

    /// Answers an event with these arguments and attachments.
    pub fn ack_args<T: Serialize>(
        &mut self,
        ack: AckId,
        arguments: &[T],
        attachments: Vec<Bytes>,
    ) -> Result<(), FrameError> {
        let args = serde_json::to_string(arguments)?;
        self.shard.ack_with(self.socket(), ack, &args, attachments);
        Ok(())
    }

    /// Puts the socket into a room.
    pub fn join(&mut self, room: Room) {
        self.shard.join(self.socket(), room);
    }

    /// Takes the socket out of a room.
    pub fn leave(&mut self, room: &Room) {
        self.shard.leave(self.socket(), room);
    }

    /// Ends the socket.
    pub fn disconnect(&mut self) {
        self.shard.disconnect(self.socket(), DisconnectReason::Server);
    }

    /// Sends a message on bare Engine.IO.
    pub fn send(&mut self, message: Payload) {
        let frame = match message {
            Payload::Text(text) => Frame::control(&format!("4{text}")),
            Payload::Binary(data) => Frame::binary(data),
        };
        self.shard.push(self.key, &frame);
    }
}
