//! How far a container's log was read, in terms that the engine understands.

use kobel_wire::log::LogTime;
use serde::{Deserialize, Serialize};

/// The engine's times of two lines may be out of order by so much, nanoseconds.
const MARGIN: i64 = 1_000_000_000;

/// How far a log was read. An engine can be asked for its lines from a time on; it gives them in the
/// order of its file, so those that were read before are the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// From when on to ask, that time included. Nanoseconds since 1970, as all times here.
    pub since: i64,
    /// So many of the lines that come then were read before.
    pub seen: u64,
    /// The newest time of a line that was read: a later one is new, whatever is missing.
    pub newest: i64,
}

/// Where to begin with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// The newest lines, so many.
    Tail(u32),
    /// All that the engine has.
    All,
    /// After what was read before.
    After(LogPosition),
}

/// Follows the position while lines come.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogProgress {
    at: Option<LogPosition>,
    /// A later time to ask from, and how many lines came since that have it or a later one.
    next: Option<(i64, u64)>,
    /// Whether nothing is before the first line: one that comes late is new, however early its time.
    whole: bool,
}

impl LogProgress {
    /// Of a log that is read from its first line on.
    pub fn whole() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// Of a log that is read from there on.
    pub fn starting(start: LogStart) -> Self {
        match start {
            LogStart::After(position) => Self::from(position),
            LogStart::All => Self::whole(),
            LogStart::Tail(_) => Self::default(),
        }
    }

    /// From where a log was read to before.
    pub fn from(position: LogPosition) -> Self {
        Self { at: Some(position), ..Self::default() }
    }

    /// How far it was read; `None` while nothing was.
    pub fn position(&self) -> Option<LogPosition> {
        self.at
    }

    /// A line was read, in the order of the engine's file.
    pub fn line(&mut self, at: LogTime) {
        let at = at.as_nanos();
        let Some(position) = &mut self.at else {
            let since = if self.whole { at.saturating_sub(MARGIN) } else { at };
            self.at = Some(LogPosition { since, seen: 1, newest: at });
            return;
        };
        // No line that was read before is as late as that.
        let (next, count) = self.next.get_or_insert((position.newest.saturating_add(1), 0));
        position.newest = position.newest.max(at);
        position.seen += u64::from(at >= position.since);
        *count += u64::from(at >= *next);
        if *next <= position.newest.saturating_sub(MARGIN) {
            (position.since, position.seen) = (*next, *count);
            self.next = None;
        }
    }

    /// Lines are missing, nobody knows how many: those that come are counted anew.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Asked for the lines from `since` on, the engine gives the seen ones first, then the rest.
        #[test]
        fn what_was_read_is_skipped_and_nothing_else(
            steps in prop::collection::vec((0..900_i64, -400..1_i64), 1..80),
            cut in 0..80_usize,
        ) {
            let mut now = 10_000_000_000;
            let file: Vec<i64> = steps
                .iter()
                .map(|(step, early)| {
                    now += step * 1_000_000;
                    now + early * 1_000_000
                })
                .collect();
            let read = cut.min(file.len());
            let mut progress = LogProgress::whole();
            for (n, at) in file[..read].iter().enumerate() {
                progress.line(LogTime::from_nanos(*at));
                // A hub that starts again in between.
                if n % 7 == 3 {
                    progress = LogProgress::from(progress.position().unwrap());
                }
            }
            let Some(position) = progress.position() else { return Ok(()) };
            let asked: Vec<_> = file.iter().filter(|at| **at >= position.since).collect();
            let seen = usize::try_from(position.seen).unwrap();
            let rest: Vec<_> = asked[seen..].to_vec();
            let late = file[read..].iter().filter(|at| **at >= position.since).collect::<Vec<_>>();
            prop_assert_eq!(rest, late);
            prop_assert!(file[read..].iter().all(|at| *at >= position.since));
        }
    }

    #[test]
    fn an_early_line_behind_the_first_one_is_asked_for() {
        let mut progress = LogProgress::whole();
        progress.line(LogTime::from_nanos(10_000_000_000));
        let position = progress.position().unwrap();
        assert!(position.since <= 9_600_000_000, "{position:?}");
        assert_eq!((position.seen, position.newest), (1, 10_000_000_000));
        // Before the first line of a tail there are others, which were not read.
        let mut progress = LogProgress::default();
        progress.line(LogTime::from_nanos(10_000_000_000));
        assert_eq!(progress.position().unwrap().since, 10_000_000_000);
    }

    #[test]
    fn the_time_to_ask_from_moves_on() {
        let mut progress = LogProgress::default();
        for n in 0..1_000_000_i64 {
            progress.line(LogTime::from_nanos(n * 1_000_000));
        }
        let position = progress.position().unwrap();
        assert!(position.seen <= 2_100, "{position:?}");
        assert_eq!(position.newest, 999_999_000_000);
        progress.lost();
        assert_eq!(progress.position(), None);
    }
}
