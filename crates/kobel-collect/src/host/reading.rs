//! One reading of a host: from text to counters.

use std::collections::HashMap;

use kobel_wire::Pressure;

use super::{
    cpu::{self, CpuCounters},
    disks::{self, DiskCounters},
    memory::{self, Memory},
    network::{self, InterfaceCounters, NetworkRoles},
    pressure,
};

/// The text of the files that every reading takes. A file that the host does not have is empty.
#[derive(Debug, Clone, Default)]
pub struct HostText {
    /// /proc/stat; its `intr` line is not needed.
    pub stat: String,
    /// /proc/meminfo.
    pub meminfo: String,
    /// /proc/loadavg.
    pub loadavg: String,
    /// /proc/uptime.
    pub uptime: String,
    /// /proc/net/dev.
    pub net_dev: String,
    /// /proc/diskstats.
    pub diskstats: String,
    /// /proc/pressure/cpu.
    pub pressure_cpu: String,
    /// /proc/pressure/memory.
    pub pressure_memory: String,
    /// /proc/pressure/io.
    pub pressure_io: String,
}

/// A host's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Seconds since boot.
    pub uptime: Option<f64>,
    /// Processor time.
    pub cpu: Option<CpuCounters>,
    /// Memory.
    pub memory: Memory,
    /// Load averages.
    pub load: Option<[f64; 3]>,
    /// Disks by name.
    pub disks: HashMap<String, DiskCounters>,
    /// Interfaces that count.
    pub interfaces: Vec<InterfaceCounters>,
    /// Pressure.
    pub pressure: Option<Pressure>,
}

impl Reading {
    /// Makes counters of the text. What makes no sense is absent.
    pub fn parse(text: &HostText, roles: &NetworkRoles) -> Self {
        let pressure = Pressure {
            cpu: pressure::some_avg10(&text.pressure_cpu),
            memory: pressure::some_avg10(&text.pressure_memory),
            io: pressure::some_avg10(&text.pressure_io),
        };
        let none = Pressure { cpu: None, memory: None, io: None };
        Self {
            uptime: pressure::uptime(&text.uptime),
            cpu: cpu::parse(&text.stat),
            memory: memory::parse(&text.meminfo),
            load: pressure::load(&text.loadavg),
            disks: disks::parse(&text.diskstats),
            interfaces: network::parse(&text.net_dev, roles),
            pressure: (pressure != none).then_some(pressure),
        }
    }

    /// Whether the host gave nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
