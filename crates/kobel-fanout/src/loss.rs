//! What a client is told in place of what was dropped for it.

use std::{fmt, sync::Arc};

use crate::Frame;

/// A stretch of a numbered stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first number.
    pub from: u64,
    /// Its last number.
    pub to: u64,
    /// How many things of the stream are in it; fewer than the numbers where some are for others.
    pub count: u64,
}

impl Stretch {
    /// This and a later one as one.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            from: self.from.min(later.from),
            to: self.to.max(later.to),
            count: self.count + later.count,
        }
    }
}

/// What is lost with a frame of [`crate::Policy::DropOldest`] where it is dropped.
///
/// Frames of one stream that are dropped one after the other become one message in the place of the
/// last of them, so a client finds it where the gap is.
#[derive(Clone)]
pub struct Loss {
    /// Names the stream among those that a client gets.
    pub stream: u64,
    /// What the frame holds of it.
    pub stretch: Stretch,
    /// Makes the message for the client. Runs on a shard, for a client that is slow: nothing in it
    /// may block.
    pub tell: Arc<dyn Fn(Stretch) -> Option<Arc<Frame>> + Send + Sync>,
}

impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loss")
            .field("stream", &self.stream)
            .field("stretch", &self.stretch)
            .finish_non_exhaustive()
    }
}
