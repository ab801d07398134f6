//! Which containers there are, for the log streams: told when it changes.

use std::{collections::HashMap, sync::Arc};

use kobel_wire::{
    Container, ContainerState, Device, DeviceUuid, LogPolicy, Timestamp, log::LogStreamId,
};

use super::{KnownContainer, LogRequest};
use crate::{ingest::DeviceUpdate, logs::store::LogIdentity};

/// Makes requests to the log streams of what devices report of their containers.
#[derive(Debug)]
pub(crate) struct Keeper {
    started: Timestamp,
    names: HashMap<DeviceUuid, String>,
    known: HashMap<LogStreamId, Arc<KnownContainer>>,
}

impl Keeper {
    /// Of a hub that was started then.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started, names: HashMap::new(), known: HashMap::new() }
    }

    /// A device is there.
    pub(crate) fn device(&mut self, device: &Device) {
        self.names.insert(device.device_uuid, device.name.clone());
    }

    /// A device is called otherwise; lines that come from now on are under the new name.
    pub(crate) fn rename(&mut self, device: DeviceUuid, name: &str) {
        if let Some(known) = self.names.get_mut(&device) {
            name.clone_into(known);
        }
    }

    /// A device is taken out: what is to be told of its containers.
    pub(crate) fn remove(&mut self, device: DeviceUuid) -> Vec<LogRequest> {
        let none = DeviceUpdate { inventory: Some(Vec::new()), ..DeviceUpdate::default() };
        let told = self.report(device, &none);
        self.names.remove(&device);
        told
    }

    /// What a device reported: what is to be told of it.
    pub(crate) fn report(&mut self, device: DeviceUuid, update: &DeviceUpdate) -> Vec<LogRequest> {
        let mut told = Vec::new();
        // Taken out: what its source still says keeps no log open.
        if !self.names.contains_key(&device) {
            return told;
        }
        if let Some(inventory) = &update.inventory {
            let listed: std::collections::HashSet<_> =
                inventory.iter().map(|container| &container.container_id).collect();
            let gone: Vec<_> = self
                .known
                .keys()
                .filter(|id| id.device == device && !listed.contains(&id.container))
                .cloned()
                .collect();
            for id in gone {
                self.known.remove(&id);
                told.push(LogRequest::Gone(id));
            }
        }
        let listed = update.inventory.iter().flatten();
        for container in listed.chain(&update.containers) {
            self.container(container, &mut told);
        }
        // Whose place a container took is gone before it comes.
        told.sort_by_key(|request| !matches!(request, LogRequest::Gone(_)));
        told
    }

    fn container(&mut self, container: &Container, told: &mut Vec<LogRequest>) {
        let device = container.device_uuid;
        let id = LogStreamId { device, container: container.container_id.clone() };
        if container.state == ContainerState::Removed {
            if self.known.remove(&id).is_some() {
                told.push(LogRequest::Gone(id));
            }
            return;
        }
        let before = self.known.get(&id);
        let fresh = match before {
            Some(before) => before.fresh,
            None => container.created_at.is_some_and(|at| at >= self.started),
        };
        let name = self.names.get(&device).map_or("", String::as_str);
        let known = KnownContainer {
            identity: LogIdentity::of(container, name),
            up: container.state.is_up(),
            stored: container.logs != Some(LogPolicy::Off),
            fresh,
        };
        if before.is_none_or(|before| **before != known) {
            let known = Arc::new(known);
            self.known.insert(id, Arc::clone(&known));
            told.push(LogRequest::Container(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: char, state: &str) -> Container {
        serde_json::from_value(serde_json::json!({
            "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab",
            "containerId": id.to_string().repeat(64),
            "name": id.to_string(), "image": "x", "state": state, "status": "",
            "createdAt": if id == 'a' { "2026-11-18T11:00:00Z" } else { "2026-11-18T12:00:01Z" },
        }))
        .unwrap()
    }

    fn told(requests: &[LogRequest]) -> Vec<String> {
        let told = requests.iter().map(|request| match request {
            LogRequest::Container(known) => {
                format!("{} {} {}", known.identity.name, known.up, known.fresh)
            }
            LogRequest::Gone(id) => format!("{} gone", &id.container.to_string()[..1]),
            other => format!("{other:?}"),
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }

    #[test]
    fn what_changes_is_told_and_nothing_else() {
        let mut keeper = Keeper::new(Timestamp::parse("2026-11-18T12:00:00Z").unwrap());
        let device = container('a', "running").device_uuid;
        keeper.names.insert(device, "host".into());
        let mut report = |inventory: Option<Vec<Container>>, containers: Vec<Container>| {
            let update = DeviceUpdate { inventory, containers, ..DeviceUpdate::default() };
            told(&keeper.report(device, &update))
        };
        let all = vec![container('a', "running"), container('b', "exited")];
        assert_eq!(report(Some(all.clone()), vec![]), ["a true false", "b false true"]);
        assert_eq!(report(Some(all), vec![container('a', "paused")]), [""; 0]);
        assert_eq!(report(None, vec![container('b', "running")]), ["b true true"]);
        assert_eq!(report(None, vec![container('a', "removed")]), ["a gone"]);
        assert_eq!(report(None, vec![container('a', "removed")]), [""; 0]);
        assert_eq!(
            report(Some(vec![container('c', "created")]), vec![]),
            ["b gone", "c false true"]
        );
        let mut off = container('c', "running");
        off.logs = Some(LogPolicy::Off);
        let update = DeviceUpdate { containers: vec![off], ..DeviceUpdate::default() };
        let told = keeper.report(device, &update);
        let [LogRequest::Container(known)] = told.as_slice() else { panic!("{told:?}") };
        assert!(known.up && !known.stored);
    }
}
