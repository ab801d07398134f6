//! Lines of logs: what is kept of each, and the shapes in which viewers get them.
//!
//! `logHistory {streamId, epoch, logs, complete}` comes once after a subscribe, then
//! `logBatch {streamId, logs, timestamp}`; `logGap {streamId, fromSeq, toSeq, dropped}` stands in
//! for lines that a viewer does not get.

mod fields;
mod level;
mod stamp;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use fields::{FieldValue, Fields};
pub use level::Level;
pub use stamp::LogTime;

use crate::{ContainerId, ContainerState, DeviceUuid, IdError, event::Seq};

/// An entry of a log: a line, or several that belong together, such as a stack trace.
///
/// Nothing of what came is lost: `raw`, or else `message`, is the entry as the container wrote it,
/// but for bytes that are no UTF-8 (replaced by U+FFFD) and for what `cut` counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Its number in the stream, from 1. 0 until the stream has numbered it.
    pub seq: Seq,
    /// When it was written: by its own word where it has one, else by the engine's.
    pub timestamp: LogTime,
    /// How grave it is; absent where the line does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// What it says, for reading: without escape sequences; of JSON and logfmt the message alone.
    pub message: String,
    /// What else a JSON or logfmt line says, in its order.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub fields: Fields,
    /// Where the container wrote it.
    pub stream: LogOutput,
    /// The entry as it came, escape sequences included; absent where equal to `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Bytes left off at the end of a line that was too long; absent where it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// For an entry that the hub wrote itself: what happened here. Absent for the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<LogMarker>,
}

impl LogLine {
    /// The entry as it came.
    pub fn raw(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.message)
    }
}

/// Where a container writes. What it writes to a terminal is all `stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogOutput {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What happened to a container between two of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogMarker {
    /// It was started, for the first time or again.
    Started,
    /// Its main process ended.
    Stopped,
    /// Another container took its place: the same name or service, another id.
    Recreated,
    /// Lines were lost before they came to the hub, nobody knows how many: the engine had already
    /// thrown them away.
    Lost,
}

/// The name of a container's log stream: `deviceUuid:containerId`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogStreamId {
    /// The device that the container runs on.
    pub device: DeviceUuid,
    /// The container.
    pub container: ContainerId,
}

impl fmt::Display for LogStreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.container)
    }
}

impl FromStr for LogStreamId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (device, container) = text.split_once(':').ok_or(IdError::NotUuid)?;
        Ok(Self { device: device.parse()?, container: container.parse()? })
    }
}

impl Serialize for LogStreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogStreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The event `logHistory`: the newest lines of a stream, once after a subscribe.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogHistory<'a, L = LogLine> {
    /// The stream.
    pub stream_id: &'a LogStreamId,
    /// Changes when the numbers of the stream start anew.
    pub epoch: &'a str,
    /// The lines, oldest first.
    pub logs: &'a [L],
    /// Whether these are all that were asked for: nothing older was left out for want of space.
    pub complete: bool,
}

/// The event `logBatch`: lines since the last one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogBatch<'a, L = LogLine> {
    /// The stream.
    pub stream_id: &'a LogStreamId,
    /// The lines, oldest first; as they are, or encoded already.
    pub logs: &'a [L],
    /// When the batch was made, milliseconds since the epoch.
    pub timestamp: i64,
}

/// How much goes through a stream: the event `logVolume`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamVolume {
    /// Lines a second, over the last minute or since it is followed.
    pub lines_per_second: f64,
    /// Bytes of their text a second.
    pub bytes_per_second: f64,
    /// Lines that came since it is followed, dropped ones among them.
    pub lines: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Lines that were dropped since they came faster than they could be worked on.
    pub dropped: u64,
    /// The most that a line was late in the last five seconds, by the engine's clock, ms.
    pub lag_ms: u64,
}

/// The event `logGap`: lines that the viewer does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogGap<'a> {
    /// The stream.
    pub stream_id: &'a LogStreamId,
    /// The first number that is missing.
    pub from_seq: Seq,
    /// The last number that is missing.
    pub to_seq: Seq,
    /// How many lines are missing.
    pub dropped: u64,
}

/// A line among those of several containers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedLine<'a> {
    /// The line; its number is that of its own stream.
    #[serde(flatten)]
    pub line: &'a LogLine,
    /// Its stream.
    pub stream_id: &'a LogStreamId,
}

/// The event `logHistory` of a merged view.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedHistory<'a, L> {
    /// The room.
    pub room: &'a str,
    /// The view's id.
    pub stream_id: &'a str,
    /// The lines, by their time, oldest first.
    pub logs: &'a [L],
    /// Whether nothing older was left out.
    pub complete: bool,
}

/// The event `logBatch` of a merged view.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedBatch<'a, L> {
    /// The room.
    pub room: &'a str,
    /// The view's id.
    pub stream_id: &'a str,
    /// The lines, by their time, oldest first.
    pub logs: &'a [L],
    /// When the batch was made, milliseconds since the epoch.
    pub timestamp: i64,
}

/// The event `logGap` of a merged view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedGap<'a> {
    /// The room.
    pub room: &'a str,
    /// The member's stream; the view's id where the viewer was too slow for lines of any of them.
    pub stream_id: &'a str,
    /// The first number that is missing: of the member, or by the count of the view.
    pub from_seq: Seq,
    /// The last one.
    pub to_seq: Seq,
    /// How many lines are missing.
    pub dropped: u64,
}

/// A container whose lines are in a merged view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogMember {
    /// Its stream.
    pub stream_id: LogStreamId,
    /// The device that it runs on.
    pub device_uuid: DeviceUuid,
    /// The engine's full id.
    pub container_id: ContainerId,
    /// Its name.
    pub name: String,
    /// That device's name.
    pub device_name: String,
    /// Its Compose project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its Compose service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whether it runs, and so on.
    pub state: ContainerState,
}

/// Whose lines are in a merged view: the event `logMembers`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogMembers {
    /// The containers, those first that were started last.
    pub members: Vec<LogMember>,
    /// How many more there are, which are not followed.
    pub truncated: usize,
}

#[cfg(test)]
mod tests;
