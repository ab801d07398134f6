//! The newest state of every device and container, and what a report changes of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kobel_wire::{
    Container, ContainerId, ContainerState, Device, DeviceState, DeviceUuid, Health, Sample,
    Timestamp,
    event::{ContainerCounts, DeviceEntry, Seq, Totals},
};
use tokio::time::Instant;

use super::{history::History, ring::Ring, stream::Stream};
use crate::{
    access::Access,
    ingest::DeviceUpdate,
    live::{Policy, Subject},
};

/// A device is stale when no sample came for so many periods.
const STALE_PERIODS: u32 = 3;

pub(crate) const DEVICE_SERIES: [&str; 15] = [
    "cpu",
    "iowait",
    "steal",
    "load1",
    "memory",
    "swap",
    "disk",
    "diskRead",
    "diskWrite",
    "temperature",
    "networkIn",
    "networkOut",
    "pressureCpu",
    "pressureMemory",
    "pressureIo",
];

pub(crate) const CONTAINER_SERIES: [&str; 6] =
    ["cpu", "memory", "networkIn", "networkOut", "blockRead", "blockWrite"];

/// A device as the hub knows it.
pub(crate) struct LiveDevice {
    pub(crate) device: Device,
    pub(crate) sample: Option<Sample>,
    pub(crate) containers: BTreeMap<ContainerId, LiveContainer>,
    pub(crate) recent: History<15>,
    pub(crate) stream: Stream,
    /// The last changes told in the device's room.
    pub(crate) ring: Ring,
    /// The number of the last `stats` there.
    pub(crate) sample_seq: Seq,
    /// How often a sample is due.
    period: Duration,
    /// When the last sample came; before the first one, when the device was added.
    seen: Instant,
    /// The state and reason by the source's own account.
    reported: (DeviceState, Option<String>),
}

/// A container as the hub knows it.
pub(crate) struct LiveContainer {
    pub(crate) container: Container,
    pub(crate) recent: History<6>,
    pub(crate) stream: Stream,
    /// The last changes told in the container's room.
    pub(crate) ring: Ring,
    /// The number of its last event in its device's room.
    pub(crate) seq_in_device: Seq,
    /// Names the container in the conflation of frames; never used twice.
    pub(crate) key: u64,
}

/// What a report changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new sample.
    Sample,
    /// Facts, engine or state of the device.
    Device,
    /// A container, by its id, is new or changed.
    Container(ContainerId),
    /// Nothing but a container's figures changed.
    Figures(ContainerId),
    /// A container is gone.
    Removed(Box<LiveContainer>),
}

impl std::fmt::Debug for LiveContainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.container.fmt(f)
    }
}

/// Every device and container.
pub(crate) struct Fleet {
    devices: BTreeMap<DeviceUuid, LiveDevice>,
    /// Which device a container is on.
    places: HashMap<ContainerId, DeviceUuid>,
    epoch: Arc<str>,
    next_key: u64,
}

impl Fleet {
    pub(crate) fn new(epoch: Arc<str>) -> Self {
        Self { devices: BTreeMap::new(), places: HashMap::new(), epoch, next_key: 1 }
    }

    pub(crate) fn add(&mut self, device: Device, period: Duration, now: Instant) {
        let live = LiveDevice {
            stream: Stream::new(&self.epoch),
            reported: (device.state, device.state_reason.clone()),
            ring: Ring::default(),
            sample_seq: 0,
            device,
            sample: None,
            containers: BTreeMap::new(),
            recent: History::new(&DEVICE_SERIES),
            period,
            seen: now,
        };
        self.devices.insert(live.device.device_uuid, live);
    }

    pub(crate) fn device(&self, uuid: DeviceUuid) -> Option<&LiveDevice> {
        self.devices.get(&uuid)
    }

    pub(crate) fn device_mut(&mut self, uuid: DeviceUuid) -> Option<&mut LiveDevice> {
        self.devices.get_mut(&uuid)
    }

