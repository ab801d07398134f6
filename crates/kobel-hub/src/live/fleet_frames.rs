//! The room `fleet:main`: one frame in each tick with the newest values of every device that its
//! viewers may see.
//!
//! A frame holds all devices, not only those that were read since the last one: so a newer frame
//! may take the place of one that a slow viewer has not taken, and nothing is lost by it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kobel_fanout::{Frame, Policy as FramePolicy, SocketId};
use kobel_wire::{
    DeviceId, DeviceUuid, Timestamp,
    event::{Batch, ContainerCounts, FleetEntry, Seq, Totals},
    metr,
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Command, Live, Subject, binary,
    delivery::{NAMESPACE, earliest, logged},
    fleet::{LiveDevice, totals_of},
    groups::{AccessKey, Place},
    stream::Stream,
    viewer::first,
};
use crate::{access::Access, request::Format, room::RoomName};

/// How long a frame waits for further devices.
const GATHER: Duration = Duration::from_millis(100);

/// The key of the frames in conflation; no device's, as those begin with 4.
const KEY: u64 = 1;

/// What a group of the fleet's room is told, and when.
pub(crate) struct FleetFeed {
    /// When the next frame is due; `None` while nothing is new.
    pub(crate) due: Option<Instant>,
    told: Option<Instant>,
    encoder: metr::KeyedEncoder,
    /// The devices in the encoder's stream, by rising id.
    members: Vec<DeviceId>,
}

impl FleetFeed {
    /// Of a group that is made. `number` is one that no group had before: the key frames of two
    /// groups must not be taken for each other's.
    pub(crate) fn new(number: u32) -> Self {
        // Steps that share no factor with 2^32, so that groups that live for days do not meet.
        let first_key = number.wrapping_mul(0x9E37_79B1);
        let encoder = metr::KeyedEncoder::new(first_key);
        Self { due: None, told: None, encoder, members: Vec::new() }
    }

    /// The readings that the group may see, for the encoder; what it may not see any more leaves the
    /// stream.
    fn records(&mut self, devices: &[&LiveDevice]) -> Vec<metr::Record> {
        let mut records: Vec<_> = devices.iter().filter_map(|live| record(live)).collect();
        records.sort_unstable_by_key(|record| record.id);
        let same = self.members.iter().copied().eq(records.iter().map(|record| record.id));
        if !same {
            self.members = records.iter().map(|record| record.id).collect();
            let members = &self.members;
            self.encoder.retain(|id| members.binary_search(&id).is_ok());
        }
        records
    }

    /// A device has a newer sample.
    fn changed(&mut self, period: Duration, now: Instant) {
        let soon = now + GATHER;
        self.due.get_or_insert_with(|| self.told.map_or(soon, |at| soon.max(at + period)));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    name: &'a str,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    containers: ContainerCounts,
    #[serde(flatten)]
    entry: FleetEntry,
}

/// The first state of an access, as it was told last.
#[derive(Default)]
pub(super) struct Told(HashMap<(AccessKey, bool), (Seq, Arc<Frame>)>);

/// What a viewer gets first.
#[derive(Serialize)]
pub(super) struct FleetData<'a> {
    devices: Vec<Listed<'a>>,
    totals: Totals,
}

impl Live {
    /// What a viewer of the fleet's room gets first. Who gets a binary format has the values in the frame
    /// that follows. When many come at once they share it.
    pub(super) fn fleet_first(
        &mut self,
        place: &Place,
        access: &Access,
        stream: &Stream,
        gap: Option<bool>,
    ) -> Option<Arc<Frame>> {
        let values = place.shape.format == Format::Json;
        let key = (place.key, values);
        if let Some((seq, frame)) = self.fleet_told.0.get(&key)
            && gap.is_none()
            && *seq == stream.seq
        {
            return Some(Arc::clone(frame));
        }
        let frame = first(&place.room, &self.fleet_data(access, values), stream, gap)?;
        if gap.is_none() {
            // Of accesses that are gone, or of ticks before, nothing is kept.
            self.fleet_told.0.retain(|_, (seq, _)| *seq == stream.seq);
            self.fleet_told.0.insert(key, (stream.seq, Arc::clone(&frame)));
        }
        Some(frame)
    }

    fn fleet_data<'a>(&'a self, access: &'a Access, values: bool) -> FleetData<'a> {
        let policy = &*self.delivery.policy;
        let devices: Vec<_> = self
            .fleet
            .visible(policy, access)
            .map(|live| Listed {
                name: &live.device.name,
                tags: &live.device.tags,
                group: live.device.group.as_deref(),
                containers: live.counts(),
                entry: if values { live.fleet_entry() } else { live.bare_entry() },
            })
            .collect();
        let totals = totals_of(devices.iter().map(|d| (d.entry.state, d.containers)));
        FleetData { devices, totals }
    }

