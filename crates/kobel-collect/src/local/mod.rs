//! This machine: reads its /proc and /sys and feeds them to [`crate::host`].

mod cgroups;
mod facts;
mod files;
mod filesystems;

use std::{sync::Arc, time::Duration};

use kobel_hub::{demand::Demand, ingest::Ingest};
use kobel_wire::{Process, Sample, Timestamp};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    CollectStats, Target,
    edge::{Edge, Shaped},
    host::{
        Deltas, HostText, Reading,
        network::NetworkRoles,
        processes::{ProcessCounters, ProcessTable, Units},
        thermal::{self, Sensor},
    },
};
use filesystems::Filesystems;

pub use cgroups::CgroupSource;
pub use facts::{facts, machine_id};

/// Processes are listed in each so many-th sample: to read them costs more than all the rest.
const PROCESSES_EACH: u64 = 5;

/// Which interfaces are bridges and bonds is looked up in each so many-th sample.
const ROLES_EACH: u64 = 10;

/// The source of this machine's samples.
pub struct LocalSource {
    target: Target,
    ingest: Ingest,
    demand: Demand,
    period: Duration,
    stats: Arc<CollectStats>,
}

/// What one look at the machine gave.
struct Look {
    text: HostText,
    sensors: Vec<Sensor>,
    roles: Option<NetworkRoles>,
    processes: Option<Vec<ProcessCounters>>,
    took: Duration,
}

impl LocalSource {
    /// A source that reads the machine each `period` and reports it under the identity of `target`
    /// as often as `demand` says.
    pub fn new(
        target: Target,
        ingest: Ingest,
        demand: Demand,
        period: Duration,
        stats: Arc<CollectStats>,
    ) -> Self {
        Self { target, ingest, demand, period, stats }
    }

    /// Runs until cancelled. What cannot be read is absent from the sample; a machine that gives
    /// nothing at all is said once, and asked again.
    pub async fn run(self, cancel: CancellationToken) {
        let mut tick = interval(self.period);
        // After a pause one sample, not one for each that was missed.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let filesystems = tokio::select! {
            () = cancel.cancelled() => return,
            filesystems = Filesystems::start() => filesystems,
        };
        let (mut deltas, mut table) = (Deltas::default(), ProcessTable::default());
        let mut roles = NetworkRoles::default();
        let mut edge = Edge::new(self.target, Duration::ZERO);
        let units = files::units();
        let mut blind = false;
        for number in 0_u64.. {
            let due = loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    due = tick.tick() => break due,
                    changed = self.demand.changed() => {
                        for (_, need) in changed {
                            self.report(edge.set_need(need));
                        }
                    }
                }
            };
            self.stats.tick_was_late(Instant::now().saturating_duration_since(due));
            let wanted = (number.is_multiple_of(ROLES_EACH), number.is_multiple_of(PROCESSES_EACH));
            // Off the async threads: to read /proc may take a lock of the kernel's.
            let Ok(look) = spawn_blocking(move || look(wanted.0, wanted.1)).await else {
                self.stats.sample_failed();
                continue;
            };
            let (now, at) = (Instant::now(), Timestamp::now());
            self.stats.reading_took(look.took);
            if let Some(newer) = look.roles {
                roles = newer;
            }
            let reading = Reading::parse(&look.text, &roles);
            if reading.is_empty() {
                self.stats.sample_failed();
                if !std::mem::replace(&mut blind, true) {
                    tracing::error!("this machine gives no metrics: is /proc mounted?");
                }
                continue;
            }
            blind = false;
            let uptime = reading.uptime;
            let mut sample = deltas.sample(self.target, reading, now, at);
            sample.temperature = thermal::processor(&look.sensors);
            sample.processes = busiest(&mut table, uptime, look.processes, units);
            mounts(&mut sample, &filesystems, now);
            self.report(edge.sample(sample, now));
            self.stats.sampled();
        }
    }

    fn report(&self, shaped: Shaped) {
        if let Some(summary) = shaped.summary {
            self.ingest.summary(summary);
        }
        if let Some(sample) = shaped.sample {
            self.ingest.sample(sample);
        }
    }
}

fn look(roles: bool, processes: bool) -> Look {
    let begun = Instant::now();
    let text = files::text();
    Look {
        text,
        sensors: files::sensors(),
        roles: roles.then(files::network_roles),
        processes: processes.then(files::processes),
        took: begun.elapsed(),
    }
}

fn busiest(
    table: &mut ProcessTable,
    uptime: Option<f64>,
    processes: Option<Vec<ProcessCounters>>,
    units: Units,
) -> Option<Vec<Process>> {
    table.busiest(uptime?, processes?, units)
}

fn mounts(sample: &mut Sample, filesystems: &Filesystems, now: Instant) {
    sample.mounts = filesystems.newest(now);
    let root = sample.mounts.iter().find(|mount| mount.path == "/");
    sample.disk = root.and_then(|m| crate::host::percent(m.used as f64, m.total as f64));
}

#[cfg(test)]
mod tests;
