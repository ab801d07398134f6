//! The newest state of every device and container, and what a report changes of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kobel_wire::{
    Container, ContainerId, ContainerState, Device, DeviceState, DeviceUuid, Health, SERIES,
    Sample, Summary, Timestamp,
    event::{ContainerCounts, DeviceEntry, EntryUpdate, FleetEntry, Seq, Totals},
    log::StreamVolume,
};
use tokio::time::Instant;

use super::{history::History, needs::Needed, ring::Ring, stream::Stream, summaries::Summaries};
use crate::{
    access::Access,
    demand::{Demand, Need},
    ingest::DeviceUpdate,
    live::{DeviceLabel, Policy, Subject},
    room::RoomName,
};

/// A device is stale when no sample came for so many periods.
const STALE_PERIODS: u32 = 3;

pub(crate) const CONTAINER_SERIES: [&str; 6] =
    ["cpu", "memory", "networkIn", "networkOut", "blockRead", "blockWrite"];

/// A device as the hub knows it.
pub(crate) struct LiveDevice {
    pub(crate) device: Device,
    pub(crate) sample: Option<Sample>,
    pub(crate) containers: BTreeMap<ContainerId, LiveContainer>,
    pub(crate) recent: History<{ SERIES.len() }>,
    pub(crate) stream: Stream,
    /// The last changes told in the device's room.
    pub(crate) ring: Ring,
    /// The number of the last `stats` there.
    pub(crate) sample_seq: Seq,
    /// What it did while nobody watched.
    pub(crate) summaries: Summaries,
    /// What is needed of it.
    pub(crate) needed: Needed,
    /// What the room of the fleet was last told of it, but figures.
    told: Option<(DeviceState, ContainerCounts)>,
    /// When the sample came after which it became stale.
    stale_after: Option<Instant>,
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
    /// The numbers of the last `statusChange` and the last `logVolume` in its own.
    pub(crate) status_seq: Seq,
    pub(crate) volume_seq: Seq,
    /// How much goes through its log, where that is followed.
    pub(crate) volume: Option<StreamVolume>,
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

    /// Adds a device, or takes over one that is known: then what is remembered of it stays.
    pub(crate) fn add(&mut self, device: Device, demand: Demand, now: Instant) {
        let needed = Needed::new(demand, now);
        if let Some(known) = self.devices.get_mut(&device.device_uuid) {
            known.needed = needed.after(&known.needed);
            known.seen = now;
            known.reported = (device.state, device.state_reason.clone());
            let Device { state, state_reason, state_since, .. } = known.device.clone();
            known.device = Device { state, state_reason, state_since, ..device };
            return;
        }
        let live = LiveDevice {
            stream: Stream::new(&self.epoch),
            reported: (device.state, device.state_reason.clone()),
            ring: Ring::default(),
            sample_seq: 0,
            device,
            sample: None,
            containers: BTreeMap::new(),
            recent: History::new(&SERIES),
            summaries: Summaries::default(),
            needed,
            told: None,
            stale_after: None,
            seen: now,
        };
        self.devices.insert(live.device.device_uuid, live);
    }

    /// Takes a device out; whatever its source still reports changes nothing.
    pub(crate) fn take(&mut self, uuid: DeviceUuid) -> Option<LiveDevice> {
        let gone = self.devices.remove(&uuid)?;
        for container in gone.containers.keys() {
            self.places.remove(container);
        }
        Some(gone)
    }

    /// Every container of a device is gone.
    pub(crate) fn clear(&mut self, uuid: DeviceUuid) -> Vec<Change> {
        let Some(live) = self.devices.get(&uuid) else { return Vec::new() };
        let all: Vec<_> = live.containers.keys().cloned().collect();
        all.iter().filter_map(|id| self.remove(uuid, id)).collect()
    }

    /// Every device.
    pub(crate) fn all(&self) -> impl Iterator<Item = &LiveDevice> {
        self.devices.values()
    }

    pub(crate) fn device(&self, uuid: DeviceUuid) -> Option<&LiveDevice> {
        self.devices.get(&uuid)
    }

    pub(crate) fn device_mut(&mut self, uuid: DeviceUuid) -> Option<&mut LiveDevice> {
        self.devices.get_mut(&uuid)
    }

    /// Every device.
    pub(crate) fn uuids(&self) -> impl Iterator<Item = DeviceUuid> {
        self.devices.keys().copied()
    }

    /// The device that a container is on.
    pub(crate) fn device_of(&self, container: &ContainerId) -> Option<&LiveDevice> {
        self.devices.get(self.places.get(container)?)
    }

    /// A container, wherever it is.
    pub(crate) fn container_mut(&mut self, id: &ContainerId) -> Option<&mut LiveContainer> {
        self.devices.get_mut(self.places.get(id)?)?.containers.get_mut(id)
    }