    /// The device that a container is on.
    pub(crate) fn device_of(&self, container: &ContainerId) -> Option<&LiveDevice> {
        self.devices.get(self.places.get(container)?)
    }

    /// How many containers there are.
    pub(crate) fn container_count(&self) -> usize {
        self.places.len()
    }

    /// The devices that this access may see.
    pub(crate) fn visible<'a>(
        &'a self,
        policy: &'a dyn Policy,
        access: &'a Access,
    ) -> impl Iterator<Item = &'a LiveDevice> {
        self.devices
            .values()
            .filter(|d| policy.may_see(access, Subject::Device(d.device.device_uuid)))
    }

    /// Takes in what a source reported. Reports on an unknown device change nothing.
    pub(crate) fn apply(
        &mut self,
        uuid: DeviceUuid,
        update: DeviceUpdate,
        now: Instant,
        wall: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let Some(live) = self.devices.get_mut(&uuid) else {
            return changes;
        };
        let before = live.device.clone();
        if let Some(facts) = update.facts {
            live.device.facts = facts;
        }
        if let Some(engine) = update.engine {
            live.device.engine = engine;
        }
        if let Some(reported) = update.state {
            live.reported = reported;
        }
        let sampled = update.sample.is_some();
        if sampled {
            live.seen = now;
        }
        live.judge(now, wall);
        if live.device != before {
            changes.push(Change::Device);
        }
        if let Some(mut sample) = update.sample {
            sample.state = live.device.state;
            live.recent.push(sample.sampled_at.as_millis(), device_point(&sample));
            live.sample = Some(sample);
            changes.push(Change::Sample);
        }
        if let Some(inventory) = update.inventory {
            let gone: Vec<_> = live
                .containers
                .keys()
                .filter(|id| !inventory.iter().any(|c| c.container_id == **id))
                .cloned()
                .collect();
            for id in gone {
                changes.extend(self.remove(uuid, &id));
            }
            for container in inventory {
                changes.extend(self.upsert(uuid, container, wall));
            }
        }
        for container in update.containers {
            if container.state == ContainerState::Removed {
                changes.extend(self.remove(uuid, &container.container_id));
            } else {
                changes.extend(self.upsert(uuid, container, wall));
            }
        }
        changes
    }

    fn upsert(
        &mut self,
        uuid: DeviceUuid,
        container: Container,
        wall: Timestamp,
    ) -> Option<Change> {
        let id = container.container_id.clone();
        // Ids are the engine's random 256 bits: the same id on a second device is a forgery or a
        // cloned data directory, and must not take the first one's viewers.
        if self.places.get(&id).is_some_and(|place| *place != uuid) {
            return None;
        }
        let live = self.devices.get_mut(&uuid)?;
        let point = container_point(&container);
        let mut only_figures = false;
        let known = match live.containers.get_mut(&id) {
            Some(known) if known.container == container => return None,
            Some(known) => {
                only_figures = same_but_figures(&known.container, &container);
                known.container = container;
                known
            }
            None => {
                self.places.insert(id.clone(), uuid);
                let key = self.next_key;
                self.next_key += 1;
                live.containers.entry(id.clone()).or_insert(LiveContainer {
                    container,
                    recent: History::new(&CONTAINER_SERIES),
                    stream: Stream::new(&self.epoch),
                    ring: Ring::default(),
                    seq_in_device: 0,
                    key,
                })
            }
        };
        if point.iter().any(Option::is_some) {
            known.recent.push(wall.as_millis(), point);
        }
        Some(if only_figures { Change::Figures(id) } else { Change::Container(id) })
    }

    fn remove(&mut self, uuid: DeviceUuid, id: &ContainerId) -> Option<Change> {
        let mut gone = self.devices.get_mut(&uuid)?.containers.remove(id)?;
        self.places.remove(id);
        let container = &mut gone.container;
        container.state = ContainerState::Removed;
        container.status = "Removed".into();
        container.health = None;
        (container.cpu, container.memory, container.pids) = (None, None, None);
        (container.network_in, container.network_out) = (None, None);
        (container.block_read, container.block_write) = (None, None);
        Some(Change::Removed(Box::new(gone)))
    }

    /// Judges every device by the time; gives those whose state changed.
    pub(crate) fn judge(&mut self, now: Instant, wall: Timestamp) -> Vec<DeviceUuid> {
        self.devices
            .values_mut()
            .filter_map(|live| live.judge(now, wall).then_some(live.device.device_uuid))
            .collect()
    }
}

