//! A room's stream position.

use std::sync::Arc;

use kobel_wire::event::Seq;

use crate::request::Since;

/// Where a room's stream stands: its epoch and the number of its last event.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) epoch: Arc<str>,
    pub(crate) seq: Seq,
}

impl Stream {
    pub(crate) fn new(epoch: &Arc<str>) -> Self {
        Self { epoch: Arc::clone(epoch), seq: 0 }
    }

    /// The number of the next event.
    pub(crate) fn next(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    /// Whether a viewer's position is one of this stream: then what it missed can be told from
    /// what was missed by everybody.
    pub(crate) fn holds(&self, since: &Since) -> bool {
        *self.epoch == *since.epoch && since.seq <= self.seq
    }
}
