//! The live state as one machine: reports and requests in, commands out.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use kobel_fanout::SocketId;
use kobel_wire::{Device, DeviceUuid, Timestamp};
use tokio::time::Instant;

use super::{
    Command, LiveStats, Policy,
    delivery::Delivery,
    fleet::{Change, Fleet},
    fleet_frames::Told,
    groups::Groups,
    needs::Stale,
    stream::Stream,
    system::OwnFigures,
    viewer::Viewer,
};
use crate::{
    demand::{Demand, Need},
    ingest::DeviceUpdate,
};

/// A tick that comes this late means that the whole process stood still.
const PAUSE: Duration = Duration::from_secs(2);

/// The state of the fleet, who watches it, and what goes out to them.
pub struct Live {
    pub(super) fleet: Fleet,
    pub(super) own: OwnFigures,
    pub(super) delivery: Delivery,
    pub(super) viewers: HashMap<SocketId, Viewer>,
    /// Counts the batches of all dashboards, whoever gets them: what is in one depends on the
    /// scope.
    pub(super) boards: Stream,
    /// The stream of the fleet's room.
    pub(super) fleet_stream: Stream,
    /// Counts what is told of whose lines are in merged views, in whichever: as on dashboards, who
    /// sees what is by the scope.
    pub(super) merged_stream: Stream,
    /// What those who come to the fleet's room at the same time share.
    pub(super) fleet_told: Told,
    /// For whom it must be worked out anew what is needed.
    pub(super) stale: Stale,
    pub(super) max_subscriptions: usize,
    ticked: Option<Instant>,
}

impl Live {
    /// An empty state. `epoch` names this run of the hub; `max_subscriptions` is the most rooms
    /// that one socket may be in.
    pub fn new(epoch: &str, max_subscriptions: usize, policy: Box<dyn Policy>) -> Self {
        let epoch: Arc<str> = epoch.into();
        Self {
            fleet: Fleet::new(Arc::clone(&epoch)),
            own: OwnFigures::new(&epoch),
            delivery: Delivery {
                groups: Groups::default(),
                policy,
                out: Vec::new(),
                stats: LiveStats::default(),
                flush_at: None,
                members_due: None,
            },
            viewers: HashMap::new(),
            boards: Stream::new(&epoch),
            fleet_stream: Stream::new(&epoch),
            merged_stream: Stream::new(&epoch),
            fleet_told: Told::default(),
            stale: Stale::default(),
            max_subscriptions,
            ticked: None,
        }
    }

    /// Adds a device, or takes over one that is known; what is needed of it is told by `demand`.
    pub fn add_device(&mut self, device: Device, demand: Demand, now: Instant, wall: Timestamp) {
        let uuid = device.device_uuid;
        let known = self.fleet.device(uuid).map(|live| live.device.clone());
        self.fleet.add(device, demand, now);
        self.stale.device(uuid);
        let Some(before) = known else {
            self.delivery.stats.devices += 1;
            self.board_event(uuid, true, now);
            self.entry_event(uuid, now, wall);
            return;
        };
        self.fleet.judge_one(uuid, now, wall);
        if self.fleet.device(uuid).is_some_and(|live| live.device != before) {
            self.device_event(uuid, now, wall);
            self.board_event(uuid, true, now);
            self.entry_event(uuid, now, wall);
        }
    }

    /// The commands since the last call, oldest first.
    pub fn take_commands(&mut self) -> Vec<Command> {
        mem::take(&mut self.delivery.out)
    }

    /// Figures for metrics.
    pub fn stats(&self) -> LiveStats {
        LiveStats {
            viewers: self.viewers.len() as u64,
            containers: self.fleet.container_count() as u64,
            watched_devices: self.fleet.watched() as u64,
            ..self.delivery.stats
        }
    }

    /// When [`Live::flush`] is due, if anything waits.
    pub fn flush_at(&self) -> Option<Instant> {
        self.delivery.flush_at
    }

    /// Takes in what the source of a device reported.
    pub fn report(
        &mut self,
        uuid: DeviceUuid,
        update: DeviceUpdate,
        now: Instant,
        wall: Timestamp,
    ) {
        self.count_spared(uuid, &update);
        let changes = self.fleet.apply(uuid, update, now, wall);
        if changes.is_empty() {
            return;
        }
        // A change of state does not wait for those who look seldom; figures do.
        let mut urgent = false;
        for change in changes {
            urgent |= !matches!(change, Change::Sample | Change::Figures(_));
            match change {
                Change::Sample => {
                    self.sample_event(uuid, now, wall);
                    self.fleet_changed(uuid, now);
                }
                Change::Device => self.device_event(uuid, now, wall),
                Change::Container(id) => self.container_event(uuid, &id, None, true, now, wall),
                Change::Figures(id) => self.container_event(uuid, &id, None, false, now, wall),
                Change::Removed(gone) => {
                    let id = gone.container.container_id.clone();
                    self.container_event(uuid, &id, Some(gone), true, now, wall);
                }
            }
        }
        self.board_event(uuid, urgent, now);
        if urgent {
            self.entry_event(uuid, now, wall);
            self.members_changed(now);
        }
        self.flush(now, wall);
    }

    /// What a source kept to itself, by what it says.
    fn count_spared(&mut self, uuid: DeviceUuid, update: &DeviceUpdate) {
        let told = self.fleet.device(uuid).map(|live| live.needed.told());
        let spared = match told {
            Some(Need::Every(period)) if update.sample.is_some() => {
                period.as_secs().saturating_sub(1)
            }
            _ => update.summaries.iter().map(|s| u64::from(s.samples.saturating_sub(1))).sum(),
        };
        self.delivery.stats.samples_spared += spared;
    }

    /// Lets time pass: devices become stale, credentials end, viewers look less. To be called about
    /// twice a second.
    pub fn tick(&mut self, now: Instant, wall: Timestamp) {
        self.end_expired(wall);
        self.settle_tiers(now, wall);
        self.lower(now);
        // After a pause of the whole process every device looks late. Let them speak first.
        let paused = self.ticked.is_some_and(|at| now.saturating_duration_since(at) > PAUSE);
        self.ticked = Some(now);
        if paused {
            return;
        }
        for uuid in self.fleet.judge(now, wall) {
            self.device_event(uuid, now, wall);
            self.board_event(uuid, true, now);
            self.entry_event(uuid, now, wall);
            self.fleet_changed(uuid, now);
        }
        self.flush(now, wall);
    }
}

#[cfg(test)]
mod tests;
