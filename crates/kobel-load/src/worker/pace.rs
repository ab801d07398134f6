//! So many a second.

use std::time::Duration;

use tokio::time::Instant;

/// Says how many are due at a rate, without ever falling behind by more than one call.
#[derive(Debug)]
pub(super) struct Pace {
    rate: f64,
    start: Instant,
    done: u64,
}

impl Pace {
    /// So many a second from now on; 0: without limit.
    pub(super) fn new(rate: f64, now: Instant) -> Self {
        Self { rate, start: now, done: 0 }
    }

    /// How many are due now, at most `limit`; they count as done.
    pub(super) fn due(&mut self, now: Instant, limit: usize) -> usize {
        if self.rate <= 0.0 {
            return limit;
        }
        let all = (now.duration_since(self.start).as_secs_f64() * self.rate) as u64;
        let due = usize::try_from(all.saturating_sub(self.done)).unwrap_or(usize::MAX).min(limit);
        self.done += due as u64;
        // What was due while there was nothing to do is not made up for.
        if all > self.done && limit == 0 {
            *self = Self::new(self.rate, now);
        }
        due
    }

    /// A moment around `mean` later, so that those that failed together do not return together.
    pub(super) fn later(mean: Duration, now: Instant, random: u32) -> Instant {
        now + mean.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(1000.0, start);
        assert_eq!(pace.due(at(0), 10), 0);
        assert_eq!(pace.due(at(5), 10), 5);
        assert_eq!(pace.due(at(105), 10), 10);
        assert_eq!(pace.due(at(105), 200), 90);
        assert_eq!(pace.due(at(105), 200), 0);
        // Nothing to do for a while is not saved up.
        assert_eq!(pace.due(at(1105), 0), 0);
        assert_eq!(pace.due(at(1107), 100), 2);
        assert_eq!(Pace::new(0.0, start).due(start, 7), 7);
    }
}
