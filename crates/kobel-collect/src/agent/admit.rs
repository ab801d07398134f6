//! What comes from an agent, made fit: an agent may be broken, or somebody else's.
//!
//! A value that cannot be (no number, below zero, beyond any machine) is left out and counted;
//! text is cleaned and cut; lists are cut. What makes no sense without it (a container's id) makes
//! the whole report nothing. No input makes it panic, or allocate much more than its own length.

use bytes::Bytes;
use kobel_wire::{
    Container, ContainerId, ContainerState, DeviceState, Engine, EngineKind, EngineState, Facts,
    Health, Interface, LogPolicy, Mount, Pressure, Process, SERIES, Sample, Spread, Summary,
    Timestamp,
    proto::{
        AgentMessage, ContainerHealth, ContainerReport, ContainerState as WireState, DeviceClaim,
        EngineKind as Kind, EngineReport, EngineState as WireEngine, HostFacts, HostPressure,
        HostSample, HostSummary,
    },
};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::{Claim, convert::id_text};
use crate::{Target, text::clean};

/// The most parts (reports, claims, mounts, containers of an inventory…) of one message.
const PARTS: u32 = 32_768;

/// Characters of names and the like; of what people read.
const NAME: usize = 128;
const WORDS: usize = 300;

/// The most of what a host may have many of.
const CORES: usize = 1_024;
const MOUNTS: usize = 64;
const INTERFACES: usize = 64;
const PROCESSES: usize = 64;
const TAGS: usize = 16;

/// A petabyte per second, an exabyte: beyond any host.
const MOST_RATE: f64 = 1e15;
const MOST_BYTES: u64 = 1 << 60;

/// How far two clocks may differ before times are moved: less is the way's own delay.
const SKEW_MS: i64 = 2_000;

/// Nothing that is reported is older: an hour that the hub was away, and some to spare.
const OLDEST_MS: i64 = 2 * 3_600_000;

/// Why bytes are no message of an agent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Not Protocol Buffers, or a field of another type than it should be.
    #[error("the message cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// Too many small parts: each would become much more than it takes on the way.
    #[error("the message has more than {PARTS} parts")]
    Parts,
}

/// A field of a message that holds messages, and those of them that do.
struct Part {
    field: u32,
    within: &'static [Part],
}

const fn leaf(field: u32) -> Part {
    Part { field, within: &[] }
}

/// Where in an `AgentMessage` something stands many times.
const MANY: &[Part] = &[
    Part { field: 3, within: &[Part { field: 1, within: &[leaf(4)] }] },
    Part {
        field: 4,
        within: &[
            Part { field: 1, within: &[Part { field: 4, within: &[leaf(2)] }] },
            Part {
                field: 2,
                within: &[leaf(13), leaf(19), Part { field: 22, within: &[leaf(1)] }],
            },
            leaf(3),
            leaf(4),
            leaf(5),
            leaf(6),
        ],
    },
    Part { field: 5, within: &[leaf(2)] },
];

/// Reads a message; its parts are counted before anything is made of them.
pub(super) fn read(bytes: &Bytes) -> Result<AgentMessage, Unreadable> {
    let mut left = PARTS;
    count(bytes, MANY, &mut left)?;
    Ok(AgentMessage::decode(bytes.clone())?)
}

