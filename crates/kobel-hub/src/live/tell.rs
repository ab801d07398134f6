//! What happened, made into events of rooms; and what those who look seldom are told of it later.

use kobel_fanout::SocketId;
use kobel_wire::{ContainerId, DeviceUuid, Timestamp};
use tokio::time::Instant;

use super::{
    Live, Subject,
    delivery::{Event, To},
    fleet::LiveContainer,
    groups::Place,
    pace::Item,
};
use crate::room::RoomName;

impl Live {
    // The keys of frames: a device's id or a container's own key, and two bits for what it is, so
    // that no two things share one. Both begin with 1, which leaves 0 to the hub's own figures and
    // 1 to the fleet's frames.

    pub(super) fn sample_event(
        &mut self,
        uuid: DeviceUuid,
        to: To<'_>,
        now: Instant,
        wall: Timestamp,
    ) {
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
            item: Item::Sample(uuid),
            paced: true,
            sample: Some(sample),
        };
        self.delivery.tell(&event, to, now, wall);
    }

    pub(super) fn device_event(
        &mut self,
        uuid: DeviceUuid,
        to: To<'_>,
        now: Instant,
        wall: Timestamp,
    ) {
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
            item: Item::Device(uuid),
            paced: false,
            sample: None,
        };
        live.ring.keep(|| event.kept(wall));
        self.delivery.tell(&event, to, now, wall);
    }

    /// A container changed, in both of its rooms. `keep`: something else than its figures did.
    pub(super) fn container_event(
        &mut self,
        uuid: DeviceUuid,
        id: &ContainerId,
        gone: Option<Box<LiveContainer>>,
        keep: bool,
        now: Instant,
        wall: Timestamp,
    ) {
        let mut gone = gone;
        for own in [false, true] {
            self.container_told(uuid, id, gone.as_deref_mut(), own, keep, To::Room, now, wall);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one event, by every way it can be told")]
    fn container_told(
        &mut self,
        uuid: DeviceUuid,
        id: &ContainerId,
        gone: Option<&mut LiveContainer>,
        own: bool,
        keep: bool,
        to: To<'_>,
        now: Instant,
        wall: Timestamp,
    ) {
        let Some(device) = self.fleet.device_mut(uuid) else {
            return;
        };
        let known = match gone {
            Some(gone) => gone,
            None => match device.containers.get_mut(id) {
                Some(known) => known,
                None => return,
            },
        };
        let container_room = RoomName::Container(id.clone());
        let device_room = RoomName::Device(uuid);
        let (room, stream, ring, name, key) = if own {
            let key = (known.key << 2) | 3;
            (&container_room, &mut known.stream, &mut known.ring, "statusChange", key)
        } else {
            let key = (known.key << 2) | 2;
            (&device_room, &mut device.stream, &mut device.ring, "containerUpdate", key)
        };
        stream.next();
        if !own {
            known.seq_in_device = stream.seq;
        }
        let event = Event {
            room,
            subject: Subject::Device(uuid),
            stream,
            name,
            id: id.as_str(),
            data: &known.container,
            key,
            item: Item::Container(uuid, id.clone()),
            paced: !keep,
            sample: None,
        };
        if keep {
            ring.keep(|| event.kept(wall));
        }
        self.delivery.tell(&event, to, now, wall);
    }

    /// The dashboards' entry of a device is another one.
    pub(super) fn board_event(&mut self, uuid: DeviceUuid, urgent: bool, now: Instant) {
        let Some(live) = self.fleet.device(uuid) else {
            return;
        };
        self.delivery.entry(uuid, live.device.id.0, || live.entry(), urgent, now);
    }

    /// The room of the fleet hears of a device, if it has something new but figures.
    pub(super) fn entry_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        let Some(live) = self.fleet.device_mut(uuid) else {
            return;
        };
        if !live.entry_changed() {
            return;
        }
        self.fleet_stream.next();
        let event = Event {
            room: &RoomName::Fleet,
            subject: Subject::Device(uuid),
            stream: &self.fleet_stream,
            name: "deviceEntry",
            id: "device",
            data: &live.entry_update(),
            key: (live.device.id.0 << 2) | 1,
            item: Item::Device(uuid),
            paced: false,
            sample: None,
        };
        self.delivery.tell(&event, To::Room, now, wall);
    }

    /// Tells again what is newest of a thing, under a new number, to those who were not told.
    fn retell(&mut self, room: &RoomName, item: &Item, to: To<'_>, now: Instant, wall: Timestamp) {
        match item {
            Item::Sample(uuid) => self.sample_event(*uuid, to, now, wall),
            Item::Device(uuid) => self.device_event(*uuid, to, now, wall),
            Item::System => self.system_event(to, now, wall),
            Item::Container(uuid, id) => {
                let own = matches!(room, RoomName::Container(_));
                self.container_told(*uuid, id, None, own, false, to, now, wall);
            }
        }
    }

    /// Tells every group what is due: what was held back for those who look seldom, batches, and
    /// the frames of the fleet.
    pub fn flush(&mut self, now: Instant, wall: Timestamp) {
        if self.delivery.flush_at.is_none_or(|at| at > now) {
            return;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut held = Vec::new();
        let mut frames = Vec::new();
        for (room, group) in self.delivery.groups.all() {
            if is_due(group.pace.due) {
                let items = group.pace.take(group.shape.period(), now);
                held.push((group.place(room), items));
            }
            if is_due(group.fleet.due) {
                frames.push(group.place(room));
            }
        }
        for (place, items) in held {
            for item in items {
                self.retell(&place.room, &item, To::Group(&place), now, wall);
            }
        }
        for place in frames {
            self.fleet_frame(&place, now, wall);
        }
        self.delivery.flush_batches(&mut self.boards, now, wall);
        self.delivery.reckon();
    }

    /// Tells a socket what its group was not told yet: it leaves for another one.
    pub(super) fn part(&mut self, socket: SocketId, place: &Place, now: Instant, wall: Timestamp) {
        let Some(group) = self.delivery.groups.at(place) else { return };
        let items = group.pace.held().to_vec();
        let parting = super::delivery::parting(&place.room, group, &mut self.boards, wall);
        let emit = parting.map(|frame| super::Command::Emit { socket, frame });
        self.delivery.out.extend(emit);
        for item in items {
            self.retell(&place.room, &item, To::Socket(socket, place), now, wall);
        }
    }
}
