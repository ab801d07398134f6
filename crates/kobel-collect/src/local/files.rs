//! The files of /proc and /sys, as text.

use std::{fs, path::Path};

use crate::host::{
    HostText,
    network::NetworkRoles,
    processes::{self, ProcessCounters, Units},
    thermal::{self, Sensor},
};

/// The most chips, sensors of a chip, and thermal zones that are asked.
const MAX_SENSORS: usize = 64;

/// What every reading takes. A file that is not there is empty.
pub(super) fn text() -> HostText {
    HostText {
        stat: read("/proc/stat"),
        meminfo: read("/proc/meminfo"),
        loadavg: read("/proc/loadavg"),
        uptime: read("/proc/uptime"),
        net_dev: read("/proc/net/dev"),
        diskstats: read("/proc/diskstats"),
        pressure_cpu: read("/proc/pressure/cpu"),
        pressure_memory: read("/proc/pressure/memory"),
        pressure_io: read("/proc/pressure/io"),
    }
}

/// What /proc counts in on this machine.
pub(super) fn units() -> Units {
    Units {
        ticks_per_second: rustix::param::clock_ticks_per_second(),
        page_size: rustix::param::page_size() as u64,
    }
}

/// Every process that can be read. Some end meanwhile.
pub(super) fn processes() -> Vec<ProcessCounters> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| {
            let stat = fs::read(entry.path().join("stat")).ok()?;
            // Names of processes may be any bytes.
            processes::parse(&String::from_utf8_lossy(&stat))
        })
        .collect()
}

/// Interfaces whose bytes others count as well.
pub(super) fn network_roles() -> NetworkRoles {
    let mut roles = NetworkRoles::default();
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return roles;
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.join("bridge").is_dir() {
            roles.bridges.push(entry.file_name().to_string_lossy().into_owned());
        }
        if let Ok(slaves) = fs::read_to_string(path.join("bonding/slaves")) {
            roles.add_bond(&slaves);
        }
    }
    roles
}

/// The sensors that may know the processor's temperature.
pub(super) fn sensors() -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for chip in folders("/sys/class/hwmon") {
        let name = trimmed(&chip.join("name"));
        if thermal::rank(&name).is_none() {
            continue;
        }
        for number in 1..=MAX_SENSORS {
            let Some(millidegrees) = number_in(&chip.join(format!("temp{number}_input"))) else {
                // Numbers have holes, but not before the first few.
                if number > 4 {
                    break;
                }
                continue;
            };
            let label = trimmed(&chip.join(format!("temp{number}_label")));
            sensors.push(Sensor { chip: name.clone(), label, millidegrees });
        }
    }
    for zone in folders("/sys/class/thermal") {
        let name = trimmed(&zone.join("type"));
        if thermal::rank(&name).is_some()
            && let Some(millidegrees) = number_in(&zone.join("temp"))
        {
            sensors.push(Sensor { chip: name, label: String::new(), millidegrees });
        }
    }
    sensors
}

fn folders(path: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).take(MAX_SENSORS).collect()
}

fn number_in(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn trimmed(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn read(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
