//! How long to wait before the next try.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double, each with a random part, so that hosts that went down together are not dialled
/// together.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// The next wait; `random` is from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.0.min(6)).min(LONGEST);
        self.0 = self.0.saturating_add(1);
        // From half of it on: never at once.
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked: the next wait is short again.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// From 0 to 1. Without randomness from the system, the middle.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.next(0.0), Duration::from_secs(30));
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    }
}
