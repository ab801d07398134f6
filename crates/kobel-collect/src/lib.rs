//! The sources of Kobel: what yields samples and container changes.
//!
//! Each source is one task that reads one host and reports into [`kobel_hub::ingest::Ingest`],
//! which never makes it wait. This crate knows nothing of viewers, rooms or sockets of viewers.
//!
//! - [`host`] is pure: the text of /proc and /sys to counters, two readings to a sample. It touches
//!   no file and no clock, so that a remote host's text takes the same way.
//! - [`local`] reads the files of this machine and feeds them to [`host`].
//! - [`docker`] watches the containers of a Docker or Podman socket. Its rules are in a machine
//!   without I/O (`docker/watch.rs`); the task around it only carries out what that asks for.
//!
//! Start reading at [`local::LocalSource`] and [`docker::DockerSource`].
#![forbid(unsafe_code)]

pub mod agent;
pub mod docker;
pub mod edge;
pub mod host;
pub mod local;
pub mod simulate;
pub mod ssh;

mod backoff;
mod stats;
mod text;

pub use stats::{CollectSnapshot, CollectStats, PoolSnapshot};

use kobel_wire::{DeviceId, DeviceUuid};

/// The device that a source reports on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its identity.
    pub device: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
}
