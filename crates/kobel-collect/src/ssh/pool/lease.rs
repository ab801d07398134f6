//! Places on connections, given back when they are dropped.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    Shared,
    core::{Found, Place},
};
use crate::{docker::Connection, ssh::connect::SshConnection};

/// A place on a connection.
pub(super) struct Lease {
    /// Absent once it was given back otherwise.
    place: Option<Place>,
    connection: Arc<SshConnection>,
    unsure: bool,
    shared: Arc<Shared>,
}

impl Lease {
    pub(super) fn new(found: Found<Arc<SshConnection>>, shared: &Arc<Shared>) -> Self {
        let Found { place, connection, unsure } = found;
        Self { place: Some(place), connection, unsure, shared: Arc::clone(shared) }
    }

    pub(super) fn connection(&self) -> &SshConnection {
        &self.connection
    }

    /// Whether the connection is still there must be asked first.
    pub(super) fn unsure(&self) -> bool {
        self.unsure
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.unsure = false;
    }

    /// It does not answer. Gives the connections that are over by that.
    pub(super) fn silent(mut self) -> Vec<Arc<SshConnection>> {
        self.place.take().map(|place| self.give_up(&place)).unwrap_or_default()
    }

    fn give_up(&self, place: &Place) -> Vec<Arc<SshConnection>> {
        self.shared.stats.failed();
        self.shared.with(|state| state.core.silent(place, Instant::now()))
    }

    /// The host gave no session here. True where another place may do.
    pub(super) fn refused(mut self) -> bool {
        let place = self.place.take();
        let now = Instant::now();
        place.is_some_and(|place| self.shared.with(|state| state.core.refused(&place, now)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        if self.unsure {
            // Whoever asked did not wait for the answer.
            drop(self.give_up(&place));
        } else {
            // One that is over ends when this is dropped.
            drop(self.shared.with(|state| state.core.release(&place, Instant::now())));
        }
    }
}

/// A connection that is opened; failed when dropped.
pub(super) struct Opening {
    place: Option<Place>,
    shared: Arc<Shared>,
}

impl Opening {
    pub(super) fn new(place: Place, shared: &Arc<Shared>) -> Self {
        Self { place: Some(place), shared: Arc::clone(shared) }
    }

    /// The place on it; none where the host is not connected any more.
    pub(super) fn opened(mut self, connection: Arc<SshConnection>) -> Option<Lease> {
        let place = self.place.take()?;
        let taken = self.shared.with(|state| state.core.opened(&place, Arc::clone(&connection)));
        let shared = Arc::clone(&self.shared);
        taken.then_some(Lease { place: Some(place), connection, unsure: false, shared })
    }

    pub(super) fn failed(mut self, why: String, for_good: bool) {
        self.fail(why, for_good);
    }

    fn fail(&mut self, why: String, for_good: bool) {
        if let Some(place) = self.place.take() {
            self.shared.with(|state| state.core.failed(&place, why, for_good, Instant::now()));
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.fail("whoever asked for it gave up".to_owned(), false);
    }
}

/// A stream, and the place that it takes.
pub(super) struct Leased {
    // Before the lease: it ends first.
    stream: Connection,
    _lease: Lease,
}

impl Leased {
    pub(super) fn new(stream: Connection, lease: Lease) -> Self {
        Self { stream, _lease: lease }
    }
}

impl AsyncRead for Leased {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Leased {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
