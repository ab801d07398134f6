//! What a worker counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How long things took, in µs, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        // Three digits are within what the library takes; it grows with what is recorded.
        Self(Histogram::new(3).unwrap_or_else(|_| unreachable!("1 to 5 digits are allowed")))
    }
}

impl Times {
    #[inline]
    pub(crate) fn record(&mut self, micros: u64) {
        // An hour, at most: a clock that is wrong must not cost memory. Up to that the histogram
        // grows by itself, so this cannot fail.
        let _ = self.0.record(micros.min(3_600_000_000));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (micros, count) in other.pairs() {
            // It was recorded before, so it fits; the histogram grows.
            let _ = self.0.record_n(micros, count);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that so many percent do not exceed; 0 when there are none.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_percentile(percent) }
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.max()
    }

    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pairs())
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut times = Self::default();
        for (micros, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            times.0.record_n(micros, count).map_err(de::Error::custom)?;
        }
        Ok(times)
    }
}

/// What a worker counted over some time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Events, and the bytes of their JSON and attachments.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Events without a stamp.
    pub(crate) unstamped: u64,
    /// From the stamp to the read.
    pub(crate) latency: Times,
    /// The same of the witnesses, which are not in `latency`.
    pub(crate) witnesses: Times,
    /// From the first packet to being connected and subscribed.
    pub(crate) opening: Times,
    /// From being cut, or from closing, to being there again.
    pub(crate) back: Times,
    /// Attempts that failed, by why.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Connections that were given up.
    pub(crate) failed: u32,
    /// Connections that were lost, by why.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Connections closed for churn.
    pub(crate) churned: u64,
    /// Connections that are there in the end.
    pub(crate) live: u32,
    /// Of these, those that do not read.
    pub(crate) slow: u32,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.unstamped += other.unstamped;
        self.latency.merge(&other.latency);
        self.witnesses.merge(&other.witnesses);
        self.opening.merge(&other.opening);
        self.back.merge(&other.back);
        for (own, others) in [(&mut self.errors, &other.errors), (&mut self.lost, &other.lost)] {
            for (kind, count) in others {
                *own.entry(kind.clone()).or_default() += count;
            }
        }
        self.failed += other.failed;
        self.churned += other.churned;
        self.live += other.live;
        self.slow += other.slow;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two that were merged, over a pipe, are the one that saw everything.
        #[test]
        fn merging_is_as_if_one_had_seen_all(
            ours in prop::collection::vec(0u64..10_000_000, 0..50),
            theirs in prop::collection::vec(0u64..10_000_000, 1..50),
        ) {
            let (mut one, mut other, mut all) = (Tally::default(), Tally::default(), Tally::default());
            for micros in &ours {
                one.latency.record(*micros);
                all.latency.record(*micros);
            }
            for micros in &theirs {
                other.latency.record(*micros);
                all.latency.record(*micros);
            }
            other.lost.insert("x".into(), 2);
            one.lost.insert("x".into(), 1);
            let line = serde_json::to_string(&other).unwrap();
            one.merge(&serde_json::from_str(&line).unwrap());
            prop_assert_eq!(one.latency.count(), all.latency.count());
            for percent in [0.0, 50.0, 95.0, 99.0, 99.9, 100.0] {
                // Within the three digits that are kept.
                let (got, expected) =
                    (one.latency.percentile(percent) as f64, all.latency.percentile(percent) as f64);
                prop_assert!((got - expected).abs() <= expected * 0.002 + 1.0, "{got} {expected}");
            }
            prop_assert_eq!(one.lost["x"], 3);
        }
    }

    #[test]
    fn nothing_recorded_is_zero() {
        let times = Times::default();
        assert_eq!((times.count(), times.percentile(99.0), times.max()), (0, 0, 0));
        let mut times = Times::default();
        times.record(u64::MAX);
        assert!(times.max() >= 3_600_000_000 * 99 / 100);
    }
}
