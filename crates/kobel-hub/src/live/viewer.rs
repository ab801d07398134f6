//! Viewers: who is there, what they subscribe to, and what they see first.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kobel_fanout::{AckId, Frame, Policy as FramePolicy, Room, SocketId};
use kobel_wire::{
    Container, Device, DeviceUuid, SERIES, Sample, Timestamp,
    event::{Ack, DeviceEntry, DeviceRef, ErrorBody, ErrorCode, InitialData, Totals},
    log::{LogStreamId, StreamVolume},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Command, Live, Subject,
    delivery::{NAMESPACE, flush, logged},
    fleet::{LiveDevice, totals},
    groups::{AccessKey, Place, Shape},
    history::History,
    resume,
    stream::Stream,
    summaries::Summaries,
    tier::{Activity, Tier},
};
use crate::{
    access::{Access, CredentialId, Principal},
    logs::live::{LogOptions, LogRequest},
    request::{Refusal, Subscribe},
    room::{RoomKind, RoomName},
};

/// The refusal of what one may not see, and of what does not exist to who may not see everything.
pub(super) const NOT_ALLOWED: (ErrorCode, &str) =
    (ErrorCode::Unauthorized, "Insufficient permissions");

/// A socket that is signed in.
pub(crate) struct Viewer {
    pub(super) principal: Principal,
    pub(super) key: AccessKey,
    pub(super) rooms: HashMap<RoomName, Seat>,
    activity: Activity,
    tier: Tier,
}

/// A viewer's place in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(super) shape: Shape,
    /// How often it gets samples is by its tier.
    by_tier: bool,
    /// Whose log it follows.
    logs: Option<DeviceUuid>,
}

#[derive(Serialize)]
struct DeviceData<'a> {
    device: &'a Device,
    sample: Option<&'a Sample>,
    containers: Vec<&'a Container>,
    recent: &'a History<{ SERIES.len() }>,
    #[serde(skip_serializing_if = "Summaries::is_empty")]
    summaries: &'a Summaries,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerData<'a> {
    container: &'a Container,
    device: DeviceRef,
    recent: &'a History<6>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_volume: Option<StreamVolume>,
}

#[derive(Serialize)]
struct DashboardData {
    devices: Vec<DeviceEntry>,
    totals: Totals,
}

impl Live {
    /// A socket signed in.
    pub fn connected(&mut self, socket: SocketId, principal: Principal, now: Instant) {
        let key = self.delivery.groups.intern(&principal.access);
        let (rooms, activity) = (HashMap::new(), Activity::new(now));
        let viewer = Viewer { principal, key, rooms, activity, tier: Tier::Active };
        if let Some(before) = self.viewers.insert(socket, viewer) {
            // A socket's id is never used twice; be exact all the same.
            self.forget(socket, &before);
        }
    }

    /// A socket is gone.
    pub fn disconnected(&mut self, socket: SocketId) {
        if let Some(viewer) = self.viewers.remove(&socket) {
            self.forget(socket, &viewer);
        }
    }

    fn forget(&mut self, socket: SocketId, viewer: &Viewer) {
        for (room, seat) in &viewer.rooms {
            let place = Place { room: room.clone(), key: viewer.key, shape: seat.shape };
            self.delivery.groups.exit(&place);
            self.leave_logs(socket, viewer.key, room, seat.logs);
            self.count(room.kind(), -1);
            self.stale.room(room, || self.fleet.place_of(room));
        }
        self.delivery.groups.release(&viewer.principal.access);
    }

