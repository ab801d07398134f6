//! The shapes around the data on the wire: envelopes, batches, answers and errors
//! (the live contract; names are fixed, fields may only be added).

use serde::Serialize;

use crate::{DeviceId, DeviceState, DeviceUuid, Sample, Timestamp};

/// The position of a room's stream: `epoch` changes when the stream starts anew, `seq` counts its
/// events from 1.
pub type Seq = u64;

/// The shape of every room event: `{room, event, data, timestamp, epoch, seq}`.
#[derive(Debug, Clone, Serialize)]
pub struct Envelope<'a, T> {
    /// The room, such as `device:0198…`.
    pub room: &'a str,
    /// The event's name, the same as the Socket.IO event.
    pub event: &'a str,
    /// What happened.
    pub data: &'a T,
    /// When the hub published it.
    pub timestamp: Timestamp,
    /// The room's epoch.
    pub epoch: &'a str,
    /// Its number in the room.
    pub seq: Seq,
}

/// Several updates at once: `{room, updates, count, timestamp, epoch, seq}`.
#[derive(Debug, Clone, Serialize)]
pub struct Batch<'a, T> {
    /// The room.
    pub room: &'a str,
    /// The updates, newest per `id`, otherwise in the order in which they came.
    pub updates: &'a [T],
    /// How many they are.
    pub count: usize,
    /// When the batch was made, milliseconds since the epoch.
    pub timestamp: i64,
    /// The room's epoch.
    pub epoch: &'a str,
    /// Its number in the room.
    pub seq: Seq,
}

/// What a viewer gets once after a subscribe: `{type, id, data, epoch, seq}`.
#[derive(Debug, Clone, Serialize)]
pub struct InitialData<'a, T> {
    /// The `type` of the subscribe.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The `id` of the subscribe, or of the room when it had none.
    pub id: &'a str,
    /// The state now and the last minutes.
    pub data: &'a T,
    /// The room's epoch.
    pub epoch: &'a str,
    /// The number of the last event that this state holds.
    pub seq: Seq,
    /// True where events were missed between `since` and this state; absent without `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<bool>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not allowed, or not there as far as the asker may know.
    Unauthorized,
    /// Not there.
    NotFound,
    /// The request is wrong; the message says which field.
    BadRequest,
    /// Too many subscriptions on one connection.
    TooManySubscriptions,
    /// Too many requests.
    RateLimited,
    /// The hub cannot answer now.
    Unavailable,
}

impl ErrorCode {
    /// The code as it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::NotFound => "NOT_FOUND",
            Self::BadRequest => "BAD_REQUEST",
            Self::TooManySubscriptions => "TOO_MANY_SUBSCRIPTIONS",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// The body of an error: `{code, message}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// The event `error`: the body, and the subscribe that it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorEvent {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// The `type` of the subscribe, as it came, where it was a text.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The `id` of the subscribe, as it came, where it was a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The answer to `subscribe` and `unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ack {
    /// Whether it was done.
    pub ok: bool,
    /// The room subscribed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The room's epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The room's last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// With `since`: whether what was missed follows, in place of `initialData`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<bool>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

impl Ack {
    /// Done, without more to say.
    pub fn done() -> Self {
        Self { ok: true, room: None, epoch: None, seq: None, resumed: None, error: None }
    }

    /// Subscribed to `room`, whose last event was `seq` of `epoch`.
    pub fn subscribed(room: String, epoch: String, seq: Seq) -> Self {
        Self { room: Some(room), epoch: Some(epoch), seq: Some(seq), ..Self::done() }
    }

    /// Refused.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        let error = Some(ErrorBody { code, message: message.into() });
        Self { ok: false, error, ..Self::done() }
    }
}

/// A device in the dashboard's list and in its batches.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceEntry {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number; updates of a batch collapse by it.
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// Words that people put on it.
    pub tags: Vec<String>,
    /// The one group that people put it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it fares.
    pub state: DeviceState,
    /// Its newest sample.
    pub sample: Option<Sample>,
    /// Its containers, counted.
    pub containers: ContainerCounts,
}

/// A device in a frame of the fleet's room: what a table shows, `f64` as in [`Sample`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetEntry {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// When the values were read; absent where they never were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled_at: Option<Timestamp>,
    /// How it fares.
    pub state: DeviceState,
    /// As in [`Sample::cpu`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// As in [`Sample::memory`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// As in [`Sample::disk`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<f64>,
    /// As in [`Sample::temperature`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// As in [`Sample::network_in`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_in: Option<f64>,
    /// As in [`Sample::network_out`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_out: Option<f64>,
}

/// What changed of a device in the fleet's room, but its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryUpdate<'a> {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// What people call it.
    pub name: &'a str,
    /// Words that people put on it.
    pub tags: &'a [String],
    /// The one group that people put it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// How it fares.
    pub state: DeviceState,
    /// Its containers, counted.
    pub containers: ContainerCounts,
}

/// A device that was taken out of the inventory, in the rooms that it was in: `deviceRemoved`, and
/// an entry of the dashboard's batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRemoved<'a> {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// What people called it.
    pub name: &'a str,
    /// Always true: tells it from an entry of a device that is there.
    pub removed: bool,
}

/// Containers, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ContainerCounts {
    /// That are up.
    pub running: u32,
    /// In all.
    pub total: u32,
    /// Whose health check fails.
    pub unhealthy: u32,
}

/// What `stats` says: a sample, and the state of its device then.
#[derive(Debug, Serialize)]
pub struct Stats<'a> {
    /// The sample.
    #[serde(flatten)]
    pub sample: &'a Sample,
    /// How the device fares.
    pub state: DeviceState,
}

/// What the dashboard counts over all devices that the viewer may see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Devices in all.
    pub devices: u32,
    /// Online ones.
    pub online: u32,
    /// Stale or slow ones.
    pub stale: u32,
    /// Ones that cannot be read: unreachable, sign-in refused, host key changed.
    pub unreachable: u32,
    /// Containers in all.
    pub containers: u32,
    /// Containers that are up.
    pub running: u32,
    /// Containers whose health check fails.
    pub unhealthy: u32,
}

/// Which device a container is on, in a container's `initialData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRef {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// What people call it.
    pub name: String,
}
