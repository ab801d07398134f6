//! A room's last events, for those who come back.

use std::{collections::VecDeque, sync::Arc};

use kobel_wire::{Timestamp, event::Seq};
use serde_json::value::RawValue;

/// How many events a room keeps. What is kept is seldom: changes of state, not figures.
const KEPT: usize = 500;

/// And how many bytes.
const BYTES: usize = 256 * 1024;

/// An event as it was told.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) seq: Seq,
    pub(crate) name: &'static str,
    /// Names what it is about, inside a batch.
    pub(crate) id: Box<str>,
    pub(crate) data: Arc<RawValue>,
    pub(crate) at: Timestamp,
}

/// The last events of a room, oldest first. Samples and figures are not among them: their newest
/// replaces the rest, and that is in the live state.
///
/// Nothing is kept before the room's first viewer: nobody has a position there to come back to, and
/// most rooms never have one.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    events: VecDeque<Kept>,
    bytes: usize,
    /// The number of the newest event that is gone, or was before the first viewer.
    floor: Seq,
    open: bool,
}

impl Ring {
    /// The room, whose last event was `seq`, has a viewer: from now on events are kept.
    pub(crate) fn open(&mut self, seq: Seq) {
        if !self.open {
            (self.open, self.floor) = (true, seq);
        }
    }

    /// Adds an event, if events are kept and it can be encoded.
    pub(crate) fn keep(&mut self, event: impl FnOnce() -> Option<Kept>) {
        if self.open
            && let Some(event) = event()
        {
            self.push(event);
        }
    }

    fn push(&mut self, event: Kept) {
        self.bytes += event.data.get().len();
        self.events.push_back(event);
        while self.events.len() > KEPT || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.data.get().len();
            self.floor = oldest.seq;
        }
    }

    /// The kept events after this one; `None` where some are gone.
    pub(crate) fn after(&self, seq: Seq) -> Option<impl Iterator<Item = &Kept>> {
        let first = self.events.partition_point(|event| event.seq <= seq);
        (seq >= self.floor).then(|| self.events.range(first..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(seq: Seq, size: usize) -> Kept {
        let data = RawValue::from_string(format!("\"{}\"", "x".repeat(size))).unwrap();
        Kept { seq, name: "e", id: "i".into(), data: data.into(), at: Timestamp::default() }
    }

    fn seqs(ring: &Ring, after: Seq) -> Option<Vec<Seq>> {
        Some(ring.after(after)?.map(|event| event.seq).collect())
    }

    #[test]
    fn gives_what_came_after() {
        let mut ring = Ring::default();
        for seq in [2, 3, 7] {
            ring.push(kept(seq, 1));
        }
        assert_eq!(seqs(&ring, 0), Some(vec![2, 3, 7]));
        assert_eq!(seqs(&ring, 3), Some(vec![7]));
        assert_eq!(seqs(&ring, 5), Some(vec![7]));
        assert_eq!(seqs(&ring, 9), Some(vec![]));
    }

    #[test]
    fn is_bounded_and_says_what_is_gone() {
        let mut ring = Ring::default();
        for seq in 1..=600 {
            ring.push(kept(seq, 1));
        }
        assert_eq!(seqs(&ring, 99), None);
        assert_eq!(seqs(&ring, 100).unwrap().len(), 500);
        for seq in 601..=610 {
            ring.push(kept(seq, 100_000));
        }
        assert!(ring.bytes <= BYTES);
        assert_eq!(seqs(&ring, 607), None);
        assert_eq!(seqs(&ring, 608), Some(vec![609, 610]));
        ring.push(kept(611, BYTES + 1));
        assert_eq!((seqs(&ring, 610), seqs(&ring, 611)), (None, Some(vec![])));
    }
}
