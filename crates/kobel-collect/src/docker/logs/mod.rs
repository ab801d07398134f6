//! The logs of one container, followed by the engine's API.
//!
//! [`Follower`] is the task; what it knows is in machines without I/O: [`demux`] takes the engine's
//! frames apart, [`Framing`] makes lines of them, `resume` says where to go on after a break and
//! what was already seen.
//!
//! The request is made with hyper rather than bollard: bollard's decoder keeps a whole frame of any
//! length that the engine names, and takes a terminal's output that begins with a byte up to 2 for
//! a header.

pub mod demux;

mod follow;
mod lines;
mod request;
mod resume;
mod source;

pub use super::dial::{Connection, Dial, Dialing};
pub use follow::{Ended, Follower, Start};
pub use lines::{Framing, LINE_BYTES, Parts};
pub use source::DockerLogs;
