//! How closely a viewer looks, by how long ago it last did something.

use std::time::Duration;

use tokio::time::Instant;

/// For so long after an activity a viewer is active.
const ACTIVE: Duration = Duration::from_secs(10);

/// And for so long it is not yet inactive.
const IDLE: Duration = Duration::from_secs(60);

/// How often a viewer gets samples, where it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Each second.
    Active,
    /// Each five seconds.
    Idle,
    /// Each half minute.
    Inactive,
}

impl Tier {
    /// One sample in so many seconds.
    pub(crate) fn rate(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Idle => 5,
            Self::Inactive => 30,
        }
    }
}

/// When a viewer last did something, and whether it can see anything at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    last: Instant,
    hidden: bool,
}

impl Activity {
    /// A viewer that has just come.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: now, hidden: false }
    }

    /// It did something, so it looks.
    pub(crate) fn seen(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Its page cannot be seen: nobody looks, however lately somebody did.
    pub(crate) fn hide(&mut self) {
        self.hidden = true;
    }

    /// The tier at this time.
    pub(crate) fn tier(&self, now: Instant) -> Tier {
        let since = now.saturating_duration_since(self.last);
        if self.hidden || since >= IDLE {
            Tier::Inactive
        } else if since >= ACTIVE {
            Tier::Idle
        } else {
            Tier::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_ends_at_its_edge() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        let at = |activity: &Activity, ms| activity.tier(start + Duration::from_millis(ms));
        for (ms, tier) in [
            (0, Tier::Active),
            (9_900, Tier::Active),
            (9_999, Tier::Active),
            (10_000, Tier::Idle),
            (59_900, Tier::Idle),
            (59_999, Tier::Idle),
            (60_000, Tier::Inactive),
            (86_400_000, Tier::Inactive),
        ] {
            assert_eq!(at(&activity, ms), tier, "after {ms} ms");
        }
        activity.seen(start + Duration::from_secs(100));
        assert_eq!(at(&activity, 100_000), Tier::Active);
        assert_eq!(at(&activity, 110_000), Tier::Idle);
        activity.hide();
        assert_eq!(at(&activity, 100_000), Tier::Inactive);
        activity.seen(start + Duration::from_secs(120));
        assert_eq!(at(&activity, 129_900), Tier::Active);
    }
}