impl LiveDevice {
    /// Sets the state by what the source reported and by the age of the last sample; true if it
    /// changed.
    fn judge(&mut self, now: Instant, wall: Timestamp) -> bool {
        let silent = now.saturating_duration_since(self.seen);
        let (state, reason) = match &self.reported {
            (DeviceState::Online | DeviceState::Slow, _)
                if silent >= self.period * STALE_PERIODS =>
            {
                let since = Timestamp::from_millis(
                    wall.as_millis() - i64::try_from(silent.as_millis()).unwrap_or(i64::MAX),
                );
                // The reason must not change every second, or it would be news every second.
                (DeviceState::Stale, Some(format!("No sample since {since}")))
            }
            (state, reason) => (*state, reason.clone()),
        };
        if self.device.state == state {
            return false;
        }
        self.device.state = state;
        self.device.state_reason = reason;
        self.device.state_since = wall;
        if let Some(sample) = &mut self.sample {
            sample.state = state;
        }
        true
    }

    pub(crate) fn counts(&self) -> ContainerCounts {
        let mut counts = ContainerCounts::default();
        for LiveContainer { container, .. } in self.containers.values() {
            counts.total += 1;
            counts.running += u32::from(container.state.is_up());
            counts.unhealthy += u32::from(container.health == Some(Health::Unhealthy));
        }
        counts
    }

    /// The device as the dashboard lists it.
    pub(crate) fn entry(&self) -> DeviceEntry {
        DeviceEntry {
            device_uuid: self.device.device_uuid,
            id: self.device.id,
            name: self.device.name.clone(),
            tags: self.device.tags.clone(),
            state: self.device.state,
            sample: self.sample.clone(),
            containers: self.counts(),
        }
    }
}

/// Whether two states of a container differ in nothing but figures, and the status that counts the
/// time.
fn same_but_figures(a: &Container, b: &Container) -> bool {
    let bare = |c: &Container| Container {
        status: String::new(),
        cpu: None,
        memory: None,
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
        ..c.clone()
    };
    bare(a) == bare(b)
}

/// Counts over these devices.
pub(crate) fn totals(entries: &[DeviceEntry]) -> Totals {
    let mut totals = Totals::default();
    for entry in entries {
        totals.devices += 1;
        match entry.state {
            DeviceState::Online => totals.online += 1,
            DeviceState::Slow | DeviceState::Stale => totals.stale += 1,
            DeviceState::Unreachable | DeviceState::AuthFailed | DeviceState::HostKeyChanged => {
                totals.unreachable += 1;
            }
        }
        totals.containers += entry.containers.total;
        totals.running += entry.containers.running;
        totals.unhealthy += entry.containers.unhealthy;
    }
    totals
}

fn device_point(s: &Sample) -> [Option<f64>; 15] {
    let pressure =
        |pick: fn(&kobel_wire::Pressure) -> Option<f64>| s.pressure.as_ref().and_then(pick);
    [
        s.cpu,
        s.iowait,
        s.steal,
        s.load.map(|load| load[0]),
        s.memory,
        s.swap,
        s.disk,
        s.disk_read,
        s.disk_write,
        s.temperature,
        s.network_in,
        s.network_out,
        pressure(|p| p.cpu),
        pressure(|p| p.memory),
        pressure(|p| p.io),
    ]
}

fn container_point(c: &Container) -> [Option<f64>; 6] {
    [c.cpu, c.memory.map(|m| m as f64), c.network_in, c.network_out, c.block_read, c.block_write]
}
