//! What the sources count of themselves, for metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
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
    ssh_pool: Arc<PoolStats>,
}

/// Counters of the connections to hosts that are read over SSH, of all hosts together.
#[derive(Debug, Default)]
pub(crate) struct PoolStats {
    acquired: AtomicU64,
    created: AtomicU64,
    failed: AtomicU64,
    in_use: AtomicU64,
    idle: AtomicU64,
}

impl PoolStats {
    pub(crate) fn acquired(&self) {
        self.acquired.fetch_add(1, Relaxed);
    }

    pub(crate) fn created(&self) {
        self.created.fetch_add(1, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// One host has as many connections in use and idle, each before and now.
    pub(crate) fn changed(&self, in_use: (u64, u64), idle: (u64, u64)) {
        for (of, (before, now)) in [(&self.in_use, in_use), (&self.idle, idle)] {
            // Below zero it goes round, and comes back with the next.
            of.fetch_add(now.wrapping_sub(before), Relaxed);
        }
    }

    fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot {
            acquired: self.acquired.load(Relaxed),
            created: self.created.load(Relaxed),
            failed: self.failed.load(Relaxed),
            in_use: self.in_use.load(Relaxed),
            idle: self.idle.load(Relaxed),
        }
    }
}

/// The connections to hosts that are read over SSH, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Streams that were given a place on a connection.
    pub acquired: u64,
    /// Connections that were opened and signed in.
    pub created: u64,
    /// Connections that could not be opened, or did not answer when they were to be used again.
    pub failed: u64,
    /// Connections that something goes over.
    pub in_use: u64,
    /// Connections that nobody uses.
    pub idle: u64,
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
    /// Connections over SSH.
    pub ssh_pool: PoolSnapshot,
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
            ssh_pool: self.ssh_pool.snapshot(),
        }
    }

    pub(crate) fn ssh_pool(&self) -> Arc<PoolStats> {
        Arc::clone(&self.ssh_pool)
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
