//! One reading of a host.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DeviceState, DeviceUuid, Timestamp};

/// One reading of a device's metrics at one instant.
///
/// Percentages are 0–100, sizes bytes, rates bytes per second over the time since the reading
/// before, temperatures °C. What the host cannot give is `None` and absent from the JSON, never 0.
/// Rates and CPU shares are absent in the first reading and right after a reset of the host's
/// counters, for want of a difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The device.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// When the host was read.
    pub sampled_at: Timestamp,
    /// The device's state at that time.
    pub state: DeviceState,
    /// Time not idle and not waiting for I/O, percent of all cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// The same for each core, in the kernel's order; offline cores left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<f64>,
    /// Time waiting for I/O, percent of all cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iowait: Option<f64>,
    /// Time taken by the hypervisor for other guests, percent of all cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
    /// Load averages over 1, 5 and 15 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// Used memory, percent of the total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// MemTotal − MemAvailable, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used: Option<u64>,
    /// MemTotal, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    /// Used swap, percent; absent without swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<f64>,
    /// Used space of the root filesystem, percent of what unprivileged users may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<f64>,
    /// Each mounted filesystem that holds data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Bytes read per second from all disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_read: Option<f64>,
    /// Bytes written per second to all disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_write: Option<f64>,
    /// Temperature of the processor, °C.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Bytes received per second on all interfaces that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_in: Option<f64>,
    /// Bytes sent per second on all interfaces that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_out: Option<f64>,
    /// Each interface that counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Pressure stall information (kernel doc `accounting/psi.rst`), where the kernel has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// Seconds since the host booted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
    /// The busiest processes, busiest first, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
}

impl Sample {
    /// A reading without any value.
    pub fn empty(device_uuid: DeviceUuid, id: DeviceId, sampled_at: Timestamp) -> Self {
        Self {
            device_uuid,
            id,
            sampled_at,
            state: DeviceState::Online,
            cpu: None,
            cores: Vec::new(),
            iowait: None,
            steal: None,
            load: None,
            memory: None,
            memory_used: None,
            memory_total: None,
            swap: None,
            disk: None,
            mounts: Vec::new(),
            disk_read: None,
            disk_write: None,
            temperature: None,
            network_in: None,
            network_out: None,
            interfaces: Vec::new(),
            pressure: None,
            uptime: None,
            processes: None,
        }
    }
}

/// A mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted.
    pub path: String,
    /// Its type, such as `ext4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs: Option<String>,
    /// Bytes in use.
    pub used: u64,
    /// Bytes in use and bytes that unprivileged users may still use, as `df` counts them.
    pub total: u64,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Bytes received per second.
    #[serde(rename = "in")]
    pub received: f64,
    /// Bytes sent per second.
    #[serde(rename = "out")]
    pub sent: f64,
}

/// Share of the last 10 seconds in which some task waited for the resource, percent ("some
/// avg10").
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Waited for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Waited for I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<f64>,
}

/// A process among the busiest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its name, at most 15 bytes (`comm` in proc(5)).
    pub name: String,
    /// Processor time since the reading before, percent of one core.
    pub cpu: f64,
    /// Resident memory, bytes.
    pub memory: u64,
}
