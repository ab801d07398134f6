//! WebSocket (RFC 6455), the server's side, without I/O.

mod decoder;
mod deflate;
mod frame;
mod handshake;

pub use decoder::{Decoder, Error, Message};
pub(crate) use deflate::deflate;
pub use deflate::negotiate;
pub(crate) use frame::deflated_header;
pub use frame::{CloseCode, Opcode, close, header};
pub use handshake::{HandshakeError, accept};
