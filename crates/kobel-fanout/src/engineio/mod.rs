//! Engine.IO v4: packets and payloads, without I/O.
//!
//! Source: the Engine.IO protocol document, revision 4
//! (<https://github.com/socketio/engine.io-protocol>).

mod packet;
mod payload;

pub use packet::{Packet, PacketError};
pub use payload::{Item, PayloadError, SEPARATOR, split};
