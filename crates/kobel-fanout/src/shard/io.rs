//! The socket under a WebSocket.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// Bytes both ways; what hyper gives for anything that is not a plain TCP socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A socket on its way to its shard.
pub(crate) enum Handed {
    /// A plain TCP socket, to be registered with the shard's own reactor.
    Tcp(std::net::TcpStream),
    /// Anything else.
    Other(Box<dyn Stream>),
}

/// A socket that belongs to a shard.
pub(crate) enum Io {
    Tcp(TcpStream),
    Other(Box<dyn Stream>),
}

impl Io {
    /// Must be called on the shard's runtime.
    pub(crate) fn adopt(handed: Handed) -> io::Result<Self> {
        Ok(match handed {
            Handed::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            Handed::Other(stream) => Self::Other(stream),
        })
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        };
        ready!(read)?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes what the socket takes at once. With `cx` the task is woken when it takes more.
    pub(crate) fn write(
        &mut self,
        cx: Option<&mut Context<'_>>,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let written = match (self, cx) {
            // The one system call of a delivery: send(2), which is cheaper than writev(2), and past
            // the reactor, whose idea of the socket lies in memory of its own. Should it be full,
            // the task finds that out once more and waits.
            (Self::Tcp(stream), None) => {
                let socket = SockRef::from(&*stream);
                return match slices {
                    [only] => socket.send(only),
                    several => socket.send_vectored(several),
                };
            }
            (Self::Tcp(stream), Some(cx)) => Pin::new(stream).poll_write_vectored(cx, slices),
            (Self::Other(stream), Some(cx)) => Pin::new(stream).poll_write_vectored(cx, slices),
            // Such a stream cannot be tried without a task; the task writes.
            (Self::Other(_), None) => Poll::Pending,
        };
        match written {
            // Such a stream takes nothing any more.
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Says the last thing, as far as the socket takes it at once: nobody waits for it any more.
    pub(crate) fn say_last(&mut self, bytes: &[u8]) {
        match self {
            Self::Tcp(stream) => {
                let _ = stream.try_write(bytes);
            }
            // It cannot be tried without a task, and there is none: one that is never woken. Its
            // end is said, too, or a TLS client takes it for cut off (RFC 8446, section 6.1).
            Self::Other(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(Ok(_)) = Pin::new(&mut *stream).poll_write(&mut cx, bytes) {
                    let _ = Pin::new(stream).poll_shutdown(&mut cx);
                }
            }
        }
    }

    /// Ends the own side and reads until the client ends its own. To close a socket with unread
    /// bytes in it resets it, and the client loses the close frame that was on its way (RFC 6455,
    /// section 7.1.1).
    pub(crate) async fn linger(mut self) -> io::Result<()> {
        let mut buffer = [0; 512];
        match &mut self {
            Self::Tcp(stream) => stream.shutdown().await?,
            Self::Other(stream) => stream.shutdown().await?,
        }
        while poll_fn(|cx| self.poll_read(cx, &mut buffer)).await? > 0 {}
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if let Self::Other(stream) = self {
            // An error shows at the next read or write.
            let _ = Pin::new(stream).poll_flush(cx);
        }
    }
}
