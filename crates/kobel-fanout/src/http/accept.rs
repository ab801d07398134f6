//! What stands between a TCP connection and HTTP.

use std::{future::Future, io};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What a connection goes through before HTTP is spoken on it, such as a TLS handshake.
pub trait Accept: Clone + Send + Sync + 'static {
    /// What HTTP is spoken on. Its `poll_write` may hold bytes back until `poll_flush`, as a TLS
    /// library does.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Whether nobody between can read along: requests count as [secure](super::Client::secure).
    const ENCRYPTS: bool;

    /// Prepares a connection. The listener gives it up after
    /// [`header_timeout`](super::ServeLimits::header_timeout), and counts it as a connection from
    /// the begin.
    ///
    /// # Errors
    /// Why the connection is closed. It is logged at the level `debug`: whoever sends nonsense
    /// must not be able to fill a disk.
    fn accept(&self, stream: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Nothing: HTTP on plain TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Accept for Plain {
    type Stream = TcpStream;

    const ENCRYPTS: bool = false;

    async fn accept(&self, stream: TcpStream) -> io::Result<TcpStream> {
        Ok(stream)
    }
}