    /// Closes every socket that signed in by this credential. They get nothing more: their groups
    /// forget them at once, before the sockets are closed.
    pub fn revoke(&mut self, credential: CredentialId) {
        let sockets: Vec<_> = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.principal.credential == credential)
            .map(|(socket, _)| *socket)
            .collect();
        for socket in sockets {
            self.disconnected(socket);
            self.delivery.out.push(Command::Disconnect { socket });
        }
    }

    /// The credentials by which somebody is signed in now, with the access that each gave: each
    /// pair once.
    pub fn credentials(&self) -> Vec<(CredentialId, Arc<Access>)> {
        let all: HashSet<_> = self
            .viewers
            .values()
            .map(|v| (v.principal.credential, Arc::clone(&v.principal.access)))
            .collect();
        all.into_iter().collect()
    }

    pub(super) fn end_expired(&mut self, wall: Timestamp) {
        let ended: Vec<_> = self
            .viewers
            .values()
            .filter(|v| v.principal.expires_at.is_some_and(|at| at <= wall))
            .map(|v| v.principal.credential)
            .collect();
        for credential in ended {
            self.revoke(credential);
        }
    }

    /// Answers `subscribe`: the acknowledgement, the room's state, and from then on its events.
    pub fn subscribe(
        &mut self,
        socket: SocketId,
        asked: &Subscribe,
        ack: Option<AckId>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.wake(socket, now, wall);
        let Some(viewer) = self.viewers.get(&socket) else {
            return;
        };
        let known = viewer.rooms.get(&asked.room).copied();
        let (key, access) = (viewer.key, Arc::clone(&viewer.principal.access));
        if known.is_none() && viewer.rooms.len() >= self.max_subscriptions {
            let message = format!(
                "{} subscriptions on one connection are the most; unsubscribe from some first",
                self.max_subscriptions
            );
            return self.refuse_room(
                socket,
                ack,
                &asked.room,
                ErrorCode::TooManySubscriptions,
                message,
            );
        }
        if let Err((code, message)) = self.permitted(&access, &asked.room) {
            return self.refuse_room(socket, ack, &asked.room, code, message.into());
        }

        if self.delivery.members_due.is_some() && asked.room.kind() == RoomKind::Logs {
            // What it is told first is what all are told.
            self.tell_members(wall);
        }
        let shape = Shape::of(&asked.room, &asked.options, Tier::Active);
        if let Some(before) = known {
            // The new subscription replaces the old one; no event comes by both.
            self.leave(socket, &Place { room: asked.room.clone(), key, shape: before.shape });
        } else {
            self.count(asked.room.kind(), 1);
        }
        let place = Place { room: asked.room.clone(), key, shape };
        let (room, stream) = self.enter(&place, &access, now, wall);
        if let Some(viewer) = self.viewers.get_mut(&socket) {
            let logs = asked.options.logs.as_ref().and_then(|_| self.fleet.place_of(&asked.room));
            let by_tier = asked.options.rate.is_none() && asked.room.kind() != RoomKind::Logs;
            let seat = Seat { shape, by_tier, logs };
            viewer.rooms.insert(asked.room.clone(), seat);
        }

        let since = asked.options.since.as_ref();
        let missed = since.and_then(|since| self.missed(&asked.room, &stream, since, wall));
        let mut answer =
            Ack::subscribed(asked.room.to_string(), stream.epoch.to_string(), stream.seq);
        answer.resumed = since.map(|_| missed.is_some());
        self.delivery.out.extend(ack.map(|ack| Command::Ack { socket, ack, answer }));
        if let Some(missed) = missed {
            let frames = resume::frames(&asked.room, &stream, shape, &missed, wall);
            let emits = frames.into_iter().map(|frame| Command::Emit { socket, frame });
            self.delivery.out.extend(emits);
        } else if let Some(frame) = self.initial(&place, &access, &stream, since.map(|_| true)) {
            self.delivery.out.push(Command::Emit { socket, frame });
        }
        if asked.room == RoomName::Fleet {
            self.fleet_now(socket, &place, true, now, wall);
        }
        self.delivery.out.push(Command::Join { socket, room });
        match (&asked.options.logs, known.and_then(|seat| seat.logs)) {
            (Some(options), _) if asked.room.kind() == RoomKind::Logs => {
                self.watch_logs(socket, &place, access, options.clone());
            }
            (Some(options), _) => self.enter_logs(socket, &asked.room, access, options.clone()),
            (None, before) => self.leave_logs(socket, key, &asked.room, before),
        }
    }

    fn enter_logs(
        &mut self,
        socket: SocketId,
        room: &RoomName,
        access: Arc<Access>,
        options: LogOptions,
    ) {
        if let (RoomName::Container(container), Some(device)) = (room, self.fleet.place_of(room)) {
            let stream = LogStreamId { device, container: container.clone() };
            let enter = LogRequest::Enter { socket, stream, access, options };
            self.delivery.out.push(Command::Logs(Box::new(enter)));
        }
    }

    fn leave_logs(
        &mut self,
        socket: SocketId,
        key: AccessKey,
        room: &RoomName,
        followed: Option<DeviceUuid>,
    ) {
        if let RoomName::Logs(selector) = room {
            return self.unwatch_logs(socket, selector, key);
        }
        if let (RoomName::Container(container), Some(device)) = (room, followed) {
            let stream = LogStreamId { device, container: container.clone() };
            let leave = LogRequest::Leave { socket, stream };
            self.delivery.out.push(Command::Logs(Box::new(leave)));
        }
    }

    /// Counts a viewer into the group at a place; gives its room of the fan-out and where it
    /// stands. What waits in it goes to the others first: it is in the state that the newcomer gets.
    fn enter(
        &mut self,
        place: &Place,
        access: &Arc<Access>,
        now: Instant,
        wall: Timestamp,
    ) -> (Room, Stream) {
        let Self { fleet, own, boards, fleet_stream, merged_stream, .. } = self;
        let stream = match &place.room {
            RoomName::Device(uuid) => fleet.device_mut(*uuid).map(|live| {
                live.ring.open(live.stream.seq);
                &live.stream
            }),
            RoomName::Container(id) => fleet.container_mut(id).map(|live| {
                live.ring.open(live.stream.seq);
                &live.stream
            }),
            RoomName::System => Some(&own.stream),
            RoomName::Fleet => Some(&*fleet_stream),
            RoomName::Logs(_) => Some(&*merged_stream),
            RoomName::Dashboard => None,
        };
        let group = self.delivery.groups.enter(place, access, || {
            // While a dashboard had no group nobody counted what its viewers missed, so nobody's
            // last number may be the newest.
            boards.next();
            boards.clone()
        });
        if let Some(stream) = stream {
            group.stream.clone_from(stream);
        }
        let held = group.tell_held(&place.room, now, wall);
        self.delivery.out.extend(held);
        let waiting = flush(&place.room, group, Some(boards), now, wall);
        let entered = (group.room.clone(), group.stream.clone());
        self.delivery.out.extend(waiting);
        self.stale.room(&place.room, || self.fleet.place_of(&place.room));
        entered
    }

    fn leave(&mut self, socket: SocketId, place: &Place) {
        if let Some(room) = self.delivery.groups.exit(place) {
            self.delivery.out.push(Command::Leave { socket, room });
        }
        self.stale.room(&place.room, || self.fleet.place_of(&place.room));
    }

    /// Answers `unsubscribe`. Leaving a room that one is not in is no error.
    pub fn unsubscribe(
        &mut self,
        socket: SocketId,
        room: &RoomName,
        ack: Option<AckId>,
        now: Instant,
        wall: Timestamp,
    ) {
        self.wake(socket, now, wall);
        let Some(viewer) = self.viewers.get_mut(&socket) else {
            return;
        };
        if let Some(seat) = viewer.rooms.remove(room) {
            let key = viewer.key;
            self.leave(socket, &Place { room: room.clone(), key, shape: seat.shape });
            self.leave_logs(socket, key, room, seat.logs);
            self.count(room.kind(), -1);
        }
        self.answer(socket, ack, Ack::done());
    }

    /// Answers `activity`: whether the viewer's page can be seen.
    pub fn activity(
        &mut self,
        socket: SocketId,
        visible: bool,
        ack: Option<AckId>,
        now: Instant,
        wall: Timestamp,
    ) {
        if visible {
            self.wake(socket, now, wall);
        } else if let Some(viewer) = self.viewers.get_mut(&socket) {
            viewer.activity.hide();
            self.settle_tier(socket, now, wall);
        }
        self.answer(socket, ack, Ack::done());
    }

    /// A viewer did something, so it looks: it gets the newest values at once, where it looked
    /// seldom before.
    pub fn wake(&mut self, socket: SocketId, now: Instant, wall: Timestamp) {
        if let Some(viewer) = self.viewers.get_mut(&socket) {
            viewer.activity.seen(now);
            if viewer.tier != Tier::Active {
                self.settle_tier(socket, now, wall);
            }
        }
    }

    /// Moves every viewer that looks less than before to the groups that it belongs to.
    pub(super) fn settle_tiers(&mut self, now: Instant, wall: Timestamp) {
        let moved: Vec<_> = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.activity.tier(now) != viewer.tier)
            .map(|(socket, _)| *socket)
            .collect();
        for socket in moved {
            self.settle_tier(socket, now, wall);
        }
    }

    fn settle_tier(&mut self, socket: SocketId, now: Instant, wall: Timestamp) {
        let Some(viewer) = self.viewers.get_mut(&socket) else { return };
        let tier = viewer.activity.tier(now);
        if std::mem::replace(&mut viewer.tier, tier) == tier {
            return;
        }
        let (key, access) = (viewer.key, Arc::clone(&viewer.principal.access));
        let mut moves = Vec::new();
        for (room, seat) in &mut viewer.rooms {
            if seat.by_tier && seat.shape.rate != tier.rate() {
                let old = Place { room: room.clone(), key, shape: seat.shape };
                seat.shape.rate = tier.rate();
                moves.push((Place { shape: seat.shape, ..old.clone() }, old));
            }
        }
        for (new, old) in moves {
            // What the old group was not told yet would never reach who leaves it.
            self.part(socket, &old, wall);
            self.leave(socket, &old);
            let (room, _) = self.enter(&new, &access, now, wall);
            if new.room == RoomName::Fleet {
                self.fleet_now(socket, &new, false, now, wall);
            }
            self.delivery.out.push(Command::Join { socket, room });
        }
    }

    /// Acknowledges a request that needs nothing else.
    pub fn answer(&mut self, socket: SocketId, ack: Option<AckId>, answer: Ack) {
        self.delivery.out.extend(ack.map(|ack| Command::Ack { socket, ack, answer }));
    }

    /// Refuses a request: by its acknowledgement, where one was asked for, and by the event
    /// `error`.
    pub fn refuse(&mut self, socket: SocketId, ack: Option<AckId>, refusal: &Refusal) {
        let answer = Ack::refused(refusal.error.code, refusal.error.message.clone());
        self.answer(socket, ack, answer);
        let frame = Frame::event(NAMESPACE, "error", &refusal.event(), FramePolicy::Deliver);
        self.delivery.out.extend(logged(frame).map(|frame| Command::Emit { socket, frame }));
    }

    fn refuse_room(
        &mut self,
        socket: SocketId,
        ack: Option<AckId>,
        room: &RoomName,
        code: ErrorCode,
        message: String,
    ) {
        let error = ErrorBody { code, message };
        let kind = Some(room.kind().as_str().to_owned());
        self.refuse(socket, ack, &Refusal { error, kind, id: Some(room.id()) });
    }

    /// Whether somebody with this access may be in the room. Who may not see everything is not
    /// told what exists.
    fn permitted(&self, access: &Access, room: &RoomName) -> Result<(), (ErrorCode, &'static str)> {
        let (device, missing) = match room {
            RoomName::Dashboard | RoomName::Fleet => return Ok(()),
            RoomName::System if self.delivery.policy.may_see(access, Subject::System) => {
                return Ok(());
            }
            RoomName::System => return Err(NOT_ALLOWED),
            RoomName::Logs(selector) => return self.may_select(access, selector),
            RoomName::Device(uuid) => (self.fleet.device(*uuid), "no such device"),
            RoomName::Container(id) => (self.fleet.device_of(id), "no such container"),
        };
        match device {
            Some(live) if self.may_see(access, live) => Ok(()),
            None if access.sees_all() => Err((ErrorCode::NotFound, missing)),
            _ => Err(NOT_ALLOWED),
        }
    }

    pub(super) fn may_see(&self, access: &Access, live: &LiveDevice) -> bool {
        let subject = Subject::Device(live.device.device_uuid);
        self.delivery.policy.may_see(access, subject)
    }

    fn initial(
        &mut self,
        place: &Place,
        access: &Access,
        stream: &Stream,
        gap: Option<bool>,
    ) -> Option<Arc<Frame>> {
        let room = &place.room;
        match room {
            RoomName::Device(uuid) => {
                let live = self.fleet.device(*uuid)?;
                let data = DeviceData {
                    device: &live.device,
                    sample: live.sample.as_ref(),
                    containers: live.containers.values().map(|c| &c.container).collect(),
                    recent: &live.recent,
                    summaries: &live.summaries,
                };
                first(room, &data, stream, gap)
            }
            RoomName::Container(id) => {
                let device = self.fleet.device_of(id)?;
                let live = device.containers.get(id)?;
                let (device_uuid, name) = (device.device.device_uuid, device.device.name.clone());
                let data = ContainerData {
                    container: &live.container,
                    device: DeviceRef { device_uuid, name },
                    recent: &live.recent,
                    log_volume: live.volume,
                };
                first(room, &data, stream, gap)
            }
            RoomName::Dashboard => {
                let policy = &*self.delivery.policy;
                let devices: Vec<_> =
                    self.fleet.visible(policy, access).map(|d| d.entry()).collect();
                let data = DashboardData { totals: totals(&devices), devices };
                first(room, &data, stream, gap)
            }
            RoomName::Fleet => self.fleet_first(place, access, stream, gap),
            RoomName::System => first(room, &self.own.data(), stream, gap),
            RoomName::Logs(selector) => {
                let members = self.log_members(selector, access);
                let frame = first(room, &members, stream, gap);
                if let Some(group) = self.delivery.groups.at(place) {
                    group.whose = Some(members);
                }
                frame
            }
        }
    }

    fn count(&mut self, kind: RoomKind, by: i64) {
        let count = &mut self.delivery.stats.subscriptions[kind as usize];
        *count = count.saturating_add_signed(by);
    }
}

pub(super) fn first<T: Serialize>(
    room: &RoomName,
    data: &T,
    stream: &Stream,
    gap: Option<bool>,
) -> Option<Arc<Frame>> {
    let kind = room.kind().as_str();
    let initial =
        InitialData { kind, id: &room.id(), data, epoch: &stream.epoch, seq: stream.seq, gap };
    logged(Frame::event(NAMESPACE, "initialData", &initial, FramePolicy::Deliver))
}