fn count(mut rest: &[u8], parts: &[Part], left: &mut u32) -> Result<(), Unreadable> {
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        let part = parts.iter().find(|part| part.field == tag);
        match (part, wire_type) {
            (Some(part), WireType::LengthDelimited) => {
                *left = left.checked_sub(1).ok_or(Unreadable::Parts)?;
                let length = decode_varint(&mut rest)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let Some((inner, behind)) = rest.split_at_checked(length) else {
                    // Decoding says it in prost's words.
                    return Ok(());
                };
                if !part.within.is_empty() {
                    count(inner, part.within, left)?;
                }
                rest = behind;
            }
            _ => skip_field(wire_type, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(())
}

/// The value as it was before it became an f32: 12.5 and 0.1, not 0.10000000149011612.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Makes values fit, and counts what it left out.
#[derive(Debug)]
pub(super) struct Admit {
    /// Added to the agent's times.
    shift_ms: i64,
    /// Added to those of one report beside it: the agent's clock was set since.
    moved_ms: i64,
    wall: Timestamp,
    pub(super) bad_values: u64,
    pub(super) too_many: u64,
}

impl Admit {
    /// For a message that was sent at `sent_at_ms` by the agent's clock and came at `wall`.
    pub(super) fn new(sent_at_ms: i64, wall: Timestamp) -> Self {
        let skew = wall.as_millis().saturating_sub(sent_at_ms);
        let shift_ms = if skew.saturating_abs() > SKEW_MS { skew } else { 0 };
        Self { shift_ms, moved_ms: 0, wall, bad_values: 0, too_many: 0 }
    }

    /// What follows is by a clock that was set by so much since.
    pub(super) fn moved(&mut self, ms: i64) {
        self.moved_ms = ms;
    }

    /// A time of the agent's by the hub's clock.
    fn shifted(&self, ms: i64) -> i64 {
        ms.saturating_add(self.moved_ms).saturating_add(self.shift_ms)
    }

    /// A time by the hub's clock: not in the future, and not long ago.
    fn recent(&self, ms: i64) -> Timestamp {
        let (now, ms) = (self.wall.as_millis(), self.shifted(ms));
        Timestamp::from_millis(ms.clamp(now.saturating_sub(OLDEST_MS), now.saturating_add(SKEW_MS)))
    }

    /// A time of something that may be long ago, such as a boot.
    fn past(&self, ms: i64) -> Timestamp {
        let (now, ms) = (self.wall.as_millis(), self.shifted(ms));
        Timestamp::from_millis(ms.min(now.saturating_add(SKEW_MS)))
    }

    fn within(&mut self, value: Option<f32>, most: f64) -> Option<f64> {
        let value = f64::from(value?);
        // A little over is rounding.
        if value.is_finite() && (0.0..=most * 1.01).contains(&value) {
            return Some(hundredths(value.min(most)));
        }
        self.bad_values += 1;
        None
    }

    fn percent(&mut self, value: Option<f32>) -> Option<f64> {
        self.within(value, 100.0)
    }

    fn rate(&mut self, value: Option<f32>) -> Option<f64> {
        // Whole bytes: what an f32 has behind the point is not there.
        self.within(value, MOST_RATE).map(f64::round)
    }

    fn degrees(&mut self, value: Option<f32>) -> Option<f64> {
        let value = f64::from(value?);
        let good = value.is_finite() && (-100.0..=300.0).contains(&value);
        self.bad_values += u64::from(!good);
        good.then(|| hundredths(value))
    }

    fn bytes(&mut self, value: Option<u64>) -> Option<u64> {
        let value = value?;
        let good = value <= MOST_BYTES;
        self.bad_values += u64::from(!good);
        good.then_some(value)
    }

    fn cut<T>(&mut self, mut list: Vec<T>, most: usize) -> Vec<T> {
        if list.len() > most {
            self.too_many += (list.len() - most) as u64;
            list.truncate(most);
        }
        list
    }

    /// A sample of this device.
    pub(super) fn sample(&mut self, target: Target, sample: HostSample) -> Sample {
        let load: Vec<_> =
            sample.load.iter().filter_map(|load| self.within(Some(*load), 1e6)).collect();
        let cores = self.cut(sample.cores, CORES);
        let mounts = self.cut(sample.mounts, MOUNTS);
        let interfaces = self.cut(sample.interfaces, INTERFACES);
        Sample {
            device_uuid: target.device,
            id: target.id,
            sampled_at: self.recent(sample.sampled_at_ms),
            state: DeviceState::Online,
            cpu: self.percent(sample.cpu),
            cores: cores.into_iter().map(|core| self.percent(Some(core)).unwrap_or(0.0)).collect(),
            iowait: self.percent(sample.iowait),
            steal: self.percent(sample.steal),
            load: load.try_into().ok(),
            memory: self.percent(sample.memory),
            memory_used: self.bytes(sample.memory_used),
            memory_total: self.bytes(sample.memory_total),
            swap: self.percent(sample.swap),
            disk: self.percent(sample.disk),
            mounts: mounts
                .into_iter()
                .filter_map(|mount| {
                    let (used, total) =
                        (self.bytes(Some(mount.used))?, self.bytes(Some(mount.total))?);
                    let fs = mount.fs.map(|fs| clean(&fs, NAME));
                    Some(Mount { path: clean(&mount.path, NAME), fs, used, total })
                })
                .collect(),
            disk_read: self.rate(sample.disk_read),
            disk_write: self.rate(sample.disk_write),
            temperature: self.degrees(sample.temperature),
            network_in: self.rate(sample.network_in),
            network_out: self.rate(sample.network_out),
            interfaces: interfaces
                .into_iter()
                .filter_map(|interface| {
                    let received = self.rate(Some(interface.received))?;
                    let sent = self.rate(Some(interface.sent))?;
                    Some(Interface { name: clean(&interface.name, NAME), received, sent })
                })
                .collect(),
            pressure: sample.pressure.map(|pressure| self.pressure(&pressure)),
            uptime: self.uptime(sample.uptime),
            processes: sample.processes.map(|list| {
                let list = self.cut(list.processes, PROCESSES);
                list.into_iter()
                    .filter_map(|process| {
                        let cpu = self.within(Some(process.cpu), CORES as f64 * 100.0)?;
                        let memory = self.bytes(Some(process.memory))?;
                        let name = clean(&process.name, NAME);
                        Some(Process { pid: process.pid, name, cpu, memory })
                    })
                    .collect()
            }),
        }
    }

    fn pressure(&mut self, pressure: &HostPressure) -> Pressure {
        Pressure {
            cpu: self.percent(pressure.cpu),
            memory: self.percent(pressure.memory),
            io: self.percent(pressure.io),
        }
    }

    fn uptime(&mut self, value: Option<f64>) -> Option<f64> {
        let value = value?;
        // A thousand years.
        let good = value.is_finite() && (0.0..=3.2e10).contains(&value);
        self.bad_values += u64::from(!good);
        good.then_some(value)
    }

    /// A summary of this device; `None` where it is none.
    pub(super) fn summary(&mut self, target: Target, summary: &HostSummary) -> Option<Summary> {
        let count = summary.present.count_ones() as usize;
        if summary.present >> SERIES.len() != 0
            || summary.values.len() != 3 * count
            || summary.from_ms > summary.to_ms
            || summary.samples == 0
        {
            self.bad_values += 1;
            return None;
        }
        let mut series = [None; SERIES.len()];
        let (mut triples, _) = summary.values.as_chunks::<3>();
        for (n, place) in series.iter_mut().enumerate() {
            if summary.present & (1 << n) == 0 {
                continue;
            }
            let ([min, mean, max], rest) = triples.split_first()?;
            triples = rest;
            let good =
                min <= mean && mean <= max && self.is_value(n, *min) && self.is_value(n, *max);
            self.bad_values += u64::from(!good);
            *place = good.then_some(Spread { min: *min, mean: *mean, max: *max });
        }
        Some(Summary {
            device_uuid: target.device,
            id: target.id,
            from: self.recent(summary.from_ms),
            to: self.recent(summary.to_ms),
            samples: summary.samples.min(86_400),
            series,
        })
    }

    fn is_value(&self, series: usize, value: f32) -> bool {
        let most = match SERIES[series] {
            "diskRead" | "diskWrite" | "networkIn" | "networkOut" => MOST_RATE as f32,
            "load1" => 1e6,
            "temperature" => return (-100.0..=300.0).contains(&value),
            _ => 101.0,
        };
        (0.0..=most).contains(&value)
    }

    /// A container of this device; `None` where its id is none.
    pub(super) fn container(
        &mut self,
        target: Target,
        report: ContainerReport,
    ) -> Option<Container> {
        let id: Option<ContainerId> = match report.container_id.len() {
            6..=32 => id_text(&report.container_id).parse().ok(),
            _ => None,
        };
        let Some(container_id) = id else {
            self.bad_values += 1;
            return None;
        };
        let state = match WireState::try_from(report.state).unwrap_or_default() {
            WireState::Unknown => ContainerState::Unknown,
            WireState::Created => ContainerState::Created,
            WireState::Running => ContainerState::Running,
            WireState::Paused => ContainerState::Paused,
            WireState::Restarting => ContainerState::Restarting,
            WireState::Exited => ContainerState::Exited,
            WireState::Removing => ContainerState::Removing,
            WireState::Dead => ContainerState::Dead,
            WireState::Removed => ContainerState::Removed,
        };
        let health = match report.health() {
            ContainerHealth::Unspecified => None,
            ContainerHealth::Starting => Some(Health::Starting),
            ContainerHealth::Healthy => Some(Health::Healthy),
            ContainerHealth::Unhealthy => Some(Health::Unhealthy),
        };
        Some(Container {
            device_uuid: target.device,
            container_id,
            name: clean(&report.name, NAME),
            image: clean(&report.image, WORDS),
            project: report.project.map(|text| clean(&text, NAME)),
            service: report.service.map(|text| clean(&text, NAME)),
            state,
            status: clean(&report.status, NAME),
            health,
            exit_code: report.exit_code,
            created_at: report.created_at_ms.map(|ms| self.past(ms)),
            started_at: report.started_at_ms.map(|ms| self.past(ms)),
            restart_count: report.restart_count,
            logs: report.logs_off.then_some(LogPolicy::Off),
            cpu: self.within(report.cpu, CORES as f64 * 100.0),
            memory: self.bytes(report.memory),
            memory_limit: self.bytes(report.memory_limit),
            network_in: self.rate(report.network_in),
            network_out: self.rate(report.network_out),
            block_read: self.rate(report.block_read),
            block_write: self.rate(report.block_write),
            pids: self.bytes(report.pids),
        })
    }

    /// What a host says of itself.
    pub(super) fn facts(&self, facts: HostFacts) -> Facts {
        let text = |text: Option<String>| text.map(|text| clean(&text, NAME));
        Facts {
            hostname: clean(&facts.hostname, NAME),
            os: text(facts.os),
            kernel: text(facts.kernel),
            arch: text(facts.arch),
            cpu_model: text(facts.cpu_model),
            cpu_count: facts.cpu_count.map(|count| count.min(65_536)),
            booted_at: facts.booted_at_ms.map(|ms| self.past(ms)),
        }
    }

    /// The state of a container engine.
    pub(super) fn engine(&self, report: EngineReport) -> Engine {
        let state = match report.state() {
            WireEngine::Unknown => EngineState::Unknown,
            WireEngine::Connected => EngineState::Connected,
            WireEngine::Absent => EngineState::Absent,
            WireEngine::Denied => EngineState::Denied,
            WireEngine::Error => EngineState::Error,
        };
        let kind = match report.kind() {
            Kind::Unspecified => None,
            Kind::Docker => Some(EngineKind::Docker),
            Kind::Podman => Some(EngineKind::Podman),
        };
        Engine {
            state,
            kind,
            version: report.version.map(|text| clean(&text, NAME)),
            endpoint: report.endpoint.map(|text| clean(&text, WORDS)),
            message: report.message.map(|text| clean(&text, WORDS)),
            since: self.past(report.since_ms),
        }
    }

    /// What is claimed.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    pub(super) fn claim(&mut self, claim: DeviceClaim) -> Result<Claim, &'static str> {
        let plain = |c: char| !c.is_control() && c != '\u{fffd}';
        if claim.key.is_empty() || claim.key.len() > NAME || !claim.key.chars().all(plain) {
            return Err("the key must have 1 to 128 characters, none of them a control character");
        }
        let facts = self.facts(claim.facts.unwrap_or_default());
        let name = clean(claim.name.trim(), 64).trim().to_owned();
        let name = if name.is_empty() { clean(&facts.hostname, 64) } else { name };
        if name.is_empty() {
            return Err("the device has neither a name nor a host name");
        }
        let tags = self.cut(claim.tags, TAGS);
        let mut tags: Vec<_> = tags.iter().map(|tag| clean(tag.trim(), 64)).collect();
        tags.retain(|tag| !tag.is_empty());
        let engine = self.engine(claim.engine.unwrap_or_default());
        Ok(Claim { key: claim.key, name, tags, facts, engine })
    }

    /// The reason for something, in the agent's words.
    pub(super) fn reason(&self, reason: Option<String>) -> Option<String> {
        reason.map(|text| clean(&text, WORDS)).filter(|text| !text.is_empty())
    }
}
