//! One timer for all connections of a shard.

use std::time::Duration;

/// How many buckets there are.
const BUCKETS: u64 = 512;

/// A hashed timing wheel (Varghese and Lauck, 1987): entries in buckets by their due time. An
/// entry that is due later than one turn stays in its bucket for another. Each connection has one
/// entry, whatever it waits for.
#[derive(Debug)]
pub(crate) struct Wheel {
    buckets: Vec<Vec<(u32, u32)>>,
    step: Duration,
    /// The bucket that is next to be looked at, counted from the start.
    next: u64,
}

impl Wheel {
    /// A wheel for entries that are mostly due within `span`.
    pub(crate) fn new(span: Duration) -> Self {
        let step = (span / 256).clamp(Duration::from_millis(2), Duration::from_secs(1));
        Self { buckets: vec![Vec::new(); BUCKETS as usize], step, next: 0 }
    }

    /// How long a step is.
    pub(crate) fn step(&self) -> Duration {
        self.step
    }

    /// Adds an entry that is due at `at`, counted from the start of the wheel.
    pub(crate) fn insert(&mut self, at: Duration, entry: (u32, u32)) {
        // Rounded up: an entry is never looked at before it is due.
        let bucket = at.as_micros().div_ceil(self.step.as_micros()) as u64;
        // At most one turn ahead, where the entry is looked at and put back.
        let bucket = bucket.clamp(self.next, self.next + BUCKETS - 1);
        self.buckets[(bucket % BUCKETS) as usize].push(entry);
    }

    /// The entries of the next bucket, if its time has come by `now`.
    pub(crate) fn turn(&mut self, now: Duration) -> Option<Vec<(u32, u32)>> {
        if self.step.as_nanos() * u128::from(self.next) > now.as_nanos() {
            return None;
        }
        let bucket = (self.next % BUCKETS) as usize;
        self.next += 1;
        Some(std::mem::take(&mut self.buckets[bucket]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_turns_for_years() {
        let mut wheel = Wheel::new(Duration::from_millis(1));
        wheel.next = u64::from(u32::MAX) + 1;
        let now = wheel.step * u32::MAX + wheel.step * 2;
        wheel.insert(now, (1, 0));
        let mut turned = Vec::new();
        while let Some(entries) = wheel.turn(now) {
            turned.extend(entries);
        }
        assert_eq!(turned, [(1, 0)]);
    }

    #[test]
    fn entries_come_when_they_are_due_and_not_before() {
        let mut wheel = Wheel::new(Duration::from_secs(10));
        let mut due = Vec::new();
        for n in 0..500u32 {
            let at = Duration::from_millis(u64::from(n) * 37);
            due.push(at);
            wheel.insert(at, (n, 0));
        }
        let mut seen = vec![false; 500];
        for ms in (0..25_000).step_by(10) {
            let now = Duration::from_millis(ms);
            while let Some(entries) = wheel.turn(now) {
                for (n, _) in entries {
                    assert!(due[n as usize] <= now, "{n} came early");
                    assert!(now - due[n as usize] < Duration::from_millis(100), "{n} came late");
                    seen[n as usize] = true;
                }
            }
        }
        assert!(seen.iter().all(|s| *s));
    }
}
