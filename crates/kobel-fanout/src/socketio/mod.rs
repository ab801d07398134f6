//! Socket.IO v5: packets and their binary attachments, without I/O.
//!
//! Source: the Socket.IO protocol document, revision 5
//! (<https://github.com/socketio/socket.io-protocol>).

mod decoder;
mod packet;

pub use decoder::{Decoder, Incoming};
pub use packet::{Kind, MAX_ATTACHMENTS, MAX_NAMESPACE, Packet, PacketError, head};
