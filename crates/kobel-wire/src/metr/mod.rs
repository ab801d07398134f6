//! METR: readings of many devices in few bytes. `docs/metr.md` describes the bytes for those who
//! read them in another language.
//!
//! - **Version 1** ([`encode_v1`], [`decode_v1`]) is fixed: 12 bytes and 20 a device, for
//!   programs written against it.
//! - **Version 2** is a stream of key frames, which hold every device, and delta frames, which
//!   hold what is new in differences to the last key frame. [`KeyedEncoder`] makes them for a
//!   group of viewers, [`Reader`] reads them.
//!
//! Nothing here reads a clock: the time of a frame is an argument. Any bytes yield a value or an
//! [`Error`], and no allocation goes by a count that the bytes do not bear out.

mod bits;
mod error;
mod frame;
mod keyed;
mod quantity;
mod reader;
mod row;
mod v1;

pub use error::Error;
pub use frame::{FLAG_DELTA, HEADER_LEN, MAGIC, VERSION};
pub use keyed::{Encoded, KeyedEncoder};
pub use reader::{Frame, Reader};
pub use v1::{FrameV1, ReadingV1, decode_v1, encode_v1};

use crate::{DeviceId, DeviceState, Sample, Timestamp};

/// How many devices a reader holds unless it is told otherwise.
pub const DEFAULT_MAX_DEVICES: usize = 100_000;

/// One reading of a device: what the binary formats carry of a [`Sample`].
///
/// A value that the host cannot give is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// The device's short number.
    pub id: DeviceId,
    /// How the device fares.
    pub state: DeviceState,
    /// When the host was read.
    pub sampled_at: Timestamp,
    /// Processor time, percent of all cores.
    pub cpu: Option<f64>,
    /// Used memory, percent.
    pub memory: Option<f64>,
    /// Used space of the root filesystem, percent.
    pub disk: Option<f64>,
    /// Temperature of the processor, °C.
    pub temperature: Option<f64>,
    /// Bytes received per second.
    pub network_in: Option<f64>,
    /// Bytes sent per second.
    pub network_out: Option<f64>,
}

impl Record {
    /// A reading without any value.
    pub fn empty(id: DeviceId, sampled_at: Timestamp) -> Self {
        Self {
            id,
            state: DeviceState::Online,
            sampled_at,
            cpu: None,
            memory: None,
            disk: None,
            temperature: None,
            network_in: None,
            network_out: None,
        }
    }
}

impl From<&Sample> for Record {
    fn from(sample: &Sample) -> Self {
        Self {
            id: sample.id,
            state: sample.state,
            sampled_at: sample.sampled_at,
            cpu: sample.cpu,
            memory: sample.memory,
            disk: sample.disk,
            temperature: sample.temperature,
            network_in: sample.network_in,
            network_out: sample.network_out,
        }
    }
}
