//! What other nodes need of the devices here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_wire::{DeviceId, log::LogStreamId};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use super::NodeId;
use crate::demand::Need;

/// How long a want counts when it is not said again.
pub(super) const HOLDS: Duration = Duration::from_secs(7);

/// How often it is said again.
pub(super) const SAID: Duration = Duration::from_secs(2);

/// All that a node wants of another: what is not in it is not wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Who wants it.
    pub(super) from: String,
    /// By seconds, the devices of which a sample is wanted so often.
    pub(super) devices: BTreeMap<u8, Vec<u64>>,
    /// Whose logs.
    pub(super) logs: Vec<String>,
}

#[derive(Debug)]
struct Heard {
    until: Instant,
    devices: HashMap<DeviceId, u8>,
    logs: HashSet<String>,
}

type Table = HashMap<NodeId, Heard>;

/// What other nodes want. Cloned freely; held for a look into a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    nodes: Mutex<Table>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

impl Wants {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node says what it wants.
    pub(super) fn hear(&self, wanted: &Wanted, now: Instant) {
        let devices = wanted.devices.iter().flat_map(|(seconds, devices)| {
            devices.iter().map(|device| (DeviceId(*device), (*seconds).max(1)))
        });
        let heard = Heard {
            until: now + HOLDS,
            devices: devices.collect(),
            logs: wanted.logs.iter().cloned().collect(),
        };
        let mut table = self.table();
        let before = table.insert(NodeId::from(wanted.from.as_str()), heard);
        let now = table.get(&NodeId::from(wanted.from.as_str()));
        let what = |heard: Option<&Heard>| heard.map(|h| (h.devices.clone(), h.logs.clone()));
        let same = what(before.as_ref()) == what(now);
        drop(table);
        self.count(!same);
    }

    fn count(&self, changed: bool) {
        if changed {
            self.0.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Lets go of what was not said again.
    pub(super) fn expire(&self, now: Instant) {
        let mut table = self.table();
        let before = table.len();
        table.retain(|_, heard| heard.until > now);
        let gone = table.len() != before;
        drop(table);
        self.count(gone);
    }

    /// How often the closest other node needs a sample of this device.
    pub(super) fn of(&self, device: DeviceId) -> Need {
        let table = self.table();
        let fastest = table.values().filter_map(|heard| heard.devices.get(&device)).min();
        fastest.map_or(Need::Unwatched, |seconds| Need::of_seconds(*seconds))
    }

    /// All devices that another node needs more often than by itself.
    pub(super) fn all(&self) -> HashMap<DeviceId, u8> {
        let table = self.table();
        let mut all: HashMap<DeviceId, u8> = HashMap::new();
        for (device, seconds) in table.values().flat_map(|heard| &heard.devices) {
            let known = all.entry(*device).or_insert(*seconds);
            *known = (*known).min(*seconds);
        }
        all
    }

    /// Whether another node wants this log.
    pub(super) fn log(&self, stream: &LogStreamId) -> bool {
        let table = self.table();
        let name = stream.to_string();
        table.values().any(|heard| heard.logs.contains(&name))
    }

    /// Changes whenever anything is wanted otherwise.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_counts_while_it_says_so() {
        let wants = Wants::default();
        let said = |from: &str, devices: &[(u8, u64)]| {
            let mut wanted = Wanted { from: from.into(), ..Wanted::default() };
            for (seconds, device) in devices {
                wanted.devices.entry(*seconds).or_default().push(*device);
            }
            wanted
        };
        let now = Instant::now();
        wants.hear(&said("a", &[(5, 1), (5, 2)]), now);
        wants.hear(&said("b", &[(1, 1)]), now + HOLDS / 2);
        let of = |device| wants.of(DeviceId(device)).period().as_secs();
        assert_eq!((of(1), of(2), of(3)), (1, 5, 30));
        wants.expire(now + HOLDS);
        assert_eq!((of(1), of(2)), (1, 30));
        wants.hear(&said("b", &[]), now + HOLDS);
        assert_eq!(of(1), 30);
    }
}
