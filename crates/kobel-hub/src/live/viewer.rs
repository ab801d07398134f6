//! Viewers: who is there, what they subscribe to, and what they see first.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kobel_fanout::{AckId, Frame, Policy as FramePolicy, SocketId};
use kobel_wire::{
    Container, Device, Sample, Timestamp,
    event::{Ack, DeviceEntry, DeviceRef, ErrorBody, ErrorCode, InitialData, Totals},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Command, Live, Subject,
    delivery::{NAMESPACE, flush, logged},
    fleet::{LiveDevice, totals},
    groups::{AccessKey, Shape},
    history::History,
    resume,
    stream::Stream,
};
use crate::{
    access::{Access, CredentialId, Principal},
    request::{Refusal, Subscribe},
    room::{RoomKind, RoomName},
};

/// The refusal of what one may not see, and of what does not exist to who may not see everything.
const NOT_ALLOWED: (ErrorCode, &str) = (ErrorCode::Unauthorized, "Insufficient permissions");

/// A socket that is signed in.
pub(crate) struct Viewer {
    pub(super) principal: Principal,
    pub(super) key: AccessKey,
    pub(super) rooms: HashMap<RoomName, Shape>,
}

#[derive(Serialize)]
struct DeviceData<'a> {
    device: &'a Device,
    sample: Option<&'a Sample>,
    containers: Vec<&'a Container>,
    recent: &'a History<15>,
}

#[derive(Serialize)]
struct ContainerData<'a> {
    container: &'a Container,
    device: DeviceRef,
    recent: &'a History<6>,
}

#[derive(Serialize)]
struct DashboardData {
    devices: Vec<DeviceEntry>,
    totals: Totals,
}

impl Live {
    /// A socket signed in.
    pub fn connected(&mut self, socket: SocketId, principal: Principal) {
        let key = self.delivery.groups.intern(&principal.access);
        let viewer = Viewer { principal, key, rooms: HashMap::new() };
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

    fn forget(&mut self, _socket: SocketId, viewer: &Viewer) {
        for (room, shape) in &viewer.rooms {
            self.delivery.groups.exit(room, viewer.key, *shape);
            self.count(room.kind(), -1);
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

        let shape = Shape::of(&asked.room, &asked.options);
        if let Some(before) = known {
            // The new subscription replaces the old one; no event comes by both.
            if let Some(room) = self.delivery.groups.exit(&asked.room, key, before) {
                self.delivery.out.push(Command::Leave { socket, room });
            }
        } else {
            self.count(asked.room.kind(), 1);
        }
        let (made, epoch) = (&mut self.dashboards_made, &self.epoch);
        let (fleet, own) = (&self.fleet, &self.own);
        let group = self.delivery.groups.enter(&asked.room, &access, key, shape, || {
            match &asked.room {
                RoomName::Device(uuid) => fleet.device(*uuid).map(|d| d.stream.clone()),
                RoomName::Container(id) => {
                    fleet.device_of(id).and_then(|d| d.containers.get(id)).map(|c| c.stream.clone())
                }
                RoomName::System => Some(own.stream.clone()),
                RoomName::Dashboard => None,
            }
            .unwrap_or_else(|| {
                *made += 1;
                Stream::new(&format!("{epoch}-{made}").into())
            })
        });
        // What waits is in the state that the newcomer gets: it goes to the others first.
        let waiting = flush(&asked.room, group, now, wall);
        let (room, stream) = (group.room.clone(), group.stream.clone());
        self.delivery.out.extend(waiting);
        if let Some(viewer) = self.viewers.get_mut(&socket) {
            viewer.rooms.insert(asked.room.clone(), shape);
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
        } else if let Some(frame) = self.initial(&asked.room, &access, &stream, since.map(|_| true))
        {
            self.delivery.out.push(Command::Emit { socket, frame });
        }
        self.delivery.out.push(Command::Join { socket, room });
    }

    /// Answers `unsubscribe`. Leaving a room that one is not in is no error.
    pub fn unsubscribe(&mut self, socket: SocketId, room: &RoomName, ack: Option<AckId>) {
        let Some(viewer) = self.viewers.get_mut(&socket) else {
            return;
        };
        if let Some(shape) = viewer.rooms.remove(room) {
            let key = viewer.key;
            if let Some(room) = self.delivery.groups.exit(room, key, shape) {
                self.delivery.out.push(Command::Leave { socket, room });
            }
            self.count(room.kind(), -1);
        }
        self.answer(socket, ack, Ack::done());
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
            RoomName::Dashboard => return Ok(()),
            RoomName::System if self.delivery.policy.may_see(access, Subject::System) => {
                return Ok(());
            }
            RoomName::System => return Err(NOT_ALLOWED),
            RoomName::Device(uuid) => (self.fleet.device(*uuid), "no such device"),
            RoomName::Container(id) => (self.fleet.device_of(id), "no such container"),
        };
        match device {
            Some(live) if self.may_see(access, live) => Ok(()),
            None if access.sees_all() => Err((ErrorCode::NotFound, missing)),
            _ => Err(NOT_ALLOWED),
        }
    }

    fn may_see(&self, access: &Access, live: &LiveDevice) -> bool {
        let subject = Subject::Device(live.device.device_uuid);
        self.delivery.policy.may_see(access, subject)
    }

    fn initial(
        &self,
        room: &RoomName,
        access: &Access,
        stream: &Stream,
        gap: Option<bool>,
    ) -> Option<Arc<Frame>> {
        match room {
            RoomName::Device(uuid) => {
                let live = self.fleet.device(*uuid)?;
                let data = DeviceData {
                    device: &live.device,
                    sample: live.sample.as_ref(),
                    containers: live.containers.values().map(|c| &c.container).collect(),
                    recent: &live.recent,
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
            RoomName::System => first(room, &self.own.data(), stream, gap),
        }
    }

    fn count(&mut self, kind: RoomKind, by: i64) {
        let count = &mut self.delivery.stats.subscriptions[kind as usize];
        *count = count.saturating_add_signed(by);
    }
}

fn first<T: Serialize>(
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
