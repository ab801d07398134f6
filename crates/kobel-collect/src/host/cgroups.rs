//! Containers by the files of their cgroups (cgroups(7), version 1 and 2), without their engine.
//!
//! Engines name a container's cgroup by its id: `docker-ID.scope`, `libpod-ID.scope`,
//! `cri-containerd-ID.scope` or `crio-ID.scope` where systemd makes them, plain `ID` or `libpod-ID`
//! where the engine does, below whatever parent. Whoever may make cgroups may name them anything, so
//! that only what has the shape of an id is looked at.

use std::collections::{BTreeMap, BTreeSet};

use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceUuid, Engine, EngineState, Timestamp,
};

use super::{rate, round2};

/// The most containers of a host that are looked at; others are not seen.
pub const MOST: usize = 1_000;

/// Digits of a full id.
const DIGITS: usize = 64;

/// The files of a cgroup that are read, those of version 2 first.
pub const FILES: [&str; 10] = [
    "cpu.stat",
    "memory.current",
    "memory.max",
    "memory.stat",
    "io.stat",
    "pids.current",
    "cpuacct.usage",
    "memory.usage_in_bytes",
    "memory.limit_in_bytes",
    "blkio.throttle.io_service_bytes",
];

/// What to say of the engine of a host whose containers are read so.
pub fn engine() -> Engine {
    Engine {
        state: EngineState::Connected,
        endpoint: Some("cgroups".into()),
        message: Some(
            "Containers are read from the files of their cgroups, as the options say; the engine \
             is not asked. So names, images and logs are not known, and only those that run are \
             seen."
                .into(),
        ),
        ..Engine::unknown(Timestamp::now())
    }
}

/// The container whose cgroup this is. None for cgroups of other things, for those inside of a
/// container, and for those of what watches a container (conmon).
pub fn container(path: &str) -> Option<ContainerId> {
    let mut parts = path.trim_end_matches('/').split('/');
    let last = id(parts.next_back()?)?;
    // Of containers in a container the outer one counts all.
    if parts.any(|part| id(part).is_some()) {
        return None;
    }
    last.parse().ok()
}

fn id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (engine, id) = part.rsplit_once('-').unwrap_or(("", part));
    let known = matches!(engine, "" | "docker" | "libpod" | "cri-containerd" | "crio");
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (known && id.len() == DIGITS && id.bytes().all(hex)).then_some(id)
}

/// What the files of one cgroup say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processor time, nanoseconds.
    cpu: Option<u64>,
    /// Bytes.
    memory: Option<u64>,
    limit: Option<u64>,
    inactive: Option<u64>,
    pids: Option<u64>,
    /// Bytes that were read and written.
    io: Option<(u64, u64)>,
}

impl Counters {
    /// Takes a line of one of [`FILES`]. A line that says nothing changes nothing.
    pub fn take(&mut self, file: &str, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or(("", line));
        let number = || rest.trim().parse::<u64>().ok();
        match (file, word) {
            ("cpu.stat", "usage_usec") => {
                self.cpu = number().map(|micros| micros.saturating_mul(1_000));
            }
            ("cpuacct.usage", "") => self.cpu = number(),
            ("memory.current" | "memory.usage_in_bytes", "") => self.memory = number(),
            // "max", and what version 1 says for it.
            ("memory.max" | "memory.limit_in_bytes", "") => {
                self.limit = number().filter(|limit| *limit < 1 << 60);
            }
            // Version 1 has both; there the group and those below it are the total.
            ("memory.stat", "total_inactive_file") => self.inactive = number(),
            ("memory.stat", "inactive_file") => self.inactive = self.inactive.or(number()),
            ("pids.current", "") => self.pids = number(),
            ("io.stat", _) => {
                for field in rest.split(' ') {
                    let add = |name| field.strip_prefix(name)?.parse::<u64>().ok();
                    self.add_io(add("rbytes=").unwrap_or(0), add("wbytes=").unwrap_or(0));
                }
            }
            ("blkio.throttle.io_service_bytes", _) => match rest.split_once(' ') {
                Some(("Read", bytes)) => self.add_io(bytes.trim().parse().unwrap_or(0), 0),
                Some(("Write", bytes)) => self.add_io(0, bytes.trim().parse().unwrap_or(0)),
                _ => {}
            },
            _ => {}
        }
    }

