//! What a device did while nobody watched: half minutes with their least, mean and greatest
//! values.

use std::collections::VecDeque;

use kobel_wire::{SERIES, Spread, Summary, Timestamp};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::history::SPAN_MS;

/// The most that are kept: ten minutes of half minutes, and one for the fence.
const KEPT: usize = 21;

#[derive(Debug, Clone)]
struct Kept {
    from: i64,
    to: i64,
    samples: u32,
    /// Least and greatest; the mean stands in the history.
    series: Box<[[f32; 2]; SERIES.len()]>,
}

/// The summaries of the last ten minutes. JSON:
/// `{"t": [ms…], "seconds": [number…], "cpu": {"min": [number or null…], "max": […]}, …}`, where a
/// `t` is that of the point with the mean in `recent`. Series that nobody had are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summaries(VecDeque<Kept>);

impl Summaries {
    /// Adds one that is newer than those before; others are left out.
    pub(crate) fn push(&mut self, summary: &Summary) {
        let to = summary.to.as_millis();
        if self.0.back().is_some_and(|last| to <= last.to) {
            return;
        }
        self.forget(summary.to);
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        let pick = |spread: Option<Spread>| spread.map_or([f32::NAN; 2], |s| [s.min, s.max]);
        let series = Box::new(summary.series.map(pick));
        self.0.push_back(Kept {
            from: summary.from.as_millis(),
            to,
            samples: summary.samples,
            series,
        });
    }

    /// Forgets what is too old.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        while self.0.front().is_some_and(|first| now.as_millis() - first.to > SPAN_MS) {
            self.0.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Summaries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("t", &self.0.iter().map(|kept| kept.to).collect::<Vec<_>>())?;
        let seconds = |kept: &Kept| (kept.to - kept.from) as f64 / 1_000.0;
        map.serialize_entry("seconds", &self.0.iter().map(seconds).collect::<Vec<_>>())?;
        let samples = |kept: &Kept| kept.samples;
        map.serialize_entry("samples", &self.0.iter().map(samples).collect::<Vec<_>>())?;
        for (at, name) in SERIES.iter().enumerate() {
            if self.0.iter().any(|kept| !kept.series[at][0].is_nan()) {
                map.serialize_entry(name, &Band { kept: &self.0, at })?;
            }
        }
        map.end()
    }
}

struct Band<'a> {
    kept: &'a VecDeque<Kept>,
    at: usize,
}

impl Serialize for Band<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        for (end, name) in ["min", "max"].into_iter().enumerate() {
            map.serialize_entry(name, &End { band: self, end })?;
        }
        map.end()
    }
}

struct End<'a> {
    band: &'a Band<'a>,
    end: usize,
}

impl Serialize for End<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.band.kept.len()))?;
        for kept in self.band.kept {
            let value = kept.series[self.band.at][self.end];
            seq.serialize_element(&(!value.is_nan()).then_some(value))?;
        }
        seq.end()
    }
}

#[cfg(test)]
mod tests {
    use kobel_wire::DeviceId;

    use super::*;

    fn summary(from: i64, to: i64, cpu: Option<Spread>) -> Summary {
        let mut series = [None; SERIES.len()];
        series[0] = cpu;
        Summary {
            device_uuid: "0198c0de-0000-7000-8000-0000000000ab".parse().unwrap(),
            id: DeviceId(1),
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
            samples: 30,
            series,
        }
    }

    #[test]
    fn ten_minutes_are_kept_in_order() {
        let mut summaries = Summaries::default();
        let spread = Some(Spread { min: 1.0, mean: 2.5, max: 9.0 });
        summaries.push(&summary(0, 30_000, spread));
        summaries.push(&summary(30_000, 60_000, None));
        // Out of order: told already.
        summaries.push(&summary(0, 30_000, spread));
        let json = serde_json::to_string(&summaries).unwrap();
        assert_eq!(
            json,
            r#"{"t":[30000,60000],"seconds":[30.0,30.0],"samples":[30,30],"cpu":{"min":[1.0,null],"max":[9.0,null]}}"#
        );
        for n in 3..100 {
            summaries.push(&summary((n - 1) * 30_000, n * 30_000, spread));
        }
        assert_eq!(summaries.0.len(), KEPT);
        summaries.forget(Timestamp::from_millis(10_000_000));
        assert!(summaries.is_empty());
    }
}
