//! The live state as one machine: reports and requests in, commands out.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use kobel_fanout::SocketId;
use kobel_wire::{ContainerId, Device, DeviceUuid, Timestamp};
use tokio::time::Instant;

use super::{
    Command, LiveStats, Policy, Subject,
    delivery::{Delivery, Event},
    fleet::{Change, Fleet, LiveContainer},
    groups::Groups,
    system::OwnFigures,
    viewer::Viewer,
};
use crate::{ingest::DeviceUpdate, room::RoomName};

/// A tick that comes this late means that the whole process stood still.
const PAUSE: Duration = Duration::from_secs(2);

/// The state of the fleet, who watches it, and what goes out to them.
pub struct Live {
    pub(super) fleet: Fleet,
    pub(super) own: OwnFigures,
    pub(super) delivery: Delivery,
    pub(super) viewers: HashMap<SocketId, Viewer>,
    pub(super) epoch: Arc<str>,
    pub(super) dashboards_made: u64,
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
            },
            viewers: HashMap::new(),
            epoch,
            dashboards_made: 0,
            max_subscriptions,
            ticked: None,
        }
    }

    /// Adds a device, whose source yields a sample each `period`.
    pub fn add_device(&mut self, device: Device, period: Duration, now: Instant) {
        self.fleet.add(device, period, now);
        self.delivery.stats.devices += 1;
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
            ..self.delivery.stats
        }
    }

    /// When [`Live::flush`] is due, if anything waits.
    pub fn flush_at(&self) -> Option<Instant> {
        self.delivery.flush_at
    }

    /// Sends the batches that are due.
    pub fn flush(&mut self, now: Instant, wall: Timestamp) {
        self.delivery.flush_due(now, wall);
    }

    /// Takes in what the source of a device reported.
    pub fn report(
        &mut self,
        uuid: DeviceUuid,
        update: DeviceUpdate,
        now: Instant,
        wall: Timestamp,
    ) {
        let changes = self.fleet.apply(uuid, update, now, wall);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            match change {
                Change::Sample => self.sample_event(uuid, now, wall),
                Change::Device => self.device_event(uuid, now, wall),
                Change::Container(id) => self.container_event(uuid, &id, None, true, now, wall),
                Change::Figures(id) => self.container_event(uuid, &id, None, false, now, wall),
                Change::Removed(gone) => {
                    let id = gone.container.container_id.clone();
                    self.container_event(uuid, &id, Some(gone), true, now, wall);
                }
            }
        }
        self.dashboard_event(uuid, now, wall);
    }

    /// Lets time pass: devices become stale, credentials end. To be called about twice a second.
    pub fn tick(&mut self, now: Instant, wall: Timestamp) {
        self.end_expired(wall);
        // After a pause of the whole process every device looks late. Let them speak first.
        let paused = self.ticked.is_some_and(|at| now.saturating_duration_since(at) > PAUSE);
        self.ticked = Some(now);
        if paused {
            return;
        }
        for uuid in self.fleet.judge(now, wall) {
            self.device_event(uuid, now, wall);
            self.dashboard_event(uuid, now, wall);
        }
    }

    // The keys of frames: a device's id or a container's own key, and two bits for what it is, so
    // that no two things share one. Both begin with 1, which leaves 0 to the hub's own figures.

    fn sample_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        let Some(live) = self.fleet.device_mut(uuid) else {
            return;
        };
        live.sample_seq = live.stream.next();
        let Some(sample) = &live.sample else { return };
        let event = Event {
            room: &RoomName::Device(uuid),
            subject: Subject::Device(uuid),
            stream: &live.stream,
            name: "stats",
            id: "stats",
            data: sample,
            key: live.device.id.0 << 2,
            paced: true,
        };
        self.delivery.tell(&event, now, wall);
    }

    fn device_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        let Some(live) = self.fleet.device_mut(uuid) else {
            return;
        };
        live.stream.next();
        let event = Event {
            room: &RoomName::Device(uuid),
            subject: Subject::Device(uuid),
            stream: &live.stream,
            name: "deviceUpdate",
            id: "device",
            data: &live.device,
            key: (live.device.id.0 << 2) | 1,
            paced: false,
        };
        live.ring.push_some(event.kept(wall));
        self.delivery.tell(&event, now, wall);
    }

    fn container_event(
        &mut self,
        uuid: DeviceUuid,
        id: &ContainerId,
        gone: Option<Box<LiveContainer>>,
        keep: bool,
        now: Instant,
        wall: Timestamp,
    ) {
        let Some(device) = self.fleet.device_mut(uuid) else {
            return;
        };
        device.stream.next();
        let stream = device.stream.clone();
        let mut gone = gone;
        let known = match &mut gone {
            Some(gone) => Some(&mut **gone),
            None => device.containers.get_mut(id),
        };
        let Some(live) = known else { return };
        live.stream.next();
        let in_device = Event {
            room: &RoomName::Device(uuid),
            subject: Subject::Device(uuid),
            stream: &stream,
            name: "containerUpdate",
            id: id.as_str(),
            data: &live.container,
            key: (live.key << 2) | 2,
            paced: false,
        };
        live.seq_in_device = stream.seq;
        let kept = keep.then(|| in_device.kept(wall)).flatten();
        device.ring.push_some(kept);
        self.delivery.tell(&in_device, now, wall);
        let own = Event {
            room: &RoomName::Container(id.clone()),
            stream: &live.stream,
            name: "statusChange",
            key: (live.key << 2) | 3,
            ..in_device
        };
        live.ring.push_some(keep.then(|| own.kept(wall)).flatten());
        self.delivery.tell(&own, now, wall);
    }

    fn dashboard_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        let Some(live) = self.fleet.device(uuid) else {
            return;
        };
        self.delivery.entry(uuid, live.device.id.0, || live.entry(), now, wall);
    }
}

#[cfg(test)]
mod tests;
