//! From the engine's counters to figures, as `docker stats` makes them.

use bollard::models::ContainerStatsResponse;

use crate::host::{rate, round2};

/// Figures of a container now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) network_in: Option<f64>,
    pub(super) network_out: Option<f64>,
    pub(super) block_read: Option<f64>,
    pub(super) block_write: Option<f64>,
    pub(super) pids: Option<u64>,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    /// By the engine's clock, nanoseconds.
    read: Option<i128>,
    cpu: Option<u64>,
    system: Option<u64>,
    network: Option<(u64, u64)>,
    block: Option<(u64, u64)>,
}

/// The last counters of a container, for the difference to the next.
#[derive(Debug, Default)]
pub(super) struct Meter(Option<Counters>);

impl Meter {
    /// The figures of what the engine says now.
    pub(super) fn read(&mut self, stats: &ContainerStatsResponse) -> Figures {
        let now = counters(stats);
        let mut figures = levels(stats);
        if let Some(before) = self.0.replace(now) {
            let online = online(stats);
            figures.cpu = cpu(&before, &now, online);
            if let Some(seconds) = seconds(&before, &now) {
                let rates = |before: Option<(u64, u64)>, now: Option<(u64, u64)>| {
                    let ((a, b), (c, d)) = before.zip(now)?;
                    Some((rate(a, c, seconds)?, rate(b, d, seconds)?))
                };
                let network = rates(before.network, now.network);
                let block = rates(before.block, now.block);
                (figures.network_in, figures.network_out) =
                    (network.map(|n| n.0), network.map(|n| n.1));
                (figures.block_read, figures.block_write) =
                    (block.map(|b| b.0), block.map(|b| b.1));
            }
        }
        figures
    }
}

fn counters(stats: &ContainerStatsResponse) -> Counters {
    let cpu = stats.cpu_stats.as_ref();
    let network = stats.networks.as_ref().map(|networks| {
        networks.values().fold((0_u64, 0_u64), |(received, sent), network| {
            (
                received.saturating_add(network.rx_bytes.unwrap_or(0)),
                sent.saturating_add(network.tx_bytes.unwrap_or(0)),
            )
        })
    });
    let block = stats.blkio_stats.as_ref().and_then(|b| b.io_service_bytes_recursive.as_ref());
    let block = block.map(|entries| {
        let sum = |op: &str| {
            let of_op = entries.iter().filter(|entry| {
                entry.op.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(op))
            });
            of_op.fold(0_u64, |sum, entry| sum.saturating_add(entry.value.unwrap_or(0)))
        };
        (sum("read"), sum("write"))
    });
    Counters {
        read: stats.read.as_ref().and_then(|at| {
            at.to_string().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
        }),
        cpu: cpu.and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage),
        system: cpu.and_then(|cpu| cpu.system_cpu_usage),
        network,
        block,
    }
}

/// What needs no difference.
fn levels(stats: &ContainerStatsResponse) -> Figures {
    let memory = stats.memory_stats.as_ref();
    let reclaimable = memory.and_then(|memory| {
        // cgroup v1, then v2. Version 1 has `inactive_file` too, without the groups below, while
        // its usage is with them; so its own word comes first (as in docker stats).
        let stats = memory.stats.as_ref()?;
        stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied()
    });
    Figures {
        memory: memory.and_then(|memory| {
            let usage = memory.usage?;
            // More than all cannot be: then the engine counted at two moments.
            Some(reclaimable.filter(|part| *part < usage).map_or(usage, |part| usage - part))
        }),
        memory_limit: memory.and_then(|memory| memory.limit).filter(|limit| *limit > 0),
        pids: stats.pids_stats.as_ref().and_then(|pids| pids.current),
        ..Figures::default()
    }
}

fn online(stats: &ContainerStatsResponse) -> f64 {
    let cpu = stats.cpu_stats.as_ref();
    let online = cpu.and_then(|cpu| cpu.online_cpus).filter(|count| *count > 0);
    let listed = || {
        let usage = cpu?.cpu_usage.as_ref()?;
        usage.percpu_usage.as_ref().map(|each| each.len() as u32).filter(|count| *count > 0)
    };
    f64::from(online.or_else(listed).unwrap_or(1))
}

