//! What is needed of each device: the fastest that any of its viewers looks.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kobel_wire::{DeviceId, DeviceUuid};
use tokio::time::Instant;

use super::{Live, Policy, Subject, fleet::LiveDevice, groups::Groups};
use crate::{
    access::Access,
    demand::{Demand, Need, UNWATCHED},
    room::RoomName,
};

/// How long a device stays as fast as it is when the need for it goes: who moves from one view to the
/// next comes back within seconds.
const LINGER: Duration = Duration::from_secs(5);

/// What is needed of a device, and what its source was told.
#[derive(Debug)]
pub(crate) struct Needed {
    demand: Demand,
    told: Need,
    /// How often the viewers of other nodes need it, seconds.
    others: Option<u8>,
    /// When it becomes what it is needed for now.
    lower_at: Option<Instant>,
    /// Since when its source owes samples as fast as it was told.
    pub(crate) since: Instant,
}

impl Needed {
    pub(crate) fn new(demand: Demand, now: Instant) -> Self {
        Self { demand, told: Need::Unwatched, others: None, lower_at: None, since: now }
    }

    /// In the place of the one before, of another source.
    pub(crate) fn after(self, before: &Self) -> Self {
        Self { others: before.others, ..self }
    }

    /// What the source was told.
    pub(crate) fn told(&self) -> Need {
        self.told
    }

    /// Takes in what is needed now: more of it at once, less of it after a while.
    fn set(&mut self, device: DeviceUuid, need: Need, now: Instant) {
        if need == self.told {
            self.lower_at = None;
        } else if faster(need, self.told) {
            self.since = now;
            self.tell(device, need);
        } else {
            self.lower_at.get_or_insert(now + LINGER);
        }
    }

    fn tell(&mut self, device: DeviceUuid, need: Need) {
        self.lower_at = None;
        self.told = need;
        self.demand.tell(device, need);
    }
}

fn faster(a: Need, b: Need) -> bool {
    a.period() < b.period() || (a.period() == b.period() && b == Need::Unwatched)
}

/// Whose need is to be worked out anew.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    devices: HashSet<DeviceUuid>,
    /// The rooms of all devices changed.
    boards: bool,
    /// By access, how often the rooms of all devices are looked at.
    known: Vec<(Arc<Access>, u8)>,
    /// Devices that get less after a while.
    lowering: HashSet<DeviceUuid>,
}

impl Stale {
    /// Viewers of this room came or went.
    pub(crate) fn room(&mut self, room: &RoomName, device_of: impl FnOnce() -> Option<DeviceUuid>) {
        match room {
            RoomName::Device(uuid) => {
                self.devices.insert(*uuid);
            }
            RoomName::Container(_) => self.devices.extend(device_of()),
            RoomName::Dashboard | RoomName::Fleet => self.boards = true,
            // Lines are no samples.
            RoomName::System | RoomName::Logs(_) => {}
        }
    }

    /// This device is new, or has another source.
    pub(crate) fn device(&mut self, uuid: DeviceUuid) {
        self.devices.insert(uuid);
    }
}

impl Live {
    /// Tells the sources what changed of the need for them. To be called after each step; costs
    /// nothing where nobody came or went.
    pub fn settle(&mut self, now: Instant) {
        let groups = &mut self.delivery.groups;
        if std::mem::take(&mut self.stale.boards) {
            let boards = boards(groups);
            if boards != self.stale.known {
                self.stale.known = boards;
                self.stale.devices.extend(self.fleet.uuids());
            }
        }
        if self.stale.devices.is_empty() {
            return;
        }
        for uuid in std::mem::take(&mut self.stale.devices) {
            self.need(uuid, now);
        }
    }

    /// What other nodes need of the devices from now on, by seconds; of those that are not named
    /// nothing.
    pub fn others_need(&mut self, devices: &HashMap<DeviceId, u8>) {
        let uuids: Vec<_> = self.fleet.uuids().collect();
        for uuid in uuids {
            let Some(live) = self.fleet.device_mut(uuid) else { continue };
            let others = devices.get(&live.device.id).copied();
            if std::mem::replace(&mut live.needed.others, others) != others {
                self.stale.devices.insert(uuid);
            }
        }
    }

    fn need(&mut self, uuid: DeviceUuid, now: Instant) {
        let (groups, policy) = (&self.delivery.groups, &*self.delivery.policy);
        let Some(live) = self.fleet.device_mut(uuid) else { return };
        let need = needed(live, groups, policy, &self.stale.known);
        live.needed.set(uuid, need, now);
        if live.needed.lower_at.is_some() {
            self.stale.lowering.insert(uuid);
        }
    }

    /// Lets go of what nobody came back for.
    pub(super) fn lower(&mut self, now: Instant) {
        let Self { stale, fleet, delivery, .. } = self;
        stale.lowering.retain(|uuid| {
            let Some(live) = fleet.device_mut(*uuid) else { return false };
            let Some(at) = live.needed.lower_at else { return false };
            if at > now {
                return true;
            }
            let need = needed(live, &delivery.groups, &*delivery.policy, &stale.known);
            live.needed.tell(*uuid, need);
            false
        });
    }
}

fn needed(
    live: &LiveDevice,
    groups: &Groups,
    policy: &dyn Policy,
    boards: &[(Arc<Access>, u8)],
) -> Need {
    let uuid = live.device.device_uuid;
    let own = groups.fastest(&RoomName::Device(uuid));
    let containers =
        live.containers.keys().filter_map(|id| groups.fastest(&RoomName::Container(id.clone())));
    let boards = boards
        .iter()
        .filter(|(access, _)| policy.may_see(access, Subject::Device(uuid)))
        .map(|(_, rate)| *rate);
    match own.into_iter().chain(containers).chain(boards).chain(live.needed.others).min() {
        // Who looks twice a minute sees as much in a summary's sample.
        Some(seconds) if Duration::from_secs(seconds.into()) < UNWATCHED => {
            Need::of_seconds(seconds)
        }
        _ => Need::Unwatched,
    }
}

/// How often each access looks at the rooms of all devices.
fn boards(groups: &mut Groups) -> Vec<(Arc<Access>, u8)> {
    let mut boards: Vec<(Arc<Access>, u8)> = Vec::new();
    for room in [RoomName::Dashboard, RoomName::Fleet] {
        for group in groups.of(&room) {
            match boards.iter_mut().find(|(access, _)| *access == group.access) {
                Some((_, rate)) => *rate = (*rate).min(group.shape.rate),
                None => boards.push((Arc::clone(&group.access), group.shape.rate)),
            }
        }
    }
    boards
}
