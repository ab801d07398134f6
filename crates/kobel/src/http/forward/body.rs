//! Bodies on their way through: counted one way, bounded in time the other.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, Sleep, sleep},
};

/// How far over the limit a body is passed on, bytes. The other node counts, too, and what it
/// answers to a body that is too large is the better answer, since it ends the session as well.
const SLACK: u64 = 64 * 1024;

/// What became of a body.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// It was larger than allowed.
    pub(super) too_large: AtomicBool,
    /// It did not come to its end.
    pub(super) broken_off: AtomicBool,
}

/// A client's body.
pub(super) struct Sent<B> {
    body: B,
    left: u64,
    over: u64,
    fate: Arc<Fate>,
    /// Dropped with the body, when all of it is sent.
    _end: oneshot::Sender<()>,
}

/// A body of at most `limit` bytes, what becomes of it, and its end: that comes as the error of a
/// sender that is gone.
pub(super) fn sent<B>(body: B, limit: u64) -> (Sent<B>, Arc<Fate>, oneshot::Receiver<()>) {
    let (end, ended) = oneshot::channel();
    let fate = Arc::<Fate>::default();
    (Sent { body, left: limit, over: SLACK, fate: Arc::clone(&fate), _end: end }, fate, ended)
}

impl<B> Body for Sent<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.fate.broken_off.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        if length > self.left {
            self.fate.too_large.store(true, Ordering::Relaxed);
            let beyond = length - self.left;
            if beyond > self.over {
                return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into())));
            }
            (self.left, self.over) = (0, self.over - beyond);
        } else {
            self.left -= length;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Another node's body, on its way to the client.
pub(super) struct Received<B> {
    body: B,
    silence: Duration,
    until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<B> Received<B> {
    /// A body that may be silent for so long. The place is given back with it.
    pub(super) fn new(body: B, silence: Duration, place: OwnedSemaphorePermit) -> Self {
        Self { body, silence, until: Box::pin(sleep(silence)), _place: place }
    }
}

impl<B> Body for Received<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.until.as_mut().poll(cx));
            let silent = io::Error::new(io::ErrorKind::TimedOut, "the other node is silent");
            return Poll::Ready(Some(Err(silent)));
        };
        let next = Instant::now() + self.silence;
        self.until.as_mut().reset(next);
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
