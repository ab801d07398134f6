//! Log streams live: one for each container that somebody follows, whoever and however many.
//!
//! `stream` is the rules of one stream, without I/O; [`LogHub`] runs each in a task of its own, so
//! a flood in one holds up no other, nor a metric. Viewers of a stream with equal filters share what
//! is sent to them.

mod bus;
mod elsewhere;
mod feed;
mod hub;
mod keeper;
mod merged;
mod ring;
mod roster;
mod runner;
mod sharing;
mod sources;
mod stream;
mod tap;
mod task;
mod view;
mod volume;

pub use bus::{LogBus, Resumed};
pub use hub::{LogHub, LogRequests, Volumes};
pub(crate) use keeper::Keeper;
pub use sources::{LogSource, LogSources, NoLogs};
pub use volume::{LogVolume, NoisyStream, StreamSeries, TotalVolume};

use std::sync::Arc;

use kobel_fanout::SocketId;
use kobel_wire::log::LogStreamId;

use super::{LogFilter, store::LogIdentity};
use crate::{access::Access, request::Since};

/// The most lines that a viewer gets of those before it came.
pub const TAIL: u32 = 1_000;

/// So many it gets of a merged view, where it does not say.
pub const MERGED_TAIL: u32 = 200;

/// The most containers that are followed for one merged view.
pub const MEMBERS: usize = 50;

/// Names a merged view: what its viewers subscribed to, and which access they have. Whoever has
/// another access sees other members, and so has a view of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogViewId {
    /// The id of the room.
    pub id: Arc<str>,
    /// Names the access.
    pub access: u32,
}

/// How a viewer wants a container's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// So many lines before, at most [`TAIL`].
    pub tail: u32,
    /// The last line that the viewer has.
    pub since: Option<Since>,
    /// Which lines.
    pub filter: LogFilter,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { tail: TAIL, since: None, filter: LogFilter::default() }
    }
}

/// What is asked of the log streams. In the order given.
#[derive(Debug)]
pub enum LogRequest {
    /// A viewer wants lines. Where it has some of this stream already, it wants these instead.
    Enter {
        /// The viewer.
        socket: SocketId,
        /// The container.
        stream: LogStreamId,
        /// What the viewer may see.
        access: Arc<Access>,
        /// How it wants them.
        options: LogOptions,
    },
    /// A container is there, or it changed. While the store is on its log is followed as long as the
    /// container runs, whoever looks.
    Container(Arc<KnownContainer>),
    /// A container is gone.
    Gone(LogStreamId),
    /// A viewer wants no more.
    Leave {
        /// The viewer.
        socket: SocketId,
        /// The container.
        stream: LogStreamId,
    },
    /// A viewer wants the lines of several containers in one. Where it has some of this view
    /// already, it wants these instead.
    Watch {
        /// The viewer.
        socket: SocketId,
        /// The view.
        view: LogViewId,
        /// What the viewer may see.
        access: Arc<Access>,
        /// The containers, at most [`MEMBERS`].
        members: Vec<LogStreamId>,
        /// How it wants them.
        options: LogOptions,
    },
    /// A viewer wants no more of a view.
    Unwatch {
        /// The viewer.
        socket: SocketId,
        /// The view.
        view: LogViewId,
    },
    /// The containers of a view are these from now on.
    Members {
        /// The view.
        view: LogViewId,
        /// The containers, at most [`MEMBERS`].
        members: Vec<LogStreamId>,
    },
}

/// What the log streams know of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownContainer {
    /// Whose lines they are.
    pub identity: LogIdentity,
    /// Whether it runs.
    pub up: bool,
    /// Whether its lines may be stored.
    pub stored: bool,
    /// Whether it was made since the hub started: then its log is read from the first line.
    pub fresh: bool,
}
