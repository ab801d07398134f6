//! What people change of the fleet while it is live: names, tags, groups, and what is taken out.

use kobel_wire::{Device, DeviceUuid, Timestamp, event::DeviceRemoved};
use tokio::time::Instant;

use super::{
    Command, Live, Subject,
    delivery::Event,
    fleet::{Change, LiveDevice},
};
use crate::{demand::Demand, logs::live::LogRequest, room::RoomName};

/// What people call a device and how they sort it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLabel {
    /// Its name.
    pub name: String,
    /// Words that they put on it.
    pub tags: Vec<String>,
    /// The one group that they put it in.
    pub group: Option<String>,
}

impl Live {
    /// Every device as it is known now.
    pub fn devices(&self) -> Vec<Device> {
        self.fleet.all().map(|live| live.device.clone()).collect()
    }

    /// A device is called or sorted otherwise from now on. One that is not known changes nothing.
    pub fn label_device(
        &mut self,
        uuid: DeviceUuid,
        label: &DeviceLabel,
        now: Instant,
        wall: Timestamp,
    ) {
        if self.fleet.device_mut(uuid).is_some_and(|live| live.label(label)) {
            self.device_event(uuid, now, wall);
            self.board_event(uuid, true, now);
            self.entry_event(uuid, now, wall);
            self.members_changed(now);
            self.flush(now, wall);
        }
    }

    /// Another source tells of these from now on; what is known stands. Gives those that are not known.
    pub fn redirect(
        &mut self,
        mut devices: Vec<DeviceUuid>,
        demand: &Demand,
        now: Instant,
    ) -> Vec<DeviceUuid> {
        devices.retain(|uuid| {
            let Some(live) = self.fleet.device_mut(*uuid) else { return true };
            live.redirect(demand.clone(), now);
            self.stale.device(*uuid);
            false
        });
        devices
    }

    /// Takes a device and its containers out; who watches them is told. What its source still
    /// reports changes nothing.
    pub fn remove_device(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        for change in self.fleet.clear(uuid) {
            if let Change::Removed(gone) = change {
                let id = gone.container.container_id.clone();
                self.container_event(uuid, &id, Some(gone), true, now, wall);
            }
        }
        let Some(mut gone) = self.fleet.take(uuid) else { return };
        self.delivery.stats.devices -= 1;
        self.removed_event(&mut gone, now, wall);
        self.fleet_changed(uuid, now);
        self.members_changed(now);
        self.flush(now, wall);
    }

    fn removed_event(&mut self, gone: &mut LiveDevice, now: Instant, wall: Timestamp) {
        let (uuid, id) = (gone.device.device_uuid, gone.device.id);
        let removed =
            DeviceRemoved { device_uuid: uuid, id, name: &gone.device.name, removed: true };
        gone.stream.next();
        self.fleet_stream.next();
        for (room, stream) in
            [(RoomName::Device(uuid), &gone.stream), (RoomName::Fleet, &self.fleet_stream)]
        {
            let event = Event {
                room: &room,
                subject: Subject::Device(uuid),
                stream,
                name: "deviceRemoved",
                id: "device",
                data: &removed,
                // In the place of whatever still waits to be told of the device itself.
                key: (id.0 << 2) | 1,
                paced: false,
                sample: None,
            };
            self.delivery.tell(&event, now, wall);
        }
        self.delivery.entry(uuid, id.0, || removed.clone(), true, now);
    }

    /// Hands something to the log streams, in order with everything else.
    pub(crate) fn tell_logs(&mut self, request: LogRequest) {
        self.delivery.out.push(Command::Logs(Box::new(request)));
    }
}
