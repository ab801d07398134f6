//! When a line was written, to the nanosecond.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// An instant of the wall clock, in nanoseconds since 1970-01-01T00:00:00Z: the years 1677 to
/// 2262.
///
/// In JSON: ISO 8601, UTC, with milliseconds, or with nanoseconds where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogTime(i64);

impl LogTime {
    /// The instant `ns` nanoseconds after the epoch.
    pub const fn from_nanos(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

impl From<Timestamp> for LogTime {
    fn from(at: Timestamp) -> Self {
        Self(at.as_millis().saturating_mul(1_000_000))
    }
}

impl From<LogTime> for Timestamp {
    fn from(at: LogTime) -> Self {
        Self::from_millis(at.0.div_euclid(1_000_000))
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds is within the range of jiff.
        let at = jiff::Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?;
        if self.0 % 1_000_000 == 0 { write!(f, "{at:.3}") } else { write!(f, "{at:.9}") }
    }
}

impl Serialize for LogTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(Error::custom)?;
        let ns = i64::try_from(at.as_nanosecond());
        ns.map(Self).map_err(|_| Error::custom("not between the years 1677 and 2262"))
    }
}