    fn add_io(&mut self, read: u64, written: u64) {
        let (r, w) = self.io.unwrap_or_default();
        self.io = Some((r.saturating_add(read), w.saturating_add(written)));
    }
}

/// The cgroups of a host's containers at one moment.
pub type Reading = BTreeMap<ContainerId, Counters>;

/// What is new since the reading before.
#[derive(Debug, PartialEq)]
pub enum News {
    /// The first reading: these are all.
    All(Vec<Container>),
    /// Those that run, and those that are gone.
    Each(Vec<Container>),
}

/// The containers of one host, from one reading to the next.
#[derive(Debug, Default)]
pub struct Cgroups {
    /// When the last reading was, and what it said.
    last: Option<(f64, Reading)>,
}

impl Cgroups {
    /// Takes a reading at `uptime`, the host's own seconds. `memory` is all that the host has, bytes.
    pub fn read(
        &mut self,
        device: DeviceUuid,
        uptime: f64,
        memory: Option<u64>,
        reading: Reading,
    ) -> News {
        let first = self.last.is_none();
        let (at, before) = self.last.take().unwrap_or_default();
        // Not after the host started anew.
        let seconds = (uptime > at).then_some(uptime - at);
        let mut told: Vec<_> = reading
            .iter()
            .map(|(id, now)| {
                let before = before.get(id).zip(seconds);
                let mut container = bare(device, id, ContainerState::Running);
                figures(&mut container, before, now);
                container.memory_limit = match (now.limit, memory) {
                    (Some(limit), Some(memory)) => Some(limit.min(memory)),
                    (limit, memory) => limit.or(memory),
                };
                container
            })
            .collect();
        let listed: BTreeSet<_> = reading.keys().collect();
        let gone = before.keys().filter(|id| !listed.contains(id));
        told.extend(gone.map(|id| bare(device, id, ContainerState::Removed)));
        self.last = Some((uptime, reading));
        if first { News::All(told) } else { News::Each(told) }
    }
}

/// What can be said of a container by its cgroup alone.
fn bare(device: DeviceUuid, id: &ContainerId, state: ContainerState) -> Container {
    let status = if state == ContainerState::Running { "Up" } else { "Gone" };
    Container {
        device_uuid: device,
        container_id: id.clone(),
        name: id.as_str().chars().take(12).collect(),
        image: String::new(),
        project: None,
        service: None,
        state,
        status: status.into(),
        health: None,
        exit_code: None,
        created_at: None,
        started_at: None,
        restart_count: None,
        logs: None,
        cpu: None,
        memory: None,
        memory_limit: None,
        network_in: None,
        network_out: None,
        block_read: None,
        block_write: None,
        pids: None,
    }
}

fn figures(container: &mut Container, before: Option<(&Counters, f64)>, now: &Counters) {
    container.memory = now.memory.map(|usage| {
        let reclaimable = now.inactive.filter(|part| *part < usage);
        usage - reclaimable.unwrap_or(0)
    });
    container.pids = now.pids;
    let Some((before, seconds)) = before else { return };
    let used = now.cpu.zip(before.cpu).and_then(|(now, before)| now.checked_sub(before));
    let percent = used.map(|nanos| nanos as f64 / 1e9 / seconds * 100.0);
    // More than a thousand cores cannot be: two moments were taken for one.
    container.cpu = percent.filter(|percent| *percent <= 100_000.0).map(round2);
    if let Some(((r0, w0), (r1, w1))) = before.io.zip(now.io) {
        container.block_read = rate(r0, r1, seconds);
        container.block_write = rate(w0, w1, seconds);
    }
}

#[cfg(test)]
mod tests;