    /// The groups of the fleet's room have something new to be told.
    pub(super) fn fleet_changed(&mut self, uuid: DeviceUuid, now: Instant) {
        let Self { delivery, .. } = self;
        for group in delivery.groups.of(&RoomName::Fleet) {
            let seen = || delivery.policy.may_see(&group.access, Subject::Device(uuid));
            if group.fleet.due.is_none() && seen() {
                group.fleet.changed(group.shape.period(), now);
                delivery.flush_at = earliest(delivery.flush_at, group.fleet.due);
            }
        }
    }

    /// Tells a group the fleet's newest values.
    pub(super) fn fleet_frame(&mut self, place: &Place, now: Instant, wall: Timestamp) {
        let Self { fleet, delivery, fleet_stream, .. } = self;
        let Some(group) = delivery.groups.at(place) else { return };
        group.fleet.due = None;
        group.fleet.told = Some(now);
        fleet_stream.next();
        group.stream.clone_from(fleet_stream);
        let devices: Vec<_> = fleet.visible(&*delivery.policy, &group.access).collect();
        let format = group.shape.format;
        let frame = if format == Format::Metr2 {
            let records = group.fleet.records(&devices);
            let encoded = group.fleet.encoder.encode(wall, &records);
            // Without the key frame nothing after it can be read, so that one must arrive.
            let policy =
                if encoded.is_key { FramePolicy::Deliver } else { FramePolicy::Conflate(KEY) };
            binary::frame(&place.room, &group.stream, format, encoded.bytes, policy, wall)
        } else {
            whole(&devices, &group.stream, format, wall)
        };
        let room = group.room.clone();
        delivery.out.extend(frame.map(|frame| Command::Publish { room, frame }));
    }

    /// Tells a socket that joins a group the fleet's values, and what it needs to read the group's
    /// next frame. Who is new has the values of JSON in its first state already.
    pub(super) fn fleet_now(
        &mut self,
        socket: SocketId,
        place: &Place,
        is_new: bool,
        now: Instant,
        wall: Timestamp,
    ) {
        let Self { fleet, delivery, .. } = self;
        let Some(group) = delivery.groups.at(place) else { return };
        let format = group.shape.format;
        if is_new && format == Format::Json {
            return;
        }
        let devices: Vec<_> = fleet.visible(&*delivery.policy, &group.access).collect();
        let frames: Vec<_> = if format == Format::Metr2 {
            let records = group.fleet.records(&devices);
            let bytes = match group.fleet.encoder.key_frame() {
                Some(_) => {
                    group.fleet.encoder.observe(wall, &records);
                    group.fleet.encoder.catch_up()
                }
                None => {
                    group.fleet.told = Some(now);
                    vec![group.fleet.encoder.encode(wall, &records).bytes]
                }
            };
            let deliver = FramePolicy::Deliver;
            let frame =
                |bytes| binary::frame(&place.room, &group.stream, format, bytes, deliver, wall);
            bytes.into_iter().map(frame).collect()
        } else {
            vec![whole(&devices, &group.stream, format, wall)]
        };
        let emits = frames.into_iter().flatten().map(|frame| Command::Emit { socket, frame });
        delivery.out.extend(emits);
    }
}

fn record(live: &LiveDevice) -> Option<metr::Record> {
    let mut record = metr::Record::from(live.sample.as_ref()?);
    record.state = live.device.state;
    Some(record)
}

/// All values in a format without memory.
fn whole(
    devices: &[&LiveDevice],
    stream: &Stream,
    format: Format,
    wall: Timestamp,
) -> Option<Arc<Frame>> {
    let policy = FramePolicy::Conflate(KEY);
    let room = &RoomName::Fleet;
    if format != Format::Json {
        let data = binary::fleet(format, devices, wall);
        return binary::frame(room, stream, format, data, policy, wall);
    }
    let updates: Vec<_> = devices.iter().map(|live| live.fleet_entry()).collect();
    let batch = Batch {
        room: &room.to_string(),
        count: updates.len(),
        updates: &updates,
        timestamp: wall.as_millis(),
        epoch: &stream.epoch,
        seq: stream.seq,
    };
    logged(Frame::event(NAMESPACE, "batchUpdate", &batch, policy))
}
