//! Wall-clock time, for display and records only; intervals are measured on tokio's clock.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant of the wall clock, in milliseconds since 1970-01-01T00:00:00Z.
///
/// In JSON: ISO 8601, UTC, with milliseconds and `Z`, as `Date.prototype.toISOString` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// The years 0000 to 9999, which ISO 8601 writes with four digits.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

impl Timestamp {
    /// The instant `ms` milliseconds after the epoch, held within the years 0 to 9999.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(*RANGE.start(), *RANGE.end()))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// What the system's clock says now.
    pub fn now() -> Self {
        Self::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// Reads an RFC 3339 instant as Docker writes it (any number of fractional digits). Docker's
    /// "never", the year 1, is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        let ms = at.as_millisecond();
        // 0001-01-01T00:00:00Z is the zero of Go's time.Time.
        (ms > -62_135_596_800_000).then(|| Self::from_millis(ms))
    }
}

/// Milliseconds since the epoch, by the system's clock.
pub fn epoch_ms() -> i64 {
    Timestamp::now().as_millis()
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => f.write_str("0000-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self::from_millis(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_a_browser_does() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp::from_millis(1_795_000_000_007).to_string(),
            "2026-11-18T11:06:40.007Z"
        );
    }

    #[test]
    fn reads_docker_times() {
        let at = Timestamp::parse("2026-11-18T11:06:40.007123456Z").unwrap();
        assert_eq!(at.as_millis(), 1_795_000_000_007);
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z"), None);
        assert_eq!(Timestamp::parse("soon"), None);
    }

    #[test]
    fn any_number_prints_something() {
        for ms in [i64::MIN, -1, i64::MAX] {
            assert!(Timestamp::from_millis(ms).to_string().ends_with('Z'));
        }
    }
}
