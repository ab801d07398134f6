//! What the live state asks of the fan-out.

use std::sync::Arc;

use kobel_fanout::{AckId, Frame, Room, SocketId};
use kobel_wire::event::Ack;

use crate::{logs::live::LogRequest, room::RoomKind};

/// An order to the fan-out. To be carried out in the order given.
#[derive(Debug)]
pub enum Command {
    /// Send a frame to everybody in a room of the fan-out.
    Publish {
        /// The room.
        room: Room,
        /// The frame.
        frame: Arc<Frame>,
    },
    /// Send a frame to one socket.
    Emit {
        /// The socket.
        socket: SocketId,
        /// The frame.
        frame: Arc<Frame>,
    },
    /// Answer a request that asked for an answer.
    Ack {
        /// The socket.
        socket: SocketId,
        /// The request.
        ack: AckId,
        /// The answer.
        answer: Ack,
    },
    /// Put a socket into a room of the fan-out.
    Join {
        /// The socket.
        socket: SocketId,
        /// The room.
        room: Room,
    },
    /// Take a socket out of a room of the fan-out.
    Leave {
        /// The socket.
        socket: SocketId,
        /// The room.
        room: Room,
    },
    /// Something for the log streams.
    Logs(Box<LogRequest>),
    /// Close a socket whose credential holds no longer.
    Disconnect {
        /// The socket.
        socket: SocketId,
    },
}

/// Figures of the live state, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Sockets that are signed in.
    pub viewers: u64,
    /// Subscriptions by kind of room, in the order of [`RoomKind::ALL`].
    pub subscriptions: [u64; RoomKind::ALL.len()],
    /// Events made in all rooms, watched or not.
    pub events: u64,
    /// Events kept back from a group of viewers because they may not see the device any more.
    pub denied: u64,
    /// Samples and figures that a group of viewers was not told, since it looks seldom: the newest
    /// is told in its time.
    pub samples_held: u64,
    /// Samples that nobody needed, so their sources kept them to themselves.
    pub samples_spared: u64,
    /// Devices that somebody needs more often than twice a minute.
    pub watched_devices: u64,
    /// Devices known.
    pub devices: u64,
    /// Containers known.
    pub containers: u64,
}
