//! Figures of a server. Each shard counts for itself; a snapshot adds them up.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// Upper bounds of the message size buckets, bytes.
pub(crate) const SIZE_BUCKETS: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// The event under which unknown client events count.
const OTHER: &str = "other";

/// Sizes of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each of the buckets up to 100, 1,000, 10,000, 100,000 and 1,000,000
    /// bytes, and over it; not cumulative.
    pub buckets: [u64; 6],
    /// All bytes.
    pub sum: u64,
}

impl Histogram {
    fn observe(&mut self, size: usize, times: u64) {
        let bucket = SIZE_BUCKETS.iter().position(|bound| size <= *bound);
        self.buckets[bucket.unwrap_or(SIZE_BUCKETS.len())] += times;
        self.sum += size as u64 * times;
    }

    /// How many messages there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }
}

/// Upper bounds of the latency buckets, microseconds.
pub(crate) const LATENCY_BUCKETS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];

/// How long after its publish a message was written, or first tried: one entry a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many took up to each of [`Latency::bounds`], and longer; not cumulative.
    pub buckets: [u64; LATENCY_BUCKETS.len() + 1],
    /// All of them together, microseconds.
    pub sum_micros: u64,
}

impl Latency {
    /// Upper bounds of the buckets, seconds.
    pub fn bounds() -> impl Iterator<Item = f64> {
        LATENCY_BUCKETS.iter().map(|micros| *micros as f64 / 1e6)
    }

    /// How many deliveries there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn observe(&mut self, took: Duration, times: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BUCKETS.partition_point(|bound| *bound < micros);
        self.buckets[bucket] += times;
        self.sum_micros = self.sum_micros.saturating_add(micros.saturating_mul(times));
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }
}

/// Figures of a server at one instant. Namespaces in the keys are those that were joined.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Sockets ever connected, by namespace.
    pub connections: HashMap<Arc<str>, u64>,
    /// Sockets connected now, by namespace.
    pub active: HashMap<Arc<str>, u64>,
    /// Messages from clients, by namespace and event.
    pub received: HashMap<(Arc<str>, Arc<str>), u64>,
    /// Messages to clients, by namespace and event; a broadcast counts once per recipient.
    pub sent: HashMap<(Arc<str>, Arc<str>), u64>,
    /// Sizes of messages from clients, by namespace.
    pub received_size: HashMap<Arc<str>, Histogram>,
    /// Sizes of messages to clients, by namespace.
    pub sent_size: HashMap<Arc<str>, Histogram>,
    /// Errors, by namespace and type.
    pub errors: HashMap<(Arc<str>, &'static str), u64>,
    /// Sessions closed, by reason.
    pub closed: HashMap<&'static str, u64>,
    /// Sessions on polling now.
    pub polling: u64,
    /// Sessions on WebSocket now.
    pub websocket: u64,
    /// Frames replaced by a newer one before a slow client took them.
    pub conflated: u64,
    /// Frames dropped because too much waited for a slow client.
    pub dropped: u64,
    /// Bytes that wait for slow clients now.
    pub backlog_bytes: u64,
    /// How long after their publish messages to rooms were written.
    pub delivery: Latency,
}

impl Snapshot {
    pub(crate) fn sent(&mut self, namespace: &Arc<str>, event: &Arc<str>, size: usize, times: u64) {
        if times == 0 || event.is_empty() {
            return;
        }
        *self.sent.entry((Arc::clone(namespace), Arc::clone(event))).or_default() += times;
        self.sent_size.entry(Arc::clone(namespace)).or_default().observe(size, times);
    }

    pub(crate) fn received(
        &mut self,
        namespace: &Arc<str>,
        event: &str,
        known: &[String],
        size: usize,
    ) {
        let event = known.iter().find(|k| *k == event).map_or(OTHER, String::as_str);
        *self.received.entry((Arc::clone(namespace), event.into())).or_default() += 1;
        self.received_size.entry(Arc::clone(namespace)).or_default().observe(size, 1);
    }

    pub(crate) fn error(&mut self, namespace: &Arc<str>, kind: &'static str) {
        *self.errors.entry((Arc::clone(namespace), kind)).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        fn merge<K: std::hash::Hash + Eq>(into: &mut HashMap<K, u64>, from: HashMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key).or_default() += count;
            }
        }
        merge(&mut self.connections, other.connections);
        merge(&mut self.active, other.active);
        merge(&mut self.received, other.received);
        merge(&mut self.sent, other.sent);
        merge(&mut self.errors, other.errors);
        merge(&mut self.closed, other.closed);
        for (namespace, sizes) in &other.received_size {
            self.received_size.entry(Arc::clone(namespace)).or_default().add(sizes);
        }
        for (namespace, sizes) in &other.sent_size {
            self.sent_size.entry(Arc::clone(namespace)).or_default().add(sizes);
        }
        self.polling += other.polling;
        self.websocket += other.websocket;
        self.conflated += other.conflated;
        self.dropped += other.dropped;
        self.backlog_bytes += other.backlog_bytes;
        self.delivery.add(&other.delivery);
    }
}
