//! What a device did over a while: the series of a sample, each with its least, mean and greatest
//! value.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DeviceUuid, Pressure, Sample, Timestamp};

/// The series of a device that are drawn, kept and summarised, by the names that they have in
/// `recent`. Percentages, bytes per second and °C, as in [`Sample`].
pub const SERIES: [&str; 15] = [
    "cpu",
    "iowait",
    "steal",
    "load1",
    "memory",
    "swap",
    "disk",
    "diskRead",
    "diskWrite",
    "temperature",
    "networkIn",
    "networkOut",
    "pressureCpu",
    "pressureMemory",
    "pressureIo",
];

impl Sample {
    /// Its values in the order of [`SERIES`].
    pub fn series(&self) -> [Option<f64>; SERIES.len()] {
        let pressure = |pick: fn(&Pressure) -> Option<f64>| self.pressure.as_ref().and_then(pick);
        [
            self.cpu,
            self.iowait,
            self.steal,
            self.load.map(|load| load[0]),
            self.memory,
            self.swap,
            self.disk,
            self.disk_read,
            self.disk_write,
            self.temperature,
            self.network_in,
            self.network_out,
            pressure(|p| p.cpu),
            pressure(|p| p.memory),
            pressure(|p| p.io),
        ]
    }
}

/// How far a value went over a while. `min <= mean <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f32,
    /// The mean of the samples.
    pub mean: f32,
    /// The greatest.
    pub max: f32,
}

/// What a device did over a while in which nobody watched it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// When its first sample was taken.
    pub from: Timestamp,
    /// When its last sample was taken.
    pub to: Timestamp,
    /// How many samples it is of.
    pub samples: u32,
    /// In the order of [`SERIES`]; `None` where no sample had the value.
    pub series: [Option<Spread>; SERIES.len()],
}
