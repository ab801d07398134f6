//! WebSocket (RFC 6455), the server's side, without I/O.

mod decoder;
mod frame;
mod handshake;

pub use decoder::{Decoder, Error, Message};
pub use frame::{CloseCode, Opcode, close, header};
pub use handshake::{HandshakeError, accept};
