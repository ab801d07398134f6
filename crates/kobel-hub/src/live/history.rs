//! The last ten minutes in columns, so that a chart is full at once.

use std::collections::VecDeque;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// How far back a history goes, milliseconds.
pub(crate) const SPAN_MS: i64 = 600_000;

/// The most points a history holds: a point a second, and one for the fence.
const POINTS: usize = 601;

/// Points that come closer than this to the last one replace it, milliseconds.
const CLOSEST_MS: i64 = 500;

/// `N` named series over one time axis, for the last ten minutes.
///
/// Stored as `f32`, which keeps seven digits: enough for a chart, half the memory. JSON:
/// `{"t": [epoch ms…], "cpu": [number or null…], …}`.
#[derive(Debug, Clone)]
pub(crate) struct History<const N: usize> {
    names: &'static [&'static str; N],
    t: VecDeque<i64>,
    values: [VecDeque<f32>; N],
}

impl<const N: usize> History<N> {
    pub(crate) fn new(names: &'static [&'static str; N]) -> Self {
        Self { names, t: VecDeque::new(), values: std::array::from_fn(|_| VecDeque::new()) }
    }

    /// Adds a point. One that is older than the last (a clock set back) starts the history anew:
    /// an axis that runs backwards draws nothing sensible.
    pub(crate) fn push(&mut self, t: i64, point: [Option<f64>; N]) {
        match self.t.back() {
            Some(&last) if t < last => self.truncate(0),
            Some(&last) if t - last < CLOSEST_MS => self.truncate(self.t.len() - 1),
            _ => {}
        }
        while self.t.front().is_some_and(|&first| t - first > SPAN_MS) || self.t.len() >= POINTS {
            self.t.pop_front();
            self.values.iter_mut().for_each(|column| {
                column.pop_front();
            });
        }
        self.t.push_back(t);
        for (column, value) in self.values.iter_mut().zip(point) {
            column.push_back(value.map_or(f32::NAN, |v| v as f32));
        }
    }

    /// When the newest point was, ms.
    pub(crate) fn last(&self) -> Option<i64> {
        self.t.back().copied()
    }

    fn truncate(&mut self, len: usize) {
        self.t.truncate(len);
        self.values.iter_mut().for_each(|column| column.truncate(len));
    }
}

impl<const N: usize> Serialize for History<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(N + 1))?;
        map.serialize_entry("t", &self.t)?;
        for (name, column) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, &Column(column))?;
        }
        map.end()
    }
}

struct Column<'a>(&'a VecDeque<f32>);

impl Serialize for Column<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for &value in self.0 {
            // Whole numbers without ".0", absent values as null: a third of the bytes.
            if value.is_nan() {
                seq.serialize_element(&())?;
            } else if value.fract() == 0.0 && value.abs() < 9e15 {
                seq.serialize_element(&(value as i64))?;
            } else {
                seq.serialize_element(&value)?;
            }
        }
        seq.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(history: &History<2>) -> String {
        serde_json::to_string(history).unwrap()
    }

    #[test]
    fn absent_values_are_null() {
        let mut history = History::new(&["cpu", "memory"]);
        history.push(1_000, [Some(1.25), None]);
        history.push(2_000, [Some(2.0), Some(50.5)]);
        assert_eq!(json(&history), r#"{"t":[1000,2000],"cpu":[1.25,2],"memory":[null,50.5]}"#);
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut history = History::new(&["cpu", "memory"]);
        for second in 0..2_000 {
            history.push(second * 1_000, [Some(second as f64), None]);
        }
        assert_eq!(history.t.len(), 601);
        assert_eq!(history.t.front(), Some(&1_399_000));
        assert_eq!(history.values[0].front(), Some(&1_399.0));
        // After a long pause only what is within the span remains.
        history.push(1_999_000 + 599_000, [None, None]);
        assert_eq!(history.t.len(), 3);
    }

    #[test]
    fn a_clock_set_back_starts_anew() {
        let mut history = History::new(&["cpu", "memory"]);
        history.push(10_000, [Some(1.0), None]);
        history.push(5_000, [Some(2.0), None]);
        assert_eq!(json(&history), r#"{"t":[5000],"cpu":[2],"memory":[null]}"#);
    }

    #[test]
    fn a_point_at_nearly_the_same_time_replaces_the_last() {
        let mut history = History::new(&["cpu", "memory"]);
        history.push(1_000, [Some(1.0), None]);
        history.push(1_100, [Some(2.0), None]);
        assert_eq!(json(&history), r#"{"t":[1100],"cpu":[2],"memory":[null]}"#);
    }
}
