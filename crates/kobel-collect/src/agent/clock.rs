//! Whether somebody set this machine's clock while reports waited.
//!
//! A host that boots without a network may have a clock that is wrong by years, until the network
//! comes, and with it the right time and the hub. What was read before then has times by the old
//! clock; the hub is told how far it was set since. How long a machine slept is no such matter, so
//! the clock is held against one that goes on meanwhile.

use kobel_wire::Timestamp;

/// Less is the clock being slewed, or the two being read one after the other.
const LEAST_MS: i64 = 2_000;

/// Holds the wall's clock against the time since the boot, each time that it is asked.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    /// What the wall's clock was ahead of the time since the boot, milliseconds.
    ahead_ms: Option<i64>,
}

impl ClockWatch {
    /// How far the clock was set since it was last asked, milliseconds; `None` where it was not.
    pub(super) fn set_by(&mut self, wall: Timestamp, since_boot_ms: i64) -> Option<i64> {
        let ahead = wall.as_millis().saturating_sub(since_boot_ms);
        let moved = ahead.saturating_sub(self.ahead_ms.replace(ahead)?);
        (moved.saturating_abs() >= LEAST_MS).then_some(moved)
    }
}

/// Milliseconds since the boot, those included that the machine slept.
pub(super) fn since_boot_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_sleep_and_slew_are_none() {
        let mut watch = ClockWatch::default();
        let mut at = |wall: i64, boot| watch.set_by(Timestamp::from_millis(wall), boot);
        assert_eq!(at(1_000_000, 5_000), None, "the first time there is nothing to compare with");
        assert_eq!(at(1_001_001, 6_000), None);
        // A day forward, and back.
        assert_eq!(at(87_402_000, 7_000), Some(86_399_999));
        assert_eq!(at(87_403_000, 8_000), None);
        assert_eq!(at(1_004_000, 9_000), Some(-86_400_000));
        // It slept for an hour: both went on.
        assert_eq!(at(4_605_000, 3_610_000), None);
        // Slewed for long: each time a little.
        for n in 1..10_000 {
            assert_eq!(at(4_605_000 + n * 1_001, 3_610_000 + n * 1_000), None);
        }
        assert!(since_boot_ms() > 0);
    }
}
