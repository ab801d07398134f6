//! From two readings of the counters to figures a second.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use kobel_fanout::{Histogram, Snapshot};
use kobel_wire::{
    Timestamp,
    system::{ClientDistribution, Direction, EventRate, InOut, ProcessUse, System, Tally},
};

use super::{monitor::ProcessReading, percentile};
use crate::room::RoomKind;

/// How many of the busiest events are told.
const TOP: usize = 10;

/// A rate over less than this says nothing.
const SHORTEST: Duration = Duration::from_millis(50);

/// The counters at one instant.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Those of the fan-out.
    pub fanout: Snapshot,
    /// Subscriptions by kind of room, in the order of [`RoomKind::ALL`].
    pub subscriptions: [u64; RoomKind::ALL.len()],
    /// Those of the process.
    pub process: ProcessReading,
}

/// When a reading was made, and of what.
#[derive(Debug, Clone, Copy)]
pub struct When<'a> {
    /// Since the reading before.
    pub interval: Duration,
    /// Since the hub started.
    pub uptime: Duration,
    /// By the wall clock.
    pub wall: Timestamp,
    /// The version that runs.
    pub version: &'a str,
}

/// The figures of the time between two readings; `None` where it is too short for a rate.
///
/// Rates are means over the whole of that time, also where the process stood still meanwhile. A
/// counter that went back (a shard that failed took its counts with it) has no rate.
pub fn between(before: &Reading, after: &Reading, when: When<'_>) -> Option<System> {
    if when.interval < SHORTEST {
        return None;
    }
    let seconds = when.interval.as_secs_f64();
    let rate = |count: Option<u64>| count.map(|count| count as f64 / seconds);
    let (old, new) = (&before.fanout, &after.fanout);
    let errors = by_last(&old.errors, &new.errors, seconds);
    let closed = new.closed.iter().map(|(reason, total)| {
        let before = old.closed.get(reason).copied().unwrap_or_default();
        ((*reason).to_owned(), Tally { per_second: rate(total.checked_sub(before)), total: *total })
    });
    let received = since(&old.received, &new.received);
    let sent = since(&old.sent, &new.sent);
    Some(System {
        sampled_at: when.wall,
        total_connections: new.active.values().sum(),
        connections_by_namespace: new.active.iter().map(|(ns, n)| (ns.to_string(), *n)).collect(),
        messages_per_second: InOut { received: rate(received), sent: rate(sent) },
        average_message_size: InOut {
            received: mean_size(&old.received_size, &new.received_size),
            sent: mean_size(&old.sent_size, &new.sent_size),
        },
        error_rate: rate(since(&old.errors, &new.errors)),
        errors,
        top_events: top_events(old, new, seconds),
        client_distribution: ClientDistribution {
            by_transport: [("polling", new.polling), ("websocket", new.websocket)]
                .map(|(transport, count)| (transport.to_owned(), count))
                .into(),
            by_room_type: RoomKind::ALL
                .iter()
                .zip(after.subscriptions)
                .map(|(kind, count)| (kind.as_str().to_owned(), count))
                .collect(),
        },
        closed: closed.collect(),
        delivery: percentile::between(&old.delivery, &new.delivery),
        backlog_bytes: new.backlog_bytes,
        conflated_per_second: rate(new.conflated.checked_sub(old.conflated)),
        dropped_per_second: rate(new.dropped.checked_sub(old.dropped)),
        process: process(&before.process, &after.process, seconds),
        uptime: when.uptime.as_secs_f64(),
        interval: seconds,
        version: when.version.to_owned(),
    })
}

/// How much all counters of a family grew; `None` where one of them went back.
fn since<K: Eq + Hash>(before: &HashMap<K, u64>, after: &HashMap<K, u64>) -> Option<u64> {
    let grown = |(key, old): (&K, &u64)| after.get(key).copied().unwrap_or_default() >= *old;
    let sum = |family: &HashMap<K, u64>| family.values().sum::<u64>();
    before.iter().all(grown).then(|| sum(after) - sum(before))
}

/// A family of counters by namespace and something, by that something alone.
fn by_last(
    before: &HashMap<(Arc<str>, &'static str), u64>,
    after: &HashMap<(Arc<str>, &'static str), u64>,
    seconds: f64,
) -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (key, total) in after {
        let grown = total.checked_sub(before.get(key).copied().unwrap_or_default());
        let rate = grown.map(|count| count as f64 / seconds);
        let fresh = Tally { per_second: Some(0.0), total: 0 };
        let tally = tallies.entry(key.1.to_owned()).or_insert(fresh);
        tally.total += total;
        tally.per_second = tally.per_second.zip(rate).map(|(sum, rate)| sum + rate);
    }
    tallies
}

/// The mean size of the messages of all namespaces; `None` where there were none.
fn mean_size(
    before: &HashMap<Arc<str>, Histogram>,
    after: &HashMap<Arc<str>, Histogram>,
) -> Option<f64> {
    let all = |family: &HashMap<Arc<str>, Histogram>| {
        family.values().fold((0, 0), |(n, sum), sizes| (n + sizes.count(), sum + sizes.sum))
    };
    let ((old_count, old_sum), (count, sum)) = (all(before), all(after));
    let messages = count.checked_sub(old_count).filter(|n| *n > 0)?;
    Some(sum.checked_sub(old_sum)? as f64 / messages as f64)
}

fn top_events(old: &Snapshot, new: &Snapshot, seconds: f64) -> Vec<EventRate> {
    let mut grown: HashMap<(&Arc<str>, Direction), u64> = HashMap::new();
    for (before, after, direction) in
        [(&old.received, &new.received, Direction::In), (&old.sent, &new.sent, Direction::Out)]
    {
        for (key, total) in after {
            let count = total.saturating_sub(before.get(key).copied().unwrap_or_default());
            if count > 0 {
                *grown.entry((&key.1, direction)).or_default() += count;
            }
        }
    }
    let mut busiest: Vec<_> = grown.into_iter().collect();
    // Equally busy ones by name, so that they do not change places.
    busiest.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    busiest.truncate(TOP);
    let told = |((event, direction), count): ((&Arc<str>, Direction), u64)| EventRate {
        event: event.to_string(),
        direction,
        per_second: count as f64 / seconds,
    };
    busiest.into_iter().map(told).collect()
}

fn process(before: &ProcessReading, after: &ProcessReading, seconds: f64) -> ProcessUse {
    let spent = after.cpu_seconds.zip(before.cpu_seconds).map(|(new, old)| new - old);
    ProcessUse {
        cpu: spent.filter(|spent| *spent >= 0.0).map(|spent| spent / seconds * 100.0),
        memory_bytes: after.memory_bytes,
        open_files: after.open_files,
        open_files_limit: after.open_files_limit,
        threads: after.threads,
    }
}

#[cfg(test)]
mod tests;