/// Percent of one core.
fn cpu(before: &Counters, now: &Counters, online: f64) -> Option<f64> {
    let used = now.cpu?.checked_sub(before.cpu?)? as f64;
    let share = match before.system.zip(now.system) {
        Some((before, now)) if now > before => used / (now - before) as f64 * online,
        // Podman on some kernels gives no system time; then by the clock.
        _ => used / 1e9 / seconds(before, now)?,
    };
    let percent = share * 100.0;
    (percent.is_finite() && percent <= online.max(1.0) * 10_000.0).then(|| round2(percent))
}

fn seconds(before: &Counters, now: &Counters) -> Option<f64> {
    let nanoseconds = now.read?.checked_sub(before.read?)?;
    // The engine repeats itself where a container has just ended.
    (nanoseconds > 10_000_000).then(|| nanoseconds as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stats(second: u32, cpu: u64, system: u64, received: u64) -> ContainerStatsResponse {
        serde_json::from_value(json!({
            "read": format!("2026-11-18T11:06:{second:02}.5Z"),
            "cpu_stats": {
                "cpu_usage": { "total_usage": cpu },
                "system_cpu_usage": system,
                "online_cpus": 4,
            },
            "memory_stats": {
                "usage": 1000, "limit": 5000, "stats": { "inactive_file": 300 },
            },
            "networks": { "eth0": { "rx_bytes": received, "tx_bytes": 10 } },
            "blkio_stats": { "io_service_bytes_recursive": [
                { "op": "Read", "value": 4096 }, { "op": "write", "value": received },
            ] },
            "pids_stats": { "current": 3 },
        }))
        .unwrap()
    }

    #[test]
    fn figures_are_those_of_docker_stats() {
        let mut meter = Meter::default();
        let first = meter.read(&stats(1, 1_000, 100_000, 500));
        assert_eq!(
            (first.memory, first.memory_limit, first.pids),
            (Some(700), Some(5000), Some(3))
        );
        assert_eq!((first.cpu, first.network_in, first.block_read), (None, None, None));
        // A quarter of the time of four cores is one core.
        let second = meter.read(&stats(3, 1_000 + 25_000, 200_000, 2_500));
        assert_eq!(second.cpu, Some(100.0));
        assert_eq!((second.network_in, second.network_out), (Some(1_000.0), Some(0.0)));
        assert_eq!((second.block_read, second.block_write), (Some(0.0), Some(1_000.0)));
    }

    #[test]
    fn reclaimable_memory_is_counted_with_the_groups_below() {
        let v1 = json!({ "memory_stats": { "usage": 1000, "stats":
            { "inactive_file": 10, "total_inactive_file": 400 } } });
        let stats = serde_json::from_value(v1).unwrap();
        assert_eq!(Meter::default().read(&stats).memory, Some(600));
    }

    #[test]
    fn a_restart_gives_no_rate_and_no_nonsense() {
        let mut meter = Meter::default();
        meter.read(&stats(1, 9_000_000, 100_000, 9_000));
        let after = meter.read(&stats(2, 1_000, 200_000, 10));
        assert_eq!((after.cpu, after.network_in), (None, None));
        let again = meter.read(&stats(2, 1_000, 200_000, 10));
        assert_eq!((again.cpu, again.network_in), (None, None));
    }

    #[test]
    fn an_engine_that_says_nothing_gives_nothing() {
        let mut meter = Meter::default();
        let nothing: ContainerStatsResponse = serde_json::from_value(json!({})).unwrap();
        assert_eq!(meter.read(&nothing), Figures::default());
        assert_eq!(meter.read(&nothing), Figures::default());
    }

    proptest! {
        #[test]
        fn any_counters_give_credible_figures(
            steps in prop::collection::vec((0u32..60, any::<u64>(), any::<u64>(), any::<u64>()), 1..9)
        ) {
            let mut meter = Meter::default();
            for (second, cpu, system, received) in steps {
                let figures = meter.read(&stats(second, cpu, system, received));
                prop_assert!(figures.cpu.is_none_or(|cpu| (0.0..=40_000.0).contains(&cpu)));
                prop_assert!(figures.network_in.is_none_or(|rate| rate >= 0.0 && rate.is_finite()));
            }
        }
    }
}
