//! What a group of viewers that look seldom has not been told yet.

use std::{mem, sync::Arc, time::Duration};

use kobel_fanout::Frame;
use kobel_wire::event::Seq;
use serde_json::value::RawValue;
use tokio::time::Instant;

/// A sample may come this much early and still count as due: sources tick on their own clock.
pub(super) const EARLY: Duration = Duration::from_millis(300);

/// Past its time a group waits this long for something fresh before it is told what is known.
const PATIENCE: Duration = Duration::from_secs(1);

/// An event that is held back, in the form in which the group gets it.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A message of its own.
    Frame(Arc<Frame>),
    /// Part of a batch.
    Update(Arc<RawValue>),
}

/// The same with its place in the room's stream.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// By it a newer one takes its place.
    pub(crate) key: u64,
    pub(crate) seq: Seq,
    pub(crate) form: Form,
}

/// The newest events since a group was last told, oldest first: one for each thing, named by the key
/// by which a newer one takes its place. They keep their numbers, so told in this order and before
/// anything newer the numbers that a viewer sees only rise. Bounded by what exists.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    held: Vec<Held>,
    /// From when on something new may be told.
    next: Option<Instant>,
    /// When what is held must be told.
    pub(crate) due: Option<Instant>,
}

impl Pace {
    /// Whether something new may be told now; then the next may after `rate`.
    pub(crate) fn opens(&mut self, rate: Duration, now: Instant) -> bool {
        let open = self.next.is_none_or(|next| now + EARLY >= next);
        if open {
            self.next = Some(now + rate);
        }
        open
    }

    /// Something has a newer value, and it is not time to tell it. It is told with the next thing
    /// that may be, and where nothing comes any more, a little after that time: so the last value
    /// before a silence is told all the same.
    pub(crate) fn hold(&mut self, event: Held) {
        self.forget(event.key);
        self.held.push(event);
        let due = self.next.map(|next| next + PATIENCE);
        self.due = self.due.or(due);
    }

    /// The group is about to be told of something newer.
    pub(crate) fn forget(&mut self, key: u64) {
        if let Some(at) = self.held.iter().position(|held| held.key == key) {
            self.held.remove(at);
        }
    }

    /// What is held, oldest first.
    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Takes what is held, to tell it now.
    pub(crate) fn take(&mut self) -> Vec<Held> {
        self.due = None;
        mem::take(&mut self.held)
    }

    /// Takes what is held since its time has come; the next may be told after `rate`.
    pub(crate) fn take_due(&mut self, rate: Duration, now: Instant) -> Vec<Held> {
        self.next = Some(now + rate);
        self.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Duration = Duration::from_secs(5);

    fn held(key: u64, seq: Seq) -> Held {
        let update = RawValue::from_string("1".into()).unwrap();
        Held { key, seq, form: Form::Update(update.into()) }
    }

    fn seqs(held: &[Held]) -> Vec<(u64, Seq)> {
        held.iter().map(|held| (held.key, held.seq)).collect()
    }

    #[test]
    fn the_last_value_before_a_silence_is_told() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        assert!(pace.opens(RATE, at(0)), "nothing was told yet");
        for ms in [1_000, 4_000, 4_699] {
            assert!(!pace.opens(RATE, at(ms)));
            pace.hold(held(7, ms));
            assert_eq!(pace.due, Some(at(6_000)));
        }
        assert_eq!(seqs(pace.held()), [(7, 4_699)]);
        // A fresh one in time goes at once, instead of what is held.
        assert!(pace.opens(RATE, at(4_700)));
        pace.forget(7);
        assert!(pace.take().is_empty());
        assert!(!pace.opens(RATE, at(5_700)));
        pace.hold(held(7, 5));
        assert_eq!(pace.due, Some(at(10_700)));
        assert_eq!(seqs(&pace.take_due(RATE, at(10_700))), [(7, 5)]);
        assert!(!pace.opens(RATE, at(15_000)));
    }

    #[test]
    fn what_is_held_stands_in_the_order_of_its_numbers() {
        let mut pace = Pace::default();
        for (key, n) in [(1, 1), (2, 2), (3, 3), (1, 4)] {
            pace.hold(held(key, n));
        }
        assert_eq!(seqs(pace.held()), [(2, 2), (3, 3), (1, 4)]);
    }
}
