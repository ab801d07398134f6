//! What a source of logs gives, and to whom.

use std::sync::Arc;

use kobel_wire::{
    event::Seq,
    log::{LogLine, LogMarker, LogOutput, LogTime},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::LogPosition;

/// A line as its source read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// When the container wrote it, by the engine's clock.
    pub at: LogTime,
    /// Where the container wrote it.
    pub stream: LogOutput,
    /// The line without its end. What was no UTF-8 is U+FFFD; escape sequences and other control
    /// characters are in it. At most 256 KB, and three times that of bytes that are no UTF-8.
    pub text: String,
    /// Bytes that were left off at its end, because it was longer.
    pub cut: u64,
}

/// Something that a source tells of one stream, in its order.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEvent {
    /// A line.
    Line(RawLine),
    /// What happened to the container between two lines, and when.
    Marker(LogMarker, LogTime),
    /// So many lines, at least one, were dropped here on their way to the hub.
    Missing(u64),
    /// What the node that owns the container's device made of its lines.
    Told(Box<ToldLines>),
}

/// Entries of a log as the node that reads it numbered them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToldLines {
    /// Names the numbering.
    pub epoch: Arc<str>,
    /// The newest number there is: what is between two entries, or behind the last, is missing.
    pub seq: Seq,
    /// Entries, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Arc<LogLine>>,
    /// How far the container's log was read up to `seq`; absent where an entry is not whole yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<LogPosition>,
    /// The container's log has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl SourceEvent {
    /// How many events of its stream it stands for.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Line(_) | Self::Marker(..) => 1,
            Self::Missing(lines) => *lines,
            Self::Told(told) => told.lines.len() as u64,
        }
    }
}

/// Whoever takes the lines of one stream.
///
/// A source calls it from its reading task, so it must return at once. Where it has no room it
/// drops the oldest and counts them: the source never stops reading for it.
pub trait LogSink: Send + Sync {
    /// Takes what came at once, oldest first; leaves `events` empty, so that its space is used
    /// again.
    fn take(&self, events: &mut Vec<SourceEvent>);
}

/// Wakes a follow that waits: its container was started, its engine is back. Cloned freely.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Has it look at once. Without, it looks every few seconds.
    pub fn now(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody says so; at once, where that was since the last time.
    pub async fn poked(&self) {
        self.0.notified().await;
    }
}
