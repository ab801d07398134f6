//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double up to a longest, each by a random part of up to a half shorter: those that were
/// cut off together do not all return in the same instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The next wait. `random` is 0 to 1.
    pub(crate) fn wait(&mut self, random: f64) -> Duration {
        let wait = self.first.saturating_mul(1 << self.failures.min(10)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// 0 to 1, for a wait. Without randomness from the system the longest one: not worse than that.
pub(crate) fn random() -> f64 {
    getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let waits: Vec<_> = (0..9).map(|_| backoff.wait(0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.wait(1.0).as_millis(), 15_000);
        backoff.reset();
        assert_eq!(backoff.wait(0.5).as_millis(), 375);
    }
}
