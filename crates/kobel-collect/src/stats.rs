//! What the sources count of themselves, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters that all sources of a process share. Each is independent of the others, so a snapshot
/// taken between two steps may show one without the other.
#[derive(Debug, Default)]
pub struct CollectStats {
    samples: AtomicU64,
    sample_errors: AtomicU64,
    sample_duration_count: AtomicU64,
    sample_duration_micros: AtomicU64,
    lag_micros: AtomicU64,
    container_events: AtomicU64,
    engine_reconnects: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectSnapshot {
    /// Samples that were handed to the hub.
    pub samples: u64,
    /// Readings that gave nothing to hand on.
    pub sample_errors: u64,
    /// Readings whose duration is in `sample_duration_micros`.
    pub sample_duration_count: u64,
    /// What all readings took together, microseconds.
    pub sample_duration_micros: u64,
    /// How late the last reading began, microseconds.
    pub lag_micros: u64,
    /// Events that container engines sent.
    pub container_events: u64,
    /// How often an engine was reached again after it had been lost.
    pub engine_reconnects: u64,
}

impl CollectStats {
    /// The counters now.
    pub fn snapshot(&self) -> CollectSnapshot {
        CollectSnapshot {
            samples: self.samples.load(Relaxed),
            sample_errors: self.sample_errors.load(Relaxed),
            sample_duration_count: self.sample_duration_count.load(Relaxed),
            sample_duration_micros: self.sample_duration_micros.load(Relaxed),
            lag_micros: self.lag_micros.load(Relaxed),
            container_events: self.container_events.load(Relaxed),
            engine_reconnects: self.engine_reconnects.load(Relaxed),
        }
    }

    pub(crate) fn sampled(&self) {
        self.samples.fetch_add(1, Relaxed);
    }

    pub(crate) fn sample_failed(&self) {
        self.sample_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn reading_took(&self, duration: Duration) {
        self.sample_duration_count.fetch_add(1, Relaxed);
        self.sample_duration_micros.fetch_add(micros(duration), Relaxed);
    }

    pub(crate) fn tick_was_late(&self, by: Duration) {
        self.lag_micros.store(micros(by), Relaxed);
    }

    pub(crate) fn container_event(&self) {
        self.container_events.fetch_add(1, Relaxed);
    }

    pub(crate) fn engine_reconnected(&self) {
        self.engine_reconnects.fetch_add(1, Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
