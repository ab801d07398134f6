//! What a group of viewers that look seldom has not been told yet.

use std::{collections::HashSet, mem, time::Duration};

use kobel_wire::{ContainerId, DeviceUuid};
use tokio::time::Instant;

/// A sample may come this much early and still count as due: sources tick on their own clock.
pub(super) const EARLY: Duration = Duration::from_millis(300);

/// Past its time a group waits this long for something fresh before it is told what is known.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thing whose newest value replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// A device's sample.
    Sample(DeviceUuid),
    /// A container and its figures.
    Container(DeviceUuid, ContainerId),
    /// A device itself.
    Device(DeviceUuid),
    /// The hub's own figures.
    System,
}

/// What changed since a group was last told. Bounded by what exists: a thing stands here once.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    held: Vec<Item>,
    known: HashSet<Item>,
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
    pub(crate) fn hold(&mut self, item: &Item) {
        if self.known.insert(item.clone()) {
            self.held.push(item.clone());
        }
        let due = self.next.map(|next| next + PATIENCE);
        self.due = self.due.or(due);
    }

    /// The group was told of this just now, for another reason; the rest is due with it.
    pub(crate) fn told(&mut self, item: &Item, now: Instant) {
        if self.known.remove(item) {
            self.held.retain(|held| held != item);
        }
        self.due = (!self.held.is_empty()).then_some(now);
    }

    /// What is held, oldest first.
    pub(crate) fn held(&self) -> &[Item] {
        &self.held
    }

    /// Takes what is held, to tell it now; the next is due after `rate`.
    pub(crate) fn take(&mut self, rate: Duration, now: Instant) -> Vec<Item> {
        self.due = None;
        self.next = Some(now + rate);
        self.known.clear();
        mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Duration = Duration::from_secs(5);

    #[test]
    fn the_last_value_before_a_silence_is_told() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        assert!(pace.opens(RATE, at(0)), "nothing was told yet");
        for ms in [1_000, 4_000, 4_699] {
            assert!(!pace.opens(RATE, at(ms)));
            pace.hold(&Item::System);
            assert_eq!(pace.due, Some(at(6_000)));
        }
        // A fresh one in time goes at once, instead of what is held.
        assert!(pace.opens(RATE, at(4_700)));
        pace.told(&Item::System, at(4_700));
        assert_eq!(pace.due, None);
        assert!(!pace.opens(RATE, at(5_700)));
        pace.hold(&Item::System);
        assert_eq!(pace.due, Some(at(10_700)));
        assert_eq!(pace.take(RATE, at(10_700)), [Item::System]);
        assert!(pace.held().is_empty());
        assert_eq!(pace.due, None);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let other = Item::Sample("0198c0de-0000-7000-8000-0000000000ab".parse().unwrap());
        pace.opens(RATE, now);
        pace.hold(&Item::System);
        pace.hold(&other);
        assert_ne!(pace.due, Some(now));
        pace.told(&Item::System, now);
        assert_eq!(pace.due, Some(now), "the rest goes with it");
        assert_eq!(pace.take(RATE, now), [other]);
    }
}