    /// The device that a room is about.
    pub(crate) fn place_of(&self, room: &RoomName) -> Option<DeviceUuid> {
        match room {
            RoomName::Device(uuid) => Some(*uuid),
            RoomName::Container(id) => self.places.get(id).copied(),
            RoomName::Dashboard | RoomName::Fleet | RoomName::System | RoomName::Logs(_) => None,
        }
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
        let mut changed = false;
        if let Some(facts) = update.facts {
            changed |= live.device.facts != facts;
            live.device.facts = facts;
        }
        if let Some(engine) = update.engine {
            changed |= live.device.engine != engine;
            live.device.engine = engine;
        }
        if let Some(reported) = update.state {
            live.reported = reported;
        }
        if update.sample.is_some() || !update.summaries.is_empty() {
            live.seen = now;
        }
        changed |= live.judge(now, wall);
        if changed {
            changes.push(Change::Device);
        }
        let summarised = live.summarised(&update.summaries);
        if let Some(mut sample) = update.sample {
            sample.state = live.device.state;
            let at = sample.sampled_at.as_millis();
            // The one that comes with a summary stands in it already.
            if summarised.is_none_or(|to| at > to) {
                live.recent.push(at, sample.series());
            }
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
                only_figures = known.container.same_but_figures(&container);
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
                    status_seq: 0,
                    volume_seq: 0,
                    volume: None,
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

    /// Judges one device by the time.
    pub(crate) fn judge_one(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        if let Some(live) = self.devices.get_mut(&uuid) {
            live.judge(now, wall);
        }
    }

    /// How many devices somebody watches.
    pub(crate) fn watched(&self) -> usize {
        self.devices.values().filter(|live| live.needed.told() != Need::Unwatched).count()
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
        // A source that was just asked for more has not been silent until it fails to give it.
        let owed = self.seen.max(self.needed.since);
        let silent = now.saturating_duration_since(owed);
        let (state, reason) = match &self.reported {
            // Once stale it stays so until a sample comes, also where it is needed less by now.
            (DeviceState::Online | DeviceState::Slow, _)
                if self.stale_after == Some(self.seen)
                    || silent >= self.needed.told().period() * STALE_PERIODS =>
            {
                self.stale_after = Some(self.seen);
                let silent = now.saturating_duration_since(self.seen);
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

    /// Another source tells of it from now on. It has its time to do so.
    pub(crate) fn redirect(&mut self, demand: Demand, now: Instant) {
        self.needed = Needed::new(demand, now).after(&self.needed);
    }

    /// Keeps summaries that are newer than what is known; gives the end of the last one.
    fn summarised(&mut self, summaries: &[Summary]) -> Option<i64> {
        for summary in summaries {
            let to = summary.to.as_millis();
            if self.recent.last().is_none_or(|last| to > last) {
                let mean = |spread: kobel_wire::Spread| f64::from(spread.mean);
                self.recent.push(to, summary.series.map(|spread| spread.map(mean)));
            }
            self.summaries.push(summary);
        }
        summaries.last().map(|summary| summary.to.as_millis())
    }

    /// Takes in what people call it and how they sort it; true if that is new.
    pub(crate) fn label(&mut self, label: &DeviceLabel) -> bool {
        let device = &mut self.device;
        let same =
            device.name == label.name && device.tags == label.tags && device.group == label.group;
        if !same {
            device.name.clone_from(&label.name);
            device.tags.clone_from(&label.tags);
            device.group.clone_from(&label.group);
            self.told = None;
        }
        !same
    }

    /// Whether the fleet's room must be told something else than figures; if so, it counts as told.
    pub(crate) fn entry_changed(&mut self) -> bool {
        let now = Some((self.device.state, self.counts()));
        std::mem::replace(&mut self.told, now) != now
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
            group: self.device.group.clone(),
            state: self.device.state,
            sample: self.sample.clone(),
            containers: self.counts(),
        }
    }
}

impl LiveDevice {
    /// The device in a frame of the fleet's room.
    pub(crate) fn fleet_entry(&self) -> FleetEntry {
        let sample = self.sample.as_ref();
        FleetEntry {
            device_uuid: self.device.device_uuid,
            id: self.device.id,
            sampled_at: sample.map(|s| s.sampled_at),
            state: self.device.state,
            cpu: sample.and_then(|s| s.cpu),
            memory: sample.and_then(|s| s.memory),
            disk: sample.and_then(|s| s.disk),
            temperature: sample.and_then(|s| s.temperature),
            network_in: sample.and_then(|s| s.network_in),
            network_out: sample.and_then(|s| s.network_out),
        }
    }

    /// The same without values.
    pub(crate) fn bare_entry(&self) -> FleetEntry {
        FleetEntry {
            device_uuid: self.device.device_uuid,
            id: self.device.id,
            sampled_at: None,
            state: self.device.state,
            cpu: None,
            memory: None,
            disk: None,
            temperature: None,
            network_in: None,
            network_out: None,
        }
    }

    /// The device in the fleet's room, but its figures.
    pub(crate) fn entry_update(&self) -> EntryUpdate<'_> {
        EntryUpdate {
            device_uuid: self.device.device_uuid,
            id: self.device.id,
            name: &self.device.name,
            tags: &self.device.tags,
            group: self.device.group.as_deref(),
            state: self.device.state,
            containers: self.counts(),
        }
    }
}

/// Counts over these devices.
pub(crate) fn totals(entries: &[DeviceEntry]) -> Totals {
    totals_of(entries.iter().map(|entry| (entry.state, entry.containers)))
}

/// Counts over devices in these states, with these containers.
pub(crate) fn totals_of(devices: impl Iterator<Item = (DeviceState, ContainerCounts)>) -> Totals {
    let mut totals = Totals::default();
    for (state, containers) in devices {
        totals.devices += 1;
        match state {
            DeviceState::Online => totals.online += 1,
            DeviceState::Slow | DeviceState::Stale => totals.stale += 1,
            DeviceState::Unreachable | DeviceState::AuthFailed | DeviceState::HostKeyChanged => {
                totals.unreachable += 1;
            }
        }
        totals.containers += containers.total;
        totals.running += containers.running;
        totals.unhealthy += containers.unhealthy;
    }
    totals
}

fn container_point(c: &Container) -> [Option<f64>; 6] {
    [c.cpu, c.memory.map(|m| m as f64), c.network_in, c.network_out, c.block_read, c.block_write]
}
