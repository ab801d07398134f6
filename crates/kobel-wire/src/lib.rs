//! The data types of Kobel and their encodings.
//!
//! Plain data with public fields: what a source yields, what the hub keeps and what a viewer
//! receives. This crate does no I/O, reads no clock and knows no async; everything else in the
//! workspace may depend on it.
//!
//! Start reading at [`Sample`] (one reading of a host) and [`Container`]; [`event`] holds the
//! shapes around them on the wire, [`metr`] and [`proto`] the binary forms of samples.

mod account;
mod container;
mod device;
mod id;
mod sample;
mod summary;
mod time;

pub mod event;
pub mod log;
pub mod metr;
pub mod proto;
pub mod system;

pub use account::Role;
pub use container::{Container, ContainerState, Health, LogPolicy};
pub use device::{Device, DeviceState, Engine, EngineKind, EngineState, Facts, SourceKind};
pub use id::{ContainerId, DeviceId, DeviceUuid, IdError};
pub use sample::{Interface, Mount, Pressure, Process, Sample};
pub use summary::{SERIES, Spread, Summary};
pub use time::{Timestamp, epoch_ms};
