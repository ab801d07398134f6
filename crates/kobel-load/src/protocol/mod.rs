//! What a client says and hears, without I/O: bytes in, values out. Everything from the server may
//! be wrong or hostile, and yields an error that says what was wrong.

pub(crate) mod http;
pub(crate) mod packet;
pub(crate) mod stamp;
pub(crate) mod websocket;

/// The most bytes of a message or an answer that is taken from a server. What is larger is not the
/// stream of small events that is measured here.
pub(crate) const LARGEST: usize = 16 * 1024 * 1024;

/// Why a server's bytes cannot be read. The text is what errors are counted under, so there are
/// few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("protocol: a malformed WebSocket frame")]
    Frame,
    #[error("protocol: more than 16 MiB in one message")]
    TooLarge,
    #[error("protocol: not an HTTP answer")]
    Http,
    #[error("protocol: a malformed Engine.IO or Socket.IO packet")]
    Packet,
    #[error("protocol: a packet at the wrong time")]
    Unexpected,
}
