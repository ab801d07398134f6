//! What happened, made into events of rooms; and what those who look seldom are told of it later.

use kobel_fanout::SocketId;
use kobel_wire::{
    ContainerId, DeviceUuid, Timestamp,
    event::Stats,
    log::{LogStreamId, StreamVolume},
};
use tokio::time::Instant;

use super::{Live, Subject, delivery::Event, fleet::LiveContainer, groups::Place};
use crate::room::RoomName;

/// Marks the keys of `logVolume`s, which are the containers' own otherwise.
const LOG_VOLUME: u64 = 1 << 63;

impl Live {
    // The keys of frames: a device's id or a container's own key, and two bits for what it is, so
    // that no two things share one. Both begin with 1, which leaves 0 to the hub's own figures and
    // 1 to the fleet's frames.

    pub(super) fn sample_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
        let Some(live) = self.fleet.device_mut(uuid) else {
            return;
        };
        live.sample_seq = live.stream.next();
        let Some(sample) = &live.sample else { return };
        let stats = Stats { sample, state: live.device.state };
        let event = Event {
            room: &RoomName::Device(uuid),
            subject: Subject::Device(uuid),
            stream: &live.stream,
            name: "stats",
            id: "stats",
            data: &stats,
            key: live.device.id.0 << 2,
            paced: true,
            sample: Some(sample),
        };
        self.delivery.tell(&event, now, wall);
    }

    pub(super) fn device_event(&mut self, uuid: DeviceUuid, now: Instant, wall: Timestamp) {
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
            sample: None,
        };
        live.ring.keep(|| event.kept(wall));
        self.delivery.tell(&event, now, wall);
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
            self.container_told(uuid, id, gone.as_deref_mut(), own, keep, now, wall);
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
        if own {
            known.status_seq = stream.seq;
        } else {
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
            paced: !keep,
            sample: None,
        };
        if keep {
            ring.keep(|| event.kept(wall));
        }
        self.delivery.tell(&event, now, wall);
    }

    /// How much goes through the log of each container whose log is followed: told in its room.
    pub fn log_volumes(
        &mut self,
        volumes: &[(LogStreamId, StreamVolume)],
        now: Instant,
        wall: Timestamp,
    ) {
        for (id, volume) in volumes {
            let room = RoomName::Container(id.container.clone());
            if self.fleet.place_of(&room) != Some(id.device) {
                continue;
            }
            let Some(known) = self.fleet.container_mut(&id.container) else { continue };
            known.volume = Some(*volume);
            known.volume_seq = known.stream.next();
            let event = Event {
                room: &room,
                subject: Subject::Device(id.device),
                stream: &known.stream,
                name: "logVolume",
                id: "logVolume",
                data: volume,
                key: LOG_VOLUME | known.key,
                paced: true,
                sample: None,
            };
            self.delivery.tell(&event, now, wall);
        }
        self.flush(now, wall);
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
            paced: false,
            sample: None,
        };
        self.delivery.tell(&event, now, wall);
    }

    /// Tells every group what is due: what was held back for those who look seldom, batches, and
    /// the frames of the fleet.
    pub fn flush(&mut self, now: Instant, wall: Timestamp) {
        if self.delivery.flush_at.is_none_or(|at| at > now) {
            return;
        }
        self.delivery.flush_held(now, wall);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut frames = Vec::new();
        for (room, group) in self.delivery.groups.all() {
            if is_due(group.fleet.due) {
                frames.push(group.place(room));
            }
        }
        for place in frames {
            self.fleet_frame(&place, now, wall);
        }
        self.delivery.flush_batches(&mut self.boards, now, wall);
        if is_due(self.delivery.members_due) {
            self.tell_members(wall);
        }
        self.delivery.reckon();
    }

    /// Tells a socket what its group was not told yet: it leaves for another one.
    pub(super) fn part(&mut self, socket: SocketId, place: &Place, wall: Timestamp) {
        let Some(group) = self.delivery.groups.at(place) else { return };
        let frames = super::delivery::parting(&place.room, group, &mut self.boards, wall);
        let emits = frames.into_iter().map(|frame| super::Command::Emit { socket, frame });
        self.delivery.out.extend(emits);
    }
}
