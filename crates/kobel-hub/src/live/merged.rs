//! The rooms `logs:…`: whose lines are in a merged view, for those with one access. The lines
//! themselves go through the log streams.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use kobel_fanout::{Policy as FramePolicy, SocketId};
use kobel_wire::{
    ContainerState, Timestamp,
    event::{Envelope, ErrorCode},
    log::{LogMember, LogMembers, LogStreamId},
};
use tokio::time::Instant;

use super::{
    Command, Live, Subject,
    delivery::{NAMESPACE, earliest, logged},
    fleet::{LiveContainer, LiveDevice},
    groups::{AccessKey, Place},
};
use crate::{
    access::Access,
    logs::live::{LogOptions, LogRequest, LogViewId, MEMBERS},
    room::{LogSelector, RoomKind, RoomName, Selected},
};

/// How long a change of whose lines they are waits for others: `docker compose up` starts many.
const GATHER: Duration = Duration::from_millis(100);

/// The name of a view among the log streams.
fn view(selector: &LogSelector, key: AccessKey) -> LogViewId {
    LogViewId { id: selector.to_string().into(), access: key.number() }
}

fn streams(members: &LogMembers) -> Vec<LogStreamId> {
    members.members.iter().map(|member| member.stream_id.clone()).collect()
}

impl Live {
    /// What of a selection may be asked for: `Err` is why it may not.
    pub(super) fn may_select(
        &self,
        access: &Access,
        selector: &LogSelector,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let (device, missing) = match selector.selected() {
            // Those that may be seen; of others nothing is said.
            Selected::Project(None, _) | Selected::Tag(_) => return Ok(()),
            Selected::Device(uuid) | Selected::Project(Some(uuid), _) => {
                (self.fleet.device(*uuid), "no such device")
            }
            Selected::Containers(ids) => {
                let mut there = ids.iter().filter_map(|id| self.fleet.device_of(id));
                (there.find(|live| self.may_see(access, live)), "no such container")
            }
        };
        match device {
            Some(live) if self.may_see(access, live) => Ok(()),
            None if access.sees_all() => Err((ErrorCode::NotFound, missing)),
            _ => Err(super::viewer::NOT_ALLOWED),
        }
    }

    /// Whose lines are in a view: the containers that may be seen and were ever started, those that
    /// run first, of these the one that was started last.
    pub(super) fn log_members(&self, selector: &LogSelector, access: &Access) -> LogMembers {
        let policy = &*self.delivery.policy;
        let selected = selector.selected();
        let mut found: Vec<(&LiveDevice, &LiveContainer)> = match selected {
            Selected::Containers(ids) => {
                let there = ids.iter().filter_map(|id| {
                    let device = self.fleet.device_of(id)?;
                    let seen = policy.may_see(access, Subject::Device(device.device.device_uuid));
                    Some((device, device.containers.get(id)?)).filter(|_| seen)
                });
                there.collect()
            }
            _ => {
                let devices = self.fleet.visible(policy, access).filter(|live| match selected {
                    Selected::Device(uuid) | Selected::Project(Some(uuid), _) => {
                        live.device.device_uuid == *uuid
                    }
                    Selected::Tag(tag) => live.device.tags.contains(tag),
                    Selected::Project(None, _) | Selected::Containers(_) => true,
                });
                let all =
                    devices.flat_map(|live| live.containers.values().map(move |each| (live, each)));
                all.filter(|(_, live)| match selected {
                    Selected::Project(_, name) => live.container.project.as_ref() == Some(name),
                    _ => true,
                })
                .collect()
            }
        };
        // One that was never started has said nothing; it may be about to take another's place.
        found.retain(|(_, live)| live.container.state != ContainerState::Created);
        found.sort_by_key(|(_, live)| {
            let container = &live.container;
            let started = container.started_at.or(container.created_at);
            (Reverse((container.state.is_up(), started)), container.container_id.clone())
        });
        found.dedup_by_key(|(_, live)| &live.container.container_id);
        let truncated = found.len().saturating_sub(MEMBERS);
        found.truncate(MEMBERS);
        let members = found.into_iter().map(|(device, live)| {
            let container = &live.container;
            let (device_uuid, id) = (device.device.device_uuid, &container.container_id);
            LogMember {
                stream_id: LogStreamId { device: device_uuid, container: id.clone() },
                device_uuid,
                container_id: id.clone(),
                name: container.name.clone(),
                device_name: device.device.name.clone(),
                project: container.project.clone(),
                service: container.service.clone(),
                state: container.state,
            }
        });
        LogMembers { members: members.collect(), truncated }
    }

    /// Containers came, went or changed: whose lines they are in a view may be others.
    pub(super) fn members_changed(&mut self, now: Instant) {
        if self.delivery.stats.subscriptions[RoomKind::Logs as usize] > 0 {
            let due = self.delivery.members_due.get_or_insert(now + GATHER);
            self.delivery.flush_at = earliest(self.delivery.flush_at, Some(*due));
        }
    }

    /// Tells each view whose members changed.
    pub(super) fn tell_members(&mut self, wall: Timestamp) {
        self.delivery.members_due = None;
        let groups = self.delivery.groups.all();
        let places: Vec<_> = groups
            .filter(|(room, _)| room.kind() == RoomKind::Logs)
            .map(|(room, group)| (group.place(room), Arc::clone(&group.access)))
            .collect();
        for (place, access) in places {
            let RoomName::Logs(selector) = &place.room else { continue };
            let members = self.log_members(selector, &access);
            let Some(group) = self.delivery.groups.at(&place) else { continue };
            if group.whose.as_ref() == Some(&members) {
                continue;
            }
            let before = group.whose.as_ref().map(streams);
            self.merged_stream.next();
            group.stream.clone_from(&self.merged_stream);
            let envelope = Envelope {
                room: &place.room.to_string(),
                event: "logMembers",
                data: &members,
                timestamp: wall,
                epoch: &group.stream.epoch,
                seq: group.stream.seq,
            };
            let frame = kobel_fanout::Frame::event(
                NAMESPACE,
                "logMembers",
                &envelope,
                FramePolicy::Deliver,
            );
            let told =
                logged(frame).map(|frame| Command::Publish { room: group.room.clone(), frame });
            let streams = streams(&members);
            group.whose = Some(members);
            self.delivery.out.extend(told);
            self.delivery.stats.events += 1;
            if before.as_ref() != Some(&streams) {
                let view = view(selector, place.key);
                self.tell_logs(LogRequest::Members { view, members: streams });
            }
        }
    }

    /// A viewer wants the lines of a view, whose members it was told.
    pub(super) fn watch_logs(
        &mut self,
        socket: SocketId,
        place: &Place,
        access: Arc<Access>,
        options: LogOptions,
    ) {
        let RoomName::Logs(selector) = &place.room else { return };
        let members = self.delivery.groups.at(place).and_then(|group| group.whose.as_ref());
        let members = members.map(streams).unwrap_or_default();
        let view = view(selector, place.key);
        self.tell_logs(LogRequest::Watch { socket, view, access, members, options });
    }

    /// A viewer wants no more of a view.
    pub(super) fn unwatch_logs(
        &mut self,
        socket: SocketId,
        selector: &LogSelector,
        key: AccessKey,
    ) {
        let view = view(selector, key);
        self.tell_logs(LogRequest::Unwatch { socket, view });
    }
}
